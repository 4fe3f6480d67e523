"""A whole ONNX model in onnxruntime as a target: inputs, outputs and state by name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError
from ...formats._whole_models import load_model
from ...model import Model
from ..layout import Layout
from ..target import TargetError
from ..whole_references import WholeReference
from ._onnx_guess import DTYPES
from .models import NamedTarget

__all__ = ["OnnxModelTarget", "own_states"]

NEXT = re.compile(r"output (.+) becomes input (.+) in the next step")  # a note of the reader
TIME = re.compile(r"input (.+): (.*(?:taken as 1, one frame a step|is time, and a step takes .*))")
AXIS = re.compile(r"axis ([0-9]+)")
RATES = {16000: 8000, 8000: 16000}  # of sound: what may be mistaken for what
HISTORIES = (0, 32, 64)


def own_states(model: Model, states: Mapping[str, str] | None) -> list[str]:
    """Return the states that are not inputs of the file, nor histories of its inputs."""
    told = dict(states) if states is not None else _noted(model.notes)
    kept = {*told, *(f"{one.name}.history" for one in model.program.inputs if one.history)}
    return [name for name in model.states if name not in kept]


class OnnxModelTarget(NamedTarget):
    """See `from_onnx_model`.

    Attributes:
        model: our Model of the file, with the same options.
        oracle: our Model that it should be.

    Example:
        >>> from lstm_fast import vad
        >>> options = {"shapes": {"input": (1, 576)}, "constants": {"sr": 16000}}
        >>> target = from_onnx_model(vad.silero_file(), **options, history={"input": 64})
        >>> [*target.oracle.inputs], [*target.oracle.outputs]  # a `Model`
        (['input'], ['output'])
    """

    def __init__(
        self,
        runner: Any,
        path: Path,
        model: Model,
        options: Mapping[str, Mapping[str, Any]],
        states: Mapping[str, str] | None,
    ) -> None:
        super().__init__(Layout.of(model))
        self._runner, self._path, self._options = runner, path, options
        self.model = model
        self._infos = {one.name: one for one in runner.get_inputs()}
        self._output_shapes = {one.name: list(one.shape or ()) for one in runner.get_outputs()}
        self._names = list(self._output_shapes)
        program = model.program
        self._histories = {one.name: one.history for one in program.inputs}
        told = dict(states) if states is not None else _noted(model.notes)
        self._next = {one.name: told[one.name] for one in program.states if one.name in told}
        self._times = _time_axes(model.notes)
        self._check_states(own_states(model, states))
        self.has_memory = bool(model.states)
        self.oracle = self._oracle(states)
        self._rows_at = self._batch_axes()

    def _check_states(self, own: list[str]) -> None:
        """Refuse what onnxruntime does not keep, with the names of such states."""
        assert not own

    def as_reference(self) -> WholeReference:
        """Return what it should be, with what may be said wrongly of it."""
        variants = _variants(self._path, self._options, self.layout)
        return WholeReference(self.oracle, "reference = target.oracle", self.model, variants)

    def read_like(self, path: str | os.PathLike[str]) -> Model:
        """Return our Model of another file, with the options that this one was read with."""
        options: Any = self._options
        return load_model(path, **options)

    def open(self) -> _Session:
        """Return a new session."""
        return _Session(self, 1)

    def open_batch(self, n: int) -> _Session | None:
        """Return n sessions as the rows of one batch, where all inputs have an axis for that."""
        return None if self._rows_at is None else _Session(self, n)

    def _oracle(self, states: Mapping[str, str] | None) -> Model:
        """Return what it should be."""
        from ... import vad

        for rate, size in vad.CHUNKS.items():
            if [one.shape for one in self.layout.inputs.values()] == [(size,)]:
                try:
                    made = vad.silero(self._path, sampling_rate=rate)
                except FormatError:
                    continue
                named = dict(zip(made.outputs, self.layout.outputs, strict=False))
                return made if list(named) == list(named.values()) else _renamed(made, named)
        if states is None:
            return self.model
        try:
            options: Any = self._options
            made = load_model(self._path, **options)
        except (FormatError, ValueError):
            return self.model
        same = Layout.of(made) == self.layout and made.states.keys() == self.model.states.keys()
        return made if same else self.model

    def file_shape(self, name: str, rows: int) -> tuple[int, ...]:
        """Return the shape of an input of the file for that many sessions."""
        given = self._options["shapes"].get(name)
        if name in self.model.states:
            shape = self.model.states[name].shape
        elif name in self.layout.inputs:
            own = self.layout.inputs[name].shape
            count = self._histories.get(name, 0)
            shape = (*own[:-1], own[-1] + count) if count else own
            time, rank = self._times.get(name), len(self._infos[name].shape or ())
            if time is not None and len(shape) < rank:  # a step is one frame, wherever time is
                ahead = (1,) * (rank - 1 - len(shape)) + shape
                shape = (*ahead[:time], 1, *ahead[time:])
        else:
            shape = ()
        dims = tuple(self._infos[name].shape or ())
        whole = tuple(given) if given is not None else (1,) * (len(dims) - len(shape)) + shape
        whole = tuple(n if isinstance(n, int) else 1 for n in whole)
        if rows > 1 and self._rows_at is not None:
            at = self._rows_at[name]
            whole = (*whole[:at], rows, *whole[at + 1 :])
        return whole

    def shaped(self, name: str, values: Any) -> Any:
        """Return values (n, ...) of an input as the file takes them."""
        if len(values) > 1 and self._rows_at is not None:
            at, whole = self._rows_at[name], self.file_shape(name, 1)
            rows = values.reshape(len(values), *whole[:at], *whole[at + 1 :])
            values = np.moveaxis(rows, 0, at)
        else:
            values = values.reshape(self.file_shape(name, 1))
        return np.ascontiguousarray(values, DTYPES[self._infos[name].type])

    def rest(self) -> dict[str, Any]:
        """Return what else the file takes: constants, and zeros for what nothing depends on."""
        found = {}
        for name, info in self._infos.items():
            if name in self.layout.inputs or name in self._next:
                continue
            value = self._options["constants"].get(name, 0)
            dims = [n if isinstance(n, int) else 1 for n in info.shape or ()]
            array = np.asarray(value, DTYPES.get(info.type))
            found[name] = np.broadcast_to(array, dims) if array.size == 1 else array
        return found

    def call(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Run the file; return all outputs by name."""
        try:
            values = self._runner.run(None, feeds)
        except Exception as error:
            raise TargetError(f"onnxruntime can't run {self.name}: {error}") from error
        return dict(zip(self._names, values, strict=True))

    def row_axis(self, name: str, shape: tuple[int, ...], rows: int) -> int:
        """Return where an output has sessions: by the name of the axis, else by its size."""
        assert self._rows_at is not None
        first = next(iter(self.layout.inputs))
        called = self._infos[first].shape[self._rows_at[first]]
        dims = self._output_shapes[name]
        if isinstance(called, str) and called in dims:
            return dims.index(called)
        return next((n for n, size in enumerate(shape) if size == rows), 0)

    def _batch_axes(self) -> dict[str, int] | None:
        """Return where each input and state has sessions: a free axis of size 1, or None."""
        free: dict[str, dict[Any, int]] = {}
        for name in (*self.layout.inputs, *self._next):
            shape = self.file_shape(name, 1)
            dims = tuple(self._infos[name].shape or ())
            free[name] = {
                dim if isinstance(dim, str) else at: at
                for at, (dim, size) in enumerate(zip(dims, shape, strict=True))
                if size == 1 and not isinstance(dim, int)
            }
        common = set.intersection(*(set(axes) for axes in free.values()))
        names = [one for one in common if isinstance(one, str)]
        if len(names) == 1:
            return {name: axes[names[0]] for name, axes in free.items()}
        if any(len(axes) != 1 for axes in free.values()):
            return None
        return {name: next(iter(axes.values())) for name, axes in free.items()}


