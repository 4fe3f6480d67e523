"""Write the files of test_keras_models.py: models saved by Keras 3, and what it computes of a run.

    python make_keras_models.py DIRECTORY

Those here were made by Keras 3.15.1 on torch 2.13.0. Beside each .keras file is an .npz:

    xs   (T, ...)   frames, float32, or tokens, int64
    ys   (T, ...)   what the same weights give in float64 after each: where the model returns the
                    last step alone, of the sequence that ends there
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from keras import layers
from keras.src.backend.common import dtypes

STEPS = 8
RNG = np.random.default_rng(20261)


def speech():
    """Return what detects something in sound: convolutions, recurrent layers, scores."""
    return keras.Sequential(
        [
            keras.Input((None, 6)),
            layers.Conv1D(8, 3, padding="causal", name="near"),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(negative_slope=0.1, name="leaky"),
            layers.Conv1D(6, 2, padding="causal", dilation_rate=3, groups=2, name="far"),
            layers.Dropout(0.2, name="dropout"),
            layers.GRU(5, return_sequences=True, name="gru"),
            layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid", name="lstm"),
            layers.LayerNormalization(name="layer_norm"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )


def tokens():
    return keras.Sequential(
        [
            keras.Input((None,), name="tokens"),
            layers.Embedding(11, 4, name="table"),
            layers.GRU(5, reset_after=False, name="gru"),
            layers.Dense(2, activation="gelu", name="scores"),
        ]
    )


def frame():
    """Return a model without an axis of time."""
    return keras.Sequential(
        [
            keras.Input((6,), name="frame"),
            layers.Dense(8, activation="silu", name="wide"),
            layers.Reshape((2, 4), name="two"),
            layers.Dense(3, use_bias=False, name="narrow"),
            layers.Flatten(name="flat"),
        ]
    )


def nested():
    """Return a functional model with another in it."""
    given = keras.Input((None, 4), name="frames")
    inner = keras.Sequential(
        [
            keras.Input((None, 5)),
            layers.RNN(
                [layers.LSTMCell(3), layers.LSTMCell(4)], return_sequences=True, name="cells"
            ),
            layers.PReLU(shared_axes=[1], name="slopes"),
        ],
        name="inner",
    )
    dense = layers.TimeDistributed(layers.Dense(5, activation="tanh"), name="each")
    return keras.Model(given, layers.Dense(2, name="end")(inner(dense(given))))


def randomise(model):
    for weight in model.weights:
        value = RNG.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(value) + 0.25 if weight.name == "moving_variance" else value)


def exact(model, xs):
    """Return what it computes in float64, also where Keras would go on in float32."""
    text = model.to_json().replace('"float32"', '"float64"')
    with patch.object(dtypes, "BIT64_TO_BIT32_DTYPE", {}):
        twin = keras.models.model_from_json(text)
        twin.set_weights(model.get_weights())
        return keras.ops.convert_to_numpy(twin(xs, training=False))


def save(folder, model, name, xs):
    randomise(model)
    model.save(folder / f"{name}.keras")
    if name == "frame":
        ys = exact(model, xs)
    elif name == "tokens":
        ys = np.stack([exact(model, xs[None, : t + 1])[0] for t in range(len(xs))])
    else:
        ys = exact(model, xs[None])[0]
    np.savez_compressed(folder / f"{name}.npz", xs=xs, ys=ys)


def main():
    folder = Path(sys.argv[1])
    for make, width in ((speech, 6), (frame, 6), (nested, 4)):
        xs = RNG.normal(0, 1, (STEPS, width)).astype(np.float32)
        save(folder, make(), make.__name__, xs)
    save(folder, tokens(), "tokens", RNG.integers(0, 11, STEPS))


if __name__ == "__main__":
    main()
