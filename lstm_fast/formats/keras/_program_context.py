"""What each layer of a chain gets when it is turned into operations: the value so far, weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..._arrays import Float32
from ..._budget import Budget
from ..._program_writer import Writer
from ...program import Shape
from .._inventory import brief
from ._calls import kind_of
from ._hdf5 import Object
from ._hdf5_messages import Hdf5Error
from ._model import Path
from ._program_chain import Piece

FLOATS = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


class Context:
    """The program so far, and where in Keras's axes its value stands.

    Keras's axes are the batch, time where `has_time`, and those of a frame, which `shape` has.
    `steps` is how long time is, None where the file leaves it open.

    Args:
        root: of the HDF5 file.
        major: the version of Keras.
    """

    def __init__(self, root: Object, major: int | None) -> None:
        self.writer = Writer()
        self.major = major
        self.tensor = -1
        self.has_time = False
        self.steps: int | None = None
        self._root = root

    @property
    def budget(self) -> Budget:
        """What is charged."""
        return self._root.budget

    @property
    def shape(self) -> Shape:
        """The shape of a frame."""
        return self.writer.tensor(self.tensor).shape

    def apply(self, code: str, *others: int, **attributes: object) -> None:
        """Let an operation work on the value."""
        self.tensor = self.writer.emit(code, self.tensor, *others, **attributes)

    def last(self) -> int:
        """Return the size of a frame's last axis.

        Raises:
            ValueError: a frame is one number, without axes.
        """
        if not self.shape:
            raise ValueError("a frame is one number, and it takes an axis of features")
        return self.shape[-1]

    def axis(self, axis: object) -> int:
        """Return an axis of a frame, of one counted as Keras does.

        Raises:
            ValueError: it is that of the batch or of time, or there is none.
        """
        ahead = 2 if self.has_time else 1
        rank = ahead + len(self.shape)
        if type(axis) is not int or not -rank <= axis < rank:
            raise ValueError(f"axis is {brief(axis, 40)}, of a value with {rank} axes")
        if axis % rank < ahead:
            what = ("the batch", "time")[axis % rank]
            raise ValueError(f"it works along axis {axis}, that of {what}: a step has one frame")
        return axis % rank - ahead

    def arrays(self, group: Path, shapes: Sequence[Shape], turned: bool = False) -> list[Float32]:
        """Return the weights of a layer.

        Args:
            group: where they are.
            shapes: what the layer's options make of them.
            turned: whether the axes of what is returned stand the other way round.

        Raises:
            ValueError: they are missing, damaged, of other shapes, not finite, or too many.
        """
        place, found = self._root.get(*group, "vars"), []
        for number, shape in enumerate(shapes):
            path = f"{'/'.join(group)}/vars/{number}"
            array = None if place is None else place.get(str(number))
            if array is None or not array.is_array:
                raise ValueError(f"its weights {path} are missing")
            if array.shape != shape:
                raise ValueError(f"its weights {path} have shape {array.shape}, expected {shape}")
            try:
                values = array.read(turned)
            except Hdf5Error as error:
                raise type(error)(f"{path}: {error}") from None
            if not np.isfinite(values).all():
                raise ValueError(f"its weights {path} are not all finite in float32")
            found.append(values)
        if place is not None and place.get(str(len(shapes))) is not None:
            path = f"{'/'.join(group)}/vars/{len(shapes)}"
            raise ValueError(f"it has more weights than its options tell of: {path}")
        return found


def size(piece: Piece, name: str) -> int:
    """Return an option that is a size: a number of 1 or more, or a list of one such.

    Raises:
        ValueError: it is something else.
    """
    value = piece.options.get(name)
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"{name} is {brief(value, 40)}, expected 1 or more")
    return value


def flag(piece: Piece, name: str, usual: bool) -> bool:
    """Return an option that is True or False.

    Raises:
        ValueError: it is something else.
    """
    value = piece.options.get(name, usual)
    if type(value) is not bool:
        raise ValueError(f"{name} is {brief(value, 40)}, expected true or false")
    return value


def number(piece: Piece, name: str, usual: float) -> float:
    """Return an option that is a finite number.

    Raises:
        ValueError: it is something else.
    """
    value = piece.options.get(name, usual)
    if type(value) not in (int, float) or not abs(value) <= float(np.finfo(np.float32).max):
        raise ValueError(f"{name} is {brief(value, 40)}, expected a number")
    return float(value)


def precision(piece: Piece) -> str:
    """Return the type that a layer computes in, as Keras calls it.

    Raises:
        ValueError: it is quantised, or of a policy that is not known here.
    """
    policy = piece.options.get("dtype", "float32")
    if isinstance(policy, dict):
        inner = policy.get("config")
        known = kind_of(policy) == "DTypePolicy" and isinstance(inner, dict)
        policy = inner.get("name") if known and isinstance(inner, dict) else kind_of(policy)
    if policy not in FLOATS:
        raise ValueError(f"it computes in {brief(policy, 60)!r}; save it with float32 weights")
    return str(policy).removeprefix("mixed_")
