"""Sessions of speech that two threads use at once, or that a fork finds inside a call."""

from __future__ import annotations

import os
import threading
import time
from ast import literal_eval
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("onnx")
from silero_cases import silero_file

from lstm_fast import ConcurrentUseError, ForkedError, SnapshotError, vad
from lstm_fast._process import process_number
from outside import in_child


@pytest.fixture(scope="module")
def model():
    silero_file("silero_vad")
    return vad.silero()


@contextmanager
def inside(call):
    """Have another thread inside of a call, which waits where it asks for its samples."""
    here, go_on, errors = threading.Event(), threading.Event(), []

    class Samples:
        def __array__(self, dtype=None, copy=None):
            here.set()
            assert go_on.wait(60)
            return np.zeros(100, np.float32)

    def work():
        try:
            call(Samples())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert here.wait(60)
    try:
        yield
    finally:
        go_on.set()
        thread.join()
    assert errors == []


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_stream_refuses_a_second_thread_also_between_chunks(rate, model):
    stream, few = vad.SpeechStream(model, rate=rate), np.ones(7, np.float32)
    saved = stream.snapshot()
    calls = [lambda: stream.push(few), stream.flush, stream.reset, stream.snapshot]
    with inside(stream.push):
        for call in (*calls, lambda: stream.restore(saved)):
            with pytest.raises(ConcurrentUseError):
                call()
    alone = vad.SpeechStream(model, rate=rate)
    alone.push(np.zeros(100, np.float32))
    assert stream.snapshot() == alone.snapshot()
    stream.push(few)
    assert stream.snapshot() != alone.snapshot()


