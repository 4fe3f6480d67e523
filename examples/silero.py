"""Silero VAD at 16 kHz: is somebody speaking? The front end in NumPy, the LSTM in lstm_fast.

    model = SileroVAD()            # the weights, read once, shared by every session
    session = model.session()      # one live caller
    probability = session(chunk)   # 512 samples, 32 ms, float32 in -1...1

The weights are a file of the package silero-vad: pip install --no-deps silero-vad (its code, which
needs PyTorch, is not used). What is computed for a chunk:

    64 samples of the chunk before + 512      (576,)
    mirror 64 samples at the end              (640,)
    short-time Fourier transform, magnitude   (4, 129)   4 frames of 256 samples, 128 apart
    four convolutions over time with ReLU     (4, 128), (2, 64), (1, 64), (1, 128)
    LSTM                                      (128,)     lstm_fast
    ReLU, weighted sum, sigmoid               a probability

The front end rounds as onnxruntime does. The model is sensitive there: the second convolution adds
384 terms, and what float32 loses in that moves probabilities by up to 3e-5. More precision would
therefore not be closer to onnxruntime, only the same sums in the same order are: with NumPy's
OpenBLAS on AVX2 and AVX-512 the LSTM is fed what it is fed in onnxruntime 1.32, to the bit. See
`SequentialProduct` and `LaneProduct`.

Each chunk is computed by itself, never in a batch with those of other sessions: matrix products of
other sizes may round differently, and a session must not depend on who else is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from os import PathLike
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import lstm_fast

__all__ = [
    "CHUNK",
    "CHUNK_SECONDS",
    "RATE",
    "Float32",
    "Session",
    "SileroVAD",
    "default_weights",
    "read_initializers",
]

RATE = 16000  # Hz
CHUNK = 512  # samples in one step
CHUNK_SECONDS = CHUNK / RATE  # 32 ms
CONTEXT = 64  # samples of the chunk before that go in front of it, and that are mirrored behind it
HOP = 128  # samples between the starts of two frames; a frame is two hops long
BINS = 129  # frequencies from 0 to 8 kHz
TAPS = 3  # of each convolution over time
LANES = 16  # float32 numbers in the widest register
TERMS = 256  # that OpenBLAS is given to add in one go; on AVX2 it splits more than 320

Float32 = NDArray[np.float32]
Product = Callable[[Float32], Float32]
ProductOf = Callable[[Float32], Product]  # what makes one from a matrix


def default_weights() -> Path:
    """Return the path of the weights in the installed package silero-vad.

    Raises:
        FileNotFoundError: it is not installed, or lacks the file.
    """
    name = "silero_vad/data/silero_vad_16k_op15.onnx"
    try:
        path = Path(str(distribution("silero-vad").locate_file(name)))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"the weights of Silero VAD ({name}) are missing: pip install --no-deps silero-vad"
        )
    return path


def read_initializers(path: str | PathLike[str]) -> dict[str, Float32]:
    """Return the weights in an ONNX file by name."""
    graph = onnx.load(path).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


class SequentialProduct:
    """Float32 rows times a matrix, term after term: the order of onnxruntime's matrix product.

    OpenBLAS, which NumPy's wheels bring, adds in that order too, and like onnxruntime with fused
    multiply-adds, if it is given few terms and two rows at a time (with four, its AVX2 kernel keeps
    several sums). So rows go in pairs and terms in blocks, where the sum so far is the first terms
    of the next block, times one, which is exact. Outputs are filled up to whole registers, because
    the AVX-512 kernel adds differently for what is left over. A BLAS with another order is no less
    accurate, but about as far from onnxruntime as float64 is.
    """

    def __init__(self, matrix: Float32) -> None:
        """Take the matrix, (terms, outputs); with more than `TERMS` terms, outputs < `TERMS`."""
        self._outputs = matrix.shape[1]
        matrix = np.pad(matrix, ((0, 0), (0, -self._outputs % LANES)))
        terms, outputs = matrix.shape
        carry = np.eye(outputs, dtype=np.float32)
        ends = [0, *range(TERMS, terms, TERMS - outputs), terms]
        self._spans = [slice(*span) for span in pairwise(ends)]
        first, *others = (matrix[span] for span in self._spans)
        self._blocks = [first.copy(), *(np.concatenate((carry, part)) for part in others)]

    def __call__(self, rows: Float32) -> Float32:
        """Return rows (R, terms), where R is even, as (R, outputs)."""
        pairs = rows.reshape(-1, 2, rows.shape[1])
        total: Float32 = pairs[:, :, self._spans[0]] @ self._blocks[0]
        for span, block in zip(self._spans[1:], self._blocks[1:], strict=True):
            total = np.concatenate((total, pairs[:, :, span]), axis=2) @ block
        return total.reshape(len(rows), -1)[:, : self._outputs]


class LaneProduct:
    """One float32 row times a matrix: onnxruntime has another order for that, with eight sums.

    They are the lanes of a register, and product k goes to sum k % 8. In the end each half is added
    from left to right, and then the halves.
    """

    def __init__(self, matrix: Float32) -> None:
        """Take the matrix, (terms, outputs), where terms is a multiple of 8."""
        self._matrix = matrix.copy()

    def __call__(self, rows: Float32) -> Float32:
        """Return rows (1, terms) as (1, outputs)."""
        products = (rows.T * self._matrix).reshape(-1, 2, 4, self._matrix.shape[1])
        left, right = products.sum(axis=0).sum(axis=1, keepdims=True)
        total: Float32 = left + right
        return total


# Of each convolution the stride, and how to multiply what it leaves: 4, 2, 1 and 1 frames.
ENCODER: tuple[tuple[int, ProductOf], ...] = (
    (1, SequentialProduct),
    (2, SequentialProduct),
    (2, LaneProduct),
    (1, LaneProduct),
)


class Convolution:
    """A convolution over time with three taps, padding 1 and ReLU, as one matrix product."""

    def __init__(self, weight: Float32, bias: Float32, stride: int, product: ProductOf) -> None:
        """Take PyTorch's layout: weight (outputs, inputs, taps), bias (outputs,)."""
        self._product = product(weight.reshape(len(weight), -1).T)
        self._bias = bias
        self._stride = stride

    def __call__(self, frames: Float32) -> Float32:
        """Return frames (T, inputs) as (ceil(T / stride), outputs)."""
        count, inputs = frames.shape
        padded = np.zeros((count + 2, inputs), np.float32)
        padded[1:-1] = frames
        shifted = [padded[tap : tap + count : self._stride] for tap in range(TAPS)]
        result = self._product(np.stack(shifted, axis=2).reshape(-1, inputs * TAPS))
        result += self._bias
        return np.maximum(result, 0, out=result)


