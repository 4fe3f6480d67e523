"""What is careless is caught, and its reproduction tells it from what is right."""

import pytest
from wrong_targets import Numpy

from lstm_fast.checks import Options

QUICK = Options(drift_steps=600, drift_seconds=60, samples=20, timing_seconds=0.2)


def reproduce(result, target, **names):
    """Run a failure's reproduction with that target."""
    assert result.reproduction
    exec(compile(result.reproduction, "<reproduction>", "exec"), {"target": target, **names})


def caught(result, careless, right=None, **names):
    """Check that a result is a failure whose reproduction tells careless from right."""
    assert result.status == "failed", result.text
    with pytest.raises(AssertionError):
        reproduce(result, careless, **names)
    reproduce(result, right or Numpy(), **names)
