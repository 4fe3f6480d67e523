"""Whole models that Keras saves now: each step is what Keras computes of the sequence so far."""

from __future__ import annotations

import importlib.util
import os
from itertools import permutations
from unittest.mock import patch

import numpy as np
import pytest

if "KERAS_BACKEND" not in os.environ:
    os.environ["KERAS_BACKEND"] = "numpy" if importlib.util.find_spec("jax") else "torch"
pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras, about itself
for library in ("keras", os.environ["KERAS_BACKEND"]):
    pytest.importorskip(library)

import warnings  # noqa: E402

from keras_chains import distance  # noqa: E402

from lstm_fast import FormatError, load_model  # noqa: E402
from lstm_fast.formats import gates  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    from keras import layers
    from keras.src.backend.common import dtypes

if not keras.__version__.startswith("3."):
    pytest.skip("whole models are those of Keras 3", allow_module_level=True)

FEATURES, STEPS, TOKENS = 5, 6, 9


def randomise(model, rng):
    """Give each weight values of its own; variances are positive."""
    for weight in model.weights:
        value = rng.normal(0, 0.5, weight.shape)
        is_variance = weight.name == "moving_variance"
        weight.assign(np.abs(value) + 0.25 if is_variance else value)


def exact(model, xs):
    """Return what a model computes in float64.

    Where float64 meets float32, as in a batch normalisation, Keras goes on in float32; not here.
    """
    text = model.to_json().replace('"float32"', '"float64"')
    with patch.object(dtypes, "BIT64_TO_BIT32_DTYPE", {}):
        twin = keras.models.model_from_json(text)
        twin.set_weights(model.get_weights())
        return keras.ops.convert_to_numpy(twin(xs, training=False))


def sequence_of(model, xs, *, is_timed=True):
    """Return Keras's results for each frame: of one sequence, or of its beginnings."""
    if not is_timed:
        return exact(model, xs)
    whole = exact(model, xs[None])
    if whole.ndim == len(model.output_shape) and model.output_shape[1:2] == (None,):
        return whole[0]
    return np.stack([exact(model, xs[None, : t + 1])[0] for t in range(len(xs))])


def saved(model, path, rng):
    randomise(model, rng)
    model.save(path)
    return path


def sequential(*stack, shape=(None, FEATURES)):
    return keras.Sequential([keras.Input(shape), *stack])


def causal(filters, taps, **options):
    return layers.Conv1D(filters, taps, padding="causal", **options)


ACTIVATIONS = ["linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu"]
ACTIVATIONS += ["sigmoid", "hard_sigmoid", "hard_silu", "hard_tanh", "tanh", "softplus", "softsign"]
ACTIVATIONS += ["softmax", "log_softmax", "exponential", "mish", "swish", "hard_swish"]

