"""Whether a thread has left a call, which the backends in Python read off its stack."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident

import pytest

from lstm_fast import _process
from lstm_fast._process import is_over


class Call:
    """A call in another thread that computes in a generator, and goes on when it is told to."""

    def __init__(self):
        self.is_inside, self.may_yield, self.has_yielded, self.may_end = (Event() for _ in range(4))

    def run(self):
        self.thread, self.frame = get_ident(), sys._getframe()
        for _ in self._numbers():
            self.has_yielded.set()
            self.may_end.wait()

    def _numbers(self):
        self.is_inside.set()
        self.may_yield.wait()
        yield 0


@pytest.fixture
def call():
    one = Call()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(one.run)
        one.is_inside.wait()
        yield one
        one.may_yield.set()
        one.may_end.set()
        future.result()


@pytest.fixture
def yields_meanwhile(call, monkeypatch):
    """Have the call's generator yield between the first look at all stacks and what comes after."""
    look = sys._current_frames

    def slow():
        frames = look()
        call.may_yield.set()
        call.has_yielded.wait()
        return frames

    monkeypatch.setattr(sys, "_current_frames", slow)


def test_a_call_is_not_over_while_it_goes_on(call):
    assert not is_over(call.thread, call.frame)


def test_a_call_is_over_when_it_has_ended():
    one = Call()
    one.may_yield.set()
    one.may_end.set()
    one.run()
    assert is_over(one.thread, one.frame)


def test_a_generator_that_yields_while_it_is_looked_at_ends_no_call(call, yields_meanwhile):
    assert not is_over(call.thread, call.frame)


def test_one_look_would_not_do(call, yields_meanwhile):
    """The control: what is seen of the stack ends at the generator."""
    frame = sys._current_frames()[call.thread]
    while frame.f_code is not Call._numbers.__code__:
        frame = frame.f_back
    assert frame.f_back is None


def test_a_stack_that_never_holds_still_counts_as_going_on(call, yields_meanwhile, monkeypatch):
    monkeypatch.setattr(_process, "LOOKS", 1)
    assert not is_over(call.thread, call.frame)
