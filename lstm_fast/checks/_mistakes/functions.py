"""Activations: the right ones, and those that ports have in their place."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ... import reference
from ...cell import Activation
from .roundings import Float64

Function = Callable[[Float64], Float64]


@lru_cache(maxsize=64)
def function_of(one: Activation) -> Function:
    """Return an activation in float64."""
    alpha, beta = one.alpha or 0.0, one.beta or 0.0
    quick: dict[str, Function] = {
        "sigmoid": lambda x: np.asarray(0.5 * np.tanh(0.5 * x) + 0.5),
        "tanh": np.tanh,
        "affine": lambda x: alpha * x + beta,
        "hard_sigmoid": lambda x: np.clip(alpha * x + beta, 0, 1),
    }
    return quick.get(one.name, lambda x: reference.activation(x, one.name, alpha, beta))


def _ratio(above: tuple[float, ...], below: tuple[float, ...]) -> Function:
    """Return x P(x^2) / Q(x^2), coefficients from the constant on."""

    def ratio(x: Float64) -> Float64:
        square = x * x
        return np.asarray(x * np.polyval(above[::-1], square) / np.polyval(below[::-1], square))

    return ratio


def _clamped(function: Function, most: float = np.inf) -> Function:
    """Return a function within [-1, 1], of arguments within +-most."""
    return lambda x: np.clip(function(np.clip(x, -most, most)), -1, 1)


def _vaneev(x: Float64) -> Float64:
    """Aleksey Vaneev's tanh, which Neural Amp Modeler calls fast_tanh."""
    size, square = np.abs(x), x * x
    above = 2.45550750702956 * (1 + size) + (0.893229853513558 + 0.821226666969744 * size) * square
    below = 2.44506634652299 + (2.44506634652299 + square) * np.abs(
        x + 0.814642734961073 * x * size
    )
    return np.asarray(x * above / below)


def _over_root(cubic: float) -> Function:
    """Return p / sqrt(1 + p^2) with p = x + cubic x^3: tanh from sinh."""

    def function(x: Float64) -> Float64:
        sinh = x * (1 + cubic * x * x)
        return np.asarray(sinh / np.sqrt(1 + sinh * sinh))

    return function


def _schraudolph(shift: float) -> Function:
    """Return exp from the bits of a float32: 2^23 x / ln 2 as a whole number, less a shift.

    N. Schraudolph, "A fast, compact approximation of the exponential function", 1999. Between
    powers of two it is a straight line.
    """

    def function(x: Float64) -> Float64:
        power = np.clip(x / np.log(2) - shift / 2**23, -126, 127)
        whole = np.floor(power)
        return np.asarray(np.exp2(whole) * (1 + power - whole))

    return function


def _by_exp(exp: Function, gain: float) -> Function:
    """Return tanh (gain 2) or sigmoid (gain 1) from an exp."""
    if gain == 1:
        return lambda x: 1 / (1 + exp(-x))
    return lambda x: 2 / (1 + exp(-2 * x)) - 1


def _softsign(x: Float64) -> Float64:
    return np.asarray(x / (1 + np.abs(x)))


PADE_3_2 = _ratio((15, 1), (15, 6))
PADE_5_4 = _ratio((945, 105, 1), (945, 420, 15))
PADE_5_6 = _ratio((10395, 1260, 21), (10395, 4725, 210, 1))
PADE_7_6 = _ratio((135135, 17325, 378, 1), (135135, 62370, 3150, 28))
NEARLY_3_2 = _ratio((27, 1), (27, 9))

# What stands for tanh: by id, the formula and the functions that it may mean.
TANHS: dict[str, tuple[str, tuple[Function, ...]]] = {
    "27/9": ("x (27 + x^2) / (27 + 9 x^2)", (_clamped(NEARLY_3_2, 3), NEARLY_3_2)),
    "pade_3/2": ("x (15 + x^2) / (15 + 6 x^2)", (_clamped(PADE_3_2), PADE_3_2)),
    "pade_5/4": (
        "x (945 + 105 x^2 + x^4) / (945 + 420 x^2 + 15 x^4)",
        (_clamped(PADE_5_4), PADE_5_4),
    ),
    "pade_5/6": (
        "x (10395 + 1260 x^2 + 21 x^4) / (10395 + 4725 x^2 + 210 x^4 + x^6)",
        (PADE_5_6, _clamped(PADE_5_6, 4), _clamped(PADE_5_6, 5)),
    ),
    "pade_7/6": (
        "x (135135 + 17325 x^2 + 378 x^4 + x^6) / (135135 + 62370 x^2 + 3150 x^4 + 28 x^6)",
        (_clamped(PADE_7_6), PADE_7_6, _clamped(PADE_7_6, 4), lambda x: PADE_7_6(x.clip(-5, 5))),
    ),
    "vaneev": ("Vaneev's ratio (Neural Amp Modeler's fast_tanh)", (_vaneev,)),
    "sinh_3": ("p / sqrt(1 + p^2), p = x + 0.183428 x^3", (_over_root(0.183428244899),)),
    "schraudolph": (
        "2 / (1 + exp(-2 x)) - 1 with Schraudolph's exp",
        tuple(_by_exp(_schraudolph(shift), 2) for shift in (486411.0, 366393.0, 298765.0, 0.0)),
    ),
    "softsign": ("x / (1 + |x|)", (_softsign,)),
    "root": ("x / sqrt(1 + x^2)", (_over_root(0.0),)),
    "hard": ("clip(x, -1, 1)", (lambda x: np.clip(x, -1, 1),)),
    "scaled": ("1.7159 tanh(2 x / 3)", (lambda x: 1.7159 * np.tanh(2 * x / 3),)),
    "relu": ("max(x, 0)", (lambda x: np.maximum(x, 0),)),
}
RATIONAL = ("27/9", "pade_3/2", "pade_5/4", "pade_5/6", "pade_7/6", "vaneev", "sinh_3")

# What stands for a gate's sigmoid.
SIGMOIDS: dict[str, tuple[str, tuple[Function, ...]]] = {
    "softsign": ("x / (1 + |x|) / 2 + 0.5", (lambda x: _softsign(x) / 2 + 0.5,)),
    "softsign_half": (
        "x / 2 / (1 + |x / 2|) / 2 + 0.5",
        (lambda x: _softsign(x / 2) / 2 + 0.5,),
    ),
    "softsign_bare": ("x / (1 + |x|)", (_softsign,)),
    "root": ("x / sqrt(1 + x^2) / 2 + 0.5", (lambda x: _over_root(0.0)(x) / 2 + 0.5,)),
    "schraudolph": (
        "1 / (1 + exp(-x)) with Schraudolph's exp",
        tuple(_by_exp(_schraudolph(shift), 1) for shift in (486411.0, 366393.0, 298765.0, 0.0)),
    ),
    "base_2": ("1 / (1 + 2^-x)", (lambda x: function_of(Activation("sigmoid"))(x * np.log(2)),)),
    "not_halved": ("tanh(x) / 2 + 0.5", (lambda x: np.tanh(x) / 2 + 0.5,)),
    "tanh": ("tanh(x)", (np.tanh,)),
    "none": ("x itself", (lambda x: x,)),
    "relu": ("max(x, 0)", (lambda x: np.maximum(x, 0),)),
    "relu_1": ("clip(x, 0, 1)", (lambda x: np.clip(x, 0, 1),)),
}


@lru_cache(maxsize=64)
def halved(tanh: Function) -> Function:
    """Return the sigmoid that a tanh makes."""
    return lambda x: tanh(x / 2) / 2 + 0.5
