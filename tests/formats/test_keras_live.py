"""Keras where it is installed: models that it saves now, loaded and compared with its own run."""

from __future__ import annotations

import importlib.util
import os
from itertools import product

import numpy as np
import pytest

# Keras's NumPy backend takes jax since 3.12 or so; torch is the next best that we test with anyway.
if "KERAS_BACKEND" not in os.environ:
    os.environ["KERAS_BACKEND"] = "numpy" if importlib.util.find_spec("jax") else "torch"
pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras, about itself
for library in ("keras", os.environ["KERAS_BACKEND"]):
    pytest.importorskip(library)

import warnings  # noqa: E402

from keras_cases import excess_along, excess_of_batch  # noqa: E402

from lstm_fast import LSTM, FormatError, formats  # noqa: E402
from variant_tolerances import batch, excess  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    from keras import layers

MAJOR = int(keras.__version__.split(".")[0])
INPUTS, UNITS, ROWS, STEPS = 5, 7, 3, 5
NAMES = ["tanh", "sigmoid", "hard_sigmoid", "relu", "linear", "elu", "softsign", "softplus"]
NAMES += ["leaky_relu"]
PAIRS = [("tanh", "sigmoid")]
PAIRS += [(name, "sigmoid") for name in NAMES[1:]] + [("tanh", name) for name in NAMES[2:]]
SUFFIXES = [".keras", ".h5"]


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def randomise(model, rng):
    """Give every gate weights of its own; biases keep what Keras starts them with, and get more."""
    weights = [np.asarray(w) for w in model.get_weights()]
    model.set_weights([w + rng.normal(0, 0.3, w.shape).astype(w.dtype) for w in weights])


def reloaded(model, path):
    """Save a model, and return the LSTMs that are found in it."""
    model.save(path)
    return formats.read(path)


def draw(rng, rows=ROWS, inputs=INPUTS):
    return rng.normal(0, 1, (rows, STEPS, inputs)).astype(np.float32)


def stack_of(depth, wrap, **options):
    """Return a model of LSTMs on top of each other."""
    model = keras.Sequential([keras.Input((None, INPUTS))])
    for _ in range(depth):
        model.add(wrap(layers.LSTM(UNITS, return_sequences=True, **options)))
    return model


def same_weights(found, others):
    assert [one.name for one in found] == [other.name for other in others]
    for one, other in zip(found, others, strict=True):
        assert one.weights.direction == other.weights.direction
        for mine, its in zip(one.weights.layers, other.weights.layers, strict=True):
            assert mine.cell == its.cell
            assert mine.parameters().keys() == its.parameters().keys()
            for kind, value in mine.parameters().items():
                np.testing.assert_array_equal(value, its.parameters()[kind])


def grid():
    """Every combination; a quarter of them, with everything in it, where there is little time."""
    for n, (pair, way) in enumerate(product(PAIRS, ["forward", "bidirectional", "backwards"])):
        for k, (depth, use_bias) in enumerate(product([1, 2], [True, False])):
            marks = [] if n % 4 == k else [pytest.mark.slow]
            yield pytest.param(*pair, way, depth, use_bias, marks=marks)


@pytest.mark.parametrize(("main", "gate", "way", "depth", "use_bias"), list(grid()))
def test_grid(main, gate, way, depth, use_bias, rng, tmp_path):
    options = {"activation": main, "recurrent_activation": gate, "use_bias": use_bias}
    options["go_backwards"] = way == "backwards"
    wrap = layers.Bidirectional if way == "bidirectional" else lambda layer: layer
    model = stack_of(depth, wrap, **options)
    randomise(model, rng)
    xs = draw(rng)
    ys = model.predict_on_batch(xs)
    found, legacy = (reloaded(model, tmp_path / f"model{suffix}") for suffix in SUFFIXES)
    same_weights(found, legacy)
    if way != "backwards":
        (one,) = found
        assert one.weights.num_layers == depth
        assert excess_of_batch(one.weights, xs, ys, (None, None)) <= 1
        return
    # Each turns the order round for the next one, so that they are no stack of ours.
    assert len(found) == depth
    for one, layer in zip(found, model.layers, strict=True):
        below, xs = xs, numpy(layer(xs))  # which the next one gets in Keras's order
        assert excess_of_batch(one.weights, below, xs[:, ::-1], (None, None)) <= 1


