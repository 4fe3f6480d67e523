"""Models that onnxruntime runs, as targets: with the state as inputs and outputs, or without."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._arrays import Float32
from ...model import Model
from ..target import State, Target, TargetError
from ._extras import needed
from ._known import known, shapes, wrong_rate
from ._onnx_guess import guess
from ._onnx_signature import Signature

__all__ = ["OnnxTarget", "from_onnx"]


def from_onnx(
    model: str | os.PathLike[str] | bytes,
    *,
    x: str | None = None,
    y: str | None = None,
    states: Mapping[str, str] | None = None,
    h_and_c: Sequence[str] | None = None,
    constants: Mapping[str, Any] | None = None,
    frame_shape: Sequence[int] | None = None,
    time_axis: int | None = None,
    batch_axis: int | None = None,
    threads: bool = True,
    session_options: Any = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    name: str | None = None,
    origin: str | None = None,
) -> OnnxTarget:
    """Return a model as a target. What is None is guessed, where only one guess is possible.

    A model with the state among its inputs and outputs is stepped with them. One without them takes
    whole sequences: it is stepped by running it over all frames since the reset, and the last
    output is that of the step (which takes a time that grows with the number of steps).

    Args:
        model: the file, or its bytes.
        x: the name of the input that takes frames.
        y: the name of the output that is looked at.
        states: from the names of the state's inputs to those of its outputs. {} is without.
        h_and_c: the outputs that hold h and c, or the one that holds both, one after the other
            along the first axis; for the checks that look at the state. [] is none.
        constants: values of other inputs, such as {"sr": np.array(16000)}.
        frame_shape: the shape of x for one frame of one session, where the model leaves it free,
            such as (1, 80) or (3, 41); sizes of 1 at the start may be left out.
        time_axis: where x of three axes has T.
        batch_axis: where it has N.
        threads: whether sessions may run in threads of their own (onnxruntime says they may).
        session_options: onnxruntime's; None is one thread.
        providers: onnxruntime's.
        name: for the report.
        origin: Python that makes the target again, for reproductions.

    Raises:
        TargetError: onnxruntime is missing or cannot load it, a name is wrong, or a guess is not
            possible; the text lists what there is. Or it is a Silero VAD, and its frames were said
            wrongly or not at all.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import vad
        >>> rate = {"sr": np.array(16000)}
        >>> target = from_onnx(vad.silero_file(), constants=rate, frame_shape=(576,))
        >>> target.session().step(np.zeros(576, np.float32)).shape
        (1,)
    """
    with needed("onnxruntime"):
        import onnxruntime as ort
    if session_options is None:
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
        session_options.log_severity_level = 4  # what it raises says it
    what: Any = model if isinstance(model, bytes) else os.fspath(model)
    try:
        runner = ort.InferenceSession(what, session_options, providers=list(providers))
    except Exception as error:  # onnxruntime raises many kinds
        which = "it" if isinstance(model, bytes) else what
        raise TargetError(f"onnxruntime can't load {which}: {error}") from error
    doubts = _doubts(runner, model, constants or {}, frame_shape, states is not None)
    try:
        signature = guess(
            runner, x, y, states, h_and_c, constants or {}, frame_shape, (time_axis, batch_axis)
        )
    except TargetError as error:
        which = known(runner)
        if which is None:
            raise
        line = which.command(model, shapes(runner)[0], constants or {})
        raise TargetError(f"{error}. This works for {which.title}: {line}") from error
    if name is None:
        file = "model" if isinstance(model, bytes) else Path(what).name
        name = f"{file} in onnxruntime {ort.__version__}"
    target = OnnxTarget(runner, signature, name, origin, threads)
    target.remarks = doubts
    return target


def inputs_of(model: str | os.PathLike[str]) -> list[Any]:
    """Return what a file takes, as onnxruntime describes it; nothing where it can't load it."""
    with needed("onnxruntime"):
        import onnxruntime as ort
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        runner = ort.InferenceSession(os.fspath(model), options, ["CPUExecutionProvider"])
    except Exception:  # onnxruntime raises many kinds
        return []
    return list(runner.get_inputs())


def _doubts(
    runner: Any,
    model: object,
    constants: Mapping[str, Any],
    frame_shape: Sequence[int] | None,
    is_described: bool,
) -> tuple[str, ...]:
    """Return what is wrong with the frames of a model that is known.

    is_described: whether the states were said, and not guessed: then it may be another model that
    only has these names, and what is wrong is a warning.

    Raises:
        TargetError: that was not said; the text has a whole command line that works.
    """
    which, (inputs, _) = known(runner), shapes(runner)
    problem = which.problem(inputs, constants, frame_shape) if which else ""
    if which and not problem and wrong_rate(runner, which, constants):
        problem = f"this file of {which.title} is for 16000 Hz alone"
        constants = {}
    if which is None or not problem:
        return ()
    if is_described:
        return (problem,)
    line = which.command(model, inputs, constants)
    raise TargetError(
        f"{problem}. This works: {line} (or, if it is another model that has these names, say its "
        "states, too: states=, --state IN:OUT)"
    )


