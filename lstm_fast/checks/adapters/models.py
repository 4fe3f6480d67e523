"""Whole models as targets: ours on any backend, and anybody's with the same inputs and outputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import Float32
from ...model import Model
from ..layout import Layout
from ..target import Target

__all__ = ["ModelTarget", "NamedTarget", "from_model", "from_named"]


class NamedTarget(Target):
    """A whole model under check, whose sessions take and return values by name.

    `open` returns a session, `open_batch` several of them or None. What their step takes and
    returns is that of `ModelStream.step` and `ModelPool.step`: an array where there is one input,
    a mapping of names where there are several, and likewise for outputs; `run`, `state`, a mapping
    of names to arrays, and `close` where there are such.

    Args:
        layout: what the model takes and returns.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks.layout import Layout
        >>> model = LSTM.random(3, 4)
        >>> class Mine(NamedTarget):
        ...     def open(self):
        ...         return model.stream()  # yours
        >>> Mine(Layout.of(model)).session().step(np.zeros(3, np.float32)).shape
        (4,)
    """

    layout: Layout

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.input_size, self.output_size = layout.input_size, layout.output_size

    @abstractmethod
    def open(self) -> Any:
        """Return a new session."""

    def open_batch(self, n: int) -> Any:
        """Return n new sessions that are stepped together, or None."""
        return None

    def session(self) -> _Session:
        """Return a new session that takes flat frames."""
        return _Session(self.layout, self.open())

    def batch(self, n: int) -> _Batch | None:
        """Return n sessions that take flat frames, or None."""
        made = self.open_batch(n)
        return None if made is None else _Batch(self.layout, made)


class _Flat:
    """A session or a batch behind flat frames."""

    def __init__(self, layout: Layout, inner: Any) -> None:
        self._layout, self._inner = layout, inner
        self.reset: Callable[[], Any] = inner.reset

    def close(self) -> None:
        closing = getattr(self._inner, "close", None)
        if callable(closing):
            closing()


class _Session(_Flat):
    def __init__(self, layout: Layout, inner: Any) -> None:
        super().__init__(layout, inner)
        if callable(getattr(inner, "run", None)):
            self.run = self._run

    @property
    def state(self) -> Any:
        return getattr(self._inner, "state", None)

    def step(self, x: Float32, /) -> Float32:
        return self._layout.flat(self._inner.step(self._layout.values(x)))

    def _run(self, xs: Float32) -> Float32:
        return self._layout.flat(self._inner.run(self._layout.values(xs)), (len(xs),))


class _Batch(_Flat):
    def step(self, xs: Float32, /) -> Float32:
        return self._layout.flat(self._inner.step(self._layout.values(xs)), (len(xs),))


def from_model(model: Model, *, name: str | None = None, origin: str | None = None) -> ModelTarget:
    """Return an `lstm_fast.Model` as a target: its streams, and its pools as batches.

    Args:
        model: on whatever backend.
        name: for the report.
        origin: Python that makes the target again, for reproductions.

    Raises:
        TypeError: it is not a Model.

    Example:
        >>> from lstm_fast import LSTM
        >>> from_model(LSTM.random(3, 4)).name.startswith("lstm_fast")
        True
    """
    return ModelTarget(model, name, origin)


class ModelTarget(NamedTarget):
    """See `from_model`.

    Example:
        >>> from lstm_fast import LSTM
        >>> target = from_model(LSTM.random(3, 4))
        >>> [*target.layout.inputs], target.exact
        (['x'], True)
    """

    exact = True

    def __init__(self, model: Model, name: str | None = None, origin: str | None = None) -> None:
        if not isinstance(model, Model):
            raise TypeError(f"expected an lstm_fast.Model, found {type(model).__name__}")
        super().__init__(Layout.of(model))
        isa = f":{model.isa}" if model.isa else ""
        types = model.weight_dtype
        kind = types if isinstance(types, str) else "mixed"
        self.model, self.origin = model, origin
        self.name = name or f"lstm_fast {model.backend}{isa} {kind}"
        self.has_memory = bool(model.states)

    def open(self) -> Any:
        """Return a new stream."""
        return self.model.stream()

    def open_batch(self, n: int) -> Any:
        """Return n sessions of one pool."""
        return _Pool(self.model, n)


class _Pool:
    def __init__(self, model: Model, n: int) -> None:
        self._pool = model.pool(n)
        self._handles = np.array([self._pool.open() for _ in range(n)], np.uint64)

    def reset(self) -> None:
        for handle in self._handles:
            self._pool.reset(int(handle))

    def step(self, xs: Any) -> Any:
        return self._pool.step(self._handles, xs)


def from_named(
    make: Callable[[], Any],
    like: Model,
    *,
    batch: Callable[[int], Any] | None = None,
    exact: bool = False,
    name: str | None = None,
    origin: str | None = None,
    threads: bool = True,
) -> NamedTarget:
    """Return a target of anybody's sessions of a whole model, in any library.

    Args:
        make: called for each session, which has reset() and step(x); see `NamedTarget`.
        like: what it should be: the names, shapes and kinds of its inputs and outputs count.
        batch: called with n for n sessions that are stepped together; None: there are none.
        exact: whether batches and chunks must have the bits of single steps.
        name: for the report.
        origin: Python that makes the target again, for reproductions.
        threads: whether sessions may run in threads of their own.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> model = LSTM.random(3, 4)  # or `load_model` of the file
        >>> target = from_named(model.stream, model)  # what makes a session of yours
        >>> checks.agreement(target, model).status
        'passed'
    """
    target = _Named(make, like, batch)
    target.name = name or str(getattr(make, "__name__", "model"))
    target.exact, target.origin, target.threads = exact, origin, threads
    return target


class _Named(NamedTarget):
    def __init__(
        self, make: Callable[[], Any], like: Model, batch: Callable[[int], Any] | None
    ) -> None:
        super().__init__(Layout.of(like))
        self._make, self._make_batch = make, batch
        self.has_memory = bool(like.states)

    def open(self) -> Any:
        return self._make()

    def open_batch(self, n: int) -> Any:
        return None if self._make_batch is None else self._make_batch(n)
