"""ONNX files that ask for much more than they hold: each a function of a size, which it grows with.

They are written in the wire format itself, since the package onnx would take long to make them.
"""

from __future__ import annotations

import numpy as np
from mutate_protobuf import varint

FLOAT, INT64 = 1, 7


def field(number: int, content: bytes | str | int) -> bytes:
    """Return a field: a number as a varint, all else with its length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(op: str, inputs: str, outputs: str, *attributes: bytes, domain: str = "") -> bytes:
    """Return a node of a graph or a function, as its field of the number that it has in a graph."""
    return field(1, inner(op, inputs, outputs, *attributes, domain=domain))


def inner(op: str, inputs: str, outputs: str, *attributes: bytes, domain: str = "") -> bytes:
    parts = [field(1, name) for name in inputs.split()]
    parts += [field(2, name) for name in outputs.split()]
    parts += [field(4, op), *(field(5, one) for one in attributes)]
    return b"".join(parts) + (field(7, domain) if domain else b"")


def whole(name: str, value: int) -> bytes:
    return field(1, name) + field(3, value) + field(20, 2)


def branch(name: str, graph: bytes) -> bytes:
    return field(1, name) + field(6, graph) + field(20, 5)


def tensor(name: str, values: np.ndarray, dims: tuple[int, ...] | None = None) -> bytes:
    """Return an initialiser."""
    kind = {"f": FLOAT, "i": INT64}[values.dtype.kind]
    shape = b"".join(field(1, size) for size in (values.shape if dims is None else dims))
    return field(5, shape + field(2, kind) + field(8, name) + field(9, values.tobytes()))


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def value(number: int, name: str, *sizes: int) -> bytes:
    """Return an input (11) or an output (12) of a graph; a size of 0 is free."""
    dims = b"".join(field(1, field(1, size) if size else b"") for size in sizes)
    return field(number, field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims))))


def model(graph: bytes, *more: bytes) -> bytes:
    opset = field(8, field(2, 17)) + field(8, field(1, "mine") + field(2, 1))
    return field(1, 8) + field(7, graph) + opset + b"".join(more)


def stepped(nodes: bytes, *more: bytes, size: int = 4) -> bytes:
    """Return a model of x, (1, size), that puts out y."""
    return model(nodes + b"".join(more) + value(11, "x", 1, size) + value(12, "y"))


LSTM = tensor("W", floats(1, 4, 1)) + tensor("R", floats(1, 4, 1))

# ---- many small things ---------------------------------------------------------------------------


def empty_nodes(n):
    return model(b"\x0a\0" * n)


def empty_tensors(n):
    return model(b"\x2a\0" * n)


def empty_attributes(n):
    return model(field(1, b"\x2a\0" * n))


def empty_names(n):
    return model(field(1, b"\x0a\0" * n))


def empty_inputs(n):
    return model(b"\x5a\0" * n)


def metadata(n):
    return model(b"", b"\x72\0" * n)


def dimensions(n):
    return model(field(13, field(1, "a") + field(2, field(1, field(2, b"\x0a\0" * n)))))


def numbers_of_an_attribute(n):
    return model(node("LSTM", "x W R", "y", field(1, "a") + b"\x40\1" * n + field(20, 7)) + LSTM)


def packed_numbers(n):
    axes = field(1, "axes") + field(8, b"\1" * n) + field(20, 7)
    return model(node("Unsqueeze", "W", "V", axes) + node("LSTM", "x V R", "y") + LSTM)


def axes_of_a_tensor(n):
    big = field(5, b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f" * n + field(2, 1) + field(8, "W"))
    return model(node("LSTM", "x W R", "y") + big + tensor("R", floats(1, 4, 1)))


def lstm_nodes(n):
    return model(b"".join(node("LSTM", "x W R", f"y{k}") for k in range(n)) + LSTM)


def lstm_nodes_of_a_large_weight(n):
    nodes = b"".join(node("LSTM", "x W R", f"y{k}") for k in range(n))
    return model(nodes + tensor("W", floats(1, 4, n)) + tensor("R", floats(1, 4, 1)))


def long_names(n):
    return model(b"".join(node(f"{k:0{n // 20}}", "", f"y{k}") for k in range(20)))


def a_long_name(n):
    return model(node("LSTM", "x W " + "R" * n, "y") + LSTM)


def names_in_an_lstm(n):
    return model(node("LSTM", "x W R", "y", *(whole(f"no{k}", 1) for k in range(n))) + LSTM)


# ---- things that multiply ------------------------------------------------------------------------


def scopes_times_nodes(n):
    """n calls of a function of n nodes."""
    body = field(1, "F") + field(10, "mine") + field(4, "a") + field(5, "b")
    body += b"".join(field(7, inner("Neg", "a", f"b{k}")) for k in range(n))
    calls = b"".join(node("F", "x", f"y{k}", domain="mine") for k in range(n))
    return model(calls, field(25, body))


def functions_in_functions(n):
    """Each calls the next one twice."""
    parts = []
    for k in range(n):
        body = field(1, f"F{k}") + field(10, "mine") + field(4, "a") + field(5, "b")
        call = field(7, inner(f"F{k + 1}", "a", "b", domain="mine"))
        parts.append(field(25, body + 2 * call))
    return model(node("F0", "x", "y", domain="mine"), *parts)


def split_sizes(n):
    """Each of n parts is asked for."""
    parts = " ".join(f"p{k}" for k in range(n))
    nodes = node("Split", "v sizes", parts, whole("axis", 0))
    nodes += node("Concat", parts, "W", whole("axis", 0)) + node("LSTM", "x W R", "y")
    return model(nodes + tensor("v", floats(n)) + tensor("sizes", np.ones(n, np.int64)))


def doubled(n):
    """A constant that becomes twice as large n times."""
    nodes = [node("Concat", f"w{k} w{k}", f"w{k + 1}", whole("axis", 0)) for k in range(n)]
    nodes.append(node("LSTM", f"x w{n} R", "y"))
    return model(b"".join(nodes) + tensor("w0", floats(1024)) + tensor("R", floats(1, 4, 1)))


def joined_many_times(n):
    nodes = node("Concat", " ".join(["v"] * n), "W", whole("axis", 0)) + node("LSTM", "x W R", "y")
    return model(nodes + tensor("v", floats(n)))


def repeated(n):
    nodes = node("Expand", "v s", "W") + node("LSTM", "x W R", "y")
    return model(nodes + tensor("v", floats(1)) + tensor("s", ints(n, n)))


def a_shape_of_many(n):
    nodes = node("Expand", "v s", "W") + node("LSTM", "x W R", "y")
    return model(nodes + tensor("v", floats(1)) + tensor("s", np.full(n, 2**62, np.int64)))


def stacks_with_a_long_way(n):
    """A Reshape between each two of n LSTMs, by a shape that n nodes compute."""
    nodes = [node("Add", f"s{k} zero", f"s{k + 1}") for k in range(50)]
    for k in range(n):
        nodes.append(node("LSTM", f"x{k} W R", f"y{k}"))
        nodes.append(node("Reshape", f"y{k} s50", f"x{k + 1}"))
    more = tensor("s0", ints(1, 1, 1)) + tensor("zero", ints(0, 0, 0))
    return model(b"".join(nodes) + more + LSTM)


def zeros_that_are_looked_at(n):
    """The initial states of n LSTMs are Concats of a value that is not known and a large one."""
    nodes = [node("Concat", "big u", f"h{k}", whole("axis", 0)) for k in range(n)]
    nodes += [node("LSTM", f"x W R  h{k}".replace("  ", " B l "), f"y{k}") for k in range(n)]
    return model(b"".join(nodes) + tensor("big", floats(100 * n)) + LSTM + value(11, "u", 1))


# ---- whole models --------------------------------------------------------------------------------


def chain(n):
    nodes = [node("Neg", "x", "v0"), *(node("Neg", f"v{k}", f"v{k + 1}") for k in range(n))]
    return stepped(b"".join(nodes) + node("Relu", f"v{n}", "y"))


def tiles(n):
    nodes = [node("Tile", f"{'v' if k else 'x'}{k or ''} r", f"u{k + 1}") for k in range(n)]
    nodes += [node("ReduceMax", f"u{k + 1}", f"v{k + 1}") for k in range(n)]
    return stepped(b"".join(nodes) + node("Relu", f"u{n}", "y"), tensor("r", ints(1, 4096)))


def same_names(n):
    """n recurrent nodes of one name, each with a state of its own."""
    nodes, named = [], field(3, "same")
    for k in range(n):
        nodes.append(node("Unsqueeze", f"v{k} zero" if k else "x zero", f"u{k}"))
        one = inner("LSTM", f"u{k} W R", f"w{k}", whole("hidden_size", 1))
        nodes += [field(1, one + named), node("Squeeze", f"w{k} one", f"v{k + 1}")]
    more = tensor("zero", ints(0)) + tensor("one", ints(1)) + LSTM
    return stepped(b"".join(nodes) + node("Squeeze", f"v{n} zero", "y"), more, size=1)


def outputs_that_fail(n):
    nodes = [node("Neg", "x", "y"), *(node("Nothing", "x", f"u{k}") for k in range(n))]
    return stepped(b"".join(nodes), *(value(12, f"u{k}") for k in range(n)))


def free_inputs(n):
    """Each of n inputs may be the one that is time."""
    nodes = [node("Add", f"v{k} i{k}" if k else "x i0", f"v{k + 1}") for k in range(n)]
    inputs = b"".join(
        field(11, field(1, f"i{k}") + field(2, field(1, field(1, FLOAT) + field(2, dims(k)))))
        for k in range(n)
    )
    return stepped(b"".join(nodes) + node("Neg", f"v{n}", "y"), inputs)


def dims(k):
    return field(1, field(1, 1)) + field(1, field(2, f"t{k}")) + field(1, field(1, 4))


def pooled(n):
    x = value(11, "x", 1, 1, n, n)
    kernel = field(1, "kernel_shape") + field(8, 2) * 2 + field(20, 7)
    pads = field(1, "pads") + field(8, 1) * 4 + field(20, 7)
    return model(node("AveragePool", "x", "y", kernel, pads) + x + value(12, "y"))


def constants_of_shapes(n):
    nodes = [node("ConstantOfShape", "s", f"c{k}") for k in range(8)]
    nodes += [node("MatMul", f"v{k} c{k}" if k else "x c0", f"v{k + 1}") for k in range(8)]
    return stepped(b"".join(nodes) + node("Neg", "v8", "y"), tensor("s", ints(n, n)), size=n)


def slices_of_a_constant(n):
    """n products with parts of one vector, each of which is looked at whole."""
    nodes = []
    for k in range(n):
        nodes.append(node("Slice", f"big s{k} e", f"c{k}"))
        nodes.append(node("ReduceMax", f"a{k}", f"v{k + 1}", whole("keepdims", 1)))
        nodes.append(node("Add", f"v{k} c{k}" if k else "x c0", f"a{k}"))
    more = [tensor(f"s{k}", ints(k)) for k in range(n)]
    more += [tensor("big", floats(20 * n)), tensor("e", ints(10**9))]
    return stepped(b"".join(nodes) + node("Neg", f"v{n}", "y"), *more, size=1)


def indices_many_times(n):
    nodes = [node("Gather", "x i", f"u{k}", whole("axis", 1)) for k in range(n)]
    nodes.append(node("Sum", " ".join(f"u{k}" for k in range(n)), "y"))
    return stepped(b"".join(nodes), tensor("i", np.arange(20 * n) % 3))


READ = {
    empty_nodes: 1_000_000,
    empty_tensors: 1_000_000,
    empty_attributes: 1_000_000,
    empty_names: 4_000_000,
    empty_inputs: 2_000_000,
    metadata: 2_000_000,
    dimensions: 2_000_000,
    numbers_of_an_attribute: 6_000_000,
    packed_numbers: 8_000_000,
    axes_of_a_tensor: 200_000,
    lstm_nodes: 40_000,
    lstm_nodes_of_a_large_weight: 10_000,
    long_names: 400_000,
    a_long_name: 400_000,
    names_in_an_lstm: 20_000,
    scopes_times_nodes: 8_000,
    functions_in_functions: 20,
    split_sizes: 20_000,
    doubled: 40,
    joined_many_times: 30_000,
    repeated: 1 << 16,
    a_shape_of_many: 100_000,
    stacks_with_a_long_way: 2_000,
    zeros_that_are_looked_at: 4_000,
}
WHOLE = {
    chain: 30_000,
    tiles: 3_000,
    same_names: 3_000,
    outputs_that_fail: 8_000,
    free_inputs: 1_000,
    pooled: 4_000,
    constants_of_shapes: 1 << 12,
    slices_of_a_constant: 3_000,
    indices_many_times: 3_000,
}
