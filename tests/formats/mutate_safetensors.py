"""Damage to safetensors files in the tree of their header, whose length is right afterwards.

An index of shards, which is JSON without a length before it, is damaged likewise.
"""

from __future__ import annotations

import json
import random
from typing import Any

MOST_PARTS = 100_000  # of the text
NUMBERS = (0, 1, 2, 3, 4, 16, 255, -1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, 1.5)
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "C64", "F8_E4M3", "", "f32")
TEXTS = (
    *("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "weight_ih_l999999", "weight_hh_l0_reverse"),
    *("weight_hh_l0_raw", "weight_hh_l0_g", "weight_hh_l0_v", "bias", "__metadata__", "lstm_fast"),
    *("a.weight_ih_l0", "a.b.weight_hh_l0", "", "\0", "\n", "😀", "../x", "/x", "a" * 5000),
    *("dtype", "shape", "data_offsets", "weight_map", "metadata", "version", "forward", "both"),
)


class Pairs(list[tuple[str, Any]]):
    """A JSON object, in which a name may be there twice."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the file with one to eight kinds of damage."""
    is_index = data[:1] == b"{"
    length = len(data) if is_index else int.from_bytes(data[:8], "little")
    begin = 0 if is_index else 8
    try:
        tree = json.loads(data[begin : begin + length], object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return data
    body = data[begin + length :]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        tree = _damaged(tree, rng)
    text = _written(tree).encode("utf-8", "surrogatepass")
    if is_index:
        return text
    text += b" " * (-len(text) % 8)
    if rng.random() < 0.1:
        body = rng.choice((body[: rng.randrange(len(body) + 1)], body + bytes(64), b""))
    return len(text).to_bytes(8, "little") + text + body


def _written(tree: Any) -> str:
    """Return JSON; unlike json.dumps it takes names twice, and any depth."""
    parts: list[str] = []
    waiting: list[Any] = [tree]
    while waiting:
        one = waiting.pop()
        if len(parts) > MOST_PARTS and not isinstance(one, bytes):
            parts.append("null")  # what is shared within a tree may be written very often
        elif isinstance(one, bytes):
            parts.append(one.decode())
        elif isinstance(one, Pairs):
            inside: list[Any] = [b"{"]
            for n, (name, value) in enumerate(one):
                inside += [b"," if n else b"", json.dumps(name).encode() + b":", value]
            waiting += reversed([*inside, b"}"])
        elif isinstance(one, list):
            inside = [b"["]
            for n, value in enumerate(one):
                inside += [b"," if n else b"", value]
            waiting += reversed([*inside, b"]"])
        else:
            parts.append(json.dumps(one))
    return "".join(parts)


def _containers(tree: Any) -> list[Any]:
    """Return all objects and lists of it, at most a few hundred."""
    found, waiting = [], [tree]
    while waiting and len(found) < 300:
        one = waiting.pop()
        if isinstance(one, list):
            found.append(one)
            waiting += [value for _, value in one] if isinstance(one, Pairs) else one
    return found


def _value(rng: random.Random, tree: Any) -> Any:
    """Return some value: a number, a text, a part of the tree, or a bomb."""
    kind = rng.randrange(7)
    if kind < 3:
        return rng.choice((NUMBERS, (*TEXTS, *DTYPES), (None, True, False, [], Pairs()))[kind])
    if kind == 3:
        containers = _containers(tree)
        return _copy(rng.choice(containers)) if containers else None
    if kind == 4:
        deep: Any = 0
        for _ in range(rng.choice((3, 900, 20_000))):
            deep = [deep] if rng.random() < 0.5 else Pairs([("a", deep)])
        return deep
    if kind == 5:
        return [0] * rng.choice((64, 65, 20_000))
    return [rng.choice(NUMBERS) for _ in range(rng.randrange(5))]


def _copy(tree: Any) -> Any:
    """Return a copy of a part of a tree to a depth of two, below which it is shared."""
    if isinstance(tree, Pairs):
        return Pairs((name, type(value)(value) if isinstance(value, list) else value)
                     for name, value in tree)  # fmt: skip
    return list(tree) if isinstance(tree, list) else tree


def _damaged(tree: Any, rng: random.Random) -> Any:
    """Return it with one kind of damage."""
    if rng.random() < 0.01:
        return _value(rng, tree)
    places = [one for one in _containers(tree) if one]
    if not places:
        return tree
    at = rng.choice(places)
    n = rng.randrange(len(at))
    if isinstance(at, Pairs):
        _damage_object(tree, at, n, rng)
    else:
        _damage_list(at, n, rng, tree)
    return tree


def _damage_object(tree: Any, at: Pairs, n: int, rng: random.Random) -> None:
    name, value = at[n]
    kind = rng.randrange(8)
    if kind == 0:
        del at[n]
    elif kind == 1:
        at[n] = (rng.choice((*TEXTS, name + "_l1", name * 3)), value)
    elif kind == 2:
        at[n] = (name, _value(rng, tree))
    elif kind == 3:  # a name twice, with another value
        at.append((name, at[rng.randrange(len(at))][1]))
    elif kind == 4:  # many that are over the same bytes
        form = rng.choice(("{}", "a{}.weight_ih_l0", "weight_ih_l{}", "a.{}.bias", "{}_raw"))
        at += [(form.format(one), value) for one in range(rng.choice((2, 50, 3000)))]
    elif kind == 5:
        other = rng.randrange(len(at))
        (a, first), (b, second) = at[n], at[other]
        at[n], at[other] = (a, second), (b, first)
    elif kind == 6 and isinstance(value, str) and value.startswith("{"):
        try:  # the options of our canonical form are JSON within a text
            inner = _damaged(json.loads(value, object_pairs_hook=Pairs), rng)
        except (ValueError, RecursionError):
            return
        at[n] = (name, _written(inner))
    elif isinstance(value, str):
        at[n] = (name, rng.choice((*DTYPES, *TEXTS)))


def _damage_list(at: list[Any], n: int, rng: random.Random, tree: Any) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        del at[n]
    elif kind == 1:
        at[n:n] = [at[n]] * rng.choice((1, 2, 70, 5000))
    elif kind == 2 and isinstance(at[n], (int, float)):
        at[n] += rng.choice((1, -1, 4, -4, 1000))
    elif kind == 3:
        at.reverse()
    elif kind == 4:
        at[n] = _value(rng, tree)
    else:
        at[n] = rng.choice(NUMBERS)
