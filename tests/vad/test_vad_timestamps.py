"""`get_speech_timestamps` and its sisters: what silero-vad 6.2's own functions return."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")
from recordings import Recorded, is_near, recordings, speech, spoken, their_model, theirs
from silero_cases import silero_file

from lstm_fast import vad
from tolerances import SILERO_PROBABILITY, SILERO_QUIET_PROBABILITY

INFINITY = float("inf")
GRID = [
    {},
    {"threshold": 0.7},
    {"threshold": 0.2, "neg_threshold": 0.1},
    {"threshold": 0.1},
    {"min_speech_duration_ms": 0, "min_silence_duration_ms": 0, "speech_pad_ms": 0},
    {"min_speech_duration_ms": 1000, "min_silence_duration_ms": 500, "speech_pad_ms": 400},
    {"max_speech_duration_s": 1},
    {"max_speech_duration_s": 1, "use_max_poss_sil_at_max_speech": False},
    {"max_speech_duration_s": 0.5, "min_silence_at_max_speech": 0},
    {"max_speech_duration_s": 2, "min_silence_at_max_speech": 32, "min_silence_duration_ms": 2000},
    {"return_seconds": True},
    {"return_seconds": True, "time_resolution": 3, "speech_pad_ms": 31},
    {"window_size_samples": 1536},
]
OPTIONS = {
    "sampling_rate": st.sampled_from([16000, 8000]),
    "threshold": st.sampled_from([0.5, 0.3, 0.7, 0.1, 0.005, 0.9]),
    "min_speech_duration_ms": st.sampled_from([0, 32, 250, 1000]),
    "max_speech_duration_s": st.sampled_from([INFINITY, 0.05, 0.3, 1, 2.5]),
    "min_silence_duration_ms": st.sampled_from([0, 32, 100, 500, 2000]),
    "speech_pad_ms": st.sampled_from([0, 30, 33, 100, 400]),
    "return_seconds": st.booleans(),
    "time_resolution": st.sampled_from([0, 1, 3]),
    "neg_threshold": st.sampled_from([None, 0.35, 0.01, 0.45]),
    "min_silence_at_max_speech": st.sampled_from([0, 32, 98, 300]),
    "use_max_poss_sil_at_max_speech": st.booleans(),
    "audio_length_samples": st.sampled_from([None, 20000, 10001]),
    "step": st.sampled_from([1, 3]),
}
LEVELS = st.sampled_from([0.0, 0.02, 0.2, 0.34, 0.36, 0.46, 0.55, 0.71, 0.95])
RUNS = st.lists(st.tuples(LEVELS, st.integers(1, 12)), max_size=20)


@pytest.fixture(scope="module")
def model():
    silero_file("silero_vad")
    return vad.load_silero_vad()


def quietly(call, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*arguments, **options)


@given(RUNS, st.fixed_dictionaries(OPTIONS))
def test_probabilities_become_the_same_segments(runs, options):
    probabilities = [level for level, count in runs for _ in range(count)]
    expected = theirs().get_speech_timestamps_from_probs(probabilities, **options)
    found = vad.get_speech_timestamps_from_probs(np.array(probabilities), **options)
    assert found == expected
    kinds = [[type(one) for one in segment.values()] for segment in expected]
    assert [[type(one) for one in segment.values()] for segment in found] == kinds


@pytest.mark.parametrize("onnx", [False, True], ids=["torch", "onnxruntime"])
def test_recordings_have_the_same_segments(onnx, model):
    torch = pytest.importorskip("torch")
    other, counts = their_model(onnx), {"same": 0, "near": 0, "segments": 0}
    for name, (samples, rate) in recordings().items():
        step = max(1, rate // 16000)
        used, used_rate = torch.from_numpy(samples[::step].copy()), rate // step
        size = vad.CHUNKS[used_rate]
        padded = torch.nn.functional.pad(used, (0, max(0, size - len(used))))
        probabilities = other.audio_forward(padded, used_rate)[0].tolist() if len(used) else []
        ours = model.audio_forward(padded, used_rate)[0].tolist() if len(used) else []
        bound = SILERO_QUIET_PROBABILITY if name == "quiet" else SILERO_PROBABILITY
        assert np.abs(np.array(ours) - probabilities).max(initial=0) <= bound, name
        for options in GRID:
            given = torch.from_numpy(samples.copy())
            expected = quietly(
                theirs().get_speech_timestamps,
                given,
                Recorded(probabilities),
                sampling_rate=rate,
                **options,
            )
            found = quietly(
                vad.get_speech_timestamps, samples, model, sampling_rate=rate, **options
            )
            threshold = options.get("threshold", 0.5)
            negative = options.get("neg_threshold", max(threshold - 0.15, 0.01))
            if found != expected and is_near(probabilities, threshold, negative):
                counts["near"] += 1
                continue
            assert found == expected, (name, options)
            counts["same"] += 1
            counts["segments"] += len(found)
    assert counts["near"] <= 2, counts
    assert counts["same"] > 100, counts
    assert counts["segments"] > 100, counts


def test_their_functions_and_models_go_with_ours(model):
    torch = pytest.importorskip("torch")
    samples = speech()
    tensor = torch.from_numpy(samples.copy())
    expected = theirs().get_speech_timestamps(tensor, their_model(True))
    assert expected
    assert theirs().get_speech_timestamps(tensor, model) == expected
    assert vad.get_speech_timestamps(tensor, their_model(True)) == expected
    assert vad.get_speech_timestamps(samples.tolist(), their_model(True)) == expected
    assert vad.get_speech_timestamps(tensor, model) == expected
    assert vad.get_speech_timestamps(tensor.requires_grad_(), model) == expected


def test_a_sequence_model_finds_the_same(model):
    samples, other = speech(), vad.load_silero_vad(sequence=True, max_frames=7)
    expected = vad.get_speech_timestamps(samples, model, threshold=0.4)
    for frames in (None, 1, 1000):
        found = vad.get_speech_timestamps_sequence(samples, other, threshold=0.4, max_frames=frames)
        assert found == expected
    fast = vad.get_speech_timestamps_sequence(np.repeat(samples, 3), other, sampling_rate=48000)
    assert fast == [
        {name: 3 * time for name, time in one.items()}
        for one in vad.get_speech_timestamps(samples, model)
    ]
    given = theirs().get_speech_timestamps_sequence(
        samples, theirs().load_silero_vad(sequence=True), threshold=0.4
    )
    assert given == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("voice", "speed", "rate"),
    list(itertools.product(["en", "de", "ru", "es", "en+f3"], [120, 240], [16000, 8000])),
)
def test_what_espeak_says_has_the_same_segments(voice, speed, rate, model, tmp_path):
    torch = pytest.importorskip("torch")
    text = "One, two, three. This is a sentence, and here is a pause... And another one!"
    samples = spoken(tmp_path, text, voice, speed, rate)
    rng = np.random.default_rng(speed)
    for level, noise in ((1, 0), (0.05, 0), (1, 0.03)):
        heard = level * samples + noise * rng.standard_normal(len(samples)).astype(np.float32)
        heard = np.pad(heard.astype(np.float32), rate // 3)
        tensor = torch.from_numpy(heard)
        other = their_model(True)
        probabilities = other.audio_forward(tensor, rate)[0].tolist()
        for options in GRID:
            expected = theirs().get_speech_timestamps(
                tensor, Recorded(probabilities), sampling_rate=rate, **options
            )
            found = vad.get_speech_timestamps(heard, model, sampling_rate=rate, **options)
            assert found == expected or is_near(probabilities, 0.5, 0.35, 0.7, 0.55, 0.2, 0.1)


def test_integers_are_scaled_and_theirs_are_not(model):
    samples = speech()
    integers = np.rint(samples * 32768).astype(np.int16)
    expected = vad.get_speech_timestamps(integers / np.float32(32768), model)
    assert expected
    for kind in (integers, integers.astype(np.int64), integers.tolist()):
        assert vad.get_speech_timestamps(kind, model) == expected
    unscaled = vad.get_speech_timestamps(integers.astype(np.float32), model)
    assert unscaled != expected  # the negative control: what theirs makes of integers


def test_a_multiple_of_16_khz_is_taken_without_a_filter_and_said(model):
    samples = speech()
    expected = vad.get_speech_timestamps(samples, model)
    with pytest.warns(UserWarning, match=r"of 48000 Hz one of 3 samples is taken"):
        found = vad.get_speech_timestamps(np.repeat(samples, 3), model, sampling_rate=48000)
    assert found == [{name: 3 * time for name, time in one.items()} for one in expected]


def test_progress_is_told_after_each_chunk(model):
    torch = pytest.importorskip("torch")
    samples, told = speech()[:20001], []
    vad.get_speech_timestamps(samples, model, progress_tracking_callback=told.append)
    expected = []
    theirs().get_speech_timestamps(
        torch.from_numpy(samples.copy()),
        Recorded([0.0] * 40),
        progress_tracking_callback=expected.append,
    )
    assert told == expected
    assert told[-1] == 100


def test_the_model_goes_on_where_the_recording_ended(model):
    samples = speech()[:10240]
    vad.get_speech_timestamps(samples, model)
    found = model(samples[:512], 16000)
    stream = vad.silero().stream()
    stream.run(samples.reshape(-1, 512))
    assert found.tobytes() == stream.step(samples[:512])[None].tobytes()


@pytest.mark.parametrize(
    ("samples", "options", "error", "text"),
    [
        (np.zeros((2, 600), np.float32), {}, ValueError, r"shape \(2, 600\), expected \(n,\)"),
        (np.zeros((600, 1), np.float32), {}, ValueError, "several channels"),
        (np.zeros((), np.float32), {}, TypeError, "single number"),
        ("abc", {}, TypeError, "audio has dtype"),
        ([[1.0], [1.0, 2.0]], {}, TypeError, "rectangular"),
        (np.zeros(600, complex), {}, TypeError, "complex"),
        (np.zeros(600), {"sampling_rate": 44100}, ValueError, "44100, expected 8000, 16000 or"),
        (np.zeros(600), {"threshold": "a"}, TypeError, "unsupported operand"),
        (np.full(600, 70000), {}, ValueError, "integers from 70000"),
    ],
)
def test_what_cannot_be_is_refused(samples, options, error, text, model):
    with pytest.raises(error, match=text):
        vad.get_speech_timestamps(samples, model, **options)


def test_shapes_that_are_taken(model):
    samples = speech()[:30000]
    expected = vad.get_speech_timestamps(samples, model)
    for kind in (samples[None], samples[None, None], samples.tolist(), samples.astype(np.float64)):
        assert vad.get_speech_timestamps(kind, model) == expected
    assert vad.get_speech_timestamps(np.zeros(0), model) == []
    assert vad.get_speech_timestamps([], model) == []
    probabilities = [0.9] * 30
    expected = vad.get_speech_timestamps_from_probs(probabilities)
    assert vad.get_speech_timestamps_from_probs(np.array(probabilities)[None]) == expected
    assert vad.get_speech_timestamps_from_probs([]) == []
    with pytest.raises(ValueError, match=r"shape \(2, 5\), expected \(chunks,\)"):
        vad.get_speech_timestamps_from_probs(np.zeros((2, 5)))


def test_probabilities_can_be_drawn(model):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    vad.get_speech_timestamps(speech()[:30000], model, visualize_probs=True)
    (number,) = {*pyplot.get_fignums()} - {*before}
    pyplot.close(number)
