"""Evaluations as a picture: accuracy with its interval by cohort, and latency beside it."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol

from ._extras import needed
from ._texts import time_text
from .cohorts import Cohort, StandOut

__all__ = ["draw"]

INK, GRID, BAD = "#2b3440", "#d5dae0", "#c0392b"
COLOURS = ("#2f7ed8", "#d98f2b")
BAR = 0.8  # of the room that a cohort has
MARGIN = 0.2  # for the counts, beside the bars


class Drawable(Protocol):
    """What a picture shows of an `Evaluation`."""

    name: str
    level: float
    overall: Cohort
    buckets: dict[str, list[Cohort]]
    stand_outs: list[StandOut]

    def __len__(self) -> int: ...


def draw(evaluations: Sequence[Drawable], path: str | PathLike[str]) -> None:
    """Write one or two evaluations of the same buckets into a picture.

    Cohorts of a single one that are worse than the rest are red.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written.
    """
    with needed("matplotlib", "pictures"):
        import matplotlib.figure as figures
        from matplotlib import ticker
    first = evaluations[0]
    buckets = {name: [c.name for c in cohorts] for name, cohorts in first.buckets.items()}
    buckets = buckets or {"all": ["all"]}
    heights = [1.3 + 0.36 * len(evaluations) * len(names) for names in buckets.values()]
    figure = figures.Figure(figsize=(10, sum(heights) + 0.6), layout="constrained")
    grid = figure.subplots(
        len(buckets), 2, squeeze=False, height_ratios=heights, width_ratios=(3, 2), sharex="col"
    )
    for (left, right), (bucket, names) in zip(grid, buckets.items(), strict=True):
        for number, evaluation in enumerate(evaluations):
            offset = BAR * ((number + 0.5) / len(evaluations) - 0.5)
            _draw_one(left, right, evaluation, bucket, COLOURS[number], offset, len(evaluations))
        for axis in (left, right):
            axis.set_yticks(range(len(names)), names)
            axis.set_ylim(len(names) - 0.5, -0.5)
            _dress(axis)
        left.set_xlim(0, 1 + MARGIN)
        left.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        left.tick_params(labelbottom=True)
        right.tick_params(labelbottom=True)
        left.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        left.set_ylabel(bucket)
        left.yaxis.label.set_color(INK)
        right.set_yticklabels([])
        if right.get_xscale() == "log":
            right.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 3)))
            right.xaxis.set_minor_formatter(ticker.NullFormatter())
        right.xaxis.set_major_formatter(lambda value, _: time_text(value))
    text = f"right answers, {100 * first.level:g} % interval"
    if len(evaluations) == 1:
        text += "; red: worse than the rest"
    grid[0, 0].set_title(text, loc="left", fontsize=10, color=INK)
    grid[0, 1].set_title("latency: p50 (dot) to p99", loc="left", fontsize=10, color=INK)
    title = " and ".join(evaluation.name for evaluation in evaluations)
    figure.suptitle(f"{title}: {len(first)} sequences", color=INK)
    if len(evaluations) > 1:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)


def _draw_one(
    left: Any,
    right: Any,
    evaluation: Drawable,
    bucket: str,
    colour: str,
    offset: float,
    count: int,
) -> None:
    cohorts = evaluation.buckets.get(bucket, [evaluation.overall])
    bad = {(s.cohort.bucket, s.cohort.name) for s in evaluation.stand_outs if s.worse}
    # of two, the colour says which one it is
    colours = [BAD if count == 1 and (c.bucket, c.name) in bad else colour for c in cohorts]
    at = [number + offset for number in range(len(cohorts))]
    values = [c.accuracy.value for c in cohorts]
    spread = [
        [max(0.0, c.accuracy.value - c.accuracy.low) for c in cohorts],
        [max(0.0, c.accuracy.high - c.accuracy.value) for c in cohorts],
    ]
    left.barh(at, values, BAR / count, color=colours, alpha=0.35, edgecolor=colour, linewidth=0.8)
    left.errorbar(values, at, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    left.plot([], [], "s", color=colour, alpha=0.6, label=evaluation.name)
    for place, cohort in zip(at, cohorts, strict=True):
        text = f"{cohort.correct} of {cohort.count}"
        left.annotate(text, (1.02, place), va="center", fontsize=8 if count == 1 else 7, color=INK)
        if cohort.latency is not None:
            ends = [cohort.latency.p50, cohort.latency.p99 or cohort.latency.p50]
            right.plot(ends, [place, place], "-", color=colour, linewidth=1.5)
            right.plot(ends[:1], [place], "o", color=colour, markersize=5)
    if any(cohort.latency is not None for cohort in cohorts):
        right.set_xscale("log")


def _dress(axis: Any) -> None:
    axis.grid(True, axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(axis="both", labelsize=8, colors=INK, length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
