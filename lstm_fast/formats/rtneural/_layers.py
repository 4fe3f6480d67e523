"""Each layer of RTNeural's as operations, as RTNeural computes it (model_loader.h).

What it does not take from a file (the activation of a recurrent layer, a stride, a padding, layers
of a type that it does not know) and would therefore compute otherwise than the file's makers is
refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..._budget import Budget
from ..._lstm_program import add_layer
from ..._program_writer import Writer
from ..._shown import shown
from ..._weights import LayerWeights
from .. import gates
from ._arrays import array, number, size

ACTIVATIONS = ("tanh", "relu", "sigmoid", "softmax", "elu")
MOST_LAYERS = 200
STATE_BYTES = 3 * 4  # of a value, as it is made, written and kept
ATTRIBUTES: dict[str, dict[str, Any]] = {"softmax": {"axis": 0}, "elu": {"alpha": 1.0}}


class Chain:
    """The program so far, and the value that the next layer gets, of shape (width,)."""

    def __init__(self, width: int, budget: Budget, frames: int | None = None) -> None:
        self.frames = frames  # of which each has a result; None: any number
        self.writer = Writer()
        self.given = self.tensor = self.writer.value((width,))
        self.budget = budget
        self.recurrent = self.convolutions = 0  # so far, of which each has a state and a name

    @property
    def width(self) -> int:
        return self.writer.tensor(self.tensor).shape[0]

    def apply(self, code: str, *constants: Float32, **attributes: Any) -> None:
        """Let an operation work on the value."""
        numbers = [self.writer.constant(one) for one in constants]
        self.tensor = self.writer.emit(code, self.tensor, *numbers, **attributes)


def width_of(content: dict[str, Any], name: str) -> int:
    """Return how wide a value is, by its shape with axes of the batch and time before it.

    Raises:
        ValueError: there is none.
    """
    shape = content.get(name)
    if not isinstance(shape, list) or not 1 <= len(shape) <= 3:
        raise ValueError(
            f"{name} is {shown(shape)}, expected a list such as [null, null, 8], whose last entry "
            "is the width"
        )
    return size(content, name)


def frames_of(content: dict[str, Any], name: str) -> int | None:
    """Return how many frames a shape says that there are; None where it leaves them open."""
    shape = content.get(name)
    if not isinstance(shape, list) or len(shape) != 3 or type(shape[1]) is not int:
        return None
    return shape[1]


def arrays(layer: dict[str, Any], counts: tuple[int, ...], budget: Budget) -> list[Float32]:
    """Return a layer's weights.

    Raises:
        ValueError: there are fewer or more than any of `counts`, or one is not an array.
    """
    weights = layer.get("weights")
    found = len(weights) if isinstance(weights, list) else 0
    if not isinstance(weights, list) or found not in counts:
        wanted = " or ".join(map(str, counts))
        raise ValueError(f"its weights are {found} arrays, expected {wanted}")
    return [array(one, budget) for one in weights]


def check(values: Float32, what: str, *shapes: tuple[int, ...]) -> None:
    """Refuse weights of other shapes than these.

    Raises:
        ValueError: they have another.
    """
    if values.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"its {what} has shape {values.shape}, expected {wanted}")


def lstm_weights(layer: dict[str, Any], inputs: int, budget: Budget) -> LayerWeights:
    """Return the weights of an LSTM: kernels (I, 4H) and (H, 4H), bias (4H,), gates i, f, c, o.

    Raises:
        ValueError: they have other shapes, or it has another activation than RTNeural's.
    """
    _check_activation(layer)
    units = width_of(layer, "shape")
    kernel, own, bias = arrays(layer, (3,), budget)
    check(kernel, "kernel", (inputs, 4 * units))
    check(own, "recurrent kernel", (units, 4 * units))
    check(bias, "bias", (4 * units,))
    rows = [gates.to_pytorch(one.T, "keras") for one in (kernel, own)]
    bias = gates.to_pytorch(bias, "keras")
    return LayerWeights(rows[0], rows[1], bias, np.zeros_like(bias))


def _check_activation(layer: dict[str, Any]) -> None:
    if layer.get("activation", "") not in ("", "tanh"):
        raise ValueError(
            f"its activation is {shown(layer['activation'])}, but RTNeural computes tanh whatever "
            "it is: write 'tanh' if that is meant"
        )


def _lstm(chain: Chain, layer: dict[str, Any]) -> None:
    weights = lstm_weights(layer, chain.width, chain.budget)
    chain.tensor = add_layer(chain.writer, chain.tensor, chain.recurrent, weights)
    chain.recurrent += 1


def _gru(chain: Chain, layer: dict[str, Any]) -> None:
    """Kernels (I, 3H) and (H, 3H), two biases (2, 3H), gates z, r, c; the reset comes after."""
    _check_activation(layer)
    units = width_of(layer, "shape")
    kernel, own, bias = arrays(layer, (3,), chain.budget)
    check(kernel, "kernel", (chain.width, 3 * units))
    check(own, "recurrent kernel", (units, 3 * units))
    if bias.shape == (3 * units,):
        raise ValueError(
            "it has one bias, as Keras writes it with reset_after=False; RTNeural computes the "
            "other kind: train it with reset_after=True"
        )
    check(bias, "bias", (2, 3 * units))
    rows = [gates.gru_to_pytorch(one.T, "keras") for one in (kernel, own, bias)]
    add_gru(chain, rows[0], rows[1], *rows[2].T)


def add_gru(chain: Chain, *weights: Float32) -> None:
    """Add a GRU with weight_ih, weight_hh, and biases if it has them, in PyTorch's order."""
    writer, units = chain.writer, weights[1].shape[1]
    h = writer.state(f"h_l{chain.recurrent}", (units,))
    numbers = [writer.constant(one) for one in weights]
    chain.tensor, h_new = writer.emit_all("gru", chain.tensor, h, *numbers)
    writer.keep(h, h_new)
    chain.recurrent += 1


