"""A report as text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from .machine import size_text
from .schema import Report, Row
from .shapes import Shape

COLUMNS = (
    f"{'mode':<8} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'max':>8} {'noise':>5} "
    f"{'streams':>8} | {'kernel':>7} {'python':>6} {'GFLOP/s':>7} {'read':>5} {'fma':>5}"
)
NOT_FOUND = 1.005  # of a limit: above, a kernel was faster than what was taken for the limit
LEGEND = """\
mode      hot: one step after the other; cold: {sweep} read before each; prepared: from frame to
          answer after an untimed prepare(); pool64: 64 streams in one call, half2048: a random half
p50..max  us per step of one stream from Python, the clock's own {clock:.0f} ns taken off; -: too
          few steps to tell
noise     how far the medians of blocks of steps lie apart (interquartile range over median)
streams   sessions that one core carries at p50, of 16 ms a frame, or 32 of Silero VAD
kernel    us per step of run() over many frames; python: what a call of step() adds, where it is
          more than noise
read      weights of a step over this CPU's best read bandwidth at that working set; fma: multiply-
          adds over its peak; both measured in this run. GFLOP/s counts the sums only"""
PEERS = "peers     on the right: how many times longer they take at p50 than ours"


def shape_of(row: Row) -> Shape:
    """Return the shape that a row is about."""
    return Shape(row["shape"], row["input_size"], row["hidden_size"], row["num_layers"])


def text(report: Report) -> str:
    """Return the whole report as lines of some 120 characters."""
    lines = [*_head(report), ""]
    for shape, group in groupby(report["rows"], shape_of):
        rows = list(group)
        lines.append(f"{f'{shape.name} {shape.sizes}'.strip():<27} {COLUMNS}")
        if shape.num_layers == 0:
            lines.append(f"  {rows[0]['multiply_adds']:,} multiply-adds with weights in a step")
        previous = ""
        for row in sorted(rows, key=lambda row: _order(row, rows)):
            label = f"{row['contender']:<18} {row['weights']:<8}"
            lines.append(f"{label if label != previous else '':<27} {_figures(row, rows)}".rstrip())
            previous = label
        lines.append("")
    settings = report["settings"]
    sweep = size_text(settings["sweep_bytes"])
    lines.append(LEGEND.format(sweep=sweep, clock=settings["clock_ns"]))
    if any(row["bytes_per_step"] is None for row in report["rows"]):
        lines.append(PEERS)
    lines += ["", *_foot(report)]
    return "\n".join(lines)


def _order(row: Row, rows: list[Row]) -> tuple[int, int]:
    """Rows of one contender together, in the order in which they were measured."""
    labels = [(other["contender"], other["weights"]) for other in rows]
    return labels.index((row["contender"], row["weights"])), rows.index(row)


def _head(report: Report) -> Iterator[str]:
    machine, settings = report["machine"], report["settings"]
    caches = ", ".join(f"{name} {size_text(size)}" for name, size in machine["caches"].items())
    pinned = settings["pinned_cpu"]
    where = "not pinned" if pinned is None else f"pinned to CPU {pinned}"
    virtual = ", in a virtual machine" if machine["virtual"] else ""
    yield f"{machine['cpu']} ({machine['architecture']}{virtual}), {caches}; one thread, {where}"
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    yield f"{packages}, {machine['python']}"


def _figures(row: Row, rows: list[Row]) -> str:
    times = [row["p50"], row["p90"], row["p99"], row["p999"], row["max"]]
    cells = [f"{row['mode']:<8}", *(_us(time, 8) for time in times)]
    streams = "" if row["streams"] is None else f"{row['streams']:,.0f}"
    cells += [_percent(row["noise"]), f"{streams:>8} |"]
    kernel, overhead, rate = row["kernel"], row["overhead"], row["gflop_per_s"]
    if rate is not None:
        doubt = ((row["noise"] or 0) + (row["kernel_noise"] or 0)) * row["p50"]
        python = overhead if overhead is not None and overhead > doubt else None
        cells += [_us(kernel, 7), _us(python, 6), f"{rate:>7.1f}"]
        cells += [_share(row["read_fraction"]), _share(row["fma_fraction"])]
    if row["bytes_per_step"] is None:
        cells.append(_times_ours(row, rows))
    return " ".join(cells)


def _us(time: float | None, width: int) -> str:
    """A time with three digits that mean something."""
    if time is None:
        return f"{'-':>{width}}"
    digits = 3 if time < 1 else 2 if time < 100 else 1 if time < 1000 else 0
    return f"{time:>{width}.{digits}f}"


def _percent(fraction: float | None) -> str:
    return f"{'-':>5}" if fraction is None else f"{fraction:>5.0%}"


def _share(fraction: float | None) -> str:
    """A share of a limit; one above it means that the limit was not found."""
    return ">100%" if fraction is not None and fraction > NOT_FOUND else _percent(fraction)


def _times_ours(peer: Row, rows: list[Row]) -> str:
    """How many times longer a peer takes than each of ours in that mode."""
    own = [row for row in rows if row["mode"] == peer["mode"] and row["bytes_per_step"] is not None]
    one = len({row["contender"] for row in own}) == 1
    return ", ".join(
        f"{peer['p50'] / row['p50']:.1f}x {'' if one else row['contender'] + ' '}{row['weights']}"
        for row in own
    )


def _foot(report: Report) -> Iterator[str]:
    noise = report["noise"]
    yield (
        f"A fixed piece of work of {noise['spin_us']:.0f} us, timed all along, varied by "
        f"{noise['spread']:.1%}; interrupts and neighbours took {noise['stolen']:.1%} of the time."
    )
    if noise["too_noisy"]:
        doubt = max(0.1, 2 * noise["spread"])
        yield (
            "TOO NOISY to tell small differences: this machine was busy with other things. Take no "
            f"difference of less than {doubt:.0%} between two p50 for real; p99 and beyond show "
            "what else ran here."
        )
    beyond = [
        share
        for row in report["rows"]
        for share in (row["read_fraction"], row["fma_fraction"])
        if share is not None and share > NOT_FOUND
    ]
    if beyond:
        yield (
            ">100%: a kernel was faster than what was measured as this CPU's limit, up to "
            f"{max(beyond):.0%} of it, so the limit was not found there, and how near the kernel "
            "comes to it is not known."
        )
