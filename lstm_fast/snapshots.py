"""A session's state as bytes: self-describing, checksummed, bound to the weights.

Layout, little-endian:

    8 bytes    b"LSTMFAST"
    4 bytes    the length of the header
    header     JSON in ASCII
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

The text of a header is what `json.dumps` makes of these facts in this order, so a model knows every
byte of it. A reader compares them all, here and in C: it parses nothing, and takes nothing else.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arrays import LSTMState
from .errors import SnapshotError

if TYPE_CHECKING:
    import hashlib

    from ._weights import Weights
    from .lstm import LSTM
    from .model import Model
    from .program import Tensor

Snapshot: TypeAlias = "bytes | bytearray | memoryview | os.PathLike[Any] | BinaryIO"

MAGIC = b"LSTMFAST"
VERSION, MODEL_VERSION = 1, 2
LENGTH = struct.Struct("<I")
CHECKSUM_BYTES = 32
OTHERS = 1 << 20  # bytes that a snapshot may have too much, and still be told what it is
SHOWN = 30  # bytes of what does not fit, in an error
VERSIONED = re.compile(rb'\{"version": ([0-9]{1,9})\b')
WEIGHTS = re.compile(
    VERSIONED.pattern
    + rb', "fingerprint": "([0-9a-f]{64})", "weight_dtype": ("[a-z0-9]{1,9}"|\{[ -z|~]*\})'
)
FLOAT = np.dtype("<f4")
STORED: Mapping[str, np.dtype[Any]] = {
    "float32": FLOAT,
    "int64": np.dtype("<i8"),
    "bool": np.dtype("u1"),
}
OF_WHAT = {VERSION: "an LSTM", MODEL_VERSION: "a whole model"}

# hashlib and json are imported where they are used, not with the package: with OpenSSL they take a
# twelfth of what NumPy takes.


def _sha256(data: bytes | memoryview) -> hashlib._Hash:
    import hashlib

    return hashlib.sha256(data)


class Form(NamedTuple):
    """What all snapshots of a model have in common; made once, when the first is taken or read.

    facts: what the header says. header: what they begin with, up to their values. size: of the
    values, in bytes.
    """

    facts: dict[str, Any]
    header: bytes
    size: int

    @property
    def most(self) -> int:
        """Bytes of a snapshot that is looked at: others may have more than these."""
        return len(self.header) + self.size + CHECKSUM_BYTES + OTHERS


def _form(facts: dict[str, Any], size: int) -> Form:
    import json

    text = json.dumps(facts).encode()
    return Form(facts, MAGIC + LENGTH.pack(len(text)) + text, size)


def _closed(form: Form, values: bytes) -> bytes:
    """Return a snapshot with these values."""
    body = form.header + values
    return body + _sha256(body).digest()


def _opened(snapshot: Any, form: Form) -> memoryview:
    """Return the values in a snapshot of that form.

    Raises:
        TypeError, OSError: see `to_bytes`.
        SnapshotError: it is not a snapshot, is damaged, or of another form.
    """
    data = to_bytes(snapshot, form.most)
    if not data.startswith(MAGIC):
        raise SnapshotError(
            f"this is not a snapshot of lstm_fast: it does not begin with {MAGIC!r}"
        )
    body = memoryview(data)[:-CHECKSUM_BYTES]
    if _sha256(body).digest() != data[-CHECKSUM_BYTES:]:
        raise SnapshotError("the snapshot is damaged or cut short: its checksum does not fit")
    if not data.startswith(form.header):
        raise SnapshotError(_difference(bytes(body), form))
    values = body[len(form.header) :]
    if len(values) != form.size:
        raise SnapshotError(f"the snapshot holds {len(values)} bytes, expected {form.size}")
    return values


def to_bytes(snapshot: Any, most: int) -> bytes:
    """Return the bytes of a snapshot that has at most so many, also where they are in a file.

    Raises:
        TypeError: it is neither bytes nor a file.
        SnapshotError: it has more, or is in no regular file.
        OSError: its file cannot be read.
    """
    is_bytes = isinstance(snapshot, (bytes, bytearray, memoryview))
    if not is_bytes and (isinstance(snapshot, os.PathLike) or hasattr(snapshot, "read")):
        from ._source import Source

        return Source(snapshot, SnapshotError, most).read()
    # A str may well be a snapshot that somebody has decoded, and names no file for that reason.
    if not is_bytes:
        raise TypeError(
            f"a snapshot is bytes, found {type(snapshot).__name__}; one that is in a file is given "
            "as a pathlib.Path, or as the file, open in binary mode"
        )
    size = len(snapshot) if isinstance(snapshot, bytes) else memoryview(snapshot).nbytes
    if size > most:
        raise SnapshotError(f"the snapshot has {size} bytes, expected {most} at most")
    return bytes(snapshot)


def _difference(body: bytes, form: Form) -> str:
    """Say what is wrong with a snapshot that begins otherwise than those of that form."""
    import json

    begin = len(MAGIC) + LENGTH.size
    if version := VERSIONED.match(body, begin):
        number, expected = int(version[1]), form.facts["version"]
        here = f" here: it is of {OF_WHAT[number]}" if number in OF_WHAT else ""
        if number != expected:
            return f"the snapshot has version {number}, this lstm_fast reads {expected}{here}"
    if found := WEIGHTS.match(body, begin):
        theirs = found[2].decode(), found[3].decode("ascii", "replace")
        ours = form.facts["fingerprint"], json.dumps(form.facts["weight_dtype"])
        if theirs != ours:
            is_other_type = theirs[1] != ours[1]
            bound = "; a snapshot is bound to the type of the weights, too" if is_other_type else ""
            return (
                f"the snapshot was taken with other weights ({_shown(theirs[1])}, fingerprint "
                f"{theirs[0][:12]}...) than these ({_shown(ours[1])}, {ours[0][:12]}...){bound}"
            )
    places = [*range(begin, len(form.header)), *range(begin)]  # the length says least
    at = next(at for at in places if body[at : at + 1] != form.header[at : at + 1])
    return (
        f"the snapshot is none that lstm_fast wrote: its byte {at} begins "
        f"{body[at : at + SHOWN]!r}, expected {form.header[at : at + SHOWN]!r}"
    )


def _shown(weight_dtype: str) -> str:
    """Return the JSON of a weight_dtype as an error has room for it."""
    text = weight_dtype.strip('"')
    return text if len(text) <= 2 * SHOWN else text[: 2 * SHOWN] + "..."


# ---- of an LSTM ----


def form(lstm: LSTM) -> Form:
    """Return what snapshots of that LSTM look like."""
    facts = {
        "version": VERSION,
        "fingerprint": lstm.fingerprint,
        "weight_dtype": lstm.weight_dtype,
        "num_layers": lstm.num_layers,
        "hidden_size": lstm.hidden_size,
    }
    if lstm.proj_size:
        facts["proj_size"] = lstm.proj_size
    values = lstm.num_layers * (lstm.output_size + lstm.hidden_size)
    return _form(facts, values * FLOAT.itemsize)


def pack(form: Form, state: LSTMState) -> bytes:
    """Return the snapshot of that state."""
    return _closed(form, b"".join(part.astype(FLOAT).tobytes() for part in state))


def unpack(form: Form, lstm: LSTM, snapshot: Any) -> LSTMState:
    """Return the state in a snapshot, if it was taken with these very weights.

    Raises:
        TypeError, OSError: see `to_bytes`.
        SnapshotError: it is not a snapshot, is damaged, of another version, or of other weights.
    """
    layers, width = lstm.num_layers, lstm.output_size
    state = np.frombuffer(_opened(snapshot, form), FLOAT).astype(np.float32)
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


def model_form(model: Model) -> Form:
    """Return what snapshots of that model look like."""
    facts = {
        "version": MODEL_VERSION,
        "fingerprint": model.fingerprint,
        "weight_dtype": _weight_dtype(model),
        "entries": [
            {"name": name, "dtype": one.kind, "shape": [*one.shape]}
            for name, one in model.states.items()
        ],
    }
    return _form(facts, sum(map(_bytes_of, model.states.values())))


def pack_model(form: Form, model: Model, state: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the snapshot of that state."""
    stored = [state[name].astype(STORED[one.kind]) for name, one in model.states.items()]
    return _closed(form, b"".join(value.tobytes() for value in stored))


def unpack_model(form: Form, model: Model, snapshot: Any) -> dict[str, NDArray[Any]]:
    """Return the state in a snapshot, if it was taken of this very program and types of weights.

    Raises:
        TypeError, OSError: see `to_bytes`.
        SnapshotError: it is not a snapshot, is damaged, of another version, or of another model.
    """
    values = _opened(snapshot, form)
    state, begin = {}, 0
    for name, one in model.states.items():
        end = begin + _bytes_of(one)
        stored = np.frombuffer(values[begin:end], STORED[one.kind])
        state[name] = stored.astype(one.kind).reshape(one.shape)
        begin = end
    return state


def _weight_dtype(model: Model) -> Any:
    """Return how a model's weights are stored, as JSON has it."""
    given = model.weight_dtype
    return given if isinstance(given, str) else {str(n): name for n, name in given.items()}


def _bytes_of(value: Tensor) -> int:
    return STORED[value.kind].itemsize * math.prod(value.shape)
