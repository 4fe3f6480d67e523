"""Every operation in a program of its own, with shapes that no vector divides."""

from __future__ import annotations

import numpy as np
from program_cases import Builder

from lstm_fast._program_checks import checked
from lstm_fast.cell import Cell
from lstm_fast.operations import OPERATIONS, cell_attributes


def floats(*shape):
    return shape, "float32"


def positive(*shape):
    return shape, "positive"  # float32


def whole(*shape):
    return shape, "int64"


def bools(*shape):
    return shape, "bool"


def recurrent(gates, inputs, hidden, projected=0):
    """The inputs of a recurrent operation, with one bias or two."""
    size, rows = projected or hidden, gates * hidden
    state = [floats(size), floats(hidden)] if gates == 4 else [floats(hidden)]
    weights = [floats(rows, inputs), floats(rows, size), floats(rows)]
    return [floats(inputs), *state, *weights, *([floats(rows)] if gates == 3 else [])]


PROJECTED = [*recurrent(4, 19, 21, 5), floats(5, 21), floats(63), floats(84), floats(5)]
CELL = Cell(gate="hard_sigmoid", input="elu", output="softsign", clip=1.5, coupled="input")
BOTH = [floats(3, 21), floats(21)]
DEPTHWISE = {"groups": 19, "strides": (1, 2), "pad_begin": (2, 1), "pad_end": (0, 1)}
CODES_OF_ONE = (
    *("relu", "sigmoid", "tanh", "exp", "abs", "neg", "reciprocal", "erf", "softplus", "softsign"),
    *("hard_swish", "square", "hard_sigmoid", "elu", "leaky_relu", "gelu", "clip"),
)
CODES_OF_TWO = ("add", "sub", "mul", "div", "minimum", "maximum", "prelu", "less", "greater")

