"""A whole model as text, with a table of its operations, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .._program_costs import costs
from ..model import Model
from ..program import Op, Program, Shape, Tensor
from ._terminal import as_bytes, printable, wrapped

TITLES = ("#", "operation", "shapes", "mult-adds", "bytes", "state", "from")
NUMBERS = (0, 3, 4)  # columns that end at the same place
GAP = "  "
SOURCE, STATE = 16, 24  # columns of where an operation is from, at least, and of states, at most


def lines(model: Model, columns: int) -> Iterator[str]:
    """Yield what is printed of a model."""
    program, each = model.program, costs(model.program)
    products = sum(one.multiply_adds for one in each)
    size_bytes = sum(one.weight_bytes for one in each)
    totals = [
        _counted(len(program.ops), "operation"),
        f"{products:,} multiply-adds with weights",
        f"{as_bytes(size_bytes)} of weights",
    ]
    yield "the whole model"
    rows = [
        ("a step", ", ".join(totals)),
        ("inputs", ", ".join(_input(model, one.name, one.history) for one in program.inputs)),
        ("outputs", _listed(model.outputs)),
        ("states", _listed(model.states) or "none"),
        ("fingerprint", model.fingerprint),
        *(("note", note) for note in model.notes),
    ]
    for title, text in rows:
        yield from wrapped(f"  {title:<12}", printable(text), columns)
    yield ""
    yield from _table(program, columns)


def facts(model: Model) -> dict[str, Any]:
    """Return the same for JSON."""
    program, each = model.program, costs(model.program)

    def described(tensors: Any) -> list[dict[str, Any]]:
        return [
            {"name": name, "shape": list(one.shape), "kind": one.kind}
            for name, one in tensors.items()
        ]

    histories = {one.name: one.history for one in program.inputs}
    return {
        "inputs": [one | {"history": histories[one["name"]]} for one in described(model.inputs)],
        "outputs": described(model.outputs),
        "states": described(model.states),
        "multiply_adds": sum(one.multiply_adds for one in each),
        "weight_bytes": sum(one.weight_bytes for one in each),
        "fingerprint": model.fingerprint,
        "notes": list(model.notes),
        "operations": [
            {
                "operation": op.code,
                "inputs": [list(shape) for shape in _shapes(program, op.inputs)],
                "outputs": [list(shape) for shape in _shapes(program, op.outputs)],
                **asdict(cost),
                "reads": _reads(program, op),
                "writes": _writes(program, op),
                "source": op.source,
            }
            for op, cost in zip(program.ops, each, strict=True)
        ],
    }


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _listed(tensors: Any) -> str:
    return ", ".join(f"{name} {_tensor(one)}" for name, one in tensors.items())


def _tensor(tensor: Tensor) -> str:
    return str(tensor.shape) + ("" if tensor.kind == "float32" else f" {tensor.kind}")


def _input(model: Model, name: str, history: int) -> str:
    text = f"{name} {_tensor(model.inputs[name])}"
    return f"{text} behind the last {history}" if history else text


def _shapes(program: Program, numbers: tuple[int, ...]) -> list[Shape]:
    """Return the shapes of the values among tensors, without those of constants."""
    return [
        program.tensors[number].shape
        for number in numbers
        if number >= 0 and number not in program.constants
    ]


def _reads(program: Program, op: Op) -> list[str]:
    return [one.name for one in program.states if one.tensor in op.inputs]


def _writes(program: Program, op: Op) -> list[str]:
    return [one.name for one in program.states if one.next in op.outputs]


def _table(program: Program, columns: int) -> Iterator[str]:
    """Yield the table; a narrow one shows of shapes only the last, and of names the ends."""
    rows = _rows(program, is_short=False, state=STATE)
    if _room(rows, columns) < SOURCE:
        rows = _rows(program, is_short=True, state=STATE)
    if (missing := SOURCE - _room(rows, columns)) > 0:
        rows = _rows(program, is_short=True, state=max(STATE - missing, len(TITLES[5])))
    widths, room = _widths(rows), max(_room(rows, columns), SOURCE)
    sources = [TITLES[-1], *(printable(op.source) for op in program.ops), ""]
    for row, source in zip([TITLES[:-1], *rows], sources, strict=True):
        cells = [
            text.rjust(size) if n in NUMBERS else text.ljust(size)
            for n, (text, size) in enumerate(zip(row, widths, strict=True))
        ]
        yield GAP.join([*cells, _end(source, room)]).rstrip()


def _rows(program: Program, *, is_short: bool, state: int) -> list[tuple[str, ...]]:
    """Return the cells of all rows, without where an operation is from; the sums stand last."""
    each = costs(program)
    rows = [
        (
            str(number),
            op.code,
            _change(program, op, is_short=is_short),
            f"{cost.multiply_adds:,}" if cost.multiply_adds else "",
            f"{cost.weight_bytes:,}" if cost.weight_bytes else "",
            _state(program, op, state),
        )
        for number, (op, cost) in enumerate(zip(program.ops, each, strict=True))
    ]
    products = sum(one.multiply_adds for one in each)
    size_bytes = sum(one.weight_bytes for one in each)
    return [*rows, ("", "all", "", f"{products:,}", f"{size_bytes:,}", "")]


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(map(len, column)) for column in zip(TITLES[:-1], *rows, strict=True)]


def _room(rows: list[tuple[str, ...]], columns: int) -> int:
    """Return how many columns are left for where an operation is from."""
    widths = _widths(rows)
    return columns - sum(widths) - len(GAP) * len(widths)


def _change(program: Program, op: Op, *, is_short: bool) -> str:
    """Return the shapes of what an operation takes and returns: 129x4 -> 128x4."""
    after = _some(_shapes(program, op.outputs))
    return after if is_short else f"{_some(_shapes(program, op.inputs))} -> {after}"


def _some(shapes: list[Shape]) -> str:
    """Return the first shape, and how many others there are."""
    if not shapes:
        return "-"
    first = "x".join(map(str, shapes[0])) or "1"
    return first if len(shapes) == 1 else f"{first} +{len(shapes) - 1}"


def _state(program: Program, op: Op, size: int) -> str:
    texts = [f"from {name}" for name in _reads(program, op)]
    texts += [f"to {name}" for name in _writes(program, op)]
    return _end(printable(", ".join(texts)), size)


def _end(text: str, size: int) -> str:
    """Return text, or its end where it is too long: names of nodes differ there."""
    return text if len(text) <= size else "..." + text[len(text) - size + 3 :]
