"""safetensors: files of that library, our canonical form, and damaged ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
from damage import refused
from framework_runs import GOLDEN, WRONG_ORDERS, excess_of_run, is_each_wrong_order_seen, load_run
from hypothesis import given
from hypothesis import strategies as st

from cases import bits
from lstm_fast import LSTM, Activation, Cell, FormatError, formats
from lstm_fast._weights import KINDS, LayerWeights, make_weights
from lstm_fast.cell import ACTIVATIONS
from lstm_fast.formats import safetensors

FILES = GOLDEN / "safetensors"
NAMES = [
    "two_layers", "bidirectional", "projected", "projected_both", "no_bias", "cell",
    "float16", "bfloat16", "float64",
]  # fmt: skip


def same(a, b):
    """Whether two LSTMs' weights are the same, to the bit, and of the same variant."""
    cells = [layer.cell for layer in a.layers] == [layer.cell for layer in b.layers]
    left, right = a.state_dict(), b.state_dict()
    same_names = a.direction == b.direction and left.keys() == right.keys()
    return cells and same_names and all(bits(left[name]) == bits(right[name]) for name in left)


def header_of(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def rewritten(path, header, data=None):
    """Write a file with another header."""
    text = json.dumps(header).encode()
    data = header_of(path)[1] if data is None else data
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.fixture
def file(tmp_path):
    """A file that may be changed."""
    return shutil.copy(FILES / "two_layers.safetensors", tmp_path / "a.safetensors")


# ---- what the library and PyTorch wrote ----------------------------------------------------------


def silero_vad():
    """Where the package's files are."""
    try:
        distribution = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    return lambda name: str(distribution.locate_file(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_pytorchs(name):
    (found,) = safetensors.read(FILES / f"{name}.safetensors")
    assert found.name == ""
    assert found.sources.keys() == found.weights.state_dict().keys()
    assert excess_of_run(found.weights, load_run(FILES / f"{name}_run.npz")) <= 1


@pytest.mark.parametrize("name", ["two_layers", "bidirectional", "projected"])
def test_every_wrong_order_of_gates_is_seen(monkeypatch, name):
    path, run = FILES / f"{name}.safetensors", load_run(FILES / f"{name}_run.npz")
    assert is_each_wrong_order_seen(
        monkeypatch, "pytorch", lambda: safetensors.read(path)[0].weights, run
    )


def test_shards():
    (found,) = safetensors.read(FILES / "sharded/model.safetensors.index.json")
    assert found.name == "rnn"
    assert found.notes == ("left out: a GRU under 'gru.'",)
    assert "model-00002-of-00003.safetensors" in found.sources["bias_hh_l0"]
    assert excess_of_run(found.weights, load_run(FILES / "sharded_run.npz")) <= 1


@pytest.mark.parametrize(
    "name",
    ["../a.safetensors", "/a.safetensors", "..", ".", "b/../a.safetensors", "a\\b", "a\0", ""],
)
def test_a_shard_lies_beside_its_index(tmp_path, name):
    folder = shutil.copytree(FILES / "sharded", tmp_path / "inner")
    index = folder / "model.safetensors.index.json"
    shutil.copy(folder / "model-00001-of-00003.safetensors", tmp_path / "a.safetensors")
    content = json.loads(index.read_text())
    content["weight_map"]["rnn.weight_ih_l0"] = name
    index.write_text(json.dumps(content))
    with pytest.raises(FormatError, match="shard"):
        safetensors.read(index)


def test_missing_shards_and_tensors(tmp_path):
    folder = shutil.copytree(FILES / "sharded", tmp_path / "inner")
    index = folder / "model.safetensors.index.json"
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FormatError, match=r"model-00002-of-00003.* is missing"):
        safetensors.read(index)
    shutil.copy(
        folder / "model-00001-of-00003.safetensors", folder / "model-00002-of-00003.safetensors"
    )
    with pytest.raises(FormatError, match=r"is not in .model-00002"):
        safetensors.read(index)
    index.write_text('{"metadata": {}}')
    with pytest.raises(FormatError, match="no weight_map"):
        safetensors.read(index)


def test_silero_vads_own_file():
    """As the library reads it; and what it holds is a sibling of the demo's ONNX file.

    The two were trained apart (with silero-vad 6.2.3 biases differ by up to 0.084), so closeness
    is what tells our order of gates from every other.
    """
    library = pytest.importorskip("safetensors.numpy")
    onnx = pytest.importorskip("onnx")
    locate = silero_vad()
    path = locate("silero_vad/data/silero_vad_16k.safetensors")
    (found,) = safetensors.read(path)
    assert found.name == "lstm_cell"
    direct = LSTM.from_state_dict(library.load_file(path), "lstm_cell.", backend="reference")
    assert same(found.weights, direct.weights)
    graph = onnx.load(locate("silero_vad/data/silero_vad_16k_op15.onnx")).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    demo = LSTM.from_state_dict(values, "model.decoder.rnn.", backend="reference")
    both = (found.weights, demo.weights)
    ours, theirs = (weights.layers[0].bias.reshape(4, -1) for weights in both)

    def distance(order):
        return np.abs(ours[["ifgo".index(gate) for gate in order]] - theirs).max()

    assert all(distance("ifgo") < distance(order) for order in WRONG_ORDERS)


def test_the_library_reads_what_we_write(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    weights = LSTM.random(5, 7, 2, backend="reference").weights
    safetensors.write(tmp_path / "a.safetensors", weights)
    loaded = library.load_file(tmp_path / "a.safetensors")
    ours = weights.state_dict()
    assert loaded.keys() == ours.keys()
    assert all(bits(loaded[name]) == bits(ours[name]) for name in ours)


def test_several_prefixes_and_other_cells(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    random = np.random.default_rng(0)

    def rows(gates, prefix):
        shapes = {"weight_ih": (gates * 4, 3), "weight_hh": (gates * 4, 4)}
        names = {f"{prefix}{kind}_l0": shape for kind, shape in shapes.items()}
        return {name: random.random(shape, np.float32) for name, shape in names.items()}

    path = tmp_path / "a.safetensors"
    library.save_file({**rows(4, "b.é."), **rows(4, "a."), **rows(3, "g."), **rows(1, "r.")}, path)
    found = safetensors.read(path)
    assert [one.name for one in found] == ["a", "b.é"]
    assert found[0].notes == ("left out: a GRU under 'g.'", "left out: a plain RNN under 'r.'")
    library.save_file(rows(3, "g."), path)
    with pytest.raises(FormatError, match="no LSTM in it, but a GRU under 'g"):
        safetensors.read(path)
    library.save_file({"weight": np.ones(3, np.float32)}, path)
    assert safetensors.read(path) == []


# ---- the canonical form --------------------------------------------------------------------------

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
positive = st.floats(2.0**-20, 1e6, width=32)


@st.composite
def activations(draw):
    name = draw(st.sampled_from(sorted(ACTIVATIONS)))
    return Activation(name, **{parameter: draw(floats) for parameter in ACTIVATIONS[name]})


@st.composite
def stacks(draw):
    """Weights of any variant, also one that differs from layer to layer."""
    inputs, size, layers = (draw(st.integers(1, 4)) for _ in range(3))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    projected = draw(st.booleans())
    output = draw(st.integers(1, size)) if projected else size
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def array(*shape):
        value = random.standard_normal(shape).astype(np.float32)
        value.flat[0] = draw(st.sampled_from([-0.0, 2.0**-149, 3e38, 1.0]))
        return value

    made = []
    for n in range(layers):
        below = inputs if n == 0 else output * (2 if direction == "bidirectional" else 1)
        for _ in range(2 if direction == "bidirectional" else 1):
            lengths = {"4H": 4 * size, "3H": 3 * size, "H": size, "P": output, "I": below}
            kinds = {"weight_ih", "weight_hh"} | ({"weight_hr"} if projected else set())
            kinds |= draw(st.sets(st.sampled_from(["peephole", "layer_norm", "h_0", "c_0"])))
            if projected and draw(st.booleans()):
                kinds.add("bias_hr")
            if "layer_norm" in kinds or draw(st.booleans()):
                kinds |= {"bias_ih", "bias_hh"}
            values = {k: array(*(lengths[s] for s in KINDS[k])) for k in KINDS if k in kinds}
            if "bias_hh" in values:
                values["bias_hh"].flat[0] = 0  # so that their sum is no infinity
            cell = Cell(
                *(draw(activations()) for _ in range(3)),
                clip=draw(st.none() | positive),
                cell_clip=draw(st.none() | positive),
                proj_clip=draw(st.none() | positive) if projected else None,
                coupled=draw(st.sampled_from([None, "input", "forget"])),
                layer_norm_eps=draw(positive),
            )
            made.append(LayerWeights(**values, cell=cell))
    return made, direction


@given(stacks())
def test_what_was_written_is_read_to_the_bit(tmp_path_factory, stack):
    try:
        weights = make_weights(*stack)
    except ValueError:
        return  # a combination that is refused by name
    path = tmp_path_factory.mktemp("canonical") / "a.safetensors"
    safetensors.write(path, weights)
    (found,) = safetensors.read(path)
    assert same(found.weights, weights)
    first = path.read_bytes()
    safetensors.write(path, found.weights)
    assert path.read_bytes() == first


def test_the_comparison_can_fail():
    a = LSTM.random(2, 3, backend="reference").weights
    (layer,) = a.layers
    assert same(a, make_weights([layer]))
    assert not same(a, make_weights([layer], "reverse"))
    assert not same(a, make_weights([replace(layer, cell=Cell(clip=3))]))
    other = layer.weight_hh.copy()
    other[0, 0] = np.nextafter(other[0, 0], np.float32(np.inf))
    assert not same(a, make_weights([replace(layer, weight_hh=other)]))


FORWARD = '{"version": 1, "direction": "forward", '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "metadata lstm_fast"),
        ("[]", "version is None"),
        ('{"version": 2}', "version is 2, this release reads 1"),
        ('{"version": 1, "direction": "forward"}', "cells are missing"),
        ('{"version": 1, "direction": "up", "cells": [{}]}', "direction is one of"),
        (FORWARD + '"cells": []}', "cells are missing"),
        (FORWARD + '"cells": [{"clap": 1}]}', "no option clap"),
        (FORWARD + '"cells": [{"clip": -1}]}', "above 0"),
        (
            FORWARD + '"cells": [{"clip": 1' + "0" * 400 + "}]}",
            "clip|int",
        ),
        (
            FORWARD + '"cells": [{"gate": "gru"}]}',
            "no activation 'gru'",
        ),
        (FORWARD + '"cells": [{"gate": {"nam": 1}}]}', "metadata"),
        (FORWARD + '"cells": [{}, {}]}', "weight_ih_l1 is missing"),
        (
            '{"version": 1, "direction": "reverse", "cells": [{}]}',
            "weight_ih_l0_reverse is missing",
        ),
        (5, "not a string"),
    ],
)
def test_damaged_metadata(tmp_path, text, message):
    path = tmp_path / "a.safetensors"
    safetensors.write(path, LSTM.random(2, 3, backend="reference").weights)
    header, _ = header_of(path)
    header["__metadata__"]["lstm_fast"] = text
    with pytest.raises(FormatError, match=message):
        safetensors.read(rewritten(path, header))


def test_a_tensor_that_is_no_part_is_not_dropped(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.write(path, LSTM.random(2, 3, backend="reference").weights)
    header, data = header_of(path)
    end = len(data)
    header["peephale_l0"] = {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]}
    with pytest.raises(FormatError, match="'peephale_l0' is not part"):
        safetensors.read(rewritten(path, header, data + bytes(4)))


# ---- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dtype", "F8_E4M3", "its dtype is F8_E4M3; F64, F32, F16, BF16 can be read"),
        ("dtype", "I32", "its dtype is I32"),
        ("dtype", 4, "dtype is not a string"),
        ("shape", [28, 6], r"560 bytes are not \[28, 6\] of F32"),
        ("shape", [2**40, 2**40], "bytes are not"),
        ("shape", [-28, -5], "not a list of sizes"),
        ("shape", [9] * 65, "not a list of sizes"),
        ("shape", [True, 5], "not a list of sizes"),
        ("shape", [10**4000, 5], "not a list of sizes"),
        ("data_offsets", [0, 10**9], "not within the 3360 of the file's data"),
        ("data_offsets", [560, 0], "not within"),
        ("data_offsets", [0], "not a pair"),
        ("data_offsets", None, "not a pair"),
    ],
)
def test_claims_are_checked(file, key, value, message):
    header, _ = header_of(file)
    header["weight_ih_l0"][key] = value
    with pytest.raises(FormatError, match=message):
        safetensors.read(rewritten(file, header))


