"""What is given in place of a model: each kind is recognised, whatever its name, and a way out."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile

import numpy as np
import pytest
from framework_runs import GOLDEN

from lstm_fast import LSTM, FormatError, formats, load_model
from lstm_fast._source import Source
from lstm_fast.cli import main
from lstm_fast.formats import safetensors

SUFFIXES = (".pt", ".bin", ".onnx", ".h5", ".keras", ".tflite", ".nam", ".npz", ".safetensors", "")


def message(path, **options):
    """Return what is said of a file that cannot be read, without its path."""
    with pytest.raises(FormatError) as error:
        formats.load(path, **options)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "damaged" not in text
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def proto(number, content):
    """Return a field of a protobuf message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return file.getvalue()


def tarred(name):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        made.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def sound():
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8000)
        made.writeframes(bytes(100))
    return file.getvalue()


def npy():
    file = io.BytesIO()
    np.save(file, np.zeros((4, 3), np.float32))
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 2313101\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>404 -\n Not found</title></head></html>"
NODE = proto(1, proto(1, b"input") + proto(2, b"Placeholder"))
SAVED_MODEL = proto(1, 1) + proto(2, proto(1, proto(2, bytes(9000))))
CORE_ML = proto(1, 4) + proto(2, proto(1, proto(1, b"x"))) + proto(502, bytes(99))
KINDS = {
    "empty": (b"", "it is empty: fetch or write it again"),
    "Git LFS": (LFS, "a Git LFS pointer and not the file of 2,313,101 bytes: run `git lfs pull`"),
    "hawser": (LFS.replace(b"git-lfs.github", b"hawser.github"), "a Git LFS pointer"),
    "git-annex": (b"/annex/objects/SHA256E-s3--00.pt\n", "a git-annex pointer"),
    "page": (PAGE, "an HTML page ('404 - Not found'), such as a site sends in place of a file"),
    "page, BOM": (b"\xef\xbb\xbf \r\n" + PAGE.lower(), "an HTML page ('404 - not found')"),
    "page, comment": (b"<!-- a -->\n<HTML lang=en>", "an HTML page, such as"),
    "page, XHTML": (b'<?xml version="1.0"?>\n<!DOCTYPE html><html/>', "an HTML page, such as"),
    "page, UTF-16": (PAGE.decode().encode("utf-16"), "an HTML page ('404 - Not found')"),
    "XML error": (
        b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code><Message>Gone.</Message></Error>',
        "an XML document that begins with <Error> (NoSuchKey, Gone.)",
    ),
    "JSON error": (b'{"error": "Repository not found"}', "a JSON error ('Repository not found')"),
    "JSON message": (b'\n{"message": "Not Found", "status": 404}', "a JSON error ('Not Found')"),
    "Keras JSON": (b'{"class_name": "Sequential", "config": {}}', "architecture without weights"),
    "TF.js": (b'{"modelTopology": {}, "weightsManifest": []}', "a TensorFlow.js model"),
    "config": (b'{"model_type": "lstm", "architectures": []}', "a Hugging Face config"),
    "JSON": (b'{"vocabulary": [1]}', "a JSON text of vocabulary: give the file with the weights"),
    "SavedModel": (SAVED_MODEL, "TensorFlow's saved_model.pb"),
    "Core ML": (CORE_ML, "a Core ML model: give the file that it was made from"),
    "frozen graph": (NODE * 3, "a TensorFlow graph (GraphDef)"),
    "checkpoint": (bytes(40) + bytes.fromhex("57fb808b247547db"), "a TensorFlow checkpoint"),
    "Paddle program": (
        proto(1, b"\x08\x00\x10" + b"\xff" * 9 + b"\x01" + proto(3, b"fc")),
        "a PaddlePaddle program: export it by paddle2onnx",
    ),
    "Paddle tensors": (
        bytes(16) + struct.pack("<i", 6) + b"\x08\x05\x10\x03\x10\x04" + bytes(48),
        "PaddlePaddle's parameters",
    ),
    "Paddle dict": (
        pickle.dumps({"w": 1, "StructuredToParameterName@@": {}}, 4),
        "PaddlePaddle's parameters: load them there with paddle.load",
    ),
    "lfm": (b"\x89LFM\r\n\x1a\n" + bytes(64), "a whole model in our own format: read it with"),
    "GGUF": (b"GGUF\3\0\0\0" + bytes(64), "a GGUF file: give the file that it was made from"),
    "GGML": (struct.pack("<I", 0x67676D6C) + bytes(64), "a GGML file"),
    "GGJT": (struct.pack("<I", 0x67676A74) + bytes(64), "a GGML file"),
    "TensorRT": (b"ftrt" + bytes(64), "a TensorRT engine"),
    "ORT": (b"\x1c\0\0\0ORTM" + bytes(64), "a model in ONNX Runtime's own format"),
    "ExecuTorch": (b"\x1c\0\0\0ET12" + bytes(64), "an ExecuTorch program"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="m" version="11"/>', "an OpenVINO model"),
    "gzip": (gzip.compress(bytes(99)), "compressed by gzip: unpack it and give what is in it"),
    "bzip2": (bz2.compress(bytes(99)), "compressed by bzip2"),
    "xz": (lzma.compress(bytes(99)), "compressed by xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(99), "compressed by zstd"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01" + bytes(99), "a RAR archive"),
    "tar": (tarred("model.pt"), "a tar archive: unpack it"),
    "zip": (
        archive(a_DOT_txt="a", b__model_DOT_pt="b"),
        "a zip archive of a.txt, b/model.pt: unpack it and give b/model.pt",
    ),
    "mlpackage": (
        archive(Manifest_DOT_json="{}", Data__com_DOT_apple_DOT_CoreML__a="a"),
        "a Core ML package",
    ),
    "zipped SavedModel": (archive(m__saved_model_DOT_pb="a"), "a zipped TensorFlow SavedModel"),
    "TorchServe": (archive(m_DOT_pt="a", **{"MAR-INF__MANIFEST": "b"}), "a TorchServe archive"),
    "array": (npy(), "one NumPy array without a name: np.savez"),
    "text": (b"layer 1: 4 units\n", "a text that begins with 'layer 1: 4 units'"),
    "wav": (sound(), "WAV audio"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(30), "a picture"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
    "elf": (b"\x7fELF\x02\x01" + bytes(60), "a program or library"),
    "zeros": (bytes(5000), "nothing but zeros at its beginning: fetch it again"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_recognised_under_every_name(kind, tmp_path):
    data, expected = KINDS[kind]
    for suffix in SUFFIXES:
        path = tmp_path / f"model{suffix}"
        path.write_bytes(data)
        assert expected in message(path), suffix


def test_a_pickle_of_another_library(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"sklearn.svm": 1}, 4))
    assert "a pickle of scikit-learn, which is not run" in message(path)
    path.write_bytes(pickle.dumps({"vocabulary": 1}, 4))
    assert "there is no LSTM in it, and no tensor" in message(path)
    assert "but of 'pytorch'" in message(path, format="keras")


@pytest.mark.parametrize("format", formats.READERS)
def test_each_kind_is_recognised_by_every_reader(format, tmp_path):
    for kind, (data, expected) in KINDS.items():
        path = tmp_path / "model"
        path.write_bytes(data)
        assert expected in message(path, format=format), kind


def sources():
    folders = {"pytorch": "*.pt", "onnx": "*.onnx", "tflite": "*.tflite", "nam": "*.nam"}
    folders |= {"safetensors": "*.safetensors", "tf1": "*.npz", "keras": "*.h5"}
    for folder, pattern in folders.items():
        yield folder, sorted((GOLDEN / folder).glob(pattern))[0]
    yield "keras", GOLDEN / "keras" / "keras3_stacks.keras"
    yield "pytorch", GOLDEN / "pytorch" / "legacy.pth"
    yield "pytorch", GOLDEN / "pytorch" / "scripted.jit"


@pytest.mark.parametrize("format", formats.READERS)
def test_a_sound_file_of_another_format_is_not_called_damaged(format):
    for own, path in sources():
        if own != format:
            text = message(path, format=format)
            assert f"it is not a file of the format {format!r}, but of {own!r}" in text


def test_no_sound_file_is_taken_for_another_kind():
    """The negative control: all files that there are, and lengths that look like gzip's."""
    from lstm_fast.formats._recognise_others import certain
    from lstm_fast.formats._sample import HEAD, Sample

    for path in GOLDEN.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".data"):
            sample = Sample(Source(path), path.read_bytes()[:HEAD])
            is_safetensors = path.suffix == ".safetensors"
            assert certain(sample, is_safetensors=is_safetensors) is None, path


def test_a_safetensors_file_whose_length_looks_like_gzip(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.write(path, LSTM.random(2, 3, backend="reference").weights)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].ljust(0x088B1F)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    assert path.read_bytes()[:3] == b"\x1f\x8b\x08"
    assert formats.load(path, backend="reference").hidden_size == 3


# ---- names and neighbours ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.ckpt.data-00000-of-00001", "a part of a TensorFlow checkpoint"),
        ("model.mlmodel", "a Core ML model"),
        ("model.engine", "a TensorRT engine"),
        ("model.pdmodel", "a part of a PaddlePaddle model"),
        ("model.meta", "a part of a TensorFlow model"),
        ("model.caffemodel", "a Caffe model"),
        ("model.msgpack", "a file of Flax or JAX"),
    ],
)
def test_names_say_it_where_bytes_do_not(name, expected, tmp_path):
    path = tmp_path / name
    path.write_bytes(np.random.default_rng(0).bytes(200))
    assert expected in message(path)


