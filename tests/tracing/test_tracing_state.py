"""What spans say of a session's state and of errors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.trace import StatusCode
from tracing_cases import Sdk, frames

from lstm_fast import LSTM, ConcurrentUseError, StaleHandleError


@pytest.fixture
def sdk():
    return Sdk()


@pytest.fixture
def lstm():
    return LSTM.random(3, 4)


# ---- the state ----


def of_state(sdk):
    a = sdk.last()
    return (
        a["lstm.state.reset"],
        a.get("lstm.state.reset_reason"),
        a["lstm.state.age_steps"],
        a["lstm.sequence.length"],
    )


@pytest.fixture(params=["stream", "pool"])
def session(request, sdk, lstm):
    """A traced session, and a function that steps it so many times."""
    if request.param == "stream":
        traced = sdk.trace(lstm.stream())
        return traced, lambda count: [traced.step(x) for x in frames(count)]
    pool = sdk.pool(lstm.pool(1))
    traced = pool.open()
    return traced, lambda count: [pool.step([traced], x[None]) for x in frames(count)]


def test_reset_and_age(sdk, session):
    traced, step = session
    with traced.segment():
        step(4)
    assert of_state(sdk) == (True, "new session", 4, 4)
    with traced.segment():
        step(3)
    assert of_state(sdk) == (False, None, 7, 3)  # carried over
    step(2)  # outside: it ages
    traced.reset(reason="end of call")
    step(1)
    with traced.segment():
        step(2)
    assert of_state(sdk) == (True, "end of call", 3, 2)
    with traced.segment():
        step(2)
        traced.reset(reason="barge-in")
        step(1)
    assert of_state(sdk) == (True, "barge-in", 1, 3)
    traced.reset(reason="one")
    traced.reset()  # for no reason that is given
    traced.segment().end()
    assert of_state(sdk) == (True, None, 0, 0)
    traced.state = traced.state
    with traced.segment():
        step(300)
        assert traced.age_steps == 300
    assert of_state(sdk) == (True, "state assigned", 300, 300)
    traced.segment().end()
    assert of_state(sdk) == (False, None, 300, 0)


def test_age_of_what_is_restored(sdk, lstm):
    traced = sdk.trace(lstm.stream(), age_steps=10)
    traced.segment().end()
    assert of_state(sdk) == (False, None, 10, 0)
    traced.run(frames(5))
    other = sdk.trace(lstm.stream())
    other.restore(traced.snapshot(), age_steps=traced.age_steps)
    pool = sdk.pool(lstm.pool(1))
    third = pool.restore(other.snapshot(), age_steps=other.age_steps)
    for one in (other, third):
        one.segment().end()
        assert of_state(sdk) == (True, "restored", 15, 0)
    assert third.snapshot() == other.snapshot() == traced.snapshot()


def test_a_reset_that_fails_is_none(sdk, session):
    traced, step = session
    traced.segment().end()
    step(2)
    with pytest.raises(ValueError, match="state h has shape"):
        traced.reset((np.zeros(1), np.zeros(1)), reason="wrong")
    traced.segment().end()
    assert of_state(sdk) == (False, None, 2, 0)


# ---- errors ----


def test_an_error_marks_the_span(sdk, lstm):
    traced = sdk.trace(lstm.stream())
    segment = traced.segment()
    traced.step(frames(1)[0])
    with pytest.raises(ValueError, match="this LSTM takes") as caught, segment:
        traced.step(np.zeros(9))
    span = sdk.spans()[-1]
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == str(caught.value)
    assert [event.name for event in span.events] == ["exception"]
    assert span.attributes["lstm.sequence.length"] == 1  # the one that failed is none
    with pytest.raises(ConcurrentUseError), traced.segment():
        raise ConcurrentUseError("x")
    assert sdk.last()["error.type"] == "lstm_fast.errors.ConcurrentUseError"
    with pytest.raises(KeyboardInterrupt), traced.segment():
        raise KeyboardInterrupt
    assert sdk.last()["error.type"] == "KeyboardInterrupt"


def test_without_an_error_none_is_marked(sdk, lstm):
    """Negative control: none at all, one that is caught inside, and a generator that is left."""
    traced = sdk.trace(lstm.stream())
    with traced.segment():
        pass
    with traced.segment(), pytest.raises(ValueError, match="takes"):
        traced.step(np.zeros(9))

    def generate():
        with traced.segment():
            yield

    generator = generate()
    next(generator)
    generator.close()
    assert len(sdk.spans()) == 3
    for span in sdk.spans():
        assert "error.type" not in span.attributes
        assert span.status.status_code is StatusCode.UNSET


def test_an_error_of_a_pool_marks_whom_it_passes(sdk, lstm):
    pool = sdk.pool(lstm.pool(2))
    a, b = (pool.open(session_id=name) for name in "ab")
    other = b.segment()
    with pytest.raises(StaleHandleError), a.segment():
        pool.step([a, 99], frames(2))
    other.end()
    of_a, of_b = (span.attributes for span in sdk.spans())
    assert of_a["error.type"] == "lstm_fast.errors.StaleHandleError"
    assert of_a["lstm.sequence.length"] == 0
    assert "error.type" not in of_b


def test_misuse(sdk, lstm):
    stream = lstm.stream()
    for arguments in ({"model_name": ""}, {"age_steps": -1}, {"steps_recorded": -1}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            sdk.trace(stream, **arguments)
    with pytest.raises(TypeError, match="age_steps"):
        sdk.trace(stream, age_steps=1.5)
    with pytest.raises(TypeError, match="expected a Stream, found LSTM"):
        sdk.trace(lstm)
    with pytest.raises(TypeError, match="expected a StreamPool"):
        sdk.pool(stream)
    traced = sdk.trace(stream)
    with pytest.raises(ValueError, match="window_start"):
        traced.segment(window_start=-1)
    with traced.segment() as segment:
        with pytest.raises(RuntimeError, match="still open"):
            traced.segment()
        for wrong in (1.5, -0.1):
            with pytest.raises(ValueError, match="within 0 and 1"):
                segment.predict("x", wrong)
    with pytest.raises(RuntimeError, match="has ended"):
        segment.predict("x")
    assert not {k for k in sdk.last() if k.startswith("lstm.prediction")}
