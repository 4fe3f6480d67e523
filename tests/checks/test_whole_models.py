"""The checks of whole models: what is right passes, and each planted fault is found and named."""

from __future__ import annotations

import careless_models as careless
import numpy as np
import pytest
from careless_models import MODEL, Batch, Session, target
from caught import reproduce
from passing import LOGIC, QUICK
from program_cases import Builder, chain, rich

from lstm_fast import LSTM, Model, checks
from lstm_fast.checks import Options, TargetError, _moved, adapters
from lstm_fast.checks.command import as_target
from lstm_fast.checks.layout import Layout

FEW = Options(drift_steps=300, samples=10, timing_seconds=0.2, runs=2, threads=2, sessions=2)


def report(made, reference=MODEL, only=LOGIC):
    return checks.run(made, reference, FEW, only=only)


# ---- what is right -------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("make", [chain, rich, careless.program])
def test_ours_pass(make, backend):
    model = Model.from_program(make(), backend=backend)
    only = LOGIC if backend is None else ["agreement", "chunks"]
    found = report(adapters.from_model(model), model, only)
    assert found.passed, str(found)
    assert not [one for one in found.results if one.status == "skipped"]
    assert found.facts["state_is_seen"]


def test_all_checks_of_another_ones_sessions():
    found = checks.run(target(), MODEL, QUICK)
    assert found.passed, str(found)
    assert [one.name for one in found.results] == list(checks.NAMES)
    assert "every output and the state" in found["agreement"].text
    assert "rows of a batch" in found["isolation"].text


def test_small_weights_are_judged_as_they_are_stored():
    for types in ("float16", "int8", {"lstm": "int8", "dense": "float16"}):
        model = MODEL.astype(types)
        made = adapters.from_model(model)
        assert report(made, model, ["agreement"]).passed
        assert report(made, MODEL, ["agreement"]).exit_status == 1  # the control


# ---- planted faults ------------------------------------------------------------------------------

FAULTS = {
    "a state that sessions share": (
        target(careless.Shared),
        "isolation",
        "take turns change each other",
    ),
    "a reset that forgets c": (
        target(careless.ForgetsToResetC),
        "reset",
        "initial state of 'a.c':",
    ),
    "a reset that forgets history": (
        target(careless.ForgetsToResetHistory),
        "reset",
        "initial state of 'sound.history':",
    ),
    "a batch whose rows depend on each other": (
        target(batch=careless.MeanOfBatch),
        "isolation",
        "a row depends on what the others hold",
    ),
    "a batch where NaN spreads": (
        target(batch=careless.SpoiledBatch),
        "nan",
        "NaN in one row of a batch changes another row",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault):
    made, name, says = FAULTS[fault]
    careless.Shared.common = None
    result = report(made, only=[name])[name]
    assert result.status == "failed"
    assert says in f"{result.text} {result.note}"
    careless.Shared.common = None
    with pytest.raises(AssertionError):
        reproduce(result, made)
    reproduce(result, target())


MISTAKES = {
    careless.NotCarried: "not_carried:all",
    careless.NoHistory: "not_kept:history",
    careless.WrongEnd: "history_of_the_wrong_end:sound",
    careless.SwapsStates: "states_swapped:a.h,a.c",
    careless.Unscaled: "input_scale:32768",
    careless.OneLate: "one_step_late",
}


@pytest.mark.parametrize("session", MISTAKES, ids=lambda one: one.__name__)
def test_mistakes_are_named(session):
    made = target(session, batch=None)
    result = report(made, only=["agreement"])["agreement"]
    assert result.status == "failed"
    assert [one["mistake"] for one in result.diagnosis] == [MISTAKES[session]]
    first = result.numbers["first_step_of_outputs"]
    assert first == (1 if session.step is Session.step else 0)
    with pytest.raises(AssertionError):
        reproduce(result, made)
    reproduce(result, target())


def test_what_is_not_known_is_said_to_be_so():
    result = report(target(careless.Rough), only=["agreement"])["agreement"]
    assert result.status == "failed"
    assert result.numbers["first_parting"]["where"] == "output 'p'[0]"
    assert not result.diagnosis
    assert "nothing known explains it" in result.note


@pytest.mark.parametrize("seed", range(4))
def test_single_steps_are_within_a_derived_bound(seed):
    for model in (Model.from_program(chain(seed)), MODEL.astype("float16")):
        result = report(adapters.from_model(model), model, ["agreement"])["agreement"]
        assert result.numbers["steps_with_a_derived_bound"] == result.numbers["steps"]
        assert 0 < result.numbers["of_bound"] <= 1


def test_the_derived_bound_alone_finds_what_is_off(monkeypatch):
    monkeypatch.setattr(_moved, "FACTOR", 1e9)
    result = report(target(careless.Rough), only=["agreement"])["agreement"]
    assert result.status == "failed"
    assert result.text.startswith("from the state before, they part at step 0, in output 'p'[0]")
    right = report(target(), only=["agreement"])["agreement"]
    assert right.status == "passed"
    assert right.warnings == ("agreement could judge only 0 of 48 steps",)


def test_errors_that_grow_are_drift():
    class Grows(Session):
        steps = 0

        def step(self, x):
            y = super().step(x)
            self.steps += 1
            return {**y, "p": y["p"] + np.float32(1e-6 * max(0, self.steps - 60))}

    result = report(target(Grows, batch=None), only=["drift"])["drift"]
    assert result.status == "failed"
    assert "for the first time" in result.text
    assert result.numbers["of_allowed_first_tenth"] <= 1 < result.numbers["of_allowed_last_tenth"]
    with pytest.raises(AssertionError):
        reproduce(result, target(Grows, batch=None), reference=MODEL)
    reproduce(result, target(), reference=MODEL)


def test_the_state_is_compared_as_well():
    class Tells(Session):
        @property
        def state(self):
            return {**self.kept, "a.c": self.kept["a.c"] + np.float32(1e-3)}

    result = report(target(Tells, batch=None), only=["agreement"])["agreement"]
    assert result.numbers["first_parting"]["where"].startswith("state 'a.c'")


def test_a_reset_that_forgets_what_no_output_shows():
    class Counts(Session):
        steps = 0

        @property
        def state(self):
            return {**self.kept, "steps": np.array([self.steps])}

        def step(self, x):
            self.steps += 1
            return super().step(x)

    result = report(target(Counts, batch=None), only=["reset"])["reset"]
    assert result.status == "failed"
    assert "initial state of 'steps': state 'steps' differs from step 0 on" in result.text


# ---- what cannot be checked ----------------------------------------------------------------------


def test_a_model_of_integers_holds_no_nan():
    build = Builder()
    row = build.op("embedding", build.weights(3, 4), build.input("token", (2,), "int64"))
    build.output("y", row)
    model = Model.from_program(build.program())
    found = report(adapters.from_model(model), model)
    assert found.passed, str(found)
    skipped = {one.name: one.text for one in found.results if one.status == "skipped"}
    assert skipped == {
        "nan": "its inputs hold no floats, and so no NaN",
        "reset": "it keeps nothing from one step to the next",
    }


def test_without_a_reference_the_report_is_incomplete():
    found = checks.run(target(), options=FEW, only=["agreement", "reset"])
    assert found.exit_status == 3
    assert checks.run(target(), None, FEW, only=["agreement", "reset"]).exit_status == 0


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (Model.from_program(chain()), r"the reference takes x \(5,\) float32 and returns y"),
        (LSTM.random(3, 4), "the reference takes 3 values per frame"),
    ],
)
def test_another_model_is_refused(reference, says):
    with pytest.raises(ValueError, match=says):
        checks.run(target(), reference, FEW)


