"""Four threads that meet in all that C does of a step, for ThreadSanitizer to watch.

Each call counts or is refused; what comes out is for other tests to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import numpy as np

from lstm_fast import LSTM, ConcurrentUseError, Model, PoolFullError, StaleHandleError

THREADS = 4
TURNS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
I, H = 5, 24  # noqa: E741
REFUSALS = (ConcurrentUseError, PoolFullError, StaleHandleError)

lstm = LSTM.random(I, H, 2, backend="native")
model = Model.from_program(lstm.program, backend="native")
x, xs = np.ones(I, np.float32), np.ones((3, I), np.float32)
names = {"x": x}
taken: dict[str, int] = {}


def of_stream(whole: Model, stream: Any) -> list[Callable[[], object]]:
    """Return what may be done to one stream by all threads."""
    y = [np.empty(H, np.float32) for _ in range(2)]
    begin = whole.stream().snapshot()
    return [
        lambda: stream.step(x),
        lambda: stream.step(x, out=np.empty(H, np.float32)),
        lambda: stream.step(x, **{"out": y[0]}),  # names that are new each time
        lambda: stream.step(names),
        lambda: stream.run(xs),
        lambda: stream.run(np.ones((600, I), np.float32)),  # in pieces
        lambda: stream.state,
        stream.copy,
        stream.prepare,
        lambda: stream.restore(begin),
        stream.reset,
        lambda: whole.stream().step(x),
        lambda: names.update(x=x.copy()),
    ]


def of_pool(whole: Model) -> list[Callable[[], object]]:
    """Return what may be done to one pool by all threads, with the newest sessions of it."""
    pool = whole.pool(6, prepared=2, threads=2)
    known = [pool.open() for _ in range(3)]

    def some() -> np.ndarray[Any, np.dtype[np.uint64]]:
        return np.array(known[-3:][:2], np.uint64)

    return [
        lambda: known.append(pool.open()),
        lambda: pool.close(known[-3]),
        lambda: pool.step(some(), xs[:2]),
        lambda: pool.step(some(), xs[:2], out=np.empty((2, H), np.float32)),
        lambda: pool.run(some(), np.ones((2, 300, I), np.float32)),
        lambda: pool.prepare(some()),
        lambda: pool.snapshot(known[-1]),
        lambda: pool.reset(known[-1]),
        pool.handles,
        lambda: pool.grow(1) if pool.capacity < 20 else None,
        lambda: whole.pool(2).open(),
    ]


def work(number: int, calls: list[Callable[[], object]], start: Barrier) -> None:
    """Do all of this in turns, each thread in an order of its own."""
    rng = np.random.default_rng(number)
    start.wait()
    for n in rng.integers(len(calls), size=TURNS).tolist():
        try:
            calls[n]()
            done[number] += 1
        except REFUSALS:
            refused[number] += 1


done, refused = [0] * THREADS, [0] * THREADS
for whole in (lstm, model):
    for calls in (of_stream(whole, whole.stream()), of_pool(whole)):
        start = Barrier(THREADS)
        threads = [Thread(target=work, args=(n, calls, start)) for n in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
print(f"{sum(done)} calls counted, {sum(refused)} were refused")