def test_the_first_bias_of_the_forget_gate_is_added_once(rng, tmp_path):
    """With the weights as Keras initialises them: ones for the forget gate's bias."""
    model = stack_of(1, lambda layer: layer, unit_forget_bias=True)
    xs = draw(rng)
    (one,) = reloaded(model, tmp_path / "model.keras")
    bias = one.weights.layers[0].bias.reshape(4, UNITS)
    np.testing.assert_array_equal(bias, np.repeat([[0], [1], [0], [0]], UNITS, 1))
    assert excess_of_batch(one.weights, xs, model.predict_on_batch(xs), (None, None)) <= 1


def test_stateful_is_a_stream_that_goes_on(rng, tmp_path):
    given = keras.Input(batch_shape=(ROWS, None, INPUTS))
    layer = layers.LSTM(UNITS, return_sequences=True, stateful=True)
    model = keras.Model(given, layer(given))
    randomise(model, rng)
    xs = np.concatenate([draw(rng), draw(rng)], axis=1)
    (one,) = reloaded(model, tmp_path / "model.keras")
    assert "stateful" in one.notes[0]
    calls = [model.predict_on_batch(xs[:, :STEPS]), model.predict_on_batch(xs[:, STEPS:])]
    theirs = np.concatenate(calls, axis=1)
    start = (np.zeros((1, ROWS, UNITS), np.float32),) * 2
    lengths = [2 * STEPS] * ROWS
    peer, _, _ = batch(one.weights, xs, start, lengths, peer=True)
    own, _, _ = batch(one.weights, xs, start, lengths)
    assert excess(theirs, *peer) <= 1
    lstm = LSTM.from_weights(one.weights, backend="reference")
    for row in range(ROWS):
        stream = lstm.stream()
        ours = np.concatenate([stream.run(xs[row, :STEPS]), stream.run(xs[row, STEPS:])])
        assert excess(ours, own.value[row], own.error[row]) <= 1
    # And a reset is one: without it, the second call is another.
    layer.reset_states() if hasattr(layer, "reset_states") else layer.reset_state()
    fresh = model.predict_on_batch(xs[:, STEPS:])
    assert excess(fresh, peer.value[:, STEPS:], peer.error[:, STEPS:]) > 1
    assert excess_of_batch(one.weights, xs[:, STEPS:], fresh, (None, None)) <= 1


@pytest.mark.parametrize("way", ["forward", "bidirectional"])
def test_masks_are_lengths(way, rng, tmp_path):
    lengths = [STEPS, 2, 4]
    xs = draw(rng)
    for row, length in zip(xs, lengths, strict=True):
        row[length:] = -9.0  # what Masking looks for
    given = keras.Input((None, INPUTS))
    layer = layers.LSTM(UNITS, return_sequences=True, return_state=True)
    if way == "bidirectional":
        layer = layers.Bidirectional(layer)
    ys, *state = layer(layers.Masking(-9.0)(given))
    model = keras.Model(given, [ys, *state])
    randomise(model, rng)
    ys, *state = model.predict_on_batch(xs)
    (one,) = reloaded(model, tmp_path / "model.keras")
    for row, length in zip(ys, lengths, strict=True):
        row[length:] = 0.0  # Keras repeats the last output there
    h, c = np.stack(state[0::2]), np.stack(state[1::2])
    assert excess_of_batch(one.weights, xs, ys, (h, c), lengths) <= 1
    assert excess_of_batch(one.weights, xs, ys, (h, c)) > 1  # without them it is something else


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("first", ["masking", "mask_zero", "plain"])
def test_a_mask_before_a_stack_is_told(first, suffix, tmp_path):
    """However Keras hands it on: two layers behind it are one stack all the same."""
    given = keras.Input((None,) if first == "mask_zero" else (None, INPUTS))
    ys = {
        "masking": layers.Masking(-9.0),
        "mask_zero": layers.Embedding(10, INPUTS, mask_zero=True),
        "plain": layers.Dropout(0.1),
    }[first](given)
    for _ in range(2):
        ys = layers.LSTM(UNITS, return_sequences=True)(ys)
    (one,) = reloaded(keras.Model(given, ys), tmp_path / f"model{suffix}")
    assert one.weights.num_layers == len(one.parts) == 2
    words = {"masking": "values are all -9.0", "mask_zero": "token 0 (mask_zero)"}
    assert len(one.assumptions) == (first in words)
    assert words.get(first, "") in "".join(one.assumptions)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cells_in_an_rnn(suffix, rng, tmp_path):
    cells = [layers.LSTMCell(UNITS, recurrent_activation="hard_sigmoid"), layers.LSTMCell(UNITS)]
    given = keras.Input((None, INPUTS))
    ys, *state = layers.RNN(cells, return_sequences=True, return_state=True)(given)
    model = keras.Model(given, [ys, *[part for pair in state for part in pair]])
    randomise(model, rng)
    xs = draw(rng)
    ys, *state = model.predict_on_batch(xs)
    (one,) = reloaded(model, tmp_path / f"model{suffix}")
    assert one.weights.num_layers == 2
    h, c = np.stack(state[0::2]), np.stack(state[1::2])
    assert excess_of_batch(one.weights, xs, ys, (h, c)) <= 1


