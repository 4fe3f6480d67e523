"""What is right passes: the checks that need no time, of a target."""

from lstm_fast import checks
from lstm_fast.checks import Options

QUICK = Options(drift_steps=300, drift_seconds=60, samples=10, timing_seconds=0.2, runs=2)
LOGIC = ["agreement", "determinism", "reset", "isolation", "chunks", "nan", "drift"]


def passes(target, weights, only=LOGIC, skipped=()):
    with target:
        report = checks.run(target, weights, QUICK, only=only)
        assert report.passed, str(report)
        assert {one.name for one in report.results if one.status == "skipped"} == set(skipped)
    return report
