"""What the names of a state dict say: which parameters of which LSTM, and what stands beside them.

A name is a prefix, such as "encoder.rnn.", and PyTorch's name of a parameter, or of a piece of one
that is computed (see `_computed_parameters`). An LSTM is where there is a weight_ih.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple

from ._computed_parameters import FIRST
from ._weights import KINDS

LONGEST_NAME = 4096
MOST_SEPARATORS = 256  # of one name, so that a file of long names takes no long time
MOST_TOLD = 64  # names of which several LSTMs are told, likewise
SEPARATOR = re.compile("[._/-]")  # of a prefix from what follows
ONE_BIAS = "bias"  # for the sum of both
_PARAMETER = rf"({'|'.join(KINDS)}|{ONE_BIAS})(?:_l(0|[1-9][0-9]{{0,5}}))?(_reverse)?"
_PIECE = rf"(?:{_PARAMETER}(_g|_v|_u|_orig|_mask|_raw)?|parametrizations\.{_PARAMETER}(\..+))"
PIECE = re.compile(rf"(?s){_PIECE}")
NAME = re.compile(rf"(?s)(.*{SEPARATOR.pattern}|){_PIECE}")
CORE = frozenset({"weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"})


class Parameter(NamedTuple):
    """One parameter of one layer in one direction."""

    kind: str
    layer: int
    reverse: bool

    @property
    def called(self) -> str:
        """PyTorch's name."""
        return f"{self.kind}_l{self.layer}{'_reverse' if self.reverse else ''}"


@dataclass
class Group:
    """What stands under the prefix of an LSTM; all as names of the whole mapping.

    parameters: the pieces of each, by what they add to its name ("" is the parameter itself).
    beside: everything else.
    twice: two names of one piece, or None.
    """

    prefix: str
    parameters: dict[Parameter, dict[str, str]] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)
    twice: tuple[str, str] | None = None

    def add(self, name: str, parameter: Parameter, piece: str) -> None:
        pieces = self.parameters.setdefault(parameter, {})
        first = pieces.setdefault(piece, name)
        if first != name:
            self.twice = self.twice or (first, name)

    def names(self) -> Iterator[str]:
        """Yield every name under the prefix."""
        for pieces in self.parameters.values():
            yield from pieces.values()
        yield from self.beside


def _said(groups: tuple[str | None, ...]) -> tuple[Parameter, str]:
    """Return what the groups of PIECE say: the parameter, and the piece of it."""
    plain, computed = groups[:4], groups[4:]
    kind, layer, reverse, piece = plain if plain[0] is not None else computed
    return Parameter(kind or "", int(layer or 0), bool(reverse)), piece or ""


class Part(NamedTuple):
    """What a name says: its prefix, the parameter, and which piece of it."""

    prefix: str
    parameter: Parameter
    piece: str

    @property
    def is_core(self) -> bool:
        """Whether the name alone tells an LSTM."""
        return self.parameter.kind in CORE


def _split(name: str) -> Part | None:
    """Return what a name says; None where it names no part of an LSTM."""
    match = NAME.fullmatch(name) if len(name) <= LONGEST_NAME else None
    if match is None:
        return None
    prefix, *groups = match.groups()
    return Part(prefix, *_said(tuple(groups)))


def _parts(names: Iterable[Any]) -> dict[str, Part]:
    """Return what each name says that names a part of an LSTM."""
    found = {name: _split(name) for name in names if isinstance(name, str)}
    return {name: part for name, part in found.items() if part is not None}


def _outer(prefix: str) -> str:
    """Return the prefix of the module around that of this one."""
    return prefix[: prefix[:-1].rfind(".") + 1]


