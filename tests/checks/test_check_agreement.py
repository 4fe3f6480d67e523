"""Does a target compute the equations: every step, its first error, references of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
import wrong_targets as wrong
from caught import QUICK, caught
from wrong_targets import ONE_LAYER, WEIGHTS, Numpy

from lstm_fast import LSTM, Activation, Cell, checks
from lstm_fast.checks import Options, adapters


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


def test_agreement_that_depends_on_earlier_sessions_is_reproduced_with_them():
    """What the same frames alone do not show in a new process, the whole check does."""

    def careless():
        return Numpy(wrong.OneHForAll, ONE_LAYER)

    result = checks.agreement(careless(), ONE_LAYER)
    assert "it depends on those before it, or on chance; see determinism" in result.text
    for name in ("agreement", "determinism", "reset", "isolation"):
        (result,) = checks.run(careless(), ONE_LAYER, QUICK, only=[name]).results
        caught(result, careless(), Numpy(weights=ONE_LAYER), reference=ONE_LAYER)


def test_agreement_says_where_a_head_may_follow():
    result = checks.agreement(Numpy(wrong.Doubles), WEIGHTS)
    assert "output_is_h=False" in result.text
    careless = checks.agreement(Numpy(wrong.OrderOfOnnx), WEIGHTS)
    assert "output_is_h=False" not in careless.text


@pytest.mark.parametrize("weight_dtype", ["float16", "int8"])
def test_a_reference_of_another_weight_dtype(weight_dtype):
    lstm = LSTM.random(16, 24, 2)
    small = lstm.astype(weight_dtype)
    report = checks.run(adapters.from_lstm(small), small, QUICK)
    assert report.passed, str(report)
    assert report["agreement"].status == "passed"
    assert report["drift"].status == ("passed" if weight_dtype == "float16" else "skipped")
    for wrong_one in (lstm, LSTM.random(16, 24, 2, seed=1, weight_dtype=weight_dtype)):
        target = adapters.from_lstm(wrong_one)
        caught(checks.agreement(target, small), target, adapters.from_lstm(small), reference=small)
    report = checks.run(adapters.from_lstm(lstm), small, QUICK, only=["agreement"])
    assert [one["mistake"] for one in report["agreement"].diagnosis] == ["not_rounded"]


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
