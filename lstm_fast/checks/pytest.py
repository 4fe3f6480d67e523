"""Checks in pytest: write `pytest_plugins = ["lstm_fast.checks.pytest"]` in a conftest.py.

    def test_my_port(lstm_check):
        lstm_check(target, reference=weights)

Each check that fails is a failure of its own, with its reproduction: as a subtest where pytest has
those (9.0 and newer, or with pytest-subtests), else all in one failure. For a test of each check:

    @pytest.mark.parametrize("name", lstm_fast.checks.NAMES)
    def test_my_port(lstm_check, name):
        lstm_check(target, reference=weights, only=[name])

`lstm_check` takes what `checks.run` takes; target may also be what an adapter knows: an LSTM, a
torch module, a Keras model. It returns the `Report`. With the marker `lstm_options`, such as
`@pytest.mark.lstm_options(drift_steps=1000)`, `Options` can be set for a test, a class or a module.

A test also fails where a main check, agreement or drift, was skipped and nobody asked for that, as
for want of a reference: `lstm_check(target, reference=None)` asks for it, and so do `only` and
`skip`. What the report warns of, such as a slow path, is a `CheckWarning` of the test.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from . import runner
from ._loading import as_target
from .options import DEFAULT, Options
from .references import NOT_GIVEN
from .results import CheckResult, Report

__all__ = ["CheckWarning", "lstm_check"]


class CheckWarning(UserWarning):
    """What the report of a test warns of: no failure, and still to be looked at."""


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers", "lstm_options(**options): lstm_fast.checks.Options for lstm_check"
    )


@pytest.fixture
def lstm_check(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """Return a function that runs the checks of a target and fails where one does."""
    chosen: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("lstm_options"))):
        chosen |= marker.kwargs

    def check(
        target: Any,
        reference: Any = NOT_GIVEN,
        options: Options | None = None,
        *,
        input_size: int | None = None,
        **more: Any,
    ) -> Report:
        __tracebackhide__ = True
        settings = replace(options or DEFAULT, **chosen)
        report = runner.run(as_target(target, input_size), reference, settings, **more)
        for text in report.warnings:
            warnings.warn(f"{report.target}: {text}", CheckWarning, stacklevel=2)
        _fail(request, report)
        if report.missing:
            pytest.fail(report.summary, pytrace=False)
        if report.results and all(one.status == "skipped" for one in report.results):
            pytest.skip("; ".join(f"{one.name}: {one.text}" for one in report.results))
        return report

    return check


def _fail(request: pytest.FixtureRequest, report: Report) -> None:
    __tracebackhide__ = True
    if not report.failures:
        return
    subtests = _subtests(request)
    if subtests is None or len(report.failures) == 1:
        pytest.fail(_text(report.target, report.failures), pytrace=False)
    for failure in report.failures:
        with subtests.test(msg=failure.name):
            pytest.fail(_text(report.target, (failure,)), pytrace=False)


def _subtests(request: pytest.FixtureRequest) -> Any:
    try:
        return request.getfixturevalue("subtests")
    except pytest.FixtureLookupError:
        return None


def _text(target: str, failures: tuple[CheckResult, ...]) -> str:
    return f"{target}\n\n" + "\n\n".join(failure.details() for failure in failures)
