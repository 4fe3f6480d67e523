"""Each operator that programs know, beside onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402
from program_graphs import (  # noqa: E402
    BOOL,
    FLOAT,
    INT64,
    floats,
    graph_model,
    model_of,
    node,
    onnx_file,
    run,
    session,
    tensors,
)

from tolerances import U  # noqa: E402

__all__ = ["onnx_file"]  # a fixture

# What a few roundings and onnxruntime's own exp, tanh and erf may make, of values of about 1; sums
# here have at most 64 terms.
NEAR = 64 * U


def near(ours, theirs):
    theirs = np.asarray(theirs, np.float64)
    return np.all(np.abs(np.ravel(ours) - theirs.ravel()) <= NEAR * (1 + np.abs(theirs.ravel())))


def codes(model):
    """Return the operations of a model but for those that only change a shape."""
    return [op.code for op in model.program.ops if op.code != "reshape"]


def agrees(path, x, **options):
    """Compare one step with onnxruntime and return the operations that it takes."""
    model = model_of(path, **options)
    found = run(session(path), {"x": x})
    ours = model.stream().step(x.reshape(model.inputs["x"].shape))
    ours = ours if isinstance(ours, dict) else dict.fromkeys(model.outputs, ours)
    for name, theirs in found.items():
        assert near(ours[name], theirs), name
    return codes(model)


ONE = [  # operator, opset, attributes, operations
    *((name, 17, {}, [name.lower()]) for name in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg")),
    *((name, 17, {}, [name.lower()]) for name in ("Erf", "Softplus", "Softsign")),
    ("HardSwish", 17, {}, ["hard_swish"]),
    ("HardSigmoid", 17, {"alpha": 0.3}, ["hard_sigmoid"]),
    ("Elu", 17, {"alpha": 0.7}, ["elu"]),
    ("Selu", 17, {}, ["elu", "mul"]),
    ("LeakyRelu", 17, {"alpha": 0.2}, ["leaky_relu"]),
    ("Gelu", 20, {}, ["gelu"]),
    ("Gelu", 20, {"approximate": "tanh"}, ["gelu"]),
    ("Mish", 18, {}, ["softplus", "tanh", "mul"]),
    ("Clip", 10, {"min": -0.5, "max": 0.25}, ["clip"]),
    ("Softmax", 17, {"axis": 1}, ["softmax"]),
    ("Softmax", 11, {"axis": 1}, ["softmax"]),
    ("LogSoftmax", 17, {}, ["log_softmax"]),
    ("ReduceMean", 17, {"axes": [2], "keepdims": 0}, ["reduce"]),
    ("ReduceSum", 17, {}, ["reduce"]),
    ("ReduceMax", 17, {"axes": [1, 2]}, ["reduce"]),
    ("ReduceMin", 17, {"axes": [-1]}, ["reduce"]),
    ("ReduceL2", 17, {"axes": [1]}, ["reduce"]),
    ("ReduceL1", 17, {"axes": [1]}, ["abs", "reduce"]),
    ("ReduceSumSquare", 17, {"axes": [1]}, ["square", "reduce"]),
    ("GlobalAveragePool", 17, {}, ["reduce"]),
    ("GlobalMaxPool", 17, {}, ["reduce"]),
    ("Flatten", 17, {}, []),
    ("Transpose", 17, {"perm": [0, 2, 1]}, ["transpose"]),
    ("Transpose", 17, {"perm": [1, 0, 2]}, []),
    ("Identity", 17, {}, []),
    ("Dropout", 17, {}, []),
    ("Split", 17, {"axis": 1}, ["slice"]),
    ("Cast", 17, {"to": FLOAT}, []),
]


@pytest.mark.parametrize(("operator", "opset", "attributes", "expected"), ONE)
def test_one_input(operator, opset, attributes, expected, onnx_file):
    made = node(operator, "x", "y y2" if operator == "Split" else "y", **attributes)
    path = onnx_file(graph_model([made], {"x": [1, 4, 6]}, opset=opset))
    found = agrees(path, floats(1, 4, 6))
    assert found == expected


@pytest.mark.parametrize("operator", ["Log", "Sqrt", "Reciprocal"])
def test_of_values_above_zero(operator, onnx_file):
    path = onnx_file(graph_model([node(operator, "x", "y")], {"x": [1, 4, 6]}))
    assert agrees(path, np.abs(floats(1, 4, 6)) + 0.1) == [operator.lower()]


TWO = [
    *((name, (1, 4, 6)) for name in ("Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu")),
    *((name, (6,)) for name in ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "PRelu")),
    *((name, (4, 1)) for name in ("Add", "Mul")),
    *((name, ()) for name in ("Add", "Div")),
    ("Add", (2, 1, 1)),
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("operator", "shape"), TWO)
def test_two_inputs(operator, shape, turned, onnx_file):
    if operator == "PRelu" and turned:
        pytest.skip("its slope is broadcast to its input, not the other way round")
    other = tensors(b=np.abs(floats(*shape)) + np.float32(0.5))
    made = node(operator, "b x" if turned else "x b", "y")
    agrees(onnx_file(graph_model([made], {"x": [1, 4, 6]}, constants=other)), floats(1, 4, 6) + 3)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 0.5, -1.0, 1.7])
def test_powers(power, onnx_file):
    made = [node("Pow", "x p", "y")]
    constants = tensors(p=np.float32(power))
    path = onnx_file(graph_model(made, {"x": [1, 5]}, constants=constants))
    agrees(path, np.abs(floats(1, 5)) + 0.1)


@pytest.mark.parametrize(
    "made",
    [
        [node("Less", "x b", "c"), node("Where", "c x b", "y")],
        [node("GreaterOrEqual", "x b", "c"), node("Not", "c", "n"), node("Where", "n x b", "y")],
        [
            node("Greater", "x b", "c"),
            node("LessOrEqual", "x x", "d"),
            node("And", "c d", "e"),
            node("Cast", "e", "y", to=FLOAT),
        ],
        [
            node("Equal", "x x", "c"),
            node("Less", "x b", "d"),
            node("Or", "c d", "e"),
            node("Cast", "e", "y", to=FLOAT),
        ],
        [node("Cast", "x", "i", to=INT64), node("Cast", "i", "y", to=FLOAT)],
        [node("Cast", "x", "i", to=BOOL), node("Cast", "i", "y", to=FLOAT)],
    ],
)
def test_conditions_and_kinds(made, onnx_file):
    constants = tensors(b=floats(1, 4, 6))
    agrees(
        onnx_file(graph_model(made, {"x": [1, 4, 6]}, constants=constants)),
        floats(1, 4, 6, scale=3),
    )


MOVES = [
    (
        "Slice",
        "x starts ends axes steps",
        {"starts": [1, 5], "ends": [4, -9], "axes": [1, 2], "steps": [2, -1]},
    ),
    ("Slice", "x starts ends", {"starts": [0, -3], "ends": [1, 9223372036854775807]}),
    ("Gather", "x at", {"at": np.array(2)}, {"axis": 1}),
    ("Gather", "x at", {"at": np.array([0, 2, 4])}, {"axis": 2}),
    ("Gather", "x at", {"at": np.array([[3, -1], [0, 0]])}, {"axis": 1}),
    ("Concat", "x x b", {"b": floats(1, 4, 2)}, {"axis": 2}),
    ("Concat", "x b x", {"b": floats(2, 4, 6)}, {"axis": 0}),
    ("Expand", "x to", {"to": [3, 1, 1, 6]}),
    ("Tile", "x to", {"to": [1, 2, 3]}),
    ("Reshape", "x to", {"to": [0, -1, 3]}),
    ("Unsqueeze", "x to", {"to": [0, 2]}),
    ("Pad", "x to", {"to": [0, 1, 2, 0, 0, 3]}),
    ("Pad", "x to v", {"to": [0, 0, 2, 0, 1, 0], "v": np.float32(1.5)}),
    ("Pad", "x to", {"to": [0, 2, 3, 0, 3, 5]}, {"mode": "reflect"}),
    ("Pad", "x to", {"to": [0, 2, 0, 0, 1, 5]}, {"mode": "edge"}),
    ("Pad", "x to", {"to": [0, -1, 1, 0, 0, -2]}),
    ("Clip", "x lo hi", {"lo": np.float32(-0.2), "hi": np.float32(0.4)}),
    ("LayerNormalization", "x s b", {"s": floats(6), "b": floats(6)}),
    ("LayerNormalization", "x s", {"s": floats(4, 6)}, {"axis": 1}),
]


@pytest.mark.parametrize("case", MOVES)
def test_with_constants(case, onnx_file):
    operator, given, constants, *attributes = case
    made = node(operator, given, "y", **(attributes[0] if attributes else {}))
    path = onnx_file(graph_model([made], {"x": [1, 4, 6]}, constants=tensors(**constants)))
    agrees(path, floats(1, 4, 6))


CONVOLUTIONS = [
    ((5, 4, 3), {}),
    ((5, 4, 3), {"pads": [1, 1]}),
    ((5, 4, 3), {"pads": [2, 0], "dilations": [2]}),
    ((5, 4, 2), {"strides": [2], "pads": [0, 1]}),
    ((8, 2, 3), {"group": 2, "pads": [1, 1]}),
    ((4, 1, 3), {"group": 4}),
    ((5, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2]}),
    ((5, 4, 4), {"auto_pad": "SAME_LOWER"}),
    ((5, 4, 1), {}),
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("weight", "attributes"), CONVOLUTIONS)
def test_convolutions(weight, attributes, bias, onnx_file):
    constants = tensors(w=floats(*weight, scale=0.3), b=floats(weight[0]))
    made = node("Conv", "x w b" if bias else "x w", "y", **attributes)
    path = onnx_file(graph_model([made], {"x": [1, 4, 9]}, constants=constants))
    assert agrees(path, floats(1, 4, 9)) == ["conv"]


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ([1, 4, 1, 9], (5, 4, 1, 3), {"pads": [0, 1, 0, 1]}),
        ([1, 4, 9, 1], (5, 4, 3, 1), {"strides": [2, 1]}),
        ([1, 4, 3, 5], (6, 4, 1, 1), {}),
    ],
)
def test_two_axes_of_which_one_does_nothing(shape, weight, attributes, onnx_file):
    constants = tensors(w=floats(*weight, scale=0.3))
    path = onnx_file(
        graph_model([node("Conv", "x w", "y", **attributes)], {"x": shape}, constants=constants)
    )
    assert "conv" in agrees(path, floats(*shape))


PRODUCTS = [
    ([node("MatMul", "x w", "y")], [1, 6], {"w": (6, 3)}, ["dense"]),
    (
        [node("MatMul", "x w", "m"), node("Add", "m b", "y")],
        [1, 4, 6],
        {"w": (6, 3), "b": (3,)},
        ["dense"],
    ),
    (
        [node("MatMul", "x w", "m"), node("Add", "b m", "y")],
        [1, 6],
        {"w": (6, 3), "b": (1, 3)},
        ["dense"],
    ),
    ([node("MatMul", "w x", "y")], [1, 4, 6], {"w": (3, 4)}, ["transpose", "dense", "transpose"]),
    ([node("MatMul", "x w", "y")], [1, 4, 6], {"w": (6,)}, ["dense"]),
    ([node("Gemm", "x w b", "y", transB=1)], [1, 6], {"w": (3, 6), "b": (3,)}, ["dense"]),
    (
        [node("Gemm", "x w b", "y", alpha=0.5, beta=2.0)],
        [1, 6],
        {"w": (6, 3), "b": (1, 3)},
        ["dense"],
    ),
    (
        [node("Gemm", "x w b", "y", transA=1)],
        [6, 4],
        {"w": (6, 3), "b": (4, 1)},
        ["transpose", "dense", "add"],
    ),
    (
        [node("Conv", "x w", "m"), node("Add", "m b", "y")],
        [1, 4, 6],
        {"w": (5, 4, 3), "b": (1, 5, 1)},
        ["conv"],
    ),
    (
        [node("Conv", "x w", "m"), node("Add", "m b", "y")],
        [1, 4, 6],
        {"w": (4, 4, 3), "b": (4,)},
        ["conv", "add"],
    ),
]


@pytest.mark.parametrize(("made", "shape", "weights", "expected"), PRODUCTS)
def test_products_and_their_biases(made, shape, weights, expected, onnx_file):
    constants = tensors(**{name: floats(*size, scale=0.4) for name, size in weights.items()})
    path = onnx_file(graph_model(made, {"x": shape}, constants=constants))
    assert agrees(path, floats(*shape)) == expected


@pytest.mark.parametrize("operator", ["Conv", "Gemm", "Relu"])
def test_batch_normalisation_is_folded_into_a_product(operator, onnx_file):
    shape = [1, 4] if operator == "Gemm" else [1, 4, 9]
    given = {"Conv": "x w b", "Gemm": "x v b", "Relu": "x"}[operator]
    constants = tensors(
        w=floats(4, 4, 3),
        v=floats(4, 4),
        b=floats(4),
        s=floats(4),
        o=floats(4),
        m=floats(4),
        d=np.abs(floats(4)) + 0.5,
    )
    made = [node(operator, given, "z"), node("BatchNormalization", "z s o m d", "y")]
    found = agrees(onnx_file(graph_model(made, {"x": shape}, constants=constants)), floats(*shape))
    assert found == {"Conv": ["conv"], "Gemm": ["dense"], "Relu": ["relu", "mul", "add"]}[operator]


def test_an_embedding(onnx_file):
    made = [node("Gather", "table x", "y")]
    given = {"x": ([1, 3], INT64)}
    path = onnx_file(graph_model(made, given, constants=tensors(table=floats(7, 4))))
    model = model_of(path)
    assert codes(model) == ["embedding"]
    x = np.array([[0, 6, -2]])
    assert near(model.stream().step(x[0]), run(session(path), {"x": x})["y"])
    with pytest.raises(ValueError, match="7"):
        model.stream().step([0, 7, 1])


def test_a_function_and_an_if_are_taken_apart(onnx_file):
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
    )
    branch = [
        helper.make_graph(
            [node(kind, "t", f"{kind}_y")],
            kind,
            [],
            [helper.make_empty_tensor_value_info(f"{kind}_y")],
        )
        for kind in ("Exp", "Einsum")
    ]
    made = [
        node("Twice", "x", "t", domain="mine"),
        node("Shape", "t", "s"),
        node("Gather", "s last", "n", axis=0),
        node("Equal", "n six", "c"),
        helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    constants = tensors(last=np.array(1), six=np.array(6))
    path = onnx_file(graph_model(made, {"x": [1, 6]}, constants=constants, functions=[twice]))
    x = floats(1, 6)
    model = model_of(path)
    assert codes(model) == ["add", "exp"]
    assert near(model.stream().step(x[0]), np.exp(2 * x.astype(np.float64)))


def test_a_vector_times_a_stack_of_one_matrix(onnx_file):
    """It has two axes, which Gemm takes."""
    nodes = [node("MatMul", "x w", "m"), node("Gemm", "m v", "y")]
    constants = tensors(w=floats(1, 6, 3), v=floats(3, 2))
    assert agrees(onnx_file(graph_model(nodes, {"x": [6]}, constants=constants)), floats(6)) == [
        "dense",
        "dense",
    ]
