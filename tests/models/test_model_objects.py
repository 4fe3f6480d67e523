"""What a model says of itself, what it keeps, and which backends run it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from program_cases import BACKENDS, PROGRAMS, Builder

import lstm_fast
from lstm_fast import LSTM, FormatError, Model, _backends

MODELS = {name: Model.from_program(make(), backend="reference") for name, make in PROGRAMS.items()}


def test_a_model_says_what_it_is():
    model = MODELS["rich"]
    assert list(model.inputs) == ["audio", "token"]
    assert (model.inputs["audio"].shape, model.inputs["token"].kind) == ((2, 8), "int64")
    assert model.outputs["is_high"].kind == "bool"
    assert model.states["audio.history"].shape == (2, 3)
    assert model.notes == ("one note", "another, with an umlaut: ü")
    assert model.backend == "reference"
    assert model.nbytes == sum(v.size * 8 for v in model.program.constants.values())
    assert "audio (2, 8)" in repr(model)
    assert "ModelStream of Model(" in repr(model.stream())
    assert model.stream().model is model
    assert copy.copy(model) is copy.deepcopy(model) is model
    again = pickle.loads(pickle.dumps(model))
    assert again.fingerprint == model.fingerprint
    with pytest.raises(AttributeError, match="immutable"):
        model.notes = ()
    with pytest.raises(AttributeError, match="immutable"):
        del model._core


def test_a_model_keeps_no_array_of_the_callers():
    build = Builder()
    weight = np.ones((2, 2), np.float32)
    build.output("y", build.op("dense", build.input("x", (2,)), build.constant(weight)))
    program = build.program()
    model = Model.from_program(program)
    before = model.stream().step([1, 1]).tolist()
    for value in program.constants.values():
        value[...] = 7
    assert model.stream().step([1, 1]).tolist() == before == [2, 2]
    with pytest.raises(ValueError, match="read-only"):
        next(iter(model.program.constants.values()))[...] = 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_of_a_model_cannot_be_changed(name):
    """Nor what a reader has made of it; and it can be pickled and copied as any other."""
    made = MODELS[name]
    for model in (made, Model.from_bytes(made.to_bytes())):
        program = model.program
        for op in program.ops:
            with pytest.raises(TypeError, match="assignment"):
                op.attributes["axis"] = 1
        with pytest.raises(TypeError, match="assignment"):
            program.constants[0] = np.zeros(1, np.float32)
        for value in (*program.constants.values(), *(one.initial for one in program.states)):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 1
        for again in (pickle.loads(pickle.dumps(program)), copy.deepcopy(program)):
            assert Model.from_program(again).fingerprint == made.fingerprint
            assert again.ops[0].attributes == program.ops[0].attributes
            assert repr(again.ops[0].attributes) == repr(dict(program.ops[0].attributes))


def makers(tmp_path):
    """The three ways to make a model."""
    path = tmp_path / "a.lfm"
    MODELS["chain"].save(path)
    return [
        lambda **options: Model.from_program(PROGRAMS["chain"](), **options),
        lambda **options: Model.from_bytes(path.read_bytes(), **options),
        lambda **options: lstm_fast.load_model(path, **options),
    ]


def test_backends_and_isas_are_chosen_as_for_an_lstm(tmp_path, monkeypatch):
    best = makers(tmp_path)[0]()
    assert best.backend == BACKENDS[0]
    for make in makers(tmp_path):
        for backend in BACKENDS:
            assert make(backend=backend).backend == backend
        for isa in [one.partition(":")[2] for one in lstm_fast.available() if ":" in one]:
            if "native" in BACKENDS:
                assert make(backend="native", isa=isa).isa == isa
        with pytest.raises(ValueError, match="no backend 'fast'; choose one of native, numba"):
            make(backend="fast")
        with pytest.raises(TypeError, match="backend must be a string"):
            make(backend=1)
        with pytest.raises(ValueError, match="isa='avx2' is for the native backend"):
            make(backend="reference", isa="avx2")
        monkeypatch.setenv("LSTM_FAST_BACKEND", "reference")
        assert make().backend == "reference"
        monkeypatch.setenv("LSTM_FAST_BACKEND", "slow")
        with pytest.raises(ValueError, match="LSTM_FAST_BACKEND='slow' is not a backend"):
            make()
        monkeypatch.delenv("LSTM_FAST_BACKEND")


class Refusing:
    """A backend that computes nothing."""

    name = "native"

    @staticmethod
    def isas():
        return {}

    @staticmethod
    def build_program(*arguments):
        raise _backends.CannotComputeError("operations of this kind")


def test_a_backend_that_cannot_compute_a_program_is_passed_over(monkeypatch):
    pytest.importorskip("numba")  # without it a warning says that the reference serves
    load = _backends.load
    monkeypatch.setattr(
        _backends, "load", lambda name: Refusing if name == "native" else load(name)
    )
    assert Model.from_program(PROGRAMS["chain"]()).backend != "native"
    with pytest.raises(ValueError, match="the 'native' backend has no operations of this kind"):
        Model.from_program(PROGRAMS["chain"](), backend="native")


def test_a_pickle_chooses_a_backend_anew(monkeypatch):
    """Unless one was named; and where that one is missing it says so and takes another."""
    named = Model.from_program(PROGRAMS["chain"](), backend="reference", weight_dtype="int8")
    any_backend = named.astype("float16")
    assert any_backend.backend == "reference"
    data = pickle.dumps(named)
    again = pickle.loads(data)
    assert (again.backend, again.weight_dtype) == ("reference", "int8")
    monkeypatch.setenv("LSTM_FAST_BACKEND", "reference")
    chosen = pickle.dumps(Model.from_program(PROGRAMS["chain"]()))
    monkeypatch.delenv("LSTM_FAST_BACKEND")
    assert pickle.loads(chosen).backend == BACKENDS[0]
    load = _backends.load

    def missing(name):
        if name == "reference" and not seen:
            seen.append(name)
            raise lstm_fast.BackendUnavailableError("it is missing")
        return load(name)

    seen = []
    monkeypatch.setattr(_backends, "load", missing)
    with pytest.warns(RuntimeWarning, match="it is missing; unpickled for the best backend here"):
        again = pickle.loads(data)
    assert again.weight_dtype == "int8"


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match="load_model"):
        Model("model.onnx")
    with pytest.raises(TypeError, match="expected a Program, found dict"):
        Model.from_program({})
    with pytest.raises(TypeError, match="bytes, found str"):
        Model.from_bytes("abc")
    with pytest.raises(TypeError, match=r"call model.stream"):
        lstm_fast.ModelStream(LSTM.random(1, 1))
    with pytest.raises(OSError, match=r"none.lfm"):
        lstm_fast.load_model(tmp_path / "none.lfm")
    with pytest.raises(FormatError, match="it is a directory with nothing in it"):
        lstm_fast.load_model(tmp_path)
    other = tmp_path / "model.pt"
    other.write_bytes(b"abc")
    with pytest.raises(FormatError, match=r"are read from .onnx, .keras, .nam, .*and .lfm files"):
        lstm_fast.load_model(other)
