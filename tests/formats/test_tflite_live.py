"""A grid of variants against TFLite's interpreter, where ai_edge_litert or TensorFlow is there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_models import Graph, add_lstm, one_lstm, random_parts

from lstm_fast import formats
from tolerances import U
from variant_tolerances import step_excess, variant_step

pytest.importorskip("tflite", reason="the library tflite is not installed")


@pytest.fixture(scope="module")
def lite():
    """Return the schema's object API, and what makes an interpreter of bytes."""
    try:
        from ai_edge_litert import interpreter, schema_py_generated
    except ImportError:
        interpreter = pytest.importorskip(
            "tensorflow.lite.python.interpreter",
            reason="neither ai_edge_litert nor TensorFlow is installed",
        )
        from tensorflow.lite.python import schema_py_generated

    plain = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def make(data):
        made = interpreter.Interpreter(model_content=data, experimental_op_resolver_type=plain)
        made.allocate_tensors()
        return made

    return schema_py_generated, make


def run(interpreter, xs, names=("lstm",)):
    """Feed one frame after the other; return h and c of each LSTM after every step."""
    places = {one["name"]: one["index"] for one in interpreter.get_tensor_details()}
    interpreter.reset_all_variables()
    steps = []
    for x in xs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None, None])
        interpreter.invoke()
        steps.append(
            [[interpreter.get_tensor(places[f"{n}/{s}"])[0].copy() for s in "hc"] for n in names]
        )
    return steps


def read(data, path):
    path.write_bytes(data)
    (found,) = formats.read(path)
    return found


def worst_step(weights, xs, steps, errors=lambda x: 0.0):
    """Return the largest distance over its bound, of steps from the state that TFLite had."""
    worst = 0.0
    state = [[np.zeros(n) for n in (w.output_size, w.hidden_size)] for w in weights.layers]
    for x, after in zip(xs, steps, strict=True):
        frame = x
        for n, layer in enumerate(weights.layers):
            h, c = state[n]
            step = variant_step(frame, h, c, layer, errors(frame), errors(h), peer=True)
            worst = max(worst, step_excess(step, *after[n]))
            frame = after[n][0]
        state = after
    return worst


GRID = list(itertools.product((False, True), (False, True), (0, 3), (False, True), (0.0, 0.4)))


@pytest.mark.parametrize("activation", ["TANH", "RELU"])
@pytest.mark.parametrize(("cifg", "peephole", "outputs", "norm", "clip"), GRID)
def test_every_combination(lite, tmp_path, cifg, peephole, outputs, norm, clip, activation):
    schema, interpreter = lite
    rng = np.random.default_rng([cifg, peephole, outputs, norm, int(10 * clip)])
    parts = random_parts(
        rng, 5, 7, outputs=outputs, cifg=cifg, peephole=peephole, norm=norm, bias=clip > 0
    )
    options = {"cell_clip": clip, "proj_clip": clip, "activation": activation}
    data = one_lstm(schema, parts, **options)
    found = read(data, tmp_path / "one.tflite")
    layer = found.weights.layers[0]
    assert (layer.peephole is None, layer.layer_norm is None) == (not peephole, not norm)
    assert (layer.cell.coupled, layer.output_size) == ("forget" if cifg else None, outputs or 7)
    xs = rng.normal(size=(6, 5)).astype(np.float32)
    assert worst_step(found.weights, xs, run(interpreter(data), xs)) <= 1


@settings(max_examples=40)
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 19), st.integers(0, 9)),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    clips=st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)),
    size=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sizes(lite, tmp_path_factory, sizes, flags, clips, size, seed):
    schema, interpreter = lite
    (inputs, units, outputs), (cifg, peephole, norm, bias) = sizes, flags
    rng = np.random.default_rng(seed)
    parts = random_parts(
        rng, inputs, units, outputs=outputs, cifg=cifg, peephole=peephole, norm=norm, bias=bias
    )
    data = one_lstm(schema, parts, cell_clip=clips[0], proj_clip=clips[1])
    found = read(data, tmp_path_factory.mktemp("any") / "one.tflite")
    xs = (size * rng.normal(size=(4, inputs))).astype(np.float32)
    assert worst_step(found.weights, xs, run(interpreter(data), xs)) <= 1


