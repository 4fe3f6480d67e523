"""Damaged snapshots whose checksum fits: of the JSON tree of a header, of its text, of bytes."""

from __future__ import annotations

import hashlib
import json
import random
import struct

CHECKSUM = 32
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x100, 0xFFFF, 8000, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
# JSON that no fact is; some of it must not be parsed, or not by whoever is short of stack or time.
RAW = (
    *(
        "null",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "2",
        "1.0",
        "2.0",
        "-0",
        "1e999",
        "NaN",
        "-Infinity",
    ),
    *('""', '"1"', '"float32"', '"int8"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\xe9"'),
    *("[]", "{}", "[[]]", '{"0": "int8"}', '{"version": 1}', "[1e400]", "9" * 400, "9" * 5000),
    *(
        "[" * 2000 + "]" * 2000,
        '{"a":' * 2000 + "1" + "}" * 2000,
        "[" * 100_000,
        '"' + "x" * 70_000,
    ),
    *("9" * 100_000, "-" + "9" * 100_000, '"' + "\\u0041" * 9000 + '"', "{" * 50_000),
)
STYLES = (
    *({"separators": (",", ":")}, {"indent": 1}, {"separators": (", ", " : ")}),
    *({"sort_keys": True}, {"ensure_ascii": False}),
)
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "latin-1")


def sealed(body):
    return body + hashlib.sha256(body).digest()


def parts(taken):
    """Return the header and the values of a snapshot of an LSTM or a model."""
    (size,) = struct.unpack_from("<I", taken, 8)
    return json.loads(taken[12 : 12 + size]), taken[12 + size : -CHECKSUM]


def joined(text, values, length=None, magic=b"LSTMFAST"):
    size = len(text) if length is None else length
    return sealed(magic + struct.pack("<I", size) + text + values)


def places(tree):
    """Yield (container, key) of everything in a tree of JSON."""
    for key in [*tree] if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from places(tree[key])


def damaged_tree(header, rng):
    """Return the text of a header in which something stands that should not."""
    tree = json.loads(json.dumps(header))
    raw = {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = [*places(tree)]
        if not found:
            break
        within, key = rng.choice(found)
        kind = rng.randrange(6)
        if kind <= 1:
            mark = f"@{len(raw)}@"
            raw[mark] = rng.choice(RAW)
            within[key] = mark
        elif kind == 2:
            other, name = rng.choice(found)
            within[key] = json.loads(json.dumps(other[name])) if other is not within else None
        elif kind == 3:
            del within[key]
        elif isinstance(within, dict) and kind == 4:
            within[rng.choice(("version", "proj_size", "x", key * 2))] = within.pop(key)
        elif isinstance(within, dict):
            items = [*within.items()]
            rng.shuffle(items)
            within.clear()
            within.update(items)
        else:
            within.insert(key, within[key])
    text = json.dumps(tree)
    for mark, instead in raw.items():
        text = text.replace(f'"{mark}"', instead)
    return text


def twice(text, rng):
    """Return an object with one of its keys a second time, before or behind."""
    key = rng.choice(("version", "fingerprint", "weight_dtype", "hidden_size", "entries"))
    more = f'"{key}": {rng.choice(RAW)}'
    return (
        text[:1] + more + ", " + text[1:] if rng.random() < 0.5 else text[:-1] + ", " + more + "}"
    )


def damaged_text(header, rng):
    """Return the bytes of a header: another tree, or this one written in another way."""
    kind = rng.randrange(10)
    if kind < 5:
        text = damaged_tree(header, rng)
    elif kind == 5:
        text = twice(json.dumps(header), rng)
    elif kind == 6:
        text = json.dumps(header, **rng.choice(STYLES))
    else:
        text = json.dumps(header)
    if kind == 7:
        return text.encode(rng.choice(ENCODINGS))
    if kind == 8:
        space = rng.choice((" ", "\n", "\0", "\ufeff", "//", " " * 100_000))
        text = space + text if rng.random() < 0.5 else text + space
    return text.encode(errors="surrogatepass")


def damaged_bytes(data, rng):
    """Return data in which some bytes are others, or there are more or fewer of them."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, width = rng.randrange(len(result) + 1), rng.choice((1, 2, 4, 8))
        kind = rng.randrange(5)
        if kind == 0 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            number = rng.choice(NUMBERS) % 256**width
            result[at : at + width] = number.to_bytes(width, "little")
        elif kind == 2:
            del result[at : at + rng.choice((1, 4, 100))]
        elif kind == 3:
            result[at:at] = rng.randbytes(width) * rng.choice((1, 1, 1000))
        else:
            result[at : at + width] = rng.randbytes(width)
    return bytes(result)


def damaged_values(values, rng):
    """Return other values, as a rule as many."""
    kind = rng.randrange(8)
    if kind < 4:
        return values
    if kind < 6:  # any floats there are
        return rng.randbytes(len(values))
    if kind == 6:
        return values[: rng.randrange(len(values) + 1)]
    return values + bytes(rng.choice((1, 4, len(values), 2**20, 2**21)))


def damaged(taken, seed):
    """Return one damaged snapshot of an LSTM or a model; of a few the header is as it was."""
    rng = random.Random(seed)
    header, values = parts(taken)
    kind = rng.randrange(10)
    if kind == 0:
        return sealed(damaged_bytes(taken[:-CHECKSUM], rng))
    if kind == 1:
        return damaged_bytes(taken, rng)
    text = json.dumps(header).encode() if kind == 2 else damaged_text(header, rng)
    numbers = (*NUMBERS, len(text) - 1, len(text) + 1, len(text) + len(values))
    length = rng.choice(numbers) % 2**32 if rng.random() < 0.1 else None
    return joined(text, damaged_values(values, rng), length)
