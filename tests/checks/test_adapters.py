"""Every adapter: what is right passes, what can't be run says why."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from silero_path import silero_file
from wrong_targets import ONE_LAYER, WEIGHTS, Numpy

from lstm_fast import LSTM, checks, reference
from lstm_fast.bench import peers
from lstm_fast.bench.shapes import Shape
from lstm_fast.checks import Options, TargetError, adapters
from lstm_fast.checks.target import record

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "formats"
QUICK = Options(drift_steps=300, drift_seconds=60, samples=10, timing_seconds=0.2, runs=2)
LOGIC = ["agreement", "determinism", "reset", "isolation", "chunks", "nan", "drift"]


def passes(target, weights, only=LOGIC, skipped=()):
    with target:
        report = checks.run(target, weights, QUICK, only=only)
        assert report.passed, str(report)
        assert {one.name for one in report.results if one.status == "skipped"} == set(skipped)
    return report


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


# ---- programs ------------------------------------------------------------------------------------


def port(mode, **options):
    return adapters.from_command([sys.executable, str(HERE / "port.py"), mode], **options)


def test_command():
    report = passes(port("many"), WEIGHTS)
    assert "threads" in report["isolation"].text


def test_no_program_outlives_its_target():
    target = port("one")
    session = target.session()
    processes = [program._process for program in target._programs]
    assert processes[0].poll() is None
    del target, session
    gc.collect()
    assert processes[0].poll() is not None


def test_a_command_of_one_session_is_started_for_each():
    with port("one") as target:
        first, second = target.session(), target.session()
        x = np.ones(5, np.float32)
        once = first.step(x)
        assert first.step(x).tobytes() != once.tobytes()
        assert second.step(x).tobytes() == once.tobytes()
        second.close()
        assert target.session().step(x).tobytes() == once.tobytes()  # reset, in the same program
        assert len(target._programs) == 2


def test_a_command_with_a_wrong_reset_is_caught():
    with port("forgets_c") as target:
        report = checks.run(target, WEIGHTS, QUICK, only=["reset", "agreement"])
        assert report["agreement"].failed
        with pytest.raises(AssertionError):
            exec(report["agreement"].reproduction, {})  # starts the program by itself


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("dies", "exit status 3 instead of answering 'step'; it said: assertion failed: n > 0"),
        ("silent", "did not answer 'step' within 0.5 s"),
        ("nonsense", "answered 'step' with 'loading model...', expected a JSON object"),
        ("list", "expected a JSON object"),
        ("error", "answered 'step' with an error: out of memory"),
        ("short", r"shape \(3,\), expected \(8\)"),
        ("words", "holds 'many', expected numbers"),
        ("no_y", "y is missing in the answer, which has h, c"),
    ],
)
def test_a_command_that_misbehaves_is_told(mode, says):
    with port(mode, timeout=0.5 if mode == "silent" else 10) as target:
        with pytest.raises(TargetError, match=says):
            record(target, np.zeros((20, 5)))
        processes = [program._process for program in target._programs]
    assert all(process.poll() is not None for process in processes)  # none is left


def test_a_command_that_cannot_start_is_told():
    with pytest.raises(TargetError, match="can't start /does/not/exist: No such file"):
        adapters.from_command("/does/not/exist --fast")
    with pytest.raises(TargetError, match="input_size None, expected a whole number"):
        port("no_info")
    with pytest.raises(TargetError, match="ended with exit status 0 instead of answering 'info'"):
        adapters.from_command([sys.executable, "-c", ""])
    with pytest.raises(TargetError, match="empty"):
        adapters.from_command("")


# ---- onnxruntime ---------------------------------------------------------------------------------


def stepping_model(lstm, rows=1):
    """A model of one step with the state as inputs and outputs, as bytes."""
    pytest.importorskip("onnx")
    shape = Shape("test", lstm.input_size, lstm.hidden_size, lstm.num_layers)
    return peers._onnx_model(shape, lstm.state_dict(), rows)


@pytest.fixture
def ort():
    return pytest.importorskip("onnxruntime")


def test_onnx_with_states(ort):
    lstm = LSTM.random(6, 9)
    target = adapters.from_onnx(stepping_model(lstm))
    passes(target, lstm, skipped=["chunks"])
    assert target.signature.states == {"h0_in": "h0", "c0_in": "c0"}
    assert checks.agreement(target, LSTM.random(6, 9, seed=1)).failed


def test_onnx_with_several_layers_is_judged_by_its_output(ort):
    lstm = LSTM.random(6, 9, 2)
    target = adapters.from_onnx(stepping_model(lstm), y="h1")
    passes(target, lstm, skipped=["chunks"])


@pytest.mark.parametrize("name", ["dynamo_stack", "torchscript_stack", "torchscript_trained_state"])
def test_onnx_of_whole_sequences(ort, name):
    path = GOLDEN / "onnx" / f"{name}.onnx"
    target = adapters.from_onnx(path)
    only = ["agreement", "reset", "isolation", "nan"]
    passes(target, path, only)
    expected = np.load(path.with_suffix(".npz"))
    found = record(target, expected["x"][0])
    np.testing.assert_allclose(found.ys, expected["y"][0], atol=1e-6)
    np.testing.assert_allclose(found.cs, expected["c"][:, :, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dynamo_fixed_sizes", "2 rows or steps fixed"),
        ("dynamo_external_data", "6 rows or steps fixed"),
        ("torchscript_both", "is it bidirectional"),
    ],
)
def test_onnx_that_cannot_be_stepped_is_told(ort, name, says):
    with pytest.raises(TargetError, match=says):
        adapters.from_onnx(GOLDEN / "onnx" / f"{name}.onnx")


def test_onnx_names_that_are_wrong_are_told(ort):
    model = stepping_model(LSTM.random(6, 9))
    with pytest.raises(TargetError, match=r"x: there is no 'input' in the model: 'X' \[1, 1, 6\]"):
        adapters.from_onnx(model, x="input")
    with pytest.raises(TargetError, match="can't load"):
        adapters.from_onnx(b"nonsense")


def test_quantisation_over_a_batch_is_caught(ort, tmp_path):
    """onnxruntime's dynamic quantisation takes one scale for all rows of a batch."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = GOLDEN / "onnx" / "torchscript_stack.onnx"
    path = tmp_path / "quantised.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_dynamic(source, path, op_types_to_quantize=["LSTM"])
    target = adapters.from_onnx(path, origin=None)
    batch = target.batch(2)
    xs = np.ones((2, 5), np.float32)
    rows = []
    for scale in (1, 50):
        batch.reset()
        rows.append(np.array(batch.step(xs * np.float32([[1], [scale]])))[0])
    if rows[0].tobytes() == rows[1].tobytes():
        pytest.skip(f"onnxruntime {ort.__version__} no longer scales over the batch")
    result = checks.isolation(target)
    assert result.failed
    assert "in a batch of 2, a row depends on what the others hold" in result.text
    with pytest.raises(AssertionError):
        exec(result.reproduction, {"target": target})
    exec(result.reproduction, {"target": adapters.from_onnx(source)})  # in float32 it passes


def test_silero(ort):
    path = silero_file()
    target = adapters.from_onnx(path, constants={"sr": np.array(16000)}, frame_shape=(576,))
    passes(target, None, ["reset", "determinism", "isolation", "nan"])
    assert target.signature.h_and_c == ("stateN",)
    recording = record(target, np.zeros((2, 576)))
    assert recording.hs.shape == recording.cs.shape == (2, 1, 128)
    with pytest.raises(TargetError, match="constants"):
        adapters.from_onnx(path, frame_shape=(576,))


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
