"""The formats that are read here: how a file of each is told, without importing its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .._source import Source

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
NUMPY = b"\x93NUMPY"
INDEX = ".index.json"
WEIGHT_MAP = b'"weight_map"'  # of an index of shards
# One of these is among the names of an LSTM or GRU of PyTorch, MLX and Flax.
KNOWN_NAMES = re.compile(r"weight_ih|Wx|([ih][ir]|dense_i)[./]kernel")
TFLITE = b"TFL3"  # behind the first four bytes
PICKLE = b"\x80"  # of protocol 2 and newer
NEWEST_PICKLE = 5  # its protocol
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first object in files of PyTorch before 1.6
OLD_TORCH = b"L%dL\n" % TORCH_MAGIC  # as a pickle of protocol 0 and 1 writes it
PADDLE = "StructuredToParameterName@@"  # a key in PaddlePaddle's pickles
EXPORTED = ("archive_format", "serialized_exported_program.json")  # new and old, of torch.export
NEMO = ("model_weights.ckpt", "model_config.yaml")  # in the tar file
GZIP = b"\x1f\x8b\x08"
TORCH_INDEX = ".bin.index.json"
PADDLE_TAIL_BYTES = 512
ONNX_NEXT_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca"  # of a ModelProto, after its version


class Format(NamedTuple):
    """A format: what its files' names end with, and whether a file that begins so is one."""

    suffixes: tuple[str, ...]
    recognise: Callable[[Source, bytes], bool]


def torch_root(names: Iterable[str]) -> str | None:
    """Return what is before the names in a zip file of PyTorch's; None where it is not one."""
    name = min((one for one in names if one.endswith("data.pkl")), key=len, default=None)
    return None if name is None else name.removesuffix("data.pkl")


def exported_root(names: Iterable[str]) -> str | None:
    """Return what is before the names in a zip file of torch.export; None where it is not one."""
    found = (one for one in names if one.rpartition("/")[2] in EXPORTED)
    name = min(found, key=len, default=None)
    return None if name is None else name[: name.rfind("/") + 1]


def is_tar(head: bytes) -> bool:
    """Return whether it begins as a tar file."""
    return head[257:262] == b"ustar"


def is_nemo(source: Source, head: bytes) -> bool:
    """Return whether it is a tar file, perhaps compressed by gzip, with a model of NeMo in it."""
    from . import _tar

    if not is_tar(head) and not head.startswith(GZIP):
        return False
    return source.suffix == ".nemo" or _tar.has(source, NEMO)


def _zip_names(source: Source) -> list[str]:
    """Return the names in a zip file; none where it is damaged.

    Raises:
        FormatError: there are too many for a file of this size.
    """
    from . import _zip

    return _zip.names(source)


def _is_safetensors(source: Source, head: bytes) -> bool:
    """Return whether it is a safetensors file or the index of one in shards."""
    length = int.from_bytes(head[:8], "little")  # which may begin as a text does
    if head[8:9] == b"{" and 2 <= length <= source.size - 8:
        return True
    is_index = _is_object(head) and source.name.endswith(INDEX) and WEIGHT_MAP in head
    return is_index and not is_torch_index(source, head)


def _is_pytorch(source: Source, head: bytes) -> bool:
    """Return whether `torch.save`, `torch.jit.save` or `pickle.dump` wrote it."""
    if head.startswith(ZIP):
        names = _zip_names(source)
        return torch_root(names) is not None or exported_root(names) is not None
    if is_nemo(source, head):
        return True
    if _is_object(head):
        return is_torch_index(source, head)
    if head.startswith(PICKLE):
        versions = [bytes([version]) for version in range(2, NEWEST_PICKLE + 1)]
        return head[1:2] in versions and PADDLE.encode() not in head + _tail(source)
    return head.startswith(OLD_TORCH)


def is_torch_index(source: Source, head: bytes) -> bool:
    """Return whether it is the index of shards that `torch.save` wrote."""
    is_index = source.name.endswith(".index.json") and b'"weight_map"' in head
    return is_index and (source.name.endswith(TORCH_INDEX) or b'.bin"' in head)


