"""What an LSTM cell computes where it is not the plain one: activations, clips, coupled gates."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np

from ._arguments import is_number

__all__ = ["ACTIVATIONS", "Activation", "Cell"]

# name: the parameters that it has, with ONNX's default values
ACTIVATIONS: dict[str, dict[str, float]] = {
    "sigmoid": {},
    "tanh": {},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
    "relu": {},
    "affine": {"alpha": 1.0, "beta": 0.0},
    "leaky_relu": {"alpha": 0.01},
    "thresholded_relu": {"alpha": 1.0},
    "scaled_tanh": {"alpha": 1.0, "beta": 1.0},
    "elu": {"alpha": 1.0},
    "softsign": {},
    "softplus": {},
}
BOUNDED = frozenset({"sigmoid", "tanh", "hard_sigmoid", "softsign"})  # within [-1, 1]


def _float32(value: Any, what: str) -> float:
    """Return a finite number as float32 keeps it."""
    if not is_number(value):
        raise TypeError(f"{what} must be a number, found {type(value).__name__}")
    with np.errstate(over="ignore"):
        number = float(np.float32(value))
    if not math.isfinite(number):
        raise ValueError(f"{what} must be finite in float32, found {value}")
    return number


@dataclass(frozen=True)
class Activation:
    """An activation function by name, with its parameters; the formulas are ONNX's.

        sigmoid, tanh, relu            as everywhere
        hard_sigmoid      min(max(alpha x + beta, 0), 1); Keras 2: 0.2 and 0.5, Keras 3: 1/6 and 0.5
        affine            alpha x + beta: the linear one is affine with 1 and 0
        leaky_relu        x, or alpha x where x < 0
        thresholded_relu  x, or 0 where x < alpha
        scaled_tanh       alpha tanh(beta x)
        elu               x, or alpha (exp(x) - 1) where x < 0
        softsign          x / (1 + |x|)
        softplus          log(1 + exp(x)); not on the native backend

    Args:
        name: one of these.
        alpha, beta: the parameters where it has them; None takes ONNX's default. They are rounded
            to float32.

    Raises:
        TypeError: name is not a string, or a parameter is not a number.
        ValueError: name is unknown, or a parameter is not finite, or it has no such parameter.

    Example:
        >>> Activation("hard_sigmoid", alpha=0.25, beta=0.5).alpha
        0.25
        >>> round(Activation("leaky_relu").alpha, 6)  # ONNX's default, rounded to float32
        0.01
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"an activation is named by a string, found {self.name!r}")
        if self.name not in ACTIVATIONS:
            raise ValueError(
                f"there is no activation {self.name!r}; choose one of {', '.join(ACTIVATIONS)}"
            )
        defaults = ACTIVATIONS[self.name]
        for parameter in ("alpha", "beta"):
            value = getattr(self, parameter)
            if parameter not in defaults:
                if value is not None:
                    raise ValueError(f"{self.name} has no parameter {parameter}")
                continue
            value = defaults[parameter] if value is None else value
            object.__setattr__(self, parameter, _float32(value, f"{self.name}'s {parameter}"))

    @property
    def bounded(self) -> bool:
        """Whether its values lie within [-1, 1]."""
        return self.name in BOUNDED

    def __str__(self) -> str:
        values = (f"{p}={getattr(self, p):g}" for p in ACTIVATIONS[self.name])
        text = ", ".join(values)
        return f"{self.name}({text})" if text else self.name


ActivationLike: TypeAlias = "str | Activation"
Coupled: TypeAlias = Literal["input", "forget"]


