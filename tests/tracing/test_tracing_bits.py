"""What tracing leaves as it was: bits, errors, and whoever does not trace."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry import context as contexts
from tracing_cases import Sdk, frames

from lstm_fast import LSTM, tracing


@pytest.fixture
def sdk():
    return Sdk()


@pytest.fixture
def lstm():
    return LSTM.random(3, 4)


# ---- what stays as it was ----


def test_same_bits(implementation, sdk):
    lstm = implementation.random(5, 7, 2)
    plain, traced = lstm.stream(), sdk.trace(lstm.stream())
    out, other = np.empty((2, 7), np.float32)
    with traced.segment():
        for n, x in enumerate(frames(40, 5)):
            if n == 20:
                plain.reset()
                traced.reset(reason="half")
            if n % 3 == 0:
                plain.prepare()
                traced.prepare()
            assert traced.step(x=x, out=out) is out
            assert plain.step(x, other).tobytes() == out.tobytes() == traced.state.h[-1].tobytes()
        assert traced.step([0.5] * 5).tobytes() == plain.step([0.5] * 5).tobytes()
        xs = frames(6, 5, seed=1)
        assert traced.run(xs).tobytes() == plain.run(xs).tobytes()
        assert traced.run(xs[:0]).shape == (0, 7)
    assert traced.snapshot() == plain.snapshot()
    assert traced.lstm is lstm
    assert traced.stream.snapshot() == plain.snapshot()


def test_same_bits_in_a_pool(implementation, sdk):
    lstm = implementation.random(5, 7)
    plain, pool = lstm.pool(3), sdk.pool(lstm.pool(3))
    handles, sessions = [plain.open() for _ in range(3)], [pool.open() for _ in range(3)]
    with ExitStack() as stack:
        for session in sessions:
            stack.enter_context(session.segment())
        for n, xs in enumerate(frames(60, 5).reshape(20, 3, 5)):
            rows = [2, 0, 1][: n % 3 + 1]
            plain.prepare(handles[:1])
            pool.prepare(sessions[:1])
            if n == 10:
                plain.reset(handles[2])
                sessions[2].reset()
            ys = plain.step([handles[r] for r in rows], xs[rows])
            out = np.empty_like(ys)
            assert pool.step([sessions[r] for r in rows], xs[rows], out=out) is out
            assert ys.tobytes() == out.tobytes()
        block = frames(12, 5).reshape(3, 4, 5)
        ys = plain.run(handles, block, [4, 0, 2])
        assert pool.run(sessions, block, [4, 0, 2]).tobytes() == ys.tobytes()
        assert pool.run([], block[:0]).shape == (0, 4, 7)
        assert pool.step([], block[:0, 0]).shape == (0, 7)
    for handle, session in zip(handles, sessions, strict=True):
        assert session.snapshot() == plain.snapshot(handle)


WRONG = [
    ((np.zeros(4),), {}),
    (("x",), {}),
    ((np.zeros(3),), {"out": np.zeros(4)}),
    (([1j] * 3,), {}),
]


@pytest.mark.parametrize(("arguments", "options"), WRONG)
def test_same_errors(sdk, lstm, arguments, options):
    plain, traced = lstm.stream(), sdk.trace(lstm.stream())
    with pytest.raises((TypeError, ValueError)) as expected:
        plain.step(*arguments, **options)
    before = traced.snapshot()
    with pytest.raises(expected.type) as found:
        traced.step(*arguments, **options)
    assert (found.type, str(found.value)) == (expected.type, str(expected.value))
    assert traced.snapshot() == before
    assert traced.age_steps == 0


def test_same_errors_in_a_pool(sdk, lstm):
    pool = sdk.pool(lstm.pool(2))
    a = pool.open()
    for handles, xs in (([a, a], frames(2)), ([7], frames(1)), ([a], frames(2)), ("a", frames(1))):
        with pytest.raises((TypeError, ValueError)) as expected:
            pool.pool.step(handles, xs)
        with pytest.raises(expected.type) as found:
            pool.step(handles, xs)
        assert str(found.value) == str(expected.value)
    assert a.age_steps == 0


def test_without_an_sdk_nothing_happens(lstm):
    """The API's own tracer and meter, which do nothing."""
    plain, traced = lstm.stream(), tracing.trace(lstm.stream(), model_name="m", session_id="s")
    with traced.segment(cohort="short") as segment:
        ys = traced.run(frames(9))
        segment.predict("x", 0.5)
    assert not segment.span.is_recording()
    assert ys.tobytes() == plain.run(frames(9)).tobytes()
    assert contexts.get_current() == {}


# ---- what is imported ----


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


BLOCK = "import sys\nsys.modules[{!r}] = None\n"


def test_without_opentelemetry_the_error_says_the_extra():
    done = run_python(BLOCK.format("opentelemetry") + "import lstm_fast\nimport lstm_fast.tracing")
    assert done.returncode == 1
    assert "pip install 'opentelemetry-api>=1.20'" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("ImportError")


def test_the_library_needs_no_sdk():
    code = BLOCK.format("opentelemetry.sdk") + "import lstm_fast.tracing"
    assert run_python(code).returncode == 0


def test_who_does_not_trace_imports_nothing():
    code = (
        "import sys, lstm_fast\nstream = lstm_fast.LSTM.random(1, 1).stream()\nstream.step([1])\n"
        "print([m for m in sys.modules if 'opentelemetry' in m or m == 'lstm_fast.tracing'])"
    )
    assert run_python(code).stdout.strip() == "[]"
    control = run_python(code.replace("import sys, lstm_fast", "import sys, lstm_fast.tracing"))
    assert "lstm_fast.tracing" in control.stdout