class SileroVAD:
    """The model: immutable weights, which any number of sessions and threads may share."""

    def __init__(
        self,
        weights: str | PathLike[str] | None = None,
        backend: str | None = None,
        isa: str | None = None,
    ) -> None:
        """Read the weights.

        Args:
            weights: a silero_vad_16k*.onnx with its weights at the top level; None takes
                `default_weights()`.
            backend: see `lstm_fast.LSTM.from_state_dict`.
            isa: likewise.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is another model; or backend or isa is unknown or not for this CPU.
            lstm_fast.BackendUnavailableError: the backend asked for is not installed.
        """
        path = default_weights() if weights is None else Path(weights)
        found = read_initializers(path)
        try:
            basis = found["model.stft.forward_basis_buffer"]  # (258, 1, 256), cosines then sines
            self._fourier = SequentialProduct(basis.reshape(2 * BINS, 2 * HOP).T)
            names = [f"model.encoder.{layer}.reparam_conv" for layer in range(len(ENCODER))]
            self._encoder = [
                Convolution(found[f"{name}.weight"], found[f"{name}.bias"], stride, product)
                for name, (stride, product) in zip(names, ENCODER, strict=True)
            ]
            self._weight = found["model.decoder.decoder.2.weight"].reshape(-1)
            self._bias = float(found["model.decoder.decoder.2.bias"][0])
        except KeyError as error:
            raise ValueError(f"{path} is not Silero VAD for 16 kHz: it lacks {error}") from None
        self.lstm = lstm_fast.LSTM.from_state_dict(
            found, prefix="model.decoder.rnn.", backend=backend, isa=isa
        )

    def session(self) -> Session:
        """Return a new session, which has heard nothing yet."""
        return Session(self, self.lstm.stream())

    def encode(self, samples: Float32) -> Float32:
        """Return what the LSTM is fed: (128,), from 64 samples of context and a chunk, (576,)."""
        mirrored = samples[-2 : -2 - CONTEXT : -1]  # the last sample is the mirror, so not twice
        hops = np.concatenate((samples, mirrored)).reshape(-1, HOP)
        spectrum = self._fourier(np.concatenate((hops[:-1], hops[1:]), axis=1))
        real, imaginary = spectrum[:, :BINS], spectrum[:, BINS:]
        values: Float32 = np.sqrt(real * real + imaginary * imaginary)
        for convolution in self._encoder:
            values = convolution(values)
        return values.reshape(-1)  # of the four frames, strides 2 and 2 have left one

    def probability(self, hidden: Float32) -> float:
        """Return the probability of speech from the LSTM's output, (128,)."""
        logit = float(np.maximum(hidden, 0) @ self._weight) + self._bias
        return 1.0 / (1.0 + math.exp(-logit))


class Session:
    """One live caller: the LSTM's state and the last samples heard. For one thread at a time."""

    def __init__(self, model: SileroVAD, stream: lstm_fast.Stream) -> None:
        """Start from a stream, which becomes this session's own; see `SileroVAD.session`."""
        self.model = model
        self.stream = stream
        self._samples = np.zeros(CONTEXT + CHUNK, np.float32)
        self._hidden = np.empty(model.lstm.hidden_size, np.float32)

    def __call__(self, chunk: Float32) -> float:
        """Return the probability that the next 512 samples, float32 in -1...1, are speech.

        Raises:
            ValueError: the chunk has another shape or dtype. Nothing has changed.
        """
        self.stream.step(self.features(chunk), out=self._hidden)
        return self.model.probability(self._hidden)

    def features(self, chunk: Float32) -> Float32:
        """Take the next chunk up to the LSTM: what to pass to `stream.step`, (128,).

        A call of the session does this, the step and `SileroVAD.probability`; this is for those
        who take the steps one by one. Raises as the call does.
        """
        if chunk.shape != (CHUNK,) or chunk.dtype != np.float32:
            raise ValueError(
                f"the chunk has shape {chunk.shape} and dtype {chunk.dtype}, expected ({CHUNK},) "
                "float32 in -1...1"
            )
        samples = self._samples
        samples[:CONTEXT] = samples[-CONTEXT:]
        samples[CONTEXT:] = chunk
        return self.model.encode(samples)

    def reset(self) -> None:
        """Forget everything: exactly what a fresh session is."""
        self.stream.reset()
        self._samples[:] = 0
