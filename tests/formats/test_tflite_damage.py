"""TFLite files that are damaged, or hold what we do not compute: errors that name file and part."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_fast import formats
from lstm_fast.formats import FormatError, MissingExtraError
from lstm_fast.formats import tflite as reader
from lstm_fast.formats.tflite import _operators

tflite = pytest.importorskip("tflite", reason="the library tflite is not installed")

FOLDER = Path(__file__).parents[1] / "golden" / "formats" / "tflite"
FILES = sorted(path for path in FOLDER.glob("*.tflite") if "while" not in path.name)
CONTENTS = {path.stem: path.read_bytes() for path in FILES}


def read(data, folder):
    path = folder / "damaged.tflite"
    path.write_bytes(data)
    return formats.read(path, "tflite")


def read_or_error(data, folder):
    """Return whether it was read; FormatError is the only error there may be."""
    try:
        read(data, folder)
    except FormatError as error:
        assert "damaged.tflite" in str(error)
        return False
    return True


@st.composite
def mutated(draw):
    """A file with some bytes or 32-bit words replaced, cut short, or with a piece moved."""
    data = bytearray(CONTENTS[draw(st.sampled_from(sorted(CONTENTS)))])
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data) - 5))
        kind = draw(st.sampled_from(["byte", "word", "cut", "move"]))
        if kind == "byte":
            data[place] = draw(st.integers(0, 255))
        elif kind == "word":
            near = st.one_of(
                st.integers(0, 2**32 - 1),
                st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4, len(data)]),
            )
            place -= place % 4
            data[place : place + 4] = draw(near).to_bytes(4, "little")
        elif kind == "cut" and place > 8:
            del data[place:]
        else:
            other = draw(st.integers(0, len(data) - 5))
            data[place : place + 4] = data[other : other + 4]
        if len(data) < 16:
            break
    return bytes(data)


@given(data=mutated())
def test_mutated_files_raise_format_errors_only(data, tmp_path_factory):
    read_or_error(data, tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("name", ["keras_plain", "cifg_peephole", "basic"])
def test_every_truncation_is_an_error_or_what_it_was(name, tmp_path):
    """FlatBuffers are written from their end: what is cut off may have been padding."""
    whole = CONTENTS[name]
    read_ones = [n for n in range(0, len(whole), 7) if read_or_error(whole[:n], tmp_path)]
    assert all(n > len(whole) - 64 for n in read_ones)


def words(name, value, folder, step=4):
    """Set aligned words of a file in turn; return how many of them were errors."""
    errors = 0
    for place in range(8, len(CONTENTS[name]), step):
        data = bytearray(CONTENTS[name])
        data[place : place + 4] = value.to_bytes(4, "little")
        errors += not read_or_error(bytes(data), folder)
    return errors


@pytest.mark.parametrize("value", [0x7FFFFFFF, 0xFFFFFFFF, 0x00010000])
def test_every_length_and_offset_is_checked(value, tmp_path):
    """Whatever word claims to be huge, there is no loop and no memory of that size."""
    assert words("projection", value, tmp_path) > 50
    tracemalloc.start()  # which is slow
    try:
        words("projection", value, tmp_path, 32)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (64 << 20) + 4 * len(CONTENTS["projection"])


def many_operators(count):
    """A file of LSTM operators that are all one table: more than a file of its size can hold."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 10)
    builder.StartVector(4, 1, 4)
    builder.PrependInt32(0)
    inputs = builder.EndVector()
    tflite.OperatorStart(builder)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, inputs)
    operator = tflite.OperatorEnd(builder)
    tflite.SubGraphStartOperatorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(operator)
    operators = builder.EndVector()
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddOperators(builder, operators)
    subgraph = tflite.SubGraphEnd(builder)
    tflite.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(subgraph)
    subgraphs = builder.EndVector()
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, tflite.BuiltinOperator.LSTM)
    code = tflite.OperatorCodeEnd(builder)
    tflite.ModelStartOperatorCodesVector(builder, 1)
    builder.PrependUOffsetTRelative(code)
    codes = builder.EndVector()
    tflite.ModelStart(builder)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_operators_that_share_their_table_are_counted(tmp_path):
    data = many_operators(100_000)
    with pytest.raises(FormatError, match="reading its 100000 operators takes more work"):
        read(data, tmp_path)
    with pytest.raises(FormatError, match=r"operator 0 LSTM: .*has no LSTMOptions"):
        read(many_operators(10), tmp_path)  # the control: few of them are read


