"""A report as a picture."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from . import CannotRunError
from .schema import Report
from .table import shape_of


def require() -> Any:
    """Import matplotlib for drawing into files.

    Raises:
        CannotRunError: it is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError as error:
        raise CannotRunError(
            f"--plot needs matplotlib ({error}): pip install 'lstm-fast[bench]'"
        ) from None
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def draw(report: Report, path: Path) -> None:
    """Write a picture: per mode, every contender's p50 as a dot and p99 as the end of its line.

    Raises:
        CannotRunError: matplotlib is not installed, or the file can't be written.
    """
    plt = require()
    modes = report["settings"]["modes"]
    shapes = list(dict.fromkeys(shape_of(row) for row in report["rows"]))
    series = list(dict.fromkeys((r["contender"], r["weights"]) for r in report["rows"]))
    width = max(7.0, 1.1 * len(shapes) + 2.5)
    figure, axes = plt.subplots(
        len(modes),
        1,
        figsize=(width, 1.0 + 2.7 * len(modes)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    colours = plt.get_cmap("tab10").colors
    for axis, mode in zip(axes[:, 0], modes, strict=True):
        for number, name in enumerate(series):
            shift = 0.6 * ((number + 0.5) / len(series) - 0.5)
            rows = [
                r
                for r in report["rows"]
                if (r["contender"], r["weights"], r["mode"]) == (*name, mode)
            ]
            at = [shapes.index(shape_of(row)) + shift for row in rows]
            colour = colours[number % len(colours)]
            axis.vlines(
                at, [r["p50"] for r in rows], [r["p99"] for r in rows], color=colour, lw=1.5
            )
            axis.plot(at, [r["p50"] for r in rows], "o", color=colour, ms=5, label=" ".join(name))
        _dress(axis, mode, len(shapes))
    labels = [f"{shape.name}\n{shape.sizes}".strip() for shape in shapes]
    axes[-1, 0].set_xticks(range(len(shapes)), labels, fontsize=8)
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


def _dress(axis: Any, mode: str, count: int) -> None:
    axis.set_yscale("log")
    axis.set_xlim(-0.5, count - 0.5)
    axis.set_ylabel("us per step")
    axis.set_title(mode, loc="left", fontsize=10, fontweight="bold")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(True, axis="y", which="major", color="0.85")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    for edge in range(1, count):
        axis.axvline(edge - 0.5, color="0.92", lw=0.8)
