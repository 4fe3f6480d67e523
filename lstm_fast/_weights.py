"""The weights of an LSTM, of any variant, checked whole before anything is built from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._arrays import Float32
from .cell import PLAIN, Cell

Scalar = TypeVar("Scalar", bound=np.generic)

WEIGHT_DTYPES = ("float32", "float16", "int8")
FLOAT16_OVERFLOW = 65520.0  # what rounds to more than its largest value, 65504
INT8_COLUMNS = (2**31 - 1) // (127 * (127 + 128))

# The parameters of one layer in one direction: name, and shape in terms of its sizes. P is H where
# there is no projection.
KINDS = {
    "weight_ih": ("4H", "I"),
    "weight_hh": ("4H", "P"),
    "bias_ih": ("4H",),
    "bias_hh": ("4H",),
    "weight_hr": ("P", "H"),
    "bias_hr": ("P",),
    "peephole": ("3H",),
    "layer_norm": ("4H",),
    "h_0": ("P",),
    "c_0": ("H",),
}
MATRICES = ("weight_ih", "weight_hh", "weight_hr")
NOT_A_NUMBER = np.array(np.nan, np.float32)

Direction: TypeAlias = Literal["forward", "reverse", "bidirectional"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "reverse", "bidirectional")


@dataclass(frozen=True)
class LayerWeights:
    """One layer in one direction: float32, read-only, PyTorch's layout, gates i, f, g, o.

    `weight_hr` projects; `peephole` stands for the gates i, f, o; `layer_norm` scales the
    normalised pre-activations of i, f, g, o; `h_0` and `c_0` are the trained initial state.
    """

    weight_ih: Float32  # (4H, I)
    weight_hh: Float32  # (4H, P)
    bias_ih: Float32 | None = None  # (4H,)
    bias_hh: Float32 | None = None  # (4H,)
    weight_hr: Float32 | None = None  # (P, H)
    bias_hr: Float32 | None = None  # (P,)
    peephole: Float32 | None = None  # (3H,)
    layer_norm: Float32 | None = None  # (4H,)
    h_0: Float32 | None = None  # (P,)
    c_0: Float32 | None = None  # (H,)
    cell: Cell = PLAIN

    @property
    def input_size(self) -> int:
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        return int(self.weight_ih.shape[0]) // 4

    @property
    def output_size(self) -> int:
        """P with a projection, H without."""
        return int(self.weight_hh.shape[1])

    @property
    def is_plain(self) -> bool:
        """Whether it is the cell that the fastest kernels are for; any initial state will do."""
        variants = (self.weight_hr, self.peephole, self.layer_norm)
        return self.cell == PLAIN and all(one is None for one in variants)

    @property
    def is_bounded(self) -> bool:
        """Whether h lives in [-1, 1], so that int8 has a fixed scale for it."""
        return self.weight_hr is None and self.cell.bounded

    @property
    def bias(self) -> Float32:
        """The sum of the two biases, rounded once; zeros without."""
        if self.bias_ih is None or self.bias_hh is None:
            one = self.bias_ih if self.bias_hh is None else self.bias_hh
            return np.zeros(len(self.weight_ih), np.float32) if one is None else one
        total: Float32 = self.bias_ih + self.bias_hh
        return total

    def outline(self) -> LayerWeights:
        """See `Weights.outline`."""
        values: dict[str, Float32] = {
            kind: np.broadcast_to(NOT_A_NUMBER, value.shape) if kind in MATRICES else value.copy()
            for kind, value in self.parameters().items()
        }
        return LayerWeights(**values, cell=self.cell)

    def parameters(self) -> dict[str, Float32]:
        """Return what there is, by name, in the order of KINDS; not copied."""
        found = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: value for kind, value in found.items() if value is not None}


@dataclass(frozen=True)
class Weights:
    """A stack of layers whose shapes fit each other; made by `make_weights`.

    layers: from the bottom up; where direction is "bidirectional", each layer is two of them, the
    forward one first, as PyTorch orders states.
    x_is_bounded: the input lives in [-1, 1], so that int8 takes a fixed scale for it: it is the h
    of layers that these were cut off from (see `parts`).
    """

    layers: tuple[LayerWeights, ...]
    direction: Direction = "forward"
    x_is_bounded: bool = False

    @property
    def num_directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    @property
    def num_layers(self) -> int:
        return len(self.layers) // self.num_directions

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def hidden_size(self) -> int:
        return self.layers[0].hidden_size

    @property
    def output_size(self) -> int:
        """Of one direction: P with a projection, H without."""
        return self.layers[0].output_size

    @property
    def is_plain(self) -> bool:
        return all(layer.is_plain for layer in self.layers)

    def suffix(self, index: int) -> str:
        """Return how PyTorch's names end for layers[index]: "_l0", "_l1_reverse"."""
        layer, reverse = divmod(index, self.num_directions)
        is_reverse = reverse or self.direction == "reverse"
        return f"_l{layer}_reverse" if is_reverse else f"_l{layer}"

    def parts(self) -> list[Weights]:
        """Cut into one forward layer each."""
        count = self.num_directions
        bounded = [self.x_is_bounded] * count
        for at in range(0, len(self.layers), count):
            below = all(layer.is_bounded for layer in self.layers[at : at + count])
            bounded += [below] * count
        return [
            Weights((layer,), x_is_bounded=one)
            for layer, one in zip(self.layers, bounded[: len(self.layers)], strict=True)
        ]

    def state_dict(self) -> dict[str, Float32]:
        """Return copies under the names of `torch.nn.LSTM`, and ours where it has none."""
        return {name: value.copy() for name, value in self.named().items()}

    def named(self) -> dict[str, Float32]:
        """Return the same without copying."""
        return {
            kind + self.suffix(index): value
            for index, layer in enumerate(self.layers)
            for kind, value in layer.parameters().items()
        }

    def outline(self) -> Weights:
        """Return all but the matrices, in whose place stand NaNs of their shape and no size."""
        return replace(self, layers=tuple(layer.outline() for layer in self.layers))


