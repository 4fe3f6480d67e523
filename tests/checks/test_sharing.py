"""Sessions that share one state: the report says so, before any mistake in numbers."""

from __future__ import annotations

import numpy as np
import pytest
import wrong_targets as wrong
from caught import QUICK
from wrong_targets import ONE_LAYER, Numpy

from lstm_fast import LSTM, checks
from lstm_fast.checks import adapters
from lstm_fast.checks._sharing import ONE_STATE, SOMETHING, sharing


def one_for_all():
    """Return a target that hands out the same session each time."""
    stream = LSTM.from_weights(ONE_LAYER).stream()
    return adapters.from_sessions(lambda: stream, ONE_LAYER.input_size)


def test_one_state_for_all_is_said_before_all_else():
    report = checks.run(one_for_all(), ONE_LAYER, QUICK, only=["reset", "isolation"])
    for name in ("reset", "isolation"):
        assert report[name].failed
        assert report[name].note.startswith(ONE_STATE)
        assert report[name].diagnosis == ()
    assert "nearest" not in str(report)
    assert "see determinism" not in str(report)


def test_determinism_is_pointed_at_where_it_ran():
    report = checks.run(one_for_all(), ONE_LAYER, QUICK, only=["determinism", "reset"])
    assert "see determinism" in report["reset"].text
    assert report["determinism"].note.startswith(ONE_STATE)


def test_a_part_that_is_shared_is_no_whole_state():
    assert sharing(Numpy(wrong.OneHForAll, ONE_LAYER)).startswith(SOMETHING)


@pytest.mark.parametrize("kind", [wrong.ForgetsToResetC, wrong.Session])
def test_sessions_of_their_own_share_nothing(kind):
    assert sharing(Numpy(kind, ONE_LAYER)) == ""


def test_chance_is_no_sharing():
    rng = np.random.default_rng(0)

    class Noisy(wrong.Session):
        def step(self, x):
            return super().step(x) + rng.normal(0, 0.1)

    assert sharing(Numpy(Noisy, ONE_LAYER)) == ""


def test_a_module_that_keeps_its_state_on_itself():
    torch = pytest.importorskip("torch")

    class Keeps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.kept = torch.nn.LSTM(5, 8), None

        def forward(self, x, state):
            y, self.kept = self.lstm(x, self.kept)
            return y, None

    torch.manual_seed(0)
    module = Keeps()
    target = adapters.from_torch(module, 5)
    report = checks.run(target, module.lstm, QUICK, only=["agreement", "reset", "isolation", "nan"])
    for name in ("agreement", "reset", "isolation", "nan"):
        assert ONE_STATE in report[name].note
        assert "keeps its state on itself" in report[name].note
    assert "the likely cause is that sessions share one state" in report["isolation"].text
    assert "batch_first" not in report["isolation"].text


def test_a_batch_that_meets_a_state_of_another_size_names_sharing():
    class Batch(wrong.Session):
        def step(self, xs):
            raise ValueError("Expected hidden[0] size (1, 2, 8), got [1, 1, 8]")

    class Batches(Numpy):
        def batch(self, n):
            return Batch(self)

    (result,) = checks.run(Batches(), None, QUICK, only=["isolation"]).results
    assert result.failed
    assert "sessions share one state" in result.text
