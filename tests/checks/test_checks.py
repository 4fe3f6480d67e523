"""Each careless implementation is caught by the check that is there for it; the right one passes.

Every failure has a reproduction, which is run: it fails on the careless one and passes on the right
one.
"""

from __future__ import annotations

import numpy as np
import pytest
import wrong_targets as wrong
from caught import QUICK, caught, reproduce
from wrong_targets import ONE_LAYER, WEIGHTS, Numpy

from lstm_fast import LSTM, checks
from lstm_fast.checks import Options
from lstm_fast.checks._compare import ordered
from lstm_fast.checks.target import record


@pytest.mark.parametrize("seen", [True, False], ids=["state", "outputs"])
@pytest.mark.parametrize("weights", [WEIGHTS, ONE_LAYER], ids=["two_layers", "one_layer"])
def test_the_right_one_passes(weights, seen):
    report = checks.run(Numpy(weights=weights, seen=seen), weights, QUICK)
    assert report.passed, str(report)
    assert report.exit_status == 0
    assert [one.name for one in report.results] == list(checks.NAMES)
    assert [one.name for one in report.results if one.status == "skipped"] == ["chunks"]


RESETS = [
    (wrong.ForgetsToResetC, "does not bring back"),
    (wrong.ForgetsToResetALayer, "does not bring back"),
    (wrong.ResetsByMultiplying, "NaN or infinities only"),
    (wrong.NeverStoresItsState, "never depends on earlier frames"),
    (wrong.Random, "nothing that a reset could return to"),
]


@pytest.mark.parametrize("seen", [True, False], ids=["state", "outputs"])
@pytest.mark.parametrize(("session", "says"), RESETS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_wrong_reset_is_caught(session, says, seen):
    careless = Numpy(session, seen=seen)
    result = checks.reset(careless)
    caught(result, careless, Numpy(seen=seen))
    assert says in result.text


def test_the_reproduction_of_a_reset_is_short():
    result = checks.reset(Numpy(wrong.ForgetsToResetC))
    assert "prior = ((np.random.Generator(np.random.PCG64(1)).random((1, 5))" in result.reproduction
    assert result.numbers["differ_without_reset"] == result.numbers["prior_sequences"]


@pytest.mark.parametrize("session", [wrong.SharesH, wrong.SharesScratch])
def test_sessions_that_share_are_caught(session):
    careless = Numpy(session)
    caught(checks.isolation(careless), careless)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (wrong.QuantisedTogether, "depends on what the others hold"),
        (wrong.OtherInBatches, "not what a session gives alone"),
    ],
)
def test_batches_that_are_no_sessions_are_caught(kind, says):
    result = checks.isolation(kind())
    caught(result, kind())
    assert says in result.text


def test_how_far_a_batch_is_off_is_told_and_judged_where_bits_are_promised():
    class Rounds(Numpy):
        def batch(self, n):
            rows = super().batch(n)
            step = rows.step
            rows.step = lambda xs: step(xs) * np.float32(1 + 2**-22)
            return rows

    result = checks.isolation(Rounds())
    assert result.status == "passed"
    assert 0 < result.numbers["batch_max_difference"] < 1e-6
    caught(checks.isolation(Rounds(), Options(exact=True)), Rounds())


def test_nan_that_spreads_is_caught():
    result = checks.nan_containment(Numpy(wrong.SpreadsNan, ONE_LAYER))
    caught(result, Numpy(wrong.SpreadsNan, ONE_LAYER), Numpy(weights=ONE_LAYER))
    result = checks.nan_containment(wrong.MixesRows())
    caught(result, wrong.MixesRows())
    assert result.numbers["interleaved"] == {
        "hurt_by": [],
        "not_healed": [],
        "output_shows_nan": True,
    }


def test_nan_that_a_reset_does_not_heal_is_caught():
    careless = Numpy(wrong.ResetsByMultiplying)
    caught(checks.nan_containment(careless), careless)


def test_randomness_is_caught():
    caught(checks.determinism(Numpy(wrong.Random)), Numpy(wrong.Random))


def test_chunks():
    caught(checks.chunks(Numpy(wrong.Chunky)), Numpy(wrong.Chunky), Numpy(RightChunks))
    assert checks.chunks(Numpy(RightChunks)).numbers == {}
    rounds = checks.chunks(Numpy(wrong.RoundsChunks))
    assert rounds.status == "passed"
    assert rounds.numbers["max_difference"] > 0
    exact = checks.chunks(Numpy(wrong.RoundsChunks), Options(exact=True))
    caught(exact, Numpy(wrong.RoundsChunks), Numpy(RightChunks))


class RightChunks(wrong.Session):
    def run(self, xs):
        return np.stack([self.step(x) for x in xs])


# ---- the long and the slow -----------------------------------------------------------------------


def test_drift():
    options = Options(drift_steps=3000, drift_seconds=60)
    assert checks.drift(Numpy(), WEIGHTS, options).status == "passed"
    assert checks.drift(Numpy(seen=False), WEIGHTS, options).status == "passed"
    for seen in (True, False):
        careless = Numpy(wrong.Drifts, ONE_LAYER, seen)
        result = checks.drift(careless, ONE_LAYER, options)
        assert result.failed, result.text
        assert result.numbers["max_error_last_tenth"] > 3 * result.numbers["max_error_first_tenth"]
    with pytest.raises(AssertionError):
        reproduce(result, Numpy(wrong.Drifts, ONE_LAYER, False), reference=ONE_LAYER)
    reproduce(result, Numpy(weights=ONE_LAYER), reference=ONE_LAYER)


