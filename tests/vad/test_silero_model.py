"""`lstm_fast.vad.silero`: each of its files, step by step beside onnxruntime; and its errors."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
from silero_cases import FILES, distances, onnxruntime_trace, silero_file, speech, version_4

import lstm_fast
from cases import bits
from lstm_fast import FormatError, Model, available, vad
from lstm_fast.program import Output
from lstm_fast.vad import _silero as module
from tolerances import SILERO_FLOAT16, SILERO_INT8, SILERO_PROBABILITY, SILERO_STATE

BACKENDS = [None, "reference"]
EACH = [(name, rate) for name, rates in FILES.items() for rate in rates]
STEPS = 60


@pytest.fixture
def version_4_file(tmp_path):
    path = tmp_path / "v4.onnx"
    path.write_bytes(version_4().SerializeToString())
    return path


def measured(path, rate, stream, context):
    chunks = speech(STEPS, vad.CHUNKS[rate])
    return distances(stream, onnxruntime_trace(path, chunks, rate, context), chunks)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "rate"), EACH)
def test_every_file_is_what_onnxruntime_makes_of_it(name, rate, backend):
    """Within what tolerances.py promises users of Silero: an error analysis of its front end in
    the worst case allows all of 0 to 1, so that can be no test."""
    path, size = silero_file(name), vad.CHUNKS[rate]
    model = vad.silero(path, sampling_rate=rate, backend=backend)
    assert {name: one.shape for name, one in model.inputs.items()} == {"input": (size,)}
    assert {name: one.shape for name, one in model.outputs.items()} == {"output": (1,)}
    assert model.states["input.history"].shape == (size // 8,)
    worst = measured(path, rate, model.stream(), size // 8)
    assert worst[0] <= SILERO_PROBABILITY
    assert worst[1] <= SILERO_STATE


@pytest.mark.parametrize("rate", vad.CHUNKS)
def test_without_its_context_it_is_another(rate):
    """Negative control: the mistake that ports of this model really make."""
    path = silero_file("silero_vad")
    model = vad.silero(path, sampling_rate=rate)
    program = model.program
    (given,) = program.inputs
    whole = replace(given, shape=(given.shape[0] + given.history,), history=0)
    stream = Model.from_program(replace(program, inputs=(whole,))).stream()

    class Forgetful:
        state = property(lambda self: stream.state)

        def step(self, chunk):
            return stream.step(np.concatenate([np.zeros(given.history, np.float32), chunk]))

    worst = measured(path, rate, Forgetful(), given.history)
    assert worst[0] > 10 * SILERO_PROBABILITY
    assert worst[1] > 10 * SILERO_STATE


@pytest.mark.parametrize("rate", vad.CHUNKS)
def test_version_4_takes_no_context(rate, version_4_file):
    model = vad.silero(version_4_file, sampling_rate=rate)
    assert list(model.states) == ["h", "c"]
    assert model.states["h"].shape == (2, 1, 64)
    worst = measured(version_4_file, rate, model.stream(), 0)
    assert worst[0] <= SILERO_PROBABILITY
    assert worst[1] <= SILERO_STATE
    other = vad.silero(version_4_file, sampling_rate=24000 - rate)  # the control
    chunk = speech(1, 512)[0]
    probabilities = [
        one.stream().step(chunk[: one.inputs["input"].shape[0]]) for one in (model, other)
    ]
    assert abs(probabilities[0] - probabilities[1]) > 10 * SILERO_PROBABILITY


def test_the_installed_package_is_found_and_not_imported():
    path = silero_file("silero_vad")
    program = "import sys, lstm_fast; assert 'lstm_fast.vad' not in sys.modules; "
    program += "print(lstm_fast.vad.silero().fingerprint, sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    fingerprint, modules = done.stdout.split(maxsplit=1)
    assert fingerprint == vad.silero(path).fingerprint
    assert "'lstm_fast.vad'" in modules
    assert "'torch'" not in modules
    assert "'silero_vad'" not in modules


def test_the_other_package_is_found_as_well(tmp_path, monkeypatch):
    path = silero_file("silero_vad")
    data, facts = (tmp_path / f"silero_elsewhere{end}" for end in ("/data", "-1.dist-info"))
    data.mkdir(parents=True)
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: silero-elsewhere\nVersion: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGES", ("silero-nowhere", "silero-elsewhere"))
    with pytest.raises(FileNotFoundError):
        vad.silero()  # it is installed, but lacks the file
    (data / "silero_vad.onnx").symlink_to(path)
    assert vad.silero().fingerprint == vad.silero(path).fingerprint
    monkeypatch.setattr(module, "PACKAGES", ("silero-nowhere",))
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps silero-vad.*or pass the"):
        vad.silero()


def test_a_lfm_file_needs_no_reader(tmp_path):
    model, path = vad.silero(silero_file("silero_vad")), tmp_path / "vad.lfm"
    model.save(path)
    again = vad.silero(path)
    assert again.fingerprint == model.fingerprint
    chunks = speech(5, 512)
    assert bits(again.stream().run(chunks)) == bits(model.stream().run(chunks))
    with pytest.raises(FormatError, match="not for 8000 Hz: say sampling_rate=16000"):
        vad.silero(path, sampling_rate=8000)


@pytest.mark.parametrize("name", [name for name, rates in FILES.items() if 8000 not in rates])
def test_a_file_for_16_khz_says_so(name):
    """Some would take 8 kHz without a word, and answer something."""
    with pytest.raises(FormatError, match="not for 8000 Hz: say sampling_rate=16000, or take"):
        vad.silero(silero_file(name), sampling_rate=8000)


@pytest.mark.parametrize("rate", [44100, 0, "16000", None])
def test_other_rates_are_refused(rate):
    with pytest.raises(ValueError, match=r"takes 16000 or 8000: resample"):
        vad.silero("unread.onnx", sampling_rate=rate)


def calls(stream, pool, handles, chunks):
    """Every call that takes samples, with a chunk for each handle."""
    yield lambda: stream.step(chunks[0])
    yield lambda: stream.step({"input": chunks[0]})
    yield lambda: stream.run(chunks)
    yield lambda: pool.step(handles, chunks)
    yield lambda: pool.run(handles, [[chunk] for chunk in chunks])


@pytest.mark.parametrize("rate", vad.CHUNKS)
@pytest.mark.parametrize("where", [name for name in available() if "native" in name])
def test_a_prepared_chunk_has_the_same_bits(where, rate):
    """In a stream, and in a pool where half of the sessions are prepared."""
    backend, _, isa = where.partition(":")
    path, chunks = silero_file("silero_vad"), speech(8, vad.CHUNKS[rate])
    model = vad.silero(path, sampling_rate=rate, backend=backend, isa=isa or None)
    plain, stream, pool = model.stream(), model.stream(), model.pool(4, prepared=2, threads=1)
    handles = [pool.open() for _ in range(4)]
    for n, chunk in enumerate(chunks):
        wanted = bits(plain.step(chunk))
        stream.prepare()
        assert pool.prepare(handles[n % 4 :] + handles[: n % 4]) == 2
        assert bits(stream.step(chunk)) == wanted
        assert [bits(y) for y in pool.step(handles, np.array([chunk] * 4))] == 4 * [wanted]


def test_integers_are_refused_until_they_are_scaled(tmp_path):
    model = vad.silero(silero_file("silero_vad"))
    model.save(tmp_path / "vad.lfm")
    chunks = speech(3, 512)
    pcm = np.round(chunks * 32767).astype(np.int16)
    scaled = pcm.astype(np.float32) / 32768
    handed_on = [model.astype("float16"), pickle.loads(pickle.dumps(model)), copy.copy(model)]
    for one in (model, vad.silero(tmp_path / "vad.lfm"), *handed_on):
        stream, pool = one.stream(), one.pool(3)
        handles = [pool.open() for _ in range(3)]
        for wrong in (pcm, pcm.astype(np.uint8), pcm.tolist()):
            for call in calls(stream, pool, handles, wrong):
                with pytest.raises(TypeError, match=r"x\.astype\(np\.float32\) / 32768"):
                    call()
        wanted = bits(stream.run(scaled))
        assert bits(one.stream().run(scaled.astype(np.float64))) == wanted
        assert bits(one.stream().run(scaled.tolist())) == wanted
        (first,) = pool.step(handles[:1], scaled[:1])
        assert bits(first) == bits(one.stream().step(scaled[0]))
    plain = lstm_fast.load_model(tmp_path / "vad.lfm")  # the control: any other model takes them
    same = plain.stream().run(pcm.astype(np.float32))
    assert bits(plain.stream().run(pcm)) == bits(same)
    assert np.abs(same - model.stream().run(scaled)).max() > 10 * SILERO_PROBABILITY


@pytest.mark.parametrize("rate", vad.CHUNKS)
def test_a_rate_in_the_place_of_the_path_is_told(rate):
    with pytest.raises(TypeError, match=f"the rate is an option, sampling_rate={rate}$"):
        vad.silero(rate)


@pytest.mark.parametrize("name", ["silero_vad.jit", "silero_vad_16k.safetensors"])
def test_other_files_of_the_package_lead_to_the_one_that_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(
        FormatError, match=rf"{name}: .*take silero_vad\.onnx, which lies beside it"
    ):
        vad.silero(tmp_path / name)


def test_what_is_no_silero_is_refused(tmp_path, version_4_file):
    with pytest.raises(FileNotFoundError):
        vad.silero(tmp_path / "missing.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    with pytest.raises(FormatError, match="damaged"):
        vad.silero(damaged)
    model = version_4()
    model.graph.input[2].name = "h0"
    damaged.write_bytes(model.SerializeToString())
    with pytest.raises(
        FormatError, match="not a Silero VAD of version 4, 5 or 6: it takes input, sr"
    ):
        vad.silero(damaged)
    program = vad.silero(version_4_file).program
    both = (*program.outputs, Output("h", program.states[0].next))
    path = tmp_path / "other.lfm"
    Model.from_program(replace(program, outputs=both)).save(path)
    with pytest.raises(FormatError, match="not a Silero VAD: it is Model"):
        vad.silero(path)


@pytest.mark.parametrize(
    ("weight_dtype", "most"), [("float16", SILERO_FLOAT16), ("int8", SILERO_INT8)]
)
def test_small_weights(weight_dtype, most):
    """What SILERO_FLOAT16 and SILERO_INT8 allow, see tolerances.py; and something changes."""
    path = silero_file("silero_vad")
    plain, small = vad.silero(path), vad.silero(path, weight_dtype=weight_dtype)
    chunks = speech(STEPS, 512)
    off = np.abs(plain.stream().run(chunks) - small.stream().run(chunks)).max()
    assert 0 < off <= most


@pytest.mark.parametrize(("history", "taken"), [(None, 512), (32, 544), (64, 576), (128, 576)])
def test_a_lfm_file_has_to_keep_the_samples_before(history, taken, tmp_path):
    """64 of them; with others the probabilities are wrong, and nothing else would say so."""
    options = {"history": {"input": history}} if history else {}
    shapes, path = {"input": (1, taken)}, tmp_path / "vad.lfm"
    file = silero_file("silero_vad")
    model = lstm_fast.load_model(file, shapes=shapes, constants={"sr": 16000}, **options)
    model.save(path)
    if history == 64:
        assert vad.silero(path).inputs["input"].shape == (512,)
        return
    with pytest.raises(
        FormatError, match=r"not a Silero VAD|it keeps .* Silero VAD takes 64: convert"
    ):
        vad.silero(path)


def test_it_is_an_attribute_of_the_package():
    assert lstm_fast.vad.silero is vad.silero
    with pytest.raises(AttributeError, match="no attribute 'vat'"):
        lstm_fast.vat  # noqa: B018
