"""Damaged ONNX files: bytes that are changed, and models that are wrong although they parse."""

from __future__ import annotations

import random

import onnx

SIZES = [0, 1, -1, 2, 3, 5, 7, 28, 2**31 - 1, 2**31, -(2**31), 2**40, 2**63 - 1, -(2**63)]


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return it with some bytes changed, cut, put in or copied."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(max(1, len(changed)))
        length = rng.choice([1, 2, 8, 64])
        other = rng.randrange(max(1, len(changed)))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at : at + 1] = rng.randbytes(1)
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = rng.randbytes(length)
        elif kind == 3:
            changed[at : at + length] = changed[other : other + length]
        else:
            del changed[at:]
    return bytes(changed)


def _graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def damaged_model(data: bytes, rng: random.Random) -> bytes:
    """Return a model with names, sizes, types, attributes or nodes changed."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        graph = rng.choice(list(_graphs(model.graph)))
        names = [name for node in graph.node for name in (*node.input, *node.output)]
        names += [tensor.name for tensor in graph.initializer] + ["", "nothing"]
        constants = [a.t for n in graph.node for a in n.attribute if a.type == a.TENSOR]
        tensors = [*graph.initializer, *constants]
        if tensors and rng.random() < 0.4:
            _damage_tensor(rng.choice(tensors), rng)
        elif graph.node:
            _damage_node(graph, rng.choice(graph.node), names, rng)
    return model.SerializeToString()


def _damage_tensor(tensor, rng):
    kind = rng.randrange(5)
    if kind == 0:
        tensor.data_type = rng.randrange(25)
    elif kind == 1 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    elif kind == 2:
        tensor.dims.append(rng.choice(SIZES))
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif tensor.data_type == onnx.TensorProto.INT64 and tensor.raw_data:
        count = len(tensor.raw_data) // 8
        values = [rng.choice(SIZES) for _ in range(count)]
        tensor.raw_data = b"".join(v.to_bytes(8, "little", signed=True) for v in values)


def _damage_node(graph, node, names, rng):
    kind = rng.randrange(6)
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 1 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(names)
    elif kind == 2:
        node.op_type = rng.choice([other.op_type for other in graph.node] + OPERATORS)
    elif kind == 3 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.i = rng.choice(SIZES)
        attribute.ints[:] = [rng.choice(SIZES) for _ in attribute.ints]
        attribute.f = rng.choice([0.0, -1.0, float("nan"), 1e38])
        attribute.s = rng.randbytes(4)
    elif kind == 4 and node.attribute:
        rng.choice(node.attribute).type = rng.randrange(15)
    else:
        graph.node.remove(node)


OPERATORS = ["Expand", "Tile", "ConstantOfShape", "Gather", "Concat", "Split", "If", "Identity"]
OPERATORS += ["Shape", "Add", "Mul", "Div", "Cast", "DequantizeLinear", "Reshape", "LSTM"]
