"""What a file of PyTorch's holds, unpickled: the object that was saved, and the tensors in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from ..._arrays import Float32
from ..._shown import plain
from ..._source import Source
from .._files import FormatError, checked
from .._recognise_ours import OLD_TORCH, PADDLE, PICKLE, ZIP, is_tar
from .._state_dicts import Tensor
from ._checkpoints import Search, StateDict
from ._legacy import Legacy
from ._members import PACK_AGAIN, Members
from ._pickle_values import Dict
from ._tensors import Tensors, Values
from ._zip_file import Archive

HEAD_BYTES = 512
LONGEST_TITLE = 200  # characters of a name that `Found.sources` has
ONLY_WEIGHTS = "save only the weights: torch.save(model.state_dict(), ...)"


def opened(source: Source, file: BinaryIO) -> tuple[Any, Archive | None]:
    """Return the object in a file; and the file, where it is a zip file.

    Values are read from the open file later.

    Raises:
        OSError: of the file.
        FormatError: it is damaged.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head.startswith(ZIP):
        return in_zip(Members(source, file))
    if is_tar(head):
        raise FormatError(
            f"{source}: a tar file. Where PyTorch before 0.1.10 wrote it, load it with PyTorch "
            "and save its state dict again; else unpack it"
        )
    return _in_pickle(source, Legacy(file, source.size, source.budget), head), None


def in_zip(members: Members) -> tuple[Any, Archive]:
    """Return the object in a zip file.

    Raises:
        OSError: of the file.
        FormatError: it is damaged.
    """
    archive = Archive(members)
    top = _unpickled(members.source, archive.load)
    if archive.is_compressed and not archive.is_script:
        raise FormatError(f"{members.source}: it is compressed; {PACK_AGAIN}")
    return top, archive


def state_dicts(source: Source, top: Any) -> list[StateDict]:
    """Return all state dicts in an unpickled object.

    Raises:
        FormatError: one is damaged.
    """
    with checked(source, "pickle"):
        return Search(Tensors(source.budget), source.budget).run(top)


def stored(source: object, name: str, values: Values) -> Tensor:
    """Return a tensor whose errors name the file and the tensor."""
    title = plain(name, LONGEST_TITLE)

    def read() -> Float32:
        with checked(source, title):
            return values.read()

    return Tensor(values.shape, f"{title}, {values.dtype}", read)


def _in_pickle(source: Source, legacy: Legacy, head: bytes) -> Any:
    try:
        top = _unpickled(source, legacy.load)
    except FormatError as error:
        if "joblib" in legacy.machine.packages:
            raise FormatError(
                f"{source}: joblib wrote it, with arrays between its pickles; load it with joblib "
                "and save a dict of its arrays with pickle.dump or numpy.savez"
            ) from error
        is_large = isinstance(error.__cause__, FormatError)
        if not is_large and not head.startswith((PICKLE, OLD_TORCH)):
            text = str(error).removeprefix(f"{source}: ")
            raise FormatError(
                f"{source}: it is neither a zip file nor a pickle, which PyTorch's files are; "
                f"{text}"
            ) from error
        raise
    if isinstance(top, Dict) and PADDLE in top.entries():
        raise FormatError(
            f"{source}: PaddlePaddle wrote it; load it there and save its arrays under PyTorch's "
            "names, with pickle.dump or numpy.savez"
        )
    return top


def _unpickled(source: Source, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except FormatError as error:  # of the budget
        raise FormatError(f"{error}; {ONLY_WEIGHTS}") from error
    except ValueError as error:
        raise FormatError(f"{source}: damaged: {error}") from error
