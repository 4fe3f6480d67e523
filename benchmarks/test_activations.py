"""sigmoid and tanh over 4096 values, by ISA: divide by 4096 for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lstm_fast

COUNT = 4096
ISAS = [name.partition(":")[2] for name in lstm_fast.available() if name.startswith("native:")]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("function", ["SIGMOID", "TANH"])
def test_activation(benchmark: Any, function: str, isa: str) -> None:
    """On values of the size that gates have."""
    native = pytest.importorskip("lstm_fast._backends.native")
    benchmark.group = f"{function.lower()} of {COUNT}"
    x = (3 * np.random.default_rng(0).standard_normal(COUNT)).astype(np.float32)
    y = np.empty_like(x)
    floats = native.ffi.typeof("float[]")
    x_pointer, y_pointer = (native.ffi.from_buffer(floats, values) for values in (x, y))
    named = native.ffi.new("lf_function *", [getattr(native.lib, f"LF_{function}")])
    arguments = isa.encode(), named, x_pointer, y_pointer, COUNT
    assert benchmark(native.lib.lf_activate_f32, *arguments) == native.lib.LF_OK
    exact = np.tanh(x) if function == "TANH" else lstm_fast.reference.sigmoid(x)
    np.testing.assert_allclose(y, exact, rtol=1e-6)  # a few ULP; the tests say how many
