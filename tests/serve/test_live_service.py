"""The live service: ticks, bounds, cancellation, errors, and the end of sessions and of itself."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain

import numpy as np
import pytest
from live_cases import FRAMES, TICK, Pool, alone, play, service, soon, turns

from cases import bits
from lstm_fast import PoolFullError
from lstm_fast.serve import ClosedError, FrameBatcher, OverloadedError, StepFailedError


def test_a_tick_is_over_when_it_is_due_or_full():
    async def scene():
        async with service(4, max_batch=3) as (pool, _, sessions):
            calls = [soon(session.step(FRAMES[0])) for session in sessions[:2]]
            await asyncio.sleep(TICK / 2)
            calls.append(soon(sessions[1].step(FRAMES[1])))  # has to wait for the next one
            await asyncio.gather(*calls)
            assert pool.times == [TICK, TICK]
            begin = asyncio.get_running_loop().time()
            await asyncio.gather(*(session.step(FRAMES[0]) for session in sessions))
            assert [len(batch) for batch in pool.batches] == [2, 1, 3, 1]
            assert pool.times[2] == begin

    play(scene())


def test_a_call_cancelled_in_time_was_never_made():
    async def scene():
        async with service(2) as (pool, batcher, (one, other)):
            lost, kept = soon(one.step(FRAMES[0])), soon(other.step(FRAMES[1]))
            await asyncio.sleep(TICK / 2)
            lost.cancel()
            assert bits(await kept) == alone(FRAMES[1])[0]
            assert lost.cancelled()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(one.step(FRAMES[2]), TICK / 2)
            assert batcher.waiting == 0
            assert bits(await one.step(FRAMES[3])) == alone(FRAMES[3])[0]
            assert one.handle not in pool.batches[0]

    play(scene())


def test_a_call_cancelled_too_late_counts():
    async def scene():
        async with service(2, slow=True) as (_, _, (one, other)):
            lost, kept = soon(one.step(FRAMES[0])), soon(other.step(FRAMES[1]))
            await asyncio.sleep(2 * TICK)
            assert one.stepping
            lost.cancel()
            assert bits(await kept) == alone(FRAMES[1])[0]
            assert lost.cancelled()
            assert bits(await one.step(FRAMES[2])) == alone(FRAMES[[0, 2]])[1]

    play(scene())


def test_there_is_a_bound_to_what_waits():
    async def scene():
        async with service(6, max_waiting=3, slow=True) as (pool, batcher, sessions):
            calls = [soon(session.step(FRAMES[0])) for session in sessions]
            await turns()
            assert batcher.waiting == 3
            with pytest.raises(OverloadedError, match="no room"):
                sessions[0].submit(FRAMES[1])
            calls[4].cancel()  # outside
            assert len([answer async for answer in as_they_come(calls)]) == 5
            in_order = [session.handle for session in sessions]
            del in_order[4]
            assert [*chain(*pool.batches)] == in_order
            assert [len(batch) for batch in pool.batches] == [3, 2]

    async def as_they_come(calls):
        for call in calls:
            with suppress(asyncio.CancelledError):
                yield await call

    play(scene())


def test_room_that_a_cancelled_call_leaves_is_taken():
    async def scene():
        async with service(3, max_waiting=1) as (pool, batcher, (one, other, _)):
            lost, kept = soon(one.step(FRAMES[0])), soon(other.step(FRAMES[1]))
            await turns()
            lost.cancel()
            assert batcher.waiting == 1
            assert bits(await kept) == alone(FRAMES[1])[0]
            assert pool.batches == [[other.handle]]

    play(scene())


def test_a_call_that_is_cancelled_outside_lets_nobody_in():
    async def scene():
        async with service(2, max_waiting=1) as (pool, batcher, (one, other)):
            first = soon(one.step(FRAMES[0]))
            await turns()
            kept, lost = soon(other.step(FRAMES[1])), soon(other.step(FRAMES[2]))
            await turns()
            lost.cancel()
            assert bits(await first) == alone(FRAMES[0])[0]
            assert bits(await kept) == alone(FRAMES[1])[0]
            assert pool.batches == [[one.handle], [other.handle]]
            assert batcher.waiting == 0

    play(scene())


def test_a_session_that_is_behind_is_told():
    async def scene():
        async with service(2, max_per_session=2) as (_, _, (one, other)):
            calls = [soon(one.step(FRAMES[n])) for n in range(2)]
            await turns()
            with pytest.raises(OverloadedError, match="2 frames of this session"):
                await one.step(FRAMES[2])
            assert bits(await other.step(FRAMES[2])) == alone(FRAMES[2])[0]
            assert [bits(await call) for call in calls] == alone(FRAMES[:2])

    play(scene())


def test_a_frame_that_is_being_stepped_is_unanswered():
    async def scene():
        async with service(1, max_per_session=1, slow=True) as (pool, _, [session]):
            answer = session.submit(FRAMES[0])
            await asyncio.sleep(2 * TICK)
            assert pool.inside
            with pytest.raises(OverloadedError, match="of this session"):
                session.submit(FRAMES[1])
            await answer
            await session.step(FRAMES[1])

    play(scene())


@pytest.mark.parametrize(
    ("frame", "error", "text"),
    [
        (FRAMES[0].astype(np.float64), TypeError, "float32, found ndarray float64"),
        (FRAMES[0].tolist(), TypeError, "found list"),
        (FRAMES[0, :2], ValueError, r"shape \(2,\), expected \(3,\)"),
        (FRAMES[:1], ValueError, r"shape \(1, 3\)"),
    ],
)
def test_a_bad_frame_is_refused_to_its_caller_alone(frame, error, text):
    async def scene():
        async with service(2) as (pool, _, (one, other)):
            good = soon(other.step(FRAMES[1]))
            with pytest.raises(error, match=text):
                await one.step(frame)
            with pytest.raises(error, match=text):
                one.submit(frame)
            assert bits(await good) == alone(FRAMES[1])[0]
            assert pool.batches == [[other.handle]]
            assert bits(await one.step(FRAMES[0])) == alone(FRAMES[0])[0]

    play(scene())


@pytest.mark.parametrize("slow", [False, True])
def test_a_failed_step_reaches_its_callers_and_nobody_else(slow):
    async def scene():
        async with service(3, slow=slow) as (pool, _, sessions):
            pool.error = MemoryError("none left")
            calls = [session.step(FRAMES[0]) for session in sessions[:2]]
            for why in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(why, StepFailedError)
                assert isinstance(why.__cause__, MemoryError)
            answers = await asyncio.gather(*(session.step(FRAMES[1]) for session in sessions))
            assert [*map(bits, answers)] == 3 * alone(FRAMES[1])

    play(scene())


def test_an_executor_that_is_gone_is_a_failed_step():
    async def scene():
        executor = ThreadPoolExecutor(1)
        executor.shutdown()
        pool = Pool()
        async with FrameBatcher(pool, executor=executor) as batcher, batcher.session() as session:
            with pytest.raises(StepFailedError, match="shutdown"):
                await session.step(FRAMES[0])

    play(scene())


@pytest.mark.parametrize("slow", [False, True])
def test_a_full_pool_refuses_or_grows(slow):
    async def scene(grow):
        pool = Pool(capacity=1)
        async with service(1, pool, slow=slow, grow=grow) as (_, batcher, [one]):
            answer = soon(one.step(FRAMES[0]))
            await asyncio.sleep(2 * TICK)  # where it is slow, the step is running
            assert bool(pool.inside) is slow
            async with batcher.session() as other:
                assert bits(await other.step(FRAMES[1])) == alone(FRAMES[1])[0]
            assert bits(await answer) == alone(FRAMES[0])[0]

    play(scene(grow=2))
    with pytest.raises(PoolFullError):
        play(scene(grow=0))


def test_room_that_is_about_to_be_free_is_waited_for():
    async def scene():
        async with service(0, Pool(capacity=1), slow=True) as (pool, batcher, _):
            async with batcher.session() as one:
                answer = one.submit(FRAMES[0])
                await asyncio.sleep(2 * TICK)
            assert pool.inside
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(batcher.session().__aenter__(), TICK)
            async with batcher.session() as other:
                assert answer.done()
                assert other.handle != one.handle

    play(scene())


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("when", [0, 2 * TICK])
def test_a_session_is_closed_however_it_is_left(slow, when):
    """Pool.close makes sure that it is not within a step."""

    async def talk(batcher, sessions, end):
        async with batcher.session() as session:
            sessions.append(session)
            session.submit(FRAMES[0]).add_done_callback(asyncio.Future.exception)
            await asyncio.sleep(when)
            await end()

    async def fail():
        raise KeyError("a bug")

    async def scene():
        async with service(1, slow=slow) as (pool, batcher, [other]):
            mate, left = soon(other.step(FRAMES[1])), []
            calls = [soon(talk(batcher, left, end)) for end in (fail, asyncio.Event().wait, turns)]
            await asyncio.sleep(when)
            await turns()
            calls[1].cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results[:2]] == [KeyError, asyncio.CancelledError]
            assert bits(await mate) == alone(FRAMES[1])[0]
            assert len(pool.real) == 1
            for session in left:
                with pytest.raises(ClosedError, match="session"):
                    await session.step(FRAMES[0])

    play(scene())


def test_what_waits_when_its_session_ends_is_told():
    async def scene():
        async with service(0) as (pool, batcher, _):
            async with batcher.session() as session:
                call = soon(session.step(FRAMES[0]))
                await turns()
            with pytest.raises(ClosedError, match="before the frame was taken"):
                await call
            assert batcher.waiting == 0
            assert not pool.batches

    play(scene())


@pytest.mark.parametrize("slow", [False, True])
def test_closing_answers_what_was_sent_and_refuses_the_rest(slow):
    async def scene():
        async with service(5, max_waiting=2, max_batch=1, slow=slow) as (pool, batcher, sessions):
            calls = [soon(s.step(FRAMES[n])) for s in sessions for n in range(2)]
            await turns()
            calls[3].cancel()
            begin = asyncio.get_running_loop().time()
            closing = soon(batcher.close())
            await turns(1)
            with pytest.raises(ClosedError, match="service"):
                await sessions[0].step(FRAMES[0])
            with pytest.raises(ClosedError, match="service"):
                await batcher.session().__aenter__()
            await closing
            assert asyncio.get_running_loop().time() == begin + (9 if slow else 0)
            await turns()
            assert all(call.done() for call in calls)
            assert bits(calls[8].result(), calls[9].result()) == b"".join(alone(FRAMES[:2]))
            await batcher.close()  # once more does no harm
            assert len(pool.real) == 5  # still there, for a snapshot

    play(scene())


def test_closing_does_not_wait_for_the_tick():
    async def scene():
        async with service(1) as (pool, batcher, [session]):
            answer = session.submit(FRAMES[0])
            await batcher.close()
            assert answer.done()
            assert pool.times == [0]

    play(scene())


def test_closing_waits_for_a_step():
    async def scene():
        async with service(1, slow=True) as (pool, batcher, [session]):
            answer = session.submit(FRAMES[0])
            await asyncio.sleep(2 * TICK)
            assert pool.inside
            await batcher.close()
            assert answer.done()

    play(scene())


def test_closing_ends_if_all_that_waits_is_withdrawn():
    async def scene():
        async with service(1) as (_, batcher, [session]):
            answer = session.submit(FRAMES[0])
            closing = soon(batcher.close())
            await turns(1)
            answer.cancel()
            await closing

    play(scene())


def test_idle_time_prepares_what_comes_next():
    async def scene():
        async with service(3, prepare=True) as (pool, _, sessions):
            calls = [soon(session.step(FRAMES[0])) for session in sessions]
            first = [*map(bits, await asyncio.gather(*calls))]
            await turns()
            assert pool.prepared == [[session.handle for session in sessions]]
            second = await asyncio.gather(*(session.step(FRAMES[1]) for session in sessions))
            assert [first[0], bits(second[0])] == alone(FRAMES[:2])

    play(scene())


def test_time_is_idle_if_nothing_waits_and_for_sessions_that_live():
    async def talk(batcher):
        async with batcher.session() as session:
            await session.step(FRAMES[0])

    async def scene():
        async with service(1, prepare=True) as (pool, batcher, [session]):
            await asyncio.gather(talk(batcher), session.step(FRAMES[0]))
            await turns()
            assert pool.prepared == [[session.handle]]
            await session.step(FRAMES[1])
            await session.step(FRAMES[2])  # sent as soon as there is an answer
            await turns()
            assert len(pool.prepared) == 2

    play(scene())


def test_limits_that_let_nothing_through_are_refused():
    async def scene():
        with pytest.raises(ValueError, match="1 or more"):
            FrameBatcher(Pool(), max_batch=0)

    play(scene())


def test_many_sessions_on_real_threads_have_the_bits_of_their_own(implementation):
    """In real time, for once, so in an order of its own each time."""
    lstm = implementation.random(16, 24, 2)
    frames = np.random.default_rng(1).standard_normal((30, 12, 16), dtype=np.float32)

    async def talk(batcher, own):
        async with batcher.session() as session:
            return [bits(await session.step(frame)) for frame in own]

    async def scene(executor):
        async with FrameBatcher(lstm.pool(8), grow=8, max_delay=1e-4, executor=executor) as batcher:
            return await asyncio.gather(*(talk(batcher, own) for own in frames))

    expected = [alone(own, lstm) for own in frames]
    assert asyncio.run(scene(None)) == expected
    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(scene(executor)) == expected


def test_an_event_loop_of_uvloop():
    """Its `call_at` of a time that is past gives a handle that has no time."""
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop")

    async def talk(batcher, own):
        async with batcher.session() as session:
            return [bits(await session.step(frame)) for frame in own]

    async def scene():
        async with FrameBatcher(Pool(), max_batch=2, max_delay=1e-4) as batcher:
            return await asyncio.gather(*(talk(batcher, FRAMES[n : n + 9]) for n in range(8)))

    assert uvloop.run(scene()) == [alone(FRAMES[n : n + 9]) for n in range(8)]
