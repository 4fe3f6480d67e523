"""A stack of LSTM layers as a program: the same bits, also as a `.lfm` file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from program_cases import BACKENDS

from lstm_fast import LSTM, Model, WeightsNotKeptError
from variant_cases import make, variants

STEPS = 5


@pytest.fixture
def exact(implementation):
    """What must have the same bits."""
    if implementation.backend == "reference":
        pytest.skip("the reference computes in float64, and keeps an LSTM's state so within a run")
    if implementation.backend not in BACKENDS:
        pytest.skip("no whole models here")
    return implementation


def as_model(lstm, **options):
    return Model.from_program(lstm.program, backend=lstm.backend, isa=lstm.isa, **options)


def state_bits(lstm, stream):
    """Of a stream of either kind, layer by layer."""
    if isinstance(stream.state, dict):
        return {name: value.tobytes() for name, value in stream.state.items()}
    h, c = stream.state
    return {
        f"{kind}_l{n}": rows[n].tobytes()
        for n in range(lstm.num_layers)
        for kind, rows in (("h", h), ("c", c))
    }


@given(variant=variants())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_program_has_the_bits_of_its_lstm(exact, variant):
    lstm = make(exact, variant.weights)
    model, xs = as_model(lstm), variant.frames(STEPS)
    alone, whole = lstm.stream(), model.stream()
    assert state_bits(lstm, alone) == state_bits(lstm, whole)  # also where it was trained
    assert alone.run(xs).tobytes() == whole.run(xs).tobytes()
    assert state_bits(lstm, alone) == state_bits(lstm, whole)


def test_other_weights_have_other_bits(implementation):
    """The control."""
    one, other = (implementation.random(3, 5, 2, seed=seed) for seed in (0, 1))
    xs = np.ones((STEPS, 3), np.float32)
    assert as_model(one).stream().run(xs).tobytes() != other.stream().run(xs).tobytes()


@pytest.mark.parametrize("weight_dtype", ["float16", "int8"])
def test_small_weights_have_the_same_bits(exact, weight_dtype):
    """int8: of one layer; in a program each layer's x has a scale of its own."""
    lstm = exact.random(19, 23, 1 if weight_dtype == "int8" else 2).astype(
        weight_dtype, keep_weights=True
    )
    xs = np.random.default_rng(0).standard_normal((STEPS, 19)).astype(np.float32)
    model = as_model(lstm, weight_dtype=weight_dtype)
    assert model.stream().run(xs).tobytes() == lstm.stream().run(xs).tobytes()


def test_it_goes_through_a_file(tmp_path):
    lstm = LSTM.random(3, 5, 2)
    Model.from_program(lstm.program).save(tmp_path / "lstm.lfm")
    model = Model.from_bytes((tmp_path / "lstm.lfm").read_bytes())
    assert {name: one.shape for name, one in model.states.items()} == {
        f"{kind}_l{n}": (5,) for n in (0, 1) for kind in "hc"
    }
    assert (list(model.inputs), list(model.outputs)) == (["x"], ["y"])
    assert [op.source for op in model.program.ops] == ["layer 0", "layer 1"]


def test_what_has_no_single_steps_has_no_program():
    with pytest.raises(ValueError, match="cannot be stepped frame by frame"):
        assert LSTM.random(3, 5, bidirectional=True).program


def test_without_its_weights_it_has_no_program():
    weights = LSTM.random(3, 5).state_dict()
    lstm = LSTM.from_state_dict(weights, keep_weights=False)
    with pytest.raises(WeightsNotKeptError):
        assert lstm.program


def test_sessions_know_their_lstm_under_either_name():
    lstm = LSTM.random(3, 5)
    stream, pool = lstm.stream(), lstm.pool(1)
    assert stream.model is stream.lstm is pool.model is pool.lstm is lstm
