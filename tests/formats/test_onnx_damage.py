"""ONNX files that are not what they should be: external data, claims, wrong models, damage."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from lstm_fast.formats import FormatError, Refused, read

pytest.importorskip("onnx")
import onnx_damage
from onnx import TensorProto, helper
from onnx_models import (
    FLOAT,
    PLAIN,
    H,
    W,
    found,
    ints,
    lstm,
    model,
    node,
    plain,
    same,
    tensor,
)

__all__ = ["found", "plain"]  # fixtures

# ---- external data -------------------------------------------------------------------------------


def external(location, offset=0, length=W.nbytes, **entries):
    one = TensorProto(name="W", dims=W.shape, data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, "offset": offset, "length": length, **entries}.items():
        one.external_data.add(key=key, value=str(text))
    return model([lstm()], [one, *PLAIN[1:]])


def test_external_data_beside_the_model(tmp_path, found, plain):
    (tmp_path / "w.bin").write_bytes(bytes(12) + W.tobytes())
    (one,) = found(external("w.bin", 12))
    assert same(one.weights.state_dict(), plain)


def test_external_data_behind_links_of_a_download_cache(tmp_path, plain):
    for name in ("blobs", "snapshot"):
        (tmp_path / name).mkdir()
    for name, data in (("m", external("w.bin").SerializeToString()), ("w", W.tobytes())):
        (tmp_path / "blobs" / name).write_bytes(data)
    (tmp_path / "snapshot" / "model.onnx").symlink_to(tmp_path / "blobs" / "m")
    (tmp_path / "snapshot" / "w.bin").symlink_to(tmp_path / "blobs" / "w")
    (one,) = read(tmp_path / "snapshot" / "model.onnx")
    assert same(one.weights.state_dict(), plain)


def test_missing_external_data_is_named(found):
    with pytest.raises(FormatError, match=r"'w\.bin' is missing beside it"):
        found(external("w.bin"))


def test_a_pointer_in_place_of_external_data_is_told(found, tmp_path):
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    (tmp_path / "w.bin").write_bytes(text + b"\n" * W.nbytes)  # as many bytes as it takes
    with pytest.raises(FormatError, match=r"w\.bin: it is a Git LFS pointer and not the file of"):
        found(external("w.bin"))


@pytest.mark.parametrize("name", ["../w.bin", "/etc/passwd", "a/../../w.bin", "C:\\w", "..\\w", ""])
def test_external_data_stays_in_its_folder(name, found, tmp_path):
    (tmp_path.parent / "w.bin").write_bytes(W.tobytes())
    with pytest.raises(FormatError, match=r"out(side)? of the file's folder"):
        found(external(name))


def test_a_link_out_of_the_folder_is_not_followed(found, tmp_path):
    (tmp_path.parent / "secret.bin").write_bytes(W.tobytes())
    (tmp_path / "w.bin").symlink_to(tmp_path.parent / "secret.bin")
    with pytest.raises(FormatError, match=r"out(side)? of the file's folder"):
        found(external("w.bin"))


@pytest.mark.parametrize(
    ("offset", "length", "message"),
    [
        (1, W.nbytes, "which has 96"),
        (-4, W.nbytes, "which has 96"),
        (0, W.nbytes - 4, "it claims 92"),
        (0, 10**15, "it claims 10000"),
        ("x", W.nbytes, "invalid literal"),
    ],
)
def test_external_data_of_the_wrong_size(offset, length, message, found, tmp_path):
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    with pytest.raises(FormatError, match=message):
        found(external("w.bin", offset, length))


# ---- what is wrong -------------------------------------------------------------------------------

P = tensor("P", np.ones((1, 3 * H), np.float32))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"direction": "sideways"}, "direction is one of"),
        ({"hidden_size": 3}, "hidden_size is 3, but R has shape"),
        ({"layout": 2}, "layout is 0 or 1"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"activations": ["Sigmoid"]}, "expected 3 activations, found 1"),
        ({"activations": ["Sigmoid", "Mish", "Tanh"]}, "activation 'Mish' is none of sigmoid"),
        ({"direction": "bidirectional"}, "W has shape"),
        ({"flavour": 1}, "an LSTM has no attribute flavour"),
    ],
)
def test_attributes_that_make_no_sense(attributes, message, found):
    with pytest.raises(FormatError, match=rf"node 'lstm' \(LSTM\): .*{message}"):
        found(model([lstm(**attributes)], PLAIN))


@pytest.mark.parametrize("name", ["W", "R", "B"])
def test_shapes_that_do_not_fit(name, found):
    tensors = [tensor(t.name, np.ones((1, 3), np.float32)) if t.name == name else t for t in PLAIN]
    with pytest.raises(FormatError, match=f"{name} has shape"):
        found(model([lstm()], tensors))


def test_weights_that_are_not_finite(found):
    broken = W.copy()
    broken[0, 1, 2] = np.nan
    with pytest.raises(FormatError, match=r"W of node lstm .* is not finite"):
        found(model([lstm()], [tensor("W", broken), *PLAIN[1:]]))


TOO_MUCH = "bytes of memory, more than .* left for a file of this size"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (node("Expand", ["v", "s"], ["W"]), TOO_MUCH),
        (node("Tile", ["v", "s"], ["W"]), TOO_MUCH),
        (node("ConstantOfShape", ["s"], ["W"]), TOO_MUCH),
    ],
)
def test_claims_take_no_memory(make, message, found):
    huge = [tensor("v", np.ones((1, 1, 1), np.float32)), ints("s", 1, 2**20, 2**20)]
    with pytest.raises(FormatError, match=message):
        found(model([make, lstm()], [*huge, *PLAIN[1:]]))


def test_a_tensor_that_claims_more_than_it_has(found):
    claim = TensorProto(name="W", dims=[1, 2**40, 2**20], data_type=FLOAT, raw_data=b"1234")
    with pytest.raises(FormatError, match=r"tensor 'W': shape .* takes 4611686018427387904 bytes"):
        found(model([lstm()], [claim, *PLAIN[1:]]))


def test_a_function_that_calls_itself(found):
    body = [helper.make_node("Loopy", ["a"], ["b"], domain="mine")] * 3
    function = helper.make_function(
        "mine", "Loopy", ["a"], ["b"], body, [helper.make_opsetid("mine", 1)]
    )
    call = helper.make_node("Loopy", ["x"], ["y"], domain="mine")
    with pytest.raises(FormatError, match=r"nested without end|its graphs would take"):
        found(model([call], [], functions=[function]))


def test_other_networks_are_named(found):
    gru = helper.make_node("GRU", ["x", "W", "R"], ["y"], hidden_size=H)
    with pytest.raises(FormatError, match="no LSTM node in it, but GRU, which is not an LSTM"):
        found(model([gru], PLAIN))


# ---- damage --------------------------------------------------------------------------------------

FIXTURES = sorted((Path(__file__).parents[1] / "golden/formats/onnx").glob("*.onnx"))


def errors_only(data, path):
    """Whether the damage was seen: nothing could be read, or one LSTM of several is refused."""
    path.write_bytes(data)
    try:
        found = read(path, "onnx")
    except FormatError as error:
        assert str(error).startswith(f"{path}: ")
        return True
    return any(isinstance(one, Refused) for one in found)


@pytest.mark.parametrize("source", FIXTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("damage", [onnx_damage.damaged_bytes, onnx_damage.damaged_model])
def test_damaged_files_raise_format_errors_only(source, damage, tmp_path):
    rng = random.Random(source.name)
    for extra in source.parent.glob(f"{source.name}.*"):
        (tmp_path / extra.name).write_bytes(extra.read_bytes())
    data, path = source.read_bytes(), tmp_path / source.name
    assert not errors_only(data, path)
    seen = [errors_only(damage(data, rng), path) for _ in range(40)]
    assert any(seen)


def test_every_truncation_is_an_error(tmp_path):
    data = (FIXTURES[0].parent / "torchscript_opset7.onnx").read_bytes()
    for length in range(0, len(data), 37):
        assert errors_only(data[:length], tmp_path / "m.onnx")


def test_a_cut_between_two_fields_is_an_error(tmp_path):
    """The version of the operators stands last: what is before it is a whole message."""
    path = tmp_path / "a.onnx"
    path.write_bytes((FIXTURES[0].parent / "torchscript_opset7.onnx").read_bytes()[:-4])
    with pytest.raises(FormatError, match=r"opset_import\) is missing.*export it again"):
        read(path)


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'onnx>="):
        read(FIXTURES[0])
