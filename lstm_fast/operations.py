"""What each operation of a program computes: inputs, attributes, and outputs.

`OPERATIONS` is the table, by code. The numbers in it, the order of attributes and of the names to
choose from are those of `.lfm` files and never change. Tensors have no batch axis. Where nothing
else is said, inputs and outputs are float32. `_program_shapes.py` has the rule of each shape,
`reference_operations.py` the arithmetic.

An input whose name ends in "?" may be left out: -1, or at the end nothing at all. One that begins
with "=" must be a constant. Attributes with a default may be left out. "flag" is a bool, "ints" a
tuple of ints, "name" one of the strings that are listed, "float" is rounded to float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .cell import ACTIVATIONS, Activation, Cell

__all__ = ["OPERATIONS", "Attribute", "Operation", "cell_attributes", "cell_of"]

INFINITY = float("inf")


@dataclass(frozen=True)
class Attribute:
    """One attribute: what it is, its default (None: it must be given), and names to choose from.

    Example:
        >>> OPERATIONS["conv"].attributes["stride"]
        Attribute(type='int', default=1, choices=())
    """

    type: str
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    number: in `.lfm` files. inputs: their names, see above; ("*",) takes one or more. outputs: how
    many. computes: what, in words.

    Example:
        >>> OPERATIONS["dense"].inputs
        ('x', '=weight', '=bias?')
    """

    code: str
    number: int
    inputs: tuple[str, ...]
    computes: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    outputs: int = 1


def _float(default: float | None = None) -> Attribute:
    return Attribute("float", default)


def _int(default: int | None = None) -> Attribute:
    return Attribute("int", default)


def _name(default: str | None, *choices: str) -> Attribute:
    return Attribute("name", default, choices)


def _pair(default: int) -> Attribute:
    return Attribute("ints", (default, default))


INTS = Attribute("ints")
ROLES = ("gate", "input", "output")  # of the activations of an LSTM's cell
CLIPS = ("clip", "cell_clip", "proj_clip")


def _cell() -> dict[str, Attribute]:
    """Return the attributes that make up a `Cell`; a clip of 0 is none.

    An activation's alpha and beta are 0 where it has none; `cell_attributes` fills in those it has.
    """
    result: dict[str, Attribute] = {}
    for role, usual in zip(ROLES, ("sigmoid", "tanh", "tanh"), strict=True):
        result[role] = _name(usual, *ACTIVATIONS)
        result[f"{role}_alpha"] = _float(0.0)
        result[f"{role}_beta"] = _float(0.0)
    result.update({clip: _float(0.0) for clip in CLIPS})
    result["coupled"] = _name("none", "none", "input", "forget")
    result["layer_norm_eps"] = _float(1e-8)
    return result


LSTM_INPUTS = (
    *("x", "h", "c", "=weight_ih", "=weight_hh", "=bias?"),
    *("=weight_hr?", "=peephole?", "=layer_norm?", "=bias_hr?"),
)
GRU_INPUTS = ("x", "h", "=weight_ih", "=weight_hh", "=bias_ih?", "=bias_hh?")
CONV = {"stride": 1, "dilation": 1, "groups": 1, "pad_begin": 0, "pad_end": 0}
CONV2D = {"strides": 1, "dilations": 1, "groups": 1, "pad_begin": 0, "pad_end": 0}
REDUCTIONS = ("mean", "sum", "max", "min", "l2")
KINDS = ("float32", "int64", "bool")