def _dense(chain: Chain, layer: dict[str, Any]) -> None:
    units = width_of(layer, "shape")
    kernel, *bias = arrays(layer, (1, 2), chain.budget)
    check(kernel, "kernel", (chain.width, units))
    for one in bias:
        check(one, "bias", (units,))
    chain.apply("dense", kernel.T, *bias)
    _activate(chain, layer)


def _conv1d(chain: Chain, layer: dict[str, Any]) -> None:
    """Kernel (k, C/groups, M): over this frame and the ones before it, whatever the padding was."""
    channels, filters, taps = chain.width, width_of(layer, "shape"), size(layer, "kernel_size")
    dilation, groups = size(layer, "dilation"), size(layer, "groups", 1)
    if channels % groups or filters % groups:
        raise ValueError(f"{channels} and {filters} channels are not in {groups} groups")
    kernel, bias = arrays(layer, (2,), chain.budget)
    check(kernel, "kernel", (taps, channels // groups, filters))
    check(bias, "bias", (filters,))
    writer, kept = chain.writer, dilation * (taps - 1)
    window = writer.emit("reshape", chain.tensor, shape=(1, channels))
    if kept:
        chain.budget.memory(STATE_BYTES * kept * channels, "its state")
        history = writer.state(f"history_l{chain.convolutions}", (kept, channels))
        chain.convolutions += 1
        window = writer.emit("concat", history, window, axis=0)
        end = (kept + 1, channels)
        writer.keep(history, writer.emit("slice", window, starts=(1, 0), ends=end, steps=(1, 1)))
    turned = writer.emit("transpose", window, order=(1, 0))
    weights = [writer.constant(one) for one in (kernel.transpose(2, 1, 0), bias)]
    made = writer.emit("conv", turned, *weights, dilation=dilation, groups=groups)
    chain.tensor = writer.emit("reshape", made, shape=(filters,))
    _activate(chain, layer)


def _batchnorm(chain: Chain, layer: dict[str, Any]) -> None:
    """Gamma and beta, which need not be there, mean and variance: one scale and one shift.

    The scale and the shift are computed in float64 and rounded once.
    """
    epsilon = number(layer, "epsilon", -1.0)
    if epsilon < 0:
        raise ValueError("its epsilon is missing or negative")
    found = arrays(layer, (2, 4), chain.budget)
    for one in found:
        check(one, "array of weights", (chain.width,))
    *trained, mean, variance = (one.astype(np.float64) for one in found)
    gamma, beta = trained or (np.ones(chain.width), np.zeros(chain.width))
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + epsilon)
        parts = [one.astype(np.float32) for one in (scale, beta - mean * scale)]
    if not all(np.isfinite(one).all() for one in parts):
        raise ValueError("its variance is negative or too small: there is no scale that is finite")
    for code, values in zip(("mul", "add"), parts, strict=True):
        chain.apply(code, values)


def _prelu(chain: Chain, layer: dict[str, Any]) -> None:
    (slopes,) = arrays(layer, (1,), chain.budget)
    check(slopes, "alpha", (1, chain.width), (1, 1))
    chain.apply("prelu", slopes[0])


def _activate(chain: Chain, layer: dict[str, Any]) -> None:
    name = layer.get("activation", "")
    if name == "":
        return
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"its activation is {shown(name)}, which RTNeural has not; it has {known}")
    chain.apply(name, **ATTRIBUTES.get(name, {}))


LAYERS: dict[str, Callable[[Chain, dict[str, Any]], None]] = {
    "dense": _dense,
    "time-distributed-dense": _dense,
    "lstm": _lstm,
    "gru": _gru,
    "conv1d": _conv1d,
    "batchnorm": _batchnorm,
    "prelu": _prelu,
    "activation": _activate,
}


def check_type(layer: dict[str, Any]) -> None:
    """Refuse a layer of a type that is not computed here.

    Raises:
        ValueError: it is of one.
    """
    kind = layer.get("type")
    if isinstance(kind, str) and kind in LAYERS:
        return
    text = f"its type is {shown(kind)}, which is not computed here; {', '.join(LAYERS)} are"
    if kind not in ("conv2d", "batchnorm2d"):
        text += " (RTNeural passes over it: leave it out of the file if it changes nothing)"
    raise ValueError(text)


def add(chain: Chain, layer: dict[str, Any]) -> None:
    """Add a layer, of a type that `check_type` takes.

    Raises:
        ValueError: something is wrong with it.
    """
    before, frames = chain.width, frames_of(layer, "shape")
    if None not in (frames, chain.frames) and frames != chain.frames:
        raise ValueError(
            f"its shape says that it makes {frames} frames of {chain.frames}, as with strides or "
            "without padding in front; RTNeural computes one for each: train it with strides of 1 "
            "and padding='causal'"
        )
    LAYERS[layer["type"]](chain, layer)
    if (wanted := width_of(layer, "shape")) != chain.width:
        raise ValueError(f"of {before} it makes {chain.width} values, but its shape says {wanted}")
