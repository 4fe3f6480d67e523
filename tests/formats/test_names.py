"""MLX's, Flax's and PyTorch's names in .npz and safetensors, and Equinox's arrays without any."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from damage import refused
from framework_runs import GOLDEN, excess_of_run, is_each_wrong_order_seen, load_run

import lstm_fast
from lstm_fast import FormatError, FormatWarning, formats
from lstm_fast.formats import equinox, npz
from lstm_fast.formats._other_names import DEFAULTS, RANDOM_STATE

# The order that they go through, and what the LSTM is called.
FILES = {
    "npz/mlx.npz": ("mlx", "layers.0"),
    "safetensors/mlx.safetensors": ("mlx", "layers.0"),
    "npz/linen.npz": ("flax", "params/cell"),
    "npz/nnx_optimized.npz": ("flax", "cell"),
    "safetensors/nnx.safetensors": ("flax", "cell"),
    "npz/torch.npz": ("pytorch", "rnn"),
    "equinox/cell.eqx": ("equinox", ""),
    "equinox/without_bias.eqx": ("equinox", ""),
}


def run_of(name):
    path = GOLDEN / name
    return load_run(path.with_name(f"{path.stem}_run.npz"))


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_librarys(name):
    (found,) = formats.read(GOLDEN / name)
    assert found.name == FILES[name][1]
    assert found.sources.keys() == found.weights.state_dict().keys()
    run = run_of(name)
    assert excess_of_run(found.weights, run) <= 1
    assert excess_of_run(found.weights, run | {"h": run["h"] * (1 + 2.0**-10)}, ours=False) > 1


@pytest.mark.parametrize("name", FILES)
def test_every_wrong_order_of_gates_is_seen(monkeypatch, name):
    weights = lambda: formats.read(GOLDEN / name)[0].weights  # noqa: E731
    assert is_each_wrong_order_seen(monkeypatch, FILES[name][0], weights, run_of(name))


def test_what_is_assumed_and_told():
    mlx, linen, nnx, torch = (
        formats.read(GOLDEN / "npz" / f"{name}.npz")[0]
        for name in ("mlx", "linen", "nnx_optimized", "torch")
    )
    assert mlx.assumptions == torch.assumptions == ()
    assert mlx.notes[0] == "left out: a GRU under 'layers.1.'"
    assert linen.assumptions == nnx.assumptions == (DEFAULTS,)
    assert RANDOM_STATE in nnx.notes
    assert RANDOM_STATE not in linen.notes
    assert "params/cell/if/kernel" in linen.sources["weight_ih_l0"]
    with pytest.warns(FormatWarning, match="sigmoid, tanh, and from the first"):
        lstm_fast.load(GOLDEN / "npz/linen.npz")


# ---- names ---------------------------------------------------------------------------------------


def arrays_of(name):
    with np.load(GOLDEN / "npz" / f"{name}.npz") as arrays:
        return dict(arrays)


def saved(arrays):
    memory = io.BytesIO()
    np.savez(memory, **arrays)
    return memory.getvalue()


def same(found, expected):
    ours, theirs = found.weights.named(), expected.weights.named()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours | theirs)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("/", "."),
        lambda name: name.removeprefix("params/cell/"),
        lambda name: name.replace("cell/if/", "cell/if_/"),
        lambda name: f"{name}/value",
        lambda name: f"{name}.raw_value",
        lambda name: f"a/b.c/{name}",
    ],
)
def test_ways_to_write_flax_names(rename):
    (expected,) = formats.read(GOLDEN / "npz/linen.npz")
    renamed = {rename(name): value for name, value in arrays_of("linen").items()}
    (found,) = formats.read(saved(renamed))
    assert same(found, expected)


def test_several_are_several():
    arrays = arrays_of("mlx") | {f"up.{name}": one for name, one in arrays_of("mlx").items()}
    arrays |= arrays_of("linen") | arrays_of("torch")
    names = {one.name for one in formats.read(saved(arrays))}
    assert names == {"layers.0", "up.layers.0", "params/cell", "rnn"}


def without(name):
    return lambda arrays: arrays.pop(name)


def put(**values):
    return lambda arrays: arrays.update({k.replace("__", "/"): v for k, v in values.items()})


REFUSED = [
    ("linen", without("params/cell/ig/kernel"), "params/cell/ig/kernel is missing"),
    ("linen", without("params/cell/hf/bias"), "params/cell/hf/bias is missing"),
    ("linen", put(params__cell__if__kernel=np.ones((2, 4))), r"its gates have shapes \(2, 4\) and"),
    ("linen", put(params__cell__if__kernel=np.ones(4)), "its gates have shapes"),
    ("linen", put(params__cell__if__kernel=np.array(None)), "Python objects"),
    ("linen", put(params__cell__if__kernel=np.full((3, 4), np.nan)), "not finite"),
    ("linen", put(params__cell__if__kernel=np.full((3, 4), "a")), "expected real numbers"),
    ("linen", put(params__cell__decay=np.ones(4)), "'params/cell/decay' is beside"),
    ("nnx_optimized", without("cell.dense_h.kernel"), "there is no LSTM in it; there are arrays"),
    ("mlx", without("layers.0.Wh"), "there is no LSTM in it, but a GRU"),
    ("mlx", lambda a: a.update({"layers.0.Wx": np.ones((15, 3))}), "has shape"),
    ("mlx", lambda a: a.update({"layers.0.Wx": np.ones((16, 3, 1))}), "has shape"),
    ("mlx", lambda a: a.update({"layers.0.Wx": np.ones(())}), "has shape"),
    ("mlx", lambda a: a.update({"layers.0.gate": np.ones(16)}), "'layers.0.gate' is beside"),
]


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_what_is_refused(name, change, message):
    arrays = arrays_of(name)
    change(arrays)
    with pytest.raises(FormatError, match=message) as caught:
        lstm_fast.load(saved(arrays))
    assert len(str(caught.value)) < 500


def test_ignore_leaves_arrays_out():
    arrays = arrays_of("linen") | {"params/cell/peephole": np.ones(12)}
    (found,) = formats.read(saved(arrays), ignore="params/cell/peephole")
    assert "left out, as ignore= asks: 'params/cell/peephole'" in found.notes
    (found,) = formats.read(saved(arrays_of("mlx") | arrays), ignore="params/*")
    assert found.name == "layers.0"


def test_only_a_gru_is_told():
    arrays = {name: one for name, one in arrays_of("mlx").items() if "layers.1" in name}
    flax = {f"cell/{side}{gate}/kernel": np.ones((2, 2)) for side in "ih" for gate in "rzn"}
    for some in (
        arrays,
        flax,
        {"dense_i.kernel": np.ones((2, 6)), "dense_h.kernel": np.ones((2, 6))},
    ):
        with pytest.raises(FormatError, match="there is no LSTM in it, but a GRU under"):
            lstm_fast.load(saved(some))


def header(tensors, metadata):
    """Return a safetensors file of zeros."""
    entries, end = {"__metadata__": metadata}, 0
    for name, shape in tensors.items():
        size = 4 * int(np.prod(shape))
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def test_a_file_of_pytorch_with_such_names_is_not_taken_for_mlxs():
    """Whoever writes a cell in PyTorch may call its weights so, with the gates in any order."""
    tensors = {"a.Wx": [16, 3], "a.Wh": [16, 4]}
    assert formats.read(header(tensors, None))[0].name == "a"
    assert formats.read(header(tensors, {"format": "mlx"}))[0].name == "a"
    assert formats.read(header(tensors, {"format": "pt"})) == []


def test_shards_of_mlx(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(header({"l.Wx": [16, 3]}, None))
    (tmp_path / "b.safetensors").write_bytes(header({"l.Wh": [16, 4], "other": [1]}, None))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"l.Wx": "a.safetensors", "l.Wh": "b.safetensors"}}))
    (found,) = formats.read(index)
    assert (found.name, found.weights.input_size) == ("l", 3)


def test_variables_of_tensorflow_1_are_still_its_own(tmp_path):
    path = GOLDEN / "tf1/basic.npz"
    assert formats.read(path, forget_bias=1.0)[0].name.endswith("basic_lstm_cell")
    with pytest.raises(FormatError, match="there are arrays a"):
        lstm_fast.load(saved({"a": np.ones(3)}))


# ---- hostile .npz --------------------------------------------------------------------------------


def member(content, name="rnn.weight_ih_l0", **options):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", **options) as archive:
        archive.writestr(f"{name}.npy", content)
        archive.writestr("rnn.weight_hh_l0.npy", one_array(np.ones((16, 4), np.float32)))
    return memory.getvalue()


def one_array(array):
    memory = io.BytesIO()
    np.save(memory, array)
    return memory.getvalue()


def npy(text, data=b""):
    text = text.encode("latin-1").ljust(54) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


HEADERS = [
    (b"", "no array where one should begin"),
    (b"\x93NUMPY\x07\x00" + bytes(40), "its header is of version 7"),
    (b"\x93NUMPY\x02\x00" + b"\xff" * 40, "claims 4294967295 bytes"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (16, 3)}"), "is not what it holds"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2**99,)}"), "damaged"),
    (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3)}"), "not a tuple of sizes"),
    (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "Python objects"),
    (npy("{'descr': '<f4'}"), "damaged"),
    (npy("[" * 500), "damaged"),
    (npy("__import__('os')"), "damaged"),
]


@pytest.mark.parametrize(("content", "message"), HEADERS)
def test_damaged_headers_are_refused_in_every_place(content, message):
    with pytest.raises(FormatError, match=message):
        formats.read(member(content))
    if content[:6] == b"\x93NUMPY":
        line = b'{"a": 1}\n'
        with pytest.raises(FormatError):
            equinox.read(line + content)


def test_a_bomb_is_refused():
    zeros = one_array(np.zeros((16, 1_000_000), np.float32))
    data = member(zeros, compression=zipfile.ZIP_DEFLATED)
    assert len(data) < 100_000
    with pytest.raises(FormatError, match=r"more than the (file can hold|\d+ that are left)"):
        formats.read(data)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    data = (GOLDEN / name).read_bytes()
    assert refused(formats.read, tmp_path / f"a{name[name.rindex('.') :]}", data, 150) > 20


# ---- Equinox -------------------------------------------------------------------------------------


def stream(*shapes, dtype=np.float32):
    return b"".join(one_array(np.ones(shape, dtype)) for shape in shapes)


def test_which_arrays_are_a_cell():
    path = GOLDEN / "equinox/cell.eqx"
    (found,) = equinox.read(path)
    assert "arrays 2, 3, 4 are taken for an LSTMCell's weight_ih, weight_hh" in found.assumptions[0]
    (told,) = formats.read(path, arrays=[2, 3, 4])
    assert told.assumptions == ()
    assert same(told, found)
    (other,) = formats.read(path, arrays=[2, 3])
    assert other.weights.layers[0].bias_ih is None
    lstm_fast.load(path, arrays=[2, 3, 4])  # without a warning
    with pytest.raises(FormatError, match="there are 9 arrays, no 9"):
        equinox.read(path, arrays=[2, 3, 9])
    with pytest.raises(FormatError, match="arrays 0, 1"):
        equinox.read(path, arrays=[0, 1])
    for wrong in ([2], [2, -3], [2.0, 3], "ab", 3, [True, 2]):
        with pytest.raises(ValueError, match="arrays is a list of two or three numbers"):
            equinox.read(path, arrays=wrong)


def test_several_cells_and_none():
    found = formats.read(stream((8, 3), (8, 2), (8,), (1, 2), (8, 2), (8, 2), (4,)))
    assert [one.name for one in found] == ["array 0", "array 4"]
    assert formats.read(stream((8, 3), (8, 3), (8,))) == []  # no units have that size
    assert formats.read(stream((6, 3), (6, 2), (6,), (2,))) == []  # a GRU
    with pytest.raises(FormatError, match=r"no LSTM in it; there are arrays of shapes \(6, 3\), "):
        lstm_fast.load(stream((6, 3), (6, 2), (6,), (2,)))


def test_other_dtypes_are_read():
    (half,) = formats.read(stream((8, 3), (8, 2), dtype=np.float16))
    assert half.weights.layers[0].weight_ih.dtype == np.float32
    data = np.full((8, 2), 0x3FC0, "<u2").view("V2")  # 1.5 as bfloat16, as NumPy writes that
    (found,) = formats.read(one_array(data) + one_array(data))
    assert np.all(found.weights.layers[0].weight_ih == 1.5)
    with pytest.raises(FormatError, match="expected real numbers"):
        formats.read(stream((8, 3), (8, 2), dtype="U1"))


def test_one_array_alone_has_no_cell(tmp_path):
    for suffix in ("", ".eqx", ".npy"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(stream((8, 3)))
        with pytest.raises(FormatError, match="one NumPy array without a name"):
            formats.read(path)


def test_inventory_of_npz():
    assert npz.inventory(npz.Source(saved({"a": np.ones(1)}))) == "there are arrays a"