class _Session:
    """One session, or several as the rows of one batch."""

    def __init__(self, target: OnnxModelTarget, rows: int) -> None:
        self._target, self._rows, self._rest = target, rows, target.rest()
        self.reset()

    def reset(self) -> None:
        target = self._target
        self._kept: dict[str, Any] = {
            name: np.zeros(target.file_shape(name, self._rows), DTYPES[target._infos[name].type])
            for name in target._next
        }
        self._before = {
            name: np.zeros((self._rows, *one.shape[:-1], target._histories[name]), np.float32)
            for name, one in target.layout.inputs.items()
            if target._histories.get(name)
        }

    def step(self, x: Any) -> dict[str, Any]:
        target, layout, rows = self._target, self._target.layout, self._rows
        by_name = x if isinstance(x, Mapping) else {next(iter(layout.inputs)): x}
        feeds = {**self._rest, **self._kept}
        before = {}
        for name, one in layout.inputs.items():
            value = np.reshape(by_name[name], (rows, *one.shape))
            if name in self._before:
                value = np.concatenate([self._before[name], value], axis=-1)
                before[name] = value[..., -target._histories[name] :]
            feeds[name] = target.shaped(name, value)
        made = target.call(feeds)
        self._kept = {name: made[output] for name, output in target._next.items()}
        self._before = before
        return {name: self._rows_of(made[name], name) for name in layout.outputs}

    def _rows_of(self, value: Any, name: str) -> Any:
        """Return an output as (n, ...), or of one session as (...)."""
        array = np.asarray(value)
        if self._rows == 1:
            return array
        if array.size != self._rows * math.prod(self._target.layout.outputs[name].shape):
            raise TargetError(
                f"output {name!r} has shape {array.shape}, which is not {self._rows} rows"
            )
        return np.moveaxis(array, self._target.row_axis(name, array.shape, self._rows), 0)

    @property
    def state(self) -> dict[str, Any]:
        """The state by name, history as `NAME.history`."""
        states = self._target.model.states
        kept = self._kept | {f"{name}.history": one[0] for name, one in self._before.items()}
        return {name: np.reshape(kept[name], states[name].shape) for name in states}


