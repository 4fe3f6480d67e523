"""Silero VAD, the real job: onnxruntime's values on every chunk, and sessions that don't touch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from cases import bits
from lstm_fast import Model, vad
from tolerances import (
    SILERO_DISTANCE,
    SILERO_FLOAT16,
    SILERO_INT8,
    SILERO_PROBABILITY,
    SILERO_QUIET_PROBABILITY,
    SILERO_QUIET_STATE,
    SILERO_STATE,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))  # behind the packages: one example has the name of one
silero_report = pytest.importorskip("silero_report", reason="the demo's packages are not installed")
soundfile = pytest.importorskip("soundfile")
try:
    WEIGHTS = vad.silero_file()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)
CHUNK, CONTEXT = silero_report.CHUNK, silero_report.CHUNK // 8


@cache
def speech():
    audio, rate = soundfile.read(EXAMPLES / "data/speech.wav", dtype="float32")
    assert rate == silero_report.RATE
    return audio


def clipped(audio):
    return np.clip(30 * audio, -1, 1)


def noisy(audio):
    return audio + np.float32(0.05) * np.random.default_rng(0).standard_normal(
        len(audio), dtype=np.float32
    )


def doubled(audio):
    """Twice as fast and an octave up: another voice."""
    return np.tile(audio[::2], 2)


def scaled(factor, audio):
    return np.float32(factor) * audio


def hard(audio):
    """Quiet and shifted so that onnxruntime's own rounding costs it 1.5e-5 of a probability."""
    return np.float32(0.0083) * audio[371:]


def faint(audio):
    """As `hard`, for the state: 1.1e-4."""
    return np.float32(0.0011) * audio[392:]


LOUD = {
    "as it is": np.asarray,
    "clipped": clipped,
    "noisy": noisy,
    "doubled": doubled,
    "x10": partial(scaled, 10),
    "x0.1": partial(scaled, 0.1),
}
QUIET = {
    "x0.01": partial(scaled, 0.01),
    "x0.003": partial(scaled, 0.003),
    "x0.001": partial(scaled, 0.001),
    "hard": hard,
    "faint": faint,
}
SIGNALS = LOUD | QUIET


@cache
def signal(name):
    return SIGNALS[name](speech())


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


@cache
def theirs(name):
    return list(onnxruntime_trace(signal(name)))


@cache
def ours(backend, isa, name):
    model = vad.silero(backend=backend, isa=isa)
    return list(our_trace(model.stream(), signal(name)))


def segments(probabilities):
    """Return from where to where there is speech, in seconds."""
    seconds = len(probabilities) * silero_report.CHUNK_SECONDS
    found = silero_report.speech_segments(np.float64(probabilities), 0.5, seconds)
    return [(start, end) for start, end, _ in found]


@pytest.fixture(scope="module")
def model(implementation):
    try:
        return vad.silero(backend=implementation.backend, isa=implementation.isa)
    except ValueError as error:
        if "backend has no" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("name", SIGNALS)
def test_equals_onnxruntime_on_every_chunk(model, name):
    traces = ours(model.backend, model.isa, name), theirs(name)
    in_probability, in_state = distance(*traces)
    assert in_probability <= (SILERO_PROBABILITY if name in LOUD else SILERO_QUIET_PROBABILITY)
    assert in_state <= (SILERO_STATE if name in LOUD else SILERO_QUIET_STATE)
    found, expected = (segments([float(p) for p, _ in trace]) for trace in traces)
    assert found == expected
    assert bool(found) == (name not in ("x0.001", "faint"))  # which are too quiet for the model


def distances_to_float64(traces):
    """Return the largest and the mean distance in probability over all signals."""
    found = []
    for name, trace in traces.items():
        exact = ours("reference", None, name)
        found += [abs(float(p) - float(e)) for (p, _), (e, _) in zip(trace, exact, strict=True)]
    return np.max(found), np.mean(found)


def test_is_as_near_to_float64_as_onnxruntime(model):
    """Within SILERO_DISTANCE times; the control is this model with float16 weights."""
    peer = np.array(distances_to_float64({name: theirs(name) for name in SIGNALS}))
    own = distances_to_float64({name: ours(model.backend, model.isa, name) for name in SIGNALS})
    assert (own <= SILERO_DISTANCE * peer).all(), (own, peer)
    small = vad.silero(backend=model.backend, isa=model.isa, weight_dtype="float16").stream()
    rounded = distances_to_float64({"as it is": list(our_trace(small, speech()))})
    assert (rounded > SILERO_DISTANCE * peer).all()


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
    assert in_probability > 10 * SILERO_QUIET_PROBABILITY
    assert in_state > 10 * SILERO_QUIET_STATE


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


SMALL = pytest.mark.parametrize(
    ("weight_dtype", "bound"), [("float16", SILERO_FLOAT16), ("int8", SILERO_INT8)]
)


def probabilities_of_speech(model):
    return model.stream().run(chunks(speech()))[:, 0].astype(np.float64)


@SMALL
def test_small_weights_hold_on_speech(implementation, model, weight_dtype, bound):
    """And no segment of speech appears or vanishes."""
    backend, isa = implementation.backend, implementation.isa
    small = vad.silero(weight_dtype=weight_dtype, backend=backend, isa=isa)
    found, plain = probabilities_of_speech(small), probabilities_of_speech(model)
    assert 0 < np.abs(found - plain).max() <= bound
    assert len(segments(found)) == len(segments(plain)) > 0


def with_random_errors(program, weight_dtype, steps, rng):
    """Return a model whose weights are up to half of so many steps of that type away."""
    constants = dict(program.constants)
    rounded = {"lstm": slice(3, 5)} | ({"conv": slice(1, 2)} if weight_dtype == "float16" else {})
    for op in program.ops:
        for number in op.inputs[rounded.get(op.code, slice(0))]:
            w = program.constants[number].astype(np.float64)
            step = np.abs(w).max(axis=-1, keepdims=True) / 127
            if weight_dtype == "float16":
                step = np.spacing(np.abs(w).astype(np.float16)).astype(np.float64)
            constants[number] = (w + steps * step * rng.uniform(-0.5, 0.5, w.shape)).astype("f4")
    return Model.from_program(replace(program, constants=constants))


@SMALL
def test_what_small_weights_may_change_is_what_random_errors_of_their_size_change(
    weight_dtype, bound
):
    """Other draws than those of the bound, of which one may exceed it, but not three of five. The
    control has errors of sixteen steps."""
    plain, rng = vad.silero(), np.random.default_rng(20)
    usual = probabilities_of_speech(plain)
    worst = {
        steps: [
            np.abs(
                probabilities_of_speech(with_random_errors(plain.program, weight_dtype, steps, rng))
                - usual
            ).max()
            for _ in range(5)
        ]
        for steps in (1, 16)
    }
    assert bound / 5 < np.median(worst[1]) <= bound < min(worst[16])
