"""The forms in which PyTorch keeps a parameter that it computes from others: the pieces of each.

    weight norm         weight_g and weight_v, or parametrizations.weight.original0 and .original1
    spectral norm       weight_orig, weight_u and weight_v, or parametrizations.weight.original, and
                        .0._u and .0._v
    pruning             weight_orig and weight_mask
    dropout of weights  weight_raw; what it was made to last may stand beside it as weight

What a module computes of them in evaluation is computed here in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arguments import to_float32

# What makes an LSTM of a prefix: pieces of weight_ih that have its shape.
FIRST = frozenset({"", "_v", "_orig", "_raw", ".original", ".original1"})

Float64: TypeAlias = NDArray[np.float64]


class Tensor(Protocol):
    """A named tensor: its shape, where it is in words, and a function that reads it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def source(self) -> str: ...

    @property
    def read(self) -> Callable[[], Any]: ...


@dataclass(frozen=True)
class Form:
    """One way to keep a parameter.

    pieces: which there are, the first of the parameter's own shape.
    compute: the parameter from the values of the pieces; None where it is the first of them.
    says: what to call it.
    unused: pieces that may stand beside it and are not used in evaluation.
    is_assumed: whether its meaning is a guess that is to be said.
    """

    pieces: tuple[str, ...]
    says: str
    compute: Callable[..., Float64] | None = None
    unused: frozenset[str] = frozenset()
    is_assumed: bool = False


def _weight_norm(v: Float64, g: Float64) -> Float64:
    """Return g v / |v|, with the norm over the axes that g does not have."""
    pairs = list(zip(g.shape, v.shape, strict=False))
    kept = [n for n, _ in pairs if n != 1]
    fits = g.ndim == v.ndim and len(kept) <= 1 and all(n in (1, m) for n, m in pairs)
    if g.size != 1 and not fits:
        raise ValueError(f"a weight norm of shapes {g.shape} and {v.shape}")
    axes = tuple(axis for axis in range(v.ndim) if g.size == 1 or g.shape[axis] != v.shape[axis])
    norm = np.sqrt(np.square(v).sum(axis=axes, keepdims=True)) if axes else np.abs(v)
    result: Float64 = v * (g.reshape(-1)[0] if g.size == 1 else g) / norm
    return result


def _spectral_norm(weight: Float64, u: Float64, v: Float64) -> Float64:
    """Return W / (u W v), as in evaluation, where the vectors are what they were last."""
    matrix = weight.reshape(len(weight), -1) if weight.ndim else weight
    if (u.size, v.size) != matrix.shape:
        matrix = matrix.T  # the norm over the other dimension
    if u.ndim != 1 or v.ndim != 1 or (u.size, v.size) != matrix.shape:
        raise ValueError(
            f"a spectral norm of shapes {weight.shape}, and {u.shape} and {v.shape} of its vectors"
        )
    result: Float64 = weight / (u @ (matrix @ v))
    return result


def _pruned(weight: Float64, mask: Float64) -> Float64:
    if mask.shape != weight.shape:
        raise ValueError(f"a mask of shape {mask.shape} for a weight of shape {weight.shape}")
    return weight * mask


PLAIN = Form(("",), "")
FORMS = (
    PLAIN,
    Form(("_v", "_g"), "weight norm", _weight_norm),
    Form((".original1", ".original0"), "weight norm", _weight_norm),
    Form(("_orig", "_u", "_v"), "spectral norm", _spectral_norm),
    Form((".original", ".0._u", ".0._v"), "spectral norm", _spectral_norm),
    Form(("_orig", "_mask"), "pruning", _pruned),
    Form(("_raw",), "dropout of weights", unused=frozenset({""}), is_assumed=True),
)


def form_of(pieces: Mapping[str, str]) -> Form | None:
    """Return the form that has these pieces, or None; the values are their names."""
    there = pieces.keys()
    for form in FORMS:
        wanted = set(form.pieces)
        if there == wanted or (wanted <= there and there - wanted <= form.unused):
            return form
    return None


def compute(form: Form, tensors: Mapping[str, Tensor]) -> Any:
    """Return a parameter from its pieces, by name in their order: float32, or the piece as it is.

    Raises:
        ValueError: their shapes are not those of this form. And what reading them raises.
    """
    if form.compute is None:
        return next(iter(tensors.values())).read()
    values = [to_float32(tensor.read(), name, None, "") for name, tensor in tensors.items()]
    with np.errstate(all="ignore"):  # what is not finite is found by its value
        try:
            result = form.compute(*(value.astype(np.float64) for value in values))
        except ValueError as error:
            raise ValueError(f"{next(iter(tensors))}: {error}") from None
        return result.astype(np.float32)
