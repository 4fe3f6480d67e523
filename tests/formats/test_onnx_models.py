"""How an ONNX model may keep and compute weights, what a trained state is, and what a stack."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import LSTM
from lstm_fast.formats import FormatError, Refused

pytest.importorskip("onnx")
from onnx import TensorProto, helper
from onnx_models import (
    FLOAT,
    INPUTS,
    PLAIN,
    RNG,
    H,
    W,
    found,
    ints,
    lstm,
    model,
    node,
    plain,
    same,
    tensor,
    value,
)

__all__ = ["found", "plain"]  # fixtures

# ---- weights that are computed -------------------------------------------------------------------

w = W[0]
COMPUTED = {
    "Constant": ([node("Constant", [], ["W"], value=tensor("", W))], []),
    "Identity": ([node("Identity", ["v"], ["W"])], [tensor("v", W)]),
    "Unsqueeze": ([node("Unsqueeze", ["v", "a"], ["W"])], [tensor("v", w), ints("a", 0)]),
    "Unsqueeze 11": ([node("Unsqueeze", ["v"], ["W"], axes=[0])], [tensor("v", w)]),
    "Squeeze": ([node("Squeeze", ["v", "a"], ["W"])], [tensor("v", W[None]), ints("a", 1)]),
    "Transpose": (
        [node("Transpose", ["v"], ["W"], perm=[0, 2, 1])],
        [tensor("v", W.transpose(0, 2, 1))],
    ),
    "Reshape": (
        [node("Reshape", ["v", "s"], ["W"])],
        [tensor("v", W.ravel()), ints("s", 1, -1, INPUTS)],
    ),
    "Reshape copies": ([node("Reshape", ["v", "s"], ["W"])], [tensor("v", W), ints("s", 0, 0, -1)]),
    "Slice": (
        [node("Slice", ["v", "s", "e", "a"], ["W"])],
        [
            tensor("v", np.pad(W, [(0, 0), (1, 1), (0, 0)])),
            ints("s", 1),
            ints("e", -1),
            ints("a", 1),
        ],
    ),
    "Slice 9": (
        [node("Slice", ["v"], ["W"], starts=[1], ends=[-1], axes=[1])],
        [tensor("v", np.pad(W, [(0, 0), (1, 1), (0, 0)]))],
    ),
    "Slice backwards": (
        [node("Slice", ["v", "s", "e", "a", "t"], ["W"])],
        [tensor("v", W[:, ::-1]), ints("s", -1), ints("e", -(2**63)), ints("a", 1), ints("t", -1)],
    ),
    "Concat": (
        [node("Concat", ["p", "q"], ["W"], axis=1)],
        [tensor("p", W[:, :3]), tensor("q", W[:, 3:])],
    ),
    "Gather": (
        [node("Gather", ["v", "n"], ["W"], axis=1)],
        [tensor("v", W[:, ::-1]), ints("n", *range(4 * H)[::-1])],
    ),
    "Split": (
        [node("Split", ["v", "s"], ["unused", "W"], axis=2)],
        [tensor("v", np.concatenate([W, W], axis=2) + 0), ints("s", INPUTS, INPUTS)],
    ),
    "Cast": ([node("Cast", ["v"], ["W"], to=FLOAT)], [tensor("v", W.astype(np.float64))]),
    "Add": ([node("Add", ["v", "n"], ["W"])], [tensor("v", 0 * W), tensor("n", W)]),
    "Mul": ([node("Mul", ["v", "n"], ["W"])], [tensor("v", W / 2), tensor("n", np.float32(2))]),
    "Neg": ([node("Neg", ["v"], ["W"])], [tensor("v", -W)]),
    "Expand": ([node("Expand", ["v", "s"], ["W"])], [tensor("v", W), ints("s", 1, 1, 1)]),
    "Tile": ([node("Tile", ["v", "s"], ["W"])], [tensor("v", W), ints("s", 1, 1, 1)]),
    "float64": ([], [tensor("W", W.astype(np.float64))]),
    "typed field": ([], [helper.make_tensor("W", FLOAT, W.shape, W.ravel().tolist())]),
    "If": (
        [
            node("Constant", [], ["yes"], value=tensor("", np.array(True))),
            node(
                "If",
                ["yes"],
                ["W"],
                then_branch=helper.make_graph(
                    [node("Identity", ["outer"], ["t"])], "t", [], [value("t")]
                ),
                else_branch=helper.make_graph(
                    [node("Neg", ["outer"], ["e"])], "e", [], [value("e")]
                ),
            ),
        ],
        [tensor("outer", W)],
    ),
}


@pytest.mark.parametrize("how", COMPUTED)
def test_weights_may_be_computed(how, found, plain):
    nodes, tensors = COMPUTED[how]
    (one,) = found(model([*nodes, lstm()], [*tensors, *PLAIN[1:]]))
    assert same(one.weights.state_dict(), plain)


def test_weights_may_be_dequantised(found):
    steps, scale = RNG.integers(-127, 128, W.shape).astype(np.int8), np.float32([0.5, 0.25])
    per_row = np.repeat(scale, 4)
    for scales, zeros in ((per_row, np.arange(8)), (np.float32(0.5), np.int64(3))):
        given = [tensor("q", steps), tensor("s", scales), tensor("z", zeros.astype(np.int8))]
        dequantise = node("DequantizeLinear", ["q", "s", "z"], ["W"], axis=1)
        (one,) = found(model([dequantise, lstm()], [*given, *PLAIN[1:]]))
        expected = (steps - np.reshape(zeros, (-1, 1))) * np.reshape(scales, (-1, 1))
        (other,) = found(model([lstm()], [tensor("W", expected.astype(np.float32)), *PLAIN[1:]]))
        assert same(one.weights.state_dict(), other.weights.state_dict())


def test_bfloat16_is_read_exactly(found):
    kept = (W.view(np.uint32) >> 16).astype(np.uint16)
    bits = TensorProto(name="h", dims=W.shape, data_type=16, raw_data=kept.tobytes())
    (one,) = found(model([lstm()], [_named(bits, "W"), *PLAIN[1:]]))
    exact = (kept.astype(np.uint32) << 16).view(np.float32)
    (other,) = found(model([lstm()], [tensor("W", exact), *PLAIN[1:]]))
    assert same(one.weights.state_dict(), other.weights.state_dict())


def _named(one, name):
    one.name = name
    return one


def test_a_function_of_the_model(found, plain):
    body = [
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        helper.make_node("LSTM", ["x", "b", "r", "bias"], ["out"], "inner", hidden_size=H),
    ]
    function = helper.make_function(
        "mine", "Layer", ["x", "a", "r", "bias"], ["out"], body, [helper.make_opsetid("", 14)]
    )
    call = helper.make_node("Layer", ["x", "V", "R", "B"], ["y"], domain="mine")
    tensors = [tensor("V", W.transpose(0, 2, 1)), *PLAIN[1:]]
    (one,) = found(model([call], tensors, functions=[function]))
    assert one.name == "inner"
    assert same(one.weights.state_dict(), plain)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("MatMul", ["v", "v"], ["W"])], "W is not in the file: it is 'W', which MatMul"),
        ([node("Identity", ["x"], ["W"])], "W is not in the file: it is 'x', which is given when"),
        ([], "W is not in the file: it is 'W', which nothing"),
        ([node("Identity", ["W"], ["W"])], "computed from itself"),
    ],
)
def test_weights_that_cannot_be_known_are_refused_by_name(nodes, message, found):
    with pytest.raises(FormatError, match=rf"node 'lstm' \(LSTM\): {message}|{message}"):
        found(model([*nodes, lstm()], PLAIN[1:]))


# ---- states --------------------------------------------------------------------------------------

STATE = ("x", "W", "R", "B", "", "h", "c")
h0 = np.float32([[[0.5, -0.25]]])
c0 = np.float32([[[1.5, 2.0]]])


def test_equal_rows_are_a_trained_state(found):
    tensors = [*PLAIN, tensor("h", np.repeat(h0, 3, axis=1)), tensor("c", np.repeat(c0, 3, axis=1))]
    (one,) = found(model([lstm(STATE)], tensors))
    assert np.array_equal(one.weights.layers[0].h_0, h0[0, 0])
    assert np.array_equal(one.weights.layers[0].c_0, c0[0, 0])


def test_different_rows_are_not(found):
    rows = np.float32([[[0.5, -0.25], [0.5, 0.25]]])
    (one,) = found(model([lstm(STATE)], [*PLAIN, tensor("h", rows), tensor("c", rows)]))
    assert one.weights.layers[0].h_0 is None
    assert any("differs from sequence to sequence" in text for text in one.assumptions)


def test_a_state_that_is_given_at_run_time_is_noted(found):
    (one,) = found(model([lstm(STATE)], PLAIN, inputs=("x", "h", "c")))
    assert one.weights.layers[0].h_0 is None
    assert any("initial_h is 'h', which is given when the model runs" in n for n in one.notes)


def test_lengths_are_noted(found):
    (one,) = found(model([lstm(("x", "W", "R", "B", "n"))], PLAIN, inputs=("x", "n")))
    assert any("sequence_lens (n) is for you to give" in note for note in one.notes)


def test_layout_1_is_as_onnxs_reference_computes_it(found):
    states = [tensor("h", h0), tensor("c", c0)]  # (N, D, H), one row
    one = model([lstm(STATE, ("y", "y_h", "y_c"), layout=1)], [*PLAIN, *states])
    (read_one,) = found(one)
    xs = RNG.standard_normal((1, 5, INPUTS)).astype(np.float32)
    reference = pytest.importorskip("onnx.reference").ReferenceEvaluator(one)
    (y,) = reference.run(None, {"x": xs})
    ys, _ = LSTM.from_weights(read_one.weights)(xs)
    np.testing.assert_allclose(y.reshape(ys.shape), ys, rtol=1e-5, atol=1e-6)


# ---- stacks --------------------------------------------------------------------------------------

W2 = RNG.uniform(-1, 1, (1, 4 * H, H)).astype(np.float32)
UPPER = [*PLAIN, tensor("W2", W2), ints("one", 1)]
SQUEEZE = [node("Squeeze", ["y1", "one"], ["s"])]


def two(between, x2="s", **upper):
    second = helper.make_node("LSTM", [x2, "W2", "R", "B"], ["y"], "second", hidden_size=H, **upper)
    return [lstm(outputs=("y1", "h1", "c1")), *between, second]


BATCH_FIRST = [
    node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
    node("Dropout", ["t"], ["d"]),
    node("Transpose", ["d"], ["u"], perm=[1, 0, 2]),
]


def test_a_stack(found):
    (one,) = found(model(two(SQUEEZE), UPPER))
    assert one.weights.num_layers == 2
    assert one.name == "lstm"
    assert one.notes == ("a stack of lstm, second",)
    assert one.sources["weight_ih_l1"] == "W of node second (W2), gates i, o, f, c"


def test_a_stack_whose_exporter_turns_batches_around(found):
    (one,) = found(model(two([*SQUEEZE, *BATCH_FIRST], "u"), UPPER))
    assert one.weights.num_layers == 2


def test_states_and_shapes_may_have_other_users(found):
    shape = node("Shape", ["s"], ["size"])
    (one,) = found(model(two([*SQUEEZE, shape]), UPPER, ("y", "h1", "c1", "size")))
    assert one.weights.num_layers == 2


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (two(SQUEEZE), ("y", "y1")),  # the lower layer's Y is wanted, too
        (two(SQUEEZE), ("y", "s")),
        (two([*SQUEEZE, node("Relu", ["s"], ["r"])], "r"), ("y",)),  # something between them
        (two([*SQUEEZE, node("Relu", ["s"], ["r"])]), ("y", "r")),  # or beside them
        (two([*SQUEEZE, BATCH_FIRST[0]], "t"), ("y",)),  # time and batch are swapped
        (two(SQUEEZE, direction="reverse"), ("y",)),
    ],
)
def test_what_is_no_stack(nodes, outputs, found):
    assert [one.name for one in found(model(nodes, UPPER, outputs))] == ["lstm", "second"]


def test_equal_names_are_told_apart(found):
    again = helper.make_node("LSTM", ["x", "W3", "R", "B"], ["y2"], "lstm", hidden_size=H)
    both = found(model([lstm(), again], [*PLAIN, tensor("W3", -W)], ("y", "y2")))
    assert [one.name for one in both] == ["lstm", "lstm#2"]


def test_one_that_cannot_be_computed_does_not_hide_the_others(found):
    good = lstm(outputs=("y",))
    bad = helper.make_node(
        "LSTM",
        ["x", "W", "R"],
        ["z"],
        "bad",
        hidden_size=H,
        activations=["Sigmoid", "Gelu", "Tanh"],
    )
    one, other = found(model([good, bad], PLAIN, outputs=("y", "z")))
    assert (one.name, one.notes, one.assumptions) == ("lstm", (), ())
    assert isinstance(other, Refused)
    assert other.name == "bad"
    assert "Gelu" in str(other.error)
    with pytest.raises(FormatError, match=r"bad.*Gelu"):
        found(model([bad], PLAIN, outputs=("z",)))
