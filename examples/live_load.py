"""How long live sessions wait for their answers: load for `FrameBatcher`, in real time.

Every session sends a frame each 32 ms, at a phase of its own, whether or not the one before was
answered. The wait for an answer is counted from when the frame was due, so that whatever holds up
the process counts for all the frames that it holds up.

The load is made in the same Python thread that serves it: it is in the waits, and about a quarter
of the CPU. "unsent" says how late frames were before the service saw them (asyncio's timers alone
are late by up to a millisecond). The limit is Python's, not the LSTM's, and lies near 2000
sessions a process; with more the table shows frames that are late and refused. With --processes 2
there are two services, with half of the sessions each.

    python examples/live_load.py --sessions 100 1000 2000 --weights int8
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import sys
from array import array
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic, process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_fast import LSTM
from lstm_fast.serve import FrameBatcher, OverloadedError, Session

PERIOD = 0.032  # seconds between the frames of a session
WARM_UP = 8  # frames of each session that are not counted
FRAMES = 1024  # to send, round and round; each session begins at another one
CHECKED = 20  # sessions that are compared with a Stream of their own
READY = 3.0  # seconds in which several processes get ready to begin at the same time


class Times:
    """What is measured of all sessions: seconds from when a frame was due."""

    def __init__(self) -> None:
        self.waits = array("d")  # until its answer
        self.unsent = array("d")  # until it was sent
        self.refused = 0


class Caller:
    """The traffic of one session."""

    __slots__ = ("due", "first", "frames", "outputs", "sent", "session", "times")

    def __init__(
        self, session: Session, frames: list[NDArray[np.float32]], first: int, times: Times
    ) -> None:
        self.session, self.frames, self.first, self.times = session, frames, first, times
        self.sent = 0
        self.due: list[float] = []  # of the frames that are not answered
        self.outputs: list[NDArray[np.float32]] | None = None  # a list, to keep them

    def send(self, due: float) -> None:
        """Send the next frame, or count that it was refused."""
        try:
            answer = self.session.submit(self.frame(self.sent))
        except OverloadedError:
            self.times.refused += 1
            return
        answer.add_done_callback(self.receive)
        self.sent += 1
        self.due.append(due)
        self.times.unsent.append(monotonic() - due)

    def receive(self, answer: asyncio.Future[NDArray[np.float32]]) -> None:
        """Note when the answer came: those of one session come in order."""
        self.times.waits.append(monotonic() - self.due.pop(0))
        if self.outputs is not None:
            self.outputs.append(answer.result())

    def frame(self, number: int) -> NDArray[np.float32]:
        """Return the frame that is sent as that number."""
        return self.frames[(self.first + number) % FRAMES]

    def is_right(self, lstm: LSTM) -> bool:
        """Say whether each output has the bits that a stream of its own gives."""
        stream = lstm.stream()
        expected = [stream.step(self.frame(number)).tobytes() for number in range(self.sent)]
        return expected == [output.tobytes() for output in self.outputs or []]


class Share(NamedTuple):
    """What one process measured."""

    waits: NDArray[np.float64]  # seconds from when a frame was due until its answer
    unsent: NDArray[np.float64]  # and until it was sent
    refused: int
    steps: int
    frames: int  # in these steps
    step_seconds: float
    cpu_seconds: float
    seconds: float
    right: int  # of the sessions that were checked
    checked: int


async def play(callers: Sequence[Caller], phases: Sequence[float], periods: int) -> None:
    """Send the frames of all callers when they are due; both are in the order of the phases."""
    begin = now = monotonic()
    for period in range(periods):
        for caller, phase in zip(callers, phases, strict=True):
            due = begin + period * PERIOD + phase
            if due > now:  # else it was due already when we last woke up
                await asyncio.sleep(max(0.0, due - monotonic()))
                now = monotonic()
            caller.send(due)


def show_progress(text: str) -> None:
    """Show a line that the next one replaces, if there is somebody to see it."""
    if sys.stderr.isatty():
        print(f"\r{text:<40}", end="" if text else "\r", file=sys.stderr, flush=True)


async def watch(sessions: int, seconds: float) -> None:
    """Show the time that is left, until cancelled."""
    for left in range(round(seconds), -1, -1):
        show_progress(f"{sessions} sessions: {left} s")
        await asyncio.sleep(1)


async def serve(options: argparse.Namespace, sessions: int, number: int, begin: float) -> Share:
    """Play that many sessions on a service of their own; begin then, or as soon as possible."""
    lstm = LSTM.random(*options.shape, weight_dtype=options.weights)
    rng = np.random.default_rng(number)
    frames = list(rng.standard_normal((FRAMES, lstm.input_size), dtype=np.float32))
    phases = np.sort(rng.uniform(0, PERIOD, sessions)).tolist()
    lstm.stream().step(frames[0])  # some backends compile what they need at first use
    pool = lstm.pool(sessions, prepared=sessions if options.prepare else 0)
    times = Times()
    async with AsyncExitStack() as stack:
        batcher = FrameBatcher(
            pool,
            max_batch=options.batch,
            max_delay=options.delay / 1e3,
            executor=stack.enter_context(ThreadPoolExecutor(1)) if options.threaded else None,
            prepare=options.prepare,
        )
        callers = [
            Caller(await stack.enter_async_context(batcher.session()), frames, 37 * n, times)
            for n in range(sessions)
        ]
        checked = callers[:: -(-sessions // CHECKED)]
        for caller in checked:
            caller.outputs = []
        gc.collect()
        gc.freeze()  # what lives as long as the service need not be searched time and again
        await asyncio.sleep(begin - monotonic())
        progress = asyncio.create_task(watch(options.all_sessions, options.seconds))
        start, cpu = monotonic(), process_time()
        await play(callers, phases, WARM_UP + round(options.seconds / PERIOD))
        await batcher.close()
        seconds, cpu = monotonic() - start, process_time() - cpu
        progress.cancel()
    gc.unfreeze()
    warm = WARM_UP * sessions
    return Share(
        np.array(times.waits)[warm:],
        np.array(times.unsent)[warm:],
        times.refused,
        batcher.steps,
        batcher.frames,
        batcher.step_seconds,
        cpu,
        seconds,
        sum(caller.is_right(lstm) for caller in checked),
        len(checked),
    )


def serve_share(options: argparse.Namespace, begin: float, number: int) -> Share:
    """Serve the sessions of the process of that number."""
    sessions = len(range(number, options.all_sessions, options.processes))
    return asyncio.run(serve(options, sessions, number, begin))


def measure(options: argparse.Namespace) -> list[Share]:
    """Return what each of the processes measured."""
    if options.processes == 1:
        return [serve_share(options, monotonic(), 0)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context) as executor:
        work = partial(serve_share, options, monotonic() + READY)
        return list(executor.map(work, range(options.processes)))


HEADER = """\
          frames  frames/s          wait for an answer, ms       mean  late  unsent  CPU  in