# By what it is: the layers, made anew each time.
KINDS = {
    "dense": lambda: [layers.Dense(7)],
    "dense without bias": lambda: [layers.Dense(7, use_bias=False, activation="tanh")],
    "lstm": lambda: [layers.LSTM(4, return_sequences=True)],
    "lstm without bias": lambda: [layers.LSTM(4, return_sequences=True, use_bias=False)],
    "lstm, the last step": lambda: [layers.LSTM(4), layers.Dense(2)],
    "lstm of other activations": lambda: [
        layers.LSTM(
            4, return_sequences=True, activation="softsign", recurrent_activation="hard_sigmoid"
        )
    ],
    "gru": lambda: [layers.GRU(4, return_sequences=True)],
    "gru without bias": lambda: [layers.GRU(4, return_sequences=True, use_bias=False)],
    "gru, reset before": lambda: [layers.GRU(4, return_sequences=True, reset_after=False)],
    "gru, reset before, without bias": lambda: [
        layers.GRU(4, return_sequences=True, reset_after=False, use_bias=False)
    ],
    "gru, the last step": lambda: [layers.GRU(4)],
    "cells": lambda: [
        layers.RNN(layers.GRUCell(4), return_sequences=True),
        layers.RNN([layers.LSTMCell(3), layers.LSTMCell(4)], return_sequences=True),
    ],
    "conv": lambda: [causal(6, 3)],
    "conv, dilated": lambda: [causal(6, 2, dilation_rate=3, use_bias=False)],
    "conv, in groups": lambda: [layers.Dense(6), causal(9, 3, groups=3, activation="relu")],
    "conv of one tap": lambda: [layers.Conv1D(6, 1), layers.Conv1D(3, 1, padding="same")],
    "conv on conv": lambda: [causal(4, 3), causal(3, 4, dilation_rate=2, activation="elu")],
    "layer norm": lambda: [layers.LayerNormalization()],
    "layer norm, plain": lambda: [layers.LayerNormalization(center=False, scale=False, axis=2)],
    "layer norm, scaled": lambda: [layers.LayerNormalization(center=False, epsilon=1e-5)],
    "batch norm": lambda: [layers.BatchNormalization()],
    "batch norm, plain": lambda: [layers.BatchNormalization(center=False, scale=False)],
    "batch norm, shifted": lambda: [layers.BatchNormalization(scale=False, axis=2)],
    "idle": lambda: [layers.Dropout(0.5), layers.SpatialDropout1D(0.5), layers.GaussianNoise(1.0)],
    "in time": lambda: [
        layers.TimeDistributed(layers.Dense(6, activation="tanh")),
        layers.TimeDistributed(
            keras.Sequential([layers.Reshape((3, 2)), layers.Dense(4), layers.Flatten()])
        ),
    ],
    "reshape along time": lambda: [
        layers.Dense(6),
        layers.Reshape((-1, 2, 3)),
        layers.Dense(2),
        layers.Reshape((-1, 4)),
    ],
    "reshape and flatten behind time": lambda: [
        layers.GRU(6),
        layers.Reshape((2, -1)),
        layers.Softmax(axis=-1),
        layers.Flatten(),
    ],
    "layers that are activations": lambda: [
        layers.Activation("tanh"),
        layers.LeakyReLU(negative_slope=0.1),
        layers.ELU(0.7),
        layers.PReLU(shared_axes=[1]),
        layers.ReLU(),
        layers.Dense(4),
        layers.ReLU(max_value=0.5, negative_slope=0.25),
        layers.Dense(4),
        layers.ReLU(6.0),
        layers.Dense(3, activation=layers.LeakyReLU(negative_slope=0.3)),
        layers.Softmax(),
    ],
    "models in models": lambda: [
        keras.Sequential(
            [layers.Dense(4), keras.Sequential([layers.LSTM(3, return_sequences=True)])]
        )
    ],
    **{
        f"activation {name}": lambda name=name: [layers.Dense(4), layers.Activation(name)]
        for name in ACTIVATIONS
    },
}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def draw(rng, *shape):
    return rng.normal(0, 1, shape or (STEPS, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_each_step_of_each_layer(kind, rng, tmp_path):
    model = sequential(*KINDS[kind]())
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng)
    assert distance(path, xs, sequence_of(model, xs)) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_random_chains(seed, tmp_path):
    rng = np.random.default_rng(seed)
    stack = []
    for name in rng.choice([one for one in KINDS if "behind" not in one and "last" not in one], 3):
        stack += [*KINDS[name](), layers.Dense(FEATURES)]
    stack.append([layers.LSTM, layers.GRU][seed % 2](3, return_sequences=bool(seed % 3)))
    model = sequential(*stack)
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng)
    assert distance(path, xs, sequence_of(model, xs)) <= 1


# ---- inputs --------------------------------------------------------------------------------------


def test_tokens(rng, tmp_path):
    model = sequential(
        layers.Embedding(TOKENS, 4, mask_zero=True),
        layers.GRU(5, return_sequences=True),
        layers.Dense(3, activation="softmax"),
        shape=(None,),
    )
    path, tokens = saved(model, tmp_path / "model.keras", rng), rng.integers(1, TOKENS, STEPS)
    loaded = load_model(path)
    (given,) = loaded.inputs.values()
    assert (given.shape, given.kind) == ((), "int64")
    assert "do not give them" in loaded.notes[0]
    assert distance(path, tokens, sequence_of(model, tokens)) <= 1


def test_a_model_without_time_takes_a_frame(rng, tmp_path):
    model = sequential(
        layers.Reshape((2, 3)),
        layers.Dense(4, activation="relu"),
        layers.Flatten(),
        layers.Dense(2),
        shape=(6,),
    )
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng, STEPS, 6)
    loaded = load_model(path)
    assert not loaded.states
    assert distance(path, xs, exact(model, xs)) <= 1


