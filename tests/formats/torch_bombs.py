"""Files of PyTorch and safetensors that ask for much; each grows with its scale.

BOMBS: by name what makes it in a folder, of its own scale or another one.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from handmade import Call, Name, dumped, storage, strides, tensor, write_legacy, write_zip

MODULUS = 2**61 - 1  # whole numbers that differ by it have the same hash


class Bomb(NamedTuple):
    """Files in a folder, one of which is read."""

    make: Callable[[Path, int], Path]
    scale: int

    def __call__(self, folder: Path, scale: int = 0) -> Path:
        """Write them, of their own scale unless another is given, and return which is read."""
        return self.make(folder, scale or self.scale)


BOMBS: dict[str, Bomb] = {}


def bomb(scale: int) -> Callable[[Callable[[Path, int], Path]], Bomb]:
    def register(make: Callable[[Path, int], Path]) -> Bomb:
        return BOMBS.setdefault(make.__name__.replace("_", " "), Bomb(make, scale))

    return register


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


HELD = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"M\x00\x01tQ"
LAYOUT = HELD + b"K\x00K\x08K\x02\x86K\x02K\x01\x86\x89}"
ONE = b"ctorch._utils\n_rebuild_tensor_v2\n(" + LAYOUT + b"tR"  # of shape (8, 2)


def zipped(folder: Path, data: bytes, size: int = 1024) -> Path:
    path = folder / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/data/0", bytes(size))
    return path


def named(folder: Path, names: list[str]) -> Path:
    """Write a state dict in which each name is of one tensor."""
    entries = b"".join(text(name) + b"h\x00" for name in names)
    return zipped(folder, b"\x80\x02" + ONE + b"q\x000}(" + entries + b"u.")


def of_one(folder: Path, values: dict[str, Call], count: int) -> Path:
    return write_zip(folder / "a.pt", values, {"0": bytes(4 * count)})


@bomb(12_000)
def collisions(folder: Path, scale: int) -> Path:
    numbers = [n * MODULUS for n in range(scale)]
    some = (*numbers, *map(float, numbers), *((n, n) for n in numbers))
    keys = dict(enumerate(some))
    data = pickle.dumps([list(keys.values()), frozenset({1})], 4)
    entries = b"".join(pickle.dumps(one, 2)[2:-1] + b"N" for one in some)
    path = folder / "a.pkl"
    path.write_bytes(data[:-1] + b"0}(" + entries + b"u\x8f(" + entries + b"\x90.")
    return path


@bomb(20_000)
def long_persistent(folder: Path, scale: int) -> Path:
    long = HELD.removesuffix(b"tQ") + b"N" * (5 * scale // 2) + b"t"
    return zipped(folder, b"\x80\x02" + long + b"q\x000](" + b"h\x00Q" * scale + b"e.")


@bomb(10_000)
def long_arguments(folder: Path, scale: int) -> Path:
    long = b"(" + LAYOUT + b"N" * 5 * scale + b"tq\x000ctorch._utils\n_rebuild_tensor_v2\nq\x010"
    entries = b"".join(text(f"{n}") + b"h\x01h\x00R" for n in range(scale))
    return zipped(folder, b"\x80\x02" + long + b"}(" + entries + b"u.")


@bomb(8000)
def pieces_above(folder: Path, scale: int) -> Path:
    return named(
        folder,
        [f"weight_ih_l{n}_raw" for n in range(scale)]
        + [f"{n:x}.weight_hh_l0" for n in range(scale)],
    )


@bomb(100_000)
def prefixes(folder: Path, scale: int) -> Path:
    return named(folder, [f"{n:x}.weight_ih_l0" for n in range(scale)])


@bomb(30_000)
def layers(folder: Path, scale: int) -> Path:
    return named(folder, [f"weight_{k}h_l{n}" for n in range(scale) for k in "ih"])


@bomb(2000)
def other_cells(folder: Path, scale: int) -> Path:
    held = storage("0", 64)
    values = {}
    for n in range(scale):
        values[f"{n}.weight_ih_l0"] = tensor(held, (12, 4), (4, 1))
        values[f"{n}.weight_hh_l0"] = tensor(held, (12, 4), (4, 1))
    return of_one(folder, values, 64)


@bomb(2000)
def far_strides(folder: Path, scale: int) -> Path:
    """Each bias reads all of a storage of 4 MB for its 16 values."""
    count = 1 << 20
    held = storage("0", count)
    values = {}
    for n in range(scale):
        values[f"{n}.weight_ih_l0"] = tensor(held, (16, 4), (4, 1))
        values[f"{n}.weight_hh_l0"] = tensor(held, (16, 4), (4, 1))
        for k in "ih":
            values[f"{n}.bias_{k}h_l0"] = tensor(held, (16,), (count // 16,), n)
    return of_one(folder, values, count)


@bomb(100)
def windows(folder: Path, scale: int) -> Path:
    """Each layer is of one more value of a storage of 1 MB."""
    units = 250
    held = storage("0", 4 * units * units + 1000)
    values = {}
    for n in range(scale):
        for k in "ih":
            shape = (4 * units, units)
            values[f"weight_{k}h_l{n}"] = tensor(held, shape, strides(shape), 2 * n + (k == "h"))
    return of_one(folder, values, 4 * units * units + 1000)


@bomb(500)
def stretched(folder: Path, scale: int) -> Path:
    values = {}
    for n in range(scale):
        for k in "ih":
            values[f"weight_{k}h_l{n}"] = tensor(storage("0", 64), (1000, 250), (0, 0), n % 60)
    return of_one(folder, values, 64)


@bomb(2_000_000)
def one_unit(folder: Path, scale: int) -> Path:
    """Many columns for one unit, which is filled up to as many as a vector has."""
    values = {
        "weight_ih_l0": tensor(storage("0", 4), (4, scale), (0, 0)),
        "weight_hh_l0": tensor(storage("0", 4), (4, 1), (1, 1)),
    }
    return of_one(folder, values, 4)


@bomb(60_000)
def other_direction(folder: Path, scale: int) -> Path:
    """Layers that are packed one by one."""
    return named(folder, [f"weight_{k}h_l{n}_reverse" for n in range(scale) for k in "ih"])


@bomb(500)
def normed(folder: Path, scale: int) -> Path:
    """Weights that are computed, of a tensor that has many names."""
    units = 250
    held = storage("0", 4 * units * units)
    values = {}
    for n in range(scale):
        for k in "ih":
            name, shape = f"weight_{k}h_l{n}", (4 * units, units)
            values[f"{name}_v"] = tensor(held, shape, strides(shape))
            values[f"{name}_g"] = tensor(held, (4 * units, 1), (1, 1))
    return write_zip(
        folder / "a.pt", values, {"0": np.ones(4 * units * units, np.float32).tobytes()}
    )


@bomb(500)
def arrays(folder: Path, scale: int) -> Path:
    """NumPy's arrays, all of the same bytes."""
    units = 250
    data = b"B" + struct.pack("<I", 16 * units * units) + bytes(16 * units**2)
    dtype = b"cnumpy\ndtype\n" + text("f4") + b"\x89\x88\x87R"
    shape = b"M" + struct.pack("<H", 4 * units) + b"K" + bytes([units]) + b"\x86"
    array = b"cnumpy._core.numeric\n_frombuffer\n(" + data + dtype + shape + text("C") + b"tR"
    names = [f"weight_{k}h_l{n}" for n in range(scale) for k in "ih"]
    entries = b"".join(text(name) + b"h\x00" for name in names)
    path = folder / "a.pkl"
    path.write_bytes(b"\x80\x02" + array + b"q\x000}(" + entries + b"u.")
    return path


