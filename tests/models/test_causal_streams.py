"""Causal convolutions along time, frame by frame, are what onnxruntime computes of the sequence."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import FORMS, Chain, distance, random_chain, streamed, whole
from program_cases import pool_backends
from program_graphs import onnx_file

from lstm_fast import Model, load_model

__all__ = ["onnx_file"]  # a fixture

BACKENDS = pool_backends()
SEEDS = range(20)


def frames(channels, count=24, seed=5):
    return np.random.default_rng(seed).standard_normal((count, channels)).astype(np.float32)


def is_the_sequence(path, xs, backend=None, **options):
    """Tell whether all steps are within their bounds, ours and onnxruntime's; return the model."""
    model = load_model(path, backend=backend, **options)
    assert distance(model.program, xs, model.stream().run(xs)) <= 1
    assert distance(model.program, xs, whole(path, xs), peer=True) <= 1
    return model


def stack(seed=3, **options):
    """Return a stack with state of every kind: of paddings, convolutions, LSTM and GRU."""
    chain = Chain(np.random.default_rng(seed), 6, **options)
    chain.conv(6, 3, form="pad", groups=6).norm().add("Relu")
    before = chain.last
    chain.conv(6, 2, 3, form="chomp", groups=2).add("Tanh")
    chain.add("Add", before)
    return chain.conv(4, 3, 2, form="pads").rnn("LSTM", 5).rnn("GRU", 4)


# ---- one after the other, and all at once --------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("taps", "dilation", "groups"), [(3, 1, 1), (2, 3, 2), (4, 2, 6), (1, 1, 1), (2, 30, 1)]
)
def test_each_form_of_padding(form, taps, dilation, groups, onnx_file):
    """The last of them reaches beyond the first frame at all times."""
    chain = Chain(np.random.default_rng(1), 6, turned=form == "pads")
    chain.conv(6, taps, dilation, groups, form).add("Relu")
    model = is_the_sequence(onnx_file(chain.model()), frames(6))
    kept = [one.shape for one in model.states.values()]
    before = (taps - 1) * dilation
    expected = (before, 6) if form == "pad before turning" else (6, before)
    assert kept == ([expected] if taps > 1 else [])
    assert all(name.endswith(".history") for name in model.states)