def _tail(source: Source) -> bytes:
    with source.open() as file:
        file.seek(max(0, source.size - PADDLE_TAIL_BYTES))
        return file.read()


def _is_onnx(source: Source, head: bytes) -> bool:
    """Return whether it begins like a ModelProto: with the version of the format, and a field."""
    return len(head) > 3 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in ONNX_NEXT_FIELDS


def _is_keras(source: Source, head: bytes) -> bool:
    """Return whether it is an HDF5 file, or a zip file that begins as Keras's do."""
    if head.startswith(ZIP):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return source.suffix == ".keras" or first in (b"metadata.json", b"config.json")
    return head.startswith(HDF5)


def _is_tflite(source: Source, head: bytes) -> bool:
    return head[4:8] == TFLITE


def _is_object(head: bytes) -> bool:
    """Return whether it begins as a JSON object, perhaps behind a mark of its encoding."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def _is_nam(source: Source, head: bytes) -> bool:
    """Return whether it is a model of Neural Amp Modeler."""
    return _is_object(head) and b'"architecture"' in head


def _is_rtneural(source: Source, head: bytes) -> bool:
    """Return whether it is JSON as RTNeural's players read it, or a state dict as JSON."""
    keys = (b'"in_shape"', b'"model_data"', b'"state_dict"', b"weight_ih", b"weight_hh")
    is_text = _is_object(head) and b"\0" not in head
    return is_text and any(key in head for key in keys) and WEIGHT_MAP not in head


def _npz_names(source: Source, head: bytes) -> list[str]:
    """Return the names of the arrays in an .npz file; none where it is not one."""
    names = _zip_names(source) if head.startswith(ZIP) else []
    is_npz = all(name.endswith(".npy") for name in names)
    return [name.removesuffix(".npy") for name in names] if is_npz else []


def _is_tf1(source: Source, head: bytes) -> bool:
    """Return whether it is an .npz file with other names than `npz` reads."""
    names = _npz_names(source, head)
    return bool(names) and not _has_known_names(names)


def _is_npz(source: Source, head: bytes) -> bool:
    """Return whether it is an .npz file in which names of PyTorch, MLX or Flax tell an LSTM."""
    return _has_known_names(_npz_names(source, head))


def _has_known_names(names: list[str]) -> bool:
    """Return whether an LSTM, or a GRU, is told by names of PyTorch, MLX or Flax."""
    if KNOWN_NAMES.search("\n".join(names)) is None:  # for speed
        return False
    from .._parameter_names import prefixes
    from . import _other_names

    return bool(prefixes(names)) or _other_names.is_known(names)


def after_first_array(head: bytes) -> int | None:
    """Return where the first array of a file ends that begins with one, as `numpy.save` writes it.

    None: it does not begin so, or its header is damaged.
    """
    if not head.startswith(NUMPY):
        return None
    import io

    from . import _npy

    file = io.BytesIO(head)
    try:
        header = _npy.read_header(file)
    except ValueError:
        return None
    return file.tell() + header.size_bytes


def _is_equinox(source: Source, head: bytes) -> bool:
    """Return whether it holds arrays one after the other, perhaps behind a line of JSON."""
    start = head.find(b"\n") + 1 if head[:1] == b"{" else 0
    end = after_first_array(head[start:])
    return end is not None and (start > 0 or end < source.size)


# By the reader's name, in the order in which they are asked.
FORMATS = {
    "safetensors": Format((".safetensors", ".safetensors.index.json"), _is_safetensors),
    "pytorch": Format(
        (".pt", ".pth", ".bin", ".ckpt", ".jit", ".pkl", ".pickle", ".pt2", ".nemo", TORCH_INDEX),
        _is_pytorch,
    ),
    "onnx": Format((".onnx",), _is_onnx),
    "keras": Format((".keras", ".h5", ".hdf5"), _is_keras),
    "tflite": Format((".tflite", ".lite"), _is_tflite),
    "nam": Format((".nam",), _is_nam),
    "rtneural": Format((".aidax", ".json"), _is_rtneural),
    "equinox": Format((".eqx",), _is_equinox),
    "tf1": Format((".npz",), _is_tf1),
    "npz": Format((".npz",), _is_npz),
}