def _table() -> tuple[Operation, ...]:
    both = ("a", "b")
    x = ("x",)
    axis = {"axis": _int()}
    return (
        # products
        Operation(
            "dense", 1, ("x", "=weight", "=bias?"), "x (..., K), (M, K), (M,): W x, + b last"
        ),
        Operation(
            "conv",
            2,
            ("x", "=weight", "=bias?"),
            "x (C, T), weight (M, C/groups, k), bias (M,) -> (M, T'); taps in padding are skipped",
            {name: _int(default) for name, default in CONV.items()},
        ),
        Operation(
            "lstm",
            3,
            LSTM_INPUTS,
            "one layer: x (I,), h (P,), c (H,), weight_ih (4H, I), weight_hh (4H, P), bias (4H,) "
            "(the sum of both), weight_hr (P, H), peephole (3H,), layer_norm (4H,), bias_hr (P,) "
            "-> y (P,), h' (P,), c' (H,), where y = h'; gates i, f, g, o; attributes: the Cell",
            _cell(),
            outputs=3,
        ),
        Operation(
            "gru",
            4,
            GRU_INPUTS,
            "one layer: x (I,), h (H,), weight_ih (3H, I), weight_hh (3H, H), biases (3H,) "
            "-> y (H,), h' (H,), where y = h'; gates r, z, n; n = tanh(W x + b + r (U h + b')), or "
            "without linear_before_reset tanh(W x + b + U (r h) + b'); h' = (1 - z) n + z h",
            {"linear_before_reset": Attribute("flag", True)},
            outputs=2,
        ),
        Operation(
            "conv2d",
            5,
            ("x", "=weight", "=bias?"),
            "x (C, H, W), weight (M, C/groups, kh, kw), bias (M,) -> (M, H', W'); attributes are "
            "pairs, of H and of W, but for groups; taps in padding are skipped",
            {
                name: _int(default) if name == "groups" else _pair(default)
                for name, default in CONV2D.items()
            },
        ),
        # element by element
        *(
            Operation(code, number, x, computes)
            for code, number, computes in (
                ("relu", 10, "max(x, 0)"),
                ("sigmoid", 11, "1 / (1 + exp(-x))"),
                ("tanh", 12, "tanh(x)"),
                ("exp", 13, "exp(x)"),
                ("log", 14, "log(x)"),
                ("abs", 15, "|x|"),
                ("neg", 16, "-x"),
                ("sqrt", 17, "the square root of x"),
                ("reciprocal", 18, "1 / x"),
                ("erf", 19, "the error function of x"),
                ("softplus", 20, "log(1 + exp(x))"),
                ("softsign", 21, "x / (1 + |x|)"),
                ("hard_swish", 22, "x min(max(x / 6 + 1 / 2, 0), 1)"),
                ("square", 23, "x x"),
            )
        ),
        Operation(
            "hard_sigmoid",
            24,
            x,
            "min(max(alpha x + beta, 0), 1)",
            {"alpha": _float(0.2), "beta": _float(0.5)},
        ),
        Operation("elu", 25, x, "x, or alpha (exp(x) - 1) where x < 0", {"alpha": _float(1.0)}),
        Operation("leaky_relu", 26, x, "x, or alpha x where x < 0", {"alpha": _float(0.01)}),
        Operation(
            "gelu",
            27,
            x,
            "x (1 + erf(x / sqrt 2)) / 2; tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
            {"approximate": _name("none", "none", "tanh")},
        ),
        Operation(
            "clip",
            28,
            x,
            "min(max(x, min), max)",
            {"min": _float(-INFINITY), "max": _float(INFINITY)},
        ),
        # two inputs, broadcast as NumPy does
        *(
            Operation(code, number, both, computes)
            for code, number, computes in (
                ("add", 40, "a + b"),
                ("sub", 41, "a - b"),
                ("mul", 42, "a b"),
                ("div", 43, "a / b"),
                ("minimum", 44, "the lesser; NaN where one is"),
                ("maximum", 45, "the greater; NaN where one is"),
                ("pow", 46, "a to the power of b"),
                ("prelu", 47, "a, or b a where a < 0"),
                ("less", 50, "a < b, bool; a and b float32 or both int64"),
                ("greater", 51, "a > b, likewise"),
                ("equal", 52, "a == b, bool; a and b of one kind"),
                ("logical_and", 53, "a and b, all bool"),
                ("logical_or", 54, "a or b, all bool"),
            )
        ),
        Operation("logical_not", 55, x, "not x, both bool"),
        Operation(
            "where",
            56,
            ("condition", "a", "b"),
            "a where the condition (bool) holds, b elsewhere; a and b of one kind",
        ),
        # along axes
        Operation("softmax", 60, x, "exp(x - max) / its sum, over one axis", axis),
        Operation("log_softmax", 61, x, "x - max - log(sum(exp(x - max))), over one axis", axis),
        Operation(
            "layer_norm",
            62,
            ("x", "=scale?", "=bias?"),
            "(x - mean) / sqrt(variance + epsilon) over the last axis, then scale and bias, each "
            "of its size",
            {"epsilon": _float(1e-5)},
        ),
        Operation(
            "reduce",
            63,
            x,
            "mean, sum, max, min or l2 (the root of the sum of squares) over axes (ascending)",
            {"kind": _name(None, *REDUCTIONS), "axes": INTS, "keepdims": Attribute("flag", True)},
        ),
        # movement, of any kind
        Operation("concat", 70, ("*",), "inputs one after the other along one axis", axis),
        Operation(
            "slice",
            71,
            x,
            "x[start:end:step] for each axis: 0 <= start < size; end at most size; with a negative "
            "step end is start - 1 at most, and -1 is beyond the first",
            {"starts": INTS, "ends": INTS, "steps": INTS},
        ),
        Operation(
            "gather",
            72,
            ("x", "=indices"),
            "x at int64 indices along one axis, which the axes of the indices replace; negative "
            "ones count from the end",
            axis,
        ),
        Operation(
            "embedding",
            73,
            ("=table", "indices"),
            "rows of the table (N, ...) by int64 indices, -N to N - 1, negative ones from the end; "
            "others raise before any state changes",
        ),
        Operation(
            "transpose", 74, x, "axis i of the result is axis order[i] of x", {"order": INTS}
        ),
        Operation("reshape", 75, x, "the same elements in another shape", {"shape": INTS}),
        Operation("expand", 76, x, "x broadcast to shape", {"shape": INTS}),
        Operation(
            "pad",
            77,
            x,
            "so many values before and after along each axis: value, or x reflected at its edge "
            "(which is not repeated); float32",
            {
                "before": INTS,
                "after": INTS,
                "mode": _name("constant", "constant", "reflect"),
                "value": _float(0.0),
            },
        ),
        Operation(
            "cast",
            78,
            x,
            "to a kind: a float to an integer is cut off (-2**63 where there is none), to a bool "
            "is whether it is not 0",
            {"kind": _name(None, *KINDS)},
        ),
    )


