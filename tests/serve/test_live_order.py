"""The live service under any order of events: who is told what, and what was stepped."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_cases import FRAMES, TICK, alone, play, service, soon, turns

from cases import bits
from lstm_fast.serve import (
    ClosedError,
    FrameBatcher,
    OverloadedError,
    Session,
    StepFailedError,
)

EVENTS = st.one_of(
    st.tuples(st.sampled_from(["step", "step", "submit", "post"]), st.integers(0, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 3)),  # which of the latest
    st.tuples(st.just("turns"), st.integers(1, 3)),
    st.tuples(st.just("sleep"), st.sampled_from([TICK / 2, TICK, 1.0])),
    st.tuples(st.just("leave"), st.integers(0, 4)),
    st.tuples(st.just("fail"), st.none()),
)
LIMITS = st.fixed_dictionaries(
    {
        "max_batch": st.integers(1, 4),
        "max_waiting": st.integers(1, 5),
        "max_per_session": st.integers(1, 3),
        "slow": st.booleans(),
        "prepare": st.booleans(),
    }
)
REFUSALS = (ClosedError, OverloadedError, StepFailedError)


@dataclass
class Sent:
    frame: np.ndarray
    future: asyncio.Future
    cancelled_in_time: bool = False
    can_be_cancelled: bool = True


def can_cancel(latest, value):
    return value < len(latest) and latest[-1 - value].can_be_cancelled


def post(session, frame):
    """Send a frame whose answer goes to a function; return a future of it."""
    future = asyncio.get_running_loop().create_future()

    def receive(y, error):
        future.set_result(y.copy()) if error is None else future.set_exception(error)

    session.post(frame, receive)
    return future


async def play_events(events, limits):
    """Do these things; return what each session sent, and which frames of it were stepped."""
    frames = iter(FRAMES)
    async with AsyncExitStack() as stack:
        pool, batcher, _ = await stack.enter_async_context(service(0, **limits))
        contexts = [batcher.session() for _ in range(5)]
        sessions = [await context.__aenter__() for context in contexts]
        sent, latest = [[] for _ in sessions], []

        def check_bounds():
            assert batcher.waiting <= limits["max_waiting"]
            for session in sessions:
                assert len(session.frames) + session.stepping <= limits["max_per_session"]

        pool.look = check_bounds
        for event, value in events:
            future = None
            if event == "step":
                frame = next(frames)
                future = soon(sessions[value].step(frame))
                await turns(1)  # until it is sent
            elif event == "submit":
                frame = next(frames)
                buffer = frame.copy()
                with suppress(OverloadedError, ClosedError):
                    future = sessions[value].submit(buffer)
                buffer[:] = np.nan  # it was copied
            elif event == "post":
                frame = next(frames)
                with suppress(OverloadedError, ClosedError):
                    future = post(sessions[value], frame)
            elif event == "cancel" and can_cancel(latest, value):
                taken = {bits(frame) for frames in pool.taken.values() for frame in frames}
                one = latest[-1 - value]
                one.cancelled_in_time = one.future.cancel() and bits(one.frame) not in taken
            elif event == "turns":
                await turns(value)
            elif event == "sleep":
                await asyncio.sleep(value)
            elif event == "leave" and not sessions[value].closed:
                await contexts[value].__aexit__(None, None, None)
            elif event == "fail":
                pool.error = MemoryError("none left")
            if future is not None:
                latest.append(Sent(frame, future, can_be_cancelled=event != "post"))
                sent[value].append(latest[-1])
            check_bounds()
        await batcher.close()
        await asyncio.gather(*(one.future for one in latest), return_exceptions=True)
        for session, context in zip(sessions, contexts, strict=True):
            if not session.closed:
                await context.__aexit__(None, None, None)
    return [(some, pool.taken.get(s.handle, [])) for some, s in zip(sent, sessions, strict=True)]


def check_session(sent, taken):
    """Each frame was stepped once at most, in its turn, and if so is what its caller was told."""
    expected, position = alone(taken), 0
    for one in sent:
        is_next = position < len(taken) and bits(taken[position]) == bits(one.frame)
        if one.future.cancelled():
            assert not (is_next and one.cancelled_in_time)
        elif one.future.exception() is None:
            assert is_next
            assert bits(one.future.result()) == expected[position]
        else:
            why = one.future.exception()
            assert isinstance(why, REFUSALS)
            assert not isinstance(why.__cause__, AssertionError)  # of the pool, which was misused
            assert not is_next
        position += is_next
    assert position == len(taken)


@settings(max_examples=200)
@given(st.lists(EVENTS, max_size=60), LIMITS)
def test_any_order_of_events(events, limits):
    for sent, taken in play(play_events(events, limits)):
        check_session(sent, taken)


class Newest(list):
    def pop(self, _):
        return super().pop()


def newest_first(self, *arguments, begin=Session.__init__):
    begin(self, *arguments)
    self.frames = Newest()


def of_another(self, batch, error, finish=FrameBatcher._finish):
    (ys,) = self._rows.ys
    ys[: len(batch)] = ys[: len(batch)][::-1].copy()
    finish(self, batch, error)


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (Session, "__init__", newest_first),
        (FrameBatcher, "withdraw", lambda *_: None),
        (FrameBatcher, "_finish", of_another),
    ],
    ids=["the newest frame first", "cancelled and stepped", "the answer of another"],
)
def test_a_fault_is_noticed(monkeypatch, owner, name, fault):
    """Negative control."""
    events = [("step", 0), ("step", 0), ("step", 1), ("step", 2), ("cancel", 0)]
    limits = {"max_batch": 4, "max_waiting": 4, "max_per_session": 2}

    def check():
        for sent, taken in play(play_events(events, limits)):
            check_session(sent, taken)

    check()
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(AssertionError):
        check()
