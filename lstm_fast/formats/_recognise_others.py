"""Files of other kinds: what each is, how it is told, and what to do instead.

`CERTAIN` are those that nothing here reads, told by their first bytes: they are looked for before
any reader, whatever a file is called. `LIKELY` are told by less, or are kinds of what a reader
reads, too: they are looked for when no reader takes the file, or the one that its name chose fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .._lfm import MAGIC
from .._source import Source
from ._next_steps import ORIGINAL, RESAVE_CHECKPOINT, RESAVE_SAVED_MODEL, UNPACK
from ._recognise_containers import json_kind, pickle_kind, zip_kind
from ._recognise_ours import GZIP, NUMPY, after_first_array, is_nemo, is_tar
from ._sample import HEAD, Sample, field, varint

Test = Callable[[Sample], "bool | str"]


class Other(NamedTuple):
    """A kind of file: what it is, whether a file is one, and the next step.

    A test that returns text gives a detail, which replaces {} in what it is.
    """

    what: str
    test: Test
    step: str


def _begins(*magics: bytes) -> Test:
    return lambda sample: sample.head.startswith(magics)


def _at(offset: int, *magics: bytes) -> Test:
    return lambda sample: sample.head[offset:].startswith(magics)


def _named(*suffixes: str) -> Test:
    return lambda sample: sample.name.endswith(suffixes)


# ---- tests that need more than a comparison ------------------------------------------------------


# Of a comment there is one end alone: were others tried, many comments would have 2**n of them.
COMMENT = r"<!--(?:(?!-->).)*-->"


def _lfs(sample: Sample) -> bool | str:
    text = sample.text or ""
    if not text.startswith(("version https://git-lfs.github.com/", "version https://hawser.")):
        return False
    match = re.search(r"^size ([0-9]{1,18})\s*$", text, re.MULTILINE)
    return f"of {int(match[1]):,} bytes" if match else "itself"


def _html(sample: Sample) -> bool | str:
    text = (sample.text or "").lower()
    text = re.sub(rf"^(<\?xml[^>]*>|{COMMENT}|\s)+", "", text, flags=re.DOTALL)
    if not re.match(r"<(!doctype\s+html|html|head|body|title|script|meta)\b", text):
        return False
    match = re.search(r"<title[^>]*>(.*?)</title>", sample.text or "", re.DOTALL | re.IGNORECASE)
    return f" ({' '.join(match[1].split())[:80]!r})" if match else ""


def _xml(sample: Sample) -> bool | str:
    text = sample.text or ""
    before = rf"(?:<\?xml[^>]*>\s*|{COMMENT}\s*)*"
    match = re.match(rf"{before}<([A-Za-z][\w.:-]*)", text, re.DOTALL)
    if match is None:
        return False
    found = re.findall(r"<(?:Code|Message)>([^<]*)<", text)
    return f"<{match[1]}>" + (f" ({', '.join(found)[:100]})" if found else "")


def _openvino(sample: Sample) -> bool:
    return (_xml(sample) or "") == "<net>"


def _openvino_weights(sample: Sample) -> bool:
    if sample.source.path is None or sample.source.suffix != ".bin":
        return False
    beside = sample.source.path.with_suffix(".xml")
    if not beside.is_file():
        return False
    source = Source(beside)
    with source.open() as file:
        return _openvino(Sample(source, file.read(4096)))


def _message_after_version(sample: Sample) -> tuple[int, int, int] | None:
    """Return the version and place of field 2, if it is a message: in ONNX it is a name."""
    head = sample.head
    if head[:1] != b"\x08":
        return None
    version, at = varint(head, 1)
    found = field(head, at)
    if version < 1 or found is None or found[0] != 2 or head[found[1] : found[1] + 1] != b"\x0a":
        return None
    return version, found[1], found[2]


def _saved_model(sample: Sample) -> bool:
    found = _message_after_version(sample)
    return found is not None and found[0] == 1 and found[2] >= sample.size - 16


def _core_ml(sample: Sample) -> bool:
    found = _message_after_version(sample)
    if found is None or not 1 <= found[0] < 64 or found[2] >= sample.size:
        return False
    tag, _ = varint(sample.at(found[2], 4))
    return tag >> 3 >= 10  # the kinds of models begin at 200, whether it may be trained is 10


def _inner(sample: Sample) -> bytes:
    """Return how the first field of a message begins, if it is field 1 and a message."""
    found = field(sample.head)
    return sample.head[found[1] : found[2]] if found is not None and found[0] == 1 else b""


def _graph(sample: Sample) -> bool:
    """Whether it begins with a NodeDef: a name and an operator."""
    inner = _inner(sample)
    name = field(inner)
    kind = None if name is None or name[0] != 1 else field(inner, name[2])
    if name is None or kind is None or kind[0] != 2:
        return False
    text = inner[name[1] : name[2]] + inner[kind[1] : kind[2]]
    return bool(re.fullmatch(rb"[\w./\-:>]+", text)) and kind[2] > kind[1]


def _paddle_program(sample: Sample) -> bool:
    """Whether it begins with a BlockDesc: its index 0, its parent -1."""
    return _inner(sample)[:4] == b"\x08\x00\x10\xff"


def _paddle_tensors(sample: Sample) -> bool:
    """Whether it begins with a tensor: version 0, no levels, version 0, a short description."""
    size = int.from_bytes(sample.head[16:20], "little")
    return sample.head[:16] == bytes(16) and 2 <= size < 64 and sample.head[20:21] == b"\x08"


def _table(sample: Sample) -> bool:
    """Whether it ends as the tables in which TensorFlow keeps the names of a checkpoint."""
    return sample.tail.endswith(0xDB4775248B80FB57.to_bytes(8, "little"))


def _data_shard(sample: Sample) -> bool:
    return re.search(r"\.data-[0-9]{5}-of-[0-9]{5}$", sample.name) is not None


def _tar(sample: Sample) -> bool:
    return is_tar(sample.head) and not is_nemo(sample.source, sample.head)


def _gzip(sample: Sample) -> bool:
    return sample.head.startswith(GZIP) and not is_nemo(sample.source, sample.head)


def _zeros(sample: Sample) -> bool:
    return len(sample.head) >= 512 and not any(sample.head)


def _one_array(sample: Sample) -> bool:
    """Whether it holds one array as `numpy.save` writes it, and not several, as of Equinox."""
    end = after_first_array(sample.head)
    return sample.head.startswith(NUMPY) and (end is None or end >= sample.size)


def _first_words(sample: Sample) -> bool | str:
    if not sample.text or sample.text[0] in "{[":  # JSON, of which its reader says what is wrong
        return False
    return repr(" ".join(sample.text[:200].split())[:60])


# ---- the tables ----------------------------------------------------------------------------------

EMPTY = Other("empty", lambda sample: not sample.head, "fetch or write it again")
INSTEAD = (  # of any file, also one of nothing but numbers
    Other(
        "a Git LFS pointer and not the file {}",
        _lfs,
        "run `git lfs pull` where it was cloned, or download the file itself",
    ),
    Other(
        "a git-annex pointer and not the file itself",
        lambda sample: (sample.text or "").startswith("/annex/objects/"),
        "run `git annex get` where it was cloned",
    ),
    Other(
        "an HTML page{}, such as a site sends in place of a file",
        _html,
        "download the file itself; of GitHub and Hugging Face that is the link with raw or resolve",
    ),
)
CERTAIN = (
    EMPTY,
    *INSTEAD,
    Other(
        "the network of an OpenVINO model without its weights, which are in the .bin",
        _openvino,
        ORIGINAL,
    ),
    Other(
        "an XML document that begins with {}",
        _xml,
        "if it came in place of a download, look at what it says",
    ),
    Other("TensorFlow's saved_model.pb, a graph without weights", _saved_model, RESAVE_SAVED_MODEL),
    Other("a Core ML model", _core_ml, ORIGINAL),
    Other(
        "a TensorFlow graph (GraphDef), in which the cell is taken apart",
        _graph,
        "if it is frozen, `python -m tf2onnx.convert --graphdef FILE --output model.onnx --inputs "
        "... --outputs ...` may find LSTMs in it; or give the checkpoint or Keras file that it was "
        "made from",
    ),
    Other("a part of a TensorFlow checkpoint", _data_shard, RESAVE_CHECKPOINT),
    Other("a TensorFlow checkpoint, or the index of one", _table, RESAVE_CHECKPOINT),
    Other("a PaddlePaddle program", _paddle_program, "export it by paddle2onnx"),
    Other("PaddlePaddle's parameters", _paddle_tensors, "export the model by paddle2onnx"),
    Other("a whole model in our own format", _begins(MAGIC), "read it with lstm_fast.load_model"),
    Other("a GGUF file", _begins(b"GGUF"), ORIGINAL),
    Other("a GGML file", _begins(b"lmgg", b"fmgg", b"tjgg", b"algg"), ORIGINAL),
    Other("a TensorRT engine", _begins(b"ftrt", b"ptrt"), ORIGINAL),
    Other("a model in ONNX Runtime's own format", _at(4, b"ORTM"), "give the .onnx it was made of"),
    Other("an ExecuTorch program", _at(4, b"ET12"), "give the .pt or .onnx it was made from"),
    Other("a TFLite file of an old version", _at(4, b"TFL1", b"TFL2"), "convert the model again"),
    Other("an RKNN model", _begins(b"RKNN"), ORIGINAL),
    Other("an MXNet parameter file", _begins(b"\x12\x01" + bytes(6)), "export it to ONNX"),
    Other(
        "one NumPy array without a name",
        _one_array,
        "np.savez a file of all the arrays under their names, or LSTM.from_state_dict of a dict",
    ),
    Other("a MATLAB file", _begins(b"MATLAB "), "export the network to ONNX (exportONNXNetwork)"),
    Other("compressed by xz", _begins(b"\xfd7zXZ\0"), UNPACK),
    Other("compressed by zstd", _begins(b"\x28\xb5\x2f\xfd"), UNPACK),
    Other("compressed by lz4", _begins(b"\x04\x22\x4d\x18"), UNPACK),
    Other("a 7z archive", _begins(b"7z\xbc\xaf\x27\x1c"), UNPACK),
    Other("a RAR archive", _begins(b"Rar!\x1a\x07"), UNPACK),
    Other("a tar archive", _tar, UNPACK),
    Other("WAV audio", lambda s: s.head[:4] == b"RIFF" and s.head[8:12] == b"WAVE", "give a model"),
    Other("audio", _begins(b"OggS", b"fLaC", b"ID3"), "give a model"),
    Other(
        "a picture",
        _begins(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"GIF8"),
        "give a model",
    ),
    Other("a PDF document", _begins(b"%PDF-"), "give a model"),
    Other("a program or library", _begins(b"\x7fELF", b"\xcf\xfa\xed\xfe"), "give a model"),
    Other("an SQLite database", _begins(b"SQLite format 3\0"), "give a model"),
    Other("a Parquet table", _begins(b"PAR1"), "give a model"),
)
# Few bytes, which the length at the beginning of a safetensors file may equal.
SHORT = (
    Other("compressed by gzip", _gzip, UNPACK),
    Other("compressed by bzip2", _begins(b"BZh"), UNPACK),
)
LIKELY = (
    Other("{}", zip_kind, ""),
    Other("{}", json_kind, ""),
    Other("{}", pickle_kind, ""),
    Other("weights of an OpenVINO model, without names", _openvino_weights, ORIGINAL),
    Other("nothing but zeros at its beginning", _zeros, "fetch it again: it was cut short"),
    Other("a Core ML model", _named(".mlmodel"), ORIGINAL),
    Other("a TensorRT engine", _named(".engine", ".plan", ".trt"), ORIGINAL),
    Other("a part of a TensorFlow model", _named(".pb", ".meta"), RESAVE_SAVED_MODEL),
    Other(
        "a part of a PaddlePaddle model",
        _named(".pdparams", ".pdmodel", ".pdiparams", ".pdopt"),
        "export the model by paddle2onnx",
    ),
    Other("a Caffe model", _named(".caffemodel"), "convert it to ONNX"),
    Other("a model of ncnn, MNN or TNN", _named(".param", ".mnn", ".tnnmodel"), ORIGINAL),
    Other("a MindSpore model", _named(".mindir"), "export it to ONNX"),
    Other("a file of Lua Torch", _named(".t7"), "load it there and write its arrays"),
    Other(
        "a file of Flax or JAX",
        _named(".msgpack", ".orbax"),
        "write its arrays: np.savez, or LSTM.from_state_dict of a dict under PyTorch's names",
    ),
    Other("a text that begins with {}", _first_words, "give a model"),
)


def certain(sample: Sample, *, is_safetensors: bool) -> str | None:
    """Return what a file is that no reader reads, with the next step; None where that is open."""
    return _first(CERTAIN if is_safetensors else (*CERTAIN, *SHORT), sample)


def instead(source: Source, table: tuple[Other, ...] = INSTEAD) -> str | None:
    """Return what came in place of a file beside another, with the next step; None: nothing."""
    with source.open() as file:
        return _first(table, Sample(source, file.read(HEAD)))


def shard(source: Source) -> str | None:
    """Return what a file that is called like one of several shards is, with the next step."""
    if match := re.search(r"-[0-9]{5}-of-([0-9]{5})\.(bin|safetensors)$", source.name):
        return (
            f"it is one of {int(match[1])} shards: give their index, whose name ends in "
            f".{match[2]}.index.json"
        )
    return None


def likely(sample: Sample) -> str | None:
    """Return what a file seems to be that a reader could not read; None where that is open."""
    return _first(LIKELY, sample)


def _first(table: tuple[Other, ...], sample: Sample) -> str | None:
    for other in table:
        found = other.test(sample)
        if found is not False:
            detail = found if isinstance(found, str) else ""
            what = f"it is {other.what.replace('{}', detail)}"
            return f"{what}: {other.step}" if other.step else what
    return None
