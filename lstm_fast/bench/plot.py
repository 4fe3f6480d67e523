"""A report as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._extras import install
from . import CannotRunError
from .schema import Report, Row
from .shapes import Shape, pool_sizes
from .table import NOT_FOUND, shape_of

MARKERS = {"float32": "o", "float16": "s", "int8": "^"}
LINES = {"float32": "-", "float16": "--", "int8": ":"}
NOT_FOR_ALL = {"pgf", "raw", "rgba"}  # need LaTeX, or are opened by no viewer


def require(path: Path | None = None) -> Any:
    """Import matplotlib for drawing into files, into that one.

    Raises:
        CannotRunError: it is not installed, or the file's name ends as no picture's does.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise CannotRunError(f"--plot needs matplotlib ({error}): {install('plot')}") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.backend_bases import FigureCanvasBase

    known = sorted({*FigureCanvasBase.get_supported_filetypes()} - NOT_FOR_ALL)
    if path is not None and path.suffix.lower().lstrip(".") not in known:
        raise CannotRunError(
            f"cannot write {path}: the name of a picture ends with one of .{', .'.join(known)}"
        )
    return plt


class Look(NamedTuple):
    """How a contender with one weight type is drawn: no two are alike."""

    number: int
    colour: Any  # of its own where there are few, else of the contender
    marker: str  # of the weight type
    line: str
    label: str


Looks = dict[tuple[str, str], Look]


def _looks(rows: Sequence[Row], plt: Any) -> Looks:
    series = list(dict.fromkeys((row["contender"], row["weights"]) for row in rows))
    names = list(dict.fromkeys(name for name, _ in series))
    colours: Sequence[Any] = plt.get_cmap("tab10").colors
    of_series = len(series) <= len(colours)
    if len(names) > len(colours):
        colours = [plt.get_cmap("turbo")(n / (len(names) - 1)) for n in range(len(names))]
    looks = {}
    for number, (name, weights) in enumerate(series):
        colour = colours[number if of_series else names.index(name)]
        label = f"{name} {weights}"
        looks[name, weights] = Look(number, colour, MARKERS[weights], LINES[weights], label)
    return looks


def draw(report: Report, path: Path) -> None:
    """Write a picture into a file.

    Raises:
        CannotRunError: matplotlib is not installed, or the file can't be written.
    """
    plt = require(path)
    drawn = figure(report, plt)
    try:
        drawn.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise CannotRunError(f"cannot write {path}: {error}") from None
    finally:
        plt.close(drawn)


