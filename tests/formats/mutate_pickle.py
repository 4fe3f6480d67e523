"""Damage to pickles that keeps them pickles: opcodes, numbers, texts, and what is shared.

A file is a pickle, or several with raw storages behind them, or a zip file of PyTorch's with
data.pkl in it, whose checksums are right again afterwards.
"""

from __future__ import annotations

import io
import pickletools
import random
import struct
import zipfile
from functools import lru_cache

MODULUS = 2**61 - 1  # whole numbers that differ by it have the same hash
NUMBERS = (0, 1, 2, -1, 4, 16, 127, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63)
TEXTS = (
    *("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "weight_ih_l999999", "weight_hh_l0_reverse"),
    *("weight_hh_l0_raw", "parametrizations.weight_hh_l0.original0", "_parameters", "_modules"),
    *("_buffers", "_non_persistent_buffers_set", "_metadata", "_packed_params", "storage", ""),
    *("a.b.", "\0", "\n", "😀", "a" * 300, "k" * 5000, "StructuredToParameterName@@"),
)
NAMES = (
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"),
    *("torch._utils _rebuild_parameter", "torch._utils _rebuild_qtensor", "torch Size"),
    *("torch FloatStorage", "torch HalfStorage", "torch.storage UntypedStorage"),
    *("torch.storage _load_from_bytes", "torch._tensor _rebuild_from_type_v2", "_codecs encode"),
    *("collections OrderedDict", "numpy._core.multiarray _reconstruct", "numpy dtype", "a b"),
)
SHORT = (
    *(b"N", b"\x88", b"\x89", b"(", b")", b"]", b"}", b"\x8f", b"0", b"1", b"2", b"t", b"l", b"d"),
    *(b"a", b"e", b"s", b"u", b"\x85", b"\x86", b"\x87", b"\x90", b"\x91", b"\x94", b"R", b"b"),
    *(b"o", b"Q", b"\x81", b"\x92", b"\x93", b"\x97", b"\x98"),
)
MOST_BYTES = 200_000  # that one kind of damage adds


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the file with one to eight kinds of damage."""
    if data.startswith(b"PK\x03\x04"):
        return _zip(data, rng)
    parsed, rest = _parsed(data)
    pickles = [list(chunks) for chunks in parsed]
    if not any(pickles):
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        chunks = rng.choice([one for one in pickles if one] or [[b"N"]])
        rng.choice(DAMAGES)(chunks, rng)
    return b"".join(b"".join(chunks) for chunks in pickles) + rest


def _zip(data: bytes, rng: random.Random) -> bytes:
    """Damage one member, mostly data.pkl; without compression, as PyTorch has it."""
    result = io.BytesIO()
    try:
        members = _members(data)
    except Exception:  # zipfile has many errors for damaged files
        return data
    victims = [name for name in members if name.endswith(".pkl")]
    victim = rng.choice(victims if victims and rng.random() < 0.95 else list(members) or [""])
    with zipfile.ZipFile(result, "w") as new:
        for name, content in members.items():
            is_damaged = name == victim
            written = mutate(content, rng) if is_damaged and name in victims else content
            new.writestr(zipfile.ZipInfo(name), written)
            if is_damaged and rng.random() < 0.02:
                for n in range(rng.choice((1, 100, 2000))):
                    new.writestr(zipfile.ZipInfo(f"{name}{n}"), b"")
    return result.getvalue()


@lru_cache(maxsize=8)
def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {one.filename: archive.read(one) for one in archive.infolist()}


@lru_cache(maxsize=8)
def _parsed(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """Return the opcodes of each pickle with their arguments, and what follows the last one."""
    pickles: list[list[bytes]] = []
    at = 0
    while at < len(data):
        file = io.BytesIO(data[at:])
        places: list[int] = []
        try:
            for _, _, place in pickletools.genops(file):
                places.append(place or 0)
        except Exception:  # genops has many errors, too: what is no pickle stays as it is
            if pickles:
                break
            places.append(len(data) - at)
            file.seek(len(data) - at)
        end = file.tell()
        if len(places) < 2 and pickles:  # a single opcode may be a storage that looks like one
            break
        ends = [*places[1:], end]
        chunks = [data[at + b : at + e] for b, e in zip(places, ends, strict=True)]
        pickles.append([one for one in chunks if one[:1] != b"\x95"])  # a frame has a size
        at += end
    return pickles, data[at:]


# ---- opcodes as bytes ----------------------------------------------------------------------------


def _number(value: int, rng: random.Random) -> bytes:
    """Return an opcode that pushes it."""
    if rng.random() < 0.05:
        return b"L%dL\n" % value
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _name(rng: random.Random) -> bytes:
    module, _, name = rng.choice(NAMES).partition(" ")
    return f"c{module}\n{name}\n".encode()


def _get(index: int) -> bytes:
    return b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index)


def _kept(chunks: list[bytes]) -> list[int]:
    """Return under which numbers values are kept."""
    found, count = [], 0
    for chunk in chunks:
        if chunk[:1] == b"\x94":
            found.append(count)
        elif chunk[:1] in (b"q", b"r"):
            found.append(int.from_bytes(chunk[1:], "little"))
        else:
            continue
        count += 1
    return found or [0]


def _places(chunks: list[bytes], codes: bytes) -> list[int]:
    return [n for n, chunk in enumerate(chunks) if chunk[:1] and chunk[:1] in codes]


def _any(chunks: list[bytes], rng: random.Random) -> bytes:
    """Return some opcode."""
    kind = rng.randrange(6)
    if kind == 0:
        return _number(rng.choice(NUMBERS), rng)
    if kind == 1:
        return _text(rng.choice(TEXTS))
    if kind == 2:
        return _name(rng)
    if kind == 3:
        return _get(rng.choice(_kept(chunks)))
    if kind == 4:
        return rng.choice(chunks)
    return rng.choice(SHORT)


# ---- kinds of damage -----------------------------------------------------------------------------


def _delete(chunks: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(chunks))
    del chunks[at : at + rng.choice((1, 1, 1, 2, 5))]


def _repeat(chunks: list[bytes], rng: random.Random) -> None:
    """Put a few opcodes there once more, or very often."""
    at = rng.randrange(len(chunks))
    some = chunks[at : at + rng.choice((1, 1, 2, 4, 12))]
    count = rng.choice((1, 1, 2, 10, 1000, 30_000))
    count = min(count, MOST_BYTES // max(1, sum(map(len, some))))
    chunks[at:at] = some * count


def _swap(chunks: list[bytes], rng: random.Random) -> None:
    a, b = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    chunks[a], chunks[b] = chunks[b], chunks[a]


def _insert(chunks: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(chunks))
    chunks[at:at] = [_any(chunks, rng) for _ in range(rng.choice((1, 1, 2, 4)))]


def _replace(chunks: list[bytes], rng: random.Random) -> None:
    chunks[rng.randrange(len(chunks))] = _any(chunks, rng)


def _move(chunks: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(chunks))
    some = chunks[at : at + rng.choice((1, 2, 8))]
    to = rng.randrange(len(chunks))
    chunks[to:to] = some


def _change_number(chunks: list[bytes], rng: random.Random) -> None:
    places = _places(chunks, b"KMJ\x8aIL")
    if places:
        value = rng.choice(NUMBERS) + rng.choice((0, 0, 1, -1))
        chunks[rng.choice(places)] = _number(value, rng)


def _change_text(chunks: list[bytes], rng: random.Random) -> None:
    places = _places(chunks, b"X\x8cUTC")
    if not places:
        return
    at = rng.choice(places)
    other = chunks[rng.choice(places)]
    long = _text("n" * rng.choice((257, 4096, 4097, 50_000)))
    chunks[at] = rng.choice((_text(rng.choice(TEXTS)), other, long))


def _change_name(chunks: list[bytes], rng: random.Random) -> None:
    places = _places(chunks, b"c")
    if places:
        chunks[rng.choice(places)] = _name(rng)


def _change_claim(chunks: list[bytes], rng: random.Random) -> None:
    """Have a text, bytes or a number claim another length than it has."""
    places = _places(chunks, b"XBT\x8d\x8e\x96\x8b")
    if places:
        at = rng.choice(places)
        width = 4 if chunks[at][:1] in b"XBT\x8b" else 8
        claim = rng.choice((0, 1, 255, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)) % 256**width
        chunks[at] = chunks[at][:1] + claim.to_bytes(width, "little") + chunks[at][1 + width :]


def _alias(chunks: list[bytes], rng: random.Random) -> None:
    """Have an opcode recall another value, or keep one under the number of another."""
    kept = _kept(chunks)
    if places := _places(chunks, b"hj"):
        chunks[rng.choice(places)] = _get(rng.choice(kept))
    at = rng.randrange(len(chunks))
    if rng.random() < 0.5:
        chunks[at:at] = [b"r" + struct.pack("<I", rng.choice(kept))]
    else:
        chunks[at:at] = [_get(rng.choice(kept))] * rng.choice((1, 1, 3, 20_000))


def _double(chunks: list[bytes], rng: random.Random) -> None:
    """Put a value twice into one that is twice in one, and so on."""
    join = rng.choice((b"2\x86", b"2\x86\x85", b"2\x86\x94", b"ca\nb\n", b"\x85"))
    if join.startswith(b"c"):  # an object of objects
        join = b"\x85r\xff\0\0\0" + b"0ca\nb\nj\xff\0\0\0R"
    at = rng.randrange(len(chunks))
    chunks[at:at] = [join] * rng.choice((2, 30, 100, 2000))


def _collide(chunks: list[bytes], rng: random.Random) -> None:
    """Put a dict, a set or a tuple of numbers of one hash there."""
    numbers = [_number(n * MODULUS, rng) for n in range(rng.choice((10, 5000)))]
    begin, between, end = rng.choice(
        ((b"}(", b"N", b"u"), (b"\x8f(", b"", b"\x90"), (b"(", b"", b"\x91"), (b"(", b"", b"t"))
    )
    at = rng.randrange(len(chunks))
    chunks[at:at] = [begin, *(number + between for number in numbers), end]


def _many_names(chunks: list[bytes], rng: random.Random) -> None:
    """Set many entries in the dict of an opcode that sets some."""
    places = _places(chunks, b"us") or [len(chunks) - 1]
    value = _get(rng.choice(_kept(chunks)))
    count = rng.choice((3, 100, 5000))
    some = rng.choice(("weight_ih_l{}", "a.{}.weight_ih_l0", "{}", "{}.weight_hh_l0_raw"))
    at = rng.choice(places)
    chunks[at:at] = [_text(some.format(n)) + value for n in range(count)]


def _cut(chunks: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(chunks))
    chunks[at] = chunks[at][: rng.randrange(len(chunks[at]) + 1)]


DAMAGES = (
    *(_delete, _repeat, _swap, _insert, _insert, _replace, _move, _change_number, _change_number),
    *(_change_text, _change_text, _change_name, _change_claim, _alias, _double, _collide),
    *(_many_names, _cut),
)
