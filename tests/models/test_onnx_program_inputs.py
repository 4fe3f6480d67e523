"""What a caller says of an ONNX model, and what is recognised without a word."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402
from program_graphs import (  # noqa: E402
    FLOAT,
    INT64,
    RNG,
    floats,
    graph_model,
    info,
    model_of,
    node,
    onnx_file,
    recurrent_weights,
    run,
    session,
    silero,
    tensors,
)

from lstm_fast import load_model  # noqa: E402
from lstm_fast.errors import FormatError  # noqa: E402
from lstm_fast.formats.onnx._program import program_from_onnx  # noqa: E402

__all__ = ["onnx_file"]  # a fixture


def lstm_model(names, outputs, shapes, extra=(), given="x W R B _ h c", made="y_ hn cn"):
    """Return a model of one LSTM whose state has the names of the caller."""
    first = dict(zip(("h", "c"), names, strict=True))
    last = dict(zip(("hn", "cn"), outputs, strict=True))
    swap = {**first, **last}
    text = [" ".join(swap.get(one, one) for one in part.split()) for part in (given, made)]
    nodes = [node("LSTM", *text, hidden_size=6), node("Squeeze", "y_ one", "y"), *extra]
    return graph_model(
        nodes,
        {"x": [1, 1, 5], **dict(zip(names, shapes, strict=True))},
        ("y", *outputs),
        [*recurrent_weights(4, 5, 6), *tensors(one=[1])],
    )


# ---- state ---------------------------------------------------------------------------------------


def test_states_are_recognised_by_what_an_lstm_does_with_them(onnx_file):
    """Whatever they are called, and in whatever order they come out."""
    path = onnx_file(lstm_model(("a", "b"), ("p", "q"), [[1, 1, 6], [1, 1, 6]]))
    model = model_of(path)
    assert list(model.states) == ["a", "b"]
    assert list(model.outputs) == ["y"]
    assert {one.shape for one in model.states.values()} == {(1, 1, 6)}
    theirs, stream = session(path), model.stream()
    state = {k: np.zeros((1, 1, 6), np.float32) for k in "ab"}
    for x in floats(9, 5):
        found = run(theirs, {"x": x[None, None], **state})
        assert np.allclose(stream.step(x), found["y"].ravel(), atol=1e-6)
        state = {"a": found["p"], "b": found["q"]}
        assert all(np.allclose(stream.state[k], state[k], atol=1e-6) for k in "ab")


def test_a_last_y_may_be_the_state(onnx_file):
    nodes = [node("LSTM", "x W R B _ h c", "y _ d", hidden_size=6), node("Squeeze", "y one", "g")]
    one = graph_model(
        nodes,
        {"x": [1, 1, 5], "h": [1, 1, 6], "c": [1, 1, 6]},
        ("y", "g", "d"),
        [*recurrent_weights(4, 5, 6), *tensors(one=[1])],
    )
    model = model_of(onnx_file(one))
    assert list(model.states) == ["h", "c"]
    assert list(model.outputs) == ["y", "g"]
    assert "output g becomes input h in the next step" in model.notes


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("state", "stateN"),
        ("h0", "hn"),
        ("cache_in", "cache_out"),
        ("cache", "cachen"),
        ("in_state", "new_state"),
        ("past_hidden", "present_hidden"),
        ("conv_cache_0", "new_conv_cache_0"),
        ("lstm_h_in", "lstm_h_out"),
    ],
)
def test_states_are_recognised_by_name(before, after, onnx_file):
    """Where nothing else tells: here a running sum."""
    nodes = [node("Add", f"x {before}", after), node("Relu", after, "y")]
    model = model_of(onnx_file(graph_model(nodes, {"x": [1, 3], before: [1, 3]}, ("y", after))))
    assert list(model.states) == [before]
    stream = model.stream()
    assert [stream.step(np.ones(3))[0] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(("noise", "noise_out"), ("z", "zn"), ("state", "y2"), ("lstm_input", "lstm_output")),
        *(("input_buffer", "output_buffer"), ("context_in", "context_out"), ("mem", "mem_n")),
    ],
)
def test_other_names_are_not(before, after, onnx_file):
    nodes = [node("Add", f"x {before}", after), node("Relu", after, "y")]
    path = onnx_file(graph_model(nodes, {"x": [1, 3], before: [1, 3]}, ("y", after)))
    model = model_of(path)
    assert not model.states
    assert list(model.inputs) == ["x", before]
    said = model_of(path, states={before: after})
    assert list(said.states) == [before]
    assert list(said.inputs) == ["x"]


def test_not_all_inputs_are_states(onnx_file):
    one = graph_model([node("Relu", "cell", "cell_out")], {"cell": [1, 3]}, ("cell_out",))
    with pytest.raises(
        FormatError, match=r"all its inputs, cell, look like states.*states=\{\} if none"
    ):
        program_from_onnx(onnx_file(one))
    assert list(model_of(onnx_file(one), states={}).inputs) == ["cell"]


def test_no_states_can_be_said(onnx_file):
    path = onnx_file(lstm_model(("h", "c"), ("hn", "cn"), [[1, 1, 6], [1, 1, 6]]))
    model = model_of(path, states={})
    assert list(model.inputs) == ["x", "h", "c"]
    assert list(model.outputs) == ["y", "hn", "cn"]


def test_a_state_of_both_kinds_keeps_its_shape(onnx_file):
    """[2, B, H], gathered, and stacked again, as Silero has it."""
    nodes = [
        node("Gather", "state zero", "h_", axis=0),
        node("Gather", "state two", "c_", axis=0),
        node("Unsqueeze", "h_ zeros", "h"),
        node("Unsqueeze", "c_ zeros", "c"),
        node("LSTM", "x W R B _ h c", "y hn cn", hidden_size=6),
        node("Squeeze", "hn zeros", "h1"),
        node("Squeeze", "cn zeros", "c1"),
        node("Unsqueeze", "h1 zeros", "h2"),
        node("Unsqueeze", "c1 zeros", "c2"),
        node("Concat", "h2 c2", "after", axis=0),
    ]
    constants = tensors(zero=np.array(0), two=np.array(1), zeros=[0])
    one = graph_model(
        nodes,
        {"x": [1, 1, 5], "state": [2, 1, 6]},
        ("y", "after"),
        [*recurrent_weights(4, 5, 6), *constants],
    )
    model = model_of(onnx_file(one))
    assert {name: one.shape for name, one in model.states.items()} == {"state": (2, 1, 6)}


# ---- sizes, constants, history -------------------------------------------------------------------


def test_a_free_size_that_nothing_pins(onnx_file):
    one = graph_model([node("Relu", "x", "y")], {"x": ["batch", "samples"]})
    with pytest.raises(
        FormatError, match=r'samples is in one step: say shapes=\{"x": \(1, ...\)\}'
    ):
        program_from_onnx(onnx_file(one))
    model = model_of(onnx_file(one), shapes={"x": (1, 7)})
    assert model.inputs["x"].shape == (7,)


def test_a_time_axis_is_one_frame_where_each_stands_alone(onnx_file):
    dense = [node("MatMul", "x w", "y")]
    weight = tensors(w=floats(4, 3))
    one = graph_model(dense, {"x": ["batch", "time", 4]}, constants=weight)
    assert model_of(onnx_file(one)).inputs["x"].shape == (4,)
    mixed = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Conv", "t k", "y", pads=[1, 1]),
    ]
    one = graph_model(mixed, {"x": ["batch", "time", 4]}, constants=tensors(k=floats(3, 4, 3)))
    path = onnx_file(one)
    with pytest.raises(FormatError, match=r'axis 1 \(time\).*Conv.*shapes=\{"x": \(1, 1, 4\)\}'):
        program_from_onnx(path)
    assert model_of(path, shapes={"x": (1, 8, 4)}).inputs["x"].shape == (8, 4)
    assert model_of(path, shapes={"x": (1, 1, 4)}).inputs["x"].shape == (4,)


def test_history_is_part_of_the_last_axis(onnx_file):
    one = graph_model(
        [node("Conv", "x k", "y")], {"x": [1, 2, 7]}, constants=tensors(k=floats(3, 2, 5))
    )
    path = onnx_file(one)
    model = model_of(path, history={"x": 4})
    xs = floats(2, 30)
    (whole,) = run(
        session(
            onnx_file(
                graph_model(
                    [node("Conv", "x k", "y")], {"x": [1, 2, 34]}, constants=one.graph.initializer
                ),
                "whole.onnx",
            )
        ),
        {"x": np.pad(xs, ((0, 0), (4, 0)))[None]},
    ).values()
    stream = model.stream()
    ys = [stream.step(xs[:, n : n + 3]) for n in range(0, 30, 3)]
    assert np.allclose(np.concatenate(ys, 1), whole[0], atol=1e-5)
    wrong = model_of(path, history={"x": 3}).stream()
    ys = [
        wrong.step(np.concatenate([xs[:, n : n + 3], xs[:, n : n + 1]], 1)) for n in range(0, 30, 3)
    ]
    assert not np.allclose(np.concatenate(ys, 1), whole[0], atol=1e-2)


WRONG = [
    ({"shapes": {"x": (1, 4)}}, "shapes says 'x' is"),
    ({"shapes": {"x": (1, 2, 0)}}, "sizes of 1 or more"),
    ({"shapes": {"z": (1, 2)}}, "shapes names z, which is not an input: the inputs are x"),
    ({"shapes": {"x": "abc"}}, "sizes of 1 or more"),
    ({"constants": {"z": 1}}, "constants names z"),
    ({"constants": {"x": "text"}}, "constants gives 'x'"),
    ({"constants": {"x": [1.0]}}, "constants gives 'x'|no input"),
    ({"history": {"x": 7}}, "does not fit into input 'x'"),
    ({"history": {"x": -1}}, "expected 0 or more"),
    ({"history": {"z": 1}}, "history names z"),
    ({"states": {"z": "y"}}, "states names input 'z'"),
    ({"states": {"x": "nothing"}}, "states names 'nothing'"),
    ({"states": {"x": "y"}}, "does not become input 'x'"),
    ({"outputs": ["nothing"]}, "outputs names 'nothing', but there is no value of that name"),
    ({"outputs": []}, "names nothing"),
    ({"inputs": ["nothing"]}, "inputs names 'nothing'"),
    ({"inputs": ["x", "x"]}, "something twice"),
]


@pytest.mark.parametrize(("options", "text"), WRONG)
def test_wrong_arguments(options, text, onnx_file):
    one = graph_model(
        [node("Conv", "x k", "y")], {"x": [1, 2, 7]}, constants=tensors(k=floats(3, 2, 5))
    )
    path = onnx_file(one)
    with pytest.raises(FormatError, match=text) as error:
        program_from_onnx(path, **options)
    if "names nothing" not in text and "twice" not in text:
        assert str(path) in str(error.value)


def test_a_history_is_for_floats_alone(onnx_file):
    one = graph_model([node("Cast", "x", "y", to=FLOAT)], {"x": ([1, 7], INT64)})
    with pytest.raises(
        FormatError, match="a history is for float32 inputs alone, and input 'x' is int64"
    ):
        program_from_onnx(onnx_file(one), history={"x": 2})


@pytest.mark.parametrize("name", ["shapes", "constants", "states", "history", "inputs", "outputs"])
def test_wrong_types(name, onnx_file):
    path = onnx_file(graph_model([node("Relu", "x", "y")], {"x": [1, 2]}))
    with pytest.raises(TypeError, match=name):
        program_from_onnx(path, **{name: 3})
    with pytest.raises(TypeError, match=name):
        program_from_onnx(path, **{name: [1]})


def test_constants_decide_an_if(onnx_file):
    branches = [
        helper.make_graph([node(kind, "x", f"{kind}_y")], kind, [], [info(f"{kind}_y")])
        for kind in ("Relu", "Neg")
    ]
    made = [
        node("Equal", "sr sixteen", "c"),
        helper.make_node(
            "If", ["c"], ["y"], "choice", then_branch=branches[0], else_branch=branches[1]
        ),
    ]
    given = {"x": [1, 4], "sr": ([], INT64)}
    path = onnx_file(graph_model(made, given, constants=tensors(sixteen=np.array(16))))
    with pytest.raises(FormatError, match=r"'choice' \(If\).*depends on input 'sr'.*constants="):
        program_from_onnx(path)
    for rate, code in ((16, "relu"), (8, "neg")):
        model = model_of(path, constants={"sr": rate})
        assert [op.code for op in model.program.ops] == [code]
        assert list(model.inputs) == ["x"]


# ---- cuts ----------------------------------------------------------------------------------------


def cut_model(onnx_file):
    nodes = [
        node("MatMul", "x a", "m"),
        node("Einsum", "m m", "e", equation="bi,bj->bj"),
        node("Relu", "e", "r"),
        node("MatMul", "r b", "y"),
    ]
    constants = tensors(a=floats(4, 3), b=floats(3, 2))
    one = graph_model(nodes, {"x": [1, 4]}, constants=constants, infos=[info("e", [1, 3])])
    return onnx_file(one)


def test_an_operator_that_is_not_there_says_how_to_cut(onnx_file):
    path = cut_model(onnx_file)
    with pytest.raises(FormatError) as error:
        program_from_onnx(path)
    text = str(error.value)
    assert str(path) in text
    assert "node 'e.node' (Einsum)" in text
    assert "outputs=['m']" in text
    assert "inputs=['e']" in text
    before = model_of(path, outputs=["m"])
    after = model_of(path, inputs=["e"])
    assert [op.code for op in before.program.ops] == ["dense"]
    assert [op.code for op in after.program.ops] == ["relu", "dense"]
    assert list(after.inputs) == ["e"]
    x = floats(4)
    found = session(path).run(["y"], {"x": x[None]})[0]
    m = before.stream().step(x)
    assert np.allclose(after.stream().step(m.sum() * m), found[0], atol=1e-5)


def test_a_cut_needs_the_shape_where_the_file_has_none(onnx_file):
    path = cut_model(onnx_file)
    with pytest.raises(FormatError, match=r"shape of input 'r' is not in the file: say shapes="):
        program_from_onnx(path, inputs=["r"])
    assert model_of(path, inputs=["r"], shapes={"r": (1, 3)}).inputs["r"].shape == (3,)


def test_cuts_inside_of_a_branch():
    """Silero's encoder alone, which is inside of an If."""
    name = "If_0_then_branch__Inline_0__/stft/Sqrt_output_0"
    path = silero("silero_vad")
    model = load_model(path, outputs=[name], shapes={"input": (1, 576)}, history={"input": 64})
    assert model.outputs[name].shape == (129, 4)
    assert not model.program.states