@pytest.mark.parametrize("seed", SEEDS)
def test_stacks(seed, onnx_file):
    """Every third has a time axis of a fixed size, which is said."""
    length = None if seed % 3 else 24
    chain = random_chain(seed, length=length)
    (shape,) = chain.inputs.values()
    channels = next(size for size in shape[1:] if size not in (length, "time"))
    options = {"time_axis": shape.index(length)} if length else {}
    path = onnx_file(chain.model(softmax=3 if seed % 2 else 0))
    is_the_sequence(path, frames(channels), **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend(backend, onnx_file):
    is_the_sequence(onnx_file(stack().model(softmax=3)), frames(6), backend)


@pytest.mark.parametrize("form", ["pad", "concat"])
def test_a_padding_with_a_number_starts_from_that(form, onnx_file):
    """Onnxruntime folds nothing here: the number stands before each window that begins too soon."""
    chain = Chain(np.random.default_rng(2), 4)
    chain.conv(5, 3, 2, form=form, fill=0.75)
    model = is_the_sequence(onnx_file(chain.model()), frames(4))
    (state,) = model.stream().state.values()
    assert np.array_equal(state, np.full((4, 4), 0.75, np.float32))


def test_what_stands_behind_a_padding_sees_it(onnx_file):
    """The zeros in front become sigmoid(0 + b) before they are convolved."""
    chain = Chain(np.random.default_rng(2), 4)
    chain.add("Pad", chain.constant([0, 0, 2, 0, 0, 0]))
    chain.add("Add", chain.constant(np.float32([[[1], [2], [-1], [0.5]]])))
    chain.add("Sigmoid")
    chain.add("Conv", chain.constant(chain.floats(3, 4, 3, scale=0.3)))
    path, xs = onnx_file(chain.model()), frames(4)
    model = is_the_sequence(path, xs)
    later = [replace(one, initial=one.initial + 1) for one in model.program.states]
    wrong = Model.from_program(replace(model.program, states=tuple(later)))
    assert np.abs(wrong.stream().run(xs) - whole(path, xs))[:2].max() > 1e-3


def test_paddings_in_front_of_paddings(onnx_file):
    """Two that one convolution takes together, and a delay of one frame."""
    chain = Chain(np.random.default_rng(2), 4)
    for count, fill in ((2, 0.5), (1, -1.0)):
        chain.add("Pad", chain.constant([0, 0, count, 0, 0, 0]), chain.constant(np.float32(fill)))
    chain.add("Conv", chain.constant(chain.floats(3, 4, 4, scale=0.3)))
    chain.add("Pad", chain.constant([0, 0, 1, 0, 0, 0]))
    chain.add("Slice", *map(chain.constant, ([0], [-1], [2])))
    path, xs = onnx_file(chain.model()), frames(4)
    is_the_sequence(path, xs)
    assert np.array_equal(streamed(path, xs)[0], np.zeros(3))


def test_two_convolutions_of_one_value(onnx_file):
    """Each keeps what it needs; behind them they are joined."""
    chain = Chain(np.random.default_rng(2), 4, turned=True)
    first = chain.last
    one = chain.conv(3, 2).last
    chain.last, chain.channels = first, 4
    chain.conv(3, 4, form="chomp").add("Concat", one, axis=1)
    chain.channels = 6
    model = is_the_sequence(onnx_file(chain.rnn("GRU", 4).model()), frames(4))
    assert sorted(one.shape for one in model.states.values()) == [(4,), (4, 1), (4, 3)]


# ---- the promises of every stream ----------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_cut_anywhere_it_has_the_same_bits(backend, onnx_file):
    model, xs = load_model(onnx_file(stack().model()), backend=backend), frames(6)
    ys = model.stream().run(xs)
    stream = model.stream()
    parts = [stream.run(xs[:3]), stream.step(xs[3])[None], stream.run(xs[4:9])]
    data, twin = stream.snapshot(), stream.copy()
    parts.append(stream.run(xs[9:]))
    assert np.array_equal(np.concatenate(parts), ys)
    assert np.array_equal(twin.run(xs[9:]), ys[9:])
    other = model.stream()
    other.step(xs[0])
    other.restore(data)
    assert np.array_equal(other.run(xs[9:]), ys[9:])
    other.reset()
    assert np.array_equal(other.run(xs), ys)
    other.reset(stream.state)
    assert np.array_equal(other.step(xs[0]), stream.step(xs[0]))
    assert not np.array_equal(model.stream().run(xs[9:]), ys[9:])  # so it does depend on the past


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pool_is_its_sessions(backend, onnx_file):
    model, xs = load_model(onnx_file(stack().model()), backend=backend), frames(6 * 5)
    xs = xs.reshape(24, 5, 6)
    pool = model.pool(5)
    handles = [pool.open() for _ in range(5)]
    ys = np.stack([pool.step(handles, x) for x in xs[:9]])
    pool.reset(handles[2])
    ys = np.concatenate([ys, np.stack([pool.step(handles, x) for x in xs[9:]])])
    for n in range(5):
        stream = model.stream()
        first = stream.run(xs[:9, n])
        if n == 2:
            stream.reset()
        assert np.array_equal(np.concatenate([first, stream.run(xs[9:, n])]), ys[:, n])


# ---- what a program is, and controls -------------------------------------------------------------


def test_what_would_be_cut_off_is_not_computed(onnx_file):
    """Nor is what an activation makes of it."""
    for form in ("chomp", "chomp by length", "chomp later", "crop"):
        chain = Chain(np.random.default_rng(2), 4).conv(3, 3, 4, form=form)
        program = load_model(onnx_file(chain.model())).program
        assert {
            program.tensors[op.outputs[0]].shape for op in program.ops if op.code == "conv"
        } == {(3, 1)}


def test_states_and_notes_have_the_names_of_nodes(onnx_file):
    model = load_model(onnx_file(stack().model()))
    names = [name.rpartition(".") for name in model.states]
    assert [kind for _, _, kind in names] == ["history", "history", "history", "h", "c", "h"]
    assert [re.match("[a-z]+", node)[0] for node, _, _ in names[:3]] == ["pad", "conv", "conv"]
    assert f"node {names[0][0]} keeps the last 2 frames for the steps that follow" in model.notes
    assert "input x: axis 2 (time) taken as 1, one frame a step" in model.notes
    assert {name: one.shape for name, one in model.inputs.items()} == {"x": (6,)}
    assert {name: one.shape for name, one in model.outputs.items()} == {"y": (4,)}


def _shifted(program):
    """Return a program whose histories go on by no frame, so that they are late by one."""
    ops = []
    for op in program.ops:
        after = {one.next for one in program.states if one.name.endswith(".history")}
        if op.code == "slice" and op.outputs[0] in after:
            starts = tuple(0 for _ in op.attributes["starts"])
            ends = program.tensors[op.outputs[0]].shape
            attributes = {**op.attributes, "starts": starts, "ends": ends}
            ops.append(replace(op, attributes=attributes))
        else:
            ops.append(op)
    return replace(program, ops=tuple(ops))


@pytest.mark.parametrize("form", ["pad", "chomp"])
def test_a_history_that_is_wrong_is_seen(form, onnx_file):
    """In its start, or off by one frame."""
    chain = Chain(np.random.default_rng(1), 4).conv(4, 3, 2, form=form)
    path, xs = onnx_file(chain.model()), frames(4)
    program, ys = load_model(path).program, whole(path, xs)
    assert distance(program, xs, ys, peer=True) <= 1
    wrong = [replace(one, initial=one.initial + np.float32(2**-12)) for one in program.states]
    assert distance(replace(program, states=tuple(wrong)), xs, ys, peer=True) > 1
    assert distance(_shifted(program), xs, ys, peer=True) > 1
