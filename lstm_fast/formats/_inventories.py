"""What is in a file of a known format without an LSTM, for the error that says so."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import _json
from ._files import size_limit
from ._inventory import listed

LARGEST_PICKLE = 4 << 20
LARGEST_CODE = 1 << 20
# Texts that torch.save writes of storages, modules and the machine.
OWN_TEXTS = {"storage", "cpu", "type_sizes", "little_endian", "protocol_version", "version"}
OWN_TEXTS |= {"short", "int", "long", "_metadata", "training"}


def of(name: str, path: Path) -> str | None:
    """Return in words what there is; None where that cannot be said.

    Args:
        name: of the reader.
        path: the file, which it has read.
    """
    try:
        return INVENTORIES[name](path) if name in INVENTORIES else None
    except Exception:  # it is no more than a help, and of a file that may be damaged
        return None


def _safetensors(path: Path) -> str:
    if path.name.endswith(".json"):
        index = _json.parse(path, "index", path.read_bytes(), size_limit(path))
        names = index.get("weight_map") if isinstance(index, dict) else None
    else:
        with path.open("rb") as file:
            text = file.read(int.from_bytes(file.read(8), "little"))
        names = _json.parse(path, "header", text, size_limit(path))
    names = [name for name in names or () if name != "__metadata__"]
    return f"there are tensors {listed(names)}" if names else "there is no tensor"


def _pytorch(path: Path) -> str | None:
    if _is_frozen_script(path):
        return (
            "it is TorchScript that was frozen (torch.jit.freeze, optimize_for_inference), so that "
            "its weights are constants without names: save the module before that, or its "
            "state_dict()"
        )
    names = _pickled_names(path)
    return f"the names in it are {listed(names)}" if names else None


def _keras(path: Path) -> str:
    from . import keras

    return keras.inventory(path)


def _tflite(path: Path) -> str:
    from . import tflite

    return tflite.inventory(path)


def _tf1(path: Path) -> str:
    from . import tf1

    return tf1.inventory(path)


def _pickled_names(path: Path) -> list[str]:
    """Return texts in the pickle of a PyTorch file that may be names; nothing is unpickled."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            file.seek(0)
            return _texts(file.read(LARGEST_PICKLE), 5)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if not names:
            return []
        with archive.open(min(names, key=len)) as member:
            return _texts(member.read(LARGEST_PICKLE), 1)


def _texts(data: bytes, count: int) -> list[str]:
    """Return the texts of so many pickles, without those that PyTorch writes of storages."""
    found: dict[str, None] = {}
    stream = io.BytesIO(data)
    try:
        for _ in range(count):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("BINUNICODE", "SHORT_BINUNICODE", "UNICODE"):
                    found[str(argument)] = None
    except Exception:  # the last one is cut, or no pickle
        pass
    return [
        text
        for text in found
        if text and text.isprintable() and not text.isdigit() and text not in OWN_TEXTS
    ]


def _is_frozen_script(path: Path) -> bool:
    """Whether it is TorchScript whose weights have become constants without names."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    with zipfile.ZipFile(path) as archive:
        code = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
        for name in code[:50]:
            with archive.open(name) as member:
                if b"CONSTANTS.c" in member.read(LARGEST_CODE):
                    return True
    return False


INVENTORIES: dict[str, Callable[[Path], str | None]] = {
    "safetensors": _safetensors,
    "pytorch": _pytorch,
    "keras": _keras,
    "tflite": _tflite,
    "tf1": _tf1,
}