# code, inputs, attributes
CASES = [
    ("dense", [floats(3, 19), floats(21, 19), floats(21)], {}),
    ("dense", [floats(8), floats(16, 8)], {}),
    ("dense", [floats(2, 3, 1), floats(1, 1), floats(1)], {}),
    ("conv", [floats(6, 23), floats(9, 2, 4), floats(9)], {"groups": 3, "pad_begin": 2}),
    ("conv", [floats(4, 31), floats(17, 4, 3)], {"stride": 3, "dilation": 2, "pad_end": 5}),
    ("conv", [floats(5, 9), floats(5, 1, 3), floats(5)], {"groups": 5, "pad_begin": 1}),
    ("conv2d", [floats(3, 6, 7), floats(17, 3, 3, 2), floats(17)], {"pad_begin": (1, 0)}),
    ("conv2d", [floats(6, 5, 9), floats(9, 2, 1, 4), floats(9)], {"groups": 3, "pad_end": (0, 3)}),
    ("conv2d", [floats(4, 9, 5), floats(8, 4, 3, 3)], {"strides": (2, 1), "dilations": (1, 2)}),
    ("conv2d", [floats(2, 7, 4), floats(5, 2, 3, 4), floats(5)], {"dilations": (2, 1)}),
    ("conv2d", [floats(19, 4, 5), floats(19, 1, 3, 2), floats(19)], DEPTHWISE),
    ("conv2d", [floats(1, 2, 41), floats(16, 1, 3, 3)], {"pad_begin": (1, 0), "pad_end": (1, 1)}),
    ("lstm", recurrent(4, 19, 21), {}),
    ("lstm", recurrent(4, 3, 16)[:-1], {}),
    ("lstm", PROJECTED, {"clip": 2.0, "proj_clip": 0.5, "coupled": "forget"}),
    ("lstm", recurrent(4, 7, 9), cell_attributes(CELL)),
    ("gru", recurrent(3, 19, 21), {}),
    ("gru", recurrent(3, 19, 21), {"linear_before_reset": False}),
    ("gru", recurrent(3, 4, 16)[:-2], {}),
    *((code, [floats(3, 37)], {}) for code in CODES_OF_ONE),
    ("gelu", [floats(3, 37)], {"approximate": "tanh"}),
    ("clip", [floats(40)], {"min": -0.5, "max": 0.25}),
    ("hard_sigmoid", [floats(40)], {"alpha": 0.5, "beta": 0.25}),
    ("elu", [floats(40)], {"alpha": 0.5}),
    ("log", [positive(3, 37)], {}),
    ("sqrt", [positive(3, 37)], {}),
    ("pow", [positive(3, 37), floats(37)], {}),
    *((code, BOTH, {}) for code in CODES_OF_TWO),
    *((code, [floats(2, 1, 5), floats(3, 1)], {}) for code in ("add", "div", "maximum", "equal")),
    *((code, [whole(7), whole(3, 7)], {}) for code in ("less", "greater", "equal")),
    *((code, [bools(7), bools(3, 7)], {}) for code in ("logical_and", "logical_or", "equal")),
    ("logical_not", [bools(7)], {}),
    ("where", [bools(7), floats(3, 7), floats(1)], {}),
    ("where", [bools(2, 1), whole(7), whole(1)], {}),
    *(
        (code, [floats(3, 37, 2)], {"axis": axis})
        for code in ("softmax", "log_softmax")
        for axis in (0, 1, 2)
    ),
    ("layer_norm", [floats(3, 37), floats(37), floats(37)], {}),
    ("layer_norm", [floats(5)], {"epsilon": 0.25}),
    *(
        ("reduce", [floats(3, 37, 2)], {"kind": kind, "axes": axes, "keepdims": len(axes) > 1})
        for kind in ("mean", "sum", "max", "min", "l2")
        for axes in ((1,), (2,), (0, 2), (0, 1, 2))
    ),
    ("concat", [floats(2, 3), floats(2, 4)], {"axis": 1}),
    ("concat", [whole(2), whole(3)], {"axis": 0}),
    ("slice", [floats(5, 6)], {"starts": (4, 1), "ends": (-1, 6), "steps": (-2, 3)}),
    ("gather", [floats(4, 5), whole(2, 3)], {"axis": 1}),
    ("embedding", [floats(4, 5), whole(2, 3)], {}),
    ("transpose", [floats(2, 3, 4)], {"order": (2, 0, 1)}),
    ("reshape", [whole(2, 6)], {"shape": (3, 4)}),
    ("expand", [floats(3, 1)], {"shape": (2, 3, 4)}),
    ("pad", [floats(3, 4)], {"before": (1, 0), "after": (0, 2), "value": 0.5}),
    ("pad", [floats(3, 4)], {"before": (2, 1), "after": (0, 3), "mode": "reflect"}),
    *(("cast", [floats(9)], {"kind": kind}) for kind in ("int64", "bool", "float32")),
    *(("cast", [whole(9)], {"kind": kind}) for kind in ("int64", "bool", "float32")),
    *(("cast", [bools(9)], {"kind": kind}) for kind in ("int64", "bool", "float32")),
]
IDS = [f"{code}-{n}" for n, (code, *_) in enumerate(CASES)]


def _draw(rng, shape, kind):
    if kind == "int64":
        return rng.integers(-4, 4, shape)
    if kind == "bool":
        return rng.standard_normal(shape) < 0
    values = rng.standard_normal(shape).astype(np.float32)
    return np.abs(values) if kind == "positive" else values


def _split(case):
    """Say of each input of a case whether it must be a constant."""
    code, inputs, _ = case
    names = OPERATIONS[code].inputs
    return [names[min(n, len(names) - 1)].startswith("=") for n in range(len(inputs))]


def program_of(case, seed=0):
    """The program of a case: what must be a constant is one, all else are inputs."""
    code, inputs, attributes = case
    build, numbers = Builder(seed), []
    for n, ((shape, kind), is_constant) in enumerate(zip(inputs, _split(case), strict=True)):
        if is_constant:
            numbers.append(build.constant(_draw(build.rng, shape, kind)))
        else:
            numbers.append(build.input(f"x{n}", shape, kind.replace("positive", "float32")))
    made = build.op(code, *numbers, **attributes)
    for n, number in enumerate(made if isinstance(made, tuple) else (made,)):
        build.output(f"y{n}", number)
    return checked(build.program())


def frames_of(case, steps, seed=1):
    """Values for its inputs, with steps in front."""
    rng = np.random.default_rng(seed)
    return {
        f"x{n}": _draw(rng, (steps, *shape), kind)
        for n, ((shape, kind), is_constant) in enumerate(zip(case[1], _split(case), strict=True))
        if not is_constant
    }
