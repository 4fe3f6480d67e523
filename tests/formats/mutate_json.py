"""Damage to JSON texts that knows their tree: parts doubled, nested, of other types, huge.

data = mutate(path.read_bytes(), random.Random(seed))
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

LARGEST = 4 << 20  # of a text that is taken apart
LONGEST = 2 << 20  # characters after which only what is open is closed
SHORT = 100  # of what is written as it stands
MOST = 200_000  # characters that one change may add, more or less
MANY_DIGITS = 10**4000  # which takes long to compute for each number
KEYS = ("name", "class_name", "config", "layers", "cell", "weights", "units", "inbound_nodes", "")
TEXTS = ("", "LSTM", "RNN", "Functional", "a" * 5000, "\u00e9\U0001f600" * 50, "\ud800", "../x")
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 2**31 - 1, 2**31, 2**63, 2**64, 1.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), 10**300, MANY_DIGITS, True, False, None),
)
Slot = tuple[Any, Any]  # a list or dict, and an index or key of it


class _Raw(str):
    """A text that is written as it stands, such as a number of many digits."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a text with one or a few parts changed; a few of its bytes where it is not JSON."""
    try:
        root = [json.loads(data.decode("utf-8"))] if len(data) <= LARGEST else None
    except (ValueError, RecursionError):
        root = None
    if root is None or rng.random() < 0.1:
        return _bytes(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if slots := _slots(root):
            CHANGES[rng.randrange(len(CHANGES))](rng.choice(slots), slots, rng)
    pieces: list[str] = []
    _write(root[0], pieces, rng.choice((0.0, 0.0, 0.2)), rng)
    result = "".join(pieces).encode("utf-8", "surrogatepass")
    return result if rng.random() < 0.95 else _bytes(result, rng)


def _slots(root: list[Any]) -> list[Slot]:
    """Return where values stand, each once; those far down are as likely as others."""
    slots: list[Slot] = []
    waiting: list[Any] = [root]
    while waiting and len(slots) < 5000:
        here = waiting.pop()
        keys = here.keys() if isinstance(here, dict) else range(min(len(here), 50))
        for key in keys:
            slots.append((here, key))
            if isinstance(here[key], (dict, list)):
                waiting.append(here[key])
    return slots


def _size(value: Any) -> int:
    """Return about how many characters a value takes."""
    total, waiting = 0, [value]
    while waiting and total < MOST:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        total += len(one) if isinstance(one, str) else 8
    return total


def _write(value: Any, pieces: list[str], twice: float, rng: random.Random) -> None:
    """Write a value without recursion; some keys twice, and nulls once it is long."""
    waiting: list[Any] = [value]
    length = 0
    while waiting:
        one = waiting.pop()
        length += len(one) if isinstance(one, str) else 8
        if length > LONGEST and not isinstance(one, _Raw):
            one = None
        elif length > LONGEST and len(one) > SHORT:
            one = _Raw('"": ' if one.endswith(": ") else "null")
        if isinstance(one, _Raw):
            pieces.append(one)
        elif isinstance(one, dict):
            inner: list[Any] = [_Raw("{")]
            for n, (key, held) in enumerate(one.items()):
                pair = [_Raw(", " if n else ""), _Raw(json.dumps(str(key)) + ": "), held]
                inner += pair
                if twice and rng.random() < twice and not isinstance(held, (dict, list)):
                    inner += [_Raw(", "), *pair[1:]]
            waiting += reversed([*inner, _Raw("}")])
        elif isinstance(one, list):
            inner = [_Raw("[")]
            for n, held in enumerate(one):
                inner += [_Raw(", " if n else ""), held]
            waiting += reversed([*inner, _Raw("]")])
        elif type(one) is int and abs(one) >= MANY_DIGITS:
            pieces.append("1" + "0" * 4000)
        else:
            pieces.append(json.dumps(one))


def _bytes(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 4))):
        at = rng.randrange(len(result) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            del result[at : at + rng.choice((1, 8, len(result)))]
        elif kind == 1:
            result[at:at] = rng.choice(
                (b"{", b"[", b'"', b",", b":", b"\\u0000", b"\xff", b"9" * 99)
            )
        elif kind == 2 and at < len(result):
            result[at] = rng.randrange(256)
        else:
            result[at:at] = rng.choice((b"[", b'{"a":', b"[0,")) * rng.choice((10, 1000, 50_000))
    return bytes(result)


# ---- changes -------------------------------------------------------------------------------------


def _other_type(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    here, key = slot
    here[key] = rng.choice((rng.choice(NUMBERS), rng.choice(TEXTS), [], {}, [[]], {"": None}))


def _huge_number(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    here, key = slot
    digits = rng.choice("19") * rng.choice((30, 4299, 4301, 50_000))
    number = _Raw(rng.choice(("", "-")) + digits + rng.choice(("", ".5", "e5", "e-99999")))
    here[key] = [number] * rng.choice((1, 20)) if rng.random() < 0.3 else number


def _copied(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    """Put another part of the tree here."""
    here, key = slot
    other, there = rng.choice(slots)
    here[key] = json.loads(_text(other[there])) if _size(other[there]) < 20_000 else None


def _doubled(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    """Have a part many times: in its list, or as a list; the same object, which is written out."""
    here, key = slot
    value = here[key]
    count = min(rng.choice((2, 20, 1000, 20_000)), max(2, MOST // max(_size(value), 1)))
    if isinstance(here, list):
        here[key:key] = [value] * count
    elif isinstance(value, list):
        here[key] = value * count if _size(value) * count <= 2 * MOST else value
    else:
        for n in range(min(count, 2000)):
            here[f"{key}_{n}" if rng.random() < 0.9 else f"{key}"] = value


def _nested(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    """Wrap a part in itself, in lists or under a key."""
    here, key = slot
    value = here[key]
    wrap = rng.choice(("list", "dict", "self"))
    for _ in range(rng.choice((1, 5, 60, 900, 5000))):
        if wrap == "list":
            value = [value]
        elif wrap == "dict" or not isinstance(value, dict):
            value = {rng.choice(KEYS): value}
        else:  # a layer in a layer of its kind
            options = value.get("config") if isinstance(value.get("config"), dict) else {}
            inner = {"layer": value} if rng.random() < 0.5 else {"layers": [value]}
            value = {**value, "config": {**_flat(options), **inner}}
    here[key] = value


def _flat(options: Any) -> dict[str, Any]:
    """Return what of a dict is neither a list nor a dict."""
    return {k: v for k, v in options.items() if not isinstance(v, (dict, list))}


def _deleted(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    here, key = slot
    if isinstance(here, dict) or len(here) > 1:
        del here[key]


def _renamed(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    here, key = slot
    if isinstance(here, dict):
        here[rng.choice((*KEYS, rng.choice(TEXTS)))] = here.pop(key)


def _swapped(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    """Exchange two values that hold no others."""
    here, key = slot
    other, there = rng.choice(slots)
    if not isinstance(here[key], (dict, list)) and not isinstance(other[there], (dict, list)):
        here[key], other[there] = other[there], here[key]


def _near(slot: Slot, slots: list[Slot], rng: random.Random) -> None:
    """Change a number or a text a little."""
    here, key = slot
    value = here[key]
    if type(value) in (int, float):
        as_float = float(value) if abs(value) < 2**1000 else 0.5
        here[key] = rng.choice((value + 1, value - 1, -value, value * 2, 0, as_float))
    elif isinstance(value, str) and value:
        at = rng.randrange(len(value))
        here[key] = rng.choice((value[:at], value + value, value.upper(), value[:at] + "/" + value))


def _text(value: Any) -> str:
    pieces: list[str] = []
    _write(value, pieces, 0.0, random.Random(0))
    text = "".join(pieces)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "null"
    return text


CHANGES: tuple[Callable[[Slot, list[Slot], random.Random], None], ...] = (
    *(_other_type, _huge_number, _copied, _doubled, _nested, _deleted, _renamed, _swapped, _near),
)
