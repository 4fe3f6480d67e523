"""What is in a file of a known format without an LSTM, for the error that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import _json
from ._files import size_limit
from ._inventory import listed


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


def _keras(path: Path) -> str:
    from . import keras

    return keras.inventory(path)


def _tflite(path: Path) -> str:
    from . import tflite

    return tflite.inventory(path)


def _tf1(path: Path) -> str:
    from . import tf1

    return tf1.inventory(path)


INVENTORIES: dict[str, Callable[[Path], str | None]] = {
    "safetensors": _safetensors,
    "keras": _keras,
    "tflite": _tflite,
    "tf1": _tf1,
}
