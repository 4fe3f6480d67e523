"""From a file of PyTorch's to LSTMs of ours: what is unpickled, then the LSTMs in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ..._arrays import Float32
from ..._source import Readable, Source
from .. import _state_dicts
from .._files import FormatError, Found, Refused, checked
from .._recognise_ours import OLD_TORCH, PADDLE, PICKLE, ZIP
from .._state_dicts import Tensor
from ._checkpoints import Search, StateDict
from ._legacy import Legacy
from ._pickle_values import Dict, described, parts, printable
from ._tensors import Tensors, Values
from ._zip_file import PACK_AGAIN, Archive

Patterns: TypeAlias = "str | Iterable[str]"  # of `ignore`

HEAD_BYTES = 512
TAR = b"ustar"
TAR_PLACE = 257
QUANTIZED = ("_all_weight_values", "_packed_params")
NAMES_SHOWN = 12
ONLY_WEIGHTS = "save only the weights: torch.save(model.state_dict(), ...)"


def read(path: Readable, *, ignore: str | Iterable[str] = ()) -> list[Found | Refused]:
    """Return every LSTM under PyTorch's names, in a state dict, whatever is around it, or a module.

    Args:
        path: the file, by its path, as bytes, or open; see `Source`.
        ignore: patterns of names, as of `fnmatch`, of tensors that are left out.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or there is no LSTM in it.
    """
    source = Source.of(path)
    with source.open() as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if head.startswith(ZIP):
            return _read_zip(source, Archive(source, file), ignore)
        if head[TAR_PLACE:].startswith(TAR):
            raise FormatError(
                f"{source}: a tar file. Where PyTorch before 0.1.10 wrote it, load it with PyTorch "
                "and save its state dict again; else unpack it"
            )
        return _read_pickle(source, Legacy(file, source.size, source.budget), head, ignore)


def _read_zip(source: Source, archive: Archive, ignore: Patterns) -> list[Found | Refused]:
    top = _unpickled(source, archive.load)
    if archive.is_compressed and not archive.is_script:
        raise FormatError(f"{source}: it is compressed; {PACK_AGAIN}")
    return _find(source, top, ignore, archive)


def _constants(archive: Archive | None) -> int:
    """Return how many tensors are constants of TorchScript's code, which have no names."""
    if archive is None or not archive.is_script:
        return 0
    tensors = Tensors(archive.source.budget)
    try:
        constants = parts(archive.load("constants.pkl"))
        return sum(tensors.find(value) is not None for _, value in constants)
    except ValueError:
        return 0  # another error says more


def _read_pickle(
    source: Source, legacy: Legacy, head: bytes, ignore: Patterns
) -> list[Found | Refused]:
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
    return _find(source, top, ignore)


def _unpickled(source: Source, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except FormatError as error:  # of the budget
        raise FormatError(f"{error}; {ONLY_WEIGHTS}") from error
    except ValueError as error:
        raise FormatError(f"{source}: damaged: {error}") from error


def _find(
    source: Source, top: Any, ignore: Patterns, archive: Archive | None = None
) -> list[Found | Refused]:
    """Return the LSTMs in an unpickled object."""
    with checked(source, "pickle"):
        dicts = Search(Tensors(source.budget), source.budget).run(top)
    with_lstm = [one for one in dicts if one.has_lstm]
    alone = len(with_lstm) == 1  # then what is around it needs no name
    tensors: dict[str, Tensor] = {}
    refused: list[Refused] = []
    for one in with_lstm:
        prefix = "" if alone else one.place
        for name, values in one.tensors.items():
            if prefix + name in tensors:
                raise FormatError(f"{source}: two tensors in it are {printable(prefix + name)}")
            tensors[prefix + name] = _stored(source, one.place + name, values)
        for name, reason in one.quantized.items():
            error = _quantized(f"{source}: {printable(one.place + reason)}")
            refused.append(Refused((prefix + name).removesuffix("."), error))
    try:
        found = _state_dicts.find(source, tensors, source.budget, ignore)
    except FormatError as error:
        texts = [str(error), *(str(one.error) for one in refused[:1])]
        raise FormatError("; ".join(texts)) from error
    if not found:
        raise refused[0].error if refused else _nothing(source, top, dicts, archive)
    return [*found, *refused]


def _stored(source: object, name: str, values: Values) -> Tensor:
    """Return a tensor whose errors name the file and the tensor."""
    title = printable(name)

    def read() -> Float32:
        with checked(source, title):
            return values.read()

    return Tensor(values.shape, f"{title}, {values.dtype}", read)


def _quantized(title: str) -> FormatError:
    return FormatError(
        f"{title}: quantized by PyTorch; convert the float model: what is packed here only its own "
        "library reads, so save model.state_dict() before torch.ao.quantization changes the model "
        "(quantize_dynamic, convert); weight_dtype='int8' makes its weights small here"
    )


def _nothing(
    source: Source, top: Any, dicts: list[StateDict], archive: Archive | None
) -> FormatError:
    """Return the error that says what there is where there is no LSTM."""
    names = [one.place + name for one in dicts for name in one.tensors]
    constants = _constants(archive)
    if constants and not names:
        return FormatError(
            f"{source}: there is no LSTM in it, but code with {constants} tensors as constants, as "
            "torch.jit.freeze leaves them; save the module before it is frozen or optimized"
        )
    if not names:
        return FormatError(f"{source}: there is no LSTM in it, and no tensor, but {described(top)}")
    shown = ", ".join(printable(name, 80) for name in names[:NAMES_SHOWN])
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    packed = next((one.place + one.packed for one in dicts if one.packed), None)
    if packed is not None:
        more += f"; {printable(packed)} was quantized by PyTorch"
    return FormatError(
        f"{source}: there is no LSTM in it (no weight_ih_l0 and weight_hh_l0), but "
        f"{len(names)} tensors: {shown}{more}"
    )
