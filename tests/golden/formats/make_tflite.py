"""Write the files of tests/golden/formats/tflite, and beside each what TensorFlow computes with it.

    python tests/golden/formats/make_tflite.py        # where TensorFlow is installed

Those named keras_* are written by TensorFlow's converter. The others hold what it never writes
(coupled gates, peepholes, projection, layer normalisation, LSTM's basic kernel): they are built
with the object API of TensorFlow's own schema. All of the numbers are the interpreter's: `ys`, and
each operator's state after every step, which it keeps in variable tensors.

Made with TensorFlow 2.15.1 (Keras 2.15.0), Python 3.11, x86-64.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "formats"))

import tflite_models as models  # noqa: E402

STEPS, INPUTS, UNITS = 9, 5, 7
STATES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": [(18, 19)],
    "BIDIRECTIONAL_SEQUENCE_LSTM": [(35, 36), (37, 38)],
}


def run(data: bytes, xs: np.ndarray, time_major: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a fresh interpreter's outputs, and h and c of each operator after the last step."""
    interpreter = tf.lite.Interpreter(
        model_content=data,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    place = interpreter.get_input_details()[0]["index"]
    frames = xs[:, None] if time_major else xs[None]
    interpreter.resize_tensor_input(place, frames.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, frames)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    ys = np.concatenate(outputs, axis=-1)
    states = [
        interpreter.get_tensor(operator["inputs"][place])[0]
        for operator in interpreter._get_ops_details()
        for pair in STATES.get(operator["op_name"], [])
        for place in pair
    ]
    return (ys[:, 0] if time_major else ys[0]), states


def write(
    name: str, data: bytes, xs: np.ndarray, backward=(), order=None, keep=None, time_major=False
) -> None:
    """Write a model and what it computes.

    backward: which of the layers, by the order of operators, run from the end to the start, so that
    their state at a step is that after the frames from there on. order: of our layers. keep: of how
    many of them to keep the state: what runs upon a bidirectional layer has other inputs where the
    sequence is cut.
    """
    ys, states = run(data, xs, time_major)
    layers = range(len(states) // 2)
    forward = [run(data, xs[: t + 1], time_major)[1] for t in range(len(xs))]
    reverse = [run(data, xs[t:], time_major)[1] for t in range(len(xs))] if backward else forward
    results = {"xs": xs, "ys": ys}
    for ours, theirs in enumerate((order or layers)[:keep]):
        along = reverse if theirs in backward else forward
        for place, part in enumerate("hc"):
            results[f"{part}_{ours}"] = np.stack([s[2 * theirs + place] for s in along])
    folder = HERE / "tflite"
    (folder / f"{name}.tflite").write_bytes(data)
    np.savez_compressed(folder / f"{name}.npz", **results)
    print(f"{name}: {len(data)} bytes, ys {ys.shape}")


def converted(*layers, inputs=INPUTS, quantise=False) -> bytes:
    """Return Keras layers as TensorFlow's converter writes them, with biases drawn at random."""
    model = tf.keras.Sequential([tf.keras.Input((None, inputs)), *layers])
    rng = np.random.default_rng(3)
    model.set_weights([w + rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    function = tf.function(model.call).get_concrete_function(
        tf.TensorSpec([1, STEPS, inputs], tf.float32)
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if quantise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def keras_files() -> None:
    tf.keras.utils.set_random_seed(1)
    lstm, both = tf.keras.layers.LSTM, tf.keras.layers.Bidirectional
    rng = np.random.default_rng(1)
    xs = rng.normal(size=(STEPS, INPUTS)).astype(np.float32)

    def layer(units=UNITS, **options):
        return lstm(units, return_sequences=True, **options)

    write("keras_plain", converted(layer()), xs)
    write("keras_stack", converted(layer(), layer(), layer()), xs)
    # The converter writes the backward half first.
    write(
        "keras_bidirectional",
        converted(both(layer()), both(layer())),
        xs,
        order=[1, 0, 3, 2],
        keep=2,
        backward=(0, 2),
    )
    wide = rng.normal(size=(STEPS, 32)).astype(np.float32)
    write("keras_hybrid", converted(layer(32), inputs=32, quantise=True), wide)
    data = converted(layer(activation="relu"))
    (HERE / "tflite" / "keras_relu_while.tflite").write_bytes(data)


def built_files() -> None:
    rng = np.random.default_rng(2)
    xs = rng.normal(size=(STEPS, INPUTS)).astype(np.float32)
    variants = {
        "cifg_peephole": {"cifg": True, "peephole": True},
        "projection": {"outputs": 4, "bias": True},
        "layer_norm": {"norm": True, "peephole": True, "outputs": 6},
        "cifg_layer_norm": {"norm": True, "cifg": True},
    }
    options = {
        "cifg_peephole": {"cell_clip": 0.75},
        "projection": {"proj_clip": 0.8, "activation": "RELU"},
        "layer_norm": {"cell_clip": 1.0, "proj_clip": 0.5},
        "cifg_layer_norm": {"time_major": True},
    }
    for name, variant in variants.items():
        parts = models.random_parts(rng, INPUTS, UNITS, **variant)
        data = models.one_lstm(schema, parts, steps=STEPS, **options[name])
        write(name, data, xs, time_major=options[name].get("time_major", False))
    parts = [models.random_parts(rng, INPUTS, UNITS, peephole=True) for _ in range(2)]
    for name, merge in (("bidirectional", True), ("bidirectional_apart", False)):
        data = models.bidirectional(schema, parts, steps=STEPS, merge=merge)
        write(name, data, xs, backward=(1,))
    write_basic(rng, xs)


def write_basic(rng, xs: np.ndarray) -> None:
    """LSTM's basic kernel takes one step, with its state as an input and an output."""
    data = models.basic_lstm(schema, rng, INPUTS, UNITS)
    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    inputs = [d["index"] for d in interpreter.get_input_details()]
    outputs = [d["index"] for d in interpreter.get_output_details()]
    h = c = np.zeros((1, UNITS), np.float32)
    hs, cs = [], []
    for x in xs:
        for place, value in zip(inputs, (x[None], h, c), strict=True):
            interpreter.set_tensor(place, value)
        interpreter.invoke()
        h, c = (interpreter.get_tensor(place) for place in outputs)
        hs.append(h[0])
        cs.append(c[0])
    (HERE / "tflite" / "basic.tflite").write_bytes(data)
    np.savez_compressed(
        HERE / "tflite" / "basic.npz", xs=xs, ys=np.stack(hs), h_0=np.stack(hs), c_0=np.stack(cs)
    )
    print(f"basic: {len(data)} bytes")


if __name__ == "__main__":
    print(f"TensorFlow {tf.__version__}")
    keras_files()
    built_files()
