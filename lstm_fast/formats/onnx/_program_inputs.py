"""What a graph's inputs are in one step of one session: sizes, kinds, constants."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...program import Kind, Shape
from ._file import Array, Proto
from ._program_advice import FIX_AXIS
from ._program_builder import Builder, Sym, Value, stripped

KINDS: dict[int, Kind] = {1: "float32", 10: "float32", 11: "float32", 16: "float32", 9: "bool"}
KINDS.update(dict.fromkeys((2, 3, 4, 5, 6, 7, 12), "int64"))
DTYPES: dict[int, np.dtype[Any]] = {
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(bool),
    11: np.dtype(float),
}


@dataclass(frozen=True)
class Said:
    """What a caller says of inputs, by their names.

    infos: what the file says of them. shapes: with all axes, as in the file. constants: those that
    never change. time_axis: which axis is time. history: those of whose last axis a part is given.
    guesses: the last axis may be time where nothing says how long it is.
    """

    infos: Mapping[str, Proto]
    shapes: Mapping[str, Sequence[int]]
    constants: Mapping[str, Any]
    time_axis: Mapping[str, int] = field(default_factory=dict)
    history: Collection[str] = ()
    guesses: bool = True


class Inputs:
    """The values that a caller gives, each made when it is first needed.

    Args:
        builder: takes their tensors.
        said: what the file and the caller say of them.
        frames: sizes of axes that may be time, by what `free` calls them; 1 for others.

    Raises:
        ValueError: what the caller says does not fit the file.
    """

    def __init__(
        self, builder: Builder, said: Said, frames: Mapping[str, int] | None = None
    ) -> None:
        infos, shapes, constants = said.infos, said.shapes, said.constants
        builder.spend(sum(3 + len(one.type.tensor_type.shape.dim) for one in infos.values()))
        self._builder, self._infos, self._said = builder, infos, said
        self._shapes = {name: _sizes(name, shape) for name, shape in shapes.items()}
        self._constants = constants
        self.made: dict[str, Sym] = {}
        self.assumed: dict[str, list[str]] = {}  # axes that may be time, by input
        self.free: dict[str, list[str]] = {}  # the names of their sizes, or what stands for them
        self.lengths: dict[str, int] = {}  # by these names, where the file has one
        self.guessed: list[str] = []  # inputs whose last axis is taken as time, unsaid
        self.times: dict[str, list[int]] = {}  # the same axes, by their numbers
        self._frames = frames or {}
        names_of = {"shapes": shapes, "constants": constants, "time_axis": said.time_axis}
        for what, names in names_of.items():
            if unknown := sorted(set(names) - set(infos)):
                raise ValueError(
                    f"{what} names {', '.join(unknown)}, which is not an input: "
                    f"the inputs are {', '.join(infos) or 'none'}"
                )
        self._named: dict[str, int] = {}
        for name, shape in self._shapes.items():
            dims = self._dims(name)
            if dims is not None and len(dims) == len(shape):
                self._named.update(
                    {
                        dim: size
                        for dim, size in zip(dims, shape, strict=True)
                        if isinstance(dim, str)
                    }
                )

        # Names of sizes that are 1 wherever they stand, as they are on axes before the last one.
        self._ones = {
            dim
            for name in infos
            for dim in (self._dims(name) or [])[:-1]
            if isinstance(dim, str) and dim not in self._named
        }

    def value(self, name: str) -> Value:
        """Return an input's value.

        Raises:
            ValueError: nothing says one of its sizes, or what the file says makes no sense.
        """
        if name in self._constants:
            return self._constant(name)
        if name not in self.made:
            kind = KINDS.get(self._infos[name].type.tensor_type.elem_type)
            if kind is None:
                raise ValueError(f"input {name!r} holds no numbers")
            shape = self._shape(name)
            times = [axis for axis in self.times.get(name, ()) if shape[axis] == 1]
            frame = [size for axis, size in enumerate(shape) if axis not in times]
            self.made[name] = Sym(self._builder.tensor(stripped(frame), kind), shape)
        return self.made[name]

    @property
    def is_one_frame(self) -> bool:
        """Tell whether an axis that may be time has one frame."""
        return bool(self.assumed) and not self._frames

    def fixed(self) -> dict[str, int]:
        """Return how many frames the file has where a time axis is said, as `lengths` does."""
        twin = Inputs(self._builder, self._said)
        for name in self._said.time_axis:
            twin._shape(name)
        return twin.lengths

    def ordered(self) -> dict[str, Sym]:
        """Return those that were needed, in the order of the file."""
        return {name: self.made[name] for name in self._infos if name in self.made}

    def _dims(self, name: str) -> list[int | str | None] | None:
        """Return sizes, names of sizes, and None for what has neither; None for no shape at all."""
        kind = self._infos[name].type.tensor_type
        if not kind.HasField("shape"):
            return None
        return [
            int(dim.dim_value) if dim.dim_value > 0 else (dim.dim_param or None)
            for dim in kind.shape.dim
        ]

    def _shape(self, name: str) -> Shape:
        dims, said = self._dims(name), self._shapes.get(name)
        if dims is None:
            if said is None:
                raise ValueError(
                    f'the shape of input {name!r} is not in the file: say shapes={{"{name}": '
                    "(...)}, with all its axes, as in the file"
                )
            dims = list(said)
        if said is not None:
            fits = len(said) == len(dims) and all(
                size == dim or not isinstance(dim, int)
                for size, dim in zip(said, dims, strict=True)
            )
            if not fits:
                text = f"shapes says {name!r} is {said}, in the file it is {_text(dims)}"
                if len(said) == len(dims):
                    text += f"; where the file fixes a size, {FIX_AXIS}"
                raise ValueError(text)
        at = self._time_axis(name, len(dims))
        known = dims if said is None else list(said)
        sizes: list[int | None] = []
        for axis, dim in enumerate(known):
            if axis == at:
                sizes.append(self._frame(name, axis, len(dims), dims[axis] or dim))
                if said is not None and said[axis] > 1:
                    self.lengths[self.free[name][-1]] = said[axis]
            else:
                sizes.append(dim if isinstance(dim, int) else self._free(name, axis, dims))
        if None in sizes:
            last = len(dims) - 1
            may_be = last > 1 or self._is_whole(name)
            time = f', or, where that is time, time_axis={{"{name}": {last}}}' if may_be else ""
            raise ValueError(
                f"input {name!r} is {_text(dims)} in the file, and nothing says what "
                f"{' and '.join(_text([d]) for d, s in zip(dims, sizes, strict=True) if s is None)}"
                f" is in one step: say {_say(name, sizes)}{time}"
            )
        return tuple(size for size in sizes if size is not None)

    def _free(self, name: str, axis: int, dims: list[int | str | None]) -> int | None:
        """Return what a free size is in one step of one session, None where that is not known."""
        dim = dims[axis]
        if isinstance(dim, str) and dim in self._named:
            return self._named[dim]
        last = axis == len(dims) - 1
        if is_batch(dim, last):
            return 1
        if last and dim not in self._ones:
            if not self._may_be_time(name, dims):
                return None
            self.guessed.append(name)
        return self._frame(name, axis, len(dims), dim) if axis > 0 or dim is not None else 1

    def _is_whole(self, name: str) -> bool:
        """Tell whether an input holds whole numbers."""
        return KINDS.get(self._infos[name].type.tensor_type.elem_type) == "int64"

    def _may_be_time(self, name: str, dims: Sequence[int | str | None]) -> bool:
        """Tell whether a free last axis may be time: behind channels, and no other one may be.

        So may that of whole numbers behind sequences, (batch, time), of which each is a frame.
        """
        batch = dims[0] is None or is_batch(dims[0], False) or dims[0] == 1
        others = all(isinstance(dim, int) for dim in dims[1:-1])
        has_frames = len(dims) > 2 or self._is_whole(name)
        unsaid = name not in self._said.time_axis and name not in self._said.history
        return self._said.guesses and has_frames and batch and others and unsaid

    def _frame(self, name: str, axis: int, rank: int, dim: int | str | None) -> int:
        """Return how many frames there are along an axis of time; dim: its size in the file."""
        if axis == rank - 1 and name in self._said.history:
            raise ValueError(
                f"history= is of the last axis of input {name!r}, which is time: say its size, "
                f'shapes={{"{name}": <sizes>}}, history and all, and no time_axis='
            )
        shown = dim if isinstance(dim, str) else "of free size"
        whole = f"axis {axis}" if isinstance(dim, int) else f"axis {axis} ({shown})"
        self.assumed.setdefault(name, []).append(whole)
        free = dim if isinstance(dim, str) else f"axis {axis} of {name}"
        self.free.setdefault(name, []).append(free)
        self.times.setdefault(name, []).append(axis)
        if isinstance(dim, int) and dim > 1:
            self.lengths[free] = dim
        return self._frames.get(free, 1)

    def _time_axis(self, name: str, rank: int) -> int | None:
        """Return which axis of an input is time, where that is said."""
        said = self._said.time_axis.get(name)
        if said is None:
            return None
        if not -rank <= said < rank:
            raise ValueError(f"time_axis says {said} of input {name!r}, which has {rank} axes")
        return said % rank

    def say(self, name: str) -> str:
        """Return what to pass as shapes= for the shape that was taken."""
        return _say(name, self.made[name].shape)

    def say_so_many(self) -> str:
        """Return what to pass where the graph is made for some number of frames."""
        name, axes = next(iter(self.times.items()))
        sizes = [None if n == axes[-1] else size for n, size in enumerate(self.made[name].shape)]
        return (
            f"{_say(name, sizes)} with that number in the place of ..., and "
            f'time_axis={{"{name}": {axes[-1]}}}'
        )

    def _constant(self, name: str) -> Array:
        number = self._infos[name].type.tensor_type.elem_type
        kind = KINDS.get(number)
        if kind is None:
            raise ValueError(f"input {name!r} holds no numbers")
        dtype: np.dtype[Any] = DTYPES.get(number, np.dtype(kind))
        value = np.array(self._constants[name])  # which the caller may change
        if value.dtype.kind not in "biuf" or (kind == "int64" and value.dtype.kind == "f"):
            raise ValueError(f"constants gives {name!r} as {value.dtype}, it is {kind} in the file")
        dims = self._dims(name)
        if dims is not None:
            if value.size == 1 and len(dims) != value.ndim:
                value = value.reshape((1,) * len(dims))
            fits = len(dims) == value.ndim and all(
                size == dim or not isinstance(dim, int)
                for size, dim in zip(value.shape, dims, strict=True)
            )
            if not fits:
                raise ValueError(
                    f"constants gives {name!r} in shape {value.shape}, "
                    f"it is {_text(dims)} in the file"
                )
        return value.astype(dtype)


def is_batch(dim: int | str | None, last: bool) -> bool:
    """Tell whether a size's name says that it counts sequences; the last axis may have N values."""
    if not isinstance(dim, str):
        return False
    return "batch" in dim.lower() or (dim.lower() in ("n", "b", "bs") and not last)


def _sizes(name: str, shape: Any) -> Shape:
    try:
        sizes = tuple(int(size) for size in shape)
        whole = all(size == given for size, given in zip(sizes, shape, strict=True))
    except (TypeError, ValueError):
        whole, sizes = False, ()
    if not whole or any(size < 1 for size in sizes) or math.prod(sizes) > 1 << 24:
        raise ValueError(f"shapes gives {name!r} as {shape!r}, expected sizes of 1 or more")
    return sizes


def _text(dims: Sequence[int | str | None]) -> str:
    names = ["?" if dim is None else str(dim) for dim in dims]
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _say(name: str, sizes: Sequence[int | None]) -> str:
    shown = ", ".join("..." if size is None else str(size) for size in sizes)
    return f'shapes={{"{name}": ({shown}{"," if len(sizes) == 1 else ""})}}'
