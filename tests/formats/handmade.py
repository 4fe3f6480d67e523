"""PyTorch's files made by hand, without PyTorch: also those that it has not written for years."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
INPUTS, UNITS = 3, 4
SHAPES = {
    "weight_ih_l0": (4 * UNITS, INPUTS),
    "weight_hh_l0": (4 * UNITS, UNITS),
    "bias_ih_l0": (4 * UNITS,),
    "bias_hh_l0": (4 * UNITS,),
}


class Name(NamedTuple):
    """Something to import."""

    module: str
    name: str


class Call(NamedTuple):
    """A function of a name with arguments."""

    function: Name
    args: tuple[Any, ...]


class Outside(NamedTuple):
    """Something with a persistent id."""

    pid: Any


def encoded(value: Any, old: bool = False) -> bytes:
    """Return opcodes of protocol 2; with `old`, text as Python 2 wrote it."""
    return ENCODERS[type(value)](value, old)


def _int(value: int, old: bool) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def _str(value: str, old: bool) -> bytes:
    data = value.encode()
    return b"U" + bytes([len(data)]) + data if old else b"X" + _count(data) + data


def _dict(value: dict[Any, Any], old: bool) -> bytes:
    return b"}(" + _all([part for pair in value.items() for part in pair], old) + b"u"


def _all(values: Any, old: bool) -> bytes:
    return b"".join(encoded(value, old) for value in values)


ENCODERS = {
    Name: lambda value, old: f"c{value.module}\n{value.name}\n".encode(),
    Call: lambda value, old: encoded(value.function) + encoded(value.args, old) + b"R",
    Outside: lambda value, old: encoded(value.pid, old) + b"Q",
    type(None): lambda value, old: b"N",
    bool: lambda value, old: b"\x88" if value else b"\x89",
    int: _int,
    str: _str,
    bytes: lambda value, old: b"B" + _count(value) + value,
    tuple: lambda value, old: b"(" + _all(value, old) + b"t",
    list: lambda value, old: b"](" + _all(value, old) + b"e",
    dict: _dict,
}


def _count(data: bytes) -> bytes:
    return struct.pack("<I", len(data))


def dumped(value: Any, old: bool = False) -> bytes:
    return b"\x80\x02" + encoded(value, old) + b"."


def arrays(seed: int = 0) -> dict[str, Any]:
    """Return the weights that all files here have."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def storage(key: Any, count: int, kind: str = "FloatStorage", *view: Any) -> Outside:
    return Outside(("storage", Name("torch", kind), key, "cpu", count, *view))


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[n + 1 :])) for n in range(len(shape)))


def tensor(held: Any, shape: Any, steps: Any = None, offset: Any = 0) -> Call:
    """Return a call of what every tensor goes through since 0.4."""
    steps = strides(shape) if steps is None else steps
    args = (held, offset, shape, steps, False, Call(Name("collections", "OrderedDict"), ()))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), args)


def state_dict(kind: str = "FloatStorage") -> dict[str, Call]:
    return {
        name: tensor(storage(str(n), int(np.prod(shape)), kind), shape)
        for n, (name, shape) in enumerate(SHAPES.items())
    }


def values(dtype: str = "<f4") -> dict[str, bytes]:
    """Return the bytes of each storage by its key."""
    return {str(n): x.astype(dtype).tobytes() for n, x in enumerate(arrays().values())}


def write_zip(path: Path, value: Any, storages: dict[str, bytes], **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", dumped(value))
        for key, data in storages.items():
            archive.writestr(f"a/data/{key}", data)
        for name, data in members.items():
            archive.writestr(f"a/{name}", data)
    return path


def write_legacy(
    path: Path,
    value: Any,
    storages: dict[Any, tuple[int, bytes]],
    *,
    old: bool = False,
    count_order: str = "little",
) -> Path:
    """Write five pickles, and each storage as a count and its bytes."""
    facts = {"protocol_version": 1001, "little_endian": count_order == "little"}
    data = b"".join(dumped(one, old) for one in (MAGIC, 1001, facts, value, list(storages)))
    for count, content in storages.values():
        data += count.to_bytes(8, count_order) + content  # type: ignore[arg-type]
    path.write_bytes(data)
    return path
