"""A live service in virtual time, on a pool that notes what is done to it."""

from __future__ import annotations

import asyncio
import selectors
from concurrent.futures import Executor, Future
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np

from cases import bits
from lstm_fast import LSTM
from lstm_fast.serve import FrameBatcher

TICK = 0.002  # the batcher's default
SMALL = LSTM.random(3, 5)
FRAMES = np.random.default_rng(0).standard_normal((64, 3), dtype=np.float32)


class VirtualSelector(selectors.DefaultSelector):
    """Does not wait for a time to come, but says that it has."""

    now = 0.0

    def select(self, timeout=None):
        events = super().select(0)
        assert events or timeout is not None, "everybody waits for something that never happens"
        self.now += timeout or 0
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which time is a number, so that nothing depends on how fast things are."""

    def __init__(self):
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self):
        return self.virtual.now


def play(scene):
    """Run a coroutine in virtual time; what the loop complains of is an error."""
    loop = VirtualLoop()
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        result = loop.run_until_complete(scene)
    finally:
        loop.close()
    assert not complaints
    return result


class Pool:
    """A pool that notes what is done to it, and fails when told to."""

    def __init__(self, capacity=8, lstm=SMALL):
        self.real, self.model = lstm.pool(capacity), lstm
        self.taken = {}  # handle -> frames, in the order of their steps
        self.batches, self.prepared = [], []  # handles
        self.times = []  # of the steps
        self.inside = []  # handles in a step that is not over
        self.look = lambda: None  # is called in each step
        self.error = None  # is raised by the next step
        self.open = self.real.open

    def grow(self, n):
        assert not self.inside
        self.real.grow(n)

    def close(self, handle):
        assert handle not in self.inside
        self.real.close(handle)

    def snapshot(self, handle):
        assert handle not in self.inside
        return self.real.snapshot(handle)

    def prepare(self, handles):
        assert not self.inside
        self.prepared.append(list(handles))
        return self.real.prepare(handles)

    def step(self, handles, xs, out):
        keys = handles.tolist()
        assert not self.inside
        assert 0 < len(keys) == len({*keys})
        self.look()
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.real.step(handles, xs, out=out)
        self.batches.append(keys)
        self.times.append(asyncio.get_running_loop().time())
        for key, x in zip(keys, xs, strict=True):
            self.taken.setdefault(key, []).append(x.copy())


class Slow(Executor):
    """What is left of a thread in virtual time: a step lasts a second."""

    def __init__(self, pool):
        self.pool = pool

    def submit(self, step, count):
        future = Future()
        future.set_running_or_notify_cancel()
        try:
            step(count)
            end, value = future.set_result, None
        except Exception as error:
            end, value = future.set_exception, error
        self.pool.inside = self.pool.batches[-1] if value is None else []

        def leave():
            self.pool.inside = []
            end(value)

        asyncio.get_running_loop().call_later(1, leave)
        return future


@asynccontextmanager
async def service(count, pool=None, *, slow=False, **options):
    """Give a pool, a batcher and that many sessions; nothing of it is left afterwards."""
    pool = pool or Pool()
    batcher = FrameBatcher(pool, executor=Slow(pool) if slow else None, **options)
    async with AsyncExitStack() as stack, batcher:
        opened = [await stack.enter_async_context(batcher.session()) for _ in range(count)]
        yield pool, batcher, opened
    assert len(pool.real) == 0


def alone(frames, lstm=SMALL):
    """What a stream of its own answers to these frames."""
    return [bits(y) for y in lstm.stream().run(np.reshape(frames, (-1, lstm.input_size)))]


def soon(coroutine):
    """Begin a call that is answered later."""
    return asyncio.ensure_future(coroutine)


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)