def test_inputs_must_be_all(onnx_file):
    nodes = [node("Relu", "x", "r"), node("Add", "r z", "y")]
    path = onnx_file(graph_model(nodes, {"x": [1, 4], "z": [1, 4]}))
    with pytest.raises(FormatError, match="also takes input 'z'"):
        program_from_onnx(path, inputs=["r"], shapes={"r": (1, 4)})
    assert list(model_of(path, inputs=["r", "z"], shapes={"r": (1, 4)}).inputs) == ["z", "r"]


def test_a_state_stays_where_outputs_are_cut(onnx_file):
    path = onnx_file(lstm_model(("h", "c"), ("hn", "cn"), [[1, 1, 6], [1, 1, 6]]))
    model = model_of(path, outputs=["y_"])
    assert list(model.outputs) == ["y_"]
    assert list(model.states) == ["h", "c"]


# ---- other floats --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype"), [(onnx.TensorProto.FLOAT16, "e"), (onnx.TensorProto.DOUBLE, "d")]
)
def test_halves_and_doubles_become_float32(kind, dtype, onnx_file):
    weight = RNG.standard_normal((4, 3)).astype(dtype)
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "y")]
    constants = tensors(w=weight, b=np.ones(3, dtype))
    path = onnx_file(graph_model(nodes, {"x": ([1, 4], kind)}, constants=constants))
    model = model_of(path)
    x = floats(4)
    assert np.allclose(model.stream().step(x), x @ weight.astype(np.float32) + 1, atol=1e-6)
    assert ("constants of 64 bits are rounded to float32" in model.notes) == (dtype == "d")


