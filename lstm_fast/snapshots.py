"""A session's state as bytes: self-describing, checksummed, bound to the weights.

Layout, little-endian:

    8 bytes    b"LSTMFAST"
    4 bytes    the length of the header
    header     JSON in UTF-8
    state      the values
    32 bytes   SHA-256 of everything before

Of an LSTM the header has version (1), fingerprint, weight_dtype, num_layers, hidden_size, and
proj_size where there is a projection; the values are h (num_layers, proj_size or hidden_size), then
c (num_layers, hidden_size), float32. The fingerprint is that of the LSTM (`LSTM.fingerprint`): its
weights and how they are stored.

Of a whole model the header has version (2), fingerprint, weight_dtype and entries; the values are
those of the entries, one after the other, in C's order. An entry has the name, dtype ("float32",
"int64" or "bool", a byte each) and shape of one value that a session keeps, in the order of
`Model.states`. The fingerprint is that of the program (`Model.fingerprint`); weight_dtype is a
name, or an object from the numbers of operations to names.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import LSTMState
from .errors import SnapshotError

if TYPE_CHECKING:
    import hashlib

    from ._weights import Weights
    from .lstm import LSTM
    from .model import Model

MAGIC = b"LSTMFAST"
VERSION, MODEL_VERSION = 1, 2
LENGTH = struct.Struct("<I")
CHECKSUM_BYTES = 32
FLOAT = np.dtype("<f4")
STORED: Mapping[str, np.dtype[Any]] = {
    "float32": FLOAT,
    "int64": np.dtype("<i8"),
    "bool": np.dtype("u1"),
}
OF_WHAT = {VERSION: "an LSTM", MODEL_VERSION: "a whole model"}

# hashlib and json are imported where they are used, not with the package: with OpenSSL they take a
# twelfth of what NumPy takes.


def _sha256(data: bytes) -> hashlib._Hash:
    import hashlib

    return hashlib.sha256(data)


def _closed(facts: Mapping[str, Any], values: bytes) -> bytes:
    """Return a snapshot with that header and these values."""
    import json

    header = json.dumps(facts).encode()
    body = MAGIC + LENGTH.pack(len(header)) + header + values
    return body + _sha256(body).digest()


def _opened(snapshot: Any, version: int, keys: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """Return the header of a snapshot of that version, with all these keys, and its values.

    Raises:
        TypeError: it is not bytes.
        SnapshotError: it is not a snapshot, is damaged, or of another version.
    """
    if not isinstance(snapshot, (bytes, bytearray, memoryview)):
        raise TypeError(f"a snapshot is bytes, found {type(snapshot).__name__}")
    data = bytes(snapshot)
    if not data.startswith(MAGIC):
        raise SnapshotError(
            f"this is not a snapshot of lstm_fast: it does not begin with {MAGIC!r}"
        )
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if _sha256(body).digest() != checksum:
        raise SnapshotError("the snapshot is damaged or cut short: its checksum does not fit")
    try:
        header, values = _parts(body)
        found = header["version"]
        named = {key: header[key] for key in keys} if found == version else {}
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise SnapshotError(f"the snapshot is none that lstm_fast wrote: {error!r}") from None
    if found != version:
        of_what = f" here: it is of {OF_WHAT[found]}" if found in OF_WHAT else ""
        raise SnapshotError(
            f"the snapshot has version {found}, this lstm_fast reads {version}{of_what}"
        )
    return named, values


def _parts(body: bytes) -> tuple[dict[str, Any], bytes]:
    import json

    begin = len(MAGIC) + LENGTH.size
    (size,) = LENGTH.unpack_from(body, len(MAGIC))
    header = json.loads(body[begin : begin + size])
    if not isinstance(header, dict):
        raise TypeError(f"its header is {type(header).__name__}")
    return header, body[begin + size :]


def _check_weights(header: Mapping[str, Any], fingerprint: str, weight_dtype: Any) -> None:
    """Refuse a snapshot of other weights."""
    if (header["fingerprint"], header["weight_dtype"]) == (fingerprint, weight_dtype):
        return
    is_other_type = header["weight_dtype"] != weight_dtype
    bound = "; a snapshot is bound to the type of the weights, too" if is_other_type else ""
    raise SnapshotError(
        f"the snapshot was taken with other weights ({header['weight_dtype']}, fingerprint "
        f"{str(header['fingerprint'])[:12]}...) than these ({weight_dtype}, "
        f"{fingerprint[:12]}...){bound}"
    )


# ---- of an LSTM ----


def pack(lstm: LSTM, state: LSTMState) -> bytes:
    """Return the snapshot of that state."""
    facts = {
        "version": VERSION,
        "fingerprint": lstm.fingerprint,
        "weight_dtype": lstm.weight_dtype,
        "num_layers": lstm.num_layers,
        "hidden_size": lstm.hidden_size,
    }
    if lstm.proj_size:
        facts["proj_size"] = lstm.proj_size
    return _closed(facts, b"".join(part.astype(FLOAT).tobytes() for part in state))


def unpack(lstm: LSTM, snapshot: Any) -> LSTMState:
    """Return the state in a snapshot, if it was taken with these very weights.

    Raises:
        TypeError: it is not bytes.
        SnapshotError: it is not a snapshot, is damaged, of another version, or of other weights.
    """
    header, values = _opened(snapshot, VERSION, ("fingerprint", "weight_dtype"))
    _check_weights(header, lstm.fingerprint, lstm.weight_dtype)
    layers, width = lstm.num_layers, lstm.output_size
    expected = layers * (width + lstm.hidden_size)
    if len(values) != expected * FLOAT.itemsize:
        found = len(values) / FLOAT.itemsize
        raise SnapshotError(f"the snapshot holds {found:g} values, expected {expected}")
    state = np.frombuffer(values, FLOAT).astype(np.float32)
    h, c = np.split(state, [layers * width])
    return LSTMState(h.reshape(layers, width), c.reshape(layers, lstm.hidden_size))


def fingerprint(weights: Weights, weight_dtype: str) -> str:
    """Return SHA-256 over the weights, their names and shapes, the variant and the weight_dtype."""
    import json

    digest = _sha256(f"lstm_fast 1 {weight_dtype}".encode())
    cells = [layer.cell.to_json() for layer in weights.layers]
    if any(cells):
        digest.update(f" cells {json.dumps(cells, sort_keys=True)} ".encode())
    for name, value in weights.named().items():
        digest.update(f" {name} {value.shape} ".encode())
        little_endian = np.ascontiguousarray(value, FLOAT)  # the very same, as a rule
        digest.update(little_endian.data.cast("B"))
    return digest.hexdigest()


# ---- of a whole model ----


def pack_model(model: Model, state: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the snapshot of that state."""
    facts = {
        "version": MODEL_VERSION,
        "fingerprint": model.fingerprint,
        "weight_dtype": _weight_dtype(model),
        "entries": _entries(model),
    }
    stored = [state[name].astype(STORED[one.kind]) for name, one in model.states.items()]
    return _closed(facts, b"".join(value.tobytes() for value in stored))


