"""What each opcode of a pickle does to the machine, and how much memory that takes at most."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .._recognise_ours import NEWEST_PICKLE
from ._pickle_values import Dict, Global, Object, PickleError

if TYPE_CHECKING:
    from ._pickle_machine import Machine

LONGEST_NUMBER = 64  # bytes; a random generator's state has whole numbers of 16
LONGEST_LINE = 4096
KEPT_BYTES = 120  # a place in the memo
# A class of Python 2 and an object of protocol 2 are made through these.
MAKERS = ("copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__")
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}

# Bytes of a character in memory, and with what begins one in UTF-8 that makes all take so many.
WIDE = ((4, re.compile(rb"[\xf0-\xff]")), (2, re.compile(rb"[\xc4-\xef]")), (1, re.compile(rb"")))

OPCODES: dict[bytes, tuple[Callable[[Machine], None], int]] = {}


def opcode(code: bytes, cost: int = 16, **options: Any) -> Callable[..., Any]:
    """Say which opcode a function runs, and with which options.

    Args:
        code: one byte.
        cost: of memory that it takes at most, in bytes; 16 are a place on the stack or in a list.
        options: what the function gets beside the machine; size is that of a number, in bytes.
    """

    def add(run: Callable[..., None]) -> Callable[..., None]:
        OPCODES[code] = partial(run, **options) if options else run, cost
        return run

    return add


# ---- the machine itself ----


@opcode(b"\x80")
def _protocol(machine: Machine) -> None:
    if (version := machine.number(1)) > NEWEST_PICKLE:
        raise PickleError(f"it is of protocol {version}; {NEWEST_PICKLE} is the newest known")


@opcode(b"\x95")
def _frame(machine: Machine) -> None:
    if (count := machine.number(8)) > machine.size - machine.file.tell():
        raise PickleError(f"a frame claims {count} bytes, more than there are")


@opcode(b"(", 120)
def _mark(machine: Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


@opcode(b"0")
def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.since_mark()


@opcode(b"1")
def _pop_mark(machine: Machine) -> None:
    machine.since_mark()


@opcode(b"2")
def _duplicate(machine: Machine) -> None:
    machine.push(machine.stack[-1])


@opcode(b"p", KEPT_BYTES)
def _put_line(machine: Machine) -> None:
    machine.keep(_whole(machine.line(20)))


@opcode(b"q", KEPT_BYTES, size=1)
@opcode(b"r", KEPT_BYTES, size=4)
def _put(machine: Machine, size: int) -> None:
    machine.keep(machine.number(size))


@opcode(b"\x94", KEPT_BYTES)
def _put_next(machine: Machine) -> None:
    machine.keep(len(machine.memo))


@opcode(b"g")
def _get_line(machine: Machine) -> None:
    machine.recall(_whole(machine.line(20)))


@opcode(b"h", size=1)
@opcode(b"j", size=4)
def _get(machine: Machine, size: int) -> None:
    machine.recall(machine.number(size))


# ---- numbers ----


@opcode(b"N", value=None)
@opcode(b"\x88", value=True)
@opcode(b"\x89", value=False)
def _constant(machine: Machine, value: Any) -> None:
    machine.push(value)


def _whole(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise PickleError(f"{text[:20]!r} is not a whole number") from None


@opcode(b"I", 48)
def _int_line(machine: Machine) -> None:
    line = machine.line(2 * LONGEST_NUMBER)
    machine.push(line == b"01" if line in (b"00", b"01") else _whole(line))


@opcode(b"L", 160)
def _long_line(machine: Machine) -> None:
    text = machine.line(machine.size).removesuffix(b"L")
    is_long = len(text) > 2 * LONGEST_NUMBER
    machine.push(Object(f"int of {len(text)} digits") if is_long else _whole(text))


@opcode(b"K", 16, size=1)
@opcode(b"M", 48, size=2)
def _unsigned(machine: Machine, size: int) -> None:
    machine.push(machine.number(size))


@opcode(b"J", 48)
def _signed(machine: Machine) -> None:
    machine.push(int.from_bytes(machine.take(4), "little", signed=True))


@opcode(b"\x8a", 160, size=1)
@opcode(b"\x8b", 160, size=4)
def _long(machine: Machine, size: int) -> None:
    """Push a whole number; a very long one only says so, since it is slow to compute with."""
    data = machine.take(machine.number(size))
    is_long = len(data) > LONGEST_NUMBER
    value = int.from_bytes(data[:LONGEST_NUMBER], "little", signed=True)
    machine.push(Object(f"int of {len(data)} bytes") if is_long else value)


@opcode(b"F", 48)
def _float_line(machine: Machine) -> None:
    try:
        machine.push(float(machine.line(100)))
    except ValueError:
        raise PickleError("a number in it is none") from None


@opcode(b"G", 48)
def _float(machine: Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


# ---- text and bytes ----


@opcode(b"\x8c", 80, size=1)
@opcode(b"X", 80, size=4)
@opcode(b"\x8d", 80, size=8)
def _text(machine: Machine, size: int) -> None:
    data = machine.take(machine.number(size))
    if len(data) <= LONGEST_LINE:
        machine.charge(4 * len(data))
    else:
        machine.charge(_widest(data) * len(data))
        machine.budget.give_back(len(data))  # of the bytes
    machine.push(data.decode("utf-8", "surrogatepass"))


def _widest(data: bytes) -> int:
    """Return how many bytes each character takes; one emoji makes all of them take four."""
    if data.isascii():
        return 1
    return next(width for width, first in WIDE if first.search(data))


@opcode(b"V", 80)
def _text_line(machine: Machine) -> None:
    line = machine.line(machine.size)
    machine.charge(4 * len(line))
    machine.push(line.decode("raw-unicode-escape"))


@opcode(b"C", 80, size=1)
@opcode(b"B", 80, size=4)
@opcode(b"\x8e", 80, size=8)
@opcode(b"\x96", 80, size=8)
def _bytes(machine: Machine, size: int) -> None:
    machine.push(machine.take(machine.number(size)))


@opcode(b"U", 80, size=1)
@opcode(b"T", 80, size=4)
def _old_text(machine: Machine, size: int) -> None:
    """Push a string of Python 2, which may be text or bytes: one character for each byte."""
    data = machine.take(machine.number(size))
    machine.charge(len(data))
    machine.push(data.decode("latin-1"))


@opcode(b"S", 80)
def _old_text_line(machine: Machine) -> None:
    line = machine.line(machine.size)
    machine.charge(12 * len(line))  # the pieces between what is escaped
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise PickleError("a string in it has no quotes")
    machine.push(ESCAPE.sub(_unescaped, line[1:-1]).decode("latin-1"))


def _unescaped(match: re.Match[bytes]) -> bytes:
    number, letter = match.groups()
    return bytes.fromhex(number.decode()) if number else ESCAPED.get(letter, letter)


@opcode(b"\x97")
@opcode(b"\x98")
def _buffer(machine: Machine) -> None:
    raise PickleError("some of its values were kept outside of it (out-of-band buffers)")


# ---- containers ----


@opcode(b")")
def _empty_tuple(machine: Machine) -> None:
    machine.push(())


@opcode(b"\x85", 80, count=1)
@opcode(b"\x86", 80, count=2)
@opcode(b"\x87", 80, count=3)
def _short_tuple(machine: Machine, count: int) -> None:
    values = [machine.stack.pop() for _ in range(count)]
    machine.push(tuple(reversed(values)))


@opcode(b"t", 64)
def _tuple(machine: Machine) -> None:
    machine.push(tuple(machine.since_mark()))


@opcode(b"]", 80)
@opcode(b"\x8f", 80)  # a set
def _empty_list(machine: Machine) -> None:
    machine.push([])


@opcode(b"l")
@opcode(b"\x91")  # a frozen set
def _list(machine: Machine) -> None:
    machine.push(machine.since_mark())


@opcode(b"}", 96)
def _empty_dict(machine: Machine) -> None:
    machine.push(Dict())


@opcode(b"d", 96)
def _dict(machine: Machine) -> None:
    machine.push(Dict(_pairs(machine.since_mark())))


def _pairs(items: list[Any]) -> list[Any]:
    if len(items) % 2:
        raise PickleError("a key in it has no value")
    return items


def _append(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Object):
        target.elements = [] if target.elements is None else target.elements
        target = target.elements
    if type(target) is not list:
        raise PickleError("it appends to what is not a list")
    machine.charge(16 * len(items))
    target.extend(items)


def _set(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Object):
        target.items = Dict() if target.items is None else target.items
        target = target.items
    if not isinstance(target, Dict):
        raise PickleError("it sets an entry of what is not a dict")
    machine.charge(16 * len(items))
    target.extend(_pairs(items))


@opcode(b"a", 80)
def _append_one(machine: Machine) -> None:
    _append(machine, [machine.stack.pop()])


@opcode(b"e", 80)
@opcode(b"\x90", 80)  # to a set
def _append_all(machine: Machine) -> None:
    _append(machine, machine.since_mark())


@opcode(b"s", 96)
def _set_one(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set(machine, [key, value])


@opcode(b"u", 96)
def _set_all(machine: Machine) -> None:
    _set(machine, machine.since_mark())


# ---- what would be imported and called ----


@opcode(b"c", 160)
def _global(machine: Machine) -> None:
    module, name = machine.line().decode(), machine.line().decode()
    machine.push(machine.named(module, name))


@opcode(b"\x93", 160)
def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise PickleError("a name in it is not a string")
    machine.push(machine.named(module, name))


@opcode(b"\x82", 160, size=1)
@opcode(b"\x83", 160, size=2)
@opcode(b"\x84", 160, size=4)
def _extension(machine: Machine, size: int) -> None:
    machine.push(Global(f"extension {machine.number(size)}"))


def _called(function: Any, args: Any, kwargs: Any = None) -> Object:
    """Return what stands for the result of a call."""
    if not isinstance(args, tuple):
        raise PickleError("the arguments of a call in it are not a tuple")
    name = function.name if isinstance(function, (Global, Object)) else type(function).__name__
    if name in MAKERS and args and isinstance(args[0], Global):
        name = args[0].name
    return Object(name, args, kwargs)


@opcode(b"R", 140)
@opcode(b"\x81", 140)
def _call(machine: Machine) -> None:
    args, function = machine.stack.pop(), machine.stack.pop()
    machine.push(_called(function, args))


@opcode(b"\x92", 140)
def _call_by_name(machine: Machine) -> None:
    kwargs, args, function = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    machine.push(_called(function, args, kwargs))


@opcode(b"i", 400)
def _instance(machine: Machine) -> None:
    _global(machine)
    function = machine.stack.pop()
    machine.push(_called(function, tuple(machine.since_mark())))


@opcode(b"o", 240)
def _object(machine: Machine) -> None:
    items = machine.since_mark()
    machine.push(_called(items[0], tuple(items[1:])))


@opcode(b"b")
def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    if isinstance(target := machine.stack[-1], Object):
        target.state = state


@opcode(b"Q", 400)
def _persistent(machine: Machine) -> None:
    machine.push(machine.persistent(machine.stack.pop()))


@opcode(b"P", 400)
def _persistent_line(machine: Machine) -> None:
    machine.push(machine.persistent(machine.line().decode("latin-1")))
