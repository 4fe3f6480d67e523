"""ONNX models that no program can be made of: what is refused, too large, or damaged."""

from __future__ import annotations

import hashlib
import random
from types import SimpleNamespace

import pytest

onnx = pytest.importorskip("onnx")
from program_graphs import (  # noqa: E402
    crnn,
    floats,
    graph_model,
    node,
    onnx_file,
    recurrent_weights,
    tensors,
)

from lstm_fast.errors import FormatError  # noqa: E402
from lstm_fast.formats.onnx import _program_builder, _program_states  # noqa: E402
from lstm_fast.formats.onnx._program import program_from_onnx  # noqa: E402
from lstm_fast.program import Op  # noqa: E402

__all__ = ["onnx_file"]  # a fixture


# ---- what is refused -----------------------------------------------------------------------------

REFUSED = [
    ("LSTM", {"direction": "bidirectional", "hidden_size": 6}, "looks into the future"),
    ("LSTM", {"direction": "reverse", "hidden_size": 6}, "looks into the future"),
    ("LSTM", {"layout": 5, "hidden_size": 6}, "layout is 0 or 1"),
    ("LSTM", {"hidden_size": 7}, "hidden_size is 7"),
    ("LSTM", {"activations": ["Sigmoid"]}, "expected 3 activations"),
    ("GRU", {}, "W has shape"),
    ("RNN", {}, "there is no operation for it"),
]


@pytest.mark.parametrize(("operator", "attributes", "text"), REFUSED)
def test_recurrent_nodes_that_are_refused(operator, attributes, text, onnx_file):
    gates = 8 if attributes.get("direction") == "bidirectional" else 4
    constants = recurrent_weights(4, 5, 6)
    if gates == 8:
        constants = tensors(W=floats(2, 24, 5), R=floats(2, 24, 6), B=floats(2, 48))
    made = node(operator, "x W R B", "y", **attributes)
    path = onnx_file(graph_model([made], {"x": [1, 1, 5]}, constants=constants))
    with pytest.raises(FormatError, match=text) as error:
        program_from_onnx(path)
    assert f"node 'y.node' ({operator})" in str(error.value)


def test_batches_are_refused(onnx_file):
    made = node("LSTM", "x W R B", "y", hidden_size=6)
    one = graph_model([made], {"x": [1, 3, 5]}, constants=recurrent_weights(4, 5, 6))
    with pytest.raises(FormatError, match=r"batch of 3.*export it again with that axis free"):
        program_from_onnx(onnx_file(one))


def chain(length):
    nodes = [node("Neg", "x", "v0")]
    nodes += [node("Neg", f"v{n}", f"v{n + 1}") for n in range(length)]
    return graph_model([*nodes, node("Relu", f"v{length}", "y")], {"x": [1, 4]})


def test_a_deep_graph_is_no_deep_call(onnx_file):
    assert len(program_from_onnx(onnx_file(chain(5000))).ops) == 5002


LARGE = [
    *(
        (
            graph_model(
                [node("Pad", "x to", "y", mode=mode)],
                {"x": [1, 4]},
                constants=tensors(to=[0, 0, 0, 2**40]),
            ),
            {},
            "too large|it makes shape",
        )
        for mode in ("edge", "wrap", "constant")
    ),
    (chain(25_000), {}, "its (operations|graphs) would take|takes more work"),
    (
        graph_model([node("Expand", "x to", "y")], {"x": [1, 4]}, constants=tensors(to=[2**40, 4])),
        {},
        "too large for one step",
    ),
    (
        graph_model(
            [node("ConstantOfShape", "to", "z"), node("Add", "x z", "y")],
            {"x": [1, 4]},
            constants=tensors(to=[2**33]),
        ),
        {},
        "bytes of memory, more than",
    ),
    (graph_model([node("Relu", "x", "y")], {"x": [1, 2**50]}), {}, "too large"),
    (
        graph_model(
            [node("LSTM", "x W R B", "y", hidden_size=6)],
            {"x": [100_000, 1, 5]},
            constants=recurrent_weights(4, 5, 6),
        ),
        {},
        "100000 steps",
    ),
    (
        graph_model([node("Tile", "x to", "y")], {"x": [1, 4]}, constants=tensors(to=[1, 2**30])),
        {},
        "repeats axis 1",
    ),
    (
        graph_model([node("Relu", "y", "z"), node("Add", "x z", "y")], {"x": [1, 4]}),
        {},
        "computed from itself",
    ),
    (graph_model([node("Relu", "z", "y")], {"x": [1, 4]}), {}, "nothing in the file computes 'z'"),
]


