"""Programs of torch.export, NeMo's tar files, indices of shards: read, or refused where damaged.

The files are written by hand here, as the frameworks write them; test_torch_family_live.py has some
of their own.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile

import numpy as np
import pytest
from damage import damaged
from handmade import SHAPES, arrays, dumped, state_dict, storage, strides, tensor, values, write_zip

import lstm_fast
from lstm_fast import FormatError, formats
from lstm_fast.cli import main
from lstm_fast.formats import _tar, pytorch

RIGHT = arrays()


def is_right(given, **options):
    (found,) = formats.read(given, **options)
    weights = found.weights.state_dict()
    return weights.keys() == RIGHT.keys() and all(
        np.array_equal(weights[name], RIGHT[name]) for name in RIGHT
    )


@pytest.fixture
def saved(tmp_path):
    """The bytes of a state dict."""
    return write_zip(tmp_path / "saved.pt", state_dict(), values()).read_bytes()


# ---- torch.export --------------------------------------------------------------------------------


def meta(file, shape, steps=None, offset=0, dtype=7, **more):
    sizes, steps = ([{"as_int": n} for n in some] for some in (shape, steps or strides(shape)))
    return {
        "path_name": file,
        "use_pickle": False,
        "tensor_meta": {
            "dtype": dtype,
            "sizes": sizes,
            "strides": steps,
            "storage_offset": {"as_int": offset},
            "layout": 7,
        },
        **more,
    }


def exported(path, config=None, files=None, root="m/", model="model", **members):
    """Write a program as PyTorch does since 2.8."""
    if config is None:
        config = {
            name: meta(f"weight_{n}", shape) for n, (name, shape) in enumerate(SHAPES.items())
        }
    if files is None:
        files = {f"weight_{key}": data for key, data in values().items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{root}data/weights/{name}", data)
        text = json.dumps({"config": config})
        archive.writestr(f"{root}data/weights/{model}_weights_config.json", text)
        archive.writestr(f"{root}models/{model}.json", "{}")
        archive.writestr(f"{root}archive_format", "pt2")
        for name, data in members.items():
            archive.writestr(root + name.replace("__", "/").replace("_DOT_", "."), data)
    return path


def test_a_program_whose_tensors_are_constants(tmp_path):
    with pytest.raises(FormatError, match=r"no LSTM in it, and no parameter; .*: make it one, and"):
        formats.read(exported(tmp_path / "m.pt2", config={}, files={}))


@pytest.mark.parametrize("root", ["m/", "", "a.b/"])
def test_programs(root, tmp_path):
    path = exported(tmp_path / "m.pt2", root=root)
    assert is_right(path)
    assert is_right(path.read_bytes())
    path = path.rename(tmp_path / "unnamed")
    assert is_right(path)


def test_shared_files_and_views(tmp_path):
    """Names may be of parts of one storage, and of one."""
    config, at = {}, 0
    for name, shape in SHAPES.items():
        config[name] = meta("weight_0", shape, offset=at)
        at += int(np.prod(shape))
    config |= {f"b.{name}": entry for name, entry in config.items()}
    whole = b"".join(values().values())
    found = formats.read(exported(tmp_path / "m.pt2", config, {"weight_0": whole}))
    first, second = (one.weights.state_dict() for one in found)
    for name, right in RIGHT.items():
        assert np.array_equal(first[name], right)
        assert np.array_equal(second[name], right)


@pytest.mark.parametrize(("number", "dtype"), [(6, "<f2"), (8, "<f8")])
def test_dtypes(number, dtype, tmp_path):
    config = {
        name: meta(f"weight_{n}", shape, dtype=number)
        for n, (name, shape) in enumerate(SHAPES.items())
    }
    files = {f"weight_{key}": data for key, data in values(dtype).items()}
    (found,) = formats.read(exported(tmp_path / "m.pt2", config, files))
    right = RIGHT["weight_hh_l0"].astype(dtype).astype(np.float32)
    assert np.array_equal(found.weights.layers[0].weight_hh, right)


def test_constants_are_parameters_where_their_names_say_so(tmp_path):
    """And nothing else: what a forward computes with is not a part of a state dict."""
    config = {name: meta(f"weight_{n}", s) for n, (name, s) in enumerate(SHAPES.items())}
    constants = {
        "weight_hh_l0": meta("tensor_0", SHAPES["weight_hh_l0"]),
        "lifted_tensor_0": meta("tensor_0", (1,)),
        "tokenizer": {"path_name": "custom_obj_0", "use_pickle": True, "tensor_meta": None},
    }
    del config["weight_hh_l0"]
    path = exported(
        tmp_path / "m.pt2", config,
        data__constants__model_constants_config_DOT_json=json.dumps({"config": constants}),
        data__constants__tensor_0=values()["1"],
    )  # fmt: skip
    assert is_right(path)


def test_tensors_that_torch_save_wrote(tmp_path):
    """As of subclasses."""
    one = tensor(storage("0", 64), (16, 4))
    data = write_zip(tmp_path / "one.pt", one, {"0": values()["1"]}).read_bytes()
    config = {name: meta(f"weight_{n}", s) for n, (name, s) in enumerate(SHAPES.items())}
    config["weight_hh_l0"] = meta("weight_1", (16, 4), use_pickle=True)
    files = {f"weight_{key}": data for key, data in values().items()} | {"weight_1": data}
    assert is_right(exported(tmp_path / "m.pt2", config, files))
    config["weight_hh_l0"] = meta("weight_1", (16, 4), dtype=0, use_pickle=True)
    files["weight_1"] = dumped({"a": 1})
    with pytest.raises(FormatError, match="weight_hh_l0: it is kept in a way that only PyTorch"):
        formats.read(exported(tmp_path / "m.pt2", config, files))


@pytest.mark.parametrize(
    "name", ["serialized_state_dict.pt", "serialized_state_dict.json", "data/weights/model.pt"]
)
def test_programs_of_before(name, tmp_path, saved):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr(name, saved)
    assert is_right(path)
    assert is_right(path.read_bytes())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (3, "expected a JSON object"),
        ({"path_name": 3, "tensor_meta": {}}, "makes no sense"),
        ({"path_name": "x", "tensor_meta": 3}, "makes no sense"),
        (meta("weight_1", (16, 5)), "has shape"),
        (meta("weight_1", (16, 4), (-4, 1)), "layout makes no sense"),
        (meta("weight_1", (16, 4), (4, 1), 2**62), "reaches beyond its storage"),
        (meta("weight_1", (16, 4), dtype=29), "a tensor of torch"),
        (meta("weight_1", (16, 4), dtype=[7]), "a tensor of torch"),
        (meta("../weight_1", (16, 4)), "beyond its storage|there is no"),
        (meta("weight_1", ()), "has shape|expected"),
        (meta("weight_1", (16, 2**40), (0, 0)), "has shape"),
    ],
)
def test_entries_that_make_no_sense(entry, words, tmp_path):
    config = {name: meta(f"weight_{n}", s) for n, (name, s) in enumerate(SHAPES.items())}
    path = exported(tmp_path / "m.pt2", {**config, "weight_hh_l0": entry})
    with pytest.raises(FormatError, match=f"weight_hh_l0.*({words})"):
        formats.read(path)


def test_programs_without_weights(tmp_path):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/data/aotinductor/model/a.so", "x")
    with pytest.raises(FormatError, match="no weights in it: give what torch"):
        formats.read(path)
    with pytest.raises(FormatError, match=r"there is no LSTM in it .* but 1 tensor: head\.weight"):
        formats.read(exported(path, {"head.weight": meta("weight_0", (2, 2))}))
    for text in ("[]", "{", '{"config": 3}'):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive_format", "pt2")
            archive.writestr("data/weights/model_weights_config.json", text)
        with pytest.raises(FormatError, match="weights_config"):
            formats.read(path)


# ---- NeMo ----------------------------------------------------------------------------------------

CONFIG = b"target: nemo.collections.asr.models.EncDecRNNTBPEModel\n"


def nemo(path, members, mode="w", kind=tarfile.GNU_FORMAT):
    """Write a tar file with ./ before the names, as NeMo does."""
    with tarfile.open(path, mode, format=kind) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = data
                archive.addfile(info)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_nemo(mode, kind, tmp_path, saved):
    long = "./" + "tokenizer_" * 9 + "é/" + "vocab" * 10
    members = {"./": (tarfile.DIRTYPE, ""), long: b"a" * 700, "./model_config.yaml": CONFIG}
    path = nemo(tmp_path / "m.nemo", {**members, "./model_weights.ckpt": saved}, mode, kind)
    assert is_right(path)
    assert is_right(path.read_bytes())
    assert is_right(path.rename(tmp_path / "unnamed"))


def test_nemo_that_is_none(tmp_path, saved):
    path = tmp_path / "m.nemo"
    for members, words in (
        ({"./model_config.yaml": CONFIG}, "without model_weights.ckpt"),
        ({"./model_weights/0.zarr": b"a"}, "a distributed checkpoint"),
        ({f"mp_rank_0{n}/model_weights.ckpt": saved for n in range(2)}, "there are several"),
        ({"./model_weights.ckpt": (tarfile.SYMTYPE, "/etc/passwd")}, "is not a regular file"),
        ({"./model_weights.ckpt": (tarfile.LNKTYPE, "../a")}, "is not a regular file"),
        ({"./model_weights.ckpt": b"abc"}, "neither a zip file nor a pickle"),
    ):
        with pytest.raises(FormatError, match=words):
            formats.read(nemo(path, members))
    other = nemo(tmp_path / "a.tar", {"a.txt": b"a"})
    with pytest.raises(FormatError, match="a tar archive: unpack it"):
        formats.read(other)
    other.write_bytes(gzip.compress(other.read_bytes()))
    with pytest.raises(FormatError, match="compressed by gzip"):
        formats.read(other)


def test_names_lead_nowhere(tmp_path, saved):
    """Nothing is written to a disk, whatever a member is called."""
    for name in ("/model_weights.ckpt", "../../model_weights.ckpt"):
        assert is_right(nemo(tmp_path / "m.nemo", {name: saved}))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.nemo", "saved.pt"]


def test_a_bomb_in_gzip(tmp_path):
    """A claim takes no memory, and unpacking ends."""
    header = tarfile.TarInfo("model_weights.ckpt")
    header.size = 2**33
    path = tmp_path / "m.nemo"
    path.write_bytes(gzip.compress(header.tobuf() + bytes(1 << 20)))
    with pytest.raises(FormatError, match="a member of it would take 17179869184 bytes"):
        formats.read(path)
    header.name = "a"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.tobuf())
        for _ in range(400):
            file.write(bytes(1 << 20))
    with pytest.raises(FormatError, match="takes more work than a file of this size can need"):
        formats.read(path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_damaged_tar_files(mode, tmp_path, saved):
    path = nemo(
        tmp_path / "m.nemo", {"model_config.yaml": CONFIG, "model_weights.ckpt": saved}, mode
    )
    sound = path.read_bytes()
    refused = 0
    for cut in range(0, len(sound) - 8, 97):
        path.write_bytes(sound[:cut])
        try:
            assert is_right(path)  # only what follows the last member is missing
        except FormatError:
            refused += 1
    assert refused > 5
    for mutant in damaged(sound, 150, 1):
        path.write_bytes(mutant)
        try:
            formats.read(path)
        except FormatError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 2000


def test_records_of_pax():
    assert _tar._pax(b"12 path=abc\n") == ("abc", -1)
    assert _tar._pax(b"9 size=7\n9 path=a\n") == ("a", 7)
    for text in (b"12 path=abc", b"x", b"3 a", b"99 path=a\n", b"0 path=a\n", b"10 size=a\n"):
        with pytest.raises(ValueError, match="damaged"):
            _tar._pax(text)


# ---- shards --------------------------------------------------------------------------------------


def sharded(folder, names=SHAPES):
    """Write a state dict as two shards and their index."""
    weights, index = state_dict(), {}
    for n, shard in enumerate(
        ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    ):
        some = list(names)[2 * n : 2 * n + 2]
        write_zip(folder / shard, {name: weights[name] for name in some}, values())
        index |= dict.fromkeys(some, shard)
    path = folder / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    return path


def test_shards(tmp_path):
    path = sharded(tmp_path)
    assert is_right(path)
    assert is_right(path.rename(tmp_path / "other.index.json"))
    (tmp_path / "other.index.json").rename(path)
    with pytest.raises(FormatError, match=r"pytorch_model\.bin\.index\.json"):
        formats.read(tmp_path)


def test_shards_that_are_missing(tmp_path):
    path = sharded(tmp_path)
    shard = tmp_path / "pytorch_model-00002-of-00002.bin"
    write_zip(shard, {"bias_ih_l0": state_dict()["bias_ih_l0"]}, values())
    with pytest.raises(FormatError, match="'bias_hh_l0': it is not in 'pytorch_model-00002"):
        formats.read(path)
    shard.unlink()
    with pytest.raises(FormatError, match=r"00002-of-00002\.bin' is missing beside it"):
        formats.read(path)
    for name in ("../a.bin", "/a.bin", "a" * 300 + ".bin"):
        path.write_text(json.dumps({"weight_map": {"weight_ih_l0": name}}))
        with pytest.raises(FormatError, match=r"outside of the file's folder|is missing beside it"):
            formats.read(path)


# ---- all of them ---------------------------------------------------------------------------------


def made(kind, folder, saved):
    if kind == "pt2":
        return exported(folder / "m.pt2")
    if kind == "nemo":
        return nemo(folder / "m.nemo", {"model_weights.ckpt": saved})
    return sharded(folder)


@pytest.mark.parametrize("kind", ["pt2", "nemo", "shards"])
def test_on_the_command_line(kind, tmp_path, saved, capsys):
    path = made(kind, tmp_path, saved)
    assert main(["inspect", str(path)]) == 0
    assert "weight_hh_l0" in capsys.readouterr().out
    target = tmp_path / "out.safetensors"
    assert main(["convert", str(path), str(target)]) == 0
    assert is_right(target)
    assert lstm_fast.load(path).hidden_size == 4


@pytest.mark.parametrize("kind", ["pt2", "shards"])
def test_damage_is_refused_or_read(kind, tmp_path, saved):
    path = made(kind, tmp_path, saved)
    sound = path.read_bytes()
    refused = 0
    for mutant in damaged(sound, 200, 3):
        path.write_bytes(mutant)
        try:
            formats.read(path)
        except FormatError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


def test_the_index_of_a_program_is_hostile(tmp_path):
    """Its tree is damaged: other types, names twice, deep and long."""
    from mutate_safetensors import mutate

    config = {name: meta(f"weight_{n}", s) for n, (name, s) in enumerate(SHAPES.items())}
    text = json.dumps({"config": config}).encode()
    path = tmp_path / "m.pt2"
    for seed in range(150):
        with zipfile.ZipFile(path, "w") as archive:
            for key, data in values().items():
                archive.writestr(f"data/weights/weight_{key}", data)
            mutant = mutate(text, random.Random(seed))
            archive.writestr("data/weights/model_weights_config.json", mutant)
            archive.writestr("archive_format", "pt2")
        try:
            pytorch.read(path)
        except FormatError as error:
            assert len(str(error)) < 2000
