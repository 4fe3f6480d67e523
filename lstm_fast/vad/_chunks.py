"""Audio as it comes, in whole chunks of a model; what is left over is a state that can be saved."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import SnapshotError
from ..snapshots import OTHERS, Snapshot, to_bytes
from ._resampling import Resampler, check_rate, resampler
from ._samples import to_samples

MAGIC = b"LFCHUNK1"
HEADER = struct.Struct("<8s5I")  # magic, rate, model's rate, size, samples of each part
FEW = 16  # blocks that are copied one by one in less time than a view of many is made
EMPTY: NDArray[np.float32] = np.zeros(0, np.float32)


class Chunks:
    """Turns samples at any common rate, however they are cut, into chunks of a model.

    What comes out depends on the samples alone, to the bit: not on how they were cut, nor on where
    a snapshot was taken and restored, nor on the CPU. A chunk comes as soon as its last sample can
    be computed; at another rate than the model's that takes samples from after it, some
    milliseconds (`delay`). The n-th sample of a chunk is at the time (chunk * size + n) /
    model_rate of the input: nothing is shifted.

    It belongs to one thread at a time.

    Example:
        >>> import numpy as np
        >>> chunks = Chunks(rate=16000)
        >>> [len(chunks.push(np.zeros(n, np.int16))) for n in (500, 500, 500)]  # of 512
        [0, 1, 1]
    """

    __slots__ = ("_model_rate", "_rate", "_raw", "_ready", "_resampler", "_size", "_stream")

    def __init__(
        self,
        rate: int,
        model_rate: int = 16000,
        *,
        size: int | None = None,
        backend: str | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            rate: of the samples that come, 4000 to 384000 Hz; its periods and the model's must meet
                within 40 ms, as those of all common rates do.
            model_rate: of the chunks.
            size: samples in a chunk; None: of 32 ms, as Silero VAD takes them (512 at 16 kHz).
            backend: what resamples: "native", "numba", "reference"; None: the best here.

        Raises:
            TypeError, ValueError: rate, model_rate or size is not an integer, or out of range.
            BackendUnavailableError: the backend asked for is not installed.
        """
        self._model_rate = check_rate(model_rate, model_rate)
        self._rate = check_rate(rate, self._model_rate)
        given = self._model_rate * 32 // 1000 if size is None else size
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
            raise TypeError(f"size is {size!r}, expected an integer")
        if not 1 <= given < 2**31:
            raise ValueError(f"size is {size}, expected 1 or more samples")
        self._size = int(given)
        same = self._rate == self._model_rate
        self._resampler = None if same else resampler(self._rate, self._model_rate, backend)
        self._stream = None if self._resampler is None else self._resampler.model.stream()
        self._ready = EMPTY  # at the model's rate, less than a chunk
        self._raw = self._start()  # at the input's, from the margin before the next block on

    @property
    def rate(self) -> int:
        """The rate of the samples that come, Hz."""
        return self._rate

    @property
    def model_rate(self) -> int:
        """The rate of the chunks, Hz."""
        return self._model_rate

    @property
    def size(self) -> int:
        """Samples in a chunk."""
        return self._size

    @property
    def delay(self) -> float:
        """Seconds of audio after a chunk that it waits for, at most: 0 where nothing is resampled.

        That is a filter's margin, and what completes a block.
        """
        how = self._resampler
        return 0.0 if how is None else (how.margin + how.block_in) / how.rate

    @property
    def buffered(self) -> float:
        """Seconds of audio that came and are in no chunk yet."""
        return len(self._ready) / self._model_rate + self._waiting / self._rate

    def push(self, samples: Any) -> NDArray[np.float32]:
        """Take the next samples and return the chunks that they complete.

        Args:
            samples: any number of them: shape (n,), int16 or other integers of 16 bits (divided by
                32768), or floats in -1...1; or bytes of PCM16, little-endian. NaN and infinities
                are passed on.

        Returns:
            Chunks, shape (m, size), float32, m from 0; an array of its own.

        Raises:
            TypeError, ValueError: these cannot be samples, see `to_samples`. Nothing was taken.
        """
        return self._take(to_samples(samples))

    def flush(self) -> NDArray[np.float32]:
        """End the audio: return what is left, as if zeros followed, and begin anew.

        Returns:
            Chunks, shape (m, size), float32: the last one filled up with zeros; none where nothing
            is left.
        """
        tail = EMPTY
        if how := self._resampler:
            left = -(-self._waiting * self._model_rate // self._rate)
            blocks = -(-left // how.block_out)
            missing = how.window + (blocks - 1) * how.block_in - len(self._raw)
            tail = self._resampled(np.zeros(max(0, missing), np.float32))[:left]
        self._raw = self._start()
        self._ready, ready = EMPTY, np.concatenate([self._ready, tail])
        return np.pad(ready, (0, -len(ready) % self._size)).reshape(-1, self._size)

    def reset(self) -> None:
        """Forget what is buffered: begin anew."""
        if self._stream is not None:
            self._stream.reset()  # has no state, but refuses where a fork came in the middle of it
        self._ready, self._raw = EMPTY, self._start()

    def snapshot(self) -> bytes:
        """Return what is buffered as bytes, from which a `Chunks` made alike continues, anywhere.

        It has no checksum of its own: what it is kept in should.
        """
        how = (self._rate, self._model_rate, self._size, len(self._raw), len(self._ready))
        values = np.concatenate([self._raw, self._ready]).astype("<f4")
        return HEADER.pack(MAGIC, *how) + values.tobytes()

    def restore(self, snapshot: Snapshot) -> None:
        """Continue where a snapshot was taken.

        Raises:
            TypeError, OSError: as `ModelStream.restore`, which takes files, too.
            SnapshotError: it is none, is cut short, or was taken at other rates. Nothing changed.
        """
        how = self._resampler
        longest = self._size + (0 if how is None else how.window)
        data = to_bytes(snapshot, HEADER.size + 4 * longest + OTHERS)
        rate, model_rate, size, raw, ready = header_of(data)
        if (rate, model_rate, size) != (self._rate, self._model_rate, self._size):
            raise SnapshotError(
                f"the snapshot is of {rate} Hz made into chunks of {size} at {model_rate} Hz, this "
                f"is {self._rate} Hz made into chunks of {self._size} at {self._model_rate} Hz"
            )
        is_possible = raw == 0 if how is None else how.margin <= raw < how.window
        if not is_possible or ready >= size:
            raise SnapshotError(
                "the snapshot of chunks is damaged: it holds too much or too little"
            )
        values = np.frombuffer(data, "<f4", offset=HEADER.size).astype(np.float32)
        self._raw, self._ready = values[:raw], values[raw:]

    def _take(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples that are checked and float32: `push` after `to_samples`."""
        return self._chunks(self._resampled(samples))

    def _buffers(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `_set_buffers` takes back: what is buffered, which is never written to."""
        return self._raw, self._ready

    def _set_buffers(self, kept: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
        self._raw, self._ready = kept

    def __reduce__(self) -> NoReturn:
        raise TypeError("take a snapshot, and restore it in a Chunks made alike")

    def __repr__(self) -> str:
        return f"Chunks({self._rate}, {self._model_rate}, size={self._size})"

    @property
    def _waiting(self) -> int:
        """Raw samples that are in no block yet."""
        return 0 if self._resampler is None else len(self._raw) - self._resampler.margin

    def _start(self) -> NDArray[np.float32]:
        """Return what comes before the first sample."""
        return EMPTY if self._resampler is None else np.zeros(self._resampler.margin, np.float32)

    def _resampled(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take raw samples and return those of the model's rate that they complete, (n,)."""
        how = self._resampler
        if how is None or self._stream is None:
            return samples
        raw = np.concatenate([self._raw, samples])
        blocks = (len(raw) - how.window) // how.block_in + 1 if len(raw) >= how.window else 0
        if not blocks:
            self._raw = raw
            return EMPTY
        made = self._stream.run(_windows(raw, how, blocks))
        self._raw = raw[blocks * how.block_in :].copy()  # not a view, which would keep all of it
        return np.asarray(made, np.float32).reshape(-1)

    def _chunks(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples of the model's rate and return the chunks that they complete."""
        ready = np.concatenate([self._ready, samples])
        whole = len(ready) // self._size * self._size
        self._ready = ready[whole:].copy()
        return ready[:whole].reshape(-1, self._size)


def header_of(data: bytes) -> tuple[int, ...]:
    """Return the numbers of a snapshot: rate, model's rate, size, and samples of each part.

    Raises:
        SnapshotError: it is none, or is cut short.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise SnapshotError(f"this is not a snapshot of chunks: it does not begin with {MAGIC!r}")
    _, *numbers = HEADER.unpack_from(data)
    if len(data) != HEADER.size + 4 * (numbers[-2] + numbers[-1]):
        raise SnapshotError("the snapshot of chunks is cut short, or too long")
    return tuple(numbers)


def _windows(raw: NDArray[np.float32], how: Resampler, blocks: int) -> NDArray[np.float32]:
    """Return what each block is computed from, (blocks, 1, window)."""
    if blocks > FEW:
        windows = np.lib.stride_tricks.sliding_window_view(raw, how.window)[:: how.block_in]
        return windows[:blocks, None, :]
    few = np.empty((blocks, 1, how.window), np.float32)
    for at in range(blocks):
        begin = at * how.block_in
        few[at, 0] = raw[begin : begin + how.window]
    return few
