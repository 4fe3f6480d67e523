"""Damage that knows a format: its parts are moved, named twice, nested, or claim other sizes."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

Mutate = Callable[[bytes, random.Random], bytes]
# By the end of a file's name, or its folder: the module with what damages it.
MODULES = {
    ".safetensors": "mutate_safetensors",
    ".h5": "mutate_hdf5",
    ".keras": "mutate_zip",
    ".npz": "mutate_zip",
    ".onnx": "mutate_protobuf",
    ".tflite": "mutate_flatbuffer",
    ".json": "mutate_json",
    ".nam": "mutate_json",
    ".aidax": "mutate_json",
    "pytorch": "mutate_pickle",
}


def of(path: Path) -> Mutate | None:
    """Return what damages the structure of a file, by its name or its folder."""
    names = [path.suffix, path.parent.name]
    name = next((MODULES[one] for one in names if one in MODULES), None)
    return None if name is None else partial(_mutated, name)


def _mutated(name: str, data: bytes, rng: random.Random) -> bytes:
    mutate: Mutate = importlib.import_module(name).mutate
    return mutate(data, rng)