def test_drift_ends_in_time():
    result = checks.drift(Numpy(), WEIGHTS, Options(drift_seconds=0.05))
    assert result.numbers["steps"] < result.numbers["steps_wanted"] == 100_000
    assert f"only {result.numbers['steps']:,} of the 100,000 steps" in result.text
    assert "ended after 0.05 s" in result.text
    at_once = checks.drift(Numpy(), WEIGHTS, Options(drift_seconds=1e-9))
    assert at_once.numbers["steps"] == 256  # a block is always done
    with pytest.raises(ValueError, match="the reference takes 6 values per frame"):
        checks.drift(Numpy(), LSTM.random(6, 8))


class ChunksOf(wrong.Session):
    """Runs frames at once, and says how many; a step takes a second by a clock of its own."""

    now = 0.0
    chunks = ()

    def step(self, x):
        ChunksOf.now += 1
        return super().step(x)

    def run(self, xs):
        ChunksOf.chunks += (len(xs),)
        return np.stack([super(ChunksOf, self).step(x) for x in xs])


class ChunksNan(ChunksOf):
    """One frame of each chunk is lost."""

    def run(self, xs):
        ys = super().run(xs)
        ys[7] = np.nan
        return ys


def test_drift_goes_on_in_chunks_where_steps_take_too_long(monkeypatch):
    monkeypatch.setattr("lstm_fast.checks.endurance.time.monotonic", lambda: ChunksOf.now)
    monkeypatch.setattr(ChunksOf, "chunks", ())
    options = Options(drift_steps=9000, drift_seconds=1000)
    result = checks.drift(Numpy(ChunksOf), WEIGHTS, options)
    assert result.status == "passed"
    assert ChunksOf.chunks[:4] == (255, 511, 1023, 2047)  # and a step each
    assert sum(ChunksOf.chunks) + len(ChunksOf.chunks) == 9000 - 512
    assert result.numbers["steps"] == 9000
    assert result.numbers["steps_in_chunks"] == 9000 - 512
    assert "8,488 of them in chunks" in result.text
    assert "only" not in result.text
    for seen in (True, False):
        lost = checks.drift(Numpy(ChunksNan, seen=seen), WEIGHTS, options)
        assert lost.failed
        assert lost.numbers["max_error"] == np.inf
    all_steps = checks.drift(Numpy(ChunksOf), WEIGHTS, Options(drift_steps=900, drift_seconds=1e4))
    assert all_steps.numbers["steps"] == 900
    assert all_steps.numbers["steps_in_chunks"] == 0


def test_drift_judges_the_state_where_a_head_follows():
    options = Options(drift_steps=1000, drift_seconds=60, output_is_h=False)
    assert checks.drift(Numpy(wrong.Doubles), WEIGHTS, options).status == "passed"
    careless = Numpy(wrong.OrderOfOnnx)
    result = checks.drift(careless, WEIGHTS, options)
    caught(result, careless, reference=WEIGHTS)
    plain = checks.drift(Numpy(wrong.Doubles), WEIGHTS, Options(drift_steps=1000))
    assert plain.failed


def test_slow_paths_are_judged_by_a_ratio_only(monkeypatch):
    monkeypatch.setattr("lstm_fast.checks.speed.time.perf_counter_ns", lambda: wrong.Slow.now)
    careless = Numpy(wrong.Slow)
    told = checks.slow_paths(careless, QUICK)
    assert told.status == "passed"
    assert told.numbers["ratios"] == {"subnormal": 5, "decaying": 1, "saturated": 1}
    judged = checks.slow_paths(careless, Options(slow_ratio=3, samples=20))
    assert judged.failed
    with pytest.raises(AssertionError):
        reproduce(judged, careless)
    assert checks.slow_paths(careless, Options(slow_ratio=6, samples=20)).status == "passed"


def test_slow_paths_are_none_where_every_step_is_slower_than_the_last(monkeypatch):
    """As of a model that is run over all frames since the reset."""
    monkeypatch.setattr("lstm_fast.checks.speed.time.perf_counter_ns", lambda: wrong.Slow.now)

    class Grows(wrong.Session):
        steps = 0

        def reset(self):
            self.steps = 0

        def step(self, x):
            self.steps += 1
            wrong.Slow.now += 1000 * self.steps
            return super().step(x)

    told = checks.slow_paths(Numpy(Grows), QUICK)
    assert told.numbers["ratios"] == {"subnormal": 1, "decaying": 1, "saturated": 1}


def test_latency_is_reported():
    result = checks.latency(Numpy(), Options(samples=1200, timing_seconds=5))
    hot = result.numbers["hot_us"]
    assert 0 < hot["p50"] <= hot["p99"] <= hot["p99.9"] <= hot["max"]
    assert result.numbers["cold_us"]["steps"] >= 3


def test_recording():
    recording = record(Numpy(), np.zeros((3, 5)))
    assert recording.ys.shape == (3, 8)
    assert recording.hs.shape == recording.cs.shape == (3, 2, 8)
    assert recording.ys.dtype == np.float32
    assert not record(Numpy(seen=False), np.zeros((3, 5))).has_state
    assert len(record(Numpy(), np.zeros((0, 5)))) == 0


def test_ordered_counts_floats():
    values = np.array([-1, -1e-45, -0.0, 0.0, 1e-45, 1], np.float32)
    assert list(ordered(values)[1:5]) == [-1, 0, 0, 1]
    assert (np.diff(ordered(values)) >= 0).all()


def test_options_say_what_is_wrong():
    with pytest.raises(ValueError, match="slow_ratio must be above 1"):
        Options(slow_ratio=0.5)
    with pytest.raises(ValueError, match="runs must be 2 or more"):
        Options(runs=1)
