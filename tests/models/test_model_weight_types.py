"""Float16 and int8 weights of whole models: which operations have them, and what they compute."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from program_cases import BACKENDS, PROGRAMS, Builder, Models, frames, lstm_layer

from lstm_fast import LSTM
from lstm_fast.program import ReadOnly

BOTH = pytest.mark.parametrize("dtype", ["float16", "int8"])


@pytest.fixture(scope="module", params=BACKENDS)
def models(request):
    return Models(request.param)


def layer(seed=3):
    """One LSTM layer alone, and its weights under PyTorch's names."""
    build = Builder(seed)
    build.output("y", lstm_layer(build, build.input("x", (5,)), "a", 7))
    program = build.program()
    numbers = program.ops[0].inputs
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    weights = {name: program.constants[n] for name, n in zip(names, numbers[3:6], strict=True)}
    return program, {**weights, "bias_hh_l0": np.zeros(28, np.float32)}


@BOTH
def test_a_layer_is_that_lstm_to_the_bit(models, dtype):
    program, weights = layer()
    xs = frames("chain", 30)["x"]
    lstm = LSTM.from_state_dict(weights, weight_dtype=dtype, backend=models.backend)
    model = models.make(program, weight_dtype=dtype)
    ys = model.stream().run(xs)
    assert (ys == lstm.stream().run(xs)).all()
    assert (ys != models.make(program).stream().run(xs)).any()  # the control: it is another model


def test_float16_products_are_those_of_rounded_weights(models):
    build, rounded = Builder(1), Builder(1)
    for one in (build, rounded):
        x = one.input("x", (5,))
        weight, bias = one.weights(4, 5), one.weights(4)
        if one is rounded:
            one.constants[weight] = one.constants[weight].astype(np.float16).astype(np.float32)
        one.output("y", one.op("dense", x, weight, bias))
    x = frames("chain", 1)["x"][0]
    found = models.make(build.program(), weight_dtype="float16").stream().step(x)
    assert (found == models.make(rounded.program()).stream().step(x)).all()
    assert (found != models.make(build.program()).stream().step(x)).any()


def test_a_shared_constant_is_stored_for_each_operation():
    build = Builder(2)
    x, weight = build.input("x", (4,)), build.weights(4, 4)
    build.output("a", build.op("dense", x, weight))
    build.output("b", build.op("dense", x, weight))
    model = Models("reference").make(build.program(), weight_dtype={1: "float16"})
    y = model.stream().step([1.0, 2.0, 3.0, 4.0])
    assert (y["a"] != y["b"]).any()
    assert np.abs(y["a"] - y["b"]).max() < 10 * 2.0**-11 * np.abs(build.constants[weight]).max()


def test_what_a_model_says_of_its_weights(models):
    chain = models["chain"]  # dense, relu, lstm, lstm, dense, softmax
    assert chain.weight_dtype == "float32"
    sources = [op.source for op in chain.program.ops]
    for given, expected in (
        ("float16", "float16"),
        ("int8", "int8"),
        ({}, "float32"),
        ({0: "float32"}, "float32"),
        ({2: "int8", 3: "int8"}, "int8"),
        ({sources[2]: "int8", np.int64(3): "int8"}, "int8"),
        ({0: "float16", 2: "float16", 3: "float16", 4: "float16"}, "float16"),
        ({0: "float16", sources[3]: "int8"}, {0: "float16", 3: "int8"}),
    ):
        model = chain.astype(given)
        assert model.weight_dtype == expected or dict(model.weight_dtype) == expected
        assert isinstance(model.weight_dtype, (str, ReadOnly))
        assert copy.copy(model) is model
        assert (model.backend, model.isa) == (chain.backend, chain.isa)
        assert model.fingerprint == chain.fingerprint
        assert ("weight_dtype" in repr(model)) == (expected != "float32")
        again = models.make(PROGRAMS["chain"](), weight_dtype=model.weight_dtype)
        assert again.weight_dtype == model.weight_dtype
        assert again.nbytes == model.nbytes
        assert chain.astype(given).astype("float32").nbytes == chain.nbytes


def test_what_a_model_says_is_taken_again():
    """Also where all LSTM layers are int8 beside a GRU, which "int8" as a name refuses."""
    model = Models(BACKENDS[0])["rich"].astype({"lstm": "int8"})  # conv 1, gru 5, lstm 6
    assert dict(model.weight_dtype) == {6: "int8"}
    again = pickle.loads(pickle.dumps(model))
    assert again.weight_dtype == model.astype(model.weight_dtype).weight_dtype == {6: "int8"}
    again.stream().restore(model.stream().snapshot())