@bomb(300)
def long_names(folder: Path, scale: int) -> Path:
    return named(folder, [f"{n}" + "a_" * (7 * scale) + "weight_ih_l0" for n in range(scale)])


@bomb(5000)
def long_place(folder: Path, scale: int) -> Path:
    """A few long keys lead to many short names."""
    inner = b"}(" + b"".join(text(f"{n:x}.weight_ih_l0") + b"h\x00" for n in range(scale)) + b"u"
    place = "a." * (scale // 2)
    data = b"".join(b"}" + text(place) for _ in range(60)) + inner + b"s" * 60
    return zipped(folder, b"\x80\x02" + ONE + b"q\x000" + data + b".")


@bomb(300_000)
def one_name(folder: Path, scale: int) -> Path:
    path = folder / "a.safetensors"
    return headed(path, {"😀\n" * scale + ".weight_ih_l0": entry(0)}, 64)


@bomb(30_000)
def quantized(folder: Path, scale: int) -> Path:
    return named(folder, [f"{n:x}._all_weight_values.x" for n in range(scale)])


@bomb(64_000)
def members(folder: Path, scale: int) -> Path:
    path = folder / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        for n in range(scale):
            archive.writestr(zipfile.ZipInfo(f"{n:x}"), b"")
    return path


@bomb(20_000)
def storages(folder: Path, scale: int) -> Path:
    path = folder / "a.pt"
    return write_legacy(
        path, {f"{n}": tensor(storage(f"{n}", 0), (0,)) for n in range(scale)},
        {f"{n}": (0, b"") for n in range(scale)},
    )  # fmt: skip


@bomb(1 << 20)
def long_numbers(folder: Path, scale: int) -> Path:
    path = folder / "a.pkl"
    number = b"\x8b" + struct.pack("<I", scale) + b"\x7f" * scale
    path.write_bytes(b"\x80\x02](" + number + b"L" + b"9" * scale + b"L\ne.")
    return path


@bomb(500_000)
def escapes(folder: Path, scale: int) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(b"(lp0\nS'" + rb"\n" * scale + b"'\na.")
    return path


@bomb(200_000)
def objects(folder: Path, scale: int) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(b"\x80\x02](" + b"ca\nb\n)R" * scale + b"e.")
    return path


# ---- safetensors ---------------------------------------------------------------------------------


def entry(at: int, shape: tuple[int, ...] = (4, 4), dtype: str = "F32") -> dict:
    size = 4 * int(np.prod(shape))
    return {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}


def headed(path: Path, header: dict, size: int) -> Path:
    data = json.dumps(header, ensure_ascii=False).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(size))
    return path