OPERATIONS: dict[str, Operation] = {one.code: one for one in _table()}


def cell_attributes(cell: Cell) -> dict[str, Any]:
    """Return the attributes of an `lstm` operation for a cell.

    Example:
        >>> from lstm_fast import Cell
        >>> attributes = cell_attributes(Cell(gate="hard_sigmoid", cell_clip=3.0))
        >>> attributes["gate"], attributes["cell_clip"]
        ('hard_sigmoid', 3.0)
    """
    result: dict[str, Any] = {}
    for role, activation in zip(ROLES, cell.activations, strict=True):
        result[role] = activation.name
        result[f"{role}_alpha"] = activation.alpha or 0.0
        result[f"{role}_beta"] = activation.beta or 0.0
    result.update({clip: getattr(cell, clip) or 0.0 for clip in CLIPS})
    result["coupled"] = cell.coupled or "none"
    result["layer_norm_eps"] = cell.layer_norm_eps
    return result


def cell_of(attributes: Mapping[str, Any]) -> Cell:
    """Return the cell of an `lstm` operation; what is left out has its default.

    Raises:
        ValueError, TypeError: there is no such cell.

    Example:
        >>> cell_of({"gate": "relu", "cell_clip": 3.0}).cell_clip
        3.0
    """
    table = OPERATIONS["lstm"].attributes
    values = {name: attributes.get(name, one.default) for name, one in table.items()}
    options: dict[str, Any] = {}
    for role in ROLES:
        parameters = {p: values[f"{role}_{p}"] for p in ACTIVATIONS[values[role]]}
        options[role] = Activation(values[role], **parameters)
    options.update({clip: values[clip] or None for clip in CLIPS})
    options["coupled"] = None if values["coupled"] == "none" else values["coupled"]
    return Cell(**options, layer_norm_eps=values["layer_norm_eps"])
