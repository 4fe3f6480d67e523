"""What the names of a state dict say: which parameters of which LSTM, and what stands beside them.

A name is a prefix, such as "encoder.rnn.", and PyTorch's name of a parameter, or of a piece of one
that is computed (see `_forms`). An LSTM is where there is a weight_ih.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple

from ._forms import FIRST
from ._weights import KINDS

LONGEST_NAME = 4096
MOST_SEPARATORS = 256  # of one name, so that a file of long names takes no long time
SEPARATOR = re.compile("[._/-]")  # of a prefix from what follows
ONE_BIAS = "bias"  # for the sum of both
_PARAMETER = rf"({'|'.join(KINDS)}|{ONE_BIAS})(?:_l(0|[1-9][0-9]{{0,5}}))?(_reverse)?"
_PIECE = rf"(?:{_PARAMETER}(_g|_v|_u|_orig|_mask|_raw)?|parametrizations\.{_PARAMETER}(\..+))"
PIECE = re.compile(rf"(?s){_PIECE}")
NAME = re.compile(rf"(?s)(.*{SEPARATOR.pattern}|){_PIECE}")
# fastai keeps the weights that are dropped out one module above the LSTM.
WRAPPED = "module."


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


def _split(name: str) -> tuple[str, Parameter, str] | None:
    """Return prefix, parameter and piece; None where it names no part of an LSTM."""
    match = NAME.fullmatch(name) if len(name) <= LONGEST_NAME else None
    if match is None:
        return None
    prefix, *groups = match.groups()
    return prefix, *_said(tuple(groups))


def _prefixes(names: Iterable[Any]) -> tuple[set[str], dict[str, str]]:
    """Return the prefixes of LSTMs, and of which one each raw weight is that stands above it."""
    found: set[str] = set()
    inner: set[str] = set()
    raw: dict[str, tuple[str, str]] = {}
    for name in names:
        parts = _split(name) if isinstance(name, str) else None
        if parts is None:
            continue
        prefix, parameter, piece = parts
        if piece == "_raw":
            raw[name] = prefix, parameter.kind
        else:
            inner.add(prefix)
        if parameter.kind == "weight_ih" and piece in FIRST:
            found.add(prefix)
    above = {
        name: prefix + WRAPPED
        for name, (prefix, _) in raw.items()
        if prefix not in inner and prefix + WRAPPED in inner
    }
    for name, owner in above.items():
        prefix, kind = raw[name]
        found -= {prefix}
        found |= {owner} if kind == "weight_ih" else set()
    return found, {name: owner for name, owner in above.items() if owner in found}


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
    for name in names:
        owner = above.get(name) or _owner(name, groups, asked)
        if owner is None:
            continue
        rest = name[len(owner) - (len(WRAPPED) if name in above else 0) :]
        match = PIECE.fullmatch(rest) if len(name) <= LONGEST_NAME else None
        if match is None:
            groups[owner].beside.append(name)
        else:
            groups[owner].add(name, *_said(match.groups()))
    return groups


def _owner(name: str, groups: dict[str, Group], asked: str | None) -> str | None:
    """Return the longest of the prefixes that the name begins with."""
    longest = "" if "" in groups else None
    for separator in islice(SEPARATOR.finditer(name), MOST_SEPARATORS):
        if name[: separator.end()] in groups:
            longest = name[: separator.end()]
    if asked is not None and name.startswith(asked) and len(asked) > len(longest or ""):
        return asked
    return longest


def as_patterns(ignore: Any) -> tuple[str, ...]:
    """Return the patterns of `ignore=`, which may be one string.

    Raises:
        TypeError: it is no string and no sequence of strings.
    """
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