def test_a_model_may_be_the_reference_of_flat_frames():
    """A target that knows no names, as one in another language."""
    model = Model.from_program(chain())

    class Flat:
        def __init__(self):
            self.stream = model.stream()
            self.reset, self.step = self.stream.reset, self.stream.step

    made = adapters.from_sessions(Flat, 5)
    assert report(made, model, ["agreement", "drift"]).passed
    other = Model.from_program(chain(seed=1))
    assert report(made, other, ["agreement"]).exit_status == 1


class Wrong(Session):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def step(self, x):
        return self.result


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"p": np.zeros(1)}, "no output 'features'"),
        ({"p": np.zeros(2), "features": np.zeros(6)}, r"output 'p' is float64 of shape \(2,\)"),
        (np.zeros(7), "expected a mapping of 'p', 'features'"),
    ],
)
def test_what_is_no_output_is_told(result, says):
    with pytest.raises(TargetError, match=says):
        checks.run(target(lambda: Wrong(result)), MODEL, FEW)


# ---- frames --------------------------------------------------------------------------------------


def test_integers_are_drawn_from_what_is_valid():
    layout = Layout.of(Model.from_program(rich()))
    assert layout.integers == {"token": (-5, 5)}
    frames = np.random.default_rng(0).uniform(-2, 2, (4000, layout.input_size)).astype(np.float32)
    values = layout.values(frames)
    assert values["audio"].shape == (4000, 2, 8)
    assert set(values["token"].tolist()) == set(range(-5, 5))
    extremes = np.float32([np.nan, np.inf, -np.inf, 1e30, 2, -2])
    many = np.repeat(extremes[:, None], layout.input_size, axis=1)
    assert layout.values(many)["token"].tolist() == [0, 4, -5, 4, 4, -5]


def test_a_model_is_a_target_wherever_an_lstm_is():
    assert as_target(MODEL).model is MODEL
    assert report(as_target(MODEL), only=["determinism", "agreement"]).passed
    with pytest.raises(TypeError, match=r"expected an lstm_fast\.Model, found Program"):
        adapters.from_model(MODEL.program)
    lstm = LSTM.random(2, 3)  # which is a Model, too
    assert report(adapters.from_model(lstm), lstm, ["determinism", "agreement"]).passed


def test_a_batch_of_ours_is_a_pool():
    made = adapters.from_model(MODEL)
    assert isinstance(made.batch(2).step(np.zeros((2, 12), np.float32)), np.ndarray)
    assert target(batch=None).batch(2) is None
    assert isinstance(Batch(1).sessions[0], Session)
