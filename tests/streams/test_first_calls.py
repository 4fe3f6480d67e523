"""The first call of a session imports nothing.

An import takes milliseconds, in the first frame of a call; and a fork while another thread is in
one leaves a lock of Python's that nobody in the child gives back.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lstm_fast import available
from outside import PATIENCE

MADE = """
import json, sys
import numpy as np
import lstm_fast
from lstm_fast import LSTM, vad

lstm = LSTM.random(4, 8, backend={backend!r})
stream, pool = lstm.stream(), lstm.pool(2)
chunks = vad.Chunks(48000)
before = set(sys.modules)
handle = pool.open()
x = np.zeros(4, np.float32)
for xs in (x, x.tolist(), x.astype(">f8")):
    stream.step(xs)
    pool.step([handle], np.asarray(xs)[None])
stream.prepare()
stream.run(x[None])
stream.state = stream.state
pool.prepare([handle])
pool.run([handle], x[None, None])
{more}
chunks.push(np.zeros(4000, np.int16))
chunks.reset()
stream.reset()
pool.reset(handle)
pool.close(handle)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def imported(backend, more=""):
    program = MADE.format(backend=backend, more=more)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("backend", sorted({name.partition(":")[0] for name in available()}))
def test_the_first_calls_of_a_process_import_nothing(backend):
    assert imported(backend) == []


def test_an_import_would_be_found():
    assert "numpy.ma" in imported("reference", "np.ma.isMaskedArray(x)")
