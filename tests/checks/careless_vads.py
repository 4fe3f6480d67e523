"""Silero VAD in onnxruntime as somebody would write it around the file, rightly and carelessly."""

from __future__ import annotations

from functools import cache

import numpy as np
from silero_path import silero_file

from lstm_fast.checks import adapters

SIZES = {16000: (512, 64), 8000: (256, 32)}


@cache
def runner():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        str(silero_file("silero_vad.onnx")), options, providers=["CPUExecutionProvider"]
    )


class Vad:
    """Right: float32 in -1...1. Each method is a place where one may go wrong."""

    rate = 16000

    def __init__(self):
        self.size, self.count = SIZES[self.rate]
        self.reset()

    def reset(self):
        self.state = self.zeros()
        self.context = np.zeros(self.count, np.float32)

    def zeros(self):
        return np.zeros((2, 1, 128), np.float32)

    def __call__(self, chunk):
        x = self.samples(chunk)
        window = self.window(x)
        feeds = {"input": window[None], "state": self.state, "sr": np.array(self.sr())}
        p, state = runner().run(None, feeds)
        self.state = self.next_state(state)
        self.context = self.next_context(x, window)
        return float(p[0, 0])

    def samples(self, chunk):
        return chunk

    def window(self, x):
        return np.concatenate([self.context, x])

    def sr(self):
        return self.rate

    def next_state(self, state):
        return state

    def next_context(self, x, window):
        return window[-self.count :]


class Int16(Vad):
    samples_as = "int16"

    def samples(self, chunk):
        return chunk.astype(np.float32) / np.float32(self.divisor())

    def divisor(self):
        return 32768


class Bytes(Int16):
    samples_as = "bytes"

    def samples(self, chunk):
        return super().samples(np.frombuffer(chunk, "<i2"))


# ---- state and context ---------------------------------------------------------------------------


class NoState(Vad):
    def next_state(self, state):
        return self.zeros()


class NoH(Vad):
    def next_state(self, state):
        return np.concatenate([self.zeros()[:1], state[1:]])


class NoC(Vad):
    def next_state(self, state):
        return np.concatenate([state[:1], self.zeros()[1:]])


class SwappedState(Vad):
    def next_state(self, state):
        return state[::-1].copy()


class NoContext(Vad):
    def next_context(self, x, window):
        return np.zeros(self.count, np.float32)


class WrongEnd(Vad):
    def next_context(self, x, window):
        return x[: self.count]


class OwnEnd(Vad):
    def window(self, x):
        return np.concatenate([x[-self.count :], x])


class Behind(Vad):
    def window(self, x):
        return np.concatenate([x, self.context])

    def next_context(self, x, window):
        return x[-self.count :]


class Reflected(Vad):
    def window(self, x):
        return np.concatenate([x[self.count : 0 : -1], x])


class Backwards(Vad):
    def next_context(self, x, window):
        return window[-self.count :][::-1]


class ChunkAlone(Vad):
    def window(self, x):
        return x


class OtherCount(Vad):
    def __init__(self):
        super().__init__()
        self.count = 96 - self.count
        self.reset()


class Nothing(NoState, NoContext):
    """Neither state nor context."""


class ChunkAloneAndNoState(NoState, ChunkAlone):
    """Likewise, without room for the context."""


class OneLate(Vad):
    last = 0.0

    def reset(self):
        super().reset()
        self.last = 0.0

    def __call__(self, chunk):
        last, self.last = self.last, super().__call__(chunk)
        return last


class EndZeroed(Vad):
    """As of a context that is a view of the audio, and is set to zeros."""

    def __call__(self, chunk):
        cut, kept = chunk.copy(), (self.state, self.context)
        cut[-self.count :] = 0
        p = super().__call__(cut)
        self.state, self.context = kept
        super().__call__(chunk)
        return p


# ---- samples -------------------------------------------------------------------------------------


class Raw(Int16):
    def divisor(self):
        return 1