def test_other_dtypes_may_stand_beside_it(file):
    header, data = header_of(file)
    end = len(data)
    header["head.weight"] = {"dtype": "F8_E4M3", "shape": [2, 8], "data_offsets": [end, end + 16]}
    assert len(safetensors.read(rewritten(file, header, data + bytes(16)))) == 1


def test_tensors_of_the_same_bytes_are_refused(file):
    header, data = header_of(file)
    header["x"] = header["weight_hh_l1"]
    with pytest.raises(FormatError, match="'weight_hh_l1' and 'x' are of the same bytes"):
        safetensors.read(rewritten(file, header, data))


def test_one_range_of_bytes_is_not_a_thousand_layers(file):
    header, data = header_of(file)
    for n in range(2, 30000):
        header[f"weight_hh_l{n}"] = header["weight_hh_l1"]
    with pytest.raises(FormatError, match="more than the"):
        safetensors.read(rewritten(file, header, data))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"nul", b"{}}", b'{"a":' * 9000, b"\xff\xfe{}"])
def test_headers_that_are_none(tmp_path, text):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(FormatError, match="header"):
        safetensors.read(path)


def test_not_finite(file):
    header, data = header_of(file)
    rewritten(file, header, b"\xff" * len(data))
    with pytest.raises(FormatError, match="LSTM '': weight_ih_l0 is not finite"):
        safetensors.read(file)


