"""The batcher over whole models and traced pools; sessions that move as snapshots."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest
from live_cases import FRAMES, SMALL, TICK, Pool, Slow, alone, play, service, soon, turns
from program_cases import Builder

from cases import bits
from lstm_fast import LSTM, Model, SnapshotError
from lstm_fast.serve import ClosedError, FrameBatcher, StepFailedError


def whole_model():
    """An LSTM as a program: one input and one output, by name."""
    return Model.from_program(SMALL.program)


def two_by_two():
    """A model of two inputs, of which one holds integers, two outputs, and a state."""
    build = Builder()
    x, n = build.input("x", (2, 3)), build.input("n", (), "int64")
    total = build.op("add", x, build.state("last", (2, 3)))
    build.keep("last", total)
    build.output("total", total)
    build.output("same", build.op("equal", n, build.constant(np.array(2))))
    return Model.from_program(build.program())


def answers_of(model, frames):
    stream = model.stream()
    return [stream.step(frame) for frame in frames]


def same(some, others):
    return all(bits(a) == bits(b) for a, b in zip(some, others, strict=True))


def test_a_whole_model_has_the_bits_of_its_stream():
    async def scene():
        model = whole_model()
        async with FrameBatcher(model.pool(4)) as batcher, batcher.session() as session:
            got = [await session.step(frame) for frame in FRAMES[:5]]
            assert same(got, answers_of(model, FRAMES[:5]))
            assert [bits(y) for y in got] == alone(FRAMES[:5])

    play(scene())


def test_several_inputs_and_outputs_go_by_their_names():
    rng = np.random.default_rng(0)
    frames = [
        {"x": rng.standard_normal((2, 3), dtype=np.float32), "n": np.array(k)} for k in range(4)
    ]

    async def scene():
        model = two_by_two()
        async with (
            FrameBatcher(model.pool(4)) as batcher,
            batcher.session() as one,
            batcher.session() as other,
        ):
            for frame, expected in zip(frames, answers_of(model, frames), strict=True):
                calls = soon(one.step(frame)), soon(other.step(frames[0]))
                got, _ = await asyncio.gather(*calls)
                assert got.keys() == {"total", "same"}
                assert all(bits(got[name]) == bits(expected[name]) for name in got)
            wrong = [
                (frames[0]["x"], TypeError, "must be a mapping of 'x', 'n'"),
                ({"x": frames[0]["x"]}, ValueError, "'n' is missing"),
                ({**frames[0], "n": np.float32(1)}, TypeError, "'n' of the frame is an ndarray"),
                ({**frames[0], "n": np.array([1])}, ValueError, r"shape \(1,\), expected \(\)"),
            ]
            for frame, error, text in wrong:
                with pytest.raises(error, match=text):
                    one.submit(frame)

    play(scene())


@pytest.mark.parametrize("make", [lambda: SMALL, whole_model], ids=["lstm", "model"])
def test_a_session_goes_on_from_a_snapshot(make):
    async def scene():
        model = make()
        expected = [bits(y) for y in answers_of(model, FRAMES[:6])]
        async with FrameBatcher(model.pool(4)) as batcher:
            async with batcher.session() as one, batcher.session() as other:
                for frame in FRAMES[:3]:
                    await asyncio.gather(one.step(frame), other.step(FRAMES[9]))
                of_one = await one.snapshot()
                every = await batcher.snapshots()
                assert every[one] == of_one != every[other]
                assert {*every} == {one, other}
            with pytest.raises(ClosedError):
                await one.snapshot()
            assert await batcher.snapshots() == {}
        async with FrameBatcher(model.pool(4)) as batcher:
            async with batcher.session(of_one) as again, batcher.session() as fresh:
                got = [bits(await again.step(frame)) for frame in FRAMES[3:6]]
                assert got == expected[3:]
                assert bits(await fresh.step(FRAMES[3])) != expected[3]  # the control
            with pytest.raises(SnapshotError, match="damaged"):
                await batcher.session(of_one[:-1]).__aenter__()
            with pytest.raises(SnapshotError, match="begin with"):
                await batcher.session(b"").__aenter__()

    play(scene())


def test_snapshots_hold_what_was_taken_and_wait_for_a_step():
    async def scene():
        pool = Pool()
        batcher = FrameBatcher(pool, executor=Slow(pool))
        async with batcher, batcher.session() as one, batcher.session() as other:
            calls = [one.submit(FRAMES[0]), other.submit(FRAMES[1])]
            await asyncio.sleep(2 * TICK)
            assert pool.inside  # of a step that lasts a second
            calls.append(one.submit(FRAMES[2]))
            every = await batcher.snapshots()
            assert not pool.inside
            assert calls[0].done()
            assert not calls[2].done()
            for session, frame in ((one, FRAMES[0]), (other, FRAMES[1])):
                stream = SMALL.stream()
                stream.step(frame)
                assert every[session] == stream.snapshot()
            await calls[2]

    play(scene())


def test_a_traced_pool_has_segments_and_the_same_bits():
    pytest.importorskip("opentelemetry", reason="needs opentelemetry-api")
    from lstm_fast import tracing

    async def scene():
        traced = tracing.trace_pool(SMALL.pool(1), model_name="m")
        async with FrameBatcher(traced, grow=1) as batcher:
            async with (
                batcher.session(session_id="call-7") as one,
                batcher.session() as other,  # the pool has grown
            ):
                assert one.traced.session_id == "call-7"
                with one.traced.segment():
                    got = [bits(await one.step(frame)) for frame in FRAMES[:3]]
                assert got == alone(FRAMES[:3])
                assert one.traced.age_steps == 3
                snapshot = await one.snapshot()
                assert other.traced.age_steps == 0
            assert len(traced) == len(traced.pool) == 0
            async with batcher.session(snapshot, session_id="call-7", age_steps=3) as again:
                assert bits(await again.step(FRAMES[3])) == alone(FRAMES[:4])[3]
                assert again.traced.age_steps == 4

    play(scene())


def test_a_post_is_answered_by_a_call():
    async def scene():
        async with service(2) as (pool, _, (one, other)):
            got = []

            def receive(y, error):
                got.append(bits(y) if error is None else error)
                if len(got) == 1:
                    one.post(FRAMES[1], receive)  # from within a tick

            def fails(y, error):
                raise KeyError("a bug")

            complaints = []
            asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
            other.post(FRAMES[5], fails)  # which is nobody else's business
            one.post(FRAMES[0], receive)
            assert one.unanswered == 1
            await asyncio.sleep(3 * TICK)
            assert got == alone(FRAMES[:2])
            assert [type(c["exception"]) for c in complaints] == [KeyError]
            pool.error = MemoryError("none left")
            one.post(FRAMES[2], receive)
            await asyncio.sleep(2 * TICK)
            assert isinstance(got[2], StepFailedError)
            with pytest.raises(TypeError):
                one.post([0.0], receive)

    play(scene())


def test_a_post_of_a_session_that_is_left_is_told():
    async def scene():
        told = []
        async with service(0) as (_, batcher, _):
            async with batcher.session() as session:
                session.post(FRAMES[0], lambda *given: told.append(given))
                await turns()
            [(y, error)] = told
            assert y is None
            assert isinstance(error, ClosedError)

    play(scene())


def test_an_lstm_of_any_backend(implementation):
    lstm = implementation.random(3, 5)

    async def scene():
        async with FrameBatcher(lstm.pool(2)) as batcher, batcher.session() as session:
            assert [bits(await session.step(f)) for f in FRAMES[:3]] == alone(FRAMES[:3], lstm)

    play(scene())
    assert isinstance(lstm, LSTM)


def test_the_batcher_needs_no_other_library():
    """Nor does the command line, to say what is missing."""
    program = (
        "import sys\n"
        "for name in ('opentelemetry', 'aiohttp', 'uvloop', 'prometheus_client', 'onnx'):\n"
        "    sys.modules[name] = None\n"
        "from lstm_fast.serve import FrameBatcher, Session\n"
        "from lstm_fast import cli\n"
        "print(FrameBatcher.__name__, cli.main(['--version']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("lstm-fast "), done.stderr
