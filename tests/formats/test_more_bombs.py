"""Files of the newer formats that ask for much, and names that would write to a terminal."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import sys
import warnings
import zipfile

import bombs
import limits
import numpy as np
import onnx_bombs
import pytest
from onnx_bombs import FLOAT, field, floats, ints, node, tensor, value, whole

import lstm_fast
from lstm_fast import FormatError, formats
from lstm_fast.formats import _tar

pytestmark = pytest.mark.filterwarnings("ignore::lstm_fast.FormatWarning")
measured = pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory it took")


def array(header: str, data: bytes = b"") -> bytes:
    """An array as NumPy writes it, with this header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def plain(*shape: int) -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(shape, np.float32))
    return made.getvalue()


def packed_by_bzip2(scale: int) -> bytes:
    """Zeros behind an array, of which zipfile would unpack all that 4 KB hold at once."""
    members = {f"weight_{k}h_l0.npy": plain(4, 1) for k in "ih"}
    members["weight_ih_l0.npy"] += bytes(1000 * scale)
    return bombs.zipped(members, zipfile.ZIP_BZIP2)


def headers_of_fields(scale: int) -> bytes:
    """Headers with a thousand fields each, which pack well."""
    fields = ",".join(["('','u1',1)"] * 1200)
    one = array(f"{{'descr': [{fields}], 'fortran_order': False, 'shape': (), }}")
    return bombs.zipped({f"{n}.weight_ih_l0.npy": one for n in range(scale)})


def headers_of_python_2(scale: int) -> bytes:
    """Numbers as Python 2 wrote them, for which NumPy splits a header into its words."""
    shape = "1L," * 50
    one = array(f"{{'descr':'u1','fortran_order':False,'shape':({shape})}}", b"\0")
    return one * scale


def block(kind: bytes, name: bytes, size: int) -> bytes:
    """A header of a tar file."""
    head = bytearray(512)
    head[: len(name)] = name
    head[124:136], head[156:157], head[257:263] = b"%011o\0" % size, kind, b"ustar\0"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def records_of_pax(scale: int) -> bytes:
    """Headers of pax with ten thousand records each, which pack well."""
    records = b"6 a=b\n" * (65_536 // 6)
    one = block(b"x", b"pax", len(records)) + records + bytes(-len(records) % 512)
    return gzip.compress(one * scale + block(b"0", b"model_weights.ckpt", 0) + bytes(1024))


def programs(scale: int) -> bytes:
    """Many programs in one file of torch.export, and constants that each might have."""
    meta = {"dtype": 7, "sizes": [4, 1], "strides": [1, 1], "storage_offset": 0, "layout": 7}
    entry = {"path_name": "w", "tensor_meta": meta}
    many = {f"{n}.weight_ih_l0": entry for n in range(scale)}
    members = {"a/archive_format": b"pt2", "a/data/weights/w": bytes(16)}
    members["a/data/weights/0_weights_config.json"] = json.dumps({"config": many}).encode()
    one = json.dumps({"config": {"weight_hh_l0": entry}}).encode()
    for n in range(scale):
        members[f"a/data/weights/m{n}_weights_config.json"] = b'{"config":{}}'
        members[f"a/data/constants/m{n}_constants_config.json"] = one
    members["a/data/constants/w"] = bytes(16)
    return bombs.zipped(members, zipfile.ZIP_STORED)


def computed_constants(scale: int) -> bytes:
    """A weight that takes nearly all there is, and once more where it is copied."""
    nodes = node("ConstantOfShape", "s", "W") + node("ConstantOfShape", "s", "R")
    nodes += node("LSTM", "x W R", "y", whole("hidden_size", scale))
    more = tensor("s", ints(1, 4 * scale, scale)) + value(11, "x", 0, 1, scale) + value(12, "y")
    return onnx_bombs.model(nodes + more)


MORE = {
    "packed by bzip2": bombs.Bomb("a.zip", packed_by_bzip2, 300_000),
    "headers of fields": bombs.Bomb("a.zip", headers_of_fields, 3000),
    "headers of Python 2": bombs.Bomb("a.bin", headers_of_python_2, 10_000),
    "records of pax": bombs.Bomb("a.bin", records_of_pax, 2500),
    "programs": bombs.Bomb("a.pt", programs, 3000),
    "computed constants": bombs.Bomb("a.onnx", computed_constants, 1600, "load_model"),
}
CONTROLS = {  # at scales that take more than the limit where nothing is charged
    "headers of fields": 400,
    "records of pax": 300,
    "programs": 900,
    "computed constants": 2000,
}


@measured
@pytest.mark.parametrize("name", MORE)
def test_one_more_bomb_is_refused_in_time_and_memory(name):
    bomb = MORE[name]
    taken = limits.taken(bomb.make(bomb.scale), bomb.name, bomb.action, **bomb.options)
    assert taken.is_within, taken
    assert taken.outcome == "FormatError"


@measured
@pytest.mark.parametrize("name", CONTROLS)
def test_without_the_budget_it_takes_more(name):
    """The negative control."""
    bomb = MORE[name]
    taken = limits.taken(bomb.make(CONTROLS[name]), bomb.name, bomb.action, free=True)
    limit = 4 * taken.size + 64 * limits.MEGABYTE
    assert taken.memory > limit or taken.seconds > 2 * max(1, taken.size / limits.MEGABYTE), taken


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
