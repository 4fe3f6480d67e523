"""What every reader needs: what it found, and errors that name the file and the part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from .._extras import install
from .._weights import Weights
from ..errors import FormatError

__all__ = ["FormatError", "Found", "MissingExtraError", "Refused", "checked"]


@dataclass(frozen=True)
class Found:
    """One LSTM in a file.

    What is told of it is either a note or an assumption. An assumption is whatever can make this
    LSTM, from a reset and on the same frames, put out something else than the one in the file, by
    more than rounding in float32: an option that the file leaves open; a mask, a merge, an order of
    steps or a first state of the model around it that is left out; arithmetic of fewer bits. That
    another LSTM of the file cannot be computed is one, too. What the caller gives both there and
    here (a state or lengths that are inputs of the model) is a note.

    name: what `load(name=...)` takes, unique in the file; "" where nothing in the file names it.
    weights: its weights and variant.
    sources: where each parameter comes from, by PyTorch's names ("weight_ih_l0") and in words of
        the file ("W of node lstm_1, gates i, o, f, c").
    notes: what a user should know and what changes no result, such as what was folded.
    assumptions: as said above; `load` warns of them.
    parts: the names in the file of what it was made of, layer by layer from the bottom up (and
        direction by direction, where these have names of their own), where they differ from
        `name`.
    error: None; see `Refused`.

    Example:
        >>> import io
        >>> import numpy as np
        >>> from lstm_fast import LSTM, formats
        >>> file = io.BytesIO()  # or a path
        >>> np.savez(file, **LSTM.random(3, 4).state_dict())
        >>> found = formats.read(file.getvalue())[0]
        >>> found.weights.hidden_size, found.sources["bias_ih_l0"], found.assumptions
        (4, "array 'bias_ih_l0', float32", ())
    """

    name: str
    weights: Weights
    sources: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    error: None = field(default=None, init=False)


@dataclass(frozen=True)
class Refused:
    """One LSTM in a file that cannot be computed, in the place where it would stand.

    name: as of `Found`.
    error: why not; asking for the weights raises it.
    parts: as of `Found`.

    Example:
        >>> import io
        >>> import numpy as np
        >>> from lstm_fast import LSTM, formats
        >>> weights = LSTM.random(3, 4).state_dict()
        >>> arrays = {f"a.{name}": w for name, w in weights.items()}
        >>> arrays |= {f"b.{name}": np.full(w.shape, np.nan) for name, w in weights.items()}
        >>> file = io.BytesIO()  # or a path
        >>> np.savez(file, **arrays)
        >>> for one in formats.read(file.getvalue()):
        ...     print(one.name, one.error)
        a None
        b <bytes>: LSTM 'b': b.weight_ih_l0 is not finite in float32: nan at [0, 0]
    """

    name: str
    error: FormatError
    parts: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict, init=False)
    notes: tuple[str, ...] = field(default=(), init=False)
    assumptions: tuple[str, ...] = field(default=(), init=False)

    @property
    def weights(self) -> NoReturn:
        raise self.error


class MissingExtraError(FormatError, ImportError):
    """A library is missing that this format needs; the text says which extra brings it.

    Example:
        >>> print(MissingExtraError("model.onnx", "onnx", "onnx"))  # what `load` says without it
        model.onnx: reading it takes the library onnx: ...
    """

    def __init__(self, path: object, library: str, extra: str) -> None:
        super().__init__(f"{path}: reading it takes the library {library}: {install(extra)}")


@contextmanager
def checked(path: object, part: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of a library, or of our own checks, into a `FormatError` that names the part."""
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        if not isinstance(error, (ValueError, *errors)):
            raise
        text = str(error) or type(error).__name__
        raise FormatError(f"{path}: {part}: {text}") from error
