"""What is read: paths of every kind, bytes, open files; what is not a regular file is refused."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import lstm_fast
from lstm_fast import FormatError, WeightsNotKeptError, formats
from lstm_fast._source import Source

GOLDEN = Path(__file__).parent.parent / "golden" / "formats"
FILES = {
    "safetensors/two_layers.safetensors": {},
    "pytorch/checkpoint.ckpt": {},
    "pytorch/legacy.pth": {},
    "onnx/dynamo_stack.onnx": {},
    "keras/keras3_alone.weights.h5": {},
    "keras/keras3_stacks.keras": {},
    "tflite/keras_stack.tflite": {},
    "nam/one_layer.nam": {},
    "tf1/basic.npz": {"forget_bias": 1.0},
    "rtneural/stack.json": {},
    "rtneural/amp_lstm.aidax": {},
    "rtneural/proteus.json": {},
    "npz/linen.npz": {},
    "safetensors/mlx.safetensors": {},
    "equinox/cell.eqx": {},
}
NEEDS = {"onnx": ["onnx"], "tflite": ["tflite", "flatbuffers"]}


class PathOfBytes:
    """A path as some libraries have them."""

    def __init__(self, path):
        self.path = os.fsencode(path)

    def __fspath__(self):
        return self.path


class OnlyRead:
    """A file that can be read, and nothing else."""

    def __init__(self, data):
        self.read = lambda: data


def opened(path):
    return io.open(path, "rb")  # noqa: UP020  (which the test's end closes)


WAYS = {
    "str": str,
    "Path": Path,
    "PathLike": PurePosixPath,
    "PathLike of bytes": PathOfBytes,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "open": opened,
    "unbuffered": io.FileIO,
    "only read": lambda path: OnlyRead(path.read_bytes()),
}


@pytest.fixture(params=FILES)
def file(request):
    for library in NEEDS.get(request.param.partition("/")[0], []):
        pytest.importorskip(library)
    return GOLDEN / request.param, FILES[request.param]


def same(one, other):
    ours, theirs = one.weights.named(), other.weights.named()
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::lstm_fast.FormatWarning", "ignore::ResourceWarning")
def test_every_reader_takes_every_kind_of_source(file, way):
    path, options = file
    expected = formats.read(path, **options)
    found = formats.read(WAYS[way](path), **options)
    assert [one.name for one in found] == [one.name for one in expected]
    assert all(same(*both) for both in zip(found, expected, strict=True))


def test_a_file_is_read_from_where_it_stands(tmp_path):
    data = (GOLDEN / "nam/one_layer.nam").read_bytes()
    path = tmp_path / "many"
    path.write_bytes(b"something before" + data)
    with path.open("rb") as handle:
        handle.seek(16)
        (one,) = formats.read(handle)
        assert handle.read() == b""
    (expected,) = formats.read(data)
    assert same(one, expected)
    with path.open("rb") as handle, pytest.raises(FormatError):  # and from its beginning it is none
        formats.read(handle)


def test_a_file_that_stands_at_its_end_is_told():
    """What `torch.save(state_dict, buffer)` leaves, and whoever has read the file before."""
    data = (GOLDEN / "nam/one_layer.nam").read_bytes()
    buffer = io.BytesIO()
    buffer.write(data)
    for read in (formats.read, lstm_fast.load, lstm_fast.load_model):
        with pytest.raises(FormatError, match=rf"position is byte {len(data)}, .*file\.seek\(0\)"):
            read(buffer)
    stream = lstm_fast.LSTM.random(3, 5).stream()
    snapshot = io.BytesIO()
    snapshot.write(stream.snapshot())
    with pytest.raises(lstm_fast.SnapshotError, match=r"file\.seek\(0\)"):
        stream.restore(snapshot)
    snapshot.seek(0)
    stream.restore(snapshot)
    buffer.seek(0)
    assert formats.read(buffer)
    with pytest.raises(FormatError, match="it is empty"):
        formats.read(io.BytesIO())


MARKED = [
    "nam/one_layer.nam",
    "rtneural/stack.json",
    "rtneural/proteus.json",
    "safetensors/sharded/model.safetensors.index.json",
]


@pytest.mark.parametrize("name", MARKED)
def test_a_mark_before_a_json_text_is_passed_over(tmp_path, name):
    """Editors put it there, and players read such files."""
    folder = tmp_path / "model"
    shutil.copytree((GOLDEN / name).parent, folder)
    path = folder / Path(name).name
    expected = formats.read(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    given = [path] if "index" in name else [path, path.read_bytes()]
    for one in given:
        found = formats.read(one)
        assert all(same(*both) for both in zip(found, expected, strict=True))
    path.write_bytes(b"\xef\xbb\xbf" * 2 + path.read_bytes()[3:])  # but not two of them
    with pytest.raises(FormatError):
        formats.read(path)


def test_what_was_given_may_change_afterwards():
    data = bytearray((GOLDEN / "safetensors/two_layers.safetensors").read_bytes())
    (expected,) = formats.read(bytes(data))
    (found,) = formats.read(data)
    data[:] = bytes(len(data))
    assert same(found, expected)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_whole_models_from_bytes(tmp_path):
    program = lstm_fast.load(GOLDEN / "safetensors/two_layers.safetensors").program
    model = lstm_fast.Model.from_program(program)
    data = model.to_bytes()
    (tmp_path / "a.lfm").write_bytes(data)
    for given in (data, io.BytesIO(data), tmp_path / "a.lfm", opened(tmp_path / "a.lfm")):
        assert lstm_fast.load_model(given).fingerprint == model.fingerprint
    nam = GOLDEN / "nam/one_layer.nam"
    expected = lstm_fast.load_model(nam).fingerprint
    assert lstm_fast.load_model(nam.read_bytes()).fingerprint == expected


def test_small_weights_of_bytes_cannot_be_read_again():
    path = GOLDEN / "safetensors/two_layers.safetensors"
    assert lstm_fast.load(path, weight_dtype="int8").state_dict()
    lstm = lstm_fast.load(path.read_bytes(), weight_dtype="int8")
    with pytest.raises(WeightsNotKeptError, match="keep_weights=True"):
        lstm.state_dict()
    kept = lstm_fast.load(path.read_bytes(), weight_dtype="int8", keep_weights=True)
    assert kept.state_dict()


@pytest.mark.parametrize("given", [None, 3, 1.5, ["model.onnx"], object()])
@pytest.mark.parametrize("read", [formats.read, lstm_fast.load, lstm_fast.load_model])
def test_what_is_none_of_these_is_a_type_error(read, given):
    with pytest.raises(TypeError, match="a path, bytes, or a file that is open in binary mode"):
        read(given)


def test_text_mode_is_refused(tmp_path):
    path = GOLDEN / "nam/one_layer.nam"
    with path.open(encoding="utf-8") as handle, pytest.raises(TypeError, match="text mode"):
        formats.read(handle)
    with pytest.raises(TypeError, match="it gave str, not bytes"):
        formats.read(OnlyRead("text"))


def test_an_index_of_shards_needs_its_path():
    path = GOLDEN / "safetensors/sharded/model.safetensors.index.json"
    with path.open("rb") as handle, pytest.raises(FormatError, match="give the path of the file"):
        formats.read(handle)


# ---- what is no regular file ---------------------------------------------------------------------

SUFFIXES = (
    *(".nam", ".onnx", ".tflite", ".npz", ".safetensors", ".safetensors.index.json", ".pt"),
    *(".keras", ".h5", ".lfm", ".json", ".aidax", ".eqx"),
)


def device(path):
    path.symlink_to("/dev/zero")


def fifo(path):
    os.mkfifo(path)


def loop(path):
    other = path.with_name("other")
    path.symlink_to(other)
    other.symlink_to(path)


def unix_socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # since the path of a socket may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


IRREGULAR = {"device": device, "pipe": fifo, "loop": loop, "socket": unix_socket}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there are none on Windows")


@POSIX
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_refused_in_words(tmp_path, kind, suffix):
    path = tmp_path / f"m{suffix}"
    IRREGULAR[kind](path)
    text = "a link that leads to itself" if kind == "loop" else "not a regular file"
    for read in (formats.read, lstm_fast.load, lstm_fast.load_model):
        with pytest.raises(FormatError, match=text):
            read(path)


@POSIX
@pytest.mark.parametrize("reader", formats.READERS)
def test_each_reader_alone_refuses_them(tmp_path, reader):
    module = getattr(formats, reader)
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zero", "pipe"):
        with pytest.raises(FormatError, match="not a regular file"):
            module.read(tmp_path / name)
    with pytest.raises(FormatError, match="it is a directory"):
        module.read(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    """A NUL, and half a character of UTF-16."""
    readers = [getattr(formats, reader).read for reader in formats.READERS]
    for read in (formats.read, lstm_fast.load, lstm_fast.load_model, *readers):
        with pytest.raises(FormatError, match="no file can have this name"):
            read(tmp_path / name)
    with pytest.raises(lstm_fast.SnapshotError, match="no file can have this name"):
        lstm_fast.LSTM.random(1, 1).stream().restore(tmp_path / name)
    with pytest.raises(FileNotFoundError):  # the negative control
        formats.read(tmp_path / "ab")


@POSIX
def test_open_devices_and_pipes_are_refused():
    for path in ("/dev/zero", "/dev/null"):
        give = r"give what it holds, file\.read\(\)"
        with Path(path).open("rb") as handle, pytest.raises(FormatError, match=give):
            formats.read(handle)
    read_end, write_end = os.pipe()
    os.close(write_end)
    with (
        os.fdopen(read_end, "rb") as handle,
        pytest.raises(FormatError, match="not a regular file"),
    ):
        formats.read(handle)


@POSIX
def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "m.nam").symlink_to(GOLDEN / "nam/one_layer.nam")
    assert formats.read(tmp_path / "m.nam")


# ---- other files of a model ----------------------------------------------------------------------


@pytest.fixture
def sharded(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "safetensors/sharded", folder)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    return folder / "model.safetensors.index.json", shards


@POSIX
def test_shards_of_a_download_cache_are_read(tmp_path, sharded):
    """All files lie in one folder, by the hash of what they hold; a model has links to there."""
    index, shards = sharded
    expected = formats.read(index)
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for n, path in enumerate([index, *shards]):
        path.rename(blobs / f"hash{n}")
        path.symlink_to(Path("../blobs") / f"hash{n}")
    assert [same(*both) for both in zip(formats.read(index), expected, strict=True)] == [True]


@POSIX
@pytest.mark.parametrize("kind", [*IRREGULAR, "out", "gone", "folder"])
def test_a_shard_that_is_none_is_refused(tmp_path, sharded, kind):
    index, shards = sharded
    shard = shards[0]
    if kind == "out":
        shard.rename(tmp_path / "elsewhere.safetensors")
        shard.symlink_to(tmp_path / "elsewhere.safetensors")
    else:
        shard.unlink()
    if kind in IRREGULAR:
        IRREGULAR[kind](shard)
    if kind == "folder":
        shard.mkdir()
    texts = {
        "device": "link out of the file's folder",
        "loop": "leads to itself",
        "out": "link out of the file's folder",
        "gone": "is missing beside it",
        "folder": "it is a directory",
    }
    with pytest.raises(FormatError, match=texts.get(kind, "not a regular file")):
        formats.read(index)


INSTEAD = {
    b"version https://git-lfs.github.com/spec/v1\nsize 23131\n": "it is a Git LFS pointer and not",
    b"<!DOCTYPE html><title>429</title>": r"it is an HTML page \('429'\)",
    b"": "it is empty",
}


@pytest.mark.parametrize("data", INSTEAD, ids=lambda data: data[:7].decode() or "empty")
def test_what_came_in_place_of_a_shard_is_told(sharded, data):
    index, shards = sharded
    shards[0].write_bytes(data)
    with pytest.raises(FormatError, match=f"shard '{shards[0].name}': {INSTEAD[data]}"):
        formats.read(index)


def test_a_shard_alone_and_an_index_without_its_place(sharded):
    index, shards = sharded
    with pytest.raises(
        FormatError, match=r"one of 3 shards: .* ends in \.safetensors\.index\.json"
    ):
        formats.read(shards[0])
    with pytest.raises(FormatError, match="looked for beside it: give its path"):
        formats.read(index.read_bytes())
    elsewhere = shards[0].rename(index.with_name("a.safetensors"))
    with pytest.raises(FormatError) as caught:
        formats.read(elsewhere)
    assert "shards" not in str(caught.value)


def test_a_name_cannot_lead_out(tmp_path):
    source = Source(GOLDEN / "nam/one_layer.nam")
    names = ("", "../a", "/etc/passwd", "a/../../b", "..\\b", "C:\\b", "\\\\host\\b", "a\0b")
    for name in names:
        with pytest.raises(ValueError, match="outside of the file's folder"):
            source.beside(name)
    with pytest.raises(ValueError, match="missing") as caught:
        source.beside("x" * 200)
    assert len(str(caught.value)) < 200


# ---- the budget ----------------------------------------------------------------------------------


def test_a_budget_is_used_up_by_memory_and_by_work():
    source = Source(bytes(1000))
    left = source.budget.memory_left
    source.budget.memory(left)
    with pytest.raises(FormatError, match=r"<bytes>: the names would take 1 bytes of memory"):
        source.budget.memory(1, "the names")
    source.budget.give_back(1)
    source.budget.memory(1)
    with pytest.raises(FormatError, match="more work than a file of this size can need"):
        source.budget.work(10**9)
    with pytest.raises(FormatError) as caught:
        source.budget.memory(10**100_000)
    assert len(str(caught.value)) < 300


def test_a_budget_grows_with_the_file_and_the_files_beside_it(sharded):
    index, shards = sharded
    assert Source(bytes(10**6)).budget.memory_left > Source(b"").budget.memory_left
    source = Source(index)
    before = source.budget.memory_left, source.budget.work_left
    shard = source.beside(shards[0].name)
    assert shard.budget is source.budget
    after = source.budget.memory_left, source.budget.work_left
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert source.beside(shards[0].name) is shard  # and is counted once
    assert (source.budget.memory_left, source.budget.work_left) == after
