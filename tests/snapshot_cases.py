"""The ways from one session to another through a snapshot."""

from __future__ import annotations

from cases import bits, state_bits
from pool_cases import plain_frames


def used(lstm, seed=0):
    """A stream that has come some way."""
    stream = lstm.stream()
    stream.run(plain_frames(seed, 6, lstm.input_size))
    return stream


WAYS = {
    "stream to stream": lambda lstm, stream: restored_stream(lstm, stream.snapshot()),
    "stream to pool": lambda lstm, stream: restored_in_pool(lstm, stream.snapshot()),
    "pool to stream": lambda lstm, stream: restored_stream(lstm, pool_snapshot(lstm, stream)),
    "pool to pool": lambda lstm, stream: restored_in_pool(lstm, pool_snapshot(lstm, stream)),
}


def restored_stream(lstm, taken):
    stream = used(lstm, seed=9)
    stream.prepare()
    stream.restore(taken)
    return stream.run, lambda: state_bits(stream)


def restored_in_pool(lstm, taken):
    pool = lstm.pool(3)
    pool.open()
    handle = pool.restore(taken)
    return lambda xs: pool.run([handle], xs[None])[0], lambda: bits(*pool.state(handle))


def pool_snapshot(lstm, stream):
    pool = lstm.pool(2)
    pool.open()
    handle = pool.open(stream.state)
    pool.prepare([handle])
    taken = pool.snapshot(handle)
    assert bits(*pool.state(handle)) == state_bits(stream)  # the session itself goes on
    return taken
