"""Functions, torch and Keras as targets: what is right passes, what can't be run says why."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import warnings

import numpy as np
import pytest
from passing import QUICK, passes
from wrong_targets import ONE_LAYER, WEIGHTS, Numpy

from lstm_fast import LSTM, checks, reference
from lstm_fast.checks import TargetError, adapters
from lstm_fast.checks.target import record

# ---- functions -----------------------------------------------------------------------------------


def numpy_step(x, h, c):
    layers = [(x, 0), (None, 1)]
    for given, n in layers:
        layer = WEIGHTS.layers[n]
        below = h[n - 1] if given is None else given
        h[n], c[n] = reference.cell(
            below, h[n], c[n], layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh
        )
    return h[-1].copy(), h, c


def test_function():
    target = adapters.from_function(numpy_step, 5, 8, num_layers=2)
    passes(target, WEIGHTS, skipped=["chunks"])
    assert target.name == "numpy_step"


def test_a_function_starts_from_a_trained_state():
    rng = np.random.default_rng(0)
    h, c = rng.random((2, 8), np.float32), rng.random((2, 8), np.float32)
    state = LSTM.from_weights(WEIGHTS).state_dict()
    for n in range(2):
        state |= {f"h_0_l{n}": h[n], f"c_0_l{n}": c[n]}
    trained = LSTM.from_state_dict(state)
    target = adapters.from_function(numpy_step, 5, 8, num_layers=2, initial=(h, c))
    assert checks.agreement(target, trained).status == "passed"
    assert checks.agreement(target, WEIGHTS).failed


def test_a_function_that_returns_something_else_is_told():
    for wrong, says in (
        (lambda x, h, c: h, "expected a tuple"),
        (lambda x, h, c: (h, h, c[0, :2]), "as c, returned shape"),
    ):
        with pytest.raises(TargetError, match=says):
            record(adapters.from_function(wrong, 5, 8), np.zeros((1, 5)))


C_SOURCE = """
#include <math.h>
#include <string.h>
enum { I = 5, H = 8 };
extern const float w_ih[4 * H][I], w_hh[4 * H][H], b[4 * H];
static float s(float a) { return 1 / (1 + expf(-a)); }
void lstm_step(const float *x, float *h, float *c, float *y)
{
    float a[4 * H];
    for (int r = 0; r < 4 * H; r++) {
        a[r] = b[r];
        for (int k = 0; k < I; k++) a[r] += w_ih[r][k] * x[k];
        for (int k = 0; k < H; k++) a[r] += w_hh[r][k] * h[k];
    }
    for (int j = 0; j < H; j++) {
        c[j] = s(a[H + j]) * c[j] + s(a[j]) * tanhf(a[2 * H + j]);
        h[j] = s(a[3 * H + j]) * tanhf(c[j]);
    }
    memcpy(y, h, H * sizeof *y);
}
void beyond(const float *x, float *h, float *c, float *y) { lstm_step(x, h, c, y); h[H] = 1; }
void into_x(const float *x, float *h, float *c, float *y)
{
    lstm_step(x, h, c, y);
    *(float *)x = 1;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A step in C with the weights of ONE_LAYER."""
    folder = tmp_path_factory.mktemp("c")
    layer = ONE_LAYER.layers[0]

    def array(name, values):
        text = ", ".join(float(v).hex() for v in values.ravel())
        sizes = {"w_ih": "[4 * H][I]", "w_hh": "[4 * H][H]", "b": "[4 * H]"}[name]
        return f"const float {name}{sizes} = {{{text}}};\n"

    weights = {"w_ih": layer.weight_ih, "w_hh": layer.weight_hh, "b": layer.bias}
    source = C_SOURCE + "".join(array(name, values) for name, values in weights.items())
    (folder / "step.c").write_text(source)
    command = ["cc", "-O1", "-shared", "-fPIC", "step.c", "-o", "step.so", "-lm", "-w"]
    try:
        subprocess.run(command, cwd=folder, check=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler")
    return ctypes.CDLL(str(folder / "step.so"))


def test_c_function(library):
    passes(adapters.from_c(library.lstm_step, 5, 8), ONE_LAYER, skipped=["chunks"])


def test_c_function_by_address_and_by_cffi(library):
    address = ctypes.cast(library.lstm_step, ctypes.c_void_p).value
    pointer = pytest.importorskip("cffi").FFI().cast("void (*)(void)", address)
    xs = np.ones((3, 5), np.float32)
    outputs = [
        record(adapters.from_c(f, 5, 8), xs).ys for f in (library.lstm_step, address, pointer)
    ]
    assert outputs[0].tobytes() == outputs[1].tobytes() == outputs[2].tobytes()
    for nothing in (0, None, "step"):
        with pytest.raises(TypeError):
            adapters.from_c(nothing, 5, 8)


def test_c_function_that_writes_where_it_must_not_is_told(library):
    with pytest.raises(TargetError, match="outside of h, which has 8 floats"):
        record(adapters.from_c(library.beyond, 5, 8), np.ones((1, 5)))
    with pytest.raises(TargetError, match="wrote into x"):
        record(adapters.from_c(library.into_x, 5, 8), np.zeros((1, 5)))


# ---- torch and Keras -----------------------------------------------------------------------------


def one_thread():
    """torch, in one thread: where tests run beside others, its threads wait for each other."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"proj_size": 4}, {"bias": False}])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torch_lstm(options, batch_first):
    torch = one_thread()
    module = torch.nn.LSTM(5, 7, batch_first=batch_first, **options)
    report = passes(adapters.from_torch(module), module)
    assert report["agreement"].numbers["judged_by"] == "state"
    assert checks.agreement(adapters.from_torch(module), torch.nn.LSTM(5, 7, **options)).failed


def test_torch_cell_and_callables():
    torch = one_thread()
    cell = torch.nn.LSTMCell(5, 7)
    passes(adapters.from_torch(cell), cell, skipped=["chunks"])

    def model(x, state):
        h, c = cell(x, state)
        return 2 * h, (h, c)

    target = adapters.from_torch(model, 5, frames="step")
    passes(target, cell, ["reset", "isolation", "nan"])
    with pytest.raises(ValueError, match="input_size="):
        adapters.from_torch(model)
    with pytest.raises(ValueError, match="frames is one of"):
        adapters.from_torch(model, 5, frames="time")
    with pytest.raises(TargetError, match="bidirectional"):
        adapters.from_torch(torch.nn.LSTM(5, 7, bidirectional=True))


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    one_thread()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras")


def keras_weights(layers):
    """The state dict of Keras LSTM layers, whose gates are i, f, g, o, too."""
    state = {}
    for n, layer in enumerate(layers):
        kernel, recurrent, bias = layer.get_weights()
        state |= {f"weight_ih_l{n}": kernel.T, f"weight_hh_l{n}": recurrent.T}
        state |= {f"bias_ih_l{n}": bias, f"bias_hh_l{n}": 0 * bias}
    return state


@pytest.mark.filterwarnings("ignore")
def test_keras_layer(keras):
    layer = keras.layers.LSTM(7, stateful=True)
    layer.build((1, 1, 5))
    target = adapters.from_keras(layer)
    passes(target, keras_weights([layer]), ["agreement", "reset", "isolation"])
    assert record(target, np.zeros((2, 5))).has_state


@pytest.mark.filterwarnings("ignore")
def test_keras_model(keras):
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(1, 1, 5)),
            keras.layers.LSTM(6, stateful=True, return_sequences=True),
            keras.layers.LSTM(6, stateful=True),
        ]
    )
    target = adapters.from_keras(model)
    passes(target, keras_weights(model.layers), ["agreement", "reset", "isolation"])
    plain = keras.Sequential([keras.Input((1, 5)), keras.layers.LSTM(6)])
    with pytest.raises(TargetError, match="stateful=True"):
        adapters.from_keras(plain)