@pytest.mark.parametrize(("one", "options", "text"), LARGE)
def test_loading_is_bounded(one, options, text, onnx_file):
    with pytest.raises(FormatError, match=text):
        program_from_onnx(onnx_file(one), **options)


def products(count, operator, attributes):
    """Return a chain of products with one shared weight."""
    nodes = [node("Relu", "x", "v0")]
    nodes += [
        node(operator, f"v{n} w", f"v{n + 1}", **dict.fromkeys(attributes, n + 2.0))
        for n in range(count)
    ]
    nodes.append(node("Relu", f"v{count}", "y"))
    return graph_model(nodes, {"x": [1, 256]}, constants=tensors(w=floats(256, 256)))


def test_constants_that_nodes_make_are_bounded(onnx_file):
    """300 products of 256 KiB each from a file with one of them."""
    with pytest.raises(FormatError, match=r"constants would take .* bytes of memory"):
        program_from_onnx(onnx_file(products(300, "Gemm", ["alpha"])))
    assert len(program_from_onnx(onnx_file(products(30, "Gemm", ["alpha"]))).constants) == 30


@pytest.mark.parametrize("operator", ["Gemm", "MatMul"])
def test_a_shared_weight_is_hashed_once(operator, onnx_file, monkeypatch):
    hashed = []

    def sha256(data):
        hashed.append(memoryview(data).nbytes)
        return hashlib.sha256(data)

    path = onnx_file(products(50, operator, []))
    monkeypatch.setattr(_program_builder, "hashlib", SimpleNamespace(sha256=sha256))
    assert len(program_from_onnx(path).constants) == 1
    assert hashed == [4 * 256 * 256]


def test_marks_are_not_collected_without_end(monkeypatch):
    """A join of very many inputs looks at no more of them than it needs."""
    asked = []

    class Marks(dict):
        def get(self, key, default=None):
            asked.append(key)
            return super().get(key, default)

    marks = Marks({n: frozenset({("input", f"x{n}")}) for n in range(5000)})
    op = Op("concat", tuple(range(5000)), (5000,), {"axis": 0})
    found = _program_states._moved(None, op, marks)
    assert len(found) == len(asked) == _program_states.MOST_MARKS + 1


def test_damaged_bytes_are_errors_only(onnx_file, tmp_path):
    one, _ = crnn(states=True, inputs=4, hidden=5, units=6)
    data, rng = one.SerializeToString(), random.Random(3)
    path = tmp_path / "damaged.onnx"
    for _ in range(600):
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            at, other = rng.randrange(len(changed)), rng.randrange(len(changed))
            kind = rng.randrange(4)
            if kind == 0:
                changed[at] = rng.randrange(256)
            elif kind == 1:
                del changed[at : at + rng.choice([1, 3, 40])]
            elif kind == 2:
                changed[at : at + 8] = changed[other : other + 8]
            else:
                changed[at:at] = rng.randbytes(rng.choice([1, 4]))
        path.write_bytes(bytes(changed))
        try:
            program_from_onnx(path)
        except FormatError as error:
            assert str(path) in str(error)


def test_changed_models_are_errors_only(tmp_path):
    """Attributes, names, shapes and types that are wrong although the file parses."""
    one, _ = crnn(states=True, inputs=4, hidden=5, units=6)
    data, rng, path = one.SerializeToString(), random.Random(4), tmp_path / "changed.onnx"
    numbers = [0, 1, -1, 2, 7, 2**31, -(2**31), 2**62, -(2**63)]
    for _ in range(600):
        model = onnx.ModelProto.FromString(data)
        graph = model.graph
        names = [name for one in graph.node for name in (*one.input, *one.output)]
        for _ in range(rng.choice([1, 2, 3])):
            made, kind = rng.choice(graph.node), rng.randrange(6)
            if kind == 0 and made.input:
                made.input[rng.randrange(len(made.input))] = rng.choice(names)
            elif kind == 1:
                made.op_type = rng.choice(graph.node).op_type
            elif kind == 2 and made.attribute:
                one = rng.choice(made.attribute)
                one.i = rng.choice(numbers)
                one.ints[:] = [rng.choice(numbers) for _ in one.ints]
            elif kind == 3:
                kept = rng.choice(graph.initializer)
                kept.dims[:] = [rng.choice(numbers) for _ in kept.dims]
            elif kind == 4:
                dims = rng.choice(graph.input).type.tensor_type.shape.dim
                rng.choice(dims).dim_value = rng.choice(numbers)
            else:
                rng.choice(graph.initializer).data_type = rng.randrange(20)
        path.write_bytes(model.SerializeToString())
        try:
            program_from_onnx(path)
        except FormatError as error:
            assert str(path) in str(error)
