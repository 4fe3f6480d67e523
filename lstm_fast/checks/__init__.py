"""Checks for any LSTM that is stepped: does it compute what it should, does its reset reset.

    from lstm_fast import checks
    from lstm_fast.checks import adapters

    target = adapters.from_onnx("model.onnx")          # or a torch module, a C function, a program
    report = checks.run(target, reference="model.onnx")
    print(report)                                      # report.passed, .to_json(), .to_junit()

A `Target` is anything that makes sessions with reset() and step(x); `adapters` has ready ones. Each
check is also a function of its own, which returns a `CheckResult`; of a failure that holds a
reproduction: Python to paste, which raises AssertionError as long as the mistake is there.

A report has passed where nothing failed and the target was compared with the LSTM that it should
be: the main checks, `MAIN`, were done, or left out because that was asked for. What is not a
failure and still needs a look, such as steps that take more than `SLOW_RATIO` times as long with
subnormal frames, is in `report.warnings` and in its last line.

In pytest: `pytest_plugins = ["lstm_fast.checks.pytest"]`; in the shell: `lstm-fast check`.
"""

from .agreement import agreement
from .containment import nan_containment
from .endurance import drift
from .isolation import isolation
from .options import Options
from .results import MAIN, CheckResult, Report
from .runner import NAMES, run
from .sessions import chunks, determinism, reset
from .speech import speech
from .speed import SLOW_RATIO, latency, slow_paths
from .target import BatchSession, Recording, Session, Target, TargetError, record

__all__ = [
    "MAIN",
    "NAMES",
    "SLOW_RATIO",
    "BatchSession",
    "CheckResult",
    "Options",
    "Recording",
    "Report",
    "Session",
    "Target",
    "TargetError",
    "agreement",
    "chunks",
    "determinism",
    "drift",
    "isolation",
    "latency",
    "nan_containment",
    "record",
    "reset",
    "run",
    "slow_paths",
    "speech",
]
