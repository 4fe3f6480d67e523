"""Fixtures: everything over every backend and every ISA that this CPU has; a signal's handler."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

import lstm_fast
from lstm_fast import LSTM
from lstm_fast._backends import load

sys.path.append(str(Path(__file__).parent / "models"))  # its programs serve other folders, too

EXAMPLES = int(os.environ.get("LSTM_FAST_EXAMPLES", "60"))  # of a property; fewer where it is slow
settings.register_profile("lstm_fast", deadline=None, print_blob=True, max_examples=EXAMPLES)
settings.load_profile("lstm_fast")


if not lstm_fast.available()[0].startswith("native"):
    with pytest.warns(RuntimeWarning, match="native core is missing"):
        LSTM.random(1, 1)  # says so once per process, and the tests expect no warnings


@dataclass(frozen=True)
class Implementation:
    """A backend and, for the native one, an ISA; makes LSTMs that run on it."""

    backend: str
    isa: str | None = None

    def random(self, *sizes, **options):
        return LSTM.random(*sizes, backend=self.backend, isa=self.isa, **options)

    def from_state_dict(self, weights, **options):
        return LSTM.from_state_dict(weights, backend=self.backend, isa=self.isa, **options)

    def __str__(self):
        return self.backend if self.isa is None else f"{self.backend}:{self.isa}"


def known_isas() -> dict[str, list[str]]:
    """Every ISA that was built in, with what this CPU lacks for it; empty without the core."""
    try:
        return load("native").isas()
    except lstm_fast.BackendUnavailableError:
        return {}


def _params():
    isas = known_isas()
    for isa, missing in isas.items():
        skip = pytest.mark.skipif(bool(missing), reason=f"this CPU lacks {' '.join(missing)}")
        yield pytest.param(Implementation("native", isa), id=f"native:{isa}", marks=skip)
    if not isas:
        skip = pytest.mark.skipif(True, reason="the native core is not built")
        yield pytest.param(Implementation("native"), id="native", marks=skip)
    no_numba = importlib.util.find_spec("numba") is None
    skip = pytest.mark.skipif(no_numba, reason="numba is not installed")
    yield pytest.param(Implementation("numba"), id="numba", marks=skip)
    yield pytest.param(Implementation("reference"), id="reference")


@pytest.fixture(scope="session", params=list(_params()))
def implementation(request) -> Implementation:
    return request.param


@pytest.fixture(scope="session")
def exact_implementations() -> list[Implementation]:
    """All that must give the same bits here: each native ISA of this CPU, and Numba."""
    names = [name.partition(":") for name in lstm_fast.available() if name != "reference"]
    if not names:
        pytest.skip("neither the native core nor Numba is here")
    return [Implementation(backend, isa or None) for backend, _, isa in names]


@pytest.fixture
def handler():
    """Set what SIGALRM does, until the test is over.

    Meanwhile nothing is collected: what is raised in a callback of the collector (Hypothesis has
    one) or in a finalizer never reaches the test.
    """
    previous = signal.getsignal(signal.SIGALRM)
    gc.collect()
    gc.disable()
    yield lambda function: signal.signal(signal.SIGALRM, function)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)
    gc.enable()
