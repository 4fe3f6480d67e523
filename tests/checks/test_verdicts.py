"""What a report says in its last line, and by its status: what is missing, and what to look at."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import wrong_targets as wrong
from caught import QUICK
from wrong_targets import ONE_LAYER, WEIGHTS, Numpy

from lstm_fast import LSTM, checks
from lstm_fast.checks import CheckResult, Options, Report, adapters, speed
from lstm_fast.checks.references import NoReference, Reference

LOGIC = ["agreement", "reset", "drift"]


def run(target=None, *arguments, **more):
    return checks.run(target or Numpy(weights=ONE_LAYER), *arguments, options=QUICK, **more)


# ---- main checks ---------------------------------------------------------------------------------


def test_a_report_without_its_main_checks_has_not_passed(tmp_path):
    report = run(only=LOGIC)
    assert (report.passed, report.exit_status) == (False, 3)
    assert [one.name for one in report.missing] == ["agreement", "drift"]
    assert "numpy: INCOMPLETE; agreement and drift were skipped: no reference" in report.summary
    read = json.loads(report.to_json())
    assert (read["passed"], read["exit_status"]) == (False, 3)
    assert read["missing"] == ["agreement", "drift"]
    assert read["summary"] == report.summary
    root = ElementTree.fromstring(report.to_junit().partition("?>")[2])
    assert (root.attrib["errors"], root.attrib["skipped"]) == ("2", "0")
    assert len(root.findall(".//error")) == 2
    assert str(report).count("SKIPPED") == 2


@pytest.mark.parametrize("reference", [ONE_LAYER, LSTM.from_weights(ONE_LAYER)])
def test_with_a_reference_it_has(reference):
    """Negative control of the one before."""
    report = run(None, reference, only=LOGIC)
    assert (report.passed, report.exit_status, report.missing) == (True, 0, ())
    assert "numpy: passed (3 passed in" in report.summary
    assert ElementTree.fromstring(report.to_junit().partition("?>")[2]).attrib["errors"] == "0"


def test_what_was_asked_for_is_not_missing():
    without = run(None, None, only=LOGIC)
    assert (without.passed, without.exit_status) == (True, 0)
    assert "passed; agreement and drift were left out: no reference was wanted" in without.summary
    root = ElementTree.fromstring(without.to_junit().partition("?>")[2])
    assert (root.attrib["errors"], root.attrib["skipped"]) == ("0", "2")
    assert run(only=["reset"]).exit_status == 0
    assert run(only=LOGIC, skip=["agreement", "drift"]).exit_status == 0
    assert run(only=LOGIC, skip=["agreement"]).exit_status == 3


def test_a_failure_is_more_than_what_is_missing():
    report = run(Numpy(wrong.ForgetsToResetC), only=LOGIC)
    assert report.exit_status == 1
    assert "FAILED: reset; agreement and drift were skipped" in report.summary


def test_a_reference_with_which_nothing_can_be_compared_is_not_enough():
    class Sum(wrong.Session):
        def step(self, x):
            return super().step(x).sum()[None]

    report = run(Numpy(Sum, ONE_LAYER, seen=False), ONE_LAYER, only=LOGIC)
    assert report.exit_status == 3
    assert "agreement was skipped: the output has 1 values, the reference's h has 8" in (
        report.summary
    )
    assert "drift was skipped: neither the state nor h is seen" in report.summary


def test_drift_of_int8_is_left_out_by_asking_for_int8():
    small = LSTM.random(16, 24).astype("int8")
    report = run(adapters.from_lstm(small), small, only=["agreement", "drift"])
    assert report.exit_status == 0
    assert "drift was left out: int8 is not held to float64 over many steps" in report.summary


def test_the_reason_is_the_one_that_was_given():
    reason = NoReference("the LSTM takes 128 values per frame, the model 576")
    report = run(None, reason, only=LOGIC)
    assert f"agreement and drift were skipped: {reason.reason} (1 passed" in report.summary


# ---- warnings ------------------------------------------------------------------------------------


def test_what_was_assumed_of_the_reference_is_a_warning():
    reference = Reference(ONE_LAYER, assumptions=("its gates are taken as sigmoid",))
    report = run(None, reference, only=["agreement"])
    assert report.passed
    assert report.warnings == ("reference: its gates are taken as sigmoid",)
    assert "with 1 warning: reference: its gates" in report.summary


class Doubtful(Numpy):
    remarks = ("it may be another model", "its frames are odd")


def test_what_is_doubtful_about_a_target_is_in_the_verdict():
    report = run(Doubtful(), WEIGHTS, only=["agreement"])
    assert report.exit_status == 0
    assert "passed, with 2 warnings: it may be another model; its frames are odd" in report.summary
    assert json.loads(report.to_json())["warnings"] == list(Doubtful.remarks)


def test_few_steps_with_a_bound_are_a_warning(monkeypatch):
    def mostly_blind(*_, judged=3):
        return CheckResult("agreement", "passed", "", {"steps": 79, "steps_with_a_bound": judged})

    monkeypatch.setitem(checks.runner.WITH_REFERENCE, "agreement", mostly_blind)
    report = run(None, ONE_LAYER, only=["agreement"])
    assert report.warnings == ("agreement could judge only 3 of 79 steps",)
    monkeypatch.setitem(
        checks.runner.WITH_REFERENCE, "agreement", lambda *_: mostly_blind(judged=79)
    )
    assert run(None, ONE_LAYER, only=["agreement"]).warnings == ()


@pytest.fixture
def clock(monkeypatch):
    """Time is what wrong.Slow says."""
    monkeypatch.setattr("lstm_fast.checks.speed.time.perf_counter_ns", lambda: wrong.Slow.now)


def test_a_slow_path_is_a_warning_in_the_verdict(clock):
    report = run(Numpy(wrong.Slow), None, only=["slow_paths"])
    assert (report.passed, report.exit_status) == (True, 0)
    (warning,) = report.warnings
    assert warning == "steps with subnormal frames take 5 times as long"
    assert f"passed, with 1 warning: {warning} (" in report.summary
    assert "WARNING" in str(report)
    (result,) = json.loads(report.to_json())["results"]
    assert result["warnings"] == [warning]
    assert "warning: steps with" in report.to_junit()

    class Steady(wrong.Session):
        def step(self, x):
            wrong.Slow.now += 1000
            return super().step(x)

    quick = run(Numpy(Steady), None, only=["slow_paths"])  # control: of the same clock
    assert quick.warnings == ()
    assert "passed (1 passed" in quick.summary


def test_noise_is_no_slow_path(clock):
    class Disturbed(wrong.Session):
        """Slow in the first session with subnormal frames, as beside another program."""

        seen = 0
        is_first = False

        def reset(self):
            super().reset()
            self.is_first = False

        def step(self, x):
            if 0 < abs(float(x[0])) < 1e-38 and not self.is_first:
                Disturbed.seen += 1
                self.is_first = True
            disturbed = self.is_first and Disturbed.seen == 1
            wrong.Slow.now += 50_000 if disturbed else 1000
            return super().step(x)

    result = checks.slow_paths(Numpy(Disturbed), QUICK)
    assert Disturbed.seen == 2  # it was measured again
    assert result.warnings == ()
    assert result.numbers["median_us"]["subnormal"] == 50
    assert result.numbers["ratios"]["subnormal"] == 1


@pytest.mark.parametrize(("ratio", "warned"), [(2.9, 0), (3.1, 1)])
def test_the_limit_of_a_warning_is_the_documented_one(clock, ratio, warned):
    assert speed.SLOW_RATIO == 3
    assert "more than 3" in Options.__doc__

    class Slower(wrong.Session):
        def step(self, x):
            tiny = 0 < abs(float(x[0])) < 1e-38
            wrong.Slow.now += round(1000 * ratio) if tiny else 1000
            return super().step(x)

    assert len(checks.slow_paths(Numpy(Slower), QUICK).warnings) == warned


# ---- targets that break down ---------------------------------------------------------------------


def test_a_target_that_ends_the_program_in_a_check_has_failed_it():
    class Exits(wrong.Session):
        steps = 0

        def step(self, x):
            type(self).steps += 1
            if self.steps > 40:
                raise SystemExit(0)
            return super().step(x)

    report = run(Numpy(Exits), None, only=["determinism", "reset"])
    assert report.exit_status == 1
    assert "step(x) raised SystemExit: 0" in report["determinism"].text
    with pytest.raises(KeyboardInterrupt):  # the user's own is not a failure
        run(Numpy(type("Stops", (wrong.Session,), {"step": _interrupt})), None)


def _interrupt(self, x):
    raise KeyboardInterrupt


def test_outputs_that_no_check_can_use_are_a_failure():
    class Grows(wrong.Session):
        steps = 0

        def step(self, x):
            type(self).steps += 1
            return np.zeros(1 + self.steps // 100)

    report = run(Numpy(Grows, seen=False), None, only=["isolation", "chunks", "determinism", "nan"])
    assert report.exit_status == 1


def test_a_report_of_nothing_has_not_passed():
    assert Report("nothing", ()).exit_status == 2
    assert "nothing: NOTHING COULD BE CHECKED (nothing ran" in Report("nothing", ()).summary
