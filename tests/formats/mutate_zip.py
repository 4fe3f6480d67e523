"""Damage to zip files that stay sound: members mixed, doubled, renamed, with right checksums.

    data = mutate(path.read_bytes(), random.Random(seed))

What is in a member is damaged by what knows its kind: JSON and HDF5.
"""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
import zlib
from typing import NamedTuple

import mutate_hdf5
import mutate_json

NUMBERS = (0, 1, 0xFFFF, 2**16, 2**31 - 1, 2**32 - 2, 2**32 - 1)
MOST = 1 << 20  # bytes that one change may add


class Member(NamedTuple):
    """A file in an archive."""

    name: bytes
    data: bytes
    method: int = zipfile.ZIP_STORED


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return an archive with one or a few things changed; a few of its bytes where it is none."""
    try:
        members = _members(data)
    except Exception:  # zipfile has many errors for damaged files
        members = []
    if not members or rng.random() < 0.05:
        return _bytes(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        members = rng.choice(CHANGES)(members, rng)[:70_000] or members
    result = written(members, rng)
    return _ends(result, rng) if rng.random() < 0.3 else result


def _members(data: bytes) -> list[Member]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            Member(info.filename.encode(), archive.read(info), info.compress_type)
            for info in archive.infolist()[:2000]
            if info.file_size <= 64 << 20
        ]


def written(members: list[Member], rng: random.Random) -> bytes:
    """Return an archive; now and then a header tells another size, or names another place."""
    result, directory, places = bytearray(), bytearray(), []
    wrong = rng.random() < 0.3
    for one in members:
        name, data, method = one.name[:0xFFFF], one.data, one.method
        packed = _deflated(data) if method == zipfile.ZIP_DEFLATED else data
        places.append(len(result))
        sizes = [len(packed), len(data)]
        head = struct.pack(
            "<HHHHHIIIHH", 20, 0x800, method, 0, 33, zlib.crc32(data), *sizes, len(name), 0
        )
        result += b"PK\3\4" + head + name + packed
        if wrong and rng.random() < 0.3:
            sizes[rng.randrange(2)] = rng.choice((*NUMBERS, len(data) * 2, len(data) + 1))
        at = rng.choice(places) if wrong and rng.random() < 0.3 else places[-1]
        version = struct.pack("<HHHHHH", 20, 20, 0x800, method, 0, 33)
        rest = struct.pack("<IIIHHHHHII", zlib.crc32(data), *sizes, len(name), 0, 0, 0, 0, 0, at)
        directory += b"PK\1\2" + version + rest + name
    start, count = len(result), min(len(members), 0xFFFF)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), start, 0)
    return bytes(result + directory + b"PK\5\6" + end)


def _deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(6, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def _ends(data: bytes, rng: random.Random) -> bytes:
    """Change a number of the record at the end, or what is around the archive."""
    result = bytearray(data)
    at = data.rfind(b"PK\5\6")
    kind = rng.randrange(4)
    if kind == 0:
        place, width = rng.choice(((8, 2), (10, 2), (12, 4), (16, 4), (20, 2)))
        value = rng.choice((*NUMBERS, rng.randrange(len(data)))) % 256**width
        result[at + place : at + place + width] = value.to_bytes(width, "little")
    elif kind == 1:  # a comment
        size = rng.choice((1, 100, 0xFFFF))
        result[at + 20 : at + 22] = size.to_bytes(2, "little")
        result += rng.choice((b"c", b"PK\5\6")) * size
    elif kind == 2:
        result[:0] = rng.choice((b"#!", b"PK\3\4", bytes(1000)))
    else:
        del result[rng.randrange(len(result)) :]
    return bytes(result)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((1, 4, 16))):
        if result:
            result[rng.randrange(len(result))] = rng.randrange(256)
    return bytes(result)


# ---- changes -------------------------------------------------------------------------------------


def _inside(members: list[Member], rng: random.Random) -> list[Member]:
    """Damage what one of them holds."""
    at = rng.randrange(len(members))
    name, data, method = members[at]
    if data[:8] == mutate_hdf5.MAGIC:
        data = mutate_hdf5.mutate(data, rng)
    elif name.endswith(b".json"):
        data = mutate_json.mutate(data, rng)
    elif data[:6] == b"\x93NUMPY":
        data = _npy(data, rng)
    else:
        data = _bytes(data, rng)
    return [*members[:at], Member(name, data, method), *members[at + 1 :]]


def _npy(data: bytes, rng: random.Random) -> bytes:
    """Change the header of an array."""
    length = int.from_bytes(data[8:10], "little")
    header, rest = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    kind = rng.randrange(6)
    if kind == 0:
        header = header.replace(
            "<f4", rng.choice(("|O", "<f8", ">f2", "<i8", "<c16", "|V9", "<U1"))
        )
    elif kind == 1:
        shapes = ("()", "(0,)", f"({2**40},)", "(-1, 4)", "(" + "1," * 5000 + ")", "(1.5,)", "None")
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {rng.choice(shapes)}, }}\n"
    elif kind == 2:
        header = rng.choice(("[", "-", "(", "'a'+", "{'descr': ")) * rng.choice((10, 300, 6000))
    elif kind == 3:
        header = header.rstrip() + " " * rng.choice((0, 9000, 60_000)) + "\n"
    elif kind == 4:
        rest = rest[: rng.randrange(len(rest) + 1)]
    else:
        return _bytes(data, rng)
    content = header.encode("latin-1")[:0xFFFF]
    return data[:8] + len(content).to_bytes(2, "little") + content + rest


def _doubled(members: list[Member], rng: random.Random) -> list[Member]:
    """Have one many times, under its name or others."""
    one = rng.choice(members)
    count = min(rng.choice((1, 10, 1000, 20_000)), 1 + MOST // (len(one.data) + len(one.name) + 80))
    names = [one.name if rng.random() < 0.1 else b"%d/%s" % (n, one.name) for n in range(count)]
    return [*members, *(one._replace(name=name) for name in names)]


def _bomb(members: list[Member], rng: random.Random) -> list[Member]:
    """Let one hold much of the same, compressed."""
    at = rng.randrange(len(members))
    fill = rng.choice((b"\0", b"[", b"[0,", b'"a",', b" "))
    data = fill * (rng.choice((1 << 16, 1 << 20, 24 << 20)) // len(fill))
    data = (members[at].data + data) if rng.random() < 0.5 else data
    bomb = members[at]._replace(data=data, method=zipfile.ZIP_DEFLATED)
    return [*members[:at], bomb, *members[at + 1 :]]


def _renamed(members: list[Member], rng: random.Random) -> list[Member]:
    """Exchange names, or give one an odd name."""
    names = [one.name for one in members]
    if rng.random() < 0.5:
        rng.shuffle(names)
    else:
        odd = (
            b"",
            b"../x",
            b"data.pkl",
            b"config.json",
            b"a/" * 3000,
            b"\xff\xfe.npy",
            b"n" * 60_000,
        )
        names[rng.randrange(len(names))] = rng.choice(odd)
    return [one._replace(name=name) for one, name in zip(members, names, strict=True)]


def _repacked(members: list[Member], rng: random.Random) -> list[Member]:
    """Compress some, or say that they are in a way that there is not."""
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, 12, 14, 99)
    return [
        one if len(one.data) > MOST else one._replace(method=rng.choice(methods)) for one in members
    ]


def _fewer(members: list[Member], rng: random.Random) -> list[Member]:
    return rng.sample(members, rng.randrange(1, len(members) + 1))


def _exchanged(members: list[Member], rng: random.Random) -> list[Member]:
    """Give one what another holds."""
    at, other = rng.randrange(len(members)), rng.choice(members)
    return [*members[:at], members[at]._replace(data=other.data), *members[at + 1 :]]


CHANGES = (
    *(_inside, _inside, _inside, _inside, _doubled, _bomb, _renamed, _repacked, _fewer, _exchanged),
)
