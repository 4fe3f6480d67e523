"""What an LSTM says of itself without its matrices: its sizes, and the state it starts from."""

from __future__ import annotations

from ._arrays import LSTMState, canonical
from ._weights import Direction, Weights


class HasSizes:
    """The sizes of an LSTM and its initial state, read off its weights without the matrices."""

    __slots__ = ("_outline",)

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