def unpack_model(model: Model, snapshot: Any) -> dict[str, NDArray[Any]]:
    """Return the state in a snapshot, if it was taken of this very program and types of weights.

    Raises:
        TypeError: it is not bytes.
        SnapshotError: it is not a snapshot, is damaged, of another version, or of another model.
    """
    header, values = _opened(snapshot, MODEL_VERSION, ("fingerprint", "weight_dtype", "entries"))
    _check_weights(header, model.fingerprint, _weight_dtype(model))
    if header["entries"] != _entries(model):
        raise SnapshotError(f"the snapshot holds {header['entries']}, expected {_entries(model)}")
    sizes = [STORED[one.kind].itemsize * _count(one.shape) for one in model.states.values()]
    if len(values) != sum(sizes):
        raise SnapshotError(f"the snapshot holds {len(values)} bytes, expected {sum(sizes)}")
    state, begin = {}, 0
    for (name, one), size in zip(model.states.items(), sizes, strict=True):
        stored = np.frombuffer(values[begin : begin + size], STORED[one.kind])
        state[name] = stored.astype(one.kind).reshape(one.shape)
        begin += size
    return state


def _entries(model: Model) -> list[dict[str, Any]]:
    return [
        {"name": name, "dtype": one.kind, "shape": [*one.shape]}
        for name, one in model.states.items()
    ]


def _weight_dtype(model: Model) -> Any:
    """Return how a model's weights are stored, as JSON gives it back."""
    given = model.weight_dtype
    return given if isinstance(given, str) else {str(n): name for n, name in given.items()}


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