def _above(parts: dict[str, Part]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the pieces that stand one module above their LSTM, and which LSTMs there are below it.

    The pieces with the prefix of that module; the prefixes of LSTMs by that of the module.
    As with fastai's dropout of weights: "rnn.weight_hh_l0_raw" and "rnn.module.bias_hh_l0".
    """
    plain = {part.prefix for part in parts.values() if part.is_core and not part.piece}
    whole = {
        kind: {
            part.prefix
            for part in parts.values()
            if part.parameter.kind == kind and part.piece in FIRST - {"_raw"}
        }
        for kind in ("weight_ih", "weight_hh")
    }
    own = plain | (whole["weight_ih"] & whole["weight_hh"])
    inner: dict[str, list[str]] = {}
    for prefix in sorted(plain):
        if prefix:
            inner.setdefault(_outer(prefix), []).append(prefix)
    pieces = {
        name: part.prefix
        for name, part in parts.items()
        if part.is_core and part.piece and part.prefix not in own and part.prefix in inner
    }
    return pieces, inner


def _prefixes(names: Iterable[Any]) -> tuple[set[str], dict[str, list[str]]]:
    """Return the prefixes of LSTMs; and of which ones a piece may be that stands above them.

    Many pieces may stand above many prefixes: those of one module have one list of them.
    """
    parts = _parts(names)
    pieces, inner = _above(parts)
    found: set[str] = set()
    outer: set[str] = set()
    for name, part in parts.items():
        if part.parameter.kind == "weight_ih" and part.piece in FIRST:
            (outer if name in pieces else found).add(part.prefix)
    for prefix in outer:
        found.update(inner[prefix])
    of_module = {
        prefix: [one for one in inner[prefix] if one in found] for prefix in set(pieces.values())
    }
    return found, {name: of_module[prefix] for name, prefix in pieces.items()}


def prefixes(names: Iterable[Any]) -> list[str]:
    """Return the prefixes under which there are LSTM weights, sorted."""
    return sorted(_prefixes(names)[0])


def grouped(names: Iterable[Any], asked: str | None = None) -> dict[str, Group]:
    """Return what stands under the prefix of each LSTM, sorted; a name belongs to the nearest one.

    asked: a prefix that is to be among them, whether there is an LSTM or not.
    """
    names = [name for name in names if isinstance(name, str)]
    found, above = _prefixes(names)
    groups = {
        prefix: Group(prefix) for prefix in sorted(found if asked is None else found | {asked})
    }
    told: dict[str, int] = {}
    for name in names:
        owners = above.get(name)
        if owners and len(owners) > 1:  # of which of them is not to be known
            outer = _outer(owners[0])
            told[outer] = told.get(outer, 0) + 1
            for owner in owners if told[outer] <= MOST_TOLD else ():
                groups[owner].beside.append(name)
            continue
        prefix = owners[0] if owners else _owner(name, groups, asked)
        if prefix is None:
            continue
        before = _outer(prefix) if owners else prefix
        rest = name[len(before) :]
        match = PIECE.fullmatch(rest) if len(name) <= LONGEST_NAME else None
        if match is None:
            groups[prefix].beside.append(name)
        else:
            groups[prefix].add(name, *_said(match.groups()))
    return groups


def _owner(name: str, groups: dict[str, Group], asked: str | None) -> str | None:
    """Return the longest of the prefixes that the name begins with."""
    longest = "" if "" in groups else None
    for separator in islice(SEPARATOR.finditer(name, 0, LONGEST_NAME), MOST_SEPARATORS):
        if name[: separator.end()] in groups:
            longest = name[: separator.end()]
    if asked is not None and name.startswith(asked) and len(asked) > len(longest or ""):
        return asked
    return longest


def as_patterns(ignore: Any) -> tuple[str, ...]:
    """Return the patterns of `ignore=`, which may be one string.

    Raises:
        TypeError: it is not a string and no sequence of strings.
    """
    if not isinstance(ignore, Iterable):
        raise TypeError(f"ignore is a pattern or a list of them, found {type(ignore).__name__}")
    patterns = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"ignore is a pattern or a list of them, found {type(pattern).__name__} in it"
            )
    return patterns


def is_ignored(name: Any, patterns: tuple[str, ...]) -> bool:
    """Return whether one of the patterns, as of `fnmatch`, fits the whole name."""
    return isinstance(name, str) and any(fnmatchcase(name, pattern) for pattern in patterns)
