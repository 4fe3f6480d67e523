"""The operations of whole models without weights, on the Numba backend: same bits as the C core.

What moves or compares values is NumPy's, what computes floats a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import reference_operations
from .._arrays import Float32, canonical
from ..operations import OPERATIONS
from ._numba_elements import L2, MAX, MEAN, MIN, SUM, kernel
from ._numba_kernels import FLOATS, ffi

Array: TypeAlias = NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]
Function: TypeAlias = Callable[..., Any]


def compute(code: str, attributes: Attributes, *inputs: Array | None) -> tuple[Array, ...]:
    """Return the output of one operation, as `reference_operations.compute` but in float32.

    Raises:
        ValueError: `embedding` is given an index beyond its table.
    """
    with np.errstate(all="ignore"):  # what is not finite is allowed
        return (np.asarray(FUNCTIONS[code](attributes, *inputs)),)


def _read(x: Array) -> Any:
    """Return a pointer to a C-contiguous array, which it keeps alive."""
    return ffi.from_buffer(FLOATS, x)


def _written(y: Array) -> Any:
    return ffi.from_buffer(FLOATS, y, True)


# ---- element by element ----

# Which attributes are a kernel's alpha and beta.
PARAMETERS = {"clip": ("min", "max"), "hard_sigmoid": ("alpha", "beta")}


def _of_one(code: str) -> Function:
    number = OPERATIONS[code].number
    names = PARAMETERS.get(code, ("alpha", "beta"))

    def function(attributes: Attributes, x: Array) -> Float32:
        alpha, beta = (attributes.get(name, 0.0) for name in names)
        if code == "gelu":
            alpha = float(attributes["approximate"] == "tanh")
        x = np.ascontiguousarray(x).reshape(x.shape)  # which a scalar would lose
        y = np.empty(x.shape, np.float32)
        kernel("unary")(number, alpha, beta, _read(x), _written(y), x.size)
        return y

    return function


def _of_two(code: str) -> Function:
    number = OPERATIONS[code].number

    def function(attributes: Attributes, a: Array, b: Array) -> Float32:
        y = np.empty(np.broadcast_shapes(a.shape, b.shape), np.float32)
        a, b = (np.ascontiguousarray(np.broadcast_to(one, y.shape)) for one in (a, b))
        kernel("binary")(number, _read(a), _read(b), _written(y), y.size)
        return y

    return function


# ---- along axes ----


def _softmax(code: str) -> Function:
    number = OPERATIONS[code].number

    def function(attributes: Attributes, x: Array) -> Float32:
        axis = attributes["axis"]
        x = np.ascontiguousarray(np.moveaxis(x, axis, -1))
        y, count = np.empty_like(x), x.shape[-1]
        kernel("along")(number, _read(x), _written(y), x.size // count, count)
        return np.moveaxis(y, -1, axis)

    return function


def _layer_norm(
    attributes: Attributes, x: Array, scale: Array | None = None, bias: Array | None = None
) -> Float32:
    x, count = np.ascontiguousarray(x), x.shape[-1]
    y = np.empty_like(x)
    factors = (
        ffi.NULL if one is None else _read(np.ascontiguousarray(one)) for one in (scale, bias)
    )
    kernel("layer_norm")(
        attributes["epsilon"], *factors, _read(x), _written(y), x.size // count, count
    )
    return y


REDUCTIONS = {"sum": SUM, "mean": MEAN, "max": MAX, "min": MIN, "l2": L2}


def _reduce(attributes: Attributes, x: Array) -> Float32:
    axes = attributes["axes"]
    stay = [axis for axis in range(x.ndim) if axis not in axes]
    sizes = [x.shape[axis] for axis in stay]
    rows = np.ascontiguousarray(x.transpose(*stay, *axes)).reshape(int(np.prod(sizes)), -1)
    y = np.empty(len(rows), np.float32)
    number = REDUCTIONS[attributes["kind"]]
    kernel("along")(number, _read(rows), _written(y), *rows.shape)
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    return y.reshape(kept if attributes["keepdims"] else sizes)


# ---- movement ----


def _pad(attributes: Attributes, x: Array) -> Array:
    value = canonical(np.float32(attributes["value"]))
    result: Array = reference_operations.FUNCTIONS["pad"]({**attributes, "value": value}, x)
    return result


def _cast(attributes: Attributes, x: Array) -> Array:
    if attributes["kind"] == "float32":
        return x.astype(np.float32)
    result: Array = reference_operations.FUNCTIONS["cast"](attributes, x)
    return result


ONE_INPUT = (
    *("relu", "sigmoid", "tanh", "exp", "log", "abs", "neg", "sqrt", "reciprocal", "erf"),
    *("softplus", "softsign", "hard_swish", "square", "hard_sigmoid", "elu", "leaky_relu"),
    *("gelu", "clip"),
)
TWO_INPUTS = ("add", "sub", "mul", "div", "minimum", "maximum", "pow", "prelu")
EXACT = (
    *("less", "greater", "equal", "logical_and", "logical_or", "logical_not", "where"),
    *("concat", "slice", "gather", "embedding", "transpose", "reshape", "expand"),
)
FUNCTIONS: dict[str, Function] = {
    **{code: _of_one(code) for code in ONE_INPUT},
    **{code: _of_two(code) for code in TWO_INPUTS},
    **{code: _softmax(code) for code in ("softmax", "log_softmax")},
    "layer_norm": _layer_norm,
    "reduce": _reduce,
    **{code: reference_operations.FUNCTIONS[code] for code in EXACT},
    "pad": _pad,
    "cast": _cast,
}
