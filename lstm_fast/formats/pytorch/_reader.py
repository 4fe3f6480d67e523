"""From a file of PyTorch's to LSTMs of ours: what is unpickled, then the LSTMs in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._shown import plain
from ..._source import Readable, Source
from .. import _state_dicts
from .._files import FormatError, Found, Refused
from .._recognise_ours import ZIP, exported_root, is_nemo, torch_root
from .._state_dicts import Patterns, Tensor
from . import _exported, _nemo, _shards
from ._checkpoints import StateDict
from ._members import Members
from ._opened import HEAD_BYTES, in_zip, opened, state_dicts, stored
from ._pickle_values import described, parts
from ._tensors import Tensors
from ._zip_file import Archive

QUANTIZED = ("_all_weight_values", "_packed_params")
UNREGISTERED = (
    "; weights of a module that is not an attribute of another are constants there, without names: "
    "make it one, and export again"
)
NAMES_SHOWN = 12


def read(path: Readable, *, ignore: str | Iterable[str] = ()) -> list[Found | Refused]:
    """Return every LSTM under PyTorch's names, in a state dict, whatever is around it, or a module.

    Args:
        path: the file, by its path, as bytes, or open, see `Source`; or the index
            (pytorch_model.bin.index.json) beside its shards, by its path.
        ignore: patterns of names, as of `fnmatch`, of tensors that are left out.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or there is no LSTM in it.

    Example:
        >>> import io, torch
        >>> file = io.BytesIO()
        >>> torch.save({"model": torch.nn.LSTM(3, 4, num_layers=2).state_dict(), "epoch": 7}, file)
        >>> [(one.weights.hidden_size, one.weights.num_layers) for one in read(file.getvalue())]
        [(4, 2)]
    """
    source = Source.of(path)
    if source.name.endswith(".json"):
        return _shards.read(source, ignore)
    with source.open() as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if is_nemo(source, head):
            return _read_saved(_nemo.weights(source, file), ignore)
        if head.startswith(ZIP):
            return _read_zip(Members(source, file), ignore)
        top, _ = opened(source, file)
        return _find(source, top, ignore)


def _read_zip(members: Members, ignore: Patterns) -> list[Found | Refused]:
    root = None if torch_root(members.members) is not None else exported_root(members.members)
    if root is None:
        top, archive = in_zip(members)
        return _find(members.source, top, ignore, archive)
    saved = _exported.saved(members, root)
    if saved is not None:
        return _read_saved(saved, ignore)
    tensors = _exported.tensors(members, root)
    found = _state_dicts.find(members.source, tensors, members.source.budget, ignore)
    if not found:
        raise _no_lstm(members.source, list(tensors), "" if tensors else UNREGISTERED)
    return found


def _read_saved(source: Source, ignore: Patterns) -> list[Found | Refused]:
    """Return the LSTMs in a file of torch.save that was a part of another."""
    with source.open() as file:
        top, archive = opened(source, file)
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


def _find(
    source: Source, top: Any, ignore: Patterns, archive: Archive | None = None
) -> list[Found | Refused]:
    """Return the LSTMs in an unpickled object."""
    dicts = state_dicts(source, top)
    with_lstm = [one for one in dicts if one.has_lstm]
    alone = len(with_lstm) == 1  # then what is around it needs no name
    tensors: dict[str, Tensor] = {}
    refused: list[Refused] = []
    for one in with_lstm:
        prefix = "" if alone else one.place
        for name, values in one.tensors.items():
            if prefix + name in tensors:
                raise FormatError(f"{source}: two tensors in it are {plain(prefix + name)}")
            tensors[prefix + name] = stored(source, one.place + name, values)
        for name, reason in one.quantized.items():
            error = _quantized(f"{source}: {one.place + reason}")
            refused.append(Refused((prefix + name).removesuffix("."), error))
    try:
        found = _state_dicts.find(source, tensors, source.budget, ignore)
    except FormatError as error:
        texts = [str(error), *(str(one.error) for one in refused[:1])]
        raise FormatError("; ".join(texts)) from error
    if not found:
        raise refused[0].error if refused else _nothing(source, top, dicts, archive)
    return [*found, *refused]


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
    packed = next((one.place + one.packed for one in dicts if one.packed), None)
    more = "" if packed is None else f"; {plain(packed)} was quantized by PyTorch"
    return _no_lstm(source, names, more)


def _no_lstm(source: Source, names: list[str], more: str = "") -> FormatError:
    if not names:
        return FormatError(f"{source}: there is no LSTM in it, and no parameter{more}")
    some = ", ".join(plain(name) for name in names[:NAMES_SHOWN])
    some += ", ..." if len(names) > NAMES_SHOWN else ""
    return FormatError(
        f"{source}: there is no LSTM in it (no weight_ih_l0 and weight_hh_l0), but "
        f"{len(names)} tensor{'s' if len(names) > 1 else ''}: {some}{more}"
    )
