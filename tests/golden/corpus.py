"""The corpus of golden bits: what is computed, and a digest of the results.

    python tests/golden/corpus.py

writes `bits.json` anew with the native scalar kernels. That is a change of the contract: it needs a
major version and a line in CHANGELOG.md.

Values come from integers by exact operations, so the corpus does not depend on a library's random
numbers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lstm_fast import LSTM, Activation, Cell
from lstm_fast._weights import KINDS, WEIGHT_DTYPES, LayerWeights, Weights, make_weights

FILE = Path(__file__).with_name("bits.json")

# I, H, L: those of the benchmark, and sizes off every vector width and panel.
SHAPES = [
    (1, 16, 1),
    (1, 40, 1),
    (40, 64, 1),
    (64, 64, 1),
    (80, 64, 2),
    (128, 128, 1),
    (80, 256, 1),
    (256, 256, 1),
    (220, 200, 2),
    (512, 512, 1),
    (640, 640, 2),
    (1024, 1024, 1),
    (1, 1, 1),
    (2, 3, 4),
    (3, 7, 2),
    (5, 19, 2),
    (7, 17, 1),
    (9, 33, 1),
    (24, 39, 3),
    (33, 63, 1),
    (97, 51, 3),
    (100, 72, 2),
    (129, 65, 2),
    (300, 257, 1),
    (80, 320, 1),
]
HARD = Activation("hard_sigmoid", 0.2, 0.5)
# The options of a cell, the parameters beyond the plain ones, and P where there is a projection.
VARIANTS: dict[str, tuple[Cell, tuple[str, ...], int]] = {
    "no bias": (Cell(), ("no bias",), 0),
    "projection": (Cell(), (), 11),
    "wide projection": (Cell(proj_clip=0.25), ("bias_hr",), 70),
    "peephole": (Cell(), ("peephole",), 0),
    "layer norm": (Cell(layer_norm_eps=1e-5), ("layer_norm",), 0),
    "initial state": (Cell(), ("h_0", "c_0"), 0),
    "clips": (Cell(clip=1.5, cell_clip=0.5), (), 0),
    "forget from input": (Cell(coupled="forget"), (), 0),
    "input from forget": (Cell(coupled="input"), (), 0),
    "hard sigmoid": (Cell(gate=HARD), (), 0),
    "relu": (Cell(input="relu", output="relu", cell_clip=50.0), (), 0),
    "affine": (Cell(input=Activation("affine", 0.7, 0.1), cell_clip=9.0), (), 0),
    "leaky relu": (Cell(output=Activation("leaky_relu", 0.1), cell_clip=9.0), (), 0),
    "thresholded relu": (Cell(input=Activation("thresholded_relu", 0.3)), (), 0),
    "scaled tanh": (Cell(input=Activation("scaled_tanh", 1.5, 0.8)), (), 0),
    "elu and softsign": (Cell(input=Activation("elu", 1.0), output="softsign"), (), 0),
    "everything": (
        Cell(
            gate=HARD,
            input="softsign",
            output=Activation("scaled_tanh", 1.5, 0.8),
            clip=2.0,
            cell_clip=1.5,
            proj_clip=0.5,
            layer_norm_eps=1e-5,
        ),
        ("bias_hr", "peephole", "layer_norm", "h_0", "c_0"),
        13,
    ),
}
VARIANT_SHAPES = [(5, 19, 2), (64, 64, 1)]


@dataclass(frozen=True)
class Case:
    """One entry of the corpus."""

    shape: tuple[int, int, int]
    variant: str  # "" for the plain cell
    weight_dtype: str

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.shape))
        return " ".join(filter(None, [sizes, self.variant, self.weight_dtype]))


def cases() -> list[Case]:
    """Every entry, in the order of the file."""
    return [
        Case(shape, variant, dtype)
        for variant, shapes in [("", SHAPES), *((name, VARIANT_SHAPES) for name in VARIANTS)]
        for shape in shapes
        for dtype in WEIGHT_DTYPES
    ]


def values(seed: int, *shape: int) -> np.ndarray:
    """Uniform numbers in [-1, 1) that are multiples of 2^-23: the mixing steps of splitmix64."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    whole = ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.int64) - (1 << 23)
    return (whole.astype(np.float32) * np.float32(2.0**-23)).reshape(shape)


def weights_of(case: Case) -> Weights:
    """The weights of a case: about as large as PyTorch draws them, scaled by a power of two."""
    inputs, units, num_layers = case.shape
    cell, parts, projected = VARIANTS.get(case.variant, (Cell(), (), 0))
    outputs = projected or units
    scale = np.float32(2.0 ** -round(np.log2(units) / 2))
    wanted = {"weight_ih", "weight_hh", *parts}
    if "no bias" not in parts:
        wanted |= {"bias_ih", "bias_hh"}
    if projected:
        wanted |= {"weight_hr"}
    layers = []
    for n in range(num_layers):
        sizes = {"I": outputs if n else inputs, "H": units, "P": outputs}
        sizes |= {"4H": 4 * units, "3H": 3 * units}
        found = {
            kind: values(100 * n + seed, *(sizes[size] for size in KINDS[kind])) * scale
            for seed, kind in enumerate(KINDS)
            if kind in wanted
        }
        layers.append(LayerWeights(**found, cell=cell))
    return make_weights(layers)