@bomb(500)
def same_bytes(folder: Path, scale: int) -> Path:
    header = {f"weight_{k}h_l{n}": entry(0, (1000, 250)) for n in range(scale) for k in "ih"}
    return headed(folder / "a.safetensors", header, 1_000_000)


@bomb(60_000)
def empty_tensors(folder: Path, scale: int) -> Path:
    header = {f"{n}.weight_ih_l0": entry(0, (0,)) for n in range(scale)}
    return headed(folder / "a.safetensors", header, 0)


@bomb(500_000)
def long_dtype(folder: Path, scale: int) -> Path:
    header = {f"weight_{k}h_l0": entry(0, (0,), "F" * scale) for k in "ih"}
    return headed(folder / "a.safetensors", header, 0)


@bomb(100_000)
def many_cells(folder: Path, scale: int) -> Path:
    text = json.dumps({"version": 1, "direction": "forward", "cells": [{}] * scale})
    header = {"__metadata__": {"lstm_fast": text}, "weight_ih_l0": entry(0)}
    return headed(folder / "a.safetensors", header, 64)


@bomb(400)
def aliases(folder: Path, scale: int) -> Path:
    """One shard has many names: its header is to be read once, and its size to count once."""
    names = {f"{n}.weight_{k}h_l0": entry(64 * (2 * n + (k == "h"))) for n in range(scale)
             for k in "ih"}  # fmt: skip
    headed(folder / "b.safetensors", names, 128 * scale)
    index = {name: "./" * n + "b.safetensors" for n, name in enumerate(names)}
    path = folder / "a.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    return path


@bomb(40_000)
def shards(folder: Path, scale: int) -> Path:
    index = {f"{n}.weight_ih_l0": f"{n}.safetensors" for n in range(scale)}
    path = folder / "a.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    return path


@bomb(400_000)
def long_shard(folder: Path, scale: int) -> Path:
    path = folder / "a.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"weight_ih_l0": "a" * scale}}))
    return path


@bomb(600_000)
def nested(folder: Path, scale: int) -> Path:
    """A storage within bytes, whose pickle makes much of little."""
    inner = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {}):
        inner.write(pickle.dumps(value, 2))
    inner.write(b"\x80\x02" + b"]" * scale + b".")
    call = Call(Name("torch.storage", "_load_from_bytes"), (inner.getvalue(),))
    path = folder / "a.pkl"
    path.write_bytes(dumped({"weight_ih_l0": tensor(call, (16, 4))}))
    return path
