"""Each careless implementation is caught by the check that is there for it; the right one passes.

Every failure has a reproduction, which is run: it fails on the careless one and passes on the right
one.
"""

from __future__ import annotations

import numpy as np
import pytest
import wrong_targets as wrong
from wrong_targets import ONE_LAYER, WEIGHTS, Numpy

from lstm_fast import LSTM, Activation, Cell, checks
from lstm_fast.checks import Options, adapters
from lstm_fast.checks._compare import ordered
from lstm_fast.checks.target import record

QUICK = Options(drift_steps=600, drift_seconds=60, samples=20, timing_seconds=0.2)


def reproduce(result, target, **names):
    """Run a failure's reproduction with that target."""
    assert result.reproduction
    exec(compile(result.reproduction, "<reproduction>", "exec"), {"target": target, **names})


def caught(result, careless, right=None, **names):
    """Check that a result is a failure whose reproduction tells careless from right."""
    assert result.status == "failed", result.text
    with pytest.raises(AssertionError):
        reproduce(result, careless, **names)
    reproduce(result, right or Numpy(), **names)


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


# ---- agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [True, False], ids=["state", "outputs"])
def test_agreement_gives_the_first_step_that_is_off(seen):
    careless = Numpy(wrong.WrongLater, seen=seen)
    result = checks.agreement(careless, WEIGHTS)
    caught(result, careless, Numpy(seen=seen))
    first = result.numbers["first_exceeding"]
    assert (first["step"], first["unit"]) == (40, 3)
    assert first["layer"] == 1
    cohorts = result.numbers["cohorts"]
    assert cohorts["2-8"]["of_bound"] < 1 < cohorts["33-128"]["of_bound"]
    layers = result.numbers["layers"]
    assert layers[1]["h"]["of_bound"] > 1
    if seen:
        assert layers[0]["h"]["of_bound"] < 1
        assert layers[0]["c"]["max_ulp"] >= layers[0]["c"]["mean_ulp"] > 0


def test_agreement_finds_a_state_of_sixteen_bits():
    careless = Numpy(wrong.LosesPrecision)
    result = checks.agreement(careless, WEIGHTS)
    caught(result, careless)
    assert result.numbers["first_exceeding"]["part"] == "c"


def test_agreement_finds_gates_in_another_order():
    class Permuted(wrong.Session):
        def gates(self, i, f, g, o, c):
            return super().gates(f, i, g, o, c)

    for seen in (True, False):
        careless = Numpy(Permuted, seen=seen)
        result = checks.agreement(careless, WEIGHTS)
        caught(result, careless, Numpy(seen=seen))
        assert result.numbers["first_exceeding"]["step"] <= 1


def test_agreement_takes_sequences_of_the_caller():
    xs = np.linspace(-1, 1, 35, dtype=np.float32).reshape(7, 5)
    result = checks.agreement(Numpy(), WEIGHTS, sequences=[xs])
    assert result.numbers["steps"] == 7
    careless = Numpy(wrong.LosesPrecision)
    caught(checks.agreement(careless, WEIGHTS, sequences=[xs]), careless)


def test_nothing_to_compare_is_said():
    class Head(wrong.Session):
        def step(self, x):
            return super().step(x)[:2]

    result = checks.agreement(Numpy(Head, seen=False), WEIGHTS)
    assert result.status == "skipped"
    assert "the state is not seen" in result.text
    assert checks.agreement(Numpy(Head), WEIGHTS).status == "passed"  # by its state
    with pytest.raises(ValueError, match="the reference takes 6 values per frame"):
        checks.run(Numpy(), LSTM.random(6, 8))
    head = Options(output_is_h=False)  # of the same size as h, by chance
    assert checks.agreement(Numpy(wrong.Doubles), WEIGHTS, head).status == "passed"
    assert checks.agreement(Numpy(wrong.Doubles), WEIGHTS).failed
    assert checks.agreement(Numpy(wrong.Doubles, seen=False), WEIGHTS, head).status == "skipped"
    other = checks.agreement(Numpy(), LSTM.random(5, 9, 2))
    assert other.status == "failed"
    assert "(2, 9)" in other.text


VARIANTS = {
    "plain": {},
    "projected": {"proj_size": 5},
    "coupled": {"cell": Cell(coupled="forget", cell_clip=0.5)},
    "activations": {"cell": Cell(gate="hard_sigmoid", input="softsign", output=Activation("elu"))},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_our_backends_pass_with_every_variant(implementation, options):
    lstm = implementation.random(6, 9, 2, **options)
    report = checks.run(
        adapters.from_lstm(lstm), lstm, QUICK, only=["agreement", "reset", "isolation", "chunks"]
    )
    assert report.passed, str(report)
    off = LSTM.random(6, 9, 2, seed=1, **options)
    assert checks.agreement(adapters.from_lstm(lstm), off).failed


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_outputs_alone_agree_with_every_variant(options):
    lstm = LSTM.random(6, 9, 2, **options)

    target = adapters.from_sessions(lambda: _Blind(lstm.stream()), 6)
    result = checks.agreement(target, lstm)
    assert result.status == "passed", result.text
    assert result.numbers["judged_by"] == "output"
    assert result.numbers["steps_with_a_bound"] == result.numbers["steps"]
    assert checks.agreement(target, LSTM.random(6, 9, 2, seed=1, **options)).failed


class _Blind:
    """Hides the state."""

    def __init__(self, stream):
        self._stream = stream

    def reset(self):
        self._stream.reset()

    def step(self, x):
        return self._stream.step(x)


def test_float16_weights_of_ours_are_told_from_float32():
    lstm = LSTM.random(16, 16)
    result = checks.agreement(adapters.from_lstm(lstm.astype("float16")), lstm)
    assert result.failed


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