@pytest.mark.parametrize("mode", ["sum", "mul", "ave", None])
def test_other_merge_modes_are_told(mode, rng, tmp_path):
    given = keras.Input((None, INPUTS))
    wide = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), merge_mode=mode)
    model = keras.Model(given, wide(given))
    randomise(model, rng)
    xs = draw(rng)
    ys = model.predict_on_batch(xs)
    (one,) = reloaded(model, tmp_path / "model.keras")
    assert f"merge_mode {mode}" in one.assumptions[0]
    ours, _ = LSTM.from_weights(one.weights, backend="reference")(xs)
    left, right = np.split(ours, 2, axis=-1)
    merged = {"sum": left + right, "mul": left * right, "ave": (left + right) / 2}
    expected = merged.get(mode, (left, right))
    # Not a claim about rounding: which parts are merged is what this is about.
    np.testing.assert_allclose(ys, expected, atol=1e-4)


def test_time_distributed_and_what_is_between(rng, tmp_path):
    """A Dense between two LSTMs parts them; a Dropout does not; an LSTM of each slice is found."""
    given = keras.Input((None, INPUTS))
    a = layers.LSTM(UNITS, return_sequences=True, name="a")(given)
    b = layers.LSTM(UNITS, return_sequences=True, name="b")(layers.Dropout(0.3)(a))
    dense = layers.TimeDistributed(layers.Dense(UNITS))(b)
    c = layers.LSTM(UNITS, return_sequences=True, name="c")(dense)
    d = layers.LSTM(UNITS, return_sequences=True, name="d")(c)
    outer = keras.Input((None, 4, INPUTS))
    slices = layers.TimeDistributed(layers.LSTM(UNITS, name="inner"), name="slices")(outer)
    model = keras.Model([given, outer], [d, c, slices])
    for suffix in SUFFIXES:
        names = [one.name for one in reloaded(model, tmp_path / f"model{suffix}")]
        assert sorted(names) == ["a+b", "c", "d", "slices"]  # c is an output, too


