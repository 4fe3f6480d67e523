"""torch modules as targets."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..target import State, Target, TargetError, told
from ._extras import needed

__all__ = ["TorchTarget", "from_torch"]

FRAMES = {"sequence": "(T, N, I)", "batch_first": "(N, T, I)", "step": "(N, I)", "vector": "(I,)"}


def from_torch(
    module: Any,
    input_size: int | None = None,
    *,
    frames: str | None = None,
    initial: Any = None,
    name: str | None = None,
    origin: str | None = None,
    threads: bool = True,
) -> TorchTarget:
    """Return a torch module as a target; it is switched to evaluation, and runs without gradients.

    Where other programs compete for the CPU, small steps take far longer in several threads than
    in one: `torch.set_num_threads(1)`, which `lstm-fast check` does and this leaves to the caller.

    Args:
        module: an `nn.LSTM`, an `nn.LSTMCell`, a TorchScript module, or any callable (x, state)
            that returns (y, state); state is any tensor, tuple or list of such, or None at first.
        input_size: I; None takes module.input_size.
        frames: the shape of x: "sequence" (T, N, I), "batch_first" (N, T, I), "step" (N, I) or
            "vector" (I,). None: as nn.LSTM and nn.LSTMCell want it; for others "batch_first" where
            all nn.LSTM in them are that, else "sequence".
        initial: the state of a new session and after a reset, with N of 1; None is None.
        name: for the report.
        origin: Python that makes the target again, for reproductions.
        threads: whether sessions may run in threads of their own.

    Raises:
        TargetError: torch is not installed, or the module can't be stepped forward.
        ValueError: the input size is not known, or frames is unknown.

    Example:
        >>> import torch
        >>> from lstm_fast import checks
        >>> module = torch.nn.LSTM(3, 4)
        >>> checks.agreement(from_torch(module), module).status
        'passed'
    """
    return TorchTarget(module, input_size, frames, initial, name, origin, threads)


class TorchTarget(Target):
    """See `from_torch`.

    Example:
        >>> import torch
        >>> target = from_torch(torch.nn.LSTM(3, 4, batch_first=True))
        >>> target.frames, target.input_size, target.output_size
        ('batch_first', 3, 4)
    """

    def __init__(
        self,
        module: Any,
        input_size: int | None,
        frames: str | None,
        initial: Any,
        name: str | None,
        origin: str | None,
        threads: bool,
    ) -> None:
        with needed("torch"):
            import torch
        self.torch, self.module, self.initial = torch, module, initial
        self.is_cell = isinstance(module, torch.nn.LSTMCell)
        self.is_lstm = isinstance(module, torch.nn.LSTM)
        if self.is_lstm and module.bidirectional:
            raise TargetError("this nn.LSTM is bidirectional: it can't be stepped frame by frame")
        self._is_guess = frames is None and not (self.is_cell or self.is_lstm)
        if frames is None:
            first = _is_batch_first(module)
            frames = "step" if self.is_cell else "batch_first" if first else "sequence"
        if frames not in FRAMES:
            raise ValueError(f"frames is one of {', '.join(FRAMES)}, found {frames!r}")
        size = input_size or getattr(module, "input_size", None)
        if not isinstance(size, int):
            raise ValueError("the module has no input_size: say it, input_size= (--input-size)")
        if hasattr(module, "eval"):
            module.eval()
        self.frames, self.input_size = frames, size
        if self.is_lstm or self.is_cell:
            self.output_size = getattr(module, "proj_size", 0) or module.hidden_size
        self.name = name or f"torch {type(module).__name__}"
        self.origin, self.threads = origin, threads

    def session(self) -> _Session:
        """Return a new session."""
        return _Session(self, 1)

    def batch(self, n: int) -> _Batch | None:
        """Return n sessions as the rows of one batch, where frames have a place for that."""
        if self.frames == "vector" or (self.initial is not None and n != 1):
            return None
        return _Batch(self, n)

    def run(self, xs: Float32, state: Any) -> tuple[Float32, Any]:
        """Run frames (T, n, I) from a state; return ys (T, n, P) and the new state."""
        frames = self.torch.from_numpy(np.ascontiguousarray(xs))
        if self.frames == "batch_first":
            frames = frames.transpose(0, 1)
        elif self.frames == "step":
            frames = frames[0]
        elif self.frames == "vector":
            frames = frames[0, 0]
        try:
            with self.torch.inference_mode():
                result = self.module(frames, state)
        except RuntimeError as error:
            if not self._is_guess or len(xs) == 1:  # one step of n rows runs either way
                raise
            raise TargetError(f"{told(error)}. {self._advice(frames)}") from error
        if self.is_cell:
            result = result[0], result
        try:
            y, state = result
        except (TypeError, ValueError):
            raise TargetError(
                f"the module returned {type(result).__name__}, expected a pair (y, state)"
            ) from None
        y = y.detach().cpu().numpy()
        if self.frames == "batch_first":
            y = y.swapaxes(0, 1)
        return y.reshape(*xs.shape[:2], -1), state

    def _advice(self, frames: Any) -> str:
        """Say what to try where the shape of the frames was guessed."""
        is_first = self.frames == "batch_first"
        other, kind = ("sequence", "not batch_first") if is_first else ("batch_first",) * 2
        return (
            f"The frames had shape {tuple(frames.shape)}, taken as {FRAMES[self.frames]}; if the "
            f'module is {kind}: from_torch(module, frames="{other}")'
        )


def _is_batch_first(module: Any) -> bool:
    """Say whether a module takes (N, T, I): by its own word, or by that of every LSTM in it."""
    own = getattr(module, "batch_first", None)
    if isinstance(own, bool):
        return own
    inner = module.modules() if hasattr(module, "modules") else ()
    found = [
        bool(getattr(one, "batch_first", False))
        for one in inner
        if "LSTM" in (type(one).__name__, getattr(one, "original_name", None))
    ]
    return bool(found) and all(found)


class _Session:
    """Carries the state from call to call."""

    def __init__(self, target: TorchTarget, rows: int) -> None:
        self._target, self._rows = target, rows
        if target.frames in ("sequence", "batch_first"):
            self.run = self._run
        self.reset()

    def reset(self) -> None:
        # A copy, for what computes in place.
        self._state = copy.deepcopy(self._target.initial)

    def step(self, x: Float32, /) -> Float32:
        ys, self._state = self._target.run(x[None, None], self._state)
        y: Float32 = ys[0, 0]
        return y

    def _run(self, xs: Float32) -> Float32:
        ys, self._state = self._target.run(xs[:, None], self._state)
        return ys[:, 0]

    @property
    def state(self) -> State | None:
        """(h, c) where the state is such a pair of tensors."""
        state = self._state
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            return None
        if not all(isinstance(part, self._target.torch.Tensor) for part in state):
            return None
        h, c = (part.detach().cpu().numpy() for part in state)
        if h.ndim not in (1, 2, 3) or h.ndim != c.ndim or not self._one_row(h):
            return None
        return _layers(h), _layers(c)

    @state.setter
    def state(self, state: State) -> None:
        target = self._target
        if not (target.is_lstm or target.is_cell):
            raise AttributeError("the state of this module can't be set")
        h, c = (target.torch.from_numpy(np.array(part, np.float32)) for part in state)
        self._state = (h, c) if target.is_cell else (h[:, None], c[:, None])

    @staticmethod
    def _one_row(h: Any) -> bool:
        return bool(h.ndim != 3 or h.shape[1] == 1)


def _layers(value: Any) -> Float32:
    """Return (L, 1, H), (1, H) or (H,) as (L, H)."""
    return np.array(value.reshape(value.shape[0] if value.ndim == 3 else 1, -1), np.float32)


class _Batch:
    def __init__(self, target: TorchTarget, n: int) -> None:
        self._target, self._n, self._state = target, n, None

    def reset(self) -> None:
        self._state = None

    def step(self, xs: Float32, /) -> Float32:
        ys, self._state = self._target.run(xs[None], self._state)
        rows: Float32 = ys[0]
        return rows
