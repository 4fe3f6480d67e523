"""All checks of a target, and the report: text, JSON, JUnit."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import wrong_targets as wrong
from wrong_targets import ONE_LAYER, Numpy

from lstm_fast import checks
from lstm_fast.checks import Options, TargetError

QUICK = Options(drift_steps=600, drift_seconds=60, samples=20, timing_seconds=0.2)


def test_a_target_that_breaks_down_fails_where_it_does():
    report = checks.run(Numpy(wrong.Breaks), options=QUICK, only=["determinism", "reset", "nan"])
    assert report["determinism"].status == "passed"
    assert report["nan"].failed
    assert "NaN in the frame" in report["nan"].text
    assert report.exit_status == 1


def test_a_target_that_cannot_be_stepped_raises():
    class Wrong(wrong.Session):
        def step(self, x):
            return "hello"

    with pytest.raises(TargetError, match="no array of real numbers"):
        checks.run(Numpy(Wrong))


def test_the_mistake_is_named():
    class Permuted(wrong.Session):
        def gates(self, i, f, g, o, c):
            return super().gates(f, i, g, o, c)

    report = checks.run(Numpy(Permuted, ONE_LAYER), ONE_LAYER, QUICK, only=["agreement"])
    diagnosis = report["agreement"].diagnosis
    assert diagnosis[0]["mistake"].startswith("gate_order")
    assert "likely mistake: gate_order" in report["agreement"].details()
    assert "likely mistake" in str(report).replace("\n", " ")


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
    assert suite.attrib["skipped"] == "2"
    cases = {case.attrib["name"]: case for case in suite.findall("testcase")}
    assert "assert bits(again) == bits(fresh)" in cases["reset"].find("failure").text
    assert cases["determinism"].find("failure") is None
    assert cases["chunks"].find("skipped") is not None


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