def _noted(notes: Sequence[str]) -> dict[str, str]:
    """Return which output becomes which input, as the reader has noted it."""
    found = (NEXT.fullmatch(note) for note in notes)
    return {one[2]: one[1] for one in found if one}


def _time_axes(notes: Sequence[str]) -> dict[str, int]:
    """Return which axis of each input the reader has noted as time, where that is one."""
    found = {
        one[1]: set(map(int, AXIS.findall(one[2]))) for one in map(TIME.fullmatch, notes) if one
    }
    return {name: max(axes) for name, axes in found.items() if axes and len(axes - {0}) <= 1}


def _renamed(model: Model, names: Mapping[str, str]) -> Model:
    """Return a model whose outputs are called otherwise."""
    program = model.program
    outputs = tuple(replace(one, name=names[one.name]) for one in program.outputs)
    return Model.from_program(replace(program, outputs=outputs))


def _variants(
    path: Path, options: Mapping[str, Mapping[str, Any]], layout: Layout
) -> dict[str, tuple[str, Callable[[], Model]]]:
    """Return which options may be mistaken: what was said, what else it may be, and its loader."""
    found: dict[str, tuple[str, Callable[[], Model]]] = {}

    def add(option: str, said: Any, other: Any, changed: Mapping[str, Any]) -> None:
        told: dict[str, Any] = {**options, **changed}
        better = f"{option}={other}"
        found[f"{option}={said}, not {other}"] = better, lambda: load_model(path, **told)

    constants, kept = options["constants"], options["history"]
    for name, value in constants.items():
        rate = np.asarray(value)
        if rate.size == 1 and rate.item() in RATES:
            other = RATES[rate.item()]
            add(name, rate.item(), other, {"constants": {**constants, name: other}})
    for name, one in layout.inputs.items():
        shape, said = options["shapes"].get(name), kept.get(name, 0)
        if shape is None or one.kind != "float32" or not one.shape:
            continue
        for count in HISTORIES:
            sizes = {**options["shapes"], name: (*tuple(shape)[:-1], one.shape[-1] + count)}
            if count != said:
                changed = {"shapes": sizes, "history": {**kept, name: count}}
                add(f"history {name}", said, count, changed)
    return found
