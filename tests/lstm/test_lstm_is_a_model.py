"""An LSTM is a Model: what takes one takes it, with the same bits, and it does what others do."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import lstm_fast
from cases import bits
from lstm_fast import (
    LSTM,
    LSTMState,
    Model,
    ModelPool,
    ModelStream,
    SnapshotError,
    Stream,
    StreamPool,
    WeightsNotKeptError,
    checks,
    load_model,
)
from lstm_fast._program_checks import given_tensors, kept_tensors, returned_tensors
from lstm_fast.checks import Options, adapters
from lstm_fast.checks.command import as_target
from lstm_fast.stream import _restore

INPUTS, H, P, L, T, N = 5, 7, 3, 2, 6, 4
FEW = Options(drift_steps=100, samples=10, sessions=2, threads=2, runs=2)


@pytest.fixture(params=[0, P], ids=["plain", "projected"])
def lstm(implementation, request):
    return implementation.random(INPUTS, H, L, proj_size=request.param)


@pytest.fixture
def one():
    return LSTM.random(INPUTS, H, L)


def frames(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal((*shape, INPUTS)).astype(np.float32)


def by_name(state):
    """A state as the mapping that other models have."""
    names = {}
    for n in range(L):
        names |= {f"h_l{n}": state.h[n], f"c_l{n}": state.c[n]}
    return names


# ---- one kind of model, one kind of stream, one kind of pool ----


def test_the_classes(lstm):
    assert isinstance(lstm, Model)
    assert isinstance(lstm.stream(), ModelStream)
    assert isinstance(lstm.pool(1), ModelPool)
    assert isinstance(lstm.stream().copy(), Stream)
    assert lstm.stream().model is lstm.pool(1).model is lstm


def test_the_control_of_the_classes(one):
    model = Model.from_program(one.program)
    assert type(model) is Model
    assert not isinstance(model.stream(), Stream)
    assert not isinstance(model.pool(1), StreamPool)


def test_what_a_file_gives(one, tmp_path):
    one.save(tmp_path / "lstm.lfm")
    assert type(load_model(tmp_path / "lstm.lfm")) is Model
    np.savez(tmp_path / "lstm.npz", **one.state_dict())
    with pytest.raises(lstm_fast.FormatError):
        load_model(tmp_path / "lstm.npz")


def test_what_it_takes_gives_and_keeps_is_that_of_its_program(lstm):
    program = lstm.program
    assert dict(lstm.inputs) == given_tensors(program)
    assert dict(lstm.outputs) == returned_tensors(program)
    assert dict(lstm.states) == kept_tensors(program)
    assert [*lstm.states] == [*kept_tensors(program)]
    assert lstm.notes == program.notes == ()
    assert [op.source for op in program.ops] == [f"layer {n}" for n in range(L)]
    assert "layer_norm_eps" in program.ops[0].attributes  # with all of them filled in


def test_its_bytes_are_those_of_its_program(lstm, tmp_path):
    lstm.save(tmp_path / "lstm.lfm")
    data = (tmp_path / "lstm.lfm").read_bytes()
    assert data == lstm.to_bytes() == Model.from_program(lstm.program).to_bytes()
    assert data != LSTM.random(INPUTS, H, L, seed=1).to_bytes()


def test_every_public_name_of_a_model_is_one_of_an_lstm(one):
    """And so for streams and pools: none is there and broken."""
    wholes = (one, one.stream(), one.pool(1))
    for kind, whole in zip((Model, ModelStream, ModelPool), wholes, strict=True):
        for name in dir(kind):
            if not name.startswith("_"):
                getattr(whole, name)
        assert inspect.getdoc(type(whole).step if kind is not Model else LSTM.stream)


# ---- the same bits as its program's ----


@pytest.fixture
def exact(lstm):
    if lstm.backend == "reference":
        pytest.skip("the reference keeps an LSTM's state in float64 within a run")
    return lstm, Model.from_program(lstm.program, backend=lstm.backend, isa=lstm.isa)


def test_steps_have_the_bits_of_its_program(exact):
    lstm, model = exact
    alone, whole = lstm.stream(), model.stream()
    for x in frames(T):
        alone.prepare()
        assert bits(alone.step({"x": x})) == bits(whole.step({"x": x}))
        assert bits(alone.step(x)) == bits(whole.step(x))
    assert bits(alone.run({"x": frames(T)})) == bits(whole.run({"x": frames(T)}))
    assert {k: bits(v) for k, v in by_name(alone.state).items()} == {
        k: bits(v) for k, v in whole.state.items()
    }
    assert bits(alone.step(frames()[::1])) != bits(whole.step(frames(seed=1)))  # the control


def test_pools_have_the_bits_of_its_program(exact):
    lstm, model = exact
    pools = [one.pool(N) for one in (lstm, model)]
    handles = [[pool.open() for _ in range(N)] for pool in pools]
    lengths = [0, T, 2, 5]
    results = []
    for pool, own in zip(pools, handles, strict=True):
        pool.prepare(own)
        ys = [pool.step(own, {"x": frames(N)}), pool.run(own, {"x": frames(N, T)}, lengths)]
        results.append([bits(y) for y in (*ys, pool.step(own, frames(N)))])
    assert results[0] == results[1]
    assert bits(*by_name(pools[0].state(handles[0][1])).values()) == bits(
        *pools[1].state(handles[1][1]).values()
    )


def test_a_model_takes_what_its_lstm_has_kept(exact):
    lstm, model = exact
    stream = lstm.stream()
    stream.run(frames(T))
    whole = model.stream(by_name(stream.state))
    again = lstm.stream(whole.state)
    assert bits(whole.step(frames())) == bits(again.step(frames())) == bits(stream.step(frames()))


def test_by_name_it_may_be_written_in_place(lstm):
    stream, other = lstm.stream(), lstm.stream()
    out = {"y": np.empty(lstm.output_size, np.float32)}
    assert stream.step(frames(), out) is out
    assert bits(out["y"]) == bits(other.step(frames()))
    pool = lstm.pool(1)
    many = {"y": np.empty((1, lstm.output_size), np.float32)}
    assert pool.step([pool.open()], frames(1), out=many) is many
    assert bits(many["y"][0]) == bits(out["y"])


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ({}, "x: 'x' is missing"),
        ({"x": [0.0] * INPUTS, "z": 1}, "x: 'z' is unknown"),
        ({"x": [0.0] * 2}, r"input 'x' has shape \(2,\)"),
    ],
)
def test_wrong_names_change_nothing(one, x, says):
    stream = one.stream()
    stream.step(frames())
    before = bits(*stream.state)
    with pytest.raises(ValueError, match=says):
        stream.step(x)
    with pytest.raises(ValueError, match="out: 'y' is missing, 'z' is unknown"):
        stream.step(frames(), {"z": np.empty(H, np.float32)})
    assert bits(*stream.state) == before


# ---- what a session keeps ----


def test_a_state_is_a_pair_and_may_be_given_by_name(lstm):
    stream = lstm.stream()
    stream.run(frames(T))
    state = stream.state
    assert isinstance(state, LSTMState)
    given = by_name(state)
    assert {name: value.shape for name, value in given.items()} == {
        name: one.shape for name, one in lstm.states.items()
    }
    pool = lstm.pool(3)
    handles = [pool.open(given), pool.open(), pool.open(state)]
    pool.set_state(handles[1], dict(reversed(given.items())))  # by their names, in any order
    assert all(isinstance(pool.state(handle), LSTMState) for handle in handles)
    for begun in (lstm.stream(given), *map(lstm.stream, map(pool.state, handles))):
        assert bits(*begun.state) == bits(*state)
    stream.reset()
    assert bits(*stream.state) == bits(*lstm.initial_state) != bits(*state)
    stream.reset(given)
    assert bits(*stream.state) == bits(*state)
    pool.reset(handles[0])
    assert bits(*pool.state(handles[0])) == bits(*lstm.initial_state)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda s: s.pop("c_l1"), ValueError, "state: 'c_l1' is missing; expected 'h_l0'"),
        (lambda s: s.update(h=0), ValueError, "state: 'h' is unknown"),
        (lambda s: s.update(h_l0=[0.0]), ValueError, r"state 'h_l0' has shape \(1,\)"),
        (lambda s: s.update(h_l0="no"), TypeError, "state 'h_l0'"),
    ],
)
def test_wrong_states_by_name(one, change, error, says):
    given = by_name(one.initial_state)
    change(given)
    pool, stream = one.pool(1), one.stream()
    for call in (one.stream, pool.open, stream.reset):
        with pytest.raises(error, match=says):
            call(given)
    assert len(pool) == 0


def test_other_models_take_no_pair(one):
    with pytest.raises(TypeError, match="state must be a mapping"):
        Model.from_program(one.program).stream(one.initial_state)


def test_snapshots_stay_those_of_an_lstm(one):
    """A model of its program has others, though it computes the same."""
    stream, model = one.stream(), Model.from_program(one.program)
    taken = stream.snapshot()
    assert b'"version": 1' in taken
    assert b'"version": 2' in model.stream().snapshot()
    for of, other in ((one, model.stream().snapshot()), (model, taken)):
        with pytest.raises(SnapshotError, match="it is of"):
            of.stream().restore(other)
        with pytest.raises(SnapshotError, match="it is of"):
            of.pool(1).restore(other)


# ---- pickles and copies ----


def test_pickles(lstm):
    stream = lstm.stream()
    stream.run(frames(T))
    whole, session = pickle.loads(pickle.dumps((lstm, stream)))
    assert type(whole) is LSTM
    assert isinstance(session, Stream)
    assert whole.fingerprint == lstm.fingerprint
    assert bits(*session.state) == bits(*stream.state)
    assert copy.copy(lstm) is copy.deepcopy(lstm) is lstm


class _Earlier:
    """A stream as earlier versions pickled it."""

    def __init__(self, stream):
        self._stream = stream

    def __reduce__(self):
        return _restore, (self._stream.lstm, self._stream.state)


def test_pickles_of_earlier_versions(one):
    stream = one.stream()
    stream.run(frames(T))
    session = pickle.loads(pickle.dumps(_Earlier(stream)))
    assert isinstance(session, Stream)
    assert bits(*session.state) == bits(*stream.state)


# ---- what it refuses ----


@pytest.mark.parametrize("name", ["from_program", "from_bytes"])
def test_a_program_makes_no_lstm(one, name):
    given = one.program if name == "from_program" else one.to_bytes()
    for of in (LSTM, one):
        with pytest.raises(TypeError, match=rf"LSTM.{name}.* makes no LSTM.* call Model.{name}"):
            getattr(of, name)(given)
    assert type(getattr(Model, name)(given)) is Model


def test_one_type_for_all_layers(one):
    with pytest.raises(TypeError, match=r"Model\.from_program"):
        one.astype({"lstm": "int8"})


def test_it_is_immutable_as_an_lstm(one):
    with pytest.raises(AttributeError, match="an LSTM is immutable: cannot set 'program'"):
        one.program = None
    with pytest.raises(AttributeError, match="an LSTM is immutable: cannot delete '_core'"):
        del one._core


def test_without_its_weights_it_still_says_what_it_takes():
    lstm = LSTM.from_state_dict(LSTM.random(INPUTS, H, L).state_dict(), keep_weights=False)
    assert [*lstm.states] == ["h_l0", "c_l0", "h_l1", "c_l1"]
    assert lstm.stream().step({"x": frames()}).shape == (H,)
    assert lstm.notes == ()
    for call in (lambda: lstm.program, lstm.to_bytes):
        with pytest.raises(WeightsNotKeptError):
            call()


def backwards():
    weights = LSTM.random(INPUTS, H, L).state_dict()
    return LSTM.from_state_dict({f"{name}_reverse": value for name, value in weights.items()})


def both_ways():
    return LSTM.random(INPUTS, H, L, bidirectional=True)


SINGLE_STEPS = {
    "program": lambda lstm, path: lstm.program,
    "inputs": lambda lstm, path: lstm.inputs,
    "outputs": lambda lstm, path: lstm.outputs,
    "states": lambda lstm, path: lstm.states,
    "stream": lambda lstm, path: lstm.stream(),
    "stream from a state": lambda lstm, path: lstm.stream(lstm.initial_state),
    "pool": lambda lstm, path: lstm.pool(1),
    "to_bytes": lambda lstm, path: lstm.to_bytes(),
    "save": lambda lstm, path: lstm.save(path),
    "from_model": lambda lstm, path: adapters.from_model(lstm),
}


@pytest.mark.parametrize("name", SINGLE_STEPS)
@pytest.mark.parametrize(
    ("make", "what"), [(both_ways, "is bidirectional"), (backwards, "runs backwards")]
)
def test_without_single_steps(make, what, name, tmp_path):
    path = tmp_path / "lstm.lfm"
    with pytest.raises(ValueError, match=f"this LSTM {what}.* call it on whole sequences instead"):
        SINGLE_STEPS[name](make(), path)
    assert not path.exists()


@pytest.mark.parametrize("make", [both_ways, backwards])
def test_the_rest_of_what_has_no_single_steps(make):
    lstm = make()
    assert isinstance(lstm, Model)
    assert lstm.notes == ()
    assert lstm.nbytes > 0
    assert len(lstm.fingerprint) == 64
    assert type(pickle.loads(pickle.dumps(lstm))) is LSTM
    assert lstm(frames(N, T))[0].shape == (N, T, H * lstm.num_directions)


# ---- what takes a Model ----


def test_checks_take_it_as_an_lstm_and_as_any_model(one):
    model, only = Model.from_program(one.program), ["agreement", "chunks"]
    of_lstm, of_any = adapters.from_lstm(one), adapters.from_model(one)
    for target, reference in ((of_lstm, model), (of_any, model), (of_any, one)):
        report = checks.run(target, reference, FEW, only=only)
        assert report.passed, str(report)
    assert "h and c of every layer" in report["agreement"].text  # with an LSTM's own bounds
    assert isinstance(as_target(one), adapters.LstmTarget)
    assert checks.agreement(of_any, LSTM.random(INPUTS, H, L, seed=1)).failed  # the control


def test_evaluate_takes_it_as_an_lstm_and_as_any_model(one):
    pytest.importorskip("scipy")
    from lstm_fast import evaluate

    head, labels = (np.eye(3, H), np.zeros(3)), "abc"
    as_lstm = evaluate.classifier(one, head, labels)
    as_model = evaluate.classifier(Model.from_program(one.program), head, labels)
    sequences = [frames(n, seed=n) for n in (1, 4, 9)]
    assert as_lstm.batch(sequences) == as_model.batch(sequences)
    assert [as_lstm(xs) for xs in sequences] == as_lstm.batch(sequences)
    assert isinstance(as_lstm, evaluate.Classifier)
    assert isinstance(evaluate.classifier(one.stream(), head, labels), evaluate.Classifier)
    with pytest.raises(ValueError, match="of a whole model, not of an LSTM"):
        evaluate.classifier(one, head, labels, over="max")
    with pytest.raises(TypeError, match="expected an LSTM, a Model, or a stream of one, found int"):
        evaluate.classifier(3, head, labels)
