"""Small files of the newer formats that ask for much; `BOMBS` is as in bombs.py."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import onnx_bombs
from bombs import Bomb, zipped
from onnx_bombs import ints, node, tensor, value, whole


def array(header: str, data: bytes = b"") -> bytes:
    """An array as NumPy writes it, with this header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def plain(*shape: int) -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(shape, np.float32))
    return made.getvalue()


def bytes_of(*shape: int) -> bytes:
    """Numbers of a byte, which take four in float32."""
    made = io.BytesIO()
    np.save(made, np.zeros(shape, np.uint8))
    return made.getvalue()


def small_integers(scale: int) -> bytes:
    columns = {"i": 1, "h": scale}
    return zipped({f"weight_{k}h_l0.npy": bytes_of(4 * scale, n) for k, n in columns.items()})


def small_integers_of_equinox(scale: int) -> bytes:
    """They are put in another order, too."""
    return bytes_of(4 * scale, 1) + bytes_of(4 * scale, scale)


def packed_by_bzip2(scale: int) -> bytes:
    """Zeros behind an array, of which zipfile would unpack all that 4 KB hold at once."""
    members = {f"weight_{k}h_l0.npy": plain(4, 1) for k in "ih"}
    members["weight_ih_l0.npy"] += bytes(1000 * scale)
    return zipped(members, zipfile.ZIP_BZIP2)


def headers_of_fields(scale: int) -> bytes:
    """Headers with a thousand fields each, which pack well."""
    fields = ",".join(["('','u1',1)"] * 1200)
    one = array(f"{{'descr': [{fields}], 'fortran_order': False, 'shape': (), }}")
    return zipped({f"{n}.weight_ih_l0.npy": one for n in range(scale)})


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
    return zipped(members, zipfile.ZIP_STORED)


def computed_constants(scale: int) -> bytes:
    """A weight that takes nearly all there is, and once more where it is copied."""
    nodes = node("ConstantOfShape", "s", "W") + node("ConstantOfShape", "s", "R")
    nodes += node("LSTM", "x W R", "y", whole("hidden_size", scale))
    more = tensor("s", ints(1, 4 * scale, scale)) + value(11, "x", 0, 1, scale) + value(12, "y")
    return onnx_bombs.model(nodes + more)


BOMBS = {
    "small integers": Bomb("a.zip", small_integers, 2000),
    "small integers of equinox": Bomb("a.bin", small_integers_of_equinox, 3000),
    "packed by bzip2": Bomb("a.zip", packed_by_bzip2, 300_000),
    "headers of fields": Bomb("a.zip", headers_of_fields, 3000),
    "headers of Python 2": Bomb("a.bin", headers_of_python_2, 10_000),
    "records of pax": Bomb("a.bin", records_of_pax, 2500),
    "programs": Bomb("a.pt", programs, 3000),
    "computed constants": Bomb("a.onnx", computed_constants, 1600, "load_model"),
}