sessions refused  answered     p50     p99   p99.9     max      batch     %  p99 ms    %  step"""


def show(sessions: int, shares: Sequence[Share]) -> None:
    """Print a line of the table."""
    waits = np.concatenate([share.waits for share in shares])
    unsent = np.concatenate([share.unsent for share in shares])
    seconds = max(share.seconds for share in shares)
    frames, steps = sum(s.frames for s in shares), sum(s.steps for s in shares)
    cpu, stepping = sum(s.cpu_seconds for s in shares), sum(s.step_seconds for s in shares)
    times = "".join(f"{1e3 * t:8.1f}" for t in np.percentile(waits, (50, 99, 99.9, 100)))
    print(
        f"{sessions:8d} {sum(s.refused for s in shares):7d} {frames / seconds:9.0f}{times} "
        f"{frames / steps:10.1f} {100 * np.mean(waits > PERIOD):5.1f} "
        f"{1e3 * np.percentile(unsent, 99):7.1f} {100 * cpu / seconds:4.0f} "
        f"{100 * stepping / seconds:5.0f}"
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""

    def shape(text: str) -> tuple[int, ...]:
        sizes = tuple(int(size) for size in text.split("x"))
        if len(sizes) not in (2, 3):
            raise ValueError
        return sizes

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--sessions", type=int, nargs="+", default=[100, 1000, 5000], metavar="N")
    add("--seconds", type=float, default=4.0, help="for each number of sessions (%(default)s)")
    add("--shape", type=shape, default=(128, 128), metavar="IxH[xL]", help="(128x128)")
    add("--weights", default="float32", choices=["float32", "float16", "int8"])
    add("--delay", type=float, default=2.0, metavar="MS", help="of a tick (%(default)s)")
    add("--batch", type=int, default=256, metavar="N", help="that ends it early (%(default)s)")
    add("--threaded", action="store_true", help="step in a thread beside the event loop")
    add("--prepare", action="store_true", help="use idle time for pool.prepare")
    add("--processes", type=int, default=1, metavar="N", help="to share the sessions (1)")
    options = parser.parse_args(arguments)
    if not 1 <= options.processes <= min(options.sessions):
        parser.error("--processes must be 1 or more, and each needs a session")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 if a session did not get what it would get alone."""
    options = parse(arguments)
    lstm = LSTM.random(*options.shape, weight_dtype=options.weights)
    print(f"{lstm!r}, a frame each {1e3 * PERIOD:.0f} ms, processes: {options.processes}\n{HEADER}")
    right = checked = 0
    for sessions in options.sessions:
        options.all_sessions = sessions
        shares = measure(options)
        show_progress("")
        show(sessions, shares)
        right += sum(share.right for share in shares)
        checked += sum(share.checked for share in shares)
    print(f"{right} of {checked} sessions that were checked have the bits of a stream of their own")
    return 0 if right == checked else 1


if __name__ == "__main__":
    sys.exit(main())
