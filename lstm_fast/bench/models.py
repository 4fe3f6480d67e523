"""One whole model as what is measured: Silero VAD where it is installed, or any file."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import Model, load_model, vad
from .._frames import Array, empty
from .._program_checks import DTYPES
from .._program_costs import costs
from .._weight_types import matrices, weight_types
from ..errors import BackendUnavailableError
from ..program import Tensor
from . import CannotRunError, model_peers
from .contenders import (
    CHECKED_STEPS,
    CHECKED_STREAMS,
    SEED,
    TOLERANCES,
    Contender,
    Expected,
    Subject,
    name_of,
    opened,
)
from .shapes import Shape
from .timing import Call

SILERO = {f"silero-{rate // 1000}k": rate for rate in vad.CHUNKS}
QUIETEST = -3  # powers of ten: frames of models are between so loud and 1


class OneModel(Subject):
    """A whole model with the weights of a file."""

    def __init__(
        self, name: str, model: Model, origin: model_peers.Origin, frame_us: float | None = None
    ) -> None:
        """Take a model in float32, where it is from, and how long a frame of it lasts."""
        self._model, self._origin = model, origin
        self.frame_us = frame_us
        self.multiply_adds = sum(one.multiply_adds for one in costs(model.program))
        self.shape = Shape(name, _values(model.inputs), _values(model.outputs), 0)

    @cached_property
    def _expected(self) -> Expected:
        shape = (CHECKED_STEPS, CHECKED_STREAMS)
        frames = frames_of(self._model, shape)
        outputs = empty(self._model.outputs, shape)
        reference = Model.from_bytes(self._model.to_bytes(), backend="reference")
        for n in range(CHECKED_STREAMS):
            stream = reference.stream()
            found = [np.empty_like(output[:, n]) for output in outputs]
            stream._advance([frame[:, n].copy() for frame in frames], CHECKED_STEPS, found)
            for output, value in zip(outputs, found, strict=True):
                output[:, n] = value
        return Expected(frames, outputs)

    def expected(self) -> Expected:
        """See `Subject`: by a model on the reference backend, with float32 weights."""
        return self._expected

    def tolerances(self, weights: str) -> list[float]:
        """See `Subject`: each operation with weights adds the error of one LSTM's step.

        That is for values up to 1, or else in proportion to the largest of an output. What is no
        float is not judged: it jumps where a value lies at an edge.
        """
        program, outputs = self._model.program, self._expected.outputs
        types = weight_types(program, weights)
        with_weights = (type_ for op, type_ in zip(program.ops, types, strict=True) if matrices(op))
        error = sum(TOLERANCES[type_] for type_ in with_weights) or TOLERANCES["float32"]
        return [
            error * max(1.0, float(np.abs(one).max(initial=0))) if one.dtype.kind == "f" else np.inf
            for one in outputs
        ]

    def ours(self, backend: str, isa: str | None, weights: str) -> Contender | None:
        """See `Subject`."""
        model = self._as(backend, isa, weights)
        if model is None:
            return None
        stream, outputs = model.stream(), empty(model.outputs, (1,))
        xs = _zeros(model, (1,))
        x = dict(
            zip(model.inputs, (one[0, ...] for one in xs), strict=True)
        )  # views, of scalars, too
        out = dict(zip(model.outputs, (one[0, ...] for one in outputs), strict=True))

        def run(steps: int) -> Call:
            return partial(
                stream._advance, frames_of(model, (steps,)), steps, empty(model.outputs, (steps,))
            )

        return Contender(
            name=name_of(model),
            weights=weights,
            xs=xs,
            step=partial(stream.step, _only(x), _only(out)),
            outputs=lambda: outputs,
            prepare=stream.prepare if _has_halves(model) else None,
            run=run,
            isa=model.isa,
            bytes_per_step=model.nbytes,
        )

    def our_pool(
        self, backend: str, isa: str | None, weights: str, count: int, capacity: int
    ) -> Contender | None:
        """See `Subject`."""
        model = self._as(backend, isa, weights)
        if model is None:
            return None
        pool = model.pool(capacity, prepared=0, threads=1)
        handles = opened(pool, count)
        xs, outputs = _zeros(model, (count,)), empty(model.outputs, (count,))
        x = dict(zip(model.inputs, xs, strict=True))
        out = dict(zip(model.outputs, outputs, strict=True))
        return Contender(
            name=name_of(model),
            weights=weights,
            xs=xs,
            step=partial(pool.step, handles, _only(x), _only(out)),
            outputs=lambda: outputs,
            isa=model.isa,
            bytes_per_step=model.nbytes,
        )

    def peers(self, name: str, count: int) -> list[Contender]:
        """See `Subject`."""
        return model_peers.make(name, self._model, self._origin, count)

    def _as(self, backend: str, isa: str | None, weights: str) -> Model | None:
        """Return the model so; None where there is no such thing."""
        try:
            return Model.from_bytes(
                self._model.to_bytes(), weight_dtype=weights, backend=backend, isa=isa
            )
        except (BackendUnavailableError, ValueError):
            return None


def frames_of(model: Model, shape: tuple[int, ...]) -> list[Array]:
    """Return frames (*shape, ...) of each input: quiet and loud noise, numbers 0 and 1."""
    rng = np.random.default_rng(SEED)

    def values(tensor: Tensor) -> Array:
        size = (*shape, *tensor.shape)
        if tensor.kind != "float32":  # 0 and 1 are in nearly every table of an embedding
            return rng.integers(0, 2, size).astype(DTYPES[tensor.kind])
        axes = tuple(range(len(shape), len(size)))
        loudness = np.expand_dims(10.0 ** rng.uniform(QUIETEST, 0, shape), axes)
        return (loudness * rng.standard_normal(size)).astype(np.float32)

    return [values(tensor) for tensor in model.inputs.values()]


def silero(name: str) -> OneModel:
    """Return "silero-16k" or "silero-8k".

    Raises:
        CannotRunError: Silero VAD is not installed, or can't be read.
    """
    rate = SILERO[name]
    try:
        model, file = vad.silero(sampling_rate=rate), vad.silero_file()
    except (ValueError, OSError) as error:  # a FormatError is a ValueError
        raise CannotRunError(str(error)) from None
    origin = model_peers.Origin(file, {"constants": {"sr": rate}}, rate)
    return OneModel(name, model, origin, frame_us=1e6 * vad.CHUNKS[rate] / rate)


def installed() -> tuple[OneModel, ...]:
    """Return Silero VAD at both rates, or nothing where it or the library onnx is missing."""
    try:
        vad.silero_file()
    except FileNotFoundError:
        return ()
    if importlib.util.find_spec("onnx") is None:
        return ()
    return tuple(silero(name) for name in SILERO)


def load(what: str, options: Mapping[str, Any]) -> OneModel:
    """Return the model of a name such as "silero-16k", or else of a file.

    Args:
        what: the name, or a path that ends with .onnx or .lfm.
        options: of `lstm_fast.load_model`, for a file.

    Raises:
        CannotRunError: it can't be read.
    """
    if what in SILERO:
        if options:
            raise CannotRunError(f"{what} takes no {next(iter(options))}: that is for files")
        return silero(what)
    path = Path(what)
    try:
        model = load_model(path, **options)
    except FileNotFoundError:
        raise CannotRunError(
            f"there is no file {what!r}, nor model of that name: choose from {', '.join(SILERO)}, "
            "or name a .onnx or .lfm file"
        ) from None
    except (TypeError, ValueError, OSError) as error:
        raise CannotRunError(str(error)) from None
    return OneModel(path.name, model, model_peers.Origin(path, options, None))


def _values(tensors: Mapping[str, Tensor]) -> int:
    return sum(math.prod(one.shape) for one in tensors.values())


def _has_halves(model: Model) -> bool:
    """Return whether there is anything that a stream can do before a frame."""
    recurrent = any(op.code in {"lstm", "gru"} for op in model.program.ops)
    return model.backend == "native" and recurrent


def _zeros(model: Model, shape: tuple[int, ...]) -> list[Array]:
    return [np.zeros((*shape, *one.shape), DTYPES[one.kind]) for one in model.inputs.values()]


def _only(values: dict[str, Array]) -> Any:
    """Return the only value, which takes the short way in, or all by name."""
    return next(iter(values.values())) if len(values) == 1 else values