def make_weights(
    layers: list[LayerWeights],
    direction: Direction = "forward",
    names: dict[str, str] | None = None,
    copy: bool = True,
    finite: bool = False,
) -> Weights:
    """Check layers against each other and return them as a stack, with arrays of its own.

    Args:
        layers: from the bottom up, for "bidirectional" forward and reverse in turns. Arrays are
            float32; they are copied.
        direction: see `Weights`.
        names: what to call parameters in errors, by PyTorch's names ("weight_ih_l0"); those that
            are not in it are called by PyTorch's.
        copy: False takes the arrays as they are, if in C's order: those that nobody else has (see
            `own`), or of weights that nobody will keep.
        finite: whether all values are known to be finite, so that they are not looked at again.

    Raises:
        ValueError: a shape does not fit, a value is not finite, or two things are asked for that
            do not go together.
    """
    weights = Weights(tuple(layers), direction)
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is one of {', '.join(DIRECTIONS)}, found {direction!r}")
    if not layers or len(layers) % weights.num_directions:
        raise ValueError(f"{len(layers)} layers make no {direction} stack")
    checked = []
    for index, layer in enumerate(layers):
        suffix = weights.suffix(index)
        called = {kind: (names or {}).get(kind + suffix, kind + suffix) for kind in KINDS}
        below = weights.input_size
        if index >= weights.num_directions:
            below = weights.output_size * weights.num_directions
        sizes = {"I": below, "H": weights.hidden_size, "P": weights.output_size}
        _check_layer(layer, called, sizes, finite)
        checked.append(_owned(layer) if copy else _contiguous(layer))
    return Weights(tuple(checked), direction)


def _contiguous(layer: LayerWeights) -> LayerWeights:
    """Return it with every array in C's order, which is what is packed."""
    values = layer.parameters()
    if all(value.flags.c_contiguous for value in values.values()):
        return layer
    moved = {
        kind: value if value.flags.c_contiguous else own(value, value)
        for kind, value in values.items()
    }
    return LayerWeights(**moved, cell=layer.cell)


def own(value: Float32, source: NDArray[Any]) -> Float32:
    """Return value as a C-contiguous array that nobody else can change.

    source: what value was made from. Where they may share memory, value is copied, but for memory
    that nobody can change.
    """
    if np.may_share_memory(value, source) and not _is_frozen(value):
        value = np.array(value, np.float32, order="C")
    value = np.ascontiguousarray(value)
    value.flags.writeable = False
    return value


