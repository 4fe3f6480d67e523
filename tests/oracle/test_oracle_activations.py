"""Activations have the bits that csrc/lstm_fast.h says, at floats of every kind.

And the numbers in the text are those of the oracle and of the kernels.
"""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lstm_fast._backends import load
from oracle import activation_formulas, operation_formulas
from oracle.activation_formulas import ACTIVATIONS
from oracle.exact import bits, from_bits
from oracle.oracle_programs import EDGES

CORE = Path(__file__).parents[2] / "csrc"
KERNELS = ["activations", "exponentials", "power", "elementwise"]
NUMBER = re.compile(r"-?0x1\.[0-9a-fA-F]+p[-+]?\d+")
PARAMETERS = {"hard_sigmoid": (0.2, 0.5), "affine": (0.7, 0.1), "scaled_tanh": (1.5, 0.8)}
NATIVE_ALONE = set(ACTIVATIONS) - {"sigmoid", "tanh"}  # Numba's others are in operations and cells


def patterns(count: int, seed: int = 0) -> np.ndarray:
    """Random bits, as many where an exponential is neither 0 nor 1, and edges with neighbours."""
    rng = np.random.default_rng(seed)
    random = rng.integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32).view(np.float32)
    usual = np.exp2(rng.uniform(-12, 5, count)) * rng.choice([1, -1], count)
    edges = np.concatenate([EDGES[:-1], -np.array(EDGES[:-1])]).astype(np.float32)
    with np.errstate(over="ignore"):
        around = [np.nextafter(edges, np.float32(to)) for to in (-np.inf, np.inf)]
    values = np.concatenate([random, usual.astype(np.float32), edges, *around])
    return values[~np.isnan(values)]  # NaN is made canonical by what follows


def activated(implementation: Any, name: str, alpha: float, beta: float, x: np.ndarray) -> Any:
    y = np.empty_like(x)
    backend = load(implementation.backend)
    if implementation.backend == "numba":
        from lstm_fast._backends._numba_kernels import FLOATS, ffi, numba_activate

        numba_activate(
            name == "tanh", ffi.from_buffer(FLOATS, x), ffi.from_buffer(FLOATS, y, True), len(x)
        )
        return y
    ffi, lib = backend.ffi, backend.lib
    status = lib.lf_activate_f32(
        implementation.isa.encode(),
        ffi.new("lf_function *", [getattr(lib, f"LF_{name.upper()}"), alpha, beta]),
        ffi.from_buffer("float[]", x),
        ffi.from_buffer("float[]", y, require_writable=True),
        len(x),
    )
    assert status == lib.LF_OK
    return y


def check(implementations: list[Any], name: str, x: np.ndarray) -> None:
    alpha, beta = (float(np.float32(one)) for one in PARAMETERS.get(name, (0.3, 0.0)))
    expected = [bits(ACTIVATIONS[name](one, alpha, beta)) for one in x.tolist()]
    for one in implementations:
        if one.backend == "numba" and name in NATIVE_ALONE:
            continue
        found = activated(one, name, alpha, beta, x)
        found[np.isnan(found)] = np.nan
        assert found.view(np.uint32).tolist() == expected, one


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(exact_implementations, name):
    check(exact_implementations, name, patterns(4000 if name in ("sigmoid", "tanh") else 500))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu"])
def test_activations_at_many_floats(exact_implementations, name):
    for seed in range(50):
        check(exact_implementations, name, patterns(20000, seed))


# ---- the numbers ----


def numbers_of(text: str) -> set[float]:
    return {abs(float.fromhex(one)) for one in NUMBER.findall(text)}


def test_the_text_the_oracle_and_the_kernels_have_the_same_numbers():
    """To the last bit, of which few results depend."""
    if not CORE.exists():
        pytest.skip("the tests run without the sources")
    text = (CORE / "lstm_fast.h").read_text("utf-8")
    text = text[text.index("The activations, of x") :]
    kernels = "".join((CORE / f"generic/{name}.h").read_text("utf-8") for name in KERNELS)
    oracle = inspect.getsource(activation_formulas) + inspect.getsource(operation_formulas)
    assert numbers_of(text) == numbers_of(oracle)
    # those have the powers of 2^(1/8) in another form; the largest number stands for infinity
    eighths, largest = set(activation_formulas.EIGHTHS[1:]), float(np.finfo(np.float32).max)
    assert numbers_of(oracle) - eighths == numbers_of(kernels) - {largest}
    assert len(numbers_of(oracle)) > 60


def with_another_number(module: Any, at: int) -> Any:
    """A module of formulas whose nth number is larger by a 16th at most, in its last digits too."""
    source = inspect.getsource(module)
    found = list(NUMBER.finditer(source))[at]
    other = from_bits(bits(float.fromhex(found[0])) + 0x80003).hex()
    names: dict[str, Any] = {"__name__": "misread"}
    exec(compile(source[: found.start()] + other + source[found.end() :], "misread", "exec"), names)
    return SimpleNamespace(**names)


OF_ONE = {
    activation_formulas: ["sigmoid", "tanh"],
    operation_formulas: ["exp", "log", "softplus", "erf", "gelu_tanh", "gelu", "hard_swish"],
}
ROUNDS = {"0x1.8007Fp23", "0x1.8000FCp23"}  # in sigmoid and tanh, as would other even numbers
NUMBERS = [
    (module, n)
    for module in OF_ONE
    for n, number in enumerate(NUMBER.findall(inspect.getsource(module)))
    if number not in ROUNDS
]


def differ(module: Any, other: Any) -> bool:
    x = [float(one) for one in patterns(0) if math.isfinite(one)]
    x += np.random.default_rng(1).uniform(-7, 7, 100).astype(np.float32).tolist()
    for name in OF_ONE[module]:
        right, wrong = getattr(module, name), getattr(other, name)
        if any(bits(right(one)) != bits(wrong(one)) for one in x):
            return True
    pairs = [(abs(a), b) for a, b in zip(x, reversed(x), strict=True)]
    return module is operation_formulas and any(
        bits(module.power(*one)) != bits(other.power(*one)) for one in pairs
    )


@pytest.mark.parametrize(("module", "at"), NUMBERS, ids=lambda one: getattr(one, "__name__", one))
def test_each_number_shows_in_the_bits(module, at):
    """Negative control: with another number the oracle has other bits, and the tests above fail."""
    assert differ(module, with_another_number(module, at))
