"""Whole models from ONNX, step by step beside onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
from program_graphs import (
    crnn,
    floats,
    graph_model,
    model_of,
    node,
    onnx_file,
    recurrent_weights,
    run,
    session,
    silero,
    tensors,
)

import tolerances
from lstm_fast import Model, load_model
from tolerances import SILERO_PROBABILITY, SILERO_STATE, U, gamma

__all__ = ["onnx_file"]  # a fixture

GOLDEN = Path(__file__).parent.parent / "golden" / "formats" / "onnx"

# ---- Silero --------------------------------------------------------------------------------------

SR = {"sr": np.array(16000, np.int64)}
SR8 = {"sr": np.array(8000, np.int64)}
SILERO = [
    ("silero_vad_16k_op15", 576, SR, True),
    ("silero_vad", 576, SR, True),
    ("silero_vad", 288, SR8, True),
    ("silero_vad_half", 576, {}, True),
    ("silero_vad_openvino_16k", 576, {}, False),
    ("silero_vad_op18_ifless", 576, SR, True),
    ("silero_vad_op18_ifless", 288, SR8, True),
    ("silero_vad_16k_sequence", 576, {}, True),
]


def silero_model(name, size, constants, free):
    shapes = {"input": (1, size)} if free else None
    history = {"input": size // 9}
    return load_model(silero(name), shapes=shapes, constants=constants, history=history)


def speech(rng, size):
    """Return something with the loudness and the spectrum of speech, louder and quieter."""
    noise = np.convolve(rng.standard_normal(size + 15), np.ones(16) / 4, "valid")
    loud = np.repeat(rng.uniform(0, 1, -(-size // 800)) ** 2, 800)[:size]
    return (0.3 * loud * noise).astype(np.float32)


def distances(name, size, constants, stream, context):
    """Return how far probability and state are from onnxruntime's, at most, over 60 chunks."""
    theirs, rng = session(silero(name)), np.random.default_rng(5)
    given = [one.name for one in theirs.get_inputs()]
    state = {
        one.name: np.zeros([n if isinstance(n, int) else 1 for n in one.shape], np.float32)
        for one in theirs.get_inputs()
        if one.name in ("state", "h", "c")
    }
    sound, before = speech(rng, 60 * (size - context)), np.zeros(context, np.float32)
    worst = np.zeros(2)
    for chunk in sound.reshape(60, -1):
        feed = {"input": np.concatenate([before, chunk])[None], **state, **constants}
        found = run(theirs, {key: value for key, value in feed.items() if key in given})
        before = chunk[len(chunk) - context :]
        state = {key: found[key + ("N" if key == "state" else "n")] for key in state}
        probability = found.get("output", found.get("speech_probs"))
        y = stream.step(chunk)
        off = [np.abs(y - probability.ravel()).max()]
        off.append(max(np.abs(stream.state[key] - state[key]).max() for key in state))
        worst = np.maximum(worst, off)
    return worst