def test_a_missing_library_is_named(monkeypatch):
    for name, make in (
        ("onnxruntime", lambda: adapters.from_onnx(b"")),
        ("torch", lambda: adapters.from_torch(object(), 5)),
        ("keras", lambda: adapters.from_keras(object(), 5)),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(TargetError, match=f"pip install {name}"):
            make()


def test_sessions_are_closed():
    closed = []

    class Closing(Numpy):
        def session(self):
            session = super().session()
            session.close = lambda: closed.append(session)
            return session

    target = Closing()
    checks.run(target, WEIGHTS, QUICK, only=["reset", "isolation", "agreement", "nan"])
    before = len(closed)
    record(target, np.zeros((1, 5)))
    assert len(closed) == before + 1 > 20


@pytest.mark.parametrize("batch_first", [False, True])
def test_torch_lstm_with_a_layer_before_it(batch_first):
    """How frames lie is asked of the LSTM inside."""
    torch = one_thread()

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.before = torch.nn.Linear(5, 6)
            self.lstm = torch.nn.LSTM(6, 7, batch_first=batch_first)

        def forward(self, x, state):
            return self.lstm(self.before(x), state)

    target = adapters.from_torch(Model(), 5)
    assert target.frames == ("batch_first" if batch_first else "sequence")
    report = checks.run(target, None, QUICK, only=["chunks", "isolation", "reset"])
    assert report.passed, report
    other = "sequence" if batch_first else "batch_first"
    with pytest.raises(ValueError, match=r"takes 6 values .* computes something before its LSTM"):
        checks.run(target, target.module.lstm, QUICK)

    class Turned(Model):
        def forward(self, x, state):
            y, state = super().forward(x.transpose(0, 1), state)
            return y.transpose(0, 1), state

    # A wrong guess is a failure that says what to write.
    (result,) = checks.run(adapters.from_torch(Turned(), 5), None, QUICK, only=["chunks"]).results
    assert result.failed
    assert f'from_torch(module, frames="{other}")' in result.text
    said = adapters.from_torch(Turned(), 5, frames=other)
    assert checks.run(said, None, QUICK, only=["chunks", "isolation"]).passed