class Twice(Int16):
    def divisor(self):
        return 32768.0**2


class By32767(Int16):
    def divisor(self):
        return 32767


class By65536(Int16):
    def divisor(self):
        return 65536


class By3000(Int16):
    def divisor(self):
        return 3000


class EachByItsLoudest(Vad):
    def samples(self, chunk):
        return chunk / max(float(np.abs(chunk).max()), 1e-9)


class Unsigned(Bytes):
    def samples(self, chunk):
        return np.frombuffer(chunk, "<u2").astype(np.float32) / np.float32(32768)


class OtherBytes(Bytes):
    def samples(self, chunk):
        return np.frombuffer(chunk, ">i2").astype(np.float32) / np.float32(32768)


class FloatTwice(Vad):
    def samples(self, chunk):
        return chunk / np.float32(32768)


class RawAndNoContext(Raw, NoContext):
    """Not divided, and without context."""


class By32767AndNoState(By32767, NoState):
    """Divided by another constant, and the state is not carried."""


# ---- chunks and rates ----------------------------------------------------------------------------


class OtherRate(Vad):
    """All is as it should be, but for what the model is told."""

    def sr(self):
        return 24000 - self.rate


class OfOtherRate(Vad):
    """All is as for the other rate, and audio of this one is collected."""

    def __init__(self):
        super().__init__()
        self.size, self.count = SIZES[24000 - self.rate]
        self.reset()

    def reset(self):
        super().reset()
        self.rest, self.p = np.zeros(0, np.float32), 0.0

    def sr(self):
        return 24000 - self.rate

    def __call__(self, chunk):
        self.rest = np.concatenate([self.rest, chunk])
        while len(self.rest) >= self.size:
            self.p = super().__call__(self.rest[: self.size])
            self.rest = self.rest[self.size :]
        return self.p


class Collects(OfOtherRate):
    """Right: chunks of any size."""

    def __init__(self):
        super().__init__()
        self.size, self.count = SIZES[self.rate]
        self.reset()

    def sr(self):
        return self.rate


class FilledUp(Vad):
    """Of smaller chunks: zeros behind each."""

    def samples(self, chunk):
        return np.concatenate([chunk, np.zeros(self.size - len(chunk), np.float32)])


class NewSamplesAsContext(Vad):
    """576 new samples, or 288, are the window."""

    def window(self, x):
        return x


# ---- resets and sessions -------------------------------------------------------------------------


class KeepsContext(Vad):
    context = None

    def reset(self):
        kept = self.context
        super().reset()
        self.context = self.context if kept is None else kept


class KeepsState(Vad):
    state = None

    def reset(self):
        kept = self.state
        super().reset()
        self.state = self.state if kept is None else kept


class KeepsAll(Vad):
    done = False

    def reset(self):
        if not self.done:
            super().reset()
        self.done = True


class ResetsNothingButMakesNew(Vad):
    """Right: it has no reset(), and a new one is as good."""

    reset_all = Vad.reset
    reset = None

    def __init__(self):
        self.size, self.count = SIZES[self.rate]
        self.reset_all()


def shared(name, base=Vad):
    """Return a class whose sessions have one attribute in common, which each start resets."""

    class Shares(base):
        common = {}  # noqa: RUF012 - that is the mistake

    def get(self):
        return self.common[name]

    def put(self, value):
        self.common[name] = value

    setattr(Shares, name, property(get, put))
    return Shares


def shared_all():
    """Return a function that gives all sessions one and the same object, as of a module."""
    only = []

    def make():
        if not only:
            only.append(Vad())
        return only[0]

    return make


def target(kind, rate=16000, **options):
    """Return a target of one of these classes, at that rate."""
    made = type(kind.__name__, (kind,), {"rate": rate})
    options.setdefault("samples", getattr(kind, "samples_as", "float32"))
    return adapters.from_vad(made, sampling_rate=rate, **options)
