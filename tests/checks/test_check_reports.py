"""All checks of a target, and the report: text, JSON, JUnit."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import wrong_targets as wrong
from caught import QUICK
from wrong_targets import ONE_LAYER, Numpy

from lstm_fast import LSTM, checks
from lstm_fast.checks import TargetError
from lstm_fast.formats import safetensors


def test_a_target_that_breaks_down_fails_where_it_does():
    report = checks.run(Numpy(wrong.Breaks), options=QUICK, only=["determinism", "reset", "nan"])
    assert report["determinism"].status == "passed"
    assert report["nan"].failed
    assert "NaN in the frame" in report["nan"].text
    assert report.exit_status == 1


@pytest.mark.parametrize(
    ("what", "check", "says"),
    [
        ("run", "chunks", r"run(xs) raised ZeroDivisionError: no"),
        ("reset", "reset", "reset() raised ZeroDivisionError: no"),
        ("state", "reset", "state raised ZeroDivisionError: no"),
        ("batch", "isolation", "batch(2) raised ZeroDivisionError: no"),
        ("batch step", "isolation", "step(xs) of a batch of 2 raised ZeroDivisionError: no"),
    ],
)
def test_whatever_a_target_raises_is_a_failure_that_says_where(what, check, says):
    def fails(*_):
        raise ZeroDivisionError("no")

    class Session(wrong.Session):
        state = property(fails) if what == "state" else None

    class Target(Numpy):
        def batch(self, n):
            rows = fails() if what == "batch" else super().batch(n)
            if what == "batch step":
                rows.step = fails
            return rows

    for name in {"run", "reset"} & {what}:
        setattr(Session, name, fails)
    target = Target(Session, seen=False)
    if what == "state":  # not even the first step can be recorded
        with pytest.raises(TargetError, match="state raised ZeroDivisionError"):
            checks.run(target, options=QUICK, only=[check])
        return
    (result,) = checks.run(target, options=QUICK, only=[check]).results
    assert result.failed
    assert says in result.text
    with pytest.raises(AssertionError):
        exec(result.reproduction, {"target": target})


def test_a_target_that_cannot_be_stepped_raises():
    class Wrong(wrong.Session):
        def step(self, x):
            return "hello"

    with pytest.raises(TargetError, match="no array of real numbers"):
        checks.run(Numpy(Wrong))


def test_what_is_no_target_is_told():
    lstm = LSTM.from_weights(ONE_LAYER)
    for check in (checks.run, checks.reset, checks.isolation):
        with pytest.raises(TypeError, match=r"expected a checks.Target, found LSTM: .*from_lstm"):
            check(lstm)

    class Sizeless(Numpy):
        def __init__(self):
            super().__init__()
            del self.input_size

    with pytest.raises(TypeError, match=r"numpy\.input_size must be the values in a frame"):
        checks.run(Sizeless())


def test_the_mistake_is_named():
    class Permuted(wrong.Session):
        def gates(self, i, f, g, o, c):
            return super().gates(f, i, g, o, c)

    report = checks.run(Numpy(Permuted, ONE_LAYER), ONE_LAYER, QUICK, only=["agreement"])
    diagnosis = report["agreement"].diagnosis
    assert diagnosis[0]["mistake"].startswith("gate_order")
    assert "likely mistake: gate_order" in report["agreement"].details()
    assert "likely mistake" in str(report).replace("\n", " ")


class Unknown(wrong.Session):
    """No mistake that is known."""

    def gates(self, i, f, g, o, c):
        h, c = super().gates(i, f, g, o, c)
        return h, c + np.float32(1e-4) * np.sin(np.float32(1e4) * h)


class DoublesLater(wrong.Session):
    """Right for 150 steps."""

    steps = 0

    def reset(self):
        super().reset()
        self.steps = 0

    def step(self, x):
        self.steps += 1
        return super().step(x) * np.float32(1 + (self.steps > 150))


def test_that_nothing_explains_it_is_said_everywhere():
    report = checks.run(Numpy(Unknown, ONE_LAYER), ONE_LAYER, QUICK, only=["agreement"])
    (result,) = report.results
    assert result.failed
    assert result.diagnosis == ()
    assert "nothing known explains it: none of" in result.note
    assert "pairs" in result.note
    (read,) = json.loads(report.to_json())["results"]
    assert read["note"] == result.note
    failure = ElementTree.fromstring(report.to_junit().partition("?>")[2]).find(".//failure")
    for text in (failure.text, report.text(width=400), result.details()):
        assert f"diagnosis: {result.note}" in text.replace("\n", " ")
    right = checks.run(Numpy(weights=ONE_LAYER), ONE_LAYER, QUICK, only=["agreement"])
    assert right["agreement"].note == ""
    assert "diagnosis" not in str(right)


def test_the_note_does_not_call_right_what_has_failed():
    target = Numpy(DoublesLater, ONE_LAYER)
    xs = np.ones((200, 5), np.float32)
    assert checks.agreement(target, ONE_LAYER, sequences=[xs]).numbers["first_exceeding"]
    report = checks.run(target, ONE_LAYER, QUICK, only=["agreement", "drift"])
    assert report["agreement"].status == "passed"  # 128 steps at most
    assert report["drift"].failed
    assert "it differs only later" in report["drift"].note
    spoilt = checks.run(Numpy(wrong.ResetsByMultiplying, ONE_LAYER), ONE_LAYER, QUICK)
    assert spoilt["reset"].failed
    assert "no mistake shows in the first 128 steps" in spoilt["reset"].note


def test_a_state_that_is_shown_and_not_taken_does_not_hide_the_mistake():
    class Shows(wrong.OrderOfOnnx):
        state = None

        def reset(self):
            super().reset()
            self.state = self.h.copy(), self.c.copy()

        def step(self, x):
            y = super().step(x)
            self.state = self.h.copy(), self.c.copy()  # and one that is assigned has no effect
            return y

    report = checks.run(Numpy(Shows, ONE_LAYER, False), ONE_LAYER, QUICK, only=["agreement"])
    assert [one["mistake"] for one in report["agreement"].diagnosis] == ["gate_order:iofg"]


def test_the_reproduction_of_what_needs_a_reference_reads_it(tmp_path):
    path = tmp_path / "reference.safetensors"
    safetensors.write(path, ONE_LAYER)
    target = Numpy(wrong.OrderOfOnnx, ONE_LAYER)
    options = replace(QUICK, output_is_h=False)
    result = checks.run(target, path, options, only=["drift"])["drift"]
    assert "output_is_h=False" in result.reproduction
    with pytest.raises(AssertionError, match="times its bound off"):
        exec(result.reproduction, {"target": target})
    exec(result.reproduction, {"target": Numpy(weights=ONE_LAYER)})
    unknown = checks.run(target, ONE_LAYER, QUICK, only=["drift"])["drift"]
    assert "# reference: the LSTM that it should be" in unknown.reproduction


def test_only_and_skip():
    report = checks.run(Numpy(), options=QUICK, only=["reset", "chunks"], skip=["chunks"])
    assert [one.name for one in report.results] == ["reset"]
    with pytest.raises(ValueError, match="there is no check 'rest'"):
        checks.run(Numpy(), only=["rest"])
    skipped = checks.run(Numpy(), only=["drift"])
    assert skipped["drift"].status == "skipped"
    assert skipped.exit_status == 2
    assert not skipped.passed


@pytest.fixture(scope="module")
def failing():
    names = ["reset", "determinism", "agreement", "chunks"]
    return checks.run(Numpy(wrong.ForgetsToResetC), options=QUICK, only=names)


def test_json(failing, tmp_path):
    text = failing.to_json(tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text())
    assert read == json.loads(text)
    assert read["passed"] is False
    by_name = {one["name"]: one for one in read["results"]}
    assert by_name["reset"]["reproduction"] == failing["reset"].reproduction
    assert by_name["agreement"]["status"] == "skipped"
    assert read["facts"]["input_size"] == 5


def test_junit(failing, tmp_path):
    failing.to_junit(tmp_path / "report.xml")
    root = ElementTree.parse(tmp_path / "report.xml").getroot()
    suite = root.find("testsuite")
    assert suite.attrib["tests"] == "4"
    assert suite.attrib["failures"] == "1"
    assert suite.attrib["skipped"] == "1"
    assert suite.attrib["errors"] == "1"  # agreement, which nobody asked to skip
    cases = {case.attrib["name"]: case for case in suite.findall("testcase")}
    assert "assert bits(again) == bits(fresh)" in cases["reset"].find("failure").text
    assert cases["determinism"].find("failure") is None
    assert cases["chunks"].find("skipped") is not None
    assert cases["agreement"].find("skipped") is None
    assert "no reference was given" in cases["agreement"].find("error").attrib["message"]


def test_junit_holds_any_text():
    bad = checks.CheckResult(
        "reset", "failed", "\x00\x1b[0m \ud800 \uffff <&>", {"a": float("nan")}
    )
    report = checks.Report("a <target>", (bad,))
    assert ElementTree.fromstring(report.to_junit().partition("?>")[2]).attrib["failures"] == "1"
    assert json.loads(report.to_json())["results"][0]["numbers"]["a"] == "nan"


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("color", [True, False])
def test_text(failing, rich, color, monkeypatch):
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(__import__("sys").modules, "rich", None)
    text = failing.text(color=color, width=80)
    assert "FAILED" in text
    assert failing.summary in text.replace("\n", " ") or color
    if not color:
        assert failing["reset"].reproduction.rstrip() in text  # to be copied, not wrapped
