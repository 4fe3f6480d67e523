"""A bad call on a pool names what is wrong and where, and changes no bit of any session."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import dataclass

import numpy as np
import pytest

from cases import bits
from lstm_fast import (
    ConcurrentUseError,
    LstmFastError,
    PoolFullError,
    SnapshotError,
    StaleHandleError,
    StreamPool,
)
from pool_cases import all_bits, plain_frames

pytestmark = pytest.mark.thread_unsafe(reason="each test says what it has changed of its pool")

I, H, L = 6, 10, 2  # noqa: E741
F32, U64 = np.float32, np.uint64


@dataclass
class Case:
    """A pool that is full: a, b and c are open, c where a session was closed before."""

    pool: StreamPool
    a: int
    b: int
    c: int
    stale: int
    foreign: int
    forged: int
    out: np.ndarray


@pytest.fixture(scope="module")
def lstm(implementation):
    return implementation.random(I, H, L)


@pytest.fixture
def case(lstm):
    pool, other = lstm.pool(3, prepared=2), lstm.pool(3)
    a, b, stale = pool.open(), pool.open(), pool.open()
    pool.run([stale, b], plain_frames(0, 4, I).reshape(2, 2, I))
    pool.close(stale)
    c = pool.open()
    pool.step([c, a], plain_frames(1, 2, I))
    pool.prepare([a, b])
    out = np.full((3, H), 7, F32)
    return Case(pool, a, b, c, stale, other.open(), a ^ 1 << 40, out)


def xs(n=3):
    return np.ones((n, I), F32)


def xss(n=3, steps=4):
    return np.ones((n, steps, I), F32)


def u64(*handles):
    return np.array(handles, U64)


def readonly(*shape):
    array = np.zeros(shape, F32)
    array.flags.writeable = False
    return array


shared = np.zeros(300, F32)
good = np.zeros((L, H), F32)
NAMELESS = r"names no open session of this pool: it was closed, or is of another pool, or no handle"
STALE, TWICE = StaleHandleError, "is given twice in one call, as numbers"

# fmt: off
# name: (call, error, what the message must say, with the handles of the case for %(name)d)
CALLS = {
    "stale last": (lambda p: p.pool.step(u64(p.a, p.b, p.stale), xs(), p.out), STALE,
                   rf"^handle %(stale)d \(number 2 of this call\) {NAMELESS}"),
    "stale first": (lambda p: p.pool.step([p.stale, p.b], xs(2)), STALE,
                    rf"^handle %(stale)d \(number 0 of this call\) {NAMELESS}"),
    "stale alone": (lambda p: p.pool.step([p.stale], xs(1)), STALE,
                    rf"^handle %(stale)d .*{NAMELESS}"),
    "foreign": (lambda p: p.pool.step((p.b, p.foreign, p.a), xs(), p.out), STALE,
                rf"^handle %(foreign)d \(number 1 of this call\) {NAMELESS}"),
    "forged": (lambda p: p.pool.step(u64(p.b, p.a, p.forged), xs(), p.out), STALE,
               rf"^handle %(forged)d \(number 2 of this call\) {NAMELESS}"),
    "beyond all slots": (lambda p: p.pool.step(u64(p.a, p.b | 0xFFFFFF), xs(2)), STALE,
                         r"\(number 1 of this call\)"),
    "zero": (lambda p: p.pool.step(u64(p.a, p.b, 0), xs(), p.out), STALE,
             rf"^handle 0 \(number 2 of this call\) {NAMELESS}"),
    "zero in a list": (lambda p: p.pool.step([p.a, p.b, 0], xs(), p.out), STALE,
                       rf"^handle 0 \(number 2 of this call\) {NAMELESS}"),
    "True": (lambda p: p.pool.step([p.a, True], xs(2)), STALE, r"^handle 1 \(number 1"),
    "negative": (lambda p: p.pool.step(np.array([3, -5, -6]), xs(), p.out), STALE,
                 rf"^handle -5 \(number 1 of this call\) {NAMELESS}"),
    "negative in a list": (lambda p: p.pool.step([p.a, -5], xs(2)), STALE,
                           rf"^handle -5 \(number 1 of this call\) {NAMELESS}"),
    "too large": (lambda p: p.pool.step([p.a, p.b, 2**64 + p.c], xs(), p.out), STALE,
                  r"^handle \d{20,} \(number 2 of this call\)"),
    "twice": (lambda p: p.pool.step(u64(p.a, p.b, p.a), xs(), p.out), ValueError,
              rf"^handle %(a)d {TWICE} 0 and 2"),
    "twice at once": (lambda p: p.pool.step([p.a, p.b, p.b], xs(), p.out), ValueError,
                      rf"^handle %(b)d {TWICE} 1 and 2"),
    "handles floats": (lambda p: p.pool.step(np.ones(3), xs(), p.out), TypeError,
                       "handles have dtype float64, expected uint64"),
    "handles bools": (lambda p: p.pool.step(np.ones(3, bool), xs()), TypeError, "have dtype bool"),
    "handles objects": (lambda p: p.pool.step(np.array([p.a], object), xs(1)), TypeError,
                        "handles have dtype object, expected uint64"),
    "handles strings": (lambda p: p.pool.step(["1"], xs(1)), TypeError,
                        "handles must be a sequence of ints.*an int, found str"),
    "handles in a set": (lambda p: p.pool.step({p.a, p.b}, xs(2)), TypeError,
                         "a sequence of ints.*: a set has no order"),
    "handles in a frozenset": (lambda p: p.pool.prepare(frozenset([p.a])), TypeError,
                               "a frozenset has no order"),
    "handles None": (lambda p: p.pool.step(None, xs(1)), TypeError, "must be a sequence of ints"),
    "handles a float": (lambda p: p.pool.step([p.a, 1.0], xs(2)), TypeError, "found float"),
    "handles an int": (lambda p: p.pool.step(p.a, xs(1)), TypeError,
                       r"must be a sequence of ints, such as \[handle\]"),
    "handles of rank 2": (lambda p: p.pool.step(u64(p.a, p.b)[None], xs(2)), ValueError,
                          r"handles have shape \(1, 2\), expected \(n,\)"),
    "handles of rank 0": (lambda p: p.pool.step(U64(p.a) + np.zeros((), U64), xs(1)), TypeError,
                          "sequence of ints"),
    "handles nested": (lambda p: p.pool.step([[p.a]], xs(1)), TypeError, "an int, found list"),

    "xs too few": (lambda p: p.pool.step(u64(p.a, p.b, p.c), xs(2), p.out), ValueError,
                   r"xs has shape \(2, 6\), this call takes \(3, 6\), a row per handle"),
    "xs too many": (lambda p: p.pool.step([p.a], xs(2)), ValueError, r"takes \(1, 6\)"),
    "xs too wide": (lambda p: p.pool.step(u64(p.a), np.ones((1, I + 1), F32)), ValueError,
                    r"xs has shape \(1, 7\), this call takes \(1, 6\)"),
    "xs one frame": (lambda p: p.pool.step(u64(p.a), np.ones(I, F32)), ValueError,
                     r"xs has shape \(6,\)"),
    "xs of rank 3": (lambda p: p.pool.step(u64(p.a), xss(1)), ValueError, "xs has shape"),
    "xs complex": (lambda p: p.pool.step([p.a], xs(1) * 1j), TypeError, "xs has dtype complex"),
    "xs None": (lambda p: p.pool.step([p.a], None), TypeError, "xs holds NoneType"),
    "xs masked": (lambda p: p.pool.step([p.a], np.ma.masked_array(xs(1), xs(1) > 0)), TypeError,
                  "masked array"),
    "xs ragged": (lambda p: p.pool.step([p.a, p.b], [[1], [1, 2]]), ValueError,
                  "xs is not a rectangular array"),

    "out float64": (lambda p: p.pool.step(u64(p.a), xs(1), np.zeros((1, H))), TypeError,
                    r"out must be a float32 ndarray of shape \(1, 10\), found dtype float64"),
    "out a list": (lambda p: p.pool.step(u64(p.a), xs(1), [[0.0] * H]), TypeError, "found list"),
    "out too long": (lambda p: p.pool.step(u64(p.a, p.b), xs(2), p.out), ValueError,
                     r"out has shape \(3, 10\), expected \(2, 10\)"),
    "out one row": (lambda p: p.pool.step(u64(p.a), xs(1), np.zeros(H, F32)), ValueError,
                    r"out has shape \(10,\), expected \(1, 10\)"),
    "out strided": (lambda p: p.pool.step(u64(p.a, p.b, p.c), xs(), np.zeros((6, H), F32)[::2]),
                    ValueError, "C-contiguous"),
    "out Fortran": (lambda p: p.pool.step([p.a, p.b], xs(2), np.zeros((2, H), F32, "F")),
                    ValueError, "C-contiguous"),
    "out read-only": (lambda p: p.pool.step(u64(p.a), xs(1), readonly(1, H)), ValueError,
                      "out is read-only"),
    "out overlaps xs": (lambda p: p.pool.step(u64(p.a, p.b), shared[: 2 * I].reshape(2, I),
                                              shared[I : I + 2 * H].reshape(2, H)), ValueError,
                        "out shares memory with xs"),
    "out overlaps strided xs": (lambda p: p.pool.step(u64(p.a), shared[: 2 * I : 2][None],
                                                      shared[:H][None]), ValueError,
                                "out shares memory with xs"),
    "out overlaps a memoryview": (
        lambda p: p.pool.step([p.a], memoryview(shared)[:I].cast("B").cast("f", (1, I)),
                              shared[1 : 1 + H][None]), ValueError, "out shares memory with xs"),

    "run stale": (lambda p: p.pool.run([p.a, p.b, p.stale], xss()), STALE,
                  rf"^handle %(stale)d \(number 2 of this call\) {NAMELESS}"),
    "run stale without steps": (lambda p: p.pool.run([p.a, p.stale], xss(2), [0, 0]), STALE,
                                r"\(number 1 of this call\)"),
    "run twice": (lambda p: p.pool.run([p.a, p.b, p.a], xss(), [0, 0, 0]), ValueError,
                  rf"^handle %(a)d {TWICE} 0 and 2"),
    "run xs of rank 2": (lambda p: p.pool.run([p.a], xs(1)), ValueError,
                         r"xs has shape \(1, 6\), this call takes \(1, T, 6\), T frames per"),
    "run xs too few": (lambda p: p.pool.run([p.a, p.b], xss(3)), ValueError, r"takes \(2, T, 6\)"),
    "run out too short": (lambda p: p.pool.run([p.a], xss(1), None, np.zeros((1, 3, H), F32)),
                          ValueError, r"out has shape \(1, 3, 10\), expected \(1, 4, 10\)"),
    "run out overlaps": (lambda p: p.pool.run([p.a], shared[: 4 * I].reshape(1, 4, I), None,
                                              shared[: 4 * H].reshape(1, 4, H)), ValueError,
                         "out shares memory with xs"),
    "lengths too few": (lambda p: p.pool.run([p.a, p.b], xss(2), [1]), ValueError,
                        r"lengths have shape \(1,\), expected \(2,\), one per handle"),
    "lengths a number": (lambda p: p.pool.run([p.a], xss(1), 4), ValueError, r"shape \(\)"),
    "lengths too long": (lambda p: p.pool.run([p.a, p.b, p.c], xss(), [4, 5, 9]), ValueError,
                         r"length 5 \(number 1\) is not within 0 to 4"),
    "lengths negative": (lambda p: p.pool.run([p.a, p.b], xss(2), np.array([4, -1])), ValueError,
                         r"length -1 \(number 1\) is not within 0 to 4"),
    "lengths enormous": (lambda p: p.pool.run([p.a], xss(1), u64(2**64 - 1)), ValueError,
                         r"length 18446744073709551615 \(number 0\)"),
    "lengths floats": (lambda p: p.pool.run([p.a], xss(1), [1.0]), TypeError,
                       "lengths have dtype float64, expected integers"),
    "lengths bools": (lambda p: p.pool.run([p.a], xss(1), [True]), TypeError, "dtype bool"),
    "lengths None": (lambda p: p.pool.run([p.a], xss(1), [None]), TypeError, "dtype object"),

    "prepare stale": (lambda p: p.pool.prepare([p.c, p.stale]), STALE,
                      rf"^handle %(stale)d \(number 1 of this call\) {NAMELESS}"),
    "prepare foreign": (lambda p: p.pool.prepare(u64(p.c, p.b, p.foreign)), STALE,
                        rf"^handle %(foreign)d \(number 2 of this call\) {NAMELESS}"),
    "prepare twice": (lambda p: p.pool.prepare([p.c, p.c]), ValueError, rf"%(c)d {TWICE} 0 and 1"),
    "prepare an int": (lambda p: p.pool.prepare(p.c), TypeError, "must be a sequence of ints"),

    "set_state None": (lambda p: p.pool.set_state(p.a, None), TypeError, "pair.*NoneType"),
    "set_state h": (lambda p: p.pool.set_state(p.a, (good[:1], good)), ValueError,
                    r"state h has shape \(1, 10\).*has \(2, 10\)"),
    "set_state c": (lambda p: p.pool.set_state(p.a, (good, good * 1j)), TypeError,
                    "state c has dtype complex"),
    "reset to three": (lambda p: p.pool.reset(p.a, (good, good, good)), TypeError, "pair"),
    "reset c": (lambda p: p.pool.reset(p.a, (good, good[:, 1:])), ValueError, "state c has shape"),
    "open h": (lambda p: p.pool.open((good[0], good)), ValueError, "state h has shape"),
    "open strings": (lambda p: p.pool.open("ab"), TypeError, "state h has dtype|pair"),

    "open when full": (lambda p: p.pool.open(), PoolFullError,
                       r"^all 3 sessions of this pool are open: close one, or grow\(n\) it$"),
    "open to a state when full": (lambda p: p.pool.open((good, good)), PoolFullError, "^all 3"),
    "restore when full": (lambda p: p.pool.restore(p.pool.snapshot(p.a)), PoolFullError, "^all 3"),
    "restore a string": (lambda p: p.pool.restore("LSTMFAST"), TypeError, "is bytes, found str"),
    "restore None": (lambda p: p.pool.restore(None), TypeError, "is bytes, found NoneType"),
    "restore nothing": (lambda p: p.pool.restore(b""), SnapshotError, "not a snapshot"),
    "restore a part": (lambda p: p.pool.restore(p.pool.snapshot(p.a)[:-1]), SnapshotError,
                       "damaged or cut short"),

    "grow backwards": (lambda p: p.pool.grow(-1), ValueError, "n must be 0 to 16777216, found -1"),
    "grow a half": (lambda p: p.pool.grow(0.5), TypeError, "n must be an integer, found float"),
    "grow None": (lambda p: p.pool.grow(None), TypeError, "n must be an integer, found NoneType"),
    "grow too far": (lambda p: p.pool.grow(2**24 + 1), ValueError, "n must be 0 to 16777216"),
    "grow beyond": (lambda p: p.pool.grow(2**24 - 2), ValueError, "capacity.*16777216"),
}
ONE = {  # calls that take one handle
    "close": lambda p, handle: p.pool.close(handle),
    "state": lambda p, handle: p.pool.state(handle),
    "set_state": lambda p, handle: p.pool.set_state(handle, (good, good)),
    "reset": lambda p, handle: p.pool.reset(handle),
    "reset to": lambda p, handle: p.pool.reset(handle, (good, good)),
    "snapshot": lambda p, handle: p.pool.snapshot(handle),
}
BAD = {  # handles for them
    "stale": (lambda p: p.stale, STALE, rf"^handle %(stale)d {NAMELESS}"),
    "foreign": (lambda p: p.foreign, STALE, rf"^handle %(foreign)d {NAMELESS}"),
    "forged": (lambda p: p.forged, STALE, rf"^handle %(forged)d {NAMELESS}"),
    "zero": (lambda p: 0, STALE, rf"^handle 0 {NAMELESS}"),
    "negative": (lambda p: -p.a, STALE, rf"^handle -%(a)d {NAMELESS}"),
    "too large": (lambda p: p.a + 2**64, STALE, rf"^handle \d+ {NAMELESS}"),
    "None": (lambda p: None, TypeError, "a handle is an int, found NoneType"),
    "a float": (lambda p: float(p.a), TypeError, "a handle is an int, found float"),
    "a string": (lambda p: str(p.a), TypeError, "a handle is an int, found str"),
    "a list": (lambda p: [p.a], TypeError, "a handle is an int, found list"),
}
# fmt: on
CALLS |= {
    f"{name} {bad}": (lambda p, call=call, handle=handle: call(p, handle(p)), error, message)
    for name, call in ONE.items()
    for bad, (handle, error, message) in BAD.items()
}


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_call_says_so_and_changes_nothing(case, name):
    call, error, message = CALLS[name]
    pool, before = case.pool, all_bits(case.pool)
    with pytest.raises(error, match=message % vars(case)) as caught:
        call(case)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert all_bits(pool) == before
    assert before.keys() == {case.a, case.b, case.c}
    assert (len(pool), pool.capacity) == (3, 3)
    assert np.all(case.out == 7)
    assert pool.prepare([case.a, case.b]) == 2  # still: it was not dropped either
    pool.step([case.c, case.b, case.a], xs())  # and none of them is left marked as in use


def test_good_calls_do_change_something(case):
    """Negative control of the above."""
    pool, before = case.pool, all_bits(case.pool)
    pool.step([case.a, case.b, case.c], xs(), case.out)
    assert not np.any(case.out == 7)
    after = all_bits(pool)
    assert all(after[handle] != before[handle] for handle in before)
    pool.reset(case.a)
    pool.close(case.b)
    assert all_bits(pool).keys() == {case.a, case.c}
    assert all_bits(pool)[case.a] != after[case.a]


@pytest.mark.parametrize("place", [0, 1, 64, 127, 128, 149])
@pytest.mark.parametrize("bad", ["stale", "twice"])
def test_all_or_nothing_in_large_calls(lstm, place, bad):
    """Also where the sessions before the bad one would have filled a batch."""
    pool, out = lstm.pool(151), np.full((150, H), 7, F32)
    handles = u64(*(pool.open() for _ in range(150)))
    stale = pool.open()
    pool.close(stale)
    pool.step(handles, plain_frames(2, 150, I))
    before = all_bits(pool)
    wrong = handles.copy()
    wrong[place] = stale if bad == "stale" else handles[(place + 50) % 150]
    with pytest.raises(ValueError, match=rf"handle {wrong[place]}.*number.*{place}") as caught:
        pool.step(wrong, plain_frames(3, 150, I), out)
    assert isinstance(caught.value, StaleHandleError) == (bad == "stale")
    assert all_bits(pool) == before
    assert np.all(out == 7)
    pool.step(handles, plain_frames(3, 150, I), out)
    assert not np.any(out == 7)


def test_a_session_that_could_not_get_its_state_is_not_left_behind(lstm, monkeypatch):
    """As when the pool begins to grow between the two: nobody would know its handle."""
    pool = lstm.pool(2)
    pool.open()

    def fail(*_):
        raise ConcurrentUseError

    monkeypatch.setattr(type(pool), "_write_states", fail)
    with pytest.raises(ConcurrentUseError):
        pool.open((good, good))
    assert len(pool) == 1


POOLS = [
    ({"capacity": 0}, ValueError, "capacity must be 1 to 16777216, found 0"),
    ({"capacity": -1}, ValueError, "capacity must be 1 to 16777216, found -1"),
    ({"capacity": 2**24 + 1}, ValueError, "capacity must be 1 to 16777216, found 16777217"),
    ({"capacity": 1.0}, TypeError, "capacity must be an integer, found float"),
    ({"capacity": None}, TypeError, "capacity must be an integer, found NoneType"),
    ({"capacity": "3"}, TypeError, "capacity must be an integer, found str"),
    ({"capacity": 3, "prepared": -1}, ValueError, "prepared must be 0 to 16777216, found -1"),
    ({"capacity": 3, "prepared": 2**24 + 1}, ValueError, "prepared must be 0 to 16777216"),
    ({"capacity": 3, "prepared": 0.5}, TypeError, "prepared must be an integer, found float"),
    ({"capacity": 3, "threads": 0}, ValueError, "threads must be 1 to 4096, found 0"),
    ({"capacity": 3, "threads": 4097}, ValueError, "threads must be 1 to 4096, found 4097"),
    ({"capacity": 3, "threads": "2"}, TypeError, "threads must be an integer, found str"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), POOLS)
def test_a_bad_pool_is_not_made(lstm, arguments, error, message):
    with pytest.raises(error, match=message):
        lstm.pool(**arguments)


def test_the_smallest_and_odd_pools_are_made(lstm):
    """Negative control of the above."""
    for options in ({}, {"prepared": 0}, {"prepared": 7}, {"threads": 1}, {"threads": np.int8(9)}):
        pool = lstm.pool(np.int64(1), **options)
        assert pool.step([pool.open()], xs(1)).shape == (1, H)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_pool_is_not_copied(lstm, duplicate):
    with pytest.raises(TypeError, match=r"belongs to its process .* take a snapshot of each"):
        duplicate(lstm.pool(1))


def test_what_is_raised_can_be_caught_by_kind(case):
    """Those who know nothing of pools see a ValueError or a RuntimeError, and all are ours."""
    assert issubclass(StaleHandleError, (LstmFastError, ValueError))
    assert issubclass(SnapshotError, ValueError)
    assert issubclass(PoolFullError, RuntimeError)
    with pytest.raises(LstmFastError, match=re.escape(str(case.stale))):
        case.pool.state(case.stale)
    with pytest.raises(RuntimeError):
        case.pool.open()


def test_memory_of_handles_may_be_anything_but_the_output(lstm):
    """Handles and lengths that the output would overwrite are read before, or refused."""
    pool, memory = lstm.pool(2), np.zeros(2 * H * 4, np.uint64)
    handles = memory[:2]
    handles[:] = pool.open(), pool.open()
    kept, before = handles.tolist(), all_bits(pool)
    out = memory.view(F32)[: 2 * H].reshape(2, H)
    try:
        pool.step(handles, xs(2), out)
    except ValueError as error:
        assert "shares memory" in str(error)
        assert all_bits(pool) == before
    else:
        assert bits(out) == bits(*(lstm.stream().step(x) for x in xs(2)))
    assert sorted(all_bits(pool)) == sorted(kept)