@pytest.mark.parametrize(("name", "size", "constants", "free"), SILERO)
def test_silero_is_what_onnxruntime_makes_of_it(name, size, constants, free):
    """Within what tolerances.py promises users of Silero; its own float32 is most of that."""
    model = silero_model(name, size, constants, free)
    assert [one.shape for one in model.inputs.values()] == [(size - size // 9,)]
    worst = distances(name, size, constants, model.stream(), size // 9)
    assert worst[0] <= SILERO_PROBABILITY
    assert worst[1] <= SILERO_STATE


def test_a_wrong_history_shows():
    name, size, constants, _free = SILERO[0]
    model = load_model(
        silero(name), shapes={"input": (1, size)}, constants=constants, history={"input": 32}
    )
    stream = model.stream()

    class Late:  # takes the 512 of 544 values that its history does not hold, so 32 old ones fewer
        state = property(lambda self: stream.state)

        def step(self, chunk):
            return stream.step(np.concatenate([np.zeros(32, np.float32), chunk]))

    worst = distances(name, size, constants, Late(), 64)
    assert worst[0] > SILERO_PROBABILITY


def test_swapped_gates_show():
    name, size, constants, free = SILERO[0]
    program = silero_model(name, size, constants, free).program
    (op,) = [op for op in program.ops if op.code == "lstm"]
    blocks = np.split(program.constants[op.inputs[4]], 4)
    swapped = {op.inputs[4]: np.concatenate([blocks[1], blocks[0], *blocks[2:]])}
    wrong = Model.from_program(replace(program, constants={**program.constants, **swapped}))
    assert distances(name, size, constants, wrong.stream(), 64)[0] > SILERO_PROBABILITY


# ---- Linear, ReLU, LSTMs, Linear, softmax --------------------------------------------------------


def dense_bound(x, error, weight, bias):
    """Return W x + b and how far a float32 one may be: K products, their sums in any order."""
    x, weight, bias = (one.astype(np.float64) for one in (x, weight, bias))
    sizes = np.abs(weight) @ (np.abs(x) + error) + np.abs(bias)
    return weight @ x + bias, np.abs(weight) @ error + gamma(len(x) + 1) * sizes


def crnn_bound(x, h, c, values):
    """Return the probabilities of one step in float64, and how far float32 ones may be."""
    y, error = dense_bound(x, np.zeros(len(x)), values["w1"].T, values["b1"])
    y = np.maximum(y, 0)
    for n in range(2):
        order = [0, 2, 3, 1]  # i f g o of ONNX's i o f c
        w, r = (
            np.concatenate([np.split(values[k + str(n)][0], 4)[g] for g in order]) for k in "WR"
        )
        biases = np.split(values[f"B{n}"][0], 2)
        biases = [np.concatenate([np.split(b, 4)[g] for g in order]) for b in biases]
        made = tolerances.step(y, h[n, 0], c[n, 0], (w, r, *biases), x_error=error)
        # onnxruntime's own sigmoid and tanh; through c' and o at most so much each
        y, error = made.h, made.h_error + 4 * tolerances.PEER_ACTIVATION
    y, error = dense_bound(y, error, values["w2"].T, values["b2"])
    e = np.exp(y - y.max())
    p = e / e.sum()
    # A difference of two logits is off by 2 error at most, and exp, the sum and the division by
    # some units in the last place.
    return p, p * (np.expm1(2 * error.max()) + 16 * U)


def test_a_step_is_within_the_derived_bound(onnx_file):
    """Each step begins at the state that onnxruntime really had."""
    one, values = crnn(states=True)
    path = onnx_file(one)
    model, theirs, rng = load_model(path), session(path), np.random.default_rng(1)
    assert list(model.states) == ["h", "c"]
    assert list(model.outputs) == ["y"]
    state = {k: np.zeros((2, 1, 96), np.float32) for k in "hc"}
    exact = load_model(path, backend="reference").stream()
    stream, worst, shown = model.stream(), 0.0, 0.0
    for _ in range(40):
        x = rng.standard_normal(40).astype(np.float32)
        found = run(theirs, {"x": x[None, None], **state})
        expected, bound = crnn_bound(x, state["h"], state["c"], values)
        assert np.all(np.abs(exact.step(x) - expected) <= U)  # float64, rounded once
        for y in (stream.step(x), found["y"][0, 0]):
            assert np.all(np.abs(y - expected) <= bound)
        worst = max(worst, bound.max())
        blocks = np.split(values["W0"], 4, axis=1)
        swapped = {**values, "W0": np.concatenate([blocks[1], blocks[0], *blocks[2:]], axis=1)}
        wrong, _ = crnn_bound(x, state["h"], state["c"], swapped)
        shown = max(shown, np.abs(found["y"][0, 0] - wrong).max())
        state = {"h": found["hn"], "c": found["cn"]}
        stream.state = exact.state = state
    assert shown > 5 * worst  # so two swapped gates would not be within it


def test_without_state_inputs_it_is_the_whole_sequence(onnx_file):
    one, _ = crnn(states=False)
    path = onnx_file(one)
    model, theirs = load_model(path), session(path)
    xs = floats(50, 40)
    (whole,) = run(theirs, {"x": xs[None]}).values()
    stream = model.stream()
    ys = np.stack([stream.step(x) for x in xs])
    # Its float32 errors fade as its state does: those of one step, see above, times a few.
    assert np.abs(ys - whole[0]).max() <= 1e-5
    stream.reset()
    assert np.array_equal(stream.step(xs[0]), ys[0])
    fresh = np.stack([model.stream().step(x) for x in xs])
    assert np.abs(fresh - whole[0]).max() > 1e-3  # so it does depend on the state


def test_what_pytorch_exports(tmp_path):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(40, 64)
            self.rnn = torch.nn.LSTM(64, 96, 2, batch_first=True)
            self.last = torch.nn.Linear(96, 3)

        def forward(self, x):
            y, _ = self.rnn(torch.relu(self.first(x)))
            return torch.softmax(self.last(y), -1)

    torch.manual_seed(0)
    net, path = Net().eval(), tmp_path / "net.onnx"
    axes = {"x": {0: "batch", 1: "time"}}
    with pytest.warns():
        torch.onnx.export(
            net, (torch.randn(1, 5, 40),), path, input_names=["x"], dynamic_axes=axes, dynamo=False
        )
    model = load_model(path)
    assert [op.code for op in model.program.ops].count("lstm") == 2
    xs = floats(50, 40)
    (whole,) = run(session(path), {"x": xs[None]}).values()
    ys = model.stream().run(xs)
    assert np.abs(ys - whole[0]).max() <= 1e-5


@pytest.mark.parametrize("name", ["dynamo_stack", "torchscript_stack", "torchscript_trained_state"])
def test_files_of_both_exporters(name):
    """y, h and c of each step as PyTorch computed them; h and c are outputs, too."""
    model = load_model(GOLDEN / f"{name}.onnx")
    expected = np.load(GOLDEN / f"{name}.npz")
    y_name, h_name, c_name = model.outputs
    for row, x in enumerate(expected["x"]):
        found = model.stream().run(x)
        h, c = expected["h"][:, :, row], expected["c"][:, :, row]
        assert np.abs(found[y_name] - expected["y"][row]).max() <= 1e-6
        assert np.abs(found[h_name][:, :, 0] - h).max() <= 1e-6
        assert np.abs(found[c_name][:, :, 0] - c).max() <= 2e-6


@pytest.mark.parametrize("name", ["dynamo_trained_state", "dynamo_external_data"])
def test_a_fixed_time_axis_is_so_many_frames_a_step(name):
    model = load_model(GOLDEN / f"{name}.onnx")
    expected = np.load(GOLDEN / f"{name}.npz")
    for row, x in enumerate(expected["x"]):
        y = next(iter(model.stream().step(x).values()))
        assert np.abs(y - expected["y"][row]).max() <= 1e-6


# ---- GRU -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_gru(linear_before_reset, bias, onnx_file):
    start = floats(1, 1, 7)
    given = "x W R B _ start" if bias else "x W R _ _ start"
    made = [
        node("GRU", given, "y_", hidden_size=7, linear_before_reset=linear_before_reset),
        node("Squeeze", "y_ ones", "y"),
    ]
    constants = [*recurrent_weights(3, 5, 7), *tensors(start=start, ones=[1])]
    path = onnx_file(graph_model(made, {"x": ["time", 1, 5]}, constants=constants))
    xs = floats(30, 5)
    (whole,) = run(session(path), {"x": xs[:, None]}).values()
    ys = load_model(path).stream().run(xs)
    assert np.abs(ys - whole[:, 0]).max() <= 1e-5
    other = onnx_file(
        graph_model(
            [
                node(
                    "GRU", given, "y_", hidden_size=7, linear_before_reset=1 - linear_before_reset
                ),
                made[1],
            ],
            {"x": ["time", 1, 5]},
            constants=constants,
        )
    )
    assert np.abs(load_model(other).stream().run(xs) - ys).max() > 1e-3


def test_variants_of_the_cell(onnx_file):
    """Peepholes, clip, activations and input_forget, as onnxruntime computes them."""
    names = ["HardSigmoid", "Softsign", "Tanh"]
    made = node(
        "LSTM",
        "x W R B _ _ _ P",
        "y",
        hidden_size=6,
        clip=1.5,
        activations=names,
        activation_alpha=[0.3],
        activation_beta=[0.4],
        input_forget=1,
    )
    constants = [*recurrent_weights(4, 5, 6), *tensors(P=floats(1, 18))]
    path = onnx_file(graph_model([made], {"x": ["T", 1, 5]}, constants=constants))
    xs = floats(30, 5, scale=2)
    (whole,) = run(session(path), {"x": xs[:, None]}).values()
    assert np.abs(model_of(path).stream().run(xs) - whole.reshape(30, 6)).max() <= 1e-5
