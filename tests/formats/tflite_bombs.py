"""TFLite files in which thousands of places name one table, list or text."""

from __future__ import annotations

from pathlib import Path

from mutate_flatbuffer import Raw, Table, Tables, parse, write

GOLDEN = Path(__file__).parent.parent / "golden" / "formats" / "tflite" / "keras_plain.tflite"
# Slots of tables, as in TFLite's schema.
MODEL_CODES, MODEL_GRAPHS, MODEL_BUFFERS = 1, 2, 4
GRAPH_TENSORS, GRAPH_OUTPUTS, GRAPH_OPERATORS = 0, 2, 3
OPERATOR_INPUTS, OPERATOR_OUTPUTS = 1, 2
TENSOR_SHAPE, TENSOR_NAME, TENSOR_QUANTISED = 0, 3, 4


def _parts() -> tuple[Table, Table, Tables]:
    model = parse(GOLDEN.read_bytes())
    graphs = model.slots[MODEL_GRAPHS]
    assert isinstance(graphs, Tables)
    graph = max(graphs.items, key=lambda one: len(_tables(one, GRAPH_OPERATORS).items))
    return model, graph, _tables(graph, GRAPH_OPERATORS)


def _tables(table: Table, slot: int) -> Tables:
    found = table.slots[slot]
    assert isinstance(found, Tables)
    return found


def _lstm(operators: Tables) -> Table:
    return max(operators.items, key=lambda one: _count(one, OPERATOR_INPUTS))


def _count(operator: Table, slot: int) -> int:
    found = operator.slots.get(slot)
    return found.count if isinstance(found, Raw) else 0


def _numbers(*numbers: int) -> Raw:
    data = b"".join((number % 2**32).to_bytes(4, "little") for number in numbers)
    return Raw("[4", data, len(numbers))


def same_operator(n):
    model, _, operators = _parts()
    operators.items += [_lstm(operators)] * n
    return write(model)


def operators_of_their_own(n):
    """LSTMs of the same weights, each with another state: as many as there are tables."""
    model, _, operators = _parts()
    first = _lstm(operators)
    inputs = first.slots[OPERATOR_INPUTS]
    assert isinstance(inputs, Raw)
    for k in range(n):  # without a forget gate's peephole, whose place says which it is
        data = inputs.data[:36] + (k % 2**31).to_bytes(4, "little") + inputs.data[40:]
        slots = {**first.slots, OPERATOR_INPUTS: Raw("[4", data, inputs.count)}
        operators.items.append(Table("Operator", slots))
    return write(model)


def same_graph(n):
    model, graph, operators = _parts()
    operators.items += [_lstm(operators)] * n
    _tables(model, MODEL_GRAPHS).items += [graph] * 900
    return write(model)


def long_lists_of_inputs(n):
    model, _, operators = _parts()
    first = _lstm(operators)
    slots = {**first.slots, OPERATOR_INPUTS: _numbers(*range(n))}
    operators.items += [Table("Operator", slots)] * n
    return write(model)


def a_long_name(n):
    model, graph, operators = _parts()
    for one in _tables(graph, GRAPH_TENSORS).items:
        one.slots[TENSOR_NAME] = Raw("text", b"n" * n, n)
    operators.items += [_lstm(operators)] * 100
    return write(model)


def steps_that_share_an_output(n):
    """Each operator takes what the same one puts out."""
    model, _, operators = _parts()
    first = _lstm(operators)
    inputs, outputs = first.slots[OPERATOR_INPUTS], first.slots[OPERATOR_OUTPUTS]
    assert isinstance(inputs, Raw)
    assert isinstance(outputs, Raw)
    looped = Raw("[4", outputs.data[:4] + inputs.data[4:], inputs.count)
    operators.items += [Table("Operator", {**first.slots, OPERATOR_INPUTS: looped})] * n
    return write(model)


def codes(n):
    model, _, _ = _parts()
    _tables(model, MODEL_CODES).items *= n
    return write(model)


def axes(n):
    model, graph, _ = _parts()
    shape = _numbers(*([2**31 - 1] * n))
    for one in _tables(graph, GRAPH_TENSORS).items:
        one.slots[TENSOR_SHAPE] = shape
    return write(model)


BOMBS = {
    same_operator: 300_000,
    operators_of_their_own: 6_000,
    same_graph: 5_000,
    long_lists_of_inputs: 20_000,
    a_long_name: 1_000_000,
    steps_that_share_an_output: 30_000,
    codes: 9_000,
    axes: 100_000,
}
