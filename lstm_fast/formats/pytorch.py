"""PyTorch: state dicts in .pt, .pth and .bin files, checkpoints around one, TorchScript, modules.

State dicts are read by `torch.load` with `weights_only=True`, so that no code in the file is run;
TorchScript is read without running it either (see `_torchscript`). A module that is at hand needs
no file: `from_module`.
"""

from __future__ import annotations

import os
import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .. import _state_dict
from .._arrays import Float32
from . import _state_dicts, _torchscript
from ._files import FormatError, Found, MissingExtraError, Refused, size_limit
from ._modules import from_module
from ._state_dicts import Tensor

__all__ = ["SUFFIXES", "from_module", "read", "recognise"]

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".jit")
ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # before PyTorch 1.6
# What unpickling takes at most is some 70 times the pickle: an empty dict is one byte of it. A
# pickle of weights is a small part of its file, since the values are outside.
PICKLE_COST = 40
DEEPEST = 8  # dicts within each other around a state dict
QUANTIZED = ("_all_weight_values", "_packed_params")


def recognise(path: Path, head: bytes) -> bool:
    """Return whether `torch.save` or `torch.jit.save` wrote it."""
    if head.startswith(LEGACY):
        return True
    if not head.startswith(ZIP):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return _root(archive) is not None
    except Exception:  # zipfile has many errors for damaged files
        return False


def _root(archive: zipfile.ZipFile) -> str | None:
    """Return what stands before the names of the archive's members."""
    names = (name for name in archive.namelist() if name.endswith("data.pkl"))
    name = min(names, key=len, default=None)
    return None if name is None else name.removesuffix("data.pkl")


def read(
    path: str | os.PathLike[str], *, ignore: str | Iterable[str] = ()
) -> list[Found | Refused]:
    """Return every LSTM under PyTorch's names, in a state dict, a dict around one, or TorchScript.

    Args:
        path: the file.
        ignore: patterns of names, as of `fnmatch`, of tensors that are left out.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or holds pickled code; or PyTorch is missing.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(len(LEGACY))
    if head.startswith(ZIP):
        return _read_zip(path, ignore)
    _check_legacy(path)
    return _read_loaded(path, _load(path, mmap=False), ignore)


def _read_zip(path: Path, ignore: str | Iterable[str]) -> list[Found | Refused]:
    try:
        archive = zipfile.ZipFile(path)
        root = _root(archive)
    except Exception as error:  # zipfile has many errors for damaged files
        raise FormatError(f"{path}: damaged zip file: {error or type(error).__name__}") from error
    with archive:
        if root is None:
            raise FormatError(f"{path}: there is no data.pkl in it; PyTorch did not write it")
        members = {member.filename: member for member in archive.infolist()}
        limit = size_limit(path)
        if sum(member.file_size for member in members.values()) > limit:
            raise FormatError(f"{path}: its members claim more bytes than the file can hold")
        if PICKLE_COST * members[f"{root}data.pkl"].file_size > limit:
            raise _too_large(path)
        if f"{root}constants.pkl" in members:
            return _state_dicts.find(path, _torchscript.read(path, archive, root), limit, ignore)
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise FormatError(f"{path}: it is compressed; PyTorch never does that")
    return _read_loaded(path, _load(path, mmap=True), ignore)


def _too_large(path: Path) -> FormatError:
    return FormatError(
        f"{path}: the pickle in it is too large for a file of weights; save only the weights: "
        "torch.save(model.state_dict(), ...)"
    )


def _check_legacy(path: Path) -> None:
    """Look at the pickles of a file from before PyTorch 1.6, before memory is taken for them.

    There are four: a magic number, a version, facts on the machine, and the object, in which each
    storage's size stands before the BINPERSID that makes it.
    """
    limit = size_limit(path)
    with path.open("rb") as file:
        try:
            for _ in range(4):
                number = 0
                for opcode, argument, _ in pickletools.genops(file):
                    if isinstance(argument, int) and opcode.name not in ("BINPUT", "LONG_BINPUT"):
                        number = argument
                    if opcode.name == "BINPERSID" and not 0 <= number <= limit:
                        raise ValueError(f"a storage claims {number} values")
                    if PICKLE_COST * file.tell() > limit:
                        raise _too_large(path)
        except FormatError:
            raise
        except Exception as error:  # a damaged pickle can raise anything
            raise FormatError(f"{path}: damaged: {error or type(error).__name__}") from error


def _load(path: Path, *, mmap: bool) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingExtraError(path, "torch", "torch") from None
    import pickle

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        # What PyTorch advises, not to be careful, is left away.
        reason = _one_line(
            str(error).rpartition("WeightsUnpickler error: ")[2].partition(" was not an")[0]
        )
        if not reason.startswith("Unsupported"):
            raise FormatError(f"{path}: damaged: {reason}") from error
        raise FormatError(
            f"{path}: it holds pickled code, which is not run ({reason}). If you trust the file, "
            "load it with PyTorch and save only its weights: torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise FormatError(f"{path}: damaged: {_one_line(str(error))}") from error


def _one_line(text: str, length: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[:length] + " ..."


def _read_loaded(path: Path, loaded: Any, ignore: str | Iterable[str]) -> list[Found | Refused]:
    """Return what is in an object of `torch.load`: a state dict, or dicts around one or several."""
    containers: dict[str, dict[str, Any]] = {}
    quantized: list[str] = []
    seen: set[int] = set()
    waiting: list[tuple[str, int, Any]] = [("", 0, loaded)]
    while waiting:
        place, depth, value = waiting.pop()
        if not isinstance(value, Mapping) or id(value) in seen or depth > DEEPEST:
            continue
        seen.add(id(value))
        for name, part in value.items():
            if isinstance(name, str) and isinstance(part, Mapping):
                waiting.append((f"{place}{name}.", depth + 1, part))
            elif isinstance(name, str):
                if any(word in name for word in QUANTIZED):
                    quantized.append(f"{place}{name}")
                if _is_tensor(part):
                    containers.setdefault(place, {})[name] = part
    if quantized and not any(map(_state_dict.prefixes, containers.values())):
        raise FormatError(f"{path}: {quantized[0]}: quantized by PyTorch; convert the float model")
    with_lstm = {
        place: tensors for place, tensors in containers.items() if _state_dict.prefixes(tensors)
    }
    alone = len(with_lstm) == 1  # then the dicts around it need no name
    tensors = {
        ("" if alone else place) + name: _tensor(path, place + name, value)
        for place, values in with_lstm.items()
        for name, value in values.items()
    }
    return _state_dicts.find(path, tensors, size_limit(path), ignore)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _tensor(path: object, name: str, value: Any) -> Tensor:
    dtype = str(value.dtype).removeprefix("torch.")
    source = f"{name}, {dtype}"
    return Tensor(tuple(value.shape), source, partial(_read_tensor, path, name, value))


def _read_tensor(path: object, name: str, value: Any) -> Float32:
    import torch

    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    if value.dtype not in kinds or value.layout != torch.strided or value.is_meta:
        raise FormatError(
            f"{path}: {name}: a tensor of {value.dtype}, {value.layout} on {value.device}; "
            "expected a plain one of float32, float16, bfloat16 or float64"
        )
    result: Float32 = value.detach().to("cpu", torch.float32).contiguous().numpy()
    return result
