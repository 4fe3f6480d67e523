"""One operation, computed by the reference and compared with what shapes are inferred."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lstm_fast import reference_operations
from lstm_fast._program_attributes import complete
from lstm_fast._program_shapes import infer
from lstm_fast.program import Tensor

CLOSE = {"rtol": 1e-12, "atol": 1e-13}  # two orders of sums in float64
KINDS = {"f": "float32", "i": "int64", "b": "bool"}


def compute(code, *inputs, **attributes):
    """The outputs of an operation, which must be what `infer` says."""
    full = complete(code, attributes)
    arrays = [None if value is None else np.asarray(value) for value in inputs]
    given_ = [None if a is None else Tensor(a.shape, KINDS[a.dtype.kind]) for a in arrays]
    expected = infer(code, full, given_)
    outputs = reference_operations.compute(code, full, arrays)
    assert [(one.shape, KINDS[one.dtype.kind]) for one in outputs] == [
        (one.shape, one.kind) for one in expected
    ]
    return outputs[0] if len(outputs) == 1 else outputs


def arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 4)
shapes = st.lists(small, max_size=3).map(tuple)
