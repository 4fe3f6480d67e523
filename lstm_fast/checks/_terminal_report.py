"""A report for the terminal."""

from __future__ import annotations

import textwrap
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import CheckResult, Report

STYLES = {
    "ok": "green",
    "FAILED": "bold red",
    "WARNING": "yellow",
    "SKIPPED": "bold yellow",
    "-": "dim",
}
VERDICTS = {0: "green", 1: "bold red", 2: "bold red", 3: "bold yellow"}  # by exit status


def text(report: Report, color: bool, width: int) -> str:
    """Return a report as text, of that width."""
    try:
        import rich  # noqa: F401 - asks whether it is there
    except ImportError:
        return _plain(report, width)
    return _with_rich(report, color, width)


def _mark(result: CheckResult) -> str:
    """Return what to call how a check ended: a main check that is missing is not a mere "-"."""
    if result.status == "skipped":
        return "SKIPPED" if result.is_missing else "-"
    return "FAILED" if result.failed else "WARNING" if result.warnings else "ok"


def _failures(report: Report) -> list[tuple[str, list[str], str]]:
    """Return name, paragraphs and reproduction of each failure."""
    return [
        (
            result.name,
            result.causes(),
            result.reproduction or "",
        )
        for result in report.failures
    ]


def _plain(report: Report, width: int) -> str:
    lines = []
    room = max([len(result.name) for result in report.results], default=0)
    for result in report.results:
        head = f"{_mark(result):7} {result.name:{room}}  "
        body = textwrap.wrap(result.text, max(20, width - len(head))) or [""]
        lines.append(head + body[0])
        lines += [" " * len(head) + line for line in body[1:]]
    for name, paragraphs, reproduction in _failures(report):
        lines += [""]
        for paragraph in paragraphs:
            lines += [*textwrap.wrap(f"{name}: {paragraph}", width), ""]
        lines += [f"{name}: to reproduce", "", reproduction.rstrip()]
    return "\n".join([*lines, "", report.summary])


def _with_rich(report: Report, color: bool, width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    out = StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, color_system="auto"
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title=None)
    for title, options in (("check", {"no_wrap": True}), ("", {"no_wrap": True}), ("found", {})):
        table.add_column(title, **_any(options))
    for result in report.results:
        mark = Text(_mark(result), STYLES[_mark(result)])
        table.add_row(result.name, mark, Text(result.text))
    console.print(table)
    for name, paragraphs, reproduction in _failures(report):
        for paragraph in paragraphs:
            console.print(Text.assemble((f"{name}: ", STYLES["FAILED"]), f"{paragraph}\n"))
        console.print(Text(f"{name}: to reproduce", STYLES["FAILED"]))
        # Code is not wrapped: it is there to be copied.
        if color:
            console.print(
                Syntax(reproduction, "python", word_wrap=False, background_color="default")
            )
        else:
            out.write(f"\n{reproduction.rstrip()}\n\n")
    style = "yellow" if report.passed and report.warnings else VERDICTS[report.exit_status]
    console.print(Text(report.summary, style))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _any(options: Any) -> Any:
    return options
