"""Draws the pictures of docs/benchmarks.md from docs/benchmarks.json, as SVG, with Python alone.

    python docs/benchmark_plots.py             # writes docs/_static/benchmark-*.svg
    python docs/benchmark_plots.py --check     # says which of them are not what the data give

Each picture has a background of its own, light or dark as the reader's system asks for, so it is
readable on any page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
DATA = HERE / "benchmarks.json"
WIDTH, LEFT, RIGHT, TOP = 720, 225, 60, 92
CLOSE = 34  # pixels between two dots whose labels would meet
BAR, DOT_ROW = 30, 40  # the height of a row
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.quiet { font-size: 12px; fill: #59636e; }
.back { fill: #ffffff; stroke: #d1d9e0; }
.grid { stroke: #d1d9e0; }
.link { stroke: #b7c0ca; stroke-width: 2; }
.s0 { fill: #0a7d5a; } .s1 { fill: #0b62c4; } .s2 { fill: #c2500a; }
.ours { fill: #0b62c4; } .other { fill: #8c959f; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .quiet { fill: #9ea7b3; }
  .back { fill: #161b22; stroke: #3d444d; }
  .grid { stroke: #3d444d; }
  .link { stroke: #57606a; }
  .s0 { fill: #3fc99a; } .s1 { fill: #58a6ff; } .s2 { fill: #ff9a57; }
  .ours { fill: #58a6ff; } .other { fill: #7d8590; }
}
"""


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def _ticks(scale: str, least: float, most: float) -> list[float]:
    """Return round numbers from below the least value to above the largest."""
    if scale == "linear":
        step = next(s for s in (5, 10, 20, 25, 50, 100, 250) if most / s <= 6)
        return [float(n * step) for n in range(math.ceil(most / step) + 1)]
    every = [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5)]
    first = max(n for n, tick in enumerate(every) if tick <= least)
    last = min(n for n, tick in enumerate(every) if tick >= most)
    return every[first : last + 1]


def _place(scale: str, ticks: list[float]) -> Callable[[float], float]:
    """Return what gives a value its x."""
    turn = math.log if scale == "log" else float
    low, high = turn(ticks[0]), turn(ticks[-1])
    return lambda value: LEFT + (turn(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _grid(ticks: list[float], place: Callable[[float], float], bottom: float) -> Iterator[str]:
    for tick in ticks:
        x = place(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom:.1f}"/>'
        yield _text(x, bottom + 16, f"{tick:g}", "quiet", "middle")


def _dots(chart: dict[str, Any], place: Callable[[float], float]) -> Iterator[str]:
    """Yield a line per row with a dot per series: places on it can be compared on a log scale."""
    for row, (label, values) in enumerate(chart["rows"].items()):
        y = TOP + DOT_ROW * row + DOT_ROW / 2
        xs = [place(value) for value in values]
        yield _text(LEFT - 14, y + 5, label, anchor="end")
        ends = f'x1="{min(xs):.1f}" x2="{max(xs):.1f}"'
        yield f'<line class="link" {ends} y1="{y:.1f}" y2="{y:.1f}"/>'
        for n, (x, value) in enumerate(zip(xs, values, strict=True)):
            yield f'<circle class="s{n}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
            near = [other - x for other in xs if 0 < abs(other - x) < CLOSE]
            anchor = "middle" if len(near) != 1 else "end" if near[0] > 0 else "start"
            yield _text(x, y - 10, f"{value:g}", "quiet", anchor)


def _bars(chart: dict[str, Any], place: Callable[[float], float]) -> Iterator[str]:
    for row, (label, (value,)) in enumerate(chart["rows"].items()):
        y = TOP + BAR * row
        kind = "ours" if label.startswith("lstm_fast") else "other"
        width = place(value) - LEFT
        yield _text(LEFT - 10, y + 19, label.replace("`", ""), anchor="end")
        size = f'width="{width:.1f}" height="{BAR - 9}"'
        yield f'<rect class="{kind}" x="{LEFT}" y="{y + 4}" {size}/>'
        yield _text(LEFT + width + 6, y + 19, f"{value:g}")


def _legend(series: list[str]) -> Iterator[str]:
    x = float(LEFT)
    for n, name in enumerate(series):
        yield f'<circle class="s{n}" cx="{x:.1f}" cy="66" r="6"/>'
        yield _text(x + 12, 71, name)
        x += 40 + 8 * len(name)


def draw(chart: dict[str, Any]) -> str:
    """Return a chart as SVG."""
    values = [value for row in chart["rows"].values() for value in row]
    ticks = _ticks(chart["scale"], min(values), max(values))
    place = _place(chart["scale"], ticks)
    is_log = chart["scale"] == "log"
    bottom = TOP + (DOT_ROW if is_log else BAR) * len(chart["rows"])
    height = bottom + 52
    body = [
        f'<rect class="back" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(20, 30, chart["title"], "title"),
        _text(20, 50, chart["unit"], "quiet"),
        *(_legend(chart["series"]) if is_log else ()),
        *_grid(ticks, place, bottom),
        *(_dots if is_log else _bars)(chart, place),
        _text(20, height - 12, chart["source"], "quiet"),
    ]
    head = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {head}>',
            f"<title>{escape(chart['title'])}</title>",
            f"<style>{STYLE}</style>",
            *body,
            "</svg>",
            "",
        ]
    )


def pictures() -> dict[Path, str]:
    """Return the text of each picture by its path."""
    charts = json.loads(DATA.read_text("utf-8"))
    return {HERE / f"_static/benchmark-{name}.svg": draw(one) for name, one in charts.items()}


def main() -> int:
    """Write the pictures, or compare them."""
    parser = argparse.ArgumentParser(description="draw the pictures of docs/benchmarks.md")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is old")
    is_check = parser.parse_args().check
    old = [p for p, text in pictures().items() if not p.exists() or p.read_text("utf-8") != text]
    for path in old:
        print(f"{path.name} {'is old: python docs/benchmark_plots.py' if is_check else 'written'}")
        if not is_check:
            path.write_text(pictures()[path], "utf-8")
    return 1 if old and is_check else 0


if __name__ == "__main__":
    sys.exit(main())
