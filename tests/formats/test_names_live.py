"""MLX, Flax and Equinox where they are installed: files that they write now, and their steps."""

from __future__ import annotations

import numpy as np
import pytest
from framework_runs import excess_of_run

from lstm_fast import formats

SIZES = [(1, 1, True), (3, 5, True), (6, 2, False)]  # inputs, units, whether there is a bias
STEPS = 12


def frames(inputs):
    return np.random.default_rng(inputs).normal(0, 1, (STEPS, inputs)).astype(np.float32)


def run_of(x, states):
    h, c = (np.array([one[n] for one in states], np.float32)[:, None] for n in (0, 1))
    return {"x": x, "h": h, "c": c}


def check(path, run, **options):
    (found,) = formats.read(path, **options)
    assert excess_of_run(found.weights, run) <= 1
    assert excess_of_run(found.weights, run | {"x": run["x"] + 0.5}, ours=False) > 1


@pytest.mark.parametrize(("inputs", "units", "bias"), SIZES)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_mlx(tmp_path, suffix, inputs, units, bias):
    mx = pytest.importorskip("mlx.core")
    nn = pytest.importorskip("mlx.nn")
    lstm, x = nn.LSTM(inputs, units, bias), frames(inputs)
    lstm.save_weights(str(tmp_path / f"a{suffix}"))
    hidden, cell = map(np.array, lstm(mx.array(x)))
    check(tmp_path / f"a{suffix}", run_of(x, list(zip(hidden, cell, strict=True))))


def steps_of_flax(step, x, units):
    """Return h and c after each frame; Flax carries c first."""
    carry, states = (np.zeros(units, np.float32),) * 2, []
    for frame in x:
        carry, _ = step(carry, frame)
        states.append((np.asarray(carry[1]), np.asarray(carry[0])))
    return states


@pytest.mark.parametrize(("inputs", "units", "_"), SIZES)
@pytest.mark.parametrize("kind", ["LSTMCell", "OptimizedLSTMCell"])
def test_flax_linen(tmp_path, kind, inputs, units, _):
    jax = pytest.importorskip("jax")
    linen = pytest.importorskip("flax.linen")
    from flax.traverse_util import flatten_dict

    cell, x = getattr(linen, kind)(units, bias_init=linen.initializers.normal()), frames(inputs)
    variables = cell.init(jax.random.key(1), (np.zeros(units), np.zeros(units)), x[0])
    np.savez(tmp_path / "a.npz", **flatten_dict(variables, sep="/"))
    states = steps_of_flax(lambda *given: cell.apply(variables, *given), x, units)
    check(tmp_path / "a.npz", run_of(x, states))


@pytest.mark.parametrize(("inputs", "units", "_"), SIZES)
@pytest.mark.parametrize("kind", ["LSTMCell", "OptimizedLSTMCell"])
def test_flax_nnx(tmp_path, kind, inputs, units, _):
    nnx = pytest.importorskip("flax.nnx")
    from flax.traverse_util import flatten_dict

    options = {"bias_init": nnx.initializers.normal(), "rngs": nnx.Rngs(2)}
    cell, x = getattr(nnx, kind)(inputs, units, **options), frames(inputs)
    state = nnx.to_pure_dict(nnx.state(cell, nnx.Param))
    np.savez(tmp_path / "a.npz", **flatten_dict(state, sep="."))
    check(tmp_path / "a.npz", run_of(x, steps_of_flax(cell, x, units)))


@pytest.mark.parametrize(("inputs", "units", "bias"), SIZES)
def test_equinox(tmp_path, inputs, units, bias):
    equinox = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")
    cell, x = equinox.nn.LSTMCell(inputs, units, bias, key=jax.random.key(3)), frames(inputs)
    state, states = (np.zeros(units, np.float32),) * 2, []
    for frame in x:
        state = cell(frame, state)
        states.append([np.asarray(one) for one in state])
    equinox.tree_serialise_leaves(tmp_path / "a.eqx", cell)
    check(tmp_path / "a.eqx", run_of(x, states))
    check(tmp_path / "a.eqx", run_of(x, states), arrays=[0, 1, 2][: 2 + bias])
