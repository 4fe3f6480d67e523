"""What an LSTM says of itself without its matrices: its sizes, and the state it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from . import _frames
from ._arguments import is_mapping, to_state
from ._arrays import LSTMState, canonical
from ._frames import StateGiven
from ._weights import Direction, Weights
from .program import Tensor


def no_steps(direction: Direction) -> str:
    """Say why an LSTM that does not run forward takes no single steps."""
    what = "is bidirectional" if direction == "bidirectional" else "runs backwards"
    return (
        f"this LSTM {what}: its first output depends on the last frame, so it cannot be "
        "stepped frame by frame; call it on whole sequences instead: "
        "ys, state = lstm(xs, lengths=...)"
    )


class HasSizes:
    """The sizes of an LSTM, its initial state, and what a step takes, gives and keeps."""

    __slots__ = ()  # who has them says where the outline is

    _outline: Weights

    @property
    def input_size(self) -> int:
        """I: the values in one frame."""
        return self._outline.input_size

    @property
    def hidden_size(self) -> int:
        """H: the units of each layer."""
        return self._outline.hidden_size

    @property
    def num_layers(self) -> int:
        """L: the layers, each fed by the one below."""
        return self._outline.num_layers

    @property
    def proj_size(self) -> int:
        """P: the size of h where there is a projection, else 0."""
        return self.output_size if self._outline.layers[0].weight_hr is not None else 0

    @property
    def output_size(self) -> int:
        """The values of h in one direction, which one step returns: proj_size or hidden_size."""
        return self._outline.output_size

    @property
    def direction(self) -> Direction:
        """Which way it runs: "forward", "reverse" or "bidirectional". Only the first can stream."""
        return self._outline.direction

    @property
    def bidirectional(self) -> bool:
        """Whether each layer runs both ways."""
        return self._outline.direction == "bidirectional"

    @property
    def num_directions(self) -> int:
        """D: 2 where it is bidirectional, else 1."""
        return self._outline.num_directions

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """What a step takes: "x", shape (I,).

        Raises:
            ValueError: it is bidirectional or runs backwards, so there are no single steps.
        """
        self._check_steps()
        return MappingProxyType({"x": Tensor((self.input_size,))})

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """What a step returns: "y", shape (P,), the last layer's h.

        Raises:
            ValueError: see `inputs`.
        """
        self._check_steps()
        return MappingProxyType({"y": Tensor((self.output_size,))})

    @property
    def states(self) -> Mapping[str, Tensor]:
        """What a session keeps: "h_l0", shape (P,), "c_l0", shape (H,), and so on for each layer.

        `Stream.state` has all h and all c in an array each.

        Raises:
            ValueError: see `inputs`.
        """
        self._check_steps()
        return MappingProxyType(
            {
                f"{kind}_l{n}": Tensor((size,))
                for n in range(self.num_layers)
                for kind, size in (("h", self.output_size), ("c", self.hidden_size))
            }
        )

    def _check_steps(self) -> None:
        """Refuse what needs single steps where there are none."""
        if self.direction != "forward":
            raise ValueError(no_steps(self.direction))

    def _empty_state(self) -> LSTMState:
        return LSTMState.empty(self.num_layers, self.output_size, self.hidden_size)

    def _values(self, state: LSTMState) -> LSTMState:
        return state

    def _to_state(self, given: StateGiven) -> LSTMState:
        if is_mapping(given):
            values = _frames.to_state(given, self.states)  # h and c of each layer in turn
            return LSTMState(np.stack(values[::2]), np.stack(values[1::2]))
        return to_state(given, self.num_layers, self.output_size, self.hidden_size)

    @property
    def initial_state(self) -> LSTMState:
        """What a session starts from and `reset` returns to: zeros, unless it was trained.

        Copies, of shapes (L * D, P) and (L * D, H).
        """
        state = LSTMState.empty(len(self._outline.layers), self.output_size, self.hidden_size)
        for values, name in zip(state, ("h_0", "c_0"), strict=True):
            for n, layer in enumerate(self._outline.layers):
                trained = getattr(layer, name)
                values[n] = 0 if trained is None else canonical(trained)
        return state
