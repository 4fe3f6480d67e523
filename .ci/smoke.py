"""Takes a few steps with an installed lstm_fast and checks which backend served.

python .ci/smoke.py native|numba|reference
"""

import sys
import warnings
from pathlib import Path

import numpy as np

import lstm_fast

expected = sys.argv[1]
source = Path(__file__).parents[1]
assert source not in Path(lstm_fast.__file__).parents, f"not installed: {lstm_fast.__file__}"

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    lstm = lstm_fast.LSTM.random(128, 128, 2)
assert lstm.backend == expected, lstm
assert len(caught) == (expected != "native"), [str(w.message) for w in caught]

tiny = np.float32(2.0**-126) / np.float32(2)
assert tiny > 0, "importing the core has made this process flush subnormals"

xs = [[0.01 * (n % 7)] * 128 for n in range(5)]
ys = lstm.stream().run(xs)
exact, _ = lstm_fast.reference.stack(xs, lstm.state_dict())
assert abs(ys - exact).max() < 1e-6
stream = lstm.stream()
for x, y in zip(xs, ys, strict=True):
    assert (stream.step(x) == y).all()
whole = lstm_fast.Model.from_bytes(lstm.to_bytes(), backend=expected)
assert abs(whole.stream().run(xs) - ys).max() < 1e-6
print(lstm, lstm_fast.available(), *(w.message for w in caught))
