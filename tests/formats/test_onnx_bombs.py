"""What a few bytes of ONNX, TFLite or .lfm can ask for: it stays in proportion to the file.

The files are made by scripts, onnx_bombs.py and tflite_bombs.py, and read in another process, which
says what that took. Controls: without a budget, the same files take more than they may.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lstm_fast import FormatError, Model, formats, load_model
from lstm_fast._budget import Budget
from lstm_fast._program_checks import checked
from lstm_fast._source import Source
from lstm_fast.program import Input, Op, Output, Program, Tensor

onnx = pytest.importorskip("onnx")
pytest.importorskip("tflite")

sys.path.insert(0, str(Path(__file__).parent))
import limits  # noqa: E402
import onnx_bombs  # noqa: E402
import onnx_models  # noqa: E402
import tflite_bombs  # noqa: E402

from lstm_fast.formats.onnx import _file, _wire  # noqa: E402

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="others do not say what a process took")
CASES = [
    *[(make, size, "a.onnx", "read") for make, size in onnx_bombs.READ.items()],
    *[(make, size, "a.onnx", "load_model") for make, size in onnx_bombs.WHOLE.items()],
    *[(make, size, "a.tflite", "read") for make, size in tflite_bombs.BOMBS.items()],
]


@LINUX
@pytest.mark.parametrize(
    ("make", "size", "name", "action"), CASES, ids=[make.__name__ for make, *_ in CASES]
)
def test_a_bomb_takes_what_its_size_is_worth(make, size, name, action):
    took = limits.taken(make(size), name, action)
    assert took.is_within, took
    assert len(took.text) < 2000


# Smaller ones, so that they do no harm where nothing holds them.
TOO_MUCH_MEMORY = {
    onnx_bombs.empty_nodes: 400_000,
    onnx_bombs.scopes_times_nodes: 700,
    onnx_bombs.doubled: 15,
    onnx_bombs.joined_many_times: 8_000,
}
TOO_MUCH_WORK = {
    onnx_bombs.lstm_nodes: 4_000,
    onnx_bombs.stacks_with_a_long_way: 1_000,
    tflite_bombs.steps_that_share_an_output: 20_000,
}


def taken_without_a_budget(make, size):
    name = f"a.{make.__module__.partition('_')[0]}"
    return limits.taken(make(size), name, free=True)


@LINUX
@pytest.mark.parametrize("make", TOO_MUCH_MEMORY, ids=lambda make: make.__name__)
def test_without_a_budget_it_takes_more_memory(make):
    assert not taken_without_a_budget(make, TOO_MUCH_MEMORY[make]).has_memory


@LINUX
@pytest.mark.parametrize("make", TOO_MUCH_WORK, ids=lambda make: make.__name__)
def test_without_a_budget_it_takes_more_steps(make):
    took = taken_without_a_budget(make, TOO_MUCH_WORK[make])
    assert took.steps > took.allowed


# ---- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["a_long_name", "names_in_an_lstm", "long_names"])
def test_a_text_is_short_whatever_the_names_are(make):
    with pytest.raises(FormatError) as caught:
        formats.read(getattr(onnx_bombs, make)(60_000))
    assert len(str(caught.value)) < 2000


def test_a_short_text_stays_as_it_is():
    assert str(FormatError("a text")) == "a text"
    text = str(FormatError("begin " + "x" * 10**6 + " end"))
    assert len(text) < 2000
    assert text.startswith("begin ")
    assert text.endswith(" end")


@pytest.mark.parametrize("before", ["<!---->", "<!-- -->\n", "<?xml ?>", "<!--", "<!---->-->"])
def test_a_text_that_begins_with_comments_is_told_at_once(before):
    """A pattern that may end a comment in two places tries 2**500 ways."""
    with pytest.raises(FormatError, match="a text that begins with"):
        formats.read((before * 500).encode())
    with pytest.raises(FormatError, match="an XML document that begins with <a>"):
        formats.read(b"<?xml version='1.0'?> <!-- one --> <!-- two -->\n<a>")


# ---- what is left where it is --------------------------------------------------------------------


def outlined(data: bytes) -> bytes:
    return _wire.outline(data, _file._kind(), Source(data).budget)


def filled(message, data: bytes) -> None:
    """Put the values in again that were left out."""
    for one, value in message.ListFields():
        if one.name == "raw_data" and (found := _wire.marked(value)) is not None:
            message.raw_data = data[found[0] : sum(found)]
        elif one.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                filled(inner, data)


def nested(rng) -> bytes:
    """Return a model with tensors of all sizes in graphs in graphs."""

    def tensor(name):
        size = int(rng.choice([0, 1, 10, 1000, 1023, 1024, 1025, 5000]))
        values = rng.standard_normal(size).astype(np.float32)
        found = onnx.numpy_helper.from_array(values, name)
        if rng.random() < 0.2:
            found.raw_data = _wire.mark(3, 5)  # as a file may have it that knows of this
        return found

    def graph(depth):
        nodes = [
            onnx.helper.make_node("Constant", [], [f"c{k}"], value=tensor("v"))
            for k in range(rng.integers(3))
        ]
        if depth:
            branches = {name: graph(depth - 1) for name in ("then_branch", "else_branch")}
            nodes.append(onnx.helper.make_node("If", ["a"], ["b"], **branches))
        more = [tensor(f"t{k}") for k in range(rng.integers(3))]
        return onnx.helper.make_graph(nodes, "g" * int(rng.integers(200)), [], [], more)

    return onnx.helper.make_model(graph(int(rng.integers(4)))).SerializeToString()


@pytest.mark.parametrize("seed", range(12))
def test_an_outline_is_the_model_without_its_large_values(seed, monkeypatch):
    monkeypatch.setattr(_wire, "SMALL", 0)
    data = nested(np.random.default_rng(seed))
    whole, short = onnx.ModelProto.FromString(data), onnx.ModelProto.FromString(outlined(data))
    assert len(outlined(data)) <= len(data)
    filled(short, data)
    assert short == whole


def test_large_tensors_are_read_where_they_are(tmp_path, monkeypatch):
    weights = np.random.default_rng(1).standard_normal((1, 400, 300)).astype(np.float32)
    recurrent = np.zeros((1, 400, 100), np.float32)
    nodes = onnx_bombs.node("LSTM", "x W R", "y")
    more = onnx_bombs.tensor("W", weights) + onnx_bombs.tensor("R", recurrent)
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_bombs.model(nodes + more))
    found = []
    for held in (1 << 24, 0):
        monkeypatch.setattr(_file, "HELD", held)
        found += formats.read(path) + formats.read(path.read_bytes())
    first = found[0].weights.layers[0].weight_ih
    assert all(np.array_equal(one.weights.layers[0].weight_ih, first) for one in found)
    assert np.array_equal(np.sort(first, axis=None), np.sort(weights, axis=None))


@pytest.mark.parametrize(
    "data",
    [
        b"\x0b" * 2**17,
        b"\x0a" + b"\xff" * 2**17,
        b"\x3a\xff\xff\x7f" + bytes(2**17),
        b"\x08\x08" + bytes(2**17),
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(FormatError, match="damaged, or no ONNX model"):
        formats.read(data, format="onnx")


def test_messages_are_nested_so_deep_and_no_deeper():
    inner = b""
    for _ in range(300):
        inner = onnx_bombs.field(1, onnx_bombs.field(5, onnx_bombs.branch("a", inner)))
    with pytest.raises(FormatError, match="damaged, or no ONNX model"):
        formats.read(onnx_bombs.model(inner, bytes([0x52, 0]) * 2**16))


def test_a_file_of_many_names_is_counted_once(tmp_path):
    tensors = b""
    for k in range(50):
        entry = onnx_bombs.field(1, "location") + onnx_bombs.field(2, "./" * k + "w.bin")
        content = b"".join(onnx_bombs.field(1, size) for size in (1, 4, 1)) + b"\x10\1"
        content += onnx_bombs.field(8, f"w{k}") + onnx_bombs.field(13, entry) + b"\x70\1"
        tensors += onnx_bombs.field(5, content)
    (tmp_path / "w.bin").write_bytes(bytes(16))
    nodes = b"".join(onnx_bombs.node("LSTM", f"x w{k} w{k}", f"y{k}") for k in range(50))
    (tmp_path / "m.onnx").write_bytes(onnx_bombs.model(nodes + tensors))
    source = Source(tmp_path / "m.onnx")
    before = source.budget.memory_left
    for k in range(50):
        source.beside("./" * k + "w.bin")
    assert source.budget.memory_left == before + 4 * 16
    assert len(formats.read(tmp_path / "m.onnx")) == 1


@pytest.mark.parametrize(("dtype", "is_free"), [("f4", False), ("f8", False), ("f2", True)])
def test_only_small_weights_are_packed_for_free(dtype, is_free):
    tensors = [onnx_models.tensor(n, getattr(onnx_models, n).astype(dtype)) for n in "WRB"]
    data = onnx_models.model([onnx_models.lstm()], tensors).SerializeToString()
    source = Source(data)
    before = source.budget.memory_left
    formats.onnx.read(source)
    size = sum(getattr(onnx_models, n).size for n in "WR") * 4
    file = _file.File(Source(data))
    for tensor in file.model.graph.initializer:
        file.array(tensor)
    left = file.budget.memory_left
    file.keep(size)
    assert left - file.budget.memory_left == (0 if is_free else size)
    assert before - source.budget.memory_left >= (0 if is_free else size)


# ---- .lfm ----------------------------------------------------------------------------------------


def program(count: int) -> Program:
    ops = tuple(Op("neg", (k,), (k + 1,)) for k in range(count))
    tensors = (Tensor((1,)),) * (count + 1)
    return checked(Program((Input("x", 0, (1,)),), (Output("y", count),), (), tensors, {}, ops))


def test_operations_of_a_lfm_file_are_charged(monkeypatch):
    from lstm_fast import _lfm

    data = _lfm.to_bytes(program(60_000))
    with pytest.raises(FormatError, match="what its records make would take"):
        load_model(data)
    with pytest.raises(FormatError, match="what its records make would take"):
        Model.from_bytes(data)
    assert len(load_model(_lfm.to_bytes(program(10_000))).program.ops) == 10_000
    monkeypatch.setattr(Budget, "memory", lambda *_: None)
    monkeypatch.setattr(Budget, "work", lambda *_: None)
    assert len(_lfm.from_bytes(data).ops) == 60_000  # the control