def two(schema, rng, units=(7, 7), both_leave=False):
    graph = Graph(schema)
    x = graph.tensor("x", (1, 1, 5))
    lower = add_lstm(graph, x, random_parts(rng, 5, units[0]), name="lower")
    upper = add_lstm(graph, lower, random_parts(rng, units[0], units[1]), name="upper")
    return graph.build([x], [upper, lower] if both_leave else [upper])


def test_a_stack(lite, tmp_path):
    schema, interpreter = lite
    rng = np.random.default_rng(4)
    data = two(schema, rng)
    found = read(data, tmp_path / "two.tflite")
    assert (found.name, found.weights.num_layers) == ("upper/y", 2)
    xs = rng.normal(size=(6, 5)).astype(np.float32)
    steps = run(interpreter(data), xs, ("lower", "upper"))
    assert worst_step(found.weights, xs, steps) <= 1


@pytest.mark.parametrize("options", [{"units": (7, 6)}, {"both_leave": True}])
def test_two_that_are_no_stack(lite, tmp_path, options):
    """Other sizes, or an h that is wanted in between, make two LSTMs with names of their own."""
    path = tmp_path / "two.tflite"
    path.write_bytes(two(lite[0], np.random.default_rng(4), **options))
    found = formats.read(path)
    assert [one.name for one in found] == ["lower/y", "upper/y"]
    with pytest.raises(formats.FormatError, match="there are 2 LSTMs in it, say which"):
        formats.load(path)


def quantise(value):
    """Return int8 values and their scale, symmetrically."""
    scale = np.float32(np.abs(value).max() / 127)
    return np.rint(value / scale).astype(np.int8), scale


@pytest.mark.parametrize("stored", [np.int8, np.uint8])
@pytest.mark.parametrize("variant", [{}, {"cifg": True}])
def test_hybrid(lite, tmp_path, stored, variant):
    """Int8 weights, and what older files call uint8 but is the same bits."""
    schema, interpreter = lite
    rng = np.random.default_rng(6)
    parts, scales = random_parts(rng, 5, 7, **variant), {}
    for name, value in list(parts.items()):
        if "_to_" in name:
            values, scales[name] = quantise(value)
            parts[name] = values.view(stored)
    data = one_lstm(schema, parts, scales=scales)
    found = read(data, tmp_path / "hybrid.tflite")
    assert any("int8 weights, dequantised" in text for text in found.assumptions)
    xs = rng.normal(size=(6, 5)).astype(np.float32)
    steps = run(interpreter(data), xs)

    def errors(x):  # TFLite rounds x and h to 127 steps; our dequantised weights are rounded once
        size = np.abs(np.float64(x))
        return size.max() / 254 * (1 + 8 * U) + 2 * U * size

    assert worst_step(found.weights, xs, steps, errors) <= 1
    assert worst_step(found.weights, xs, steps) > 1


def test_unfused_activation_none_is_not_linear(lite):
    """Why NONE is refused: TFLite's h is then no function of this step's o and c alone."""
    schema, interpreter = lite
    parts = random_parts(np.random.default_rng(8), 5, 7)
    data = one_lstm(schema, parts, activation="NONE")
    x = np.random.default_rng(9).normal(size=(1, 5)).astype(np.float32)
    [[(h, c)]] = run(interpreter(data), x)
    a = {
        gate: parts[f"input_to_{gate}"] @ x[0] + parts[f"{gate}_bias"]
        for gate in ("input", "cell", "output")
    }
    i, o = (1 / (1 + np.exp(-a[gate])) for gate in ("input", "output"))
    np.testing.assert_allclose(c, i * a["cell"], rtol=1e-5)  # g is linear
    assert np.abs(h - o * c).max() > 0.1  # the output is not