def test_a_missing_weight(file):
    header, data = header_of(file)
    del header["bias_hh_l1"]
    with pytest.raises(FormatError, match="bias_hh_l1 is missing"):
        safetensors.read(rewritten(file, header, data))


def test_every_cut_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    data = (FILES / "no_bias.safetensors").read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(FormatError, match="/a"):
            safetensors.read(path)


@pytest.mark.parametrize("name", ["two_layers", "bfloat16", "canonical"])
def test_damaged_files_are_refused_or_read(tmp_path, name):
    path = tmp_path / "a.safetensors"
    if name == "canonical":
        safetensors.write(path, LSTM.random(3, 2, backend="reference", cell=Cell(clip=2)).weights)
    data = (
        path.read_bytes() if name == "canonical" else (FILES / f"{name}.safetensors").read_bytes()
    )
    number = refused(safetensors.read, path, data, 400)
    assert 50 < number < 400


def test_damaged_indexes_are_refused_or_read(tmp_path):
    folder = shutil.copytree(FILES / "sharded", tmp_path / "inner")
    path = folder / "model.safetensors.index.json"
    assert refused(safetensors.read, path, path.read_bytes(), 300) > 50


@pytest.mark.parametrize("first", [b"{", b" "])
def test_a_length_that_begins_as_json_does(tmp_path, first):
    """Whatever it is called: the bytes of a length may be those of a text."""
    data = (FILES / "two_layers.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    longer = -(-length // 256) * 256 + first[0]
    header = data[8 : 8 + length].ljust(longer)
    path = tmp_path / "unnamed"
    path.write_bytes(longer.to_bytes(8, "little") + header + data[8 + length :])
    assert path.read_bytes()[:1] == first
    (found,) = formats.read(path)
    (expected,) = safetensors.read(FILES / "two_layers.safetensors")
    ours, theirs = found.weights.named(), expected.weights.named()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