def test_not_a_tflite_file(tmp_path):
    with pytest.raises(FormatError, match=r"damaged.tflite: not a TFLite file"):
        read(b"nothing of\0 that kind", tmp_path)
    with pytest.raises(FormatError, match=r"damaged.tflite: it is a text that begins with 'noth"):
        read(b"nothing of that kind", tmp_path)
    with pytest.raises(FormatError, match=r"damaged.tflite: it is empty"):
        read(b"", tmp_path)


def test_it_is_recognised_by_its_identifier(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(CONTENTS["keras_plain"])
    assert formats.read(path)[0].weights.hidden_size == 7
    assert not reader.recognise(path, b"TFL3")


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tflite>=\S+ 'flatbuffers>="):
        formats.read(FILES[0])


# ---- what is refused by name: changes to a good file, by the object API -------------------------


def change(name, folder, edit):
    """Read a file after an edit of its object tree."""
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="ai_edge_litert is not installed"
    )
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(CONTENTS[name], 0))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        operator.inputs, operator.outputs = list(operator.inputs), list(operator.outputs)
    edit(model, graph, graph.operators[0], schema)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return read(bytes(builder.Output()), folder)


def refused(name, folder, text, edit):
    with pytest.raises(FormatError, match=text) as error:
        change(name, folder, edit)
    assert "damaged.tflite" in str(error.value)


def test_an_unchanged_file_is_read(tmp_path):
    assert change("projection", tmp_path, lambda *_: None)


@pytest.mark.parametrize("activation", ["NONE", "RELU6", "RELU_N1_TO_1", "SIGN_BIT"])
def test_activations_that_no_cell_has(activation, tmp_path):
    def edit(model, graph, operator, schema):
        value = getattr(schema.ActivationFunctionType, activation)
        operator.builtinOptions.fusedActivationFunction = value

    refused("keras_plain", tmp_path, f"operator 0 UNI.* fused activation {activation};", edit)


@pytest.mark.parametrize("place", [0, 18, 19])
def test_fully_integer_lstms(place, tmp_path):
    def edit(model, graph, operator, schema):
        graph.tensors[operator.inputs[place]].type = schema.TensorType.INT8

    refused("keras_plain", tmp_path, "is INT8: a fully integer LSTM.*dynamic range", edit)


@pytest.mark.parametrize("place", [2, 4, 6, 8, 12, 13, 15, 18, 19])
def test_missing_parts(place, tmp_path):
    def edit(model, graph, operator, schema):
        operator.inputs[place] = -1

    refused("keras_plain", tmp_path, "_(forget|output|bias|state) is missing", edit)


@pytest.mark.parametrize("place", [1, 5])
def test_half_of_a_coupled_gate(place, tmp_path):
    def edit(model, graph, operator, schema):
        operator.inputs[place] = -1

    refused("keras_plain", tmp_path, "to_input is (missing|there)", edit)


def test_weights_that_are_no_constants(tmp_path):
    def edit(model, graph, operator, schema):
        model.buffers[graph.tensors[operator.inputs[3]].buffer].data = None

    refused("keras_plain", tmp_path, "an input of the graph; weights must be constants", edit)


def test_shapes_that_do_not_fit(tmp_path):
    def edit(model, graph, operator, schema):
        graph.tensors[operator.inputs[3]].shape = [5, 7]

    refused("keras_plain", tmp_path, r"has shape \(5, 7\), expected \(7, 5\)", edit)


def test_data_that_is_too_short(tmp_path):
    def edit(model, graph, operator, schema):
        buffer = model.buffers[graph.tensors[operator.inputs[3]].buffer]
        buffer.data = buffer.data[:-4]

    refused("keras_plain", tmp_path, "has 136 bytes, .* takes 140", edit)


def test_weights_that_are_not_finite(tmp_path):
    def edit(model, graph, operator, schema):
        buffer = model.buffers[graph.tensors[operator.inputs[3]].buffer]
        buffer.data = np.frombuffer(np.full(35, np.nan, np.float32).tobytes(), np.uint8)

    refused("keras_plain", tmp_path, "not finite", edit)


def test_zero_points(tmp_path):
    def edit(model, graph, operator, schema):
        graph.tensors[operator.inputs[3]].quantization.zeroPoint = [3]

    refused("keras_hybrid", tmp_path, "zero point", edit)


