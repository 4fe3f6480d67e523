"""Files of the newer formats that ask for much, and names that would write to a terminal."""

from __future__ import annotations

import bz2
import io
import json
import warnings
import zipfile

import bombs
import numpy as np
import onnx_bombs
import pytest
from newer_bombs import array, plain
from onnx_bombs import FLOAT, field, floats, node, tensor, value, whole

import lstm_fast
from lstm_fast import FormatError, formats
from lstm_fast.formats import _tar

pytestmark = pytest.mark.filterwarnings("ignore::lstm_fast.FormatWarning")


def test_what_zipfile_unpacks_at_once_is_refused():
    """By deflate the same reads well; what is behind an array is not unpacked then."""
    members = {f"weight_{k}h_l0.npy": plain(4, 1) for k in "ih"}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        (found,) = formats.read(bombs.zipped(members, method), format="npz")
        assert found.weights.hidden_size == 1
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(FormatError, match="compressed in a way that is not read"):
            formats.read(bombs.zipped(members, method), format="npz")
    assert len(bz2.compress(bytes(1 << 20))) < 100  # which is why


def test_headers_that_are_good_are_read():
    """Long ones, and those of Python 2."""
    shape = "(4L, 1L)"
    old = array(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}", bytes(16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        (found,) = formats.read(
            bombs.zipped({f"weight_{k}h_l0.npy": old for k in "ih"}), format="npz"
        )
    assert found.weights.input_size == 1
    some = io.BytesIO()
    other = np.zeros(3, [(f"field {n}", "f4") for n in range(500)])
    np.savez(some, **{f"a.weight_{k}h_l0": np.zeros((4, 1), np.float32) for k in "ih"}, other=other)
    assert len(formats.read(some.getvalue(), format="npz")) == 1


def test_pax_says_the_same():
    text = b"".join(b"6 a=b\n" for _ in range(100)) + b"12 path=abc\n"
    assert _tar._pax(text) == ("abc", -1)


# ---- frozen constants ----------------------------------------------------------------------------


def file_of_onnx():
    from lstm_fast._source import Source
    from lstm_fast.formats.onnx._file import File

    return File(Source(onnx_bombs.model(node("Neg", "x", "y"))))


def test_what_is_computed_is_frozen_where_it_is():
    pytest.importorskip("onnx")
    file = file_of_onnx()
    values = np.ones((500, 500), np.float32)
    kept = file.frozen(values)
    assert np.shares_memory(kept, values)
    assert not kept.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        kept.flags.writeable = True
    assert file.frozen(kept) is kept
    assert file.frozen(kept.T).base is not None
    part = np.ones((1000, 500), np.float32)[::2]  # the negative control: memory of another's
    assert not np.shares_memory(file.frozen(part), part)


def test_a_reshape_that_copies_is_charged_before():
    pytest.importorskip("onnx")
    from lstm_fast.formats.onnx._operators import OPERATORS

    def spent(values):
        file = file_of_onnx()
        before = file.budget.memory_left
        OPERATORS["Reshape"]([values, np.array([-1])], {}, file)
        return before - file.budget.memory_left

    values = np.ones((500, 500), np.float32)
    assert spent(values) == 0
    assert spent(values.T) == values.nbytes
    assert spent(values[:, :1]) == 0  # of which a view is enough
    with pytest.raises(FormatError, match="bytes of memory"):
        spent(np.broadcast_to(np.float32(0), (1 << 20, 1 << 20)))


def test_constants_of_a_caller_stay_theirs():
    """What is frozen where it is must not be what the caller goes on to change."""
    pytest.importorskip("onnx")
    nodes = node("Identity", "c", "k") + node("Add", "x k", "y")
    given = value(11, "x", 1, 20_000) + value(11, "c", 1, 20_000) + value(12, "y")
    mine = np.ones((1, 20_000), np.float32)
    model = lstm_fast.load_model(onnx_bombs.model(nodes + given), constants={"c": mine})
    mine[:] = 7
    (x,) = model.inputs
    made = model.stream().step(np.zeros(model.inputs[x].shape, np.float32))
    assert (np.asarray(made) == 1).all()


# ---- texts ---------------------------------------------------------------------------------------

NASTY = "\x1b[31m\n\x85\u202e"


def safetensors(header):
    data = json.dumps(header).encode()
    return len(data).to_bytes(8, "little") + data


def names(kind, dtype):
    return {f"{NASTY}.weight_{k}h_l0": {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]}
            for k in kind}  # fmt: skip


SAID = {
    "a name": safetensors(names("i", "F32")),
    "a dtype": safetensors(names("ih", NASTY)),
    "a size": bombs.amp(b"[]", input_size=NASTY),
    "a layer": json.dumps({"layers": [{"type": NASTY}], "in_shape": [1]}).encode(),
    "an array": bombs.zipped({f"{NASTY}.weight_ih_l0.npy": plain(4, 1)}),
    "an operator": onnx_bombs.stepped(node(NASTY.replace("\n", "\r"), "x", "y")),
    "a node": onnx_bombs.stepped(field(1, onnx_bombs.inner("A", "x", "y") + field(3, NASTY))),
}


@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize("action", [lstm_fast.load, lstm_fast.load_model])
def test_an_error_controls_no_terminal(what, action):
    with pytest.raises(FormatError) as caught:
        action(SAID[what])
    assert str(caught.value).isprintable()


def test_neither_does_a_warning_nor_the_name_of_a_file(tmp_path):
    path = tmp_path / "a\x1b[31m\n.nam"
    path.write_bytes(b"{}")
    with pytest.raises(FormatError) as caught:
        formats.read(path)
    assert str(caught.value).isprintable()
    assert "a\\x1b[31m\\n.nam" in str(caught.value)
    assert str(FormatError("häß \u4e2d")) == "häß \u4e2d"
    assert len(str(FormatError("\n" * 1900))) <= 2000


def test_the_tensors_of_a_test_are_floats():
    """So that what is refused above is refused for its size."""
    (found,) = formats.read(
        onnx_bombs.model(
            node("LSTM", "x W R", "y", whole("hidden_size", 1))
            + tensor("W", floats(1, 4, 1))
            + tensor("R", floats(1, 4, 1))
        ),
        format="onnx",
    )
    assert FLOAT == 1
    assert found.weights.hidden_size == 1
