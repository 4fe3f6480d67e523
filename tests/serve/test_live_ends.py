"""The live service where its executor or its event loop ends: nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest
from live_cases import FRAMES, Pool, alone, play, service, soon, turns

from cases import bits
from lstm_fast.serve import FrameBatcher, StepFailedError, batcher

PATIENCE = 60  # seconds: a guard against waiting for ever


class Drops(Executor):
    """Has a queue that is dropped, as `shutdown(cancel_futures=True)` does."""

    def __init__(self):
        self.queue = []

    def submit(self, step, count):
        self.queue.append((Future(), step, count))
        return self.queue[-1][0]

    def drop(self):
        for future, *_ in self.queue:
            future.cancel()
        self.queue.clear()

    def work(self):
        for future, step, count in self.queue:
            future.set_result(step(count))
        self.queue.clear()


def test_callers_of_a_dropped_step_are_told():
    async def scene():
        executor, pool = Drops(), Pool()
        async with (
            FrameBatcher(pool, executor=executor) as batcher,
            batcher.session() as one,
            batcher.session() as other,
        ):
            calls = [soon(session.step(FRAMES[0])) for session in (one, other)]
            while not executor.queue:
                await asyncio.sleep(0.001)
            late = soon(one.step(FRAMES[1]))
            await turns()
            executor.drop()
            for why in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(why, StepFailedError)
                assert "the executor has dropped it: was it shut down?" in str(why)
            while not executor.queue:
                await asyncio.sleep(0.001)
            executor.work()  # the service goes on, and no state had changed
            assert bits(await late) == alone(FRAMES[1])[0]
        assert len(pool.real) == 0

    play(scene())


def test_a_session_that_was_left_during_a_dropped_step_is_closed():
    async def scene():
        executor, pool = Drops(), Pool()
        async with FrameBatcher(pool, executor=executor) as batcher:
            async with batcher.session() as session:
                call = soon(session.step(FRAMES[0]))
                while not executor.queue:
                    await asyncio.sleep(0.001)
            assert len(pool.real) == 1  # never within a step
            executor.drop()
            with pytest.raises(StepFailedError):
                await call
            assert len(pool.real) == 0

    play(scene())


def test_closing_ends_when_an_executor_is_shut_down():
    """With real threads, of which the only one is busy with something else."""

    async def scene():
        hold, executor, pool = threading.Event(), ThreadPoolExecutor(1), Pool()
        executor.submit(hold.wait)
        batcher = FrameBatcher(pool, executor=executor)
        async with batcher.session() as session:
            call = soon(session.step(FRAMES[0]))
            while not batcher._stepping:
                await asyncio.sleep(0.001)
            executor.shutdown(wait=False, cancel_futures=True)
            try:
                with pytest.raises(StepFailedError, match="dropped"):
                    await asyncio.wait_for(call, PATIENCE)
                await asyncio.wait_for(batcher.close(), PATIENCE)
            finally:
                hold.set()
        assert len(pool.real) == 0

    asyncio.run(scene())


class InterruptError(BaseException):
    """As KeyboardInterrupt, at which pytest stops."""


def test_what_ends_the_loop_in_a_step_keeps_nobody_waiting():
    """As Ctrl-C in a step: the loop is left, its tasks are ended, and the service with them."""
    left = []

    async def scene(pool):
        async with FrameBatcher(pool) as batcher, batcher.session() as session:
            try:
                await session.step(FRAMES[0])
            except StepFailedError as error:
                left.append(error.__cause__)
                raise

    loop, pool = asyncio.new_event_loop(), Pool()
    pool.error = SystemExit()
    try:
        task = loop.create_task(scene(pool))
        with pytest.raises(SystemExit):
            loop.run_until_complete(task)
        with pytest.raises(StepFailedError):
            loop.run_until_complete(asyncio.wait_for(task, PATIENCE))
    finally:
        loop.close()
    assert [type(cause) for cause in left] == [SystemExit]
    assert len(pool.real) == 0


def test_a_session_that_could_not_begin_is_closed(monkeypatch):
    """As where a signal handler raises between the two."""

    def interrupt(*_):
        raise InterruptError

    async def scene():
        async with service(0) as (pool, served, _):
            with monkeypatch.context() as patch:
                patch.setattr(batcher, "Session", interrupt)
                with pytest.raises(InterruptError):
                    async with served.session():
                        pass
            assert len(pool.real) == 0

    play(scene())