class _Frozen:
    """Memory that only arrays which cannot be written have."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values  # which keeps the memory
        address, _ = values.__array_interface__["data"]
        self.__array_interface__ = {**values.__array_interface__, "data": (address, True)}


def frozen(values: NDArray[Scalar]) -> NDArray[Scalar]:
    """Return new values that nobody else has as an array that nobody can change; not copied."""
    return np.asarray(_Frozen(np.ascontiguousarray(values)))


def _is_frozen(value: Float32) -> bool:
    """Whether its memory is that of a bytes object, or of `frozen`, all of it."""
    base = _base(value)
    size = len(base) if type(base) is bytes else 0
    size = base.values.nbytes if type(base) is _Frozen else size
    return size == value.nbytes and value.flags.c_contiguous


def cannot_change(values: NDArray[Any]) -> bool:
    """Whether their memory, or that of which they are a part, is of bytes, or of `frozen`."""
    return type(_base(values)) in (bytes, _Frozen)


def _base(values: NDArray[Any]) -> Any:
    """Return what their memory is of; None where it is of an array."""
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    return base


def _owned(layer: LayerWeights) -> LayerWeights:
    """Return a copy whose arrays nobody else can change."""
    values = {kind: own(value, value) for kind, value in layer.parameters().items()}
    return LayerWeights(**values, cell=layer.cell)


def _check_layer(
    layer: LayerWeights, called: dict[str, str], sizes: dict[str, int], finite: bool
) -> None:
    if not isinstance(layer.cell, Cell):
        raise TypeError(f"cell must be a lstm_fast.Cell, found {type(layer.cell).__name__}")
    hidden_size, output_size = sizes["H"], sizes["P"]
    for name, size in (("input_size", sizes["I"]), ("hidden_size", hidden_size)):
        if size < 1:
            raise ValueError(f"{called['weight_ih']}: {name} must be 1 or more, found {size}")
    lengths = {**sizes, "4H": 4 * hidden_size, "3H": 3 * hidden_size}
    meaning = {"I": "input_size", "H": "hidden_size", "P": "proj_size or hidden_size"}
    for kind, value in layer.parameters().items():
        shape = tuple(lengths[size] for size in KINDS[kind])
        if value.shape != shape:
            text = ", ".join(meaning.get(s, f"{s[0]} * hidden_size") for s in KINDS[kind]) + (
                "," if len(shape) == 1 else ""
            )
            raise ValueError(f"{called[kind]} has shape {value.shape}, expected {shape}: ({text})")
        if not finite and not np.isfinite(value).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
            raise ValueError(
                f"{called[kind]} is not finite in float32: {value[where]} at {list(where)}"
            )
    _check_combination(layer, called, output_size, hidden_size)
    with np.errstate(over="ignore"):
        if not np.isfinite(layer.bias).all():
            raise ValueError(f"{called['bias_ih']} + {called['bias_hh']} overflows float32")


def _check_combination(
    layer: LayerWeights, called: dict[str, str], output_size: int, hidden_size: int
) -> None:
    """Refuse by name what nobody can mean."""
    if (layer.bias_ih is None) != (layer.bias_hh is None):
        there, missing = ("bias_hh", "bias_ih") if layer.bias_ih is None else ("bias_ih", "bias_hh")
        raise ValueError(f"{called[missing]} is missing, but {called[there]} is there")
    if layer.weight_hr is None:
        if output_size != hidden_size:
            raise ValueError(
                f"{called['weight_hh']} has {output_size} columns for {hidden_size} hidden units, "
                f"which takes a projection, {called['weight_hr']}"
            )
        for kind, is_there in (
            ("bias_hr", layer.bias_hr is not None),
            ("proj_clip", layer.cell.proj_clip is not None),
        ):
            if is_there:
                raise ValueError(
                    f"{called.get(kind, kind)} is for a projection, but {called['weight_hr']} is "
                    "missing"
                )


def check_weight_dtype(weights: Weights, weight_dtype: str) -> None:
    """Refuse a dtype that is unknown, or that can't hold these weights.

    Raises:
        TypeError: weight_dtype is not a string.
        ValueError: it is none of WEIGHT_DTYPES; a weight is too large for float16; or a row has so
            many int8 products that their sum could overflow 32 bits.
    """
    if not isinstance(weight_dtype, str):
        raise TypeError(f"weight_dtype must be a string, found {type(weight_dtype).__name__}")
    if weight_dtype not in WEIGHT_DTYPES:
        raise ValueError(
            f"there is no weight_dtype {weight_dtype!r}; choose one of {', '.join(WEIGHT_DTYPES)}"
        )
    for index, layer in enumerate(weights.layers):
        for kind in MATRICES:
            value = getattr(layer, kind)
            if value is None:
                continue
            name = kind + weights.suffix(index)
            if weight_dtype == "float16":
                largest = max(float(value.max()), -float(value.min()))
                if largest >= FLOAT16_OVERFLOW:
                    raise ValueError(f"{name} reaches {largest:g}, float16 only 65504")
            if weight_dtype == "int8" and value.shape[1] > INT8_COLUMNS:
                raise ValueError(
                    f"{name} has {value.shape[1]} columns, int8 can sum {INT8_COLUMNS} exactly"
                )


def random_weights(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    seed: int | None,
    bias: bool,
    proj_size: int = 0,
    direction: Direction = "forward",
    cell: Cell = PLAIN,
) -> Weights:
    """Draw weights as PyTorch does by default: uniform in +-1 / sqrt(hidden_size), biases too."""
    if seed is not None and (not isinstance(seed, (int, np.integer)) or seed < 0):
        raise ValueError(f"seed must be a whole number of 0 or more, or None, found {seed!r}")
    rng = np.random.Generator(np.random.PCG64(seed))
    bound = 1 / np.sqrt(hidden_size)

    def draw(*shape: int) -> Float32:
        drawn = (2 * rng.random(shape) - 1) * bound
        return own(drawn.astype(np.float32), drawn)

    rows, output_size = 4 * hidden_size, proj_size or hidden_size
    directions = 2 if direction == "bidirectional" else 1
    layers = []
    for n in range(num_layers * directions):
        weight_ih = draw(rows, input_size if n < directions else output_size * directions)
        weight_hh = draw(rows, output_size)
        b_ih, b_hh = (draw(rows), draw(rows)) if bias else (None, None)
        w_hr = draw(output_size, hidden_size) if proj_size else None
        layers.append(LayerWeights(weight_ih, weight_hh, b_ih, b_hh, w_hr, cell=cell))
    return make_weights(layers, direction, copy=False, finite=True)