def test_a_frame_of_one_number(rng, tmp_path):
    model = sequential(layers.Reshape((-1, 1)), layers.LSTM(3), layers.Dense(1), shape=(None,))
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng, STEPS, 1)[:, 0]
    assert [one.shape for one in load_model(path).inputs.values()] == [()]
    assert (
        distance(path, xs, np.stack([exact(model, xs[None, : t + 1])[0] for t in range(STEPS)]))
        <= 1
    )


def test_a_functional_model_that_is_a_chain(rng, tmp_path):
    given = keras.Input((STEPS, FEATURES), name="frames")  # time may have a size
    inner = keras.Input((None, 4))
    part = keras.Model(
        inner, layers.LayerNormalization()(causal(4, 2, name="c")(inner)), name="part"
    )
    ys, _ = layers.GRU(4, return_sequences=True, return_state=True, name="g")(given)
    model = keras.Model(given, layers.Dense(2, name="scores")(part(ys)))
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng)
    loaded = load_model(path)
    assert (list(loaded.inputs), list(loaded.outputs)) == (["frames"], ["scores"])
    assert list(loaded.states) == ["g.h", "part/c.history"]
    assert distance(path, xs, exact(model, xs[None])[0]) <= 1


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16", "bfloat16"])
def test_other_types_are_computed_in_float32(dtype, rng, tmp_path):
    model = sequential(layers.Dense(3, dtype=dtype, kernel_initializer="ones"))
    path = saved(model, tmp_path / "model.keras", rng)
    (note,) = load_model(path).notes
    assert f"Keras computes it in {dtype.removeprefix('mixed_')}" in note


# ---- negative controls ---------------------------------------------------------------------------

RECURRENT = [
    ("lstm", "ORDERS", gates.OURS),
    ("gru", "GRU_ORDERS", gates.GRU_OURS),
    ("gru, reset before", "GRU_ORDERS", gates.GRU_OURS),
]


@pytest.mark.parametrize(("kind", "table", "letters"), RECURRENT)
def test_every_wrong_order_of_gates_is_seen(kind, table, letters, rng, tmp_path, monkeypatch):
    model = sequential(*KINDS[kind]())
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng)
    ys, orders = sequence_of(model, xs), ["".join(one) for one in permutations(letters)]
    orders.remove(getattr(gates, table)["keras"])
    for order in orders:
        monkeypatch.setitem(getattr(gates, table), "keras", order)
        assert distance(path, xs, ys, backends=()) > 1, order


@pytest.mark.parametrize("kind", ["gru", "conv, dilated", "batch norm", "layer norm", "dense"])
def test_a_weight_that_is_off_by_little_is_seen(kind, rng, tmp_path):
    """So the bounds are small: 2^-14 of one weight, hundreds of roundings, is beyond them."""
    model = sequential(*KINDS[kind]())
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng)
    weights = model.get_weights()
    at = np.unravel_index(np.abs(weights[0]).argmax(), weights[0].shape)
    weights[0][at] *= 1 + 2.0**-14
    model.set_weights(weights)
    assert distance(path, xs, sequence_of(model, xs)) > 1


def test_a_history_that_is_lost_is_seen(rng, tmp_path):
    model = sequential(*KINDS["conv on conv"]())
    path, xs = saved(model, tmp_path / "model.keras", rng), draw(rng)
    loaded, ys = load_model(path), sequence_of(model, xs)
    fresh = np.stack([loaded.stream().step(x) for x in xs])
    assert np.abs(fresh - ys)[1:].max(axis=1).min() > 1e-3


# ---- refusals ------------------------------------------------------------------------------------

