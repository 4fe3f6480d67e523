"""Write the files of test_keras.py: models saved by Keras, with what Keras computes beside them.

    python make_keras.py DIRECTORY        in an environment with Keras 3 or with TensorFlow 2.15

Those here were made by Keras 3.15.1 on torch 2.13.0 (keras3_*) and by Keras 2.15.0 on TensorFlow
2.15.1 (keras2_*). Beside the files of a model is an .npz with three arrays for each LSTM of it, by
its name:

    NAME/xs     (N, T, I)      what it got
    NAME/h, c   (L*D, N, T, H) its states after each step, each at its own step

The states are Keras's own: an LSTM layer with the same weights is run over the first 1, 2, ... T
steps, or the last ones where it goes backwards.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

MAJOR = int(keras.__version__.split(".")[0])
ROWS, STEPS, INPUTS = 2, 5, 3
RNG = np.random.default_rng(20240)


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor) if MAJOR > 2 else np.asarray(tensor)


def randomise(layer):
    """Give it weights that are different in every gate, forget biases included."""
    layer.set_weights([RNG.normal(0, 0.6, w.shape).astype(w.dtype) for w in layer.get_weights()])


def single(cell, backwards):
    """Return a layer that computes what a cell does, and puts out its states."""
    names = ("units", "activation", "recurrent_activation", "use_bias")
    config = cell.get_config()
    options = {name: config[name] for name in names}
    options.update(return_sequences=True, return_state=True, go_backwards=backwards)
    layer = layers.LSTM(**options)
    layer(np.zeros((1, 1, cell.get_weights()[0].shape[0]), np.float32))
    layer.set_weights(cell.get_weights())
    return layer


def cells_of(layer):
    """Return the cells of a recurrent layer from the bottom up."""
    if isinstance(layer, layers.LSTM):
        return [layer.cell]
    return getattr(layer.cell, "cells", [layer.cell])


def states(cell, backwards, xs):
    """Return h and c after each step, (N, T, H), at their own steps."""
    layer, h, c = single(cell, backwards), [], []
    for t in range(xs.shape[1]):
        piece = xs[:, t:] if backwards else xs[:, : t + 1]
        _, h_t, c_t = (numpy(part) for part in layer(piece))
        h.append(h_t)
        c.append(c_t)
    return np.stack(h, 1), np.stack(c, 1)


def record(stack, xs, backwards=False):
    """Return the arrays of one LSTM: the recurrent layers it is made of, from the bottom up."""
    found, below = {"xs": xs, "h": [], "c": []}, xs
    for layer in stack:
        if isinstance(layer, layers.Bidirectional):
            pairs = [(layer.forward_layer.cell, False), (layer.backward_layer.cell, True)]
            both = [states(cell, way, below) for cell, way in pairs]
            below = np.concatenate([h for h, _ in both], axis=-1)
        else:
            both = []
            for cell in cells_of(layer):
                both.append(states(cell, backwards, below))
                below = both[-1][0]
        found["h"] += [h for h, _ in both]
        found["c"] += [c for _, c in both]
    return {"xs": xs, "h": np.stack(found["h"]), "c": np.stack(found["c"])}, below


def frames(inputs=INPUTS):
    return RNG.normal(0, 1, (ROWS, STEPS, inputs)).astype(np.float32)


def save(folder, stem, suffixes, model, arrays):
    """Save a model in several ways, and its arrays beside them."""
    for suffix in suffixes:
        path = folder / f"keras{MAJOR}_{stem}{suffix}"
        (model.save_weights if "weights" in path.name else model.save)(path)
        print(path.name, path.stat().st_size)
    np.savez_compressed(
        folder / f"keras{MAJOR}_{stem}.npz",
        **{f"{name}/{kind}": v for name, one in arrays.items() for kind, v in one.items()},
    )


def side_by_side(many, names):
    """Return a model with layers beside each other, and their arrays."""
    given = keras.Input((None, INPUTS))
    model = keras.Model(given, [layer(given) for layer in many])
    randomise(model)
    xs, arrays = frames(), {}
    for layer, name, output in zip(many, names, model.predict_on_batch(xs), strict=True):
        backwards = getattr(layer, "go_backwards", False)
        arrays[name], ys = record([layer], xs, backwards)
        expected = ys[:, ::-1] if backwards else ys
        if not isinstance(layer, layers.Bidirectional) and not layer.return_sequences:
            expected = expected[:, -1]
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    return model, arrays


def activations(folder):
    for part, pairs in {
        "activations": [
            ("relu", "sigmoid"),
            ("tanh", "hard_sigmoid"),
            ("softsign", "softplus"),
            ("leaky_relu", "sigmoid"),
        ],
        "more_activations": [
            ("elu", "hard_sigmoid"),
            ("linear", "tanh"),
            ("softplus", "softsign"),
            ("hard_sigmoid", "relu"),
        ],
    }.items():
        named = [f"{main}_{gate}" for main, gate in pairs]
        many = [
            layers.LSTM(4, activation=main, recurrent_activation=gate, name=f"{main}_{gate}")
            for main, gate in pairs
        ]
        model, arrays = side_by_side(many, named)
        save(folder, part, (".keras", ".h5"), model, arrays)


def variants(folder):
    cells = [layers.LSTMCell(4, activation="relu", name="bottom"), layers.LSTMCell(4, name="top")]
    many = [
        layers.LSTM(4, name="plain", unit_forget_bias=True),
        layers.LSTM(4, name="no_bias", use_bias=False, return_sequences=True),
        layers.LSTM(4, name="backwards", go_backwards=True, return_sequences=True),
        layers.RNN(layers.LSTMCell(4, name="own"), name="one_cell", return_sequences=True),
        layers.RNN(cells, name="cells", return_sequences=True),
    ]
    model, arrays = side_by_side(many, [layer.name for layer in many])
    save(folder, "variants", (".keras", ".h5"), model, arrays)


def stacks(folder):
    """Save stacks in a model in a model: LSTMs with a Dropout between, and Bidirectionals."""
    low, high = layers.LSTM(4, return_sequences=True, name="low"), layers.LSTM(4, name="high")
    inner = keras.Sequential([keras.Input((None, INPUTS)), low, layers.Dropout(0.5), high])
    stack(folder, "stacks", inner, [low, high])
    low, high = (
        layers.Bidirectional(layers.LSTM(4, return_sequences=True), name=name)
        for name in ("low", "high")
    )
    given = keras.Input((None, INPUTS))
    stack(folder, "wide_stacks", keras.Model(given, high(low(given))), [low, high])


def stack(folder, stem, inner, stacked):
    given = keras.Input((None, INPUTS))
    model = keras.Model(given, inner(given))
    randomise(model)
    xs = frames()
    arrays, ys = record(stacked, xs)
    output = model.predict_on_batch(xs)
    expected = ys if output.ndim == 3 else ys[:, -1]
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    save(folder, stem, (".keras", ".h5"), model, {f"{inner.name}/low+high": arrays})


def weights_alone(folder):
    layer = layers.LSTM(4, name="own_name", return_sequences=True)
    wide = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="wide")
    model, arrays = side_by_side([layer, wide], ["own_name", "wide"])
    suffixes = (".weights.h5",) if MAJOR == 3 else (".weights.h5", "_weights.h5")
    save(folder, "alone", suffixes, model, arrays)


def cudnn(folder):
    """Save a CuDNNLSTM, which takes a GPU to run; Keras itself makes an LSTM of its weights."""
    import tensorflow as tf

    special = tf.compat.v1.keras.layers.CuDNNLSTM(4, name="same")
    model = keras.Sequential([keras.Input((None, INPUTS)), special])
    randomise(model)
    twin = layers.LSTM(4, name="same")
    other = keras.Sequential([keras.Input((None, INPUTS)), twin])
    path = folder / "weights_of_cudnn.h5"
    model.save_weights(path)
    other.load_weights(path)
    path.unlink()
    save(folder, "cudnn", (".h5",), model, {"same": record([twin], frames())[0]})


def main():
    folder = Path(sys.argv[1])
    activations(folder)
    variants(folder)
    stacks(folder)
    weights_alone(folder)
    if MAJOR == 2:
        cudnn(folder)


if __name__ == "__main__":
    main()