def test_the_weights_beside_an_openvino_network(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(np.float32([0.1, 0.2] * 99).tobytes())
    (tmp_path / "model.xml").write_text('<?xml version="1.0"?><net name="m"></net>')
    assert "weights of an OpenVINO model, without names" in message(path)


def test_the_prefix_of_a_checkpoint(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    assert "it names a TensorFlow checkpoint" in message(tmp_path / "model.ckpt")


def test_an_index_of_shards_in_another_format(tmp_path):
    path = tmp_path / "model.index.json"
    path.write_text(json.dumps({"weight_map": {"lstm.weight_ih_l0": "model-1.msgpack"}}))
    assert "is a Hugging Face" not in message(path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert "its name has to end in .index.json" in message(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "model.pt"
    os.mkfifo(path)
    command = [sys.executable, "-m", "lstm_fast", "inspect", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "it is not a regular file but a pipe or device" in done.stderr


# ---- directories ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "it is a directory with nothing in it"),
        (["saved_model.pb", "variables/"], "a directory, a TensorFlow SavedModel: in TensorFlow"),
        (["Manifest.json", "Data/"], "a directory, a Core ML package"),
        (["data.pkl", "version", "data/"], "an unpacked file of torch.save: pack it again"),
        (["checkpoint", "m.index", "m.data-00000-of-00001"], "with a TensorFlow checkpoint"),
        (["model.pdmodel", "model.pdiparams"], "a PaddlePaddle model"),
        (["model.json", "group1-shard1of1.bin"], "a TensorFlow.js model"),
        (["config.json", "model.safetensors"], "it is a directory: give {}/model.safetensors"),
        (
            ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"],
            "it is a directory: give {}/model.safetensors.index.json",
        ),
        (["notes.txt"], "no file looks like a model; there are notes.txt"),
        (
            ["config.json", "pytorch_model.bin", "model.safetensors"],
            "give one of the files in it: model.safetensors, pytorch_model.bin",
        ),
    ],
)
def test_directories(names, expected, tmp_path):
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(b"")
    assert expected.format(tmp_path) in message(tmp_path)


def test_a_directory_of_a_directory(tmp_path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots/model.onnx").write_bytes(b"")
    assert f"give {tmp_path}/snapshots/model.onnx" in message(tmp_path)


# ---- an LSTM that is there no more ---------------------------------------------------------------


def test_of_a_safetensors_file_the_names_are_said(tmp_path):
    path = tmp_path / "model.safetensors"
    header = {
        f"layer.{n}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for n in range(20)
    }
    text = json.dumps({"__metadata__": {}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    text = message(path)
    assert "no LSTM in it; there are tensors layer.0.weight, layer.1.weight, " in text
    assert text.endswith("layer.11.weight and 8 more")


def test_of_a_keras_file_the_layers_or_arrays_are_said(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "model.h5"
    layers = [{"class_name": "Dense", "config": {"name": f"d{n}"}} for n in range(3)]
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": {"layers": layers}}
        file.attrs["model_config"] = json.dumps(config)
        file.create_group("model_weights")
    assert "no LSTM in it; there are layers Dense (3)" in message(path)
    with h5py.File(path, "w") as file:
        file["dense/kernel:0"] = np.ones((2, 3), np.float32)
    assert "no LSTM in it; there are arrays dense/kernel:0" in message(path)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"lstm_1"]
        group = file.create_group("lstm_1")
        names = [f"lstm_1_{part}_{gate}" for gate in "icfo" for part in "WUb"]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name in names:
            group[name] = np.ones((2, 3), np.float32)
    assert "it is of Keras 1: load it with Keras 2 and save it again" in message(path)


@pytest.mark.filterwarnings("ignore")
def test_of_torch_files_what_there_is_is_said(tmp_path):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    path, net = tmp_path / "model.pt", Net().eval()
    for is_zip in (True, False):
        torch.save(net.head.state_dict(), path, _use_new_zipfile_serialization=is_zip)
        assert "but 2 tensors: weight, bias" in message(path)
    torch.jit.freeze(torch.jit.script(net)).save(path)
    assert "as torch.jit.freeze leaves them; save the module before" in message(path)
    compiled = {f"_orig_mod.{name}": value for name, value in net.state_dict().items()}
    torch.save(compiled, path)  # as after torch.compile, which loses nothing
    assert formats.load(path, backend="reference").hidden_size == 4


@pytest.mark.filterwarnings("ignore")
def test_a_state_dict_of_a_quantised_model_is_no_circle(tmp_path):
    """`save model.state_dict()` would be no help: that is what it is."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.LSTM(3, 4))
    try:
        quantised = torch.ao.quantization.quantize_dynamic(net, {torch.nn.LSTM})
    except (AttributeError, RuntimeError):
        pytest.skip("this torch quantises no LSTM")
    path = tmp_path / "model.pt"
    torch.save(quantised.state_dict(), path)
    text = message(path)
    assert "save model.state_dict() before torch.ao.quantization changes the model" in text
    assert "weight_dtype='int8'" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"dilations": [1], "residual_channels": 2, "variables": [{"data": ["1"]}]},
            "it is a WaveNet of PedalNetRT or SmartGuitarAmp, which is not computed here",
        ),
        ({"dilations": [1]}, "it is a JSON text of dilations"),
        ({"error": "no such file"}, "it is a JSON error"),
    ],
)
def test_whole_models_say_what_a_json_text_is(tmp_path, content, expected):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(content))
    for read in (formats.read, load_model):
        with pytest.raises(FormatError, match=f"model.json: {expected}"):
            read(path)


def test_the_command_says_it_in_one_line(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(LFS)
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"lstm-fast: {path}: it is a Git LFS pointer")
    assert main(["inspect", str(tmp_path)]) == 1
    assert "it is a directory: give" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.pt", "a.keras", "a.npz", "a.zip"])
def test_a_zip_file_that_is_cut_short(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(archive(**{"data.pkl": b"." * 9000})[:-40])
    with pytest.raises(
        FormatError, match=r"damaged zip file, whose end is missing.*write it again"
    ):
        formats.load(path)


def test_a_pickle_of_one_byte(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80")
    with pytest.raises(FormatError, match="damaged: it is cut short"):
        formats.load(path)