def test_states_that_are_given_part_a_stack(rng, tmp_path):
    given = keras.Input((None, INPUTS))
    ys, h, c = layers.LSTM(UNITS, return_sequences=True, return_state=True, name="enc")(given)
    last = layers.LSTM(UNITS, name="dec")(ys, initial_state=[h, c])
    model = keras.Model(given, last)
    for suffix in SUFFIXES:
        found = reloaded(model, tmp_path / f"model{suffix}")
        assert [one.name for one in found] == ["enc", "dec"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_frozen_layer_in_a_model_in_the_model(suffix, rng, tmp_path):
    """Keras 2's layout keeps what is not trained after what is: names tell them apart."""
    inner = stack_of(2, lambda layer: layer)
    inner.layers[0].trainable = False
    given = keras.Input((None, INPUTS))
    model = keras.Model(given, inner(given))
    randomise(model, rng)
    xs = draw(rng)
    (one,) = reloaded(model, tmp_path / f"model{suffix}")
    assert excess_of_batch(one.weights, xs, model.predict_on_batch(xs), (None, None)) <= 1


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_other_dtypes_are_read_as_float32(dtype, suffix, rng, tmp_path):
    layer = layers.LSTM(UNITS, dtype=dtype, recurrent_initializer="glorot_uniform")
    model = keras.Sequential([keras.Input((None, INPUTS)), layer])
    path = tmp_path / f"model{suffix}"
    (model.save if suffix == ".keras" else model.save_weights)(path)
    (one,) = formats.read(path)
    kernel = numpy(keras.ops.cast(layer.cell.kernel, "float32"))
    np.testing.assert_array_equal(one.weights.layers[0].weight_ih, kernel.T)


@pytest.mark.parametrize("name", ["gelu", "silu", "selu", "exponential", "relu6", "mish"])
def test_activations_that_we_lack_are_refused_by_name(name, tmp_path):
    model = stack_of(1, lambda layer: layer, activation=name)
    with pytest.raises(FormatError, match=f"config: activation of lstm.* is '{name}'"):
        reloaded(model, tmp_path / "model.keras")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_recurrent_layers_are_named(suffix, tmp_path):
    given = keras.Input((None, INPUTS))
    model = keras.Model(given, layers.Bidirectional(layers.GRU(UNITS), name="wide")(given))
    with pytest.raises(FormatError, match="there is no LSTM in it, but GRU wide"):
        reloaded(model, tmp_path / f"model{suffix}")


def test_a_class_of_ones_own_is_no_lstm(tmp_path):
    @keras.saving.register_keras_serializable(package="mine")
    class LSTM(layers.LSTM):
        pass

    given = keras.Input((None, INPUTS))
    model = keras.Model(given, LSTM(UNITS, name="own")(given))
    with pytest.raises(FormatError, match="there is no LSTM in it, but mine>LSTM own"):
        reloaded(model, tmp_path / "model.keras")


def test_an_lstm_in_a_layer_of_ones_own_is_found(tmp_path):
    @keras.saving.register_keras_serializable(package="mine")
    class Encoder(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = layers.LSTM(UNITS, name="inner")

        def build(self, shape):
            self.inner.build(shape)

        def call(self, xs):
            return self.inner(xs)

    given = keras.Input((None, INPUTS))
    model = keras.Model(given, Encoder(name="encoder")(given))
    (one,) = reloaded(model, tmp_path / "model.keras")
    assert one.name == "encoder/inner"
    assert "does not say what it computes" in one.assumptions[0]


def test_a_bidirectional_that_is_no_lstm_of_ours_is_two(rng, tmp_path):
    given = keras.Input((None, INPUTS))
    ahead, back = layers.LSTM(UNITS, name="ahead"), layers.LSTM(UNITS, go_backwards=True)
    turned = layers.Bidirectional(back, backward_layer=ahead, name="turned")
    backward = layers.LSTM(3, go_backwards=True, name="narrow")
    uneven = layers.Bidirectional(layers.LSTM(UNITS, name="wide"), backward_layer=backward)
    model = keras.Model(given, [turned(given), uneven(given)])
    for suffix in SUFFIXES:
        found = reloaded(model, tmp_path / f"model{suffix}")
        ways = [(one.weights.direction, one.weights.hidden_size) for one in found]
        assert ways == [("reverse", 7), ("forward", 7), ("forward", 7), ("reverse", 3)]
        assert found[0].name == "turned/forward_layer"
        assert "do not make one LSTM of ours" in found[0].notes[0]


def test_every_step_of_a_saved_file(rng, tmp_path):
    """As the files of test_keras.py, written now."""
    model = stack_of(1, lambda layer: layer)
    randomise(model, rng)
    xs = draw(rng)
    twin = layers.LSTM(UNITS, return_state=True)
    twin.build(xs.shape)
    twin.set_weights(model.get_weights())
    states = [twin(xs[:, : t + 1])[1:] for t in range(STEPS)]
    h, c = (np.stack([numpy(pair[k]) for pair in states], 1)[None] for k in (0, 1))
    (one,) = reloaded(model, tmp_path / "model.keras")
    assert excess_along(one.weights, xs, h, c) <= 1