def test_the_path_is_no_part_of_a_program(onnx_file):
    nodes = [
        node("LSTM", "x W R B _ h c", "y_ hn cn", hidden_size=6),
        node("Einsum", "cn", "z", equation="abc->"),
    ]
    given = {"x": [1, 1, 5], "h": [1, 1, 6], "c": [1, 1, 6]}
    one = graph_model(nodes, given, ("y_", "hn", "cn", "z"), recurrent_weights(4, 5, 6))
    models = [model_of(onnx_file(one, name), outputs=["y_"]) for name in ("a.onnx", "b.onnx")]
    assert models[0].fingerprint == models[1].fingerprint
    assert list(models[0].states) == ["h", "c"]
    assert any(text.startswith("output z is left out") for text in models[0].notes)


def test_a_size_with_one_name_is_one_size(onnx_file):
    """Of a mask, say, whose last axis is the time axis of the frames."""
    nodes = [node("Unsqueeze", "mask two", "m"), node("Mul", "x m", "y")]
    given = {"x": ["batch", "time", 4], "mask": ["batch", "time"]}
    model = model_of(onnx_file(graph_model(nodes, given, constants=tensors(two=[2]))))
    assert {name: one.shape for name, one in model.inputs.items()} == {"x": (4,), "mask": (1,)}
