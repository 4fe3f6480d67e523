"""Spans as they arrive in an OpenTelemetry SDK."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry import trace as traces
from tracing_cases import (
    ALWAYS,
    COHORT,
    SECRET,
    WHEN_FAILED,
    WHEN_GIVEN,
    WHEN_RESET,
    WITH_ISA,
    WITH_STEPS,
    Sdk,
    frames,
    wrong_attributes,
)

from lstm_fast import LSTM, StaleHandleError
from lstm_fast.tracing import _durations, _pool, _stream, _telemetry


@pytest.fixture
def sdk():
    return Sdk()


@pytest.fixture
def lstm():
    return LSTM.random(3, 4)


@pytest.fixture
def ticks(monkeypatch):
    """Make steps take the given times."""

    def take(seconds):
        readings = iter([t for s in seconds for t in (0.0, s)])
        monkeypatch.setattr(_durations, "perf_counter", lambda: next(readings))

    return take


@pytest.fixture
def often():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# ---- what a span carries ----


def test_least_attributes(implementation, sdk):
    lstm = implementation.random(3, 4, 2)
    with sdk.trace(lstm.stream(), age_steps=5).segment():
        pass
    isa = WITH_ISA if lstm.backend == "native" else {}
    assert not wrong_attributes(sdk.last(), ALWAYS | isa)


def test_most_attributes(implementation, sdk):
    lstm = implementation.random(3, 4, 2)
    traced = sdk.trace(lstm.stream(), session_id=SECRET)
    segment = traced.segment(cohort="short", window_start=np.int64(7), window_length=20)
    traced.step(frames(1)[0])
    segment.predict("end", np.float32(0.5), gold="end")
    with pytest.raises(ZeroDivisionError), segment:
        raise ZeroDivisionError
    isa = WITH_ISA if lstm.backend == "native" else {}
    expected = ALWAYS | isa | WITH_STEPS | WHEN_RESET | WHEN_GIVEN | WHEN_FAILED
    assert not wrong_attributes(sdk.last(), expected)


@pytest.mark.parametrize("change", ["missing", "too many", "type"])
def test_wrong_attributes_are_noticed(monkeypatch, sdk, lstm, change):
    """Negative control."""
    right = _telemetry.describe(lstm, "turns")
    spoiled = {
        "missing": {k: v for k, v in right.items() if k != "lstm.layers"},
        "too many": right | {"lstm.more": 1},
        "type": right | {"lstm.layers": "1"},
    }[change]
    monkeypatch.setattr(_telemetry, "describe", lambda *_: spoiled)
    with sdk.trace(lstm.stream(), age_steps=1).segment():
        pass
    name = "lstm.more" if change == "too many" else "lstm.layers"
    assert wrong_attributes(sdk.last(), ALWAYS | WITH_ISA) - set(WITH_ISA) == {name}


def test_values(sdk):
    lstm = LSTM.random(5, 6, 2, weight_dtype="float16")
    traced = sdk.trace(lstm.stream(), session_id="a", model_name="m")
    with traced.segment(cohort="long", window_start=30) as segment:
        traced.run(frames(7, 5))
        segment.predict("x", 0.25)
        segment.predict(3, 0.75, gold=4)  # replaces the first
    attributes = sdk.last()
    durations = [attributes.pop(name) for name in WITH_STEPS]
    assert durations[0] == durations[1] == durations[2] > 0
    assert attributes == {
        "lstm.model.name": "m",
        "lstm.model.sha256": lstm.fingerprint,
        "lstm.input_size": 5,
        "lstm.hidden_size": 6,
        "lstm.layers": 2,
        "lstm.backend": lstm.backend,
        "lstm.weight_dtype": "float16",
        "lstm.sequence.length": 7,
        "lstm.sequence.cohort": "long",
        "lstm.state.reset": True,
        "lstm.state.reset_reason": "new session",
        "lstm.state.age_steps": 7,
        "lstm.window.start": 30,
        "lstm.window.length": 7,  # as many as there were steps
        "lstm.prediction.label": "3",
        "lstm.prediction.confidence": 0.75,
        "lstm.gold.label": "4",
        "session.id": "a",
    } | ({} if lstm.isa is None else {"lstm.isa": lstm.isa})


def test_a_prediction_that_is_replaced_leaves_nothing(sdk, lstm):
    with sdk.trace(lstm.stream()).segment() as segment:
        segment.predict("x", 0.25, gold="y")
        segment.predict("z")
    attributes = sdk.last()
    assert attributes["lstm.prediction.label"] == "z"
    assert not {"lstm.prediction.confidence", "lstm.gold.label"} & set(attributes)
    assert "lstm.prediction.confidence" not in sdk.metrics()


def test_cohort_by_length(sdk, lstm):
    traced = sdk.trace(lstm.stream())
    for steps in (1, 3):
        with traced.segment(cohort=lambda n: "long" if n > 2 else "short"):
            traced.run(frames(steps))
    assert [s.attributes[COHORT] for s in sdk.spans()] == ["short", "long"]


def test_a_cohort_that_fails_does_not_keep_the_span(sdk, lstm):
    traced = sdk.trace(lstm.stream())
    with pytest.raises(ZeroDivisionError), traced.segment(cohort=lambda n: n // 0):
        pass
    assert len(sdk.spans()) == 1
    traced.segment().end()  # and the session goes on


def test_durations_of_steps(sdk, lstm, ticks):
    ticks([s * 1e-6 for s in range(1, 101)])
    traced = sdk.trace(lstm.stream())
    xs = frames(100)
    with traced.segment():
        for x in xs:
            traced.step(x)
    seconds = [sdk.last()[f"lstm.step.duration.{name}"] for name in ("p50", "p99", "max")]
    assert seconds == pytest.approx([50e-6, 99e-6, 100e-6])


def test_durations_are_of_this_segment_only(sdk, lstm, ticks):
    ticks([9.0, 1.0, 8.0, 2.0])
    traced = sdk.trace(lstm.stream())
    for segments in (False, True, False, True):
        with traced.segment() if segments else ExitStack():
            traced.step(frames(1)[0])
    assert [s.attributes["lstm.step.duration.max"] for s in sdk.spans()] == [1.0, 2.0]


def test_a_run_is_as_many_steps(sdk, lstm, monkeypatch):
    for module in (_stream, _pool):
        readings = iter([0.0, 12.0])
        monkeypatch.setattr(module, "perf_counter", lambda readings=readings: next(readings))
    traced, pool = sdk.trace(lstm.stream()), sdk.pool(lstm.pool(2))
    with traced.segment():
        traced.run(frames(4))
    a, b = pool.open(), pool.open()
    with a.segment(), b.segment():
        pool.run([a, b], np.zeros((2, 9, 3)), lengths=[2, 6])
    names = [f"lstm.step.duration.{name}" for name in ("p50", "p99", "max")]
    found = [{s.attributes[name] for name in names} for s in sdk.spans()]
    assert found == [{3.0}, {2.0}, {2.0}]


# ---- where a span stands ----


def test_a_span_is_a_child_of_the_callers(sdk, lstm):
    traced = sdk.trace(lstm.stream())
    with sdk.tracer.start_as_current_span("agent") as agent:
        with traced.segment() as segment:
            assert traces.get_current_span() is agent
            traced.run(frames(3))
        with traces.use_span(segment.span), traced.segment():
            pass
    first, second, parent = sdk.spans()
    assert first.name == second.name == "lstm.segment"
    assert first.parent.span_id == parent.context.span_id
    assert second.parent.span_id == first.context.span_id
    assert len({s.context.trace_id for s in sdk.spans()}) == 1


def test_a_span_without_a_caller_is_a_root(sdk, lstm):
    """Negative control, and a context that is given."""
    traced = sdk.trace(lstm.stream(), span_name="turn")
    outer = sdk.tracer.start_span("agent")
    traced.segment().end()
    traced.segment(context=traces.set_span_in_context(outer)).end()
    outer.end()
    alone, child, _ = sdk.spans()
    assert alone.parent is None
    assert alone.name == "turn"
    assert child.parent.span_id == outer.get_span_context().span_id


def test_there_is_one_span_for_many_steps(sdk, lstm):
    traced = sdk.trace(lstm.stream())
    with traced.segment():
        for x in frames(600):
            traced.step(x)
    assert [s.attributes["lstm.sequence.length"] for s in sdk.spans()] == [600]


def test_interleaved_streams_keep_their_spans(sdk, lstm):
    a, b = (sdk.trace(lstm.stream(), session_id=name) for name in "ab")
    with sdk.tracer.start_as_current_span("agent"), a.segment() as of_a:
        a.step(frames(1)[0])
        with b.segment() as of_b:
            for x in frames(3):
                b.step(x)
                a.step(x)
            of_a.predict("of a")
            of_b.predict("of b")
        a.step(frames(1)[0])
    assert_are_siblings(sdk.spans(), {"a": 5, "b": 3})


def assert_are_siblings(spans, lengths):
    *segments, agent = spans
    found = {s.attributes["session.id"]: s for s in segments}
    assert len(segments) == len(found)
    assert {name: s.attributes["lstm.sequence.length"] for name, s in found.items()} == lengths
    assert all(s.parent.span_id == agent.context.span_id for s in segments)
    for name, span in found.items():
        assert span.attributes["lstm.prediction.label"] == f"of {name}"


# ---- sessions of a pool ----


def test_sessions_of_a_pool_keep_their_spans(implementation, sdk):
    lstm = implementation.random(3, 4)
    pool = sdk.pool(lstm.pool(4))
    a, b = (pool.open(session_id=name) for name in "ab")
    untraced = pool.pool.open()
    with sdk.tracer.start_as_current_span("agent"), ExitStack() as stack:
        of = {s.session_id: stack.enter_context(s.segment()) for s in (a, b)}
        pool.step([a, b], frames(2))
        pool.step([b.handle], frames(1))
        pool.step(np.array([b.handle, untraced, a.handle], np.uint64), frames(3))
        pool.run([a, b, untraced], np.zeros((3, 5, 3)), lengths=[5, 0, 1])
        pool.run([b], np.zeros((1, 2, 3)))
        for name, segment in of.items():
            segment.predict(f"of {name}")
    assert_are_siblings(sdk.spans(), {"a": 7, "b": 5})
    assert (a.age_steps, b.age_steps, len(pool)) == (7, 5, 2)
    isa = WITH_ISA if lstm.backend == "native" else {}
    extra = {"lstm.prediction.label": str, "session.id": str}
    expected = ALWAYS | isa | WITH_STEPS | WHEN_RESET | extra
    assert not any(wrong_attributes(s.attributes, expected) for s in sdk.spans()[:-1])


def test_a_pool_counts_over_many_calls(sdk, lstm):
    """Beyond what is kept, and what is handed over now and then."""
    pool = sdk.pool(lstm.pool(20))
    sessions = [pool.open() for _ in range(20)]
    segments = [s.segment() for s in sessions]
    handles = np.array(sessions, np.uint64)
    xs = np.zeros((20, 3), np.float32)
    counts = np.zeros(20, int)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        some = rng.permutation(20)[: rng.integers(0, 21)]
        counts[some] += 1
        pool.step(handles[some], xs[: len(some)])
    most = _durations.BLOCK + (_pool.TURNS + 1) * (_pool.CALLS + 1)
    assert max(len(s.pending) for s in sessions) < most
    for segment in segments:
        segment.end()
    assert [s.attributes["lstm.sequence.length"] for s in sdk.spans()] == counts.tolist()


def test_threads_that_step_a_pool_lose_no_step(sdk, lstm, often):
    pool = sdk.pool(lstm.pool(16, threads=4))
    groups = [[pool.open() for _ in range(4)] for _ in range(4)]

    def work(sessions):
        segments = [s.segment() for s in sessions]
        handles, xs = np.array(sessions, np.uint64), np.zeros((4, 3), np.float32)
        for _ in range(2000):
            pool.step(handles, xs)
        for segment in segments:
            segment.end()

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(work, groups))
    assert [s.attributes["lstm.sequence.length"] for s in sdk.spans()] == [2000] * 16


def test_a_step_while_times_are_handed_over_is_not_lost(sdk, lstm):
    """What a thread that steps appends while another tidies, made to happen."""

    class Racing(list):
        raced = False

        def __getitem__(self, index):
            copy = super().__getitem__(index)
            if not self.raced:
                self.raced = True
                self.append(2.0)
            return copy

    session = sdk.pool(lstm.pool(1)).open()
    session.pending = Racing([1.0])
    session.drain()
    assert (session.durations.count, session.pending) == (1, [2.0])
    assert session.age_steps == 2


def test_a_session_that_is_closed_ends_its_segment(sdk, lstm):
    pool = sdk.pool(lstm.pool(1))
    session = pool.open(session_id="a")
    segment = session.segment()
    pool.step([session], frames(1))
    session.close()
    assert sdk.last()["lstm.sequence.length"] == 1
    segment.end()  # once more does nothing
    assert len(sdk.spans()) == 1
    assert len(pool) == 0
    with pytest.raises(StaleHandleError):
        pool.step([session], frames(1))
