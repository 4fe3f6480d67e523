"""Silero VAD, the real job: onnxruntime's values on every chunk, and sessions that don't touch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cases import bits
from lstm_fast import vad
from tolerances import (
    SILERO_FLOAT16,
    SILERO_HARD_PROBABILITY,
    SILERO_HARD_STATE,
    SILERO_INT8,
    SILERO_PROBABILITY,
    SILERO_STATE,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
silero_report = pytest.importorskip("silero_report", reason="the demo's packages are not installed")
soundfile = pytest.importorskip("soundfile")
try:
    WEIGHTS = vad.silero_file()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)
CHUNK, CONTEXT = silero_report.CHUNK, silero_report.CHUNK // 8


def speech():
    audio, rate = soundfile.read(EXAMPLES / "data/speech.wav", dtype="float32")
    assert rate == silero_report.RATE
    return audio


def loud(audio):
    return np.clip(30 * audio, -1, 1)


def quiet(audio):
    return np.float32(0.003) * audio


def noisy(audio):
    return audio + np.float32(0.05) * np.random.default_rng(0).standard_normal(
        len(audio), dtype=np.float32
    )


def doubled(audio):
    """Twice as fast and an octave up: another voice."""
    return np.tile(audio[::2], 2)


def hard(audio):
    """Quiet and shifted so that onnxruntime's own rounding costs it 1.5e-5 of a probability."""
    return np.float32(0.0083) * audio[371:]


def faint(audio):
    """As `hard`, for the state: 1.1e-4."""
    return np.float32(0.0011) * audio[392:]


PROMISED = SILERO_PROBABILITY, SILERO_STATE
SIGNALS = {
    **dict.fromkeys((np.asarray, loud, quiet, noisy, doubled), PROMISED),
    **dict.fromkeys((hard, faint), (SILERO_HARD_PROBABILITY, SILERO_HARD_STATE)),
}


def chunks(audio):
    count = len(audio) // CHUNK
    return audio[: count * CHUNK].reshape(count, CHUNK)


def onnxruntime_trace(audio):
    """Probability and state (2, 1, 128) after each chunk, from the original model."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(WEIGHTS), options, providers=["CPUExecutionProvider"])
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32)
    for chunk in chunks(audio):
        samples = np.concatenate([context, chunk])[None]
        rate = np.array(silero_report.RATE, np.int64)
        probability, state = session.run(None, {"input": samples, "state": state, "sr": rate})
        context = samples[0, -CONTEXT:]
        yield probability.item(), state[:, 0]


def our_trace(stream, audio):
    for chunk in chunks(audio):
        (probability,) = stream.step(chunk)
        yield probability, stream.state["state"][:, 0]


def distance(ours, theirs):
    """Largest difference in probability, and in state relative to max(1, |value|); NaN wins."""
    our_p, our_state = map(np.array, zip(*ours, strict=True))
    their_p, their_state = map(np.array, zip(*theirs, strict=True))
    assert len(our_p) == len(their_p)
    in_probability = np.abs(our_p - their_p)
    in_state = np.abs(our_state - their_state) / np.maximum(1, np.abs(their_state))
    return in_probability.max(), in_state.max()


@pytest.fixture(scope="module")
def model(implementation):
    return vad.silero(backend=implementation.backend, isa=implementation.isa)


@pytest.fixture(scope="module", params=SIGNALS, ids=lambda signal: signal.__name__)
def signal(request):
    audio = request.param(speech())
    return audio, list(onnxruntime_trace(audio)), SIGNALS[request.param]


def test_equals_onnxruntime_on_every_chunk(model, signal):
    audio, theirs, (probability, state) = signal
    in_probability, in_state = distance(our_trace(model.stream(), audio), theirs)
    assert in_probability <= probability
    assert in_state <= state


def test_a_nan_is_noticed(model):
    """Negative control: one NaN, in the middle, of ours or of theirs."""
    good = list(our_trace(model.stream(), speech()[: 9 * CHUNK]))
    bad = good.copy()
    bad[4] = (np.nan, np.full_like(good[4][1], np.nan))
    assert distance(good, good) == (0, 0)
    for pair in ((bad, good), (good, bad)):
        assert np.isnan(distance(*pair)).all()


def test_a_missing_context_is_noticed(model):
    """Negative control, and a mistake that ports of this model really make."""

    class Forgetful:
        """A session that keeps nothing of the chunk before."""

        stream = model.stream()
        state = property(lambda self: self.stream.state)

        def step(self, chunk):
            nothing = np.zeros(CONTEXT, np.float32)
            self.stream.state = {**self.stream.state, "input.history": nothing}
            return self.stream.step(chunk)

    audio = speech()[: 100 * CHUNK]
    in_probability, in_state = distance(our_trace(Forgetful(), audio), onnxruntime_trace(audio))
    assert in_probability > 10 * SILERO_HARD_PROBABILITY
    assert in_state > 10 * SILERO_HARD_STATE


def test_reset_and_interleaved_sessions_equal_fresh_ones(model):
    parts = chunks(speech())[:160].reshape(4, 40, CHUNK)
    solo = []
    stream = model.stream()
    for part in parts:
        stream.reset()
        solo.append([stream.step(chunk) for chunk in part])
    streams = [model.stream() for _ in parts]
    together = [
        [s.step(c) for s, c in zip(streams, tick, strict=True)] for tick in zip(*parts, strict=True)
    ]
    assert bits(np.swapaxes(np.float32(together), 0, 1)) == bits(np.float32(solo))
    without_reset = [stream.step(chunk) for chunk in parts[0]]
    assert bits(without_reset) != bits(solo[0])  # the control: there is something to reset


def run_demo(*arguments):
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "silero_vad.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_finds_the_speech_and_keeps_sessions_apart(tmp_path):
    process = run_demo("--out", tmp_path)
    assert process.returncode == 0, process.stderr
    assert "50/50 sessions identical" in process.stdout
    assert "1000/1000 sessions identical" in process.stdout
    assert "whole chunk, onnxruntime" in process.stdout or "is not installed" in process.stdout
    found = float(process.stdout.split("% of the true speech was found")[0].split()[-1])
    wrong = float(process.stdout.split("% of the time without speech")[0].split()[-1])
    assert found > 95
    assert wrong < 10  # segments are padded by 30 ms, which counts as wrong
    assert (tmp_path / "silero_vad.png").stat().st_size > 10_000


def test_the_demo_says_what_is_wrong_with_a_file(tmp_path):
    not_audio = tmp_path / "notes.wav"
    not_audio.write_text("no audio")
    for path in (tmp_path / "missing.wav", not_audio):
        process = run_demo(path, "--out", tmp_path)
        assert process.returncode == 2
        assert len(process.stderr.strip().splitlines()) == 1
        assert path.name in process.stderr


@pytest.mark.parametrize(
    ("weight_dtype", "bound"), [("float16", SILERO_FLOAT16), ("int8", SILERO_INT8)]
)
def test_small_weights_hold_on_speech(implementation, model, weight_dtype, bound):
    """And no segment of speech appears or vanishes."""
    backend, isa = implementation.backend, implementation.isa
    audio = speech()
    small, plain = (
        one.stream().run(chunks(audio))[:, 0].astype(np.float64)
        for one in (vad.silero(weight_dtype=weight_dtype, backend=backend, isa=isa), model)
    )
    assert 0 < np.abs(small - plain).max() <= bound
    seconds = len(audio) / silero_report.RATE
    segments = [len(silero_report.speech_segments(p, 0.5, seconds)) for p in (small, plain)]
    assert segments[0] == segments[1] > 0
