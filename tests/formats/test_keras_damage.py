"""Damaged Keras files, and what HDF5 allows but Keras does not write: errors, nothing else."""

from __future__ import annotations

import io
import json
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_cases import FOLDER

from lstm_fast import FormatError, formats

WHOLE = {
    suffix: (FOLDER / name).read_bytes()
    for suffix, name in {
        ".keras": "keras3_stacks.keras",
        ".h5": "keras2_cudnn.h5",
        ".weights.h5": "keras3_alone.weights.h5",
    }.items()
}


def read_bytes(folder, suffix, data):
    path = folder / f"file{suffix}"
    path.write_bytes(data)
    return formats.read(path, format="keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def zipped(folder, change=None, **members):
    """Return what is found in the .keras file with members replaced, or changed by a function."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(io.BytesIO(WHOLE[".keras"])) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = members.get(name.partition(".")[0], old.read(name))
            if data is not None:
                new.writestr(name, change(name, data) if change else data)
    return formats.read(path)


def with_config(folder, change):
    """Return what is found in the .keras file with its config changed in place."""

    def edit(name, data):
        if name != "config.json":
            return data
        config = json.loads(data)
        change(config)
        return json.dumps(config)

    return zipped(folder, edit)


def lstms_of(config):
    """Yield the configs of all LSTMs."""
    if isinstance(config, dict):
        if config.get("class_name") == "LSTM":
            yield config
        for inner in config.values():
            yield from lstms_of(inner)
    elif isinstance(config, list):
        for inner in config:
            yield from lstms_of(inner)


@pytest.mark.parametrize("suffix", WHOLE)
def test_cut_anywhere(suffix, folder):
    whole = WHOLE[suffix]
    assert read_bytes(folder, suffix, whole)
    for length in range(0, len(whole), 97):
        with pytest.raises(FormatError, match=r"file\..*: "):
            read_bytes(folder, suffix, whole[:length])


@pytest.mark.parametrize("suffix", WHOLE)
@given(data=st.data())
def test_changed_anywhere(suffix, folder, data):
    """Each value may be damage or none; nothing but a FormatError may come of it."""
    damaged = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        piece = data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)))
        damaged[at : at + len(piece)] = piece
    try:
        found = read_bytes(folder, suffix, bytes(damaged))
    except FormatError as error:
        assert f"file{suffix}: " in str(error)
    else:
        for one in found:
            if isinstance(one, formats.Refused):
                assert f"file{suffix}: " in str(one.error)
                continue
            for layer in one.weights.layers:
                assert all(np.isfinite(value).all() for value in layer.parameters().values())


# ---- the zip file --------------------------------------------------------------------------------


def test_a_part_is_missing(folder):
    for name in ("config", "metadata", "model"):
        with pytest.raises(FormatError, match=f"{name}.*no item named"):
            zipped(folder, **{name: None})


def test_a_part_claims_too_much(folder):
    path = folder / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", "{}")
        file.writestr("model.weights.h5", bytes(64 << 20))
    with pytest.raises(
        FormatError, match=r"model.weights.h5 would take 134217728 bytes of memory, more"
    ):
        formats.read(path)


def test_many_values_in_a_small_config(folder):
    with pytest.raises(FormatError, match=r"config\.json: what it holds takes more work"):
        zipped(folder, config=b"[" + b"[]," * (1 << 20) + b"0]")
    with pytest.raises(FormatError, match="config"):
        zipped(folder, config=b"[" * 100000 + b"]" * 100000)


def test_recompressed_is_the_same(folder):
    path = folder / "small.keras"
    with (
        zipfile.ZipFile(io.BytesIO(WHOLE[".keras"])) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    mine, whole = formats.read(path)[0], formats.read(FOLDER / "keras3_stacks.keras")[0]
    np.testing.assert_array_equal(
        mine.weights.layers[0].weight_ih, whole.weights.layers[0].weight_ih
    )


# ---- the config ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("activation", "swish", "activation of sequential/low is 'swish'"),
        ("recurrent_activation", {"class_name": "function", "config": "mine"}, "is 'mine'"),
        ("activation", 7, "is 7, which is not computed here"),
        ("units", 5, r"with 5 units they should be \(inputs, 20\)"),
        ("units", -1, "has -1 units"),
        ("units", "4", "has '4' units"),
        ("use_bias", False, "has arrays of shapes"),
        ("output_dim", 4, "is of Keras 1"),
    ],
)
def test_options_that_are_wrong(option, value, match, folder):
    def change(config):
        next(lstms_of(config))["config"][option] = value

    low, high = with_config(folder, change)  # the error is of the layer that has it
    assert (low.name, high.name) == ("sequential/low", "sequential/high")
    assert isinstance(low, formats.Refused)
    assert re.search(match, str(low.error))
    assert "changed.keras: " in str(low.error)
    assert high.weights.num_layers == 1


def test_an_activation_that_is_a_layer(folder):
    def change(config):
        low, high = (one["config"] for one in lstms_of(config))
        slope = {"class_name": "LeakyReLU", "config": {"negative_slope": 0.125}}
        low["activation"], high["activation"] = slope, {"class_name": "ELU", "config": {"alpha": 2}}

    (found,) = with_config(folder, change)
    low, high = (str(layer.cell.input) for layer in found.weights.layers)
    assert (low, high) == ("leaky_relu(alpha=0.125)", "elu(alpha=2)")


def test_a_hard_sigmoid_of_no_version(folder):
    def change(name, data):
        if name == "config.json":
            return data.replace(b'"sigmoid"', b'"hard_sigmoid"')
        return b"{}" if name == "metadata.json" else data

    with pytest.raises(FormatError, match="Keras 2 and 3 compute differently"):
        zipped(folder, change)


@pytest.mark.parametrize(
    "config", ["7", "[]", "null", '{"config": []}', '{"config": {"layers": 3}}']
)
def test_a_config_of_nothing_leaves_weights_alone(config, folder):
    found = zipped(folder, config=config)
    assert [one.name for one in found] == ["sequential/low", "sequential/high"]
    assert all("does not say what it computes" in one.assumptions[0] for one in found)


# ---- what HDF5 allows ----------------------------------------------------------------------------


def weights_file(folder, kernel=None, **options):
    """Write the weights of an LSTM with h5py; kernel makes the first array in a group."""
    h5py = pytest.importorskip("h5py")
    path = folder / "made.weights.h5"
    with h5py.File(path, "w", **options) as file:
        group = file.create_group("layers/lstm/cell/vars")
        if kernel is None:
            group["0"] = np.ones((3, 16), np.float32)
        else:
            kernel(group)
        group["1"] = np.ones((4, 16), np.float32)
        group["2"] = np.ones(16, np.float32)
    return path


def test_h5py_and_we_agree(folder):
    (found,) = formats.read(weights_file(folder))
    assert found.name == "lstm"
    for dtype in (">f4", "<f8", ">f2"):
        (found,) = formats.read(
            weights_file(
                folder, lambda g, d=dtype: g.create_dataset("0", data=np.eye(3, 16, dtype=d))
            )
        )
        np.testing.assert_array_equal(found.weights.layers[0].weight_ih, np.eye(16, 3))


@pytest.mark.parametrize(
    ("kernel", "match"),
    [
        (lambda g: g.create_dataset("0", (3, 16), "f4", chunks=(3, 4)), "in chunks"),
        (lambda g: g.create_dataset("0", (3, 16), "f4", compression="gzip"), "in chunks"),
        (lambda g: g.create_dataset("0", (3, 16), "i4"), "not floats of 16, 32 or 64 bits"),
        (lambda g: g.create_dataset("0", (3, 16), "S4"), "not floats of 16, 32 or 64 bits"),
        (
            lambda g: g.create_dataset("0", (3, 16), "f4", external=[("other", 0, 192)]),
            "in another file, which is not followed",
        ),
    ],
)
def test_arrays_that_keras_does_not_write(kernel, match, folder):
    with pytest.raises(FormatError, match=rf"weights: layers/lstm/cell/vars/0: .*{match}"):
        formats.read(weights_file(folder, kernel))


def test_a_view_of_other_files(folder):
    h5py = pytest.importorskip("h5py")
    source = h5py.VirtualSource("other.h5", "data", (3, 16))
    layout = h5py.VirtualLayout((3, 16), "f4")
    layout[:] = source
    with pytest.raises(FormatError, match="views of others"):
        formats.read(weights_file(folder, lambda g: g.create_virtual_dataset("0", layout)))


def test_links_are_not_followed(folder):
    h5py = pytest.importorskip("h5py")
    soft = h5py.SoftLink("/layers/lstm/cell/vars/1")
    assert formats.read(weights_file(folder, lambda g: g.__setitem__("0", soft))) == []
    away = h5py.ExternalLink("other.h5", "/a")  # which takes a group of the newer layout
    with pytest.raises(FormatError, match="newer layout, which Keras does not write"):
        formats.read(weights_file(folder, lambda g: g.__setitem__("0", away)))


def test_a_group_in_itself(folder):
    def circle(group):
        group["0"] = np.ones((3, 16), np.float32)
        group.file["layers/again"] = group.file["layers"]

    with pytest.raises(FormatError, match="is in two places"):
        formats.read(weights_file(folder, circle))


def test_the_newer_layout(folder):
    with pytest.raises(FormatError, match="newer layout, which Keras does not write"):
        formats.read(weights_file(folder, libver="latest"))
    with pytest.raises(FormatError, match="newer layout, which Keras does not write"):
        formats.read(weights_file(folder, track_order=True))


def test_claims_of_size(folder):
    """A shape beyond the file, and one beyond what memory may be taken for."""
    data = weights_file(folder).read_bytes()
    shape = np.array([3, 16], "<u8").tobytes()
    assert data.count(shape) == 2  # now, and at most
    for rows, match in ((1 << 40, "for a file of this size"), (5000, "has 192 bytes of")):
        path = folder / "claims.weights.h5"
        path.write_bytes(data.replace(shape, np.array([rows, 16], "<u8").tobytes()))
        with pytest.raises(FormatError, match=match):
            formats.read(path)


def test_arrays_over_each_other(folder):
    """Many arrays may claim the same bytes: together they may not take more than the limit."""
    path = folder / "many.weights.h5"
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        large = file.create_dataset("data", data=np.zeros((256, 1024), np.float32))
        for n in range(100):
            group = file.create_group(f"layers/lstm_{n}/cell/vars")
            group["0"] = group["1"] = large
    with pytest.raises(FormatError, match="for a file of this size"):
        formats.read(path)


def test_a_crc_is_checked(folder):
    """A .keras file knows of a flipped bit in a weight; an .h5 file does not."""
    data = bytearray(WHOLE[".keras"])
    data[len(data) // 2] ^= 1
    with pytest.raises(FormatError, match="CRC"):
        read_bytes(folder, ".keras", bytes(data))
