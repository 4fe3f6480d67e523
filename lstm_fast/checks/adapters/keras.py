"""Stateful Keras layers and models as targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import Float32
from ..target import State, Target, TargetError
from ._extras import needed

__all__ = ["KerasTarget", "from_keras"]


def from_keras(
    model: Any,
    input_size: int | None = None,
    *,
    name: str | None = None,
    origin: str | None = None,
) -> KerasTarget:
    """Return a stateful Keras layer or model as a target.

    A stateful layer holds one state, so each session gets a copy of its own, of the same weights;
    what is checked is the layer's own way of keeping and resetting its state.

    Args:
        model: an LSTM layer (or an RNN of cells), or a model of which some layers are stateful. A
            frame is given to it as (1, 1, I).
        input_size: I; None takes what it was built for.
        name: for the report.
        origin: Python that makes the target again, for reproductions.

    Raises:
        TargetError: Keras is not installed; nothing in it is stateful; it was not built.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> target = from_keras(keras.layers.LSTM(4, stateful=True), input_size=3)
        >>> target.session().step(np.zeros(3, np.float32)).shape
        (4,)
    """
    return KerasTarget(model, input_size, name, origin)


class KerasTarget(Target):
    """See `from_keras`."""

    threads = False  # Keras' own state of a call is not for several threads

    def __init__(
        self, model: Any, input_size: int | None, name: str | None, origin: str | None
    ) -> None:
        with needed("keras"):
            import keras
        self.keras: Any = keras
        self.model, self.origin = model, origin
        if not any(getattr(layer, "stateful", False) for layer in layers_of(model)):
            raise TargetError(
                f"nothing in {model.name!r} is stateful: its state ends with each call. Make the "
                "layers with stateful=True, or step it with from_function"
            )
        size = input_size or self._built_for()
        if not isinstance(size, int):
            raise TargetError(f"{model.name!r} was not built: say input_size=, or call it once")
        self.input_size = size
        if not model.built:
            model.build((1, 1, size))
        self.name = name or f"keras {type(model).__name__} {model.name}"

    def _built_for(self) -> Any:
        shape = getattr(self.model, "input_shape", None)
        if shape is None:
            shape = (getattr(self.model, "_build_shapes_dict", None) or {}).get("input_shape")
        if shape is None:
            kernels = [tuple(one.shape) for one in self.model.weights]
            return kernels[0][0] if kernels else None
        return shape[-1]

    def session(self) -> _Session:
        """Return a session with a copy of the model."""
        return _Session(self, 1)

    def batch(self, n: int) -> _Batch:
        """Return a copy of the model for a batch of n."""
        return _Batch(self, n)

    def copy(self, rows: int) -> Any:
        """Return a copy of the model with the same weights, for that many rows."""
        shape = (rows, 1, self.input_size)
        if isinstance(self.model, self.keras.Model) and not hasattr(self.model, "cell"):
            entry = self.keras.Input(batch_shape=shape)
            twin = self.keras.models.clone_model(self.model, input_tensors=entry)
        else:
            twin = type(self.model).from_config(self.model.get_config())
            twin.build(shape)
        twin.set_weights(self.model.get_weights())
        return twin


class _Rows:
    """A copy of the model that is stepped."""

    def __init__(self, target: KerasTarget, rows: int) -> None:
        self._target, self._model = target, target.copy(rows)
        self.reset()

    def reset(self) -> None:
        for layer in layers_of(self._model):
            reset = getattr(layer, "reset_state", None) or getattr(layer, "reset_states", None)
            if getattr(layer, "stateful", False) and reset is not None:
                reset()

    def rows(self, xs: Float32) -> Float32:
        """Take frames (n, I) and return outputs (n, P)."""
        convert = self._target.keras.ops.convert_to_numpy
        result = self._model(xs[:, None], training=False)
        if isinstance(result, (list, tuple)):  # return_state=True
            result = result[0]
        return np.array(convert(result), np.float32).reshape(len(xs), -1)


class _Session(_Rows):
    def step(self, x: Float32, /) -> Float32:
        y: Float32 = self.rows(x[None])[0]
        return y

    @property
    def state(self) -> State | None:
        """(h, c) of all LSTM layers, where they are of one size."""
        convert = self._target.keras.ops.convert_to_numpy
        parts = []
        for layer in layers_of(self._model):
            states = getattr(layer, "states", None)
            if not getattr(layer, "stateful", False) or not states:
                continue
            if len(states) != 2 or isinstance(states[0], (list, tuple)):
                return None
            parts.append([np.array(convert(one), np.float32)[0] for one in states])
        if not parts or len({tuple(one.shape for one in pair) for pair in parts}) > 1:
            return None
        h, c = zip(*parts, strict=True)
        return np.stack(h), np.stack(c)


class _Batch(_Rows):
    def step(self, xs: Float32, /) -> Float32:
        return self.rows(xs)


def layers_of(model: Any) -> list[Any]:
    """Return a model's layers, also of models in it; a layer is its own."""
    inner = getattr(model, "layers", None)
    if not inner:
        return [model]
    return [one for layer in inner for one in layers_of(layer)]