REFUSED = {
    "causal": (lambda: [layers.Conv1D(3, 2, padding="same", name="x")], "into the future; use pad"),
    "valid": (lambda: [layers.Conv1D(3, 2, name="x")], "gives fewer results"),
    "strides": (lambda: [causal(3, 2, strides=2, name="x")], "strides is 2"),
    "both directions": (lambda: [layers.Bidirectional(layers.LSTM(3), name="x")], "has not yet"),
    "backwards": (lambda: [layers.GRU(3, go_backwards=True, name="x")], "go_backwards"),
    "SimpleRNN": (lambda: [layers.SimpleRNN(3, name="x")], "not read here; .*GRU, "),
    "a cell": (
        lambda: [layers.RNN(layers.SimpleRNNCell(3), name="x")],
        "its cell is 'SimpleRNNCell'",
    ),
    "a GRU of other activations": (
        lambda: [layers.GRU(3, activation="relu", name="x")],
        "sigmoid and relu",
    ),
    "an activation": (lambda: [layers.Dense(3, activation="sparsemax", name="x")], "'sparsemax'"),
    "the mean": (lambda: [layers.GlobalAveragePooling1D(name="x")], "not read here"),
    "all of time": (lambda: [layers.LayerNormalization(axis=[1, 2], name="x")], "that of time"),
    "normalised time": (lambda: [layers.BatchNormalization(axis=1, name="x")], "that of time"),
    "softmax of time": (lambda: [layers.Softmax(axis=1, name="x")], "axis 1, that of time"),
    "flat time": (lambda: [layers.Flatten(name="x")], "joins all steps of time"),
    "cut time": (lambda: [layers.Reshape((-1, 2), name="x")], "target_shape"),
    "a slope a step": (lambda: [layers.PReLU(name="x")], "a slope for each step"),
    "time is gone": (
        lambda: [layers.LSTM(3), layers.RepeatVector(4, name="x")],
        "not read here",
    ),
    "in a frame": (
        lambda: [
            layers.Dense(8),
            layers.Reshape((-1, 4, 2)),
            layers.TimeDistributed(layers.LSTM(3), name="x"),
        ],
        "no axis of time left",
    ),
    "training": (lambda: [lambda y: layers.Dropout(0.5, name="x")(y, training=True)], "training"),
    "a threshold": (lambda: [layers.ReLU(threshold=1.0, name="x")], "threshold is 1.0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_streamed_is_refused_by_name(what, tmp_path):
    make, text = REFUSED[what]
    value = given = keras.Input((STEPS, FEATURES))
    if what != "in a frame":  # so that the second axis is time, which has a size here
        value = causal(FEATURES, 2)(value)
    for layer in make():
        value = layer(value)
    path = tmp_path / "model.keras"
    keras.Model(given, value).save(path)
    with pytest.raises(FormatError, match=rf"model.keras: layer 'x' \(\w+\): .*{text}"):
        load_model(path)


def test_other_graphs_are_refused_by_name(tmp_path):
    path, given, other = tmp_path / "model.keras", keras.Input((None, 4)), keras.Input((None, 4))
    dense = layers.Dense(4, name="dense")
    a = dense(given)
    graphs = {
        r"'add' \(Add\): it gets what": (given, layers.Add(name="add")([given, a])),
        "'dense' .*: it is called 2 times": (given, dense(a)),
        "a second input": ([given, other], layers.Add()([given, other])),
        "the model puts out what": (given, [a, layers.Dense(3)(a)]),
        r"'multiply' \(Multiply\): it is an operation of keras": (given, layers.Dense(3)(a * 2.0)),
    }
    for text, (inputs, outputs) in graphs.items():
        keras.Model(inputs, outputs).save(path)
        with pytest.raises(FormatError, match=text):
            load_model(path)
    keras.Model(given, layers.Dense(3)(a)).save(path)
    assert load_model(path).program.ops  # the control


def test_shapes_that_are_left_open_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    given = keras.Input((None, None, 3))
    keras.Model(given, layers.Dense(2)(given)).save(path)
    with pytest.raises(FormatError, match="behind the batch and time a size"):
        load_model(path)


def test_files_that_are_no_model_of_keras_3(tmp_path):
    model = sequential(layers.Dense(2))
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.h5")
    with pytest.raises(FormatError, match="weights alone"):
        load_model(tmp_path / "model.weights.h5")
    with pytest.raises(FormatError, match="layout of Keras 2"):
        load_model(tmp_path / "model.h5")


def test_a_class_of_ones_own_is_refused(tmp_path):
    @keras.saving.register_keras_serializable(package="mine")
    class Dense(layers.Dense):
        pass

    sequential(Dense(2, name="own")).save(tmp_path / "model.keras")
    with pytest.raises(FormatError, match=r"layer 'own' \(Dense\): its class is your own, 'mine>D"):
        load_model(tmp_path / "model.keras")
