"""Arrays in an .npz file under the names of PyTorch, MLX or Flax.

    np.savez("model.npz", **{name: value.numpy() for name, value in model.state_dict().items()})
    model.save_weights("model.npz")                                                   # MLX
    np.savez("model.npz", **flax.traverse_util.flatten_dict(variables, sep="/"))      # Flax

Those of TensorFlow 1 are read by `tf1`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from .._arrays import Float32
from .._source import Readable, Source
from . import _npy, _other_names, _zip
from ._files import FormatError, Found, Refused, checked
from ._inventory import listed
from ._recognise_ours import FORMATS
from ._state_dicts import Tensor

SUFFIXES, recognise = FORMATS["npz"]
STEPS_A_MEMBER = 150  # opening one takes about as long


def read(path: Readable, *, ignore: str | Iterable[str] = ()) -> list[Found | Refused]:
    """Return every LSTM under the names of PyTorch, MLX or Flax.

    Args:
        path: the file, see `Source`.
        ignore: patterns of names, as of `fnmatch`, of arrays that are left out.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or no LSTM in it can be computed.
    """
    source = Source.of(path)
    with _archive(source) as archive:  # which stays open, since to open it takes all its names
        return _other_names.find(source, _tensors(source, archive), ignore)


@contextmanager
def _damage() -> Iterator[None]:
    """Turn whatever a damaged archive, member or header can raise into a `ValueError`."""
    try:
        yield
    except (FormatError, ValueError, TypeError):
        raise
    except Exception as error:
        raise ValueError(f"damaged: {error or type(error).__name__}") from error


@contextmanager
def _archive(source: Source) -> Iterator[zipfile.ZipFile]:
    with source.open() as file, ExitStack() as stack:
        with checked(source, "zip file"), _damage():
            archive = stack.enter_context(_zip.opened(source, file))
        yield archive


def _tensors(source: Source, archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """Return all arrays by name; only the headers are read."""
    tensors = {}
    members = archive.infolist()
    if sum(member.compress_size for member in members) > source.size:
        raise FormatError(f"{source}: its arrays claim more bytes than the file has")
    for member in members:
        name = member.filename.removesuffix(".npy")
        source.budget.work(STEPS_A_MEMBER, "reading its arrays")
        header = _header(source, archive, member, name)
        if header.size_bytes > member.file_size:
            raise FormatError(
                f"{source}: array {name!r}: {header.shape} of {header.dtype} is not what it holds"
            )
        read = partial(_read, source, archive, member, name)
        tensors[name] = Tensor(header.shape, f"array {name!r}, {header.dtype}", read)
    return tensors


def _header(
    source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str
) -> _npy.Header:
    _zip.check_packing(source, member)
    with checked(source, f"array {name!r}"), _damage(), archive.open(member) as file:
        return _npy.read_header(file, source.budget)


def _read(source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Float32:
    source.budget.work(STEPS_A_MEMBER, "reading its arrays")
    with checked(source, f"array {name!r}", TypeError):
        with _damage(), archive.open(member) as file:
            header = _npy.read_header(file, source.budget)
            free_again, kept = _costs(header, member)
            source.budget.memory(free_again + kept, "its values")
            data = file.read(header.size_bytes)
        if len(data) != header.size_bytes:
            raise ValueError(f"it ends after {len(data)} of {header.size_bytes} bytes")
        values = header.values(data, name)
        source.budget.give_back(free_again)
        return values


def _costs(header: _npy.Header, member: zipfile.ZipInfo) -> tuple[int, int]:
    """Return what an array takes while it is read, and what it takes from then on.

    Four times the member is for free where an LSTM packs the values once more.
    """
    pieces = 0 if member.compress_type == zipfile.ZIP_STORED else header.size_bytes  # zlib joins
    packed = max(0, header.kept_bytes - 4 * member.compress_size)
    return pieces + header.raw_bytes, header.kept_bytes + packed


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    with _archive(source) as archive:
        return f"there are arrays {listed(_tensors(source, archive))}"