def test_operations_go_by_node_and_by_kind_too():
    """A source comes before the name of a node, and that before a kind."""
    program = PROGRAMS["chain"]()  # dense, relu, lstm, lstm, dense, softmax

    def types(sources, given):
        """Which operations a mapping means where those with weights are called so."""
        named = dict(zip((0, 2, 3, 4), sources, strict=True))
        ops = tuple(replace(op, source=named.get(n, "")) for n, op in enumerate(program.ops))
        model = Models("reference").make(replace(program, ops=ops), weight_dtype=given)
        return dict(model.weight_dtype)

    exported = ("Gemm /in/Gemm, BatchNormalization /in/norm", "LSTM /r/LSTM", "LSTM /s/LSTM", "")
    assert types(exported, {"/r/LSTM": "int8"}) == {2: "int8"}
    assert types(exported, {"LSTM /r/LSTM": "int8"}) == {2: "int8"}
    assert types(exported, {"/in/Gemm": "float16"}) == {0: "float16"}
    assert types(exported, {"/in/norm": "float16"}) == {0: "float16"}
    assert types(exported, {"dense": "float16"}) == {0: "float16", 4: "float16"}
    both = {"lstm": "int8", "/s/LSTM": "float16"}  # what comes later wins
    assert types(exported, both) == {2: "int8", 3: "float16"}
    keras = ("dense", "lstm", "lstm_1", "A lstm_1")
    assert types(keras, {"lstm": "float16"}) == {2: "float16"}
    assert types(keras, {"lstm_1": "float16"}) == {3: "float16"}
    assert types((*keras[:3], "A dense"), {"dense": "float16"}) == {0: "float16"}
    assert types(("", "", "lstm of mine", "A lstm"), {"lstm": "float16"}) == {4: "float16"}


WHERE = r"operation 0 \(dense, '/dense/0'\): float32, float16; operation 2 \(lstm, .*: .*int8"


@pytest.mark.parametrize(
    ("name", "given", "error", "text"),
    [
        ("chain", "int4", ValueError, "no weight_dtype 'int4'; choose one of float32, float16"),
        ("chain", 8, TypeError, "weight_dtype must be a string, found int"),
        ("chain", {0: 8}, TypeError, "weight_dtype of operation 0 must be a string"),
        ("chain", {0: "int4"}, ValueError, "no weight_dtype of operation 0 'int4'"),
        ("chain", {0: "int8"}, ValueError, rf"operation 0 \(dense.* has no int8 weights.*{WHERE}"),
        ("chain", {1: "float16"}, ValueError, f"no operation 1 that has weights: {WHERE}"),
        ("chain", {99: "float16"}, ValueError, f"no operation 99 that has weights: {WHERE}"),
        ("chain", {-1: "float16"}, ValueError, "no operation -1 that has weights"),
        ("chain", {"/lstm/9": "int8"}, ValueError, f"no operation '/lstm/9' .*: {WHERE}"),
        ("chain", {"conv": "float16"}, ValueError, f"no operation 'conv' .*: {WHERE}"),
        ("chain", {"relu": "float16"}, ValueError, f"no operation 'relu' .*: {WHERE}"),
        ("chain", {"dense": "int8"}, ValueError, rf"operation 0 \(dense.* has no int8.*{WHERE}"),
        ("chain", {"": "float16"}, ValueError, f"no operation '' .*: {WHERE}"),
        ("chain", {1.5: "int8"}, TypeError, "by their kind, found float"),
        ("chain", {True: "int8"}, TypeError, "by their kind, found bool"),
        ("rich", "int8", ValueError, r"operation 5 \(gru, '/gru/5'\) has no int8 weights"),
    ],
)
def test_wrong_types_are_refused_by_name(models, name, given, error, text):
    with pytest.raises(error, match=text):
        models.make(PROGRAMS[name](), weight_dtype=given)


def test_a_model_without_such_weights_says_so(models):
    build = Builder()
    build.output("y", build.op("relu", build.input("x", (2,))))
    with pytest.raises(ValueError, match="no operation of this model has int8 weights: it has no"):
        models.make(build.program(), weight_dtype="int8")


def test_a_weight_too_large_for_float16_is_refused(models):
    build = Builder()
    weight = build.constant(np.array([[1, -7e4]], np.float32))
    build.output("y", build.op("dense", build.input("x", (2,)), weight))
    text = r"operation 0 \(dense, '/dense/0'\): weight reaches 70000, float16 only 65504"
    with pytest.raises(ValueError, match=text):
        models.make(build.program(), weight_dtype="float16")
    assert models.make(build.program()).stream().step([1, 1]) == [np.float32(-69999)]