def test_a_pool_refuses_a_second_thread_in_a_session_and_no_other(model):
    pool, few = vad.SpeechPool(3, model), np.ones(7, np.float32)
    ours, theirs, other = (pool.open() for _ in range(3))
    empty = pool.snapshot(other)

    def take(chunks):  # inside of the call, where samples are already checked
        here.set()
        assert go_on.wait(60)
        return kept(chunks)

    here, go_on = threading.Event(), threading.Event()
    chunks = pool._sessions[theirs].chunks
    kept = chunks._take

    class Waits:
        _take = staticmethod(take)
        _buffers, _set_buffers = chunks._buffers, chunks._set_buffers

    object.__setattr__(pool._sessions[theirs], "chunks", Waits())
    thread = threading.Thread(target=pool.push, args=([theirs], [np.zeros(100, np.float32)]))
    thread.start()
    assert here.wait(60)
    object.__setattr__(pool._sessions[theirs], "chunks", chunks)
    try:
        for call in (
            lambda: pool.push([ours, theirs], [few, few]),
            lambda: pool.flush([ours, theirs]),
            lambda: pool.reset(theirs),
            lambda: pool.snapshot(theirs),
            lambda: pool.close(theirs),
        ):
            with pytest.raises(ConcurrentUseError, match=str(theirs)):
                call()
        pool.push([other], [few])
        assert pool.snapshot(ours) == empty != pool.snapshot(other)
    finally:
        go_on.set()
        thread.join()
    alone = vad.SpeechStream(model)
    alone.push(np.zeros(100, np.float32))
    assert pool.snapshot(theirs) == alone.snapshot()
    pool.close(theirs)
    assert pool._busy == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_reset_mends_what_a_fork_left_in_the_resampler(model):
    """Both the model's session and the resampler's are inside a step where the fork comes."""
    if model.backend != "native":
        pytest.skip("where Python takes the steps, a child goes on from before the run")
    for steps in (lambda one: one._chunks._stream, lambda one: one._stream):
        stream = vad.SpeechStream(model, rate=48000)
        session = steps(stream)
        (shape,) = [one.shape for one in session.model.inputs.values()]
        for times in (1, 1, 2, 4, 8, 16):  # until a fork takes less long than the run
            frames = np.zeros((100000 // shape[-1] * 50 * times, *shape), np.float32)
            said = _fork_beside(lambda frames=frames, one=session: one.run(frames), stream)
            if said:
                break
        assert said == MENDED


MENDED, STILL = 1, 2


def _fork_beside(work, stream):
    """Fork while another thread works, again and again; return what the first child inside says."""
    thread, said = threading.Thread(target=work), 0
    thread.start()
    while thread.is_alive() and not said:
        time.sleep(0.001)  # gives the lock away, else the thread does not come to work
        child = os.fork()
        if child == 0:
            os._exit(_after(stream))
        said = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    thread.join()
    return said


def _after(stream):
    """Say whether a stream goes on in a child: at once (0), after a reset, or not even then."""
    samples = np.zeros(48000, np.float32)
    try:
        stream.push(samples)
        return 0
    except ForkedError:
        stream.reset()
    try:
        stream.push(samples)
        return MENDED
    except ForkedError:
        return STILL


class _Waits:
    """A stream or a pool of a model, one of whose methods waits, before or after it has worked."""

    def __init__(self, other, method, before):
        self.other, self.method, self.before = other, method, before
        self.here, self.go_on = threading.Event(), threading.Event()

    def __getattr__(self, name):
        return self.call if name == self.method else getattr(self.other, name)

    def call(self, *given):
        work = getattr(self.other, self.method)
        made = None if self.before else work(*given)
        self.here.set()
        assert self.go_on.wait(60)
        return work(*given) if self.before else made


@contextmanager
def between(session, name, call, before, method="run"):
    """Have another thread inside of a call that has taken chunks, which the model has (not) had."""
    other = getattr(session, name)
    waits = _Waits(other, method, before)
    setattr(session, name, waits)
    thread = threading.Thread(target=call)
    thread.start()
    assert waits.here.wait(60)
    setattr(session, name, other)
    try:
        yield
    finally:
        waits.go_on.set()
        thread.join()


def told(call):
    """Return what a call does in a child: its probabilities, or the text of what it raises."""
    try:
        heard = call()
        return heard.probabilities.tobytes().hex()
    except ForkedError as error:
        return str(error)


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
SAMPLES = np.random.default_rng(0).standard_normal(3 * 512 + 100, np.float32) / 8


@forks
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("way", ["reset", "restore"])
def test_audio_that_a_fork_has_cut_out_of_a_stream_is_said(model, way, before):
    stream, alone = vad.SpeechStream(model), vad.SpeechStream(model)
    first = alone.push(SAMPLES).probabilities.tobytes()
    second = alone.push(SAMPLES).probabilities.tobytes()
    assert first != second
    saved = vad.SpeechStream(model).snapshot()
    mend = {"reset": stream.reset, "restore": lambda: stream.restore(saved)}[way]

    def child():
        calls = [lambda: stream.push(SAMPLES), stream.flush, stream.snapshot]
        said = [told(call) for call in calls]
        with pytest.raises(SnapshotError):
            stream.restore(saved[:-1])
        said.append(told(stream.flush))  # nothing was restored
        mend()
        return [*said, told(lambda: stream.push(SAMPLES))]

    with between(stream, "_stream", lambda: stream.push(SAMPLES), before):
        *said, after = literal_eval(in_child(child))
    assert all("reset it, or restore a snapshot" in text for text in said)
    assert after == first.hex()
    assert stream.push(SAMPLES).probabilities.tobytes() == second  # the parent has lost nothing


@forks
@pytest.mark.parametrize("before", [True, False])
def test_audio_that_a_fork_has_cut_out_of_a_pool_is_said(model, before):
    pool = vad.SpeechPool(4, model)
    torn, other, closed = (pool.open() for _ in range(3))
    alone = vad.SpeechStream(model)
    first, second = (alone.push(SAMPLES).probabilities.tobytes().hex() for _ in range(2))

    def push(*handles):
        return pool.push(handles, [SAMPLES] * len(handles))[0]

    def child():
        calls = [lambda: push(torn), lambda: push(other, torn), lambda: pool.snapshot(torn)]
        said = [told(call) for call in [*calls, lambda: pool.flush([torn])]]
        whole = told(lambda: push(other))  # the control: only where that was
        pool.reset(torn)
        pool.close(closed)
        return [*said, whole, told(lambda: push(torn)), len(pool), len(pool._busy)]

    with between(pool, "_pool", lambda: push(torn, closed), before):
        *said, whole, after, count, busy = literal_eval(in_child(child))
    assert all(f"handle {torn} " in text and "reset or close it" in text for text in said)
    assert "number 1 of this call" in said[1]
    assert (whole, after, count, busy) == (first, first, 2, 0)
    assert push(torn).probabilities.tobytes().hex() == second


@forks
def test_a_fork_in_the_middle_of_reading_leaves_all_of_a_session(model):
    """Negative control of both: the fork is not all that it takes."""
    stream, pool = vad.SpeechStream(model), vad.SpeechPool(1, model)
    handle, expected = pool.open(), vad.SpeechStream(model).push(SAMPLES).probabilities.tobytes()
    ways = (
        (stream, "_stream", stream.snapshot, lambda: stream.push(SAMPLES)),
        (
            *(pool, "_pool", lambda: pool.snapshot(handle)),
            lambda: pool.push([handle], [SAMPLES])[0],
        ),
    )
    for session, name, reads, push in ways:
        with between(session, name, reads, True, "snapshot"):
            assert in_child(lambda push=push: told(push)) == expected.hex()


@forks
def test_a_fork_in_a_handler_goes_on_with_its_own_call(model):
    """The thread that forks is there in the child, and so is its call, which ends there, too."""
    pool = vad.SpeechPool(1, model)
    handle, said = pool.open(), []
    core = pool._pool
    expected = vad.SpeechStream(model).push(SAMPLES).probabilities.tobytes().hex()

    class Forks(_Waits):
        def call(self, *given):
            pool._pool = core
            said.append(in_child(lambda: told(lambda: finished(core.run(*given)))))
            return core.run(*given)

    def finished(made):
        assert pool._busy[handle].process != process_number.item()
        with pool._using([handle]):  # its own mark does not keep it out
            return vad._session.Heard(made[0, :, 0], [])

    pool._pool = Forks(core, "run", True)
    assert pool.push([handle], [SAMPLES])[0].probabilities.tobytes().hex() == expected
    assert said == [expected]