def frames_of(case: Case) -> np.ndarray:
    """Frames (T, I): ordinary ones, and some silent, tiny, subnormal, loud and huge."""
    inputs, units, num_layers = case.shape
    steps = 4 if units * units * num_layers > 1 << 16 else 12
    xs = 4 * values(7, steps, inputs)
    for row, scale in zip(
        range(1, steps, 2), [2.0**-140, 30, 0, 2.0**-120, 2.0**100], strict=False
    ):
        xs[row] *= np.float32(scale)
    return xs


def states_of(case: Case, lstm: LSTM) -> tuple[np.ndarray, np.ndarray]:
    """A state as a sequence may have left it: h (L, P) and c (L, H)."""
    num_layers = case.shape[2]
    h, c = values(8, num_layers, lstm.output_size), 3 * values(9, num_layers, lstm.hidden_size)
    c[..., :1] = np.float32(2.0**-127)  # subnormal: a zero, once it is stored
    return h, c


def digest(*arrays: np.ndarray) -> str:
    """16 hexadecimal digits that stand for the bits of these arrays and for their shapes."""
    result = hashlib.sha256()
    for one in arrays:
        array = np.ascontiguousarray(one, "<f4")
        result.update(str(array.shape).encode())
        result.update(array.tobytes())
    return result.hexdigest()[:16]


def run(stream, xs):
    """All frames at once."""
    return stream.run(xs)


def steps(stream, xs):
    """Frame by frame."""
    return np.array([stream.step(x) for x in xs])


def prepared(stream, xs):
    """Frame by frame, prepared before two of three."""
    ys = []
    for t, x in enumerate(xs):
        if t % 3:
            stream.prepare()
        ys.append(stream.step(x))
    return np.array(ys)


def restored(stream, xs):
    """In two halves, the second from a snapshot of the first."""
    middle = len(xs) // 2
    before = stream.run(xs[:middle])
    data = stream.snapshot()
    stream.reset()
    stream.restore(data)
    return np.concatenate([before, stream.run(xs[middle:])])


WAYS = {"run": run, "steps": steps, "prepared": prepared, "restored": restored}


def of_stream(case: Case, lstm: LSTM, way=run) -> str:
    """Return the digest of a case: from its start, from a state, and after what is not finite."""
    xs, results = frames_of(case), []
    for state in (None, states_of(case, lstm)):
        stream = lstm.stream(state)
        results += [way(stream, xs), *stream.state]
    spoiled = xs[:3].copy()
    spoiled[1, -1] = np.nan
    results += [way(stream, spoiled), *stream.state]
    stream.reset()
    results += [way(stream, xs[:2]), *stream.state]
    return digest(*results)


def of_pool(case: Case, lstm: LSTM, companions: int = 4) -> str:
    """Return the same of a session in a pool, stepped beside others, prepared now and then."""
    xs, results = frames_of(case), []
    pool = lstm.pool(companions + 1)
    others = [pool.open() for _ in range(companions)]

    def way(handle, xs):
        handles = np.array(
            [*others[: companions // 2], handle, *others[companions // 2 :]], np.uint64
        )
        ys = []
        for t, x in enumerate(xs):
            if t % 3 == 1:
                pool.prepare(handles)
            frames = np.array([x * np.float32(n - 1) for n in range(companions)])
            frames = np.insert(frames, companions // 2, x, axis=0)
            ys.append(pool.step(handles, frames)[companions // 2])
        return np.array(ys)

    for state in (None, states_of(case, lstm)):
        handle = pool.open(state)
        results += [way(handle, xs), *pool.state(handle)]
        if state is None:
            pool.close(handle)
    spoiled = xs[:3].copy()
    spoiled[1, -1] = np.nan
    results += [way(handle, spoiled), *pool.state(handle)]
    pool.reset(handle)
    results += [way(handle, xs[:2]), *pool.state(handle)]
    return digest(*results)


def read() -> dict[str, str]:
    """Return the digests by the names of cases."""
    result: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return result


def write() -> None:
    """Write the file anew."""
    digests = {}
    for case in cases():
        lstm = LSTM.from_weights(
            weights_of(case), weight_dtype=case.weight_dtype, backend="native", isa="scalar"
        )
        digests[str(case)] = of_stream(case, lstm)
    FILE.write_text(json.dumps(digests, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
