"""Files of PyTorch and safetensors that ask for much: each is made by a function of its folder."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
from handmade import Call, Name, dumped, storage, strides, tensor, write_legacy, write_zip

MODULUS = 2**61 - 1  # whole numbers that differ by it have the same hash


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


def _collisions(folder: Path) -> Path:
    numbers = [n * MODULUS for n in range(12_000)]
    some = (*numbers, *map(float, numbers), *((n, n) for n in numbers))
    keys = dict(enumerate(some))
    data = pickle.dumps([list(keys.values()), frozenset({1})], 4)
    entries = b"".join(pickle.dumps(one, 2)[2:-1] + b"N" for one in some)
    path = folder / "a.pkl"
    path.write_bytes(data[:-1] + b"0}(" + entries + b"u\x8f(" + entries + b"\x90.")
    return path


def _long_persistent(folder: Path) -> Path:
    long = HELD.removesuffix(b"tQ") + b"N" * 50_000 + b"t"
    return zipped(folder, b"\x80\x02" + long + b"q\x000](" + b"h\x00Q" * 20_000 + b"e.")


def _long_arguments(folder: Path) -> Path:
    long = b"(" + LAYOUT + b"N" * 50_000 + b"tq\x000ctorch._utils\n_rebuild_tensor_v2\nq\x010"
    entries = b"".join(text(f"{n}") + b"h\x01h\x00R" for n in range(10_000))
    return zipped(folder, b"\x80\x02" + long + b"}(" + entries + b"u.")


def _pieces_above(folder: Path) -> Path:
    return named(
        folder,
        [f"weight_ih_l{n}_raw" for n in range(8000)] + [f"{n:x}.weight_hh_l0" for n in range(8000)],
    )


def _prefixes(folder: Path) -> Path:
    return named(folder, [f"{n:x}.weight_ih_l0" for n in range(100_000)])


def _layers(folder: Path) -> Path:
    return named(folder, [f"weight_{k}h_l{n}" for n in range(30_000) for k in "ih"])


def _other_cells(folder: Path) -> Path:
    held = storage("0", 64)
    values = {}
    for n in range(2000):
        values[f"{n}.weight_ih_l0"] = tensor(held, (12, 4), (4, 1))
        values[f"{n}.weight_hh_l0"] = tensor(held, (12, 4), (4, 1))
    return of_one(folder, values, 64)


def _far_strides(folder: Path) -> Path:
    """Each bias reads all of a storage of 4 MB for its 16 values."""
    count = 1 << 20
    held = storage("0", count)
    values = {}
    for n in range(2000):
        values[f"{n}.weight_ih_l0"] = tensor(held, (16, 4), (4, 1))
        values[f"{n}.weight_hh_l0"] = tensor(held, (16, 4), (4, 1))
        for k in "ih":
            values[f"{n}.bias_{k}h_l0"] = tensor(held, (16,), (count // 16,), n)
    return of_one(folder, values, count)


def _windows(folder: Path) -> Path:
    """Each layer is of one more value of a storage of 1 MB."""
    units = 250
    held = storage("0", 4 * units * units + 1000)
    values = {}
    for n in range(100):
        for k in "ih":
            shape = (4 * units, units)
            values[f"weight_{k}h_l{n}"] = tensor(held, shape, strides(shape), 2 * n + (k == "h"))
    return of_one(folder, values, 4 * units * units + 1000)


def _stretched(folder: Path) -> Path:
    values = {}
    for n in range(500):
        for k in "ih":
            values[f"weight_{k}h_l{n}"] = tensor(storage("0", 64), (1000, 250), (0, 0), n % 60)
    return of_one(folder, values, 64)


def _normed(folder: Path) -> Path:
    """Weights that are computed, of a tensor that has many names."""
    units = 250
    held = storage("0", 4 * units * units)
    values = {}
    for n in range(500):
        for k in "ih":
            name, shape = f"weight_{k}h_l{n}", (4 * units, units)
            values[f"{name}_v"] = tensor(held, shape, strides(shape))
            values[f"{name}_g"] = tensor(held, (4 * units, 1), (1, 1))
    return write_zip(
        folder / "a.pt", values, {"0": np.ones(4 * units * units, np.float32).tobytes()}
    )


def _arrays(folder: Path) -> Path:
    """NumPy's arrays, all of the same bytes."""
    units = 250
    data = b"B" + struct.pack("<I", 16 * units * units) + bytes(16 * units**2)
    dtype = b"cnumpy\ndtype\n" + text("f4") + b"\x89\x88\x87R"
    shape = b"M" + struct.pack("<H", 4 * units) + b"K" + bytes([units]) + b"\x86"
    array = b"cnumpy._core.numeric\n_frombuffer\n(" + data + dtype + shape + text("C") + b"tR"
    names = [f"weight_{k}h_l{n}" for n in range(500) for k in "ih"]
    entries = b"".join(text(name) + b"h\x00" for name in names)
    path = folder / "a.pkl"
    path.write_bytes(b"\x80\x02" + array + b"q\x000}(" + entries + b"u.")
    return path


