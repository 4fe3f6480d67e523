"""What stands for the values of a pickle that nobody vouches for.

Numbers, strings, bytes, None, lists and tuples are Python's own. All else is inert: it remembers
what the file said and does nothing. No key of the file is ever hashed or compared, since a key can
be a tuple that holds itself a billion times over; a set is a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..._shown import plain, shown

LONGEST_NAME = 4096
LARGEST_INDEX = 2**31


class PickleError(ValueError):
    """It is not a pickle, or cut short, or its opcodes do not go together."""


class Global:
    """Something that the file names, such as a class or a function; it is never imported."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Dict(list[Any]):
    """The entries of a dict in the order in which they were set: key, value, key, value."""

    __slots__ = ()

    def entries(self) -> dict[str, Any]:
        """Return those whose key can be a part of a name: a string or a small whole number."""
        return {name: value for name, value in self._named() if name is not None}

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Yield all of them; one with another key, such as a number with a point, by its place."""
        for index, (name, value) in enumerate(self._named()):
            yield f"[{index}]" if name is None else name, value

    def _named(self) -> Iterator[tuple[str | None, Any]]:
        for key, value in zip(self[::2], self[1::2], strict=True):
            is_index = type(key) is int and -LARGEST_INDEX < key < LARGEST_INDEX
            name = key if _is_name(key) else str(key) if is_index else None
            yield name, value

    def __repr__(self) -> str:
        return f"<{len(self) // 2} entries>"


class Object:
    """What the file would have had called or built.

    name: of what would have been called.
    args, kwargs: with what.
    state: what its `__setstate__` would have got.
    items: what would have been set in it by key, as in an OrderedDict.
    elements: what would have been appended to it, as to a deque.
    """

    __slots__ = ("args", "elements", "items", "kwargs", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] = (), kwargs: Any = None) -> None:
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.state: Any = None
        self.items: Dict | None = None
        self.elements: list[Any] | None = None

    def attributes(self) -> dict[str, Any]:
        """Return what the instance's `__dict__` would be."""
        return self.state.entries() if isinstance(self.state, Dict) else {}


CONTAINERS = (Dict, Object, list, tuple)


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a container holds, each part with the name that leads to it."""
    if isinstance(value, Dict):
        yield from dict(value.pairs()).items()
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            is_named = isinstance(part, (list, tuple)) and len(part) == 2 and _is_name(part[0])
            yield (part[0], part[1]) if is_named else (str(index), part)
    elif isinstance(value, Object):
        for held in _held(value):
            if isinstance(held, Object):  # not what it holds: that would be a recursion
                yield "state", held
            else:
                yield from parts(held)


def _held(value: Object) -> tuple[Any, ...]:
    """Return what an object holds its parts in."""
    args: Any = value.args
    if len(args) == 1 and isinstance(args[0], (list, tuple)):
        args = args[0]  # a Dict, or the pairs that Python 2 makes an OrderedDict of
    return args, value.kwargs, value.items, value.elements, value.state


def _is_name(value: Any) -> bool:
    return type(value) is str and len(value) <= LONGEST_NAME


def lists(value: Any) -> list[Any]:
    """Return the lists, tuples and dicts that `parts` goes through."""
    held = _held(value) if isinstance(value, Object) else (value,)
    return [one for one in held if isinstance(one, (list, tuple))]


def encoded(value: Any) -> Any:
    """Return the text that bytes are kept as before protocol 3, or the value itself."""
    is_call = isinstance(value, Object) and value.name == "_codecs.encode" and value.args
    return value.args[0] if is_call else value


def contents(value: Any) -> bytes | None:
    """Return the bytes that a value is, or None; before protocol 3 they are kept as text."""
    value = encoded(value)
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return value if isinstance(value, bytes) else None


def described(value: Any) -> str:
    """Return in words what a value is."""
    if isinstance(value, Object):
        return f"an object of {plain(value.name)}"
    if isinstance(value, Global):
        return f"the name {plain(value.name)}"
    if isinstance(value, Dict):
        keys = ", ".join(shown(key, 40) for key in list(value.entries())[:12])
        return f"a dict of {len(value) // 2}" + (f" with {keys}" if keys else "")
    if isinstance(value, (list, tuple, str, bytes)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
