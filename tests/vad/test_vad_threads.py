"""Sessions of speech that two threads use at once, or that a fork finds inside a call."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("onnx")
from silero_cases import silero_file

from lstm_fast import ConcurrentUseError, ForkedError, vad


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
        # So long that a fork is sure to come in the middle; its end is waited for.
        frames = np.zeros((100000 // shape[-1] * 100, *shape), np.float32)
        thread = threading.Thread(target=session.run, args=(frames,))
        thread.start()
        while thread.is_alive():
            child = os.fork()
            if child == 0:
                os._exit(_after(stream))
            said = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if said:
                break
        thread.join()
        assert said == MENDED


MENDED, STILL = 1, 2


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
