"""What of an ONNX model is left out: what can change a result is told apart; errors of one node."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import FormatWarning, formats
from lstm_fast.formats import FormatError, Refused

pytest.importorskip("onnx")
from onnx import helper
from onnx_models import PLAIN, H, W, found, ints, lstm, model, node, plain, tensor

__all__ = ["found", "plain"]  # fixtures
STATE = ("x", "W", "R", "B", "", "h", "c")
LENGTHS = ("x", "W", "R", "B", "n")


def load(proto, folder, **options):
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return formats.load(path, backend="reference", **options)


def branch(name, *nodes):
    floats = helper.make_tensor_value_info
    return helper.make_graph(list(nodes), name, [], [floats(nodes[-1].output[0], 1, None)])


# ---- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Unsqueeze", ["s", "axis"], ["h"])],
        [node("Slice", ["s", "axis", "axis"], ["t"]), node("Cast", ["t"], ["h"], to=1)],
        [
            node(
                "If",
                ["yes"],
                ["h"],
                then_branch=branch("a", node("Identity", ["s"], ["a"])),
                else_branch=branch("b", node("Squeeze", ["s"], ["b"])),
            )
        ],
    ],
)
def test_a_state_that_the_caller_gives_is_a_note(nodes, found):
    inputs = [*PLAIN, ints("axis", 0)]
    nodes = [*nodes, node("Identity", ["h"], ["c"]), lstm(STATE)]
    (one,) = found(model(nodes, inputs, inputs=("x", "s", "yes")))
    assert one.assumptions == ()
    assert any("initial_h is" in note for note in one.notes)


@pytest.mark.parametrize(
    "compute",
    [
        [node("Tanh", ["s"], ["h"])],  # a network makes it, as in a decoder
        [node("Mul", ["s", "keep"], ["h"])],
        [node("Unsqueeze", ["s", "axis"], ["t"]), node("Relu", ["t"], ["h"])],
    ],
)
def test_a_state_that_the_model_computes_is_an_assumption(compute, found, tmp_path):
    nodes = [*compute, node("Identity", ["h"], ["c"]), lstm(STATE)]
    proto = model(nodes, [*PLAIN, ints("axis", 0)], inputs=("x", "s", "keep"))
    (one,) = found(proto)
    assert one.notes == ()
    assert len(one.assumptions) == 2
    assert "initial_h is 'h', which is computed when the model runs" in one.assumptions[0]
    assert "streams start from zeros" in one.assumptions[0]
    with pytest.warns(FormatWarning, match=r"initial_h is.*; .*initial_c is"):
        load(proto, tmp_path)


# ---- lengths -------------------------------------------------------------------------------------


def test_lengths_that_a_mask_makes_are_an_assumption(found):
    mask = [
        node("Cast", ["mask"], ["m"], to=6),
        node("ReduceSum", ["m"], ["n"], axes=[0], keepdims=0),
    ]
    (one,) = found(model([*mask, lstm(LENGTHS)], PLAIN, inputs=("x", "mask")))
    assert len(one.assumptions) == 1
    assert "sequence_lens (n) is computed when the model runs" in one.assumptions[0]


def test_lengths_that_are_given_or_whole_are_none(found):
    (one,) = found(model([lstm(LENGTHS)], PLAIN, inputs=("x", "n")))
    assert one.assumptions == ()
    whole = [  # as tf2onnx writes them: as many steps as x has
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "first"], ["steps"]),
        node("Cast", ["steps"], ["n"], to=6),
    ]
    (one,) = found(model([*whole, lstm(LENGTHS)], [*PLAIN, ints("first", 0)]))
    assert one.assumptions == ()


def test_lengths_in_the_file_are_an_assumption_unless_they_are_all_steps(found):
    proto = model([lstm(LENGTHS)], [*PLAIN, tensor("n", np.int32([5, 3]))])
    (one,) = found(proto)
    assert "sequence_lens is 5, 3 in the file" in one.assumptions[0]
    proto = model([lstm(LENGTHS)], [*PLAIN, tensor("n", np.int32([7, 7]))])
    for value in proto.graph.input:
        if value.name == "x":
            del value.type.tensor_type.shape.dim[:]
            for size in (7, 2, 3):
                value.type.tensor_type.shape.dim.add().dim_value = size
    (one,) = found(proto)
    assert one.assumptions == ()


# ---- errors belong to one node -------------------------------------------------------------------


def second(name="bad", weight="W2", **attributes):
    attributes = {"hidden_size": H, **attributes}
    return helper.make_node("LSTM", ["x", weight, "R", "B"], ["z"], name, **attributes)


@pytest.mark.parametrize(
    ("bad", "weight", "match"),
    [
        (second(activations=["Sigmoid", "Gelu", "Tanh"]), W, "'Gelu' is none of"),
        (second(), W.transpose(0, 2, 1), "W has shape"),
        (second(), np.full_like(W, np.nan), "not finite"),
        (second(), W.astype(np.int32), "W is int32, expected floats"),
        (second(hidden_size=H + 1), W, "hidden_size is"),
        (second(weight="computed"), W, "W is not in the file"),
        (second(clip=-1.0), W, "clip"),
    ],
)
def test_one_that_cannot_be_computed_stands_in_its_place(bad, weight, match, found, tmp_path):
    proto = model([bad, lstm()], [*PLAIN, tensor("W2", weight)], outputs=("y", "z"))
    refused, good = found(proto)
    assert (refused.name, good.name) == ("bad", "lstm")
    assert isinstance(refused, Refused)
    with pytest.raises(FormatError, match=match):
        load(proto, tmp_path, name="bad")
    assert load(proto, tmp_path, name="lstm").hidden_size == H
    with pytest.warns(FormatWarning, match="left out, since it cannot be computed: "):
        assert load(proto, tmp_path).hidden_size == H


def test_of_a_stack_with_a_bad_layer_the_others_load(found):
    """Layers that fit each other and one with NaN: no stack, but the sound layer is there."""
    squeeze = node("Squeeze", ["y1", "one"], ["s"])
    upper = helper.make_node("LSTM", ["s", "W2", "R", "B"], ["y"], "upper", hidden_size=H)
    nodes = [lstm(outputs=("y1", "", "")), squeeze, upper]
    for value in (np.nan, 0.5):
        weight = tensor("W2", np.full((1, 4 * H, H), value, np.float32))
        both = found(model(nodes, [*PLAIN, weight, ints("one", 1)]))
        if value == 0.5:
            assert [one.parts for one in both] == [("lstm", "upper")]
        else:
            assert [one.name for one in both] == ["lstm", "upper"]
            assert [isinstance(one, Refused) for one in both] == [False, True]


def test_the_layers_of_a_stack_are_named(tmp_path):
    squeeze = node("Squeeze", ["y1", "one"], ["s"])
    upper = helper.make_node("LSTM", ["s", "W2", "R", "B"], ["y"], "lstm_5", hidden_size=H)
    weight = tensor("W2", np.full((1, 4 * H, H), 0.5, np.float32))
    nodes = [lstm(outputs=("y1", "", "")), squeeze, upper]
    proto = model(nodes, [*PLAIN, weight, ints("one", 1)])
    with pytest.raises(FormatError, match=r"'lstm_5' is layer 1 .* of the stack 'lstm'"):
        load(proto, tmp_path, name="lstm_5")


# ---- no LSTM -------------------------------------------------------------------------------------


def test_what_there_is_instead_is_said(found):
    with pytest.raises(FormatError, match=r"no LSTM node in it\. There are nodes of MatMul \(1\)"):
        found(model([node("MatMul", ["x", "x"], ["y"])], []))
    mine = node("LSTM", ["x"], ["y"], domain="mine")
    with pytest.raises(FormatError, match=r"nodes of mine\.LSTM \(1\)"):
        found(model([mine], []))
    many = [node(f"Op{n}", ["x"], [f"y{n}"]) for n in range(20)]
    with pytest.raises(FormatError, match=r"Op11 \(1\) and 8 more$"):
        found(model(many, [], outputs=("y0",)))
    with pytest.raises(FormatError, match="no LSTM node in it, and no node"):
        found(model([], [], outputs=("x",)))


@pytest.mark.parametrize("product", ["Gemm", "MatMul", "MatMulInteger", "Conv"])
@pytest.mark.parametrize("gate", ["Sigmoid", "HardSigmoid"])
def test_one_that_was_taken_apart_is_recognised(product, gate, found):
    kinds = [product, gate, "Tanh", "Mul", "Add"]
    nodes = [node(kind, ["x"], [f"y{n}"]) for n, kind in enumerate(kinds)]
    with pytest.raises(FormatError, match=r"taken one apart into .*Export it with LSTM nodes"):
        found(model(nodes, [], outputs=("y0",)))
    with pytest.raises(FormatError) as error:
        found(model(nodes[1:], [], outputs=("y1",)))
    assert "taken one apart" not in str(error.value)
