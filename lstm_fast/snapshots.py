"""A session's state as bytes: self-describing, checksummed, bound to the weights.

Layout, little-endian:

    8 bytes    b"LSTMFAST"
    4 bytes    the length of the header
    header     JSON in UTF-8: version, fingerprint, weight_dtype, num_layers, hidden_size, and
               proj_size where there is a projection
    state      h (num_layers, proj_size or hidden_size), then c (num_layers, hidden_size), float32
    32 bytes   SHA-256 of everything before

The fingerprint is that of the LSTM (`LSTM.fingerprint`): its weights and how they are stored.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import LSTMState
from .errors import SnapshotError

if TYPE_CHECKING:
    import hashlib

    from ._weights import Weights
    from .lstm import LSTM

MAGIC = b"LSTMFAST"
VERSION = 1
LENGTH = struct.Struct("<I")
CHECKSUM_BYTES = 32
FLOAT = np.dtype("<f4")

# hashlib and json are imported where they are used, not with the package: with OpenSSL they take a
# twelfth of what NumPy takes.


def _sha256(data: bytes) -> hashlib._Hash:
    import hashlib

    return hashlib.sha256(data)


def pack(lstm: LSTM, state: LSTMState) -> bytes:
    """Return the snapshot of that state."""
    import json

    facts = {
        "version": VERSION,
        "fingerprint": lstm.fingerprint,
        "weight_dtype": lstm.weight_dtype,
        "num_layers": lstm.num_layers,
        "hidden_size": lstm.hidden_size,
    }
    if lstm.proj_size:
        facts["proj_size"] = lstm.proj_size
    header = json.dumps(facts).encode()
    values = b"".join(part.astype(FLOAT).tobytes() for part in state)
    body = MAGIC + LENGTH.pack(len(header)) + header + values
    return body + _sha256(body).digest()


def unpack(lstm: LSTM, snapshot: Any) -> LSTMState:
    """Return the state in a snapshot, if it was taken with these very weights.

    Raises:
        TypeError: it is no bytes.
        SnapshotError: it is no snapshot, is damaged, of a newer version, or of other weights.
    """
    if not isinstance(snapshot, (bytes, bytearray, memoryview)):
        raise TypeError(f"a snapshot is bytes, found {type(snapshot).__name__}")
    data = bytes(snapshot)
    if not data.startswith(MAGIC):
        raise SnapshotError(f"this is no snapshot of lstm_fast: it does not begin with {MAGIC!r}")
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if _sha256(body).digest() != checksum:
        raise SnapshotError("the snapshot is damaged or cut short: its checksum does not fit")
    try:
        state, header = _parts(body)
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise SnapshotError(f"the snapshot is none that lstm_fast wrote: {error!r}") from None
    if header["version"] != VERSION:
        raise SnapshotError(
            f"the snapshot has version {header['version']}, this lstm_fast reads {VERSION}"
        )
    if header["fingerprint"] != lstm.fingerprint:
        is_other_type = header["weight_dtype"] != lstm.weight_dtype
        bound = "; a snapshot is bound to the type of the weights, too" if is_other_type else ""
        raise SnapshotError(
            f"the snapshot was taken with other weights ({header['weight_dtype']}, fingerprint "
            f"{str(header['fingerprint'])[:12]}...) than these ({lstm.weight_dtype}, "
            f"{lstm.fingerprint[:12]}...){bound}"
        )
    layers, width = lstm.num_layers, lstm.output_size
    expected = layers * (width + lstm.hidden_size)
    if state.size != expected:
        raise SnapshotError(f"the snapshot holds {state.size} values, expected {expected}")
    h, c = np.split(state.astype(np.float32), [layers * width])
    return LSTMState(h.reshape(layers, width), c.reshape(layers, lstm.hidden_size))


def _parts(body: bytes) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Split what has passed the checksum into the state and the header, with all its keys."""
    import json

    begin = len(MAGIC) + LENGTH.size
    (size,) = LENGTH.unpack_from(body, len(MAGIC))
    header = json.loads(body[begin : begin + size])
    named = {key: header[key] for key in ("version", "fingerprint", "weight_dtype")}
    return np.frombuffer(body[begin + size :], FLOAT), named


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
