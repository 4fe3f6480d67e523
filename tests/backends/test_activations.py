"""sigmoid and tanh as the kernels compute them, over floats of every kind.

The slow test covers all 2^32 floats. The errors that this measures are those that
csrc/generic/activations.h and docs/contract.md state, and that tolerances.py builds on.
"""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conftest import Implementation
from lstm_fast import reference
from lstm_fast._backends import load
from tolerances import SIGMOID_ULP, TANH_ULP

SMALLEST_NORMAL = 2.0**-126
FUNCTIONS = ["sigmoid", "tanh"]
ULP = {"sigmoid": SIGMOID_ULP, "tanh": TANH_ULP}
EXACT = {"sigmoid": reference.sigmoid, "tanh": np.tanh}
GOLDEN = {"sigmoid": "7bc4ab47c7525364", "tanh": "9648406220111eb2"}
CHUNK_BITS = 18  # small enough that the arrays stay in the allocator and the cache


def activate(implementation: Implementation, function: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    backend = load(implementation.backend)
    if implementation.backend == "numba":
        from lstm_fast._backends._numba_kernels import FLOATS, ffi, numba_activate

        pointers = ffi.from_buffer(FLOATS, x), ffi.from_buffer(FLOATS, y, True)
        numba_activate(function == "tanh", *pointers, len(x))
        return y
    ffi, lib = backend.ffi, backend.lib
    status = lib.lf_activate_f32(
        implementation.isa.encode(),
        ffi.new("lf_function *", [{"sigmoid": lib.LF_SIGMOID, "tanh": lib.LF_TANH}[function]]),
        ffi.from_buffer("float[]", x),
        ffi.from_buffer("float[]", y, require_writable=True),
        len(x),
    )
    assert status == lib.LF_OK
    return y


def floats(start: int, stop: int, stride: int = 1) -> np.ndarray:
    return np.arange(start, stop, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)


def error_in_ulp(function: str, x: np.ndarray, y: np.ndarray) -> float:
    """Largest error in ULP of the exact result; checks the ranges and what is not a number."""
    nan = np.isnan(x)
    assert np.array_equal(np.isnan(y), nan)
    x, y = x[~nan], y[~nan].astype(np.float64)
    if len(x) == 0:
        return 0.0
    with np.errstate(under="ignore"):
        exact = EXACT[function](x.astype(np.float64))
    assert y.max() <= 1
    assert y.min() >= (0 if function == "sigmoid" else -1)
    ulp = np.ldexp(1.0, np.maximum(np.frexp(exact)[1], -125) - 24)
    error = np.abs(y - exact) / ulp
    if function == "sigmoid":  # too small for a normal float: +0 by contract
        flushed = exact < SMALLEST_NORMAL
        assert not np.any(y[flushed])
        assert not np.any(np.signbit(y))
        error[flushed] = 0
    return float(error.max())


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("offset", [0, 0x55F, 0xFFF])
def test_every_4096th_float(exact_implementations, function, offset):
    x = floats(offset, 2**32, 4096)
    first, *others = (activate(one, function, x) for one in exact_implementations)
    assert error_in_ulp(function, x, first) <= ULP[function]
    numbers = ~np.isnan(x)  # NaN is made canonical by what follows, not here
    for other in others:
        assert other[numbers].tobytes() == first[numbers].tobytes()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_golden_bits(exact_implementations, function):
    """Of every 4096th number, and of more where a coefficient's last bit counts: 1/32 to 8."""
    x = np.concatenate([floats(0x7FF, 2**32, 4096), floats(0x3D000000, 0x41000000, 67)])
    x = x[~np.isnan(x)]
    for one in exact_implementations:
        digest = hashlib.sha256(activate(one, function, x).astype("<f4").tobytes()).hexdigest()
        assert digest[:16] == GOLDEN[function], one


@pytest.mark.parametrize("function", FUNCTIONS)
def test_special_values(exact_implementations, function):
    inf, tiny = np.inf, 2.0**-149
    x = np.array([0.0, -0.0, inf, -inf, tiny, -tiny, 88, -87.3, -88, 1e38, -1e38], np.float32)
    expected = {
        "sigmoid": [0.5, 0.5, 1, 0, 0.5, 0.5, 1, None, 0, 1, 0],
        "tanh": [0.0, -0.0, 1, -1, tiny, -tiny, 1, -1, -1, 1, -1],
    }[function]
    for one in exact_implementations:
        y = activate(one, function, x)
        for want, have in zip(expected, y, strict=True):
            assert want is None or (have == want and np.signbit(have) == np.signbit(want))
    assert y[7] > 0 or function == "tanh"  # relative accuracy in the tail: not yet 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_error_of_three_ulp_is_noticed(function):
    """Negative control."""
    x = floats(0x3F000000, 0x3F000100)
    y = EXACT[function](x.astype(np.float64)).astype(np.float32)
    assert error_in_ulp(function, x, y) <= 0.51
    off = y.view(np.int32) + 3
    assert error_in_ulp(function, x, off.view(np.float32)) > ULP[function]


def test_the_stated_errors_are_the_tested_ones():
    header = Path(__file__).parents[2] / "csrc/generic/activations.h"
    if not header.exists():
        pytest.skip("the tests run without the sources")
    text = header.read_text()
    for function, bound in ULP.items():
        stated = float(re.search(rf"{function} +at most ([\d.]+) ULP", text)[1])
        assert bound - 0.1 <= stated <= bound


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_float(exact_implementations, function):
    """All 2^32 of them, on every ISA; the GIL is released in here, so two threads help.

    LSTM_FAST_FLOATS_EVERY=n takes every nth block, for where there is less time.
    """
    every = int(os.environ.get("LSTM_FAST_FLOATS_EVERY", "1"))

    def sweep(chunk: int) -> float:
        x = floats(chunk << CHUNK_BITS, (chunk + 1) << CHUNK_BITS)
        first, *others = (activate(one, function, x) for one in exact_implementations)
        numbers = ~np.isnan(x)
        if numbers.any():
            for one, other in zip(exact_implementations[1:], others, strict=True):
                assert other[numbers].tobytes() == first[numbers].tobytes(), one
        return error_in_ulp(function, x, first)

    with ThreadPoolExecutor(2) as pool:
        worst = max(pool.map(sweep, range(0, 1 << (32 - CHUNK_BITS), every)))
    print(f"{function}: largest error {worst:.4f} ULP")
    assert worst <= ULP[function]
    assert worst >= ULP[function] - 0.1 or every > 1