@dataclass(frozen=True)
class Cell:
    """The options of a cell; without any it is the plain LSTM of `torch.nn.LSTM`.

    With a_i, a_f, a_g, a_o the pre-activations, b the biases and p the peephole weights:

        a_i += p_i c;  a_f += p_f c                              peepholes
        a = norm(a) * layer_norm + b  for each gate              layer normalisation (TFLite's form;
                                                                 b is added here, not in the sums)
        i = gate(a_i);  f = gate(a_f);  g = input(a_g)           a clipped to +-clip, a_o too
        f = 1 - i (coupled "input")   or   i = 1 - f (coupled "forget")
        c' = f c + i g                                           clipped to +-cell_clip
        a_o += p_o c';  o = gate(norm(a_o))
        r = o output(c')
        h' = W_hr r + b_hr                                       projection, clipped to +-proj_clip

    Peepholes, layer normalisation, projection and a trained initial state are there where their
    weights are (see `LSTM.from_state_dict`); what is here needs no weights.

    Args:
        gate: the activation of i, f and o: `recurrent_activation` in Keras, f in ONNX.
        input: the activation of g: `activation` in Keras, g in ONNX.
        output: the activation of c' on its way out: `activation` in Keras, h in ONNX.
        clip: bounds the pre-activations of the gates, as onnxruntime does with ONNX's `clip` (what
            `output` gets, it leaves alone); None does not.
        cell_clip: bounds c', as `cell_clip` in TensorFlow; None does not.
        proj_clip: bounds h' after a projection, as `proj_clip` in TensorFlow; None does not.
        coupled: which gate is computed where input and forget gate are coupled: "input" makes
            f = 1 - i (ONNX's input_forget), "forget" makes i = 1 - f (TFLite's CIFG). The rows of
            the other gate are not used.
        layer_norm_eps: added to the variance where there is layer normalisation.

    Raises:
        TypeError: an option has the wrong type.
        ValueError: it has a value that makes no sense.

    Example:
        >>> from lstm_fast import LSTM
        >>> cell = Cell(gate=Activation("hard_sigmoid"), cell_clip=10.0)
        >>> LSTM.random(3, 4, cell=cell).stream().step([1.0] * 3).shape
        (4,)
    """

    gate: ActivationLike = "sigmoid"
    input: ActivationLike = "tanh"
    output: ActivationLike = "tanh"
    clip: float | None = None
    cell_clip: float | None = None
    proj_clip: float | None = None
    coupled: Coupled | None = None
    layer_norm_eps: float = 1e-8

    def __post_init__(self) -> None:
        for role in ("gate", "input", "output"):
            value = getattr(self, role)
            if not isinstance(value, Activation):
                object.__setattr__(self, role, Activation(value))
        for name in ("clip", "cell_clip", "proj_clip", "layer_norm_eps"):
            value = getattr(self, name)
            if value is None and name != "layer_norm_eps":
                continue
            number = _float32(value, name)
            if number <= 0:
                raise ValueError(f"{name} must be above 0, found {value}")
            object.__setattr__(self, name, number)
        if self.coupled not in (None, "input", "forget"):
            raise ValueError(f"coupled is 'input', 'forget' or None, found {self.coupled!r}")

    @property
    def activations(self) -> tuple[Activation, Activation, Activation]:
        """Those of the gates, of g and of the output, in ONNX's order f, g, h."""
        gate, g, output = (_activation(getattr(self, role)) for role in ("gate", "input", "output"))
        return gate, g, output

    @property
    def bounded(self) -> bool:
        """Whether o times output(c) lies within [-1, 1]."""
        gate, _, output = self.activations
        return gate.bounded and output.bounded

    def to_json(self) -> dict[str, Any]:
        """Return what differs from the plain cell, as numbers, strings and dicts."""
        result: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(PLAIN, field.name):
                continue
            if isinstance(value, Activation):
                value = {
                    k: v for k in ("name", "alpha", "beta") if (v := getattr(value, k)) is not None
                }
            result[field.name] = value
        return result

    @classmethod
    def from_json(cls, options: Any) -> Cell:
        """Make a cell of what `to_json` returned.

        Raises:
            TypeError, ValueError: it is not such a thing.
        """
        if not isinstance(options, dict):
            raise TypeError(f"the options of a cell are a dict, found {type(options).__name__}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(map(str, set(options) - known)):
            raise ValueError(f"a cell has no option {', '.join(unknown)}")
        values: dict[str, Any] = {
            name: Activation(**value) if isinstance(value, dict) else value
            for name, value in options.items()
        }
        return cls(**values)

    def __str__(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.to_json()) or "plain"


def _activation(value: ActivationLike) -> Activation:
    assert isinstance(value, Activation)  # since __post_init__
    return value


PLAIN = Cell()