def test_scales_per_channel(tmp_path):
    """Several scales are those of rows; a wrong number of them is an error."""

    def rows(number):
        def edit(model, graph, operator, schema):
            quantised = graph.tensors[operator.inputs[3]].quantization
            quantised.scale = [quantised.scale[0] * (n + 1) for n in range(number)]
            quantised.zeroPoint, quantised.quantizedDimension = [0] * number, 0

        return edit

    (plain,) = change("keras_hybrid", tmp_path, lambda *_: None)
    (scaled,) = change("keras_hybrid", tmp_path, rows(32))
    ours, theirs = (one.weights.layers[0].weight_ih[64:96] for one in (scaled, plain))
    np.testing.assert_allclose(ours, theirs * np.arange(1, 33)[:, None], rtol=1e-6)
    refused("keras_hybrid", tmp_path, "has 31 scales along axis 0", rows(31))


def test_float16_behind_a_dequantize(tmp_path):
    """As float16 quantisation writes it: a constant, a DEQUANTIZE, and then the LSTM."""

    def edit(model, graph, operator, schema):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        model.operatorCodes.append(code)
        tensor = graph.tensors[operator.inputs[3]]
        half, buffer = schema.TensorT(), schema.BufferT()
        stored = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)
        buffer.data = np.frombuffer(stored.astype(np.float16).tobytes(), np.uint8)
        model.buffers.append(buffer)
        half.name, half.shape, half.type = "half", tensor.shape, schema.TensorType.FLOAT16
        half.buffer, tensor.buffer = len(model.buffers) - 1, 0
        graph.tensors.append(half)
        widen = schema.OperatorT()
        widen.opcodeIndex = len(model.operatorCodes) - 1
        widen.inputs, widen.outputs = [len(graph.tensors) - 1], [operator.inputs[3]]
        graph.operators.insert(0, widen)

    (plain,) = change("keras_plain", tmp_path, lambda *_: None)
    (half,) = change("keras_plain", tmp_path, edit)
    ours, theirs = (one.weights.layers[0].weight_ih for one in (half, plain))
    expected = theirs.copy()
    expected[14:21] = expected[14:21].astype(np.float16)
    assert np.array_equal(ours, expected)
    assert any("float16" in note for note in half.notes)


def test_auxiliary_inputs_and_diagonal_weights(tmp_path):
    def auxiliary(model, graph, operator, schema):
        operator.inputs[39] = operator.inputs[0]

    def diagonal(model, graph, operator, schema):
        operator.builtinOptions.diagonalRecurrentTensors = True

    refused("bidirectional", tmp_path, "auxiliary input, which is not supported", auxiliary)
    refused("keras_plain", tmp_path, "diagonal recurrent weights, which are not", diagonal)


@pytest.mark.parametrize("clip", [-1.0, float("nan")])
def test_clips_that_are_none(clip, tmp_path):
    def edit(model, graph, operator, schema):
        operator.builtinOptions.cellClip = clip

    refused("keras_plain", tmp_path, "a clip that is not 0 or more", edit)


def test_a_file_without_an_lstm(tmp_path):
    def edit(model, graph, operator, schema):
        for code in model.operatorCodes:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD

    assert change("keras_plain", tmp_path, edit) == []
    with pytest.raises(FormatError, match="there is no LSTM in it"):
        formats.load(tmp_path / "damaged.tflite")


def test_an_unrolled_loop_is_one_lstm(tmp_path):
    """Two steps of the basic kernel, with the same weights: the second goes on from the first."""

    def edit(model, graph, operator, schema):
        import copy

        second = copy.deepcopy(operator)
        graph.tensors += [copy.deepcopy(graph.tensors[t]) for t in operator.outputs]
        second.outputs = list(range(len(graph.tensors) - 4, len(graph.tensors)))
        second.inputs[1], second.inputs[4] = operator.outputs[0], operator.outputs[1]
        graph.operators.append(second)
        graph.outputs = second.outputs[:2]

    (found,) = change("basic", tmp_path, edit)
    (plain,) = change("basic", tmp_path, lambda *_: None)
    assert found.notes[-1] == "2 operators have these weights: one LSTM"
    assert np.array_equal(found.weights.layers[0].weight_ih, plain.weights.layers[0].weight_ih)


def test_the_basic_kernel_has_tanh(tmp_path):
    def edit(model, graph, operator, schema):
        operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU

    refused("basic", tmp_path, "the basic kernel has tanh", edit)


def test_every_code_has_its_options():
    assert set(_operators.OPTIONS) == set(_operators.CODES)
    for name in _operators.OPTIONS.values():
        assert hasattr(tflite, name)
