"""Tables as text: by rich where it is installed, and plain otherwise."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from ._extras import needed

__all__ = ["Table", "render"]

UNFOLDED = 1000  # characters


@dataclass
class Table:
    """A table: a title, the columns' names, and rows of as many texts; the first is left-aligned.

    marked has the numbers of rows that are emphasised, with rich's style for each; total says that
    the last row is about all the others.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    marked: dict[int, str] = field(default_factory=dict)
    total: bool = False


def render(tables: list[Table], lines: list[str], rich: bool | None, width: int | None) -> str:
    """Return tables, and lines below them, as text.

    Raises:
        ImportError: rich is True, and rich is not installed.
    """
    try:
        if rich is not False:
            return _rich(tables, lines, width)
    except ImportError:
        if rich:
            raise
    return "\n\n".join([*map(_plain, tables), *(["\n".join(lines)] if lines else [])])


def _plain(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    text = [table.title]
    for row in (table.columns, *table.rows):
        first, *others = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        text.append("  ".join([first, *others]).rstrip())
    return "\n".join(text)


def _rich(tables: list[Table], lines: list[str], width: int | None) -> str:
    with needed("rich", "rich tables"):
        import rich.table
        from rich import box
        from rich.console import Console
    terminal = Console()
    text = io.StringIO()
    console = Console(
        file=text,
        width=width or UNFOLDED,
        force_terminal=terminal.is_terminal,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for table in tables:
        drawn = rich.table.Table(
            title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
        )
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="right" if number else "left", overflow="fold")
        for number, row in enumerate(table.rows):
            last = number == len(table.rows) - 2  # the row of everything is set apart
            drawn.add_row(*row, style=table.marked.get(number), end_section=last and table.total)
        console.print(drawn)
    for line in lines:
        console.print(line, soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).rstrip("\n")