def figure(report: Report, plt: Any) -> Any:
    """Draw: per mode, every contender's p50 as a dot and p99 as the end of its line.

    Of pools: per shape, p50 over the number of streams in a call. Below, when and with what it was
    measured, and whether the machine was too noisy.
    """
    rows = report["rows"]
    modes = [mode for mode in report["settings"]["modes"] if not _streams(mode)]
    single = {mode: [row for row in rows if row["mode"] == mode] for mode in modes}
    single = {mode: own for mode, own in single.items() if own}
    shapes = list(dict.fromkeys(shape_of(row) for row in rows))
    pools = {
        shape: [row for row in rows if shape_of(row) == shape and _streams(row["mode"])]
        for shape in shapes
    }
    pools = {shape: own for shape, own in pools.items() if own}
    looks = _looks(rows, plt)
    panels = len(single) + len(pools)
    width = max(8.0, max(1.1, 0.14 * len(looks)) * len(shapes) + 2.5)
    columns = _columns(looks, width)
    heights = [2.7] * panels + [0.3 + 0.2 * -(-len(looks) // columns)]  # the last for the legend
    drawn, axes = plt.subplots(
        len(heights),
        1,
        figsize=(width, 1 + sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (mode, own) in zip(axes[:, 0], single.items(), strict=False):
        _draw_mode(axis, own, shapes, looks)
        _dress(axis, mode, _times([row for every in single.values() for row in every]))
    for axis, (shape, own) in zip(axes[len(single) : -1, 0], pools.items(), strict=True):
        _draw_pools(axis, own, looks)
        _dress(
            axis,
            f"pools, {shape.name} {shape.sizes}".replace(",  ", ", "),
            [row["p50"] for row in own],
        )
    cpu = report["machine"]["cpu"]
    title = f"One step, {cpu}, one thread: p50 (dot) to p99 (line, where there were 100 steps)"
    drawn.suptitle(_wrapped(title, width, 12), fontsize=12)
    _draw_legend(axes[-1, 0], looks, columns)
    noisy = report["noise"]["too_noisy"]
    drawn.supxlabel(
        _wrapped(_origin(report), width, 8), fontsize=8, color="firebrick" if noisy else "0.3"
    )
    return drawn


def _origin(report: Report) -> str:
    """When and with what it was measured, and what is to be known of the figures."""
    machine, noise = report["machine"], report["noise"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    where = ", virtual machine" if machine["virtual"] else ""
    text = f"{report['created'].replace('T', ' ')}, {packages}, {machine['python']}{where}"
    if any((row["read_fraction"] or 0) > NOT_FOUND for row in report["rows"]):
        text += "; not every read limit was found"
    if noise["too_noisy"]:
        text += (
            f". TOO NOISY to tell small differences: the clock varied by {noise['spread']:.0%}, "
            f"others took {noise['stolen']:.0%} of the time"
        )
    return text


def _wrapped(text: str, inches: float, points: int) -> str:
    """Break into lines that a picture of that width has room for."""
    return textwrap.fill(text, max(20, int(inches * 72 / (0.6 * points))))


def _columns(looks: Looks, inches: float) -> int:
    """How many columns of a legend there is room for."""
    longest = max((len(look.label) for look in looks.values()), default=1)
    return max(1, min(len(looks), int((inches - 0.5) / (0.075 * longest + 0.6))))


def _draw_legend(axis: Any, looks: Looks, columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, ls=look.line, label=look.label)
        for look in looks.values()
    ]
    axis.legend(handles=handles, loc="center", ncols=columns, fontsize=8)
    axis.axis("off")


def _streams(mode: str) -> int | None:
    """How many streams a call takes in that mode; None where it is not a pool's."""
    return pool_sizes(mode)[0] if mode.startswith(("pool", "half")) else None


def _of(rows: Sequence[Row], key: tuple[str, str]) -> list[Row]:
    return [row for row in rows if (row["contender"], row["weights"]) == key]


def _draw_mode(axis: Any, rows: list[Row], shapes: list[Shape], looks: Looks) -> None:
    for key, look in looks.items():
        own = _of(rows, key)
        shift = 0.8 * ((look.number + 0.5) / len(looks) - 0.5)
        at = [shapes.index(shape_of(row)) + shift for row in own]
        p50 = [row["p50"] for row in own]
        p99 = [row["p50"] if row["p99"] is None else row["p99"] for row in own]
        axis.vlines(at, p50, p99, color=look.colour, lw=1.5)
        axis.plot(at, p50, look.marker, color=look.colour, ms=5)
    axis.set_xlim(-0.5, len(shapes) - 0.5)
    labels = [f"{shape.name}\n{shape.sizes}".strip() for shape in shapes]
    axis.set_xticks(range(len(shapes)), labels, fontsize=8)
    for edge in range(1, len(shapes)):
        axis.axvline(edge - 0.5, color="0.92", lw=0.8)


def _draw_pools(axis: Any, rows: list[Row], looks: Looks) -> None:
    """Dots and lines over N for whole pools; a larger ring where a call takes a random half."""
    for key, look in looks.items():
        for kind in ("pool", "half"):
            found = [row for row in _of(rows, key) if row["mode"].startswith(kind)]
            whole = kind == "pool"
            axis.plot(
                [_streams(row["mode"]) for row in found],
                [row["p50"] for row in found],
                look.marker,
                ls=look.line if whole else "",
                color=look.colour,
                ms=5 if whole else 9,
                mfc=look.colour if whole else "none",
            )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set_xlabel("streams in a call; ring: a random half of a pool", fontsize=8)


def _times(rows: list[Row]) -> list[float]:
    return [row["p50"] for row in rows] + [row["p99"] or row["p50"] for row in rows]


def _dress(axis: Any, title: str, times: list[float]) -> None:
    """Give it a title, and a scale with room for all of these times and labels that stay apart."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = min(times, default=1.0) / 1.5, max(times, default=1.0) * 1.5
    axis.set_ylim(low, high)
    steps = (1.0, 2.0, 5.0) if high < 150 * low else (1.0,)
    axis.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=99))
    axis.yaxis.set_minor_locator(LogLocator(base=10, subs=range(2, 10), numticks=99))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(axis="y", labelsize=8)
    axis.set_ylabel("us per step", fontsize=9)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.grid(True, axis="y", which="major", color="0.85")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
