"""Measures contenders at shapes in modes, and returns a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from . import CannotRunError, contenders, limits, machine, peers
from .contenders import Contender, Subject
from .lstms import OneLSTM
from .models import OneModel
from .schema import SCHEMA, Limit, Noise, Report, Row, Settings
from .shapes import MODES, TABLE, Shape, pool_sizes
from .timing import TOO_NOISY, Action, Call, Spin, Times, clock_cost_ns, interleave, pinned

POOLS = (*(f"pool{n}" for n in (1, 4, 8, 16, 64, 256, 1024)), "half2048")
RUN_US = 200.0  # what one timed call of run() should last, so that the call itself is nothing
MOST_FRAMES = 2000
SECOND_LOOKS = 2  # at a limit that a kernel has exceeded


@dataclass
class Plan:
    """What to measure."""

    ours: list[tuple[str, str | None]]  # (backend, ISA)
    shapes: tuple[Shape, ...] = TABLE
    models: tuple[OneModel, ...] = ()
    weights: tuple[str, ...] = ("float32", "float16", "int8")
    modes: tuple[str, ...] = MODES
    peers: tuple[str, ...] = ()
    seconds: float = 0.25  # per row
    progress: Callable[[str], None] = field(default=lambda text: None)


class Checked(NamedTuple):
    """A contender that computes the right thing, and how far it was from the reference."""

    contender: Contender
    error: float


def run(plan: Plan) -> Report:
    """Check every contender, time all of them, and return what came out.

    Raises:
        CannotRunError: a peer is not installed, or a contender is wrong.
    """
    for peer in plan.peers:
        peers.load(peer)
    packages = tuple(name for peer in plan.peers for name in peers.PACKAGES[peer])
    if any(backend == "numba" for backend, _ in plan.ours):
        packages = ("numba", *packages)
    spin, bench, rows = Spin(), Bench(plan.seconds), list[Row]()
    with pinned() as cpu:
        subjects: list[Subject] = [*map(OneLSTM, plan.shapes), *plan.models]
        for number, subject in enumerate(subjects, 1):
            place = f"{number}/{len(subjects)}  {subject.shape.name} {subject.shape.sizes}"
            plan.progress(f"{place}: checking against the reference")
            single = _checked(subject, plan) if {*plan.modes} & {*MODES} else []
            for mode in plan.modes:
                plan.progress(f"{place}: {mode}")
                spin.sample()
                checked = single if mode in MODES else _checked(subject, plan, *pool_sizes(mode))
                rows += bench.rows(subject, mode, checked)
        spin.sample()
        bench.hold_against_limits()
        clock_ns = clock_cost_ns()
    spin_us, spread, stolen = spin.result()
    noise = Noise(
        spin_us=spin_us, spread=spread, stolen=stolen, too_noisy=max(spread, stolen) > TOO_NOISY
    )
    return Report(
        schema=SCHEMA,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine.facts(packages),
        settings=Settings(
            seconds=plan.seconds,
            modes=[*plan.modes],
            pinned_cpu=cpu,
            sweep_bytes=limits.sweep_bytes(),
            clock_ns=clock_ns,
        ),
        noise=noise,
        limits=bench.limits(),
        rows=rows,
    )


def _checked(subject: Subject, plan: Plan, count: int = 1, capacity: int = 0) -> list[Checked]:
    """Make and check all that there is of a subject; capacity: of a pool, 0 for none."""
    made = [
        subject.our_pool(backend, isa, dtype, count, capacity)
        if capacity
        else subject.ours(backend, isa, dtype)
        for backend, isa in plan.ours
        for dtype in plan.weights
    ]
    there = [contender for contender in made if contender is not None]
    if not there:
        raise CannotRunError(
            f"{subject.shape.name} has no weights in {', '.join(plan.weights)} on "
            f"{', '.join(backend for backend, _ in plan.ours)}"
        )
    for peer in plan.peers:
        there += subject.peers(peer, count)
    return [Checked(contender, contenders.check(contender, subject)) for contender in there]


class Bench:
    """Takes the rows, and the machine's limits that they are held against."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sweep: Call | None = None
        self._fma: dict[str, float] = {}  # by ISA, 1e9 per second
        self._read: dict[str, dict[int, float]] = {}  # by ISA and bytes, 1e9 per second
        self._reached: list[tuple[Row, str, int, float]] = []  # row, ISA, bytes, 1e9 per second

    def rows(self, subject: Subject, mode: str, checked: Iterable[Checked]) -> list[Row]:
        """Time these in turns in that mode; those that don't know the mode are left out."""
        able = [item for item in checked if mode != "prepared" or item.contender.prepare]
        if not able:
            return []
        before = self._swept() if mode == "cold" else None
        actions = [
            Action(
                c.step,
                before=c.prepare if mode == "prepared" else before,
                steps=c.count,
                context=c.context,
            )
            for c, _ in able
        ]
        kernels = [_kernel(c) if mode == "hot" else None for c, _ in able]
        times = interleave([*actions, *(k for k in kernels if k)], self._seconds)
        kernel_times = iter(times[len(actions) :])
        return [
            self._row(subject, mode, item, taken, next(kernel_times) if kernel else None)
            for item, taken, kernel in zip(able, times[: len(actions)], kernels, strict=True)
        ]

    def limits(self) -> list[Limit]:
        """Return the limits that were measured for these rows."""
        return [
            Limit(
                isa=isa,
                read_gb_per_s={str(size): rate for size, rate in self._read[isa].items()},
                gfma_per_s=fma,
            )
            for isa, fma in self._fma.items()
        ]

    def _swept(self) -> Call:
        if self._sweep is None:
            self._sweep = limits.sweeper()
        return self._sweep

    def _row(
        self, subject: Subject, mode: str, item: Checked, t: Times, kernel: Times | None
    ) -> Row:
        contender, error = item
        shape, frame_us = subject.shape, subject.frame_us
        per_step = contender.bytes_per_step
        row = Row(
            shape=shape.name,
            input_size=shape.input_size,
            hidden_size=shape.hidden_size,
            num_layers=shape.num_layers,
            contender=contender.name,
            weights=contender.weights,
            mode=mode,
            error=error,
            steps=t.steps,
            p50=t.p50,
            p90=t.p90,
            p99=t.p99,
            p999=t.p999,
            max=t.max,
            noise=t.noise,
            streams=None if mode == "prepared" or frame_us is None else frame_us / t.p50,
            kernel=None,
            kernel_noise=None,
            overhead=None,
            gflop_per_s=None,
            multiply_adds=subject.multiply_adds,
            bytes_per_step=per_step,
            read_fraction=None,
            fma_fraction=None,
        )
        if kernel:
            row["kernel"], row["kernel_noise"] = kernel.p50, kernel.noise
            row["overhead"] = t.p50 - kernel.p50
            self._against_fmas(row, contender, subject.multiply_adds / kernel.p50 * 1e-3)
            if contender.isa and per_step:
                self._against_reads(row, contender.isa, per_step, kernel.p50)
        elif mode not in MODES and per_step:
            self._against_fmas(row, contender, subject.multiply_adds / t.p50 * 1e-3)
        return row

    def _against_fmas(self, row: Row, contender: Contender, gfma: float) -> None:
        row["gflop_per_s"], isa = 2 * gfma, contender.isa
        if isa and isa not in self._fma:
            self._fma[isa], self._read[isa] = limits.gfma_per_s(isa), {}
        if isa and contender.weights != "int8":
            row["fma_fraction"] = gfma / self._fma[isa]

    def _against_reads(self, row: Row, isa: str, per_step: int, kernel_us: float) -> None:
        known, rate = self._read[isa], per_step / kernel_us * 1e-3
        for _ in range(1 if per_step in known else 1 + SECOND_LOOKS):
            if rate <= known.get(per_step, 0.0):
                break  # a limit that is below what was reached was measured while others ran
            if measured := limits.read_gb_per_s(isa, per_step):
                known[per_step] = max(measured, known.get(per_step, 0.0))
        self._reached.append((row, isa, per_step, rate))

    def hold_against_limits(self) -> None:
        """Set the rows' shares of the limits, once these are all known."""
        for row, isa, per_step, rate in self._reached:
            if per_step in self._read[isa]:
                row["read_fraction"] = rate / self._read[isa][per_step]


def _kernel(contender: Contender) -> Action | None:
    """Return a run over many frames: one call of Python for all of them."""
    if contender.run is None:
        return None
    trial = interleave([Action(contender.step)], 0.002)[0]
    frames = max(4, min(MOST_FRAMES, int(RUN_US / trial.p50)))
    return Action(contender.run(frames), steps=frames)


def parse_modes(text: str) -> tuple[str, ...]:
    """Read modes with commas; "pools" stands for POOLS.

    Raises:
        CannotRunError: one is unknown.
    """
    modes: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if name not in (*MODES, "pools"):
            pool_sizes(name)
        modes += POOLS if name == "pools" else [name]
    return tuple(dict.fromkeys(modes))


def parse_names(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Read names with commas, each one of those that are known.

    Raises:
        CannotRunError: one is not.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise CannotRunError(f"there is no {what} {name!r}; choose from {', '.join(known)}")
    return names
