"""A report as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._extras import install
from . import CannotRunError
from .schema import Report, Row
from .shapes import Shape, pool_sizes
from .table import shape_of


def require() -> Any:
    """Import matplotlib for drawing into files.

    Raises:
        CannotRunError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise CannotRunError(f"--plot needs matplotlib ({error}): {install('plot')}") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def draw(report: Report, path: Path) -> None:
    """Write a picture: per mode, every contender's p50 as a dot and p99 as the end of its line.

    Of pools: per shape, p50 over the number of streams in a call.

    Raises:
        CannotRunError: matplotlib is not installed, or the file can't be written.
    """
    plt = require()
    rows = report["rows"]
    singles = [mode for mode in report["settings"]["modes"] if not _streams(mode)]
    shapes = list(dict.fromkeys(shape_of(row) for row in rows))
    pooled = [shape for shape in shapes if any(_streams(r["mode"]) for r in rows)]
    series = list(dict.fromkeys((r["contender"], r["weights"]) for r in rows))
    colours = plt.get_cmap("tab10").colors
    looks = {name: (number, colours[number % 10]) for number, name in enumerate(series)}
    panels = len(singles) + len(pooled)
    width = max(7.0, 1.1 * len(shapes) + 2.5)
    figure, axes = plt.subplots(panels, 1, figsize=(width, 1.0 + 2.7 * panels), squeeze=False)
    for axis, mode in zip(axes[:, 0], singles, strict=False):
        _draw_mode(axis, [row for row in rows if row["mode"] == mode], shapes, looks)
        _dress(axis, mode)
        axis.sharey(axes[0, 0])
    for axis, shape in zip(axes[len(singles) :, 0], pooled, strict=True):
        _draw_pools(axis, [row for row in rows if shape_of(row) == shape], looks)
        _dress(axis, f"pools, {shape.name} {shape.sizes}".replace(",  ", ", "))
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.suptitle(f"One step, {report['machine']['cpu']}, one thread: p50 (dot) to p99 (line)")
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), fontsize=8)
    figure.set_layout_engine("constrained")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise CannotRunError(f"cannot write {path}: {error}") from None
    finally:
        plt.close(figure)


Looks = dict[tuple[str, str], tuple[int, Any]]  # the number and the colour of each series


def _streams(mode: str) -> int | None:
    """How many streams a call takes in that mode; None where it is no pool's."""
    return pool_sizes(mode)[0] if mode.startswith(("pool", "half")) else None


def _draw_mode(axis: Any, rows: list[Row], shapes: list[Shape], looks: Looks) -> None:
    for (contender, weights), (number, colour) in looks.items():
        own = [r for r in rows if (r["contender"], r["weights"]) == (contender, weights)]
        shift = 0.6 * ((number + 0.5) / len(looks) - 0.5)
        at = [shapes.index(shape_of(row)) + shift for row in own]
        p50, p99 = [r["p50"] for r in own], [r["p99"] for r in own]
        axis.vlines(at, p50, p99, color=colour, lw=1.5)
        axis.plot(at, p50, "o", color=colour, ms=5, label=f"{contender} {weights}")
    axis.set_xlim(-0.5, len(shapes) - 0.5)
    labels = [f"{shape.name}\n{shape.sizes}".strip() for shape in shapes]
    axis.set_xticks(range(len(shapes)), labels, fontsize=8)
    for edge in range(1, len(shapes)):
        axis.axvline(edge - 0.5, color="0.92", lw=0.8)


def _draw_pools(axis: Any, rows: list[Row], looks: Looks) -> None:
    """Dots and lines over N for whole pools; a ring where a call takes a random half."""
    for (contender, weights), (_, colour) in looks.items():
        own = [r for r in rows if (r["contender"], r["weights"]) == (contender, weights)]
        for kind, style in (("pool", "o-"), ("half", "o")):
            found = [r for r in own if r["mode"].startswith(kind)]
            axis.plot(
                [_streams(row["mode"]) for row in found],
                [row["p50"] for row in found],
                style,
                color=colour,
                ms=5 if kind == "pool" else 9,
                mfc=colour if kind == "pool" else "none",
                label=f"{contender} {weights}" if kind == "pool" else None,
            )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set_xlabel("streams in a call; ring: a random half of a pool", fontsize=8)


def _dress(axis: Any, title: str) -> None:
    axis.set_yscale("log")
    axis.set_ylabel("us per step")
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.tick_params(axis="y", which="minor", labelsize=7)
    axis.grid(True, axis="y", which="major", color="0.85")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
