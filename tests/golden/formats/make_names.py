"""Writes npz/*, equinox/*, and MLX's and Flax's of safetensors/, and what each library computes.

    pip install "jax[cpu]" flax equinox "mlx[cpu]" safetensors && python make_names.py

Ran with mlx 0.32.4, jax 0.10.2, flax 0.12.8, equinox 0.13.8, safetensors 0.8 and PyTorch 2.13.0.
Beside each lies NAME_run.npz: x (T, I) frames; h and c (T, 1, H) after each, from zeros.
"""

from __future__ import annotations

import json
from pathlib import Path

import equinox
import jax
import mlx.core as mx
import mlx.nn
import numpy as np
import torch
from flax import linen, nnx, traverse_util
from jax import numpy as jnp
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
RNG = np.random.default_rng(11)
STEPS, INPUTS, UNITS = 16, 3, 4


def frames() -> np.ndarray:
    return RNG.normal(0, 1, (STEPS, INPUTS)).astype(np.float32)


def save_run(path: Path, x: np.ndarray, states: list) -> None:
    h, c = (np.array([one[n] for one in states], np.float32)[:, None] for n in (0, 1))
    np.savez_compressed(path.with_name(f"{path.stem}_run.npz"), x=x, h=h, c=c)


def random_like(tree):
    """Return a tree of arrays of the same shapes."""
    return jax.tree.map(lambda one: jnp.asarray(RNG.normal(0, 0.5, one.shape), jnp.float32), tree)


def mlx_models() -> None:
    model = mlx.nn.Sequential(mlx.nn.LSTM(INPUTS, UNITS), mlx.nn.GRU(UNITS, 2), mlx.nn.Linear(2, 1))
    x = frames()
    hidden, cell = model.layers[0](mx.array(x))
    states = list(zip(np.array(hidden), np.array(cell), strict=True))
    for path in (HERE / "npz/mlx.npz", HERE / "safetensors/mlx.safetensors"):
        model.save_weights(str(path))
        save_run(path, x, states)


def linen_model() -> None:
    model = linen.RNN(linen.LSTMCell(UNITS), name="encoder")
    x = frames()
    variables = random_like(model.init(jax.random.key(0), jnp.asarray(x)))
    cell, inner = linen.LSTMCell(UNITS), {"params": variables["params"]["cell"]}
    carry, states = (jnp.zeros(UNITS), jnp.zeros(UNITS)), []
    for frame in x:
        carry, _ = cell.apply(inner, carry, frame)
        states.append((np.asarray(carry[1]), np.asarray(carry[0])))
    flat = traverse_util.flatten_dict(variables, sep="/")
    np.savez(HERE / "npz/linen.npz", **{name: np.asarray(one) for name, one in flat.items()})
    save_run(HERE / "npz/linen.npz", x, states)


def nnx_models() -> None:
    for kind, path in (
        (nnx.LSTMCell, HERE / "safetensors/nnx.safetensors"),
        (nnx.OptimizedLSTMCell, HERE / "npz/nnx_optimized.npz"),
    ):
        cell = kind(INPUTS, UNITS, rngs=nnx.Rngs(0))
        model = nnx.RNN(cell, rngs=nnx.Rngs(1))
        graph, state = nnx.split(cell)
        cell = nnx.merge(graph, random_like(state))
        model.cell = cell
        x, states, carry = frames(), [], (jnp.zeros(UNITS), jnp.zeros(UNITS))
        for frame in x:
            carry, _ = cell(carry, jnp.asarray(frame))
            states.append((np.asarray(carry[1]), np.asarray(carry[0])))
        flat = traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(model, nnx.Param)), sep=".")
        arrays = {name: np.asarray(one) for name, one in flat.items()}
        if path.suffix == ".npz":
            np.savez_compressed(path, **arrays, **{"rngs.count": np.zeros((), np.uint32)})
        else:
            save_file(arrays, path)
        save_run(path, x, states)


def torch_model() -> None:
    torch.manual_seed(2)
    lstm = torch.nn.LSTM(INPUTS, UNITS)
    model = torch.nn.ModuleDict({"rnn": lstm, "head": torch.nn.Linear(UNITS, 1)})
    x, states, state = frames(), [], None
    with torch.no_grad():
        for frame in x:
            _, state = lstm(torch.from_numpy(frame[None]), state)
            states.append([one[0].numpy().copy() for one in state])
    path = HERE / "npz/torch.npz"
    np.savez_compressed(path, **{name: one.numpy() for name, one in model.state_dict().items()})
    save_run(path, x, states)


def equinox_models() -> None:
    keys = jax.random.split(jax.random.key(4), 3)
    for name, use_bias in (("cell", True), ("without_bias", False)):
        cell = equinox.nn.LSTMCell(INPUTS, UNITS, use_bias, key=keys[0])
        model = [
            equinox.nn.Linear(2, INPUTS, key=keys[1]),
            cell,
            equinox.nn.GRUCell(4, 2, key=keys[2]),
        ]
        x, states, state = frames(), [], (jnp.zeros(UNITS), jnp.zeros(UNITS))
        for frame in x:
            state = cell(jnp.asarray(frame), state)
            states.append([np.asarray(one) for one in state])
        path = HERE / f"equinox/{name}.eqx"
        with path.open("wb") as file:
            if name == "cell":  # as its documentation keeps hyperparameters
                file.write((json.dumps({"units": UNITS}) + "\n").encode())
            equinox.tree_serialise_leaves(file, model)
        save_run(path, x, states)


def main() -> None:
    for name in ("npz", "equinox", "safetensors"):
        (HERE / name).mkdir(exist_ok=True)
    mlx_models()
    linen_model()
    nnx_models()
    torch_model()
    equinox_models()


if __name__ == "__main__":
    main()
