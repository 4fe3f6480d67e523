"""What shows late or only with large frames is found, named, and its first step is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from caught import QUICK
from planted import Port
from plants import LATER, Plant, grid

from lstm_fast import LSTM, Cell, checks
from lstm_fast.checks import adapters
from lstm_fast.checks.charging import charging, rising
from lstm_fast.checks.diagnosis import Evidence, diagnose, gather
from lstm_fast.checks.evidence import CHARGED, RISING, gather_later
from lstm_fast.checks.oracle import Oracle

ONE, TWO = (6, 10, 1), (12, 12, 2)


def weights_for(shape, seed=0, **options):
    return LSTM.random(*shape, seed=seed, **options).weights


def found_in(shape, hidden, flaws, seed=0):
    weights = weights_for(shape, seed)
    evidence = gather(Port(weights, hidden=hidden, **flaws), weights, seed=seed + 100)
    return diagnose(evidence, weights, pairs=False), evidence


def is_named(found, id):
    assert not found.agrees
    assert [one.mistake for one in found] == [id], found.note
    assert found[0].confident
    assert f"first shows at step {found[0].first_step} " in str(found[0])


CASES = [*grid(LATER, (ONE, TWO), every=4)]


@pytest.mark.parametrize(("plant", "shape", "hidden"), CASES)
def test_each_is_named_and_nothing_else(plant, shape, hidden):
    found, _ = found_in(shape, hidden, plant.flaws)
    is_named(found, plant.id)


OF_THREE = [
    Plant("residual:layers1-2", {"residual": (1, 2)}),
    Plant("residual:layer2", {"residual": (2,)}),
    Plant("layer_states_swapped:carried@0-2", {"take_of": (2, 1, 0)}),
    Plant("layer_states_shared", {"shared": "hc"}),
    Plant("scale:between:0.5", {"between": 0.5}),
    Plant("hard_sigmoid:0.2:f@layer1", {"gates": {"f": "0.2"}, "only_layer": 1}),
]


@pytest.mark.parametrize("plant", OF_THREE, ids=str)
@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
def test_three_layers(plant, hidden):
    found, _ = found_in((8, 8, 3), hidden, plant.flaws, seed=3)
    is_named(found, plant.id)


@pytest.mark.parametrize("bound", [1.5, 3.0, 10.0, 30.0])
def test_the_first_step_of_a_clipped_cell_is_where_the_cell_gets_there(bound):
    found, evidence = found_in(ONE, False, {"cell_clip": bound})
    is_named(found, f"cell_clip:{bound:g}")
    for recording, label in zip(evidence.recordings, evidence.labels, strict=True):
        if label in (RISING, CHARGED):
            _, cs = Oracle(weights_for(ONE)).run(recording.xs)
            beyond = np.abs(cs).max(axis=(1, 2)) > bound + 0.01  # more than rounding
            if beyond.any():
                assert found[0].first_step == int(np.argmax(beyond))
                assert label in found[0].shows
                break
    else:
        raise AssertionError("no cell got there")


@pytest.mark.parametrize("steps", [3, 11, 23])
@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
def test_the_first_step_of_a_timer_is_its_number(steps, hidden):
    found, _ = found_in(ONE, hidden, {"timer": steps})
    is_named(found, f"reset_by_timer:{steps}")
    assert found[0].first_step == steps


@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
def test_a_timer_that_goes_off_late_is_named(hidden):
    weights = weights_for(ONE)
    port = Port(weights, timer=1000, hidden=hidden)
    evidence = gather_later(port, weights, seconds=60)
    found = diagnose(evidence, weights, pairs=False)
    is_named(found, "reset_by_timer:1000")
    assert found[0].first_step == 1000
    assert gather_later(Port(weights, hidden=hidden), weights, steps=1200, seconds=60) is None


def test_what_the_issue_names_stands_in_the_report():
    flaws = {
        "cell_clip:3": {"cell_clip": 3.0},
        "reset_by_timer:100": {"timer": 100},
        "layer_states_swapped:carried": {"take_of": (1, 0)},
        "state_rounded:float16:hc": {"kept": "float16"},
    }
    weights = weights_for(TWO)
    for id, flaw in flaws.items():
        result = checks.run(Port(weights, **flaw), weights, QUICK, only=["agreement"])["agreement"]
        assert [one["mistake"] for one in result.diagnosis] == [id]
        assert isinstance(result.diagnosis[0]["first_step"], int)
        assert "It first shows at step" in result.details()


def test_two_of_which_one_shows_with_large_frames_alone():
    weights = weights_for(ONE)
    port = Port(weights, cell_clip=10.0, bias="none")
    (result,) = checks.run(port, weights, QUICK, only=["agreement"]).results
    assert [one["mistake"] for one in result.diagnosis] == ["bias:none"]
    assert "with large ones something else is wrong, too" in result.details()
    (alone,) = checks.run(Port(weights, bias="none"), weights, QUICK, only=["agreement"]).results
    assert "something else" not in alone.details()


@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
def test_agreement_makes_cells_and_frames_large(hidden):
    weights = weights_for(ONE)
    right = checks.agreement(Port(weights, hidden=hidden), weights)
    assert right.status == "passed", right.text
    (cells,) = right.numbers["largest_cells"]
    assert cells > 20
    assert f"cells became as large as {cells:.2g}, " in right.text
    ordinary = [np.random.default_rng(0).uniform(-2, 2, (60, 6))]
    for flaws in ({"cell_clip": 3.0}, {"cell_clip": 10.0}, {"input_clip": 8.0}, {"gate_clip": 6.0}):
        clipped = Port(weights, hidden=hidden, **flaws)
        assert checks.agreement(clipped, weights).failed
        assert checks.agreement(clipped, weights, sequences=ordinary).status == "passed"
    beyond = checks.agreement(Port(weights, hidden=hidden, cell_clip=200.0), weights)
    assert beyond.status == "passed"
    assert "a clip beyond would not show" in beyond.text


@pytest.mark.parametrize("shape", [(6, 10, 1), (40, 64, 1), (12, 12, 2), (3, 100, 1)], ids=str)
def test_charging_frames_lead_cells_to_tens(shape):
    weights = weights_for(shape, 5)
    sequences = charging(weights)
    for frames in [*sequences, rising(shape[0])]:
        made = eval(frames.code, {"np": np})
        assert made.dtype == np.float32
        assert np.array_equal(made, frames.array)
        assert np.array_equal(eval(frames.first(9).code, {"np": np}), frames.array[:9])
    largest = max(np.abs(Oracle(weights).run(one.array)[1][:, 0]).max() for one in sequences)
    assert largest > 40


def test_cells_that_cannot_become_large_are_said_to_be_small():
    lstm = LSTM.random(6, 10, cell=Cell(coupled="forget"))
    result = checks.agreement(adapters.from_lstm(lstm), lstm)
    assert result.status == "passed"
    assert result.numbers["largest_cells"][0] <= 1


@pytest.mark.parametrize("label", [RISING, CHARGED])
def test_noise_in_large_frames_alone_is_not_called_a_mistake(label):
    weights = weights_for(ONE)
    evidence = gather(Port(weights), weights)
    rng = np.random.default_rng(1)
    noisy = [
        replace(one, cs=one.cs + (rng.uniform(-1, 1, one.cs.shape) * 0.1).astype("f"))
        if its == label
        else one
        for one, its in zip(evidence.recordings, evidence.labels, strict=True)
    ]
    found = diagnose(Evidence(tuple(noisy), evidence.starts, evidence.labels), weights)
    assert not found.agrees
    assert found == []


@pytest.mark.parametrize("shape", [ONE, TWO], ids=str)
def test_what_is_nearest_is_said_with_how_far_it_is(shape):
    found, _ = found_in(shape, False, {"float16_activations": True, "bias": "none"})
    assert found == []
    near = found.nearest
    assert near.mistake == "bias:none"
    assert f"the nearest is {near.mistake}: {near.words}; it leaves " in found.note
    assert near.residual_after < near.residual_before / 2
    assert near.residual_after > near.tolerance / 10
    weights = weights_for(shape)
    other = diagnose(gather(Port(weights_for(shape, 9)), weights), weights, pairs=False)
    assert other == []
    assert "nothing comes near" in other.note or "the nearest is" in other.note


def test_evidence_counts_its_parts():
    weights = weights_for(ONE)
    (one, *_) = gather(Port(weights), weights, steps=3).recordings
    for name in ("labels", "done"):
        with pytest.raises(ValueError, match=f"1 recordings and 2 {name}"):
            Evidence((one,), **{name: (0, 0)})