def _long_names(folder: Path) -> Path:
    return named(folder, [f"{n}" + "a_" * 2000 + "weight_ih_l0" for n in range(300)])


def _long_place(folder: Path) -> Path:
    """A few long keys lead to many short names."""
    inner = b"}(" + b"".join(text(f"{n:x}.weight_ih_l0") + b"h\x00" for n in range(5000)) + b"u"
    place = "a." * 2000
    data = b"".join(b"}" + text(place) for _ in range(60)) + inner + b"s" * 60
    return zipped(folder, b"\x80\x02" + ONE + b"q\x000" + data + b".")


def _one_name(folder: Path) -> Path:
    path = folder / "a.safetensors"
    return headed(path, {"😀\n" * 300_000 + ".weight_ih_l0": entry(0)}, 64)


def _quantized(folder: Path) -> Path:
    return named(folder, [f"{n:x}._all_weight_values.x" for n in range(30_000)])


def _members(folder: Path) -> Path:
    path = folder / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        for n in range(64_000):
            archive.writestr(zipfile.ZipInfo(f"{n:x}"), b"")
    return path


def _storages(folder: Path) -> Path:
    path = folder / "a.pt"
    return write_legacy(
        path, {f"{n}": tensor(storage(f"{n}", 0), (0,)) for n in range(20_000)},
        {f"{n}": (0, b"") for n in range(20_000)},
    )  # fmt: skip


def _long_numbers(folder: Path) -> Path:
    path = folder / "a.pkl"
    number = b"\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20)
    path.write_bytes(b"\x80\x02](" + number + b"L" + b"9" * (1 << 20) + b"L\ne.")
    return path


def _escapes(folder: Path) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(b"(lp0\nS'" + rb"\n" * 500_000 + b"'\na.")
    return path


def _objects(folder: Path) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(b"\x80\x02](" + b"ca\nb\n)R" * 200_000 + b"e.")
    return path


# ---- safetensors ---------------------------------------------------------------------------------


def entry(at: int, shape: tuple[int, ...] = (4, 4), dtype: str = "F32") -> dict:
    size = 4 * int(np.prod(shape))
    return {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}


def headed(path: Path, header: dict, size: int) -> Path:
    data = json.dumps(header, ensure_ascii=False).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(size))
    return path


def _same_bytes(folder: Path) -> Path:
    header = {f"weight_{k}h_l{n}": entry(0, (1000, 250)) for n in range(500) for k in "ih"}
    return headed(folder / "a.safetensors", header, 1_000_000)


def _empty_tensors(folder: Path) -> Path:
    header = {f"{n}.weight_ih_l0": entry(0, (0,)) for n in range(60_000)}
    return headed(folder / "a.safetensors", header, 0)


def _long_dtype(folder: Path) -> Path:
    header = {f"weight_{k}h_l0": entry(0, (0,), "F" * 500_000) for k in "ih"}
    return headed(folder / "a.safetensors", header, 0)


def _many_cells(folder: Path) -> Path:
    text = json.dumps({"version": 1, "direction": "forward", "cells": [{}] * 100_000})
    header = {"__metadata__": {"lstm_fast": text}, "weight_ih_l0": entry(0)}
    return headed(folder / "a.safetensors", header, 64)


def _aliases(folder: Path) -> Path:
    """One shard has many names: its header is to be read once, and its size to count once."""
    names = {f"{n}.weight_{k}h_l0": entry(64 * (2 * n + (k == "h"))) for n in range(400)
             for k in "ih"}  # fmt: skip
    headed(folder / "b.safetensors", names, 64 * 800)
    index = {name: "./" * n + "b.safetensors" for n, name in enumerate(names)}
    path = folder / "a.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    return path


def _shards(folder: Path) -> Path:
    index = {f"{n}.weight_ih_l0": f"{n}.safetensors" for n in range(40_000)}
    path = folder / "a.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    return path


def _long_shard(folder: Path) -> Path:
    path = folder / "a.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"weight_ih_l0": "a" * 400_000}}))
    return path


def _nested(folder: Path) -> Path:
    """A storage within bytes, whose pickle makes much of little."""
    inner = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {}):
        inner.write(pickle.dumps(value, 2))
    inner.write(b"\x80\x02" + b"]" * 600_000 + b".")
    call = Call(Name("torch.storage", "_load_from_bytes"), (inner.getvalue(),))
    path = folder / "a.pkl"
    path.write_bytes(dumped({"weight_ih_l0": tensor(call, (16, 4))}))
    return path


BOMBS = {
    name.removeprefix("_").replace("_", " "): make
    for name, make in list(globals().items())
    if name.startswith("_") and callable(make) and getattr(make, "__module__", "") == __name__
}
