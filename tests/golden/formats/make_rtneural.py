"""Writes rtneural/* with the exporters of RTNeural, AIDA-X and CoreAudioML, and what they compute.

    python make_rtneural.py RTNEURAL TRAINER FOLDER

RTNEURAL is a checkout of jatinchowdhury18/RTNeural (1fb1f07), TRAINER one of
AidaDSP/Automated-GuitarAmpModelling (000702a), FOLDER holds one of Alec-Wright/CoreAudioML
(bad9469 or newer) under that name. Ran with Keras 3.15.1 on PyTorch 2.13.0, whose arrays the
exporters write, and RTNeural compiled by g++ with its STL backend. Beside each lies an .npz:

    x (T, I) frames; y (T, O) what RTNeural computes of them, or PyTorch for CoreAudioML's nets
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import types
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers

HERE = Path(__file__).resolve().parent / "rtneural"
sys.path.insert(0, str(HERE.parents[2] / "formats"))
import rtneural_runs  # noqa: E402

STEPS = 24
RNG = np.random.default_rng(7)


def exporter(path: Path) -> types.ModuleType:
    """Return a model_utils.py, which asks for Keras of TensorFlow 2 and facts that 3 keeps else."""
    fake = types.ModuleType("tensorflow")
    fake.keras = keras
    sys.modules["tensorflow"] = fake
    layers.Layer.input_shape = property(lambda layer: layer.input.shape)
    layers.Layer.output_shape = property(lambda layer: layer.output.shape)
    spec = importlib.util.spec_from_file_location("model_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomise(model):
    for weight in model.weights:
        value = RNG.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(value) + 0.25 if weight.name == "moving_variance" else value)
    return model


def chain():
    """Return one layer of each kind, after each other."""
    return keras.Sequential(
        [
            keras.Input((None, 2)),
            layers.TimeDistributed(layers.Dense(4, activation="tanh")),
            layers.Conv1D(6, 3, padding="causal", dilation_rate=2, groups=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv1D(4, 2, padding="causal"),
            layers.PReLU(shared_axes=[1]),
            layers.GRU(3, return_sequences=True),
            layers.Dense(3, activation="elu"),
            layers.Activation("sigmoid"),
            layers.BatchNormalization(scale=False, center=False, epsilon=0.5),
            layers.Dense(3, activation="softmax", use_bias=False),
        ]
    )


def stack():
    return keras.Sequential(
        [
            keras.Input((None, 2)),
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(4, return_sequences=True),
            layers.Dense(2),
        ]
    )


def amp(kind):
    cell = layers.LSTM if kind == "lstm" else layers.GRU
    return keras.Sequential(
        [keras.Input((None, 1)), cell(4, return_sequences=True), layers.Dense(1)]
    )


def compact(path: Path, **more) -> None:
    """Write it again on one line, with what a player reads besides."""
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def gain(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))


def keras_models(rtneural: Path, trainer: Path, program: Path) -> None:
    own, aida = exporter(rtneural / "python/model_utils.py"), exporter(trainer / "model_utils.py")
    for make in (chain, stack):
        path = HERE / f"{make.__name__}.json"
        own.save_model(randomise(make()), path)
        compact(path)
        x = RNG.normal(0, 1, (STEPS, 2)).astype(np.float32)
        np.savez_compressed(path.with_suffix(".npz"), x=x, y=rtneural_runs.run(program, path, x))
    for kind, gains in (("lstm", {"in_gain": -3.0, "out_gain": 2.5}), ("gru", {})):
        path = HERE / f"amp_{kind}.aidax"
        facts = {"name": kind, "samplerate": "48000"}
        batch = [0.25, -0.5]
        skip = int(kind == "lstm")
        model = randomise(amp(kind))
        aida.save_model(model, path, skip=skip, input_batch=batch, output_batch=batch,
                        metadata=facts, verbose=False)  # fmt: skip
        compact(path, **gains)
        x = RNG.normal(0, 1, (STEPS, 1)).astype(np.float32)
        scaled = x * gain(gains.get("in_gain", 0))  # as AIDA-X's applyModel does around RTNeural
        y = rtneural_runs.run(program, path, scaled) + skip * scaled
        y *= gain(gains.get("out_gain", 0))
        np.savez_compressed(HERE / f"amp_{kind}.npz", x=x, y=y)


def torch_nets() -> None:
    from CoreAudioML import networks

    torch.manual_seed(3)
    first = {"block_type": "LSTM", "input_size": 2, "hidden_size": 3, "output_size": 2, "skip": 2}
    second = {"block_type": "GRU", "input_size": 2, "hidden_size": 3, "output_size": 1, "skip": 0}
    recnet = networks.RecNet([first, second | {"lin_bias": True}], skip=1)
    recnet.save_state = True
    nets = {
        "proteus": networks.SimpleRNN(hidden_size=5),
        "knob_gru": networks.SimpleRNN(2, 1, "GRU", 4, skip=1, bias_fl=False),
        "elman": networks.SimpleRNN(1, 1, "RNN", 4, skip=0, num_layers=2),
        "recnet": recnet,
    }
    for name, net in nets.items():
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
            width = 2 if name in ("knob_gru", "recnet") else 1
            x = torch.randn(STEPS, 1, width)
            y = net(x)[:, 0].numpy()
        net.save_model(name, str(HERE))
        path = HERE / f"{name}.json"
        if name == "recnet":  # save_model writes 0 there, whatever it is
            content = json.loads(path.read_text())
            content["model_data"]["skip"] = net.skip
            content.pop("training_info")
            path.write_text(json.dumps(content))
        np.savez_compressed(HERE / f"{name}.npz", x=x[:, 0].numpy(), y=y)


def main() -> None:
    rtneural, trainer, folder = map(Path, sys.argv[1:])
    sys.path.insert(0, str(folder))
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        program = rtneural_runs.compiled(rtneural, Path(name))
        keras_models(rtneural, trainer, program)
    torch_nets()


if __name__ == "__main__":
    main()