class OnnxTarget(Target):
    """See `from_onnx`.

    oracle: our Model of the file, where it is known to be more than an LSTM. refusal: why there is
    none, where what it computes is known to be more than the LSTM in it.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import vad
        >>> rate = {"sr": np.array(16000)}
        >>> target = from_onnx(vad.silero_file(), constants=rate, frame_shape=(576,))
        >>> target.input_size, target.signature.states  # by the names of inputs and outputs
        (576, {'state': 'stateN'})
    """

    oracle: Model | None = None
    refusal: str = ""

    def __init__(
        self, runner: Any, signature: Signature, name: str, origin: str | None, threads: bool
    ) -> None:
        self._runner, self.signature = runner, signature
        self.name, self.origin, self.threads = name, origin, threads
        self.input_size = signature.input_size

    def session(self) -> _Stepped:
        """Return a new session."""
        return self._stepped(1)

    def batch(self, n: int) -> _Batch | None:
        """Return n sessions as the rows of one batch, where the model has an axis for that."""
        if not self.signature.has_batches:
            return None
        return _Batch(self._stepped(n))

    def _stepped(self, rows: int) -> _Stepped:
        return _Session(self, rows) if self.signature.states else _WholeSession(self, rows)

    def call(self, xs: Float32, states: Mapping[str, Any]) -> dict[str, Any]:
        """Run frames (T, n, I); return all outputs by name."""
        signature = self.signature
        feeds = {signature.x: signature.shaped(xs), **states, **signature.constants}
        try:
            values = self._runner.run(None, feeds)
        except Exception as error:
            raise TargetError(f"onnxruntime can't run {self.name}: {error}") from error
        return dict(zip(signature.outputs, values, strict=True))


class _Stepped(ABC):
    """One session, or several as the rows of one batch."""

    def __init__(self, target: OnnxTarget, rows: int) -> None:
        self._target, self._rows = target, rows
        if target.signature.y_time_axis is not None:
            self.run = self._run
        self._outputs: dict[str, Any] = {}  # of the last call
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Go back to the start."""

    @abstractmethod
    def _call(self, xs: Float32) -> Any:
        """Take frames (T, n, I) and return the output as the model gives it."""

    def rows(self, xs: Float32) -> Float32:
        """Take frames (n, I) and return outputs (n, P)."""
        return self._target.signature.last(self._call(xs[None]), len(xs))

    def step(self, x: Float32, /) -> Float32:
        y: Float32 = self.rows(x[None])[0]
        return y

    def _run(self, xs: Float32) -> Float32:
        ys = self._target.signature.each(self._call(xs[:, None]))
        return ys[len(ys) - len(xs) :]


class _Session(_Stepped):
    """Carries the state from outputs to inputs."""

    def reset(self) -> None:
        self._states = {
            name: np.zeros(shape, kind)
            for name, (shape, kind) in self._target.signature.state_shapes(self._rows).items()
        }
        self._outputs = {}

    def _call(self, xs: Float32) -> Any:
        signature = self._target.signature
        self._outputs = self._target.call(xs, self._states)
        self._states = {one: self._outputs[other] for one, other in signature.states.items()}
        return self._outputs[signature.y]

    @property
    def state(self) -> State | None:
        """(h, c) where the model shows them; zeros before the first step."""
        signature = self._target.signature
        if not self._outputs:
            inputs = {output: one for one, output in signature.states.items()}
            return signature.h_c({o: self._states[i] for o, i in inputs.items()})
        return signature.h_c(self._outputs)

    @state.setter
    def state(self, state: State) -> None:
        inputs = self._target.signature.inputs_of_state(state)
        self._states = {**self._states, **inputs}
        self._outputs = {}


class _WholeSession(_Stepped):
    """Runs all frames since the reset."""

    def reset(self) -> None:
        self._frames: list[Float32] = []  # (n, I) each
        self._outputs = {}

    def _call(self, xs: Float32) -> Any:
        self._frames += [np.array(x, np.float32) for x in xs]
        self._outputs = self._target.call(np.stack(self._frames), {})
        return self._outputs[self._target.signature.y]

    @property
    def state(self) -> State | None:
        """(h, c) where the model returns the last ones."""
        return self._target.signature.h_c(self._outputs) if self._outputs else None


class _Batch:
    def __init__(self, session: _Stepped) -> None:
        self._session = session

    def reset(self) -> None:
        self._session.reset()

    def step(self, xs: Float32, /) -> Float32:
        return self._session.rows(xs)
