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

The front end is float64: it is where the model is sensitive (a pure tone leaves most frequencies to
rounding), so that what differs from another implementation is that implementation's rounding.

Each chunk is computed by itself, never in a batch with those of other sessions: matrix products of
other sizes may round differently, and a session must not depend on who else is there.
"""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, distribution
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
STRIDES = (1, 2, 2, 1)  # of the convolutions
TAPS = 3  # of each convolution

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


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


class Convolution:
    """A convolution over time with three taps, padding 1 and ReLU, as one matrix product."""

    def __init__(self, weight: Float32, bias: Float32, stride: int) -> None:
        """Take PyTorch's layout: weight (outputs, inputs, taps), bias (outputs,)."""
        outputs, inputs, taps = weight.shape
        matrix = weight.transpose(2, 1, 0).reshape(taps * inputs, outputs)
        self._matrix = matrix.astype(np.float64)
        self._bias = bias.astype(np.float64)
        self._stride = stride

    def __call__(self, frames: Float64) -> Float64:
        """Return frames (T, inputs) as (ceil(T / stride), outputs)."""
        count, inputs = frames.shape
        padded = np.zeros((count + 2, inputs))
        padded[1:-1] = frames
        shifted = [padded[tap : tap + count : self._stride] for tap in range(TAPS)]
        result: Float64 = np.concatenate(shifted, axis=1) @ self._matrix
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
            # (258, 1, 256), cosines then sines, as two matrices for frames on the left, so that the
            # product unpacks into real and imaginary parts.
            basis = found["model.stft.forward_basis_buffer"].reshape(2, BINS, 2 * HOP)
            self._basis = basis.transpose(0, 2, 1).astype(np.float64)
            names = [f"model.encoder.{layer}.reparam_conv" for layer in range(len(STRIDES))]
            self._encoder = [
                Convolution(found[f"{name}.weight"], found[f"{name}.bias"], stride)
                for name, stride in zip(names, STRIDES, strict=True)
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
        hops = np.concatenate((samples, mirrored), dtype=np.float64).reshape(-1, HOP)
        frames = np.concatenate((hops[:-1], hops[1:]), axis=1)
        real, imaginary = frames @ self._basis
        values: Float64 = np.sqrt(real * real + imaginary * imaginary)
        for convolution in self._encoder:
            values = convolution(values)
        return values.reshape(-1).astype(
            np.float32
        )  # of the four frames, strides 2 and 2 have left one

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
