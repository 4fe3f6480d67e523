"""Programs that are none: each is refused in words that name the part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from program_cases import PROGRAMS, Builder, lstm_layer

from lstm_fast import FormatError, Model
from lstm_fast._program_checks import checked
from lstm_fast.program import Input, Op, Output, State, Tensor


def base():
    """Input 0, state 1, constants 2 and 3; tensors 4 and 5 are computed, 5 becomes the state."""
    build = Builder()
    x, old = build.input("x", (3,)), build.state("s", (2,))
    dense = build.op("dense", x, build.weights(2, 3), build.weights(2))
    build.keep("s", build.op("add", dense, old))
    build.output("y", dense)
    return build.program()


def changed(**values):
    return lambda program: replace(program, **values)


def with_op(number, **values):
    def change(program):
        ops = list(program.ops)
        ops[number] = replace(ops[number], **values)
        return replace(program, ops=tuple(ops))

    return change


def with_first(part, **values):
    def change(program):
        first, *rest = getattr(program, part)
        return replace(program, **{part: (replace(first, **values), *rest)})

    return change


def with_constant(number, value):
    return lambda program: replace(program, constants={**program.constants, number: value})


def more(part, *extra):
    return lambda program: replace(program, **{part: (*getattr(program, part), *extra)})


ZEROS = np.zeros(2, np.float32)

WRONG = {
    "version": (changed(version=2), "it has version 2, this lstm_fast knows 1"),
    "no inputs": (changed(inputs=()), "no input"),
    "no outputs": (changed(outputs=()), "no output"),
    "nothing": (changed(ops=None), "NoneType"),
    # tensors
    "kind": (more("tensors", Tensor((2,), "float64")), "tensor 6: its kind is 'float64'"),
    "size": (more("tensors", Tensor((2, 0))), "tensor 6: .* not an integer of 1 or more"),
    "bool size": (more("tensors", Tensor((True,))), "tensor 6: .* not an integer of 1 or more"),
    "huge": (more("tensors", Tensor((2**15, 2**14))), "tensor 6: .* more than 268435456 elements"),
    "huge in sum": (
        more("tensors", Tensor((2**14, 2**14))),
        "a step computes 268435465 values, at most 268435456",
    ),
    "too many": (more("tensors", *[Tensor((1,))] * 2**16), "65542 tensors, at most 65536"),
    # names
    "two names": (more("inputs", Input("x", 6, (1,))), "two inputs are called 'x'"),
    "no name": (with_first("outputs", name=""), "two outputs are called '', or one has no name"),
    "no text": (with_first("states", name=3), "expected text, found int"),
    "half a letter": (with_first("inputs", name="\ud800"), "surrogates not allowed"),
    "a NUL": (with_first("inputs", name="a\0b"), "a NUL"),
    "a long note": (changed(notes=("n" * 2**17,)), "a text of 131072 characters"),
    # inputs and outputs
    "no such tensor": (with_first("inputs", tensor=6), "input 'x': there is no tensor 6"),
    "negative": (with_first("inputs", tensor=-1), "input 'x': there is no tensor -1"),
    "input shape": (with_first("inputs", shape=(4,)), r"its shape is \(4,\), its tensor takes"),
    "history": (with_first("inputs", history=3), r"its history is 3, its tensor \(3,\)"),
    "history < 0": (with_first("inputs", history=-1), "its history is -1, expected 0 or more"),
    "computed twice": (
        with_first("inputs", tensor=2),
        "input 'x' makes tensor 2, as does constant",
    ),
    "output": (with_first("outputs", tensor=9), "output 'y': there is no tensor 9"),
    # constants
    "constant shape": (with_constant(2, np.zeros((3, 2))), r"constant 2: it has shape \(3, 2\)"),
    "constant kind": (with_constant(2, np.zeros((2, 3), int)), "constant 2: it has dtype int64"),
    "not finite": (with_constant(2, np.full((2, 3), np.nan)), "weight has values that are not fin"),
    "text": (with_constant(2, "weight"), "constant 2: it has shape"),
    # operations
    "code": (with_op(0, code="fft"), "operation 0 .fft, /dense/0.: there is no operation 'fft'"),
    "attribute": (with_op(0, attributes={"axis": 1}), "there is no attribute axis; .*: none"),
    "too early": (with_op(0, inputs=(4, 2, 3)), "nothing has computed tensor 4 before it is used"),
    "not there": (with_op(1, inputs=(4, 7)), r"operation 1 \(add, /add/1\): there is no tensor 7"),
    "below -1": (with_op(1, inputs=(4, -2)), "there is no tensor -2"),
    "left out": (with_op(1, inputs=(-1, 4)), "the input a is missing"),
    "not constant": (with_op(0, inputs=(0, 1)), "weight is state 's', expected a constant"),
    "outputs": (with_op(1, outputs=()), "it has 1 outputs, found 0"),
    "output shape": (with_op(1, outputs=(0,)), "makes tensor 0, as does input 'x'"),
    "shape": (with_op(0, inputs=(1, 2, 3)), r"x has shape \(2,\), its last axis must be"),
    "order": (lambda p: replace(p, ops=p.ops[::-1]), "nothing has computed tensor 4"),
    "a circle": (with_op(1, inputs=(4, 5)), "nothing has computed tensor 5"),
    # states
    "next": (with_first("states", next=0), r"it is \(2,\) float32, and becomes \(3,\)"),
    "next not there": (with_first("states", next=9), "state 's': there is no tensor 9"),
    "initial": (with_first("states", initial=np.zeros(3, np.float32)), r"it has shape \(3,\)"),
    "two states": (
        more("states", State("t", 1, 5, ZEROS)),
        "state 't' makes tensor 1, as does state 's'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    change, text = WRONG[case]
    with pytest.raises(FormatError, match=text) as caught:
        checked(change(base()), "a file")
    assert str(caught.value).startswith("a file: ")


def test_a_program_that_is_right():
    """Negative control: what was changed above is right."""
    model = Model.from_program(base())
    stream = model.stream()
    assert (stream.state["s"] == 0).all()
    y = stream.step([1, 2, 3])
    assert (stream.state["s"] == y).all()


def test_names_of_histories_are_states():
    program = base()
    tensors = (*program.tensors[:-1], program.tensors[-1], Tensor((4,)))
    first = Input("s2", 6, (3,), history=1)
    state = replace(program.states[0], name="s2.history")
    wrong = replace(program, inputs=(*program.inputs, first), states=(state,), tensors=tensors)
    with pytest.raises(FormatError, match=r"two states are called 's2.history'"):
        checked(wrong)


def test_an_index_beyond_a_constant_gather():
    for index in (3, -4, 2, -3):
        build = Builder()
        x = build.input("x", (3,))
        build.output("y", build.op("gather", x, build.constant(np.array([0, index])), axis=0))
        if index in (2, -3):
            assert Model.from_program(build.program()).stream().step([5, 6, 7])[1] in (5, 7)
            continue
        with pytest.raises(FormatError, match=f"the index {index} is not within the 3 of axis 0"):
            checked(build.program())


def test_what_checked_returns_is_whole():
    """Attributes are complete, arrays read-only and canonical; doing it again changes nothing."""
    build = Builder()
    x = lstm_layer(build, build.input("x", (3,)), "l", 4)
    build.state("tiny", (1,), [1e-40])
    build.keep("tiny", build.states[-1][1])
    build.output("y", build.op("leaky_relu", x, alpha=0.1))
    program = build.program()
    program.ops[0].attributes["clip"] = 3
    result = checked(program)
    assert result.ops[0].attributes["gate"] == "sigmoid"
    assert result.ops[1].attributes == {"alpha": float(np.float32(0.1))}
    assert result.ops[0].inputs == program.ops[0].inputs[:6]  # what is left out at the end
    assert result.states[2].initial == 0
    assert not any(value.flags.writeable for value in result.constants.values())
    again = checked(result)
    assert again.ops[0].attributes == result.ops[0].attributes
    assert (again.tensors, again.inputs) == (result.tensors, result.inputs)


@pytest.mark.parametrize("name", PROGRAMS)
def test_any_number_that_is_wrong_is_refused(name):
    """Every tensor number of every operation, one beyond the last."""
    program = PROGRAMS[name]()
    beyond = len(program.tensors)
    for n, op in enumerate(program.ops):
        for part in ("inputs", "outputs"):
            for k in range(len(getattr(op, part))):
                ids = list(getattr(op, part))
                ids[k] = beyond
                ops = [*program.ops]
                ops[n] = replace(op, **{part: tuple(ids)})
                with pytest.raises(FormatError, match=f"there is no tensor {beyond}"):
                    checked(replace(program, ops=tuple(ops)))
    assert checked(program).ops[0].code == program.ops[0].code


def test_an_output_may_be_anything_that_is_there():
    program = replace(base(), outputs=(Output("x", 0), Output("s", 1), Output("w", 2)))
    result = Model.from_program(program).stream().step([1, 2, 3])
    assert result["x"].tolist() == [1, 2, 3]
    assert result["s"].tolist() == [0, 0]
    assert result["w"].shape == (2, 3)
    program = replace(program, ops=(*program.ops, Op("relu", (4,), (5,))))
    with pytest.raises(FormatError, match="makes tensor 5, as does operation 1"):
        checked(program)
