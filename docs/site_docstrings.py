"""Docstrings of lstm_fast as reStructuredText.

They are written to be read in a terminal: code and tables are indented, names are in single
backticks. Google's sections (Args, Raises and the like) are left to napoleon.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

# Below these, what is indented is the section itself.
SECTION = re.compile(
    r"\s*(Args|Arguments|Attributes|Example|Examples|Note|Raises|Returns|Warns|Yields):\s*$"
)
FIELD = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): ")
ROLE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
TABLE_ROW = re.compile(r"\|(.*)\|\s*$")


def _width(line: str) -> int:
    return len(line) - len(line.lstrip())


def _as_code(role: re.Match[str]) -> str:
    """Return a name that begins with what Sphinx would drop, such as `.lfm`, as code."""
    return f"``{role[1]}``" if role[1][0] in ".~!" else role[0]


def _table(rows: list[str]) -> Iterator[str]:
    """Yield a list-table of the rows of a Markdown table."""
    yield from (".. list-table::", "   :header-rows: 1", "")
    for number, row in enumerate(rows):
        if number == 1:  # the rule below the head
            continue
        cells = [re.sub(r"([*|])", r"\\\1", cell.strip()) for cell in row.strip()[1:-1].split("|")]
        yield from (f"   {'* -' if at == 0 else '  -'} {cell}" for at, cell in enumerate(cells))
    yield ""


def _fields(paragraph: list[str]) -> list[str]:
    """Return a list of names and what they are as a list; any other paragraph as it is."""
    heads = [line for line in paragraph if not _width(line)]
    if len(paragraph) < 2 or not all(FIELD.match(line) for line in heads):
        return paragraph
    shown = (
        FIELD.sub(r"- ``\1``: ", line, count=1) if not _width(line) else line for line in paragraph
    )
    return [line if line.startswith("- ") else f"  {line.strip()}" for line in shown]


def converted(lines: list[str]) -> list[str]:
    """Return the lines with indented paragraphs as code, and Markdown's tables as tables."""
    found: list[str] = []
    at, in_section = 0, False
    while at < len(lines):
        line = lines[at]
        if line and not _width(line):
            in_section = bool(SECTION.match(line))
        after_a_gap = at == 0 or not lines[at - 1].strip()
        if TABLE_ROW.match(line):
            end = at
            while end < len(lines) and TABLE_ROW.match(lines[end]):
                end += 1
            found += _table(lines[at:end])
            at = end
            continue
        if _width(line) >= 4 and after_a_gap and not in_section and ">>>" not in line:
            found += ["::", ""]
            while at < len(lines) and (not lines[at].strip() or _width(lines[at]) >= 4):
                found.append(lines[at])
                at += 1
            continue
        end = at + 1
        while line.strip() and end < len(lines) and lines[end].strip():
            end += 1
        paragraph = lines[at:end]
        found += paragraph if in_section or not after_a_gap else _fields(paragraph)
        at = end
    return found


def to_restructured_text(
    app: Sphinx, what: str, name: str, it: Any, options: Any, lines: list[str]
) -> None:
    """Convert a docstring in place, before napoleon sees it."""
    if what == "data":  # which has the docstring of its type; the page itself says what it is
        lines.clear()
    lines[:] = [ROLE.sub(_as_code, line) for line in converted(lines)]


def plain_defaults(
    app: Sphinx, what: str, name: str, it: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str | None, Any]:
    """Write the defaults that a dataclass makes as `...`, so that the signature can be parsed."""
    return signature and signature.replace("<factory>", "..."), returns
