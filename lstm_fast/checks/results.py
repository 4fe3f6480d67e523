"""What a check found, and a report of all of them: text, JSON, JUnit XML."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from xml.etree import ElementTree

from . import _verdict

__all__ = ["MAIN", "CheckResult", "Report", "Status"]

Status: TypeAlias = Literal["passed", "failed", "skipped"]
MAIN = ("agreement", "drift")
"""The checks that say whether it computes what it should; all others only compare it with itself.

A report in which one of them was skipped, though nobody asked for that, has not passed.
"""
UNPRINTABLE = {code: "?" for code in range(32) if code not in (9, 10, 13)}  # not allowed in XML


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    name: of the check, as in `checks.NAMES`.
    status: "passed", "failed", or "skipped", where the target can't do what is checked.
    on_purpose: of a check that was skipped: whether that was asked for, so that nothing is missing.
    warnings: what is not a failure and still needs a look, each in a few words.
    text: one paragraph that says what was found, and what to do about it.
    numbers: what was measured, by name: numbers, strings, and dicts and lists of these.
    reproduction: of a failure: Python that raises AssertionError as long as it is there.
    diagnosis: the mistakes that explain it, best first, where any does.
    note: what the diagnosis came to, in a sentence, also where nothing explains it.
    seconds: what the check took.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> result = checks.reset(checks.adapters.from_lstm(LSTM.random(3, 4)))
        >>> result.name, result.status
        ('reset', 'passed')
        >>> print(result.text)
        the same bits as a new session after each of ...
    """

    name: str
    status: Status
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)
    reproduction: str | None = None
    diagnosis: tuple[dict[str, Any], ...] = ()
    note: str = ""
    seconds: float = 0.0
    on_purpose: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def is_main(self) -> bool:
        """Whether it is one of `MAIN`."""
        return self.name in MAIN

    @property
    def is_missing(self) -> bool:
        """Whether it is a main check that was skipped without anybody having asked for that."""
        return self.is_main and self.status == "skipped" and not self.on_purpose

    @property
    def failed(self) -> bool:
        """Whether it is a failure."""
        return self.status == "failed"

    def to_dict(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers."""
        return {
            "name": self.name,
            "status": self.status,
            "text": self.text,
            "numbers": plain(self.numbers),
            "reproduction": self.reproduction,
            "diagnosis": plain(list(self.diagnosis)),
            "note": self.note,
            "seconds": round(self.seconds, 4),
            "on_purpose": self.on_purpose,
            "warnings": list(self.warnings),
        }

    def causes(self) -> list[str]:
        """Return what the diagnosis came to, a paragraph for each mistake, or that none is known.

        Several explain it only where what was seen does not tell them apart.
        """
        which = "likely mistake" if len(self.diagnosis) == 1 else "one of these"
        found = [
            f"{which}: {one['mistake']}: {one['words']}. {one['explanation']}{_alias(one)}"
            f"{_shows(one)}"
            for one in self.diagnosis
        ]
        return found or ([f"diagnosis: {self.note}"] if self.note else [])

    def details(self) -> str:
        """Return text, diagnosis and reproduction as one plain text."""
        parts = [f"{self.name} {self.status}: {self.text}", *self.causes()]
        if self.reproduction:
            parts.append(f"to reproduce:\n\n{self.reproduction}")
        return "\n\n".join(parts)


def _shows(one: dict[str, Any]) -> str:
    """Say where a mistake first shows."""
    return f". It {one['shows']}" if one.get("shows") else ""


def _alias(one: dict[str, Any]) -> str:
    """Say which other mistakes come to the same, with the weights of the reference."""
    return f" (with these weights the same as {', '.join(one['same'])})" if one["same"] else ""


@dataclass(frozen=True)
class Report:
    """The results of all checks of a target.

    target: its name. facts: what it is, where and when it was checked. results: in the order in
    which they ran. remarks: what is doubtful about the target or the reference themselves.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> class Forgetful:
        ...     def __init__(self):
        ...         self.step = LSTM.random(3, 4).stream().step
        ...     def reset(self): ...  # does nothing
        >>> mine = checks.adapters.from_sessions(Forgetful, 3, name="mine")
        >>> report = checks.run(mine, only=["reset", "determinism"])
        >>> report.exit_status, [result.name for result in report.failures]
        (1, ['reset'])
        >>> print(report.summary)
        mine: FAILED: reset (1 failed, 1 passed in ...)
    """

    target: str
    results: tuple[CheckResult, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The results that failed."""
        return tuple(result for result in self.results if result.failed)

    @property
    def missing(self) -> tuple[CheckResult, ...]:
        """The main checks (`MAIN`) that were skipped without anybody having asked for that."""
        return tuple(result for result in self.results if result.is_missing)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not a failure and still needs a look: the remarks, and those of each check."""
        return self.remarks + tuple(text for result in self.results for text in result.warnings)

    @property
    def passed(self) -> bool:
        """Whether nothing failed, something ran, and no main check is missing."""
        return self.exit_status == 0

    @property
    def exit_status(self) -> int:
        """0: passed; 1: a check failed; 2: nothing could be run; 3: a main check is missing."""
        if self.failures:
            return 1
        if not any(one.status == "passed" for one in self.results):
            return 2
        return 3 if self.missing else 0

    def __getitem__(self, name: str) -> CheckResult:
        """Return the result of that check."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(f"there is no check {name!r} in this report, but {self._names()}")

    def _names(self) -> str:
        return ", ".join(result.name for result in self.results)

    @property
    def summary(self) -> str:
        """The verdict in one line: passed or not, what is missing, the warnings, the counts."""
        return _verdict.text(self)

    def to_dict(self) -> dict[str, Any]:
        """Return it as dicts, lists, strings and numbers."""
        return {
            "format": "lstm_fast.checks/1",
            "target": self.target,
            "passed": self.passed,
            "exit_status": self.exit_status,
            "summary": self.summary,
            "missing": [result.name for result in self.missing],
            "warnings": list(self.warnings),
            "facts": plain(self.facts),
            "results": [result.to_dict() for result in self.results],
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return it as JSON, and write it to a file where one is given.

        What is not finite is a string ("nan", "inf", "-inf"), since JSON has no numbers for it.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_junit(self, path: str | Path | None = None) -> str:
        """Return it as JUnit XML, one test case for each check, and write it where asked for.

        A main check that is missing is an error there, since a skip in JUnit goes unnoticed.
        """
        counts = {
            "tests": len(self.results),
            "failures": len(self.failures),
            "errors": len(self.missing),
            "skipped": sum(one.status == "skipped" for one in self.results) - len(self.missing),
        }
        seconds = f"{sum(result.seconds for result in self.results):.3f}"
        sizes = {name: str(n) for name, n in counts.items()}
        root = ElementTree.Element("testsuites", sizes | {"time": seconds})
        title = _xml_text(f"lstm_fast.checks: {self.target}")
        suite = ElementTree.SubElement(root, "testsuite", sizes | {"name": title, "time": seconds})
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in [*plain(self.facts).items(), ("summary", self.summary)]:
            ElementTree.SubElement(properties, "property", name=name, value=_xml_text(str(value)))
        for result in self.results:
            _add_case(suite, self.target, result)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def text(self, color: bool = False, width: int = 100) -> str:
        """Return it for a terminal: with `rich` where that is installed, else plain."""
        from . import _terminal_report

        return _terminal_report.text(self, color, width)

    def __str__(self) -> str:
        return self.text()


def _add_case(suite: ElementTree.Element, target: str, result: CheckResult) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_xml_text(f"lstm_fast.checks.{target}"),
        name=result.name,
        time=f"{result.seconds:.3f}",
    )
    if result.failed:
        failure = ElementTree.SubElement(case, "failure", message=_xml_text(result.text))
        failure.text = _xml_text(result.details())
    elif result.is_missing:
        message = _xml_text(f"skipped, and nobody asked for that: {result.text}")
        ElementTree.SubElement(case, "error", message=message)
    elif result.status == "skipped":
        ElementTree.SubElement(case, "skipped", message=_xml_text(result.text))
    out = ElementTree.SubElement(case, "system-out")
    out.text = _xml_text(result.text + "\n" + json.dumps(plain(result.numbers), indent=1))
    if result.warnings:
        warned = ElementTree.SubElement(case, "system-err")
        warned.text = _xml_text("\n".join(f"warning: {text}" for text in result.warnings))


def _xml_text(text: str) -> str:
    """Return text without the characters that XML can't hold."""
    text = text.translate(UNPRINTABLE)
    return "".join("?" if "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff" else c for c in text)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers of NumPy as Python's, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def machine_facts() -> dict[str, Any]:
    """Return what a report says of where it was made."""
    from .. import __version__

    return {
        "lstm_fast": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
