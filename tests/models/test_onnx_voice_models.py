"""Models of the shapes of TEN-VAD and of DTLN's second one, step by step beside onnxruntime.

Each step begins at the state that onnxruntime really had, and both have to be as near to float64 as
float32 may be. Weights are random: the files themselves are not ours to copy.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from program_cases import named  # noqa: E402
from program_graphs import (  # noqa: E402
    floats,
    graph_model,
    node,
    onnx_file,
    run,
    session,
    tensors,
)

import program_bounds  # noqa: E402
from lstm_fast import load_model  # noqa: E402
from tolerances import PEER_ACTIVATION  # noqa: E402
from variant_tolerances import Near, excess  # noqa: E402

__all__ = ["onnx_file"]  # a fixture
STEPS = 12
ACTIVATIONS = ("lstm", "sigmoid")  # in which onnxruntime has errors of its own


def separable(name, x, channels, rows, kernel, strides, pads):
    """A filter for each channel, then a product of the channels."""
    weights = {
        f"{name}_d": floats(channels, 1, *kernel, scale=np.prod(kernel) ** -0.5),
        f"{name}_p": floats(rows, channels, 1, 1, scale=channels**-0.5),
        f"{name}_b": floats(rows, scale=0.1),
    }
    nodes = [
        node("Conv", f"{x} {name}_d", f"{name}_1", group=channels, strides=strides, pads=pads),
        node("Conv", f"{name}_1 {name}_p {name}_b", f"{name}_2"),
        node("Relu", f"{name}_2", name),
    ]
    return nodes, weights


def lstm(name, x, inputs, units, h, c):
    """A layer of one step, whose y comes without the axis of directions."""
    weights = {
        f"{name}_W": floats(1, 4 * units, inputs, scale=0.1),
        f"{name}_R": floats(1, 4 * units, units, scale=0.1),
        f"{name}_B": floats(1, 8 * units, scale=0.1),
    }
    given = " ".join([x, *weights, "_", h, c])
    nodes = [
        node("LSTM", given, f"{name}_y {name}_h {name}_c", hidden_size=units),
        node("Squeeze", f"{name}_y one", name),
    ]
    return nodes, weights


def ten_vad():
    """Features of three frames, separable convolutions and a pooling, two LSTMs, a probability."""
    values = {"one": np.array([1]), "flat": np.array([1, 1, 80])}
    nodes = [node("Unsqueeze", "x one", "plane")]
    stages = [
        ("s1", "plane", 1, 16, (3, 3), [1, 1], [0, 0, 0, 0]),
        ("s2", "pool", 16, 16, (1, 3), [2, 2], [0, 0, 0, 1]),
        ("s3", "s2", 16, 16, (1, 3), [2, 2], [0, 1, 0, 1]),
    ]
    for stage in stages:
        made, weights = separable(*stage)
        nodes, values = nodes + made, values | weights
        if stage[0] == "s1":
            pool = node(
                "MaxPool", "s1", "pool", kernel_shape=[1, 3], strides=[1, 2], pads=[0, 0, 0, 1]
            )
            nodes.append(pool)
    nodes.append(node("Transpose", "s3", "last", perm=[0, 2, 3, 1]))
    nodes.append(node("Reshape", "last flat", "row"))
    for name, x, inputs in (("l1", "row", 80), ("l2", "l1", 64)):
        made, weights = lstm(name, x, inputs, 64, f"{name}_h0", f"{name}_c0")
        nodes, values = nodes + made, values | weights
    values |= {"w1": floats(64, 32, scale=0.125), "b1": floats(32), "w2": floats(32, 1, scale=0.2)}
    nodes += [
        node("MatMul", "l2 w1", "m1"),
        node("Add", "m1 b1", "a1"),
        node("Relu", "a1", "r1"),
        node("MatMul", "r1 w2", "m2"),
        node("Sigmoid", "m2", "y"),
    ]
    states = [f"{layer}_{part}" for layer in ("l1", "l2") for part in "hc"]
    given = {"x": [1, 3, 41], **{f"{name}0": [1, 1, 64] for name in states}}
    made = graph_model(nodes, given, ["y", *states], tensors(**values))
    return made, {f"{name}0": name for name in states}


def normalised(name, x):
    """As an exporter takes it apart: over the last axis."""
    return [
        node("ReduceMean", x, f"{name}_m", axes=[2]),
        node("Sub", f"{x} {name}_m", f"{name}_d"),
        node("Mul", f"{name}_d {name}_d", f"{name}_s"),
        node("ReduceMean", f"{name}_s", f"{name}_v", axes=[2]),
        node("Add", f"{name}_v epsilon", f"{name}_e"),
        node("Sqrt", f"{name}_e", f"{name}_r"),
        node("Div", f"{name}_d {name}_r", f"{name}_q"),
        node("Mul", f"{name}_q gain", f"{name}_g"),
        node("Add", f"{name}_g shift", name),
    ]


def dtln():
    """An encoder of one frame, a mask by two LSTMs whose h and c are one state, a decoder."""
    values = {
        **{f"at{n}": np.array(n) for n in range(2)},
        "one": np.array([1]),
        "last": np.array([3]),
        "encode": floats(256, 512, 1, scale=0.05),
        "decode": floats(512, 256, 1, scale=0.05),
        "epsilon": np.float32(1e-7),
        "gain": floats(256),
        "shift": floats(256, scale=0.1),
        "w": floats(128, 256, scale=0.1),
        "b": floats(256, scale=0.1),
    }
    nodes = [
        node("Transpose", "x", "column", perm=[0, 2, 1]),
        node("Conv", "column encode", "code"),
        node("Transpose", "code", "coded", perm=[0, 2, 1]),
        *normalised("norm", "coded"),
        node("Transpose", "norm", "x0", perm=[1, 0, 2]),
    ]
    for n, inputs in enumerate((256, 128)):
        nodes.append(node("Gather", f"state at{n}", f"layer{n}", axis=1))  # [1, 128, 2]
        for part, at in (("h", 0), ("c", 1)):
            nodes.append(node("Gather", f"layer{n} at{at}", f"{part}{n}_", axis=2))
            nodes.append(
                node(
                    "Unsqueeze",
                    f"{part}{n}_ one",
                    f"{part}{n}",
                )
            )
        made, weights = lstm(f"x{n + 1}", f"x{n}", inputs, 128, f"h{n}", f"c{n}")
        nodes, values = nodes + made, values | weights
        parts = []
        for part in "hc":
            parts.append(f"new_{part}{n}")
            nodes.append(node("Unsqueeze", f"x{n + 1}_{part} last", parts[-1]))  # [1, 1, 128, 1]
        nodes.append(node("Concat", " ".join(parts), f"new{n}", axis=3))
    nodes += [
        node("Concat", "new0 new1", "state_out", axis=1),
        node("Transpose", "x2", "t", perm=[1, 0, 2]),
        node("MatMul", "t w", "m"),
        node("Add", "m b", "a"),
        node("Sigmoid", "a", "mask"),
        node("Mul", "mask coded", "masked"),
        node("Transpose", "masked", "columns", perm=[0, 2, 1]),
        node("Conv", "columns decode", "d"),
        node("Transpose", "d", "y", perm=[0, 2, 1]),
    ]
    given = {"x": [1, 1, 512], "state": [1, 2, 128, 2]}
    made = graph_model(nodes, given, ["y", "state_out"], tensors(**values), opset=13)
    return made, {"state": "state_out"}


MODELS = {"ten-vad": ten_vad, "dtln": dtln}


def bounds(program, x, state, slack):
    """Each tensor of a step in float64, and how far a float32 one may be.

    slack: what each activation adds, of a value of about 1.
    """
    values = {number: program_bounds.exactly(value) for number, value in program.constants.items()}
    values |= {one.tensor: program_bounds.exactly(state[one.name]) for one in program.states}
    values[program.inputs[0].tensor] = program_bounds.exactly(x)
    for op in program.ops:
        inputs = [None if n < 0 else values[n] for n in op.inputs]
        more = 4 * slack if op.code in ACTIVATIONS else 0.0
        made = program_bounds.compute(op.code, op.attributes, inputs)
        values |= {
            n: Near(one.value, one.error + more) for n, one in zip(op.outputs, made, strict=True)
        }
    return values


def swapped(program):
    """The same model with two rows of its first weights exchanged."""
    number = next(op for op in program.ops if op.code.startswith("conv")).inputs[1]
    weight = program.constants[number]
    wrong = weight[..., ::-1] if weight.shape[0] == 1 else np.roll(weight, 1, 0)
    return replace(program, constants={**program.constants, number: wrong})


@pytest.mark.parametrize("name", list(MODELS))
def test_each_step_is_within_the_derived_bound(name, onnx_file):
    made, pairs = MODELS[name]()
    path = onnx_file(made)
    model, theirs, rng = load_model(path), session(path), np.random.default_rng(3)
    assert set(model.states) == set(pairs)
    program, stream = model.program, model.stream()
    wrong, state, shown = swapped(program), stream.state, 0.0
    shape = next(iter(model.inputs.values())).shape
    for _ in range(STEPS):
        x = rng.standard_normal(shape).astype(np.float32)
        found = run(theirs, {"x": x.reshape(theirs.get_inputs()[0].shape)} | state)
        ours, after = named(model, stream.step(x))["y"], stream.state
        near, far = bounds(program, x, state, 0.0), bounds(program, x, state, PEER_ACTIVATION)
        end = next(one.tensor for one in program.outputs if one.name == "y")
        kept = {one.name: one.next for one in program.states}
        assert excess(ours.ravel(), *(part.ravel() for part in near[end])) <= 1
        assert excess(found["y"].ravel(), *(part.ravel() for part in far[end])) <= 1
        for key, number in kept.items():
            assert excess(after[key].ravel(), *(part.ravel() for part in near[number])) <= 1
            assert excess(found[pairs[key]].ravel(), *(p.ravel() for p in far[number])) <= 1
        other = bounds(wrong, x, state, PEER_ACTIVATION)[end]
        shown = max(shown, excess(found["y"].ravel(), *(part.ravel() for part in other)))
        state = {key: found[pairs[key]] for key in state}
        stream.state = state
    assert shown > 1  # the control: weights in another order are not within it


@pytest.mark.parametrize("name", list(MODELS))
def test_sessions_of_a_pool_have_the_bits_of_a_stream(name, onnx_file):
    model = load_model(onnx_file(MODELS[name]()[0]))
    shape = next(iter(model.inputs.values())).shape
    frames = np.random.default_rng(4).standard_normal((5, STEPS, *shape)).astype(np.float32)
    alone = [model.stream().run(one) for one in frames]
    pool = model.pool(5)
    together = pool.run([pool.open() for _ in frames], frames)
    for n, one in enumerate(alone):
        for key, value in named(model, one).items():
            assert named(model, together)[key][n].tobytes() == value.tobytes()
    assert not np.array_equal(frames[0], frames[1])
