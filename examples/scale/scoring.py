"""Scores rows, each of which is a whole sequence: what an actor does with the batches it is given.

    score = Scorer(How())  # Silero VAD over recordings
    table = score(pyarrow.table({"name": ["a.wav"], "path": ["/recordings/a.wav"]}))

A row is a session of its own, from its reset to its end. So its numbers are the same bits whoever
else is in the batch, and nothing here depends on how rows were cut into batches. A row that cannot
be read or scored has a reason in its column `error`, and no numbers. Ray is not needed for this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from any_model import AnyModel, load, sizes
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
STEPS = 256  # of all sequences of a batch at once; bounds the memory, and changes no bit
TEXT, REAL = pa.string(), pa.float32()


@dataclass(frozen=True)
class How:
    """What is done with each row.

    Args:
        model: a file; None is Silero VAD, over recordings.
        rate: of Silero VAD, 16000 or 8000; recordings of others are resampled.
        threshold: from which probability on a chunk counts as speech.
        backend: as of `load_model`.
    """

    model: str | None = None
    rate: int = 16000
    threshold: float = 0.5
    backend: str | None = None


class RowError(Exception):
    """A row cannot be scored; the reason stands in its column `error`."""


def run(model: AnyModel, sequences: Sequence[Float32]) -> list[Float32]:
    """Run sequences (T, I) from their resets, T of each its own, together; return (T, P) of each.

    The bits are those of `model.stream().run(sequence)`.
    """
    if not sequences:
        return []
    given, made = sizes(model)
    lengths = np.array([len(one) for one in sequences])
    results = [np.empty((length, made), np.float32) for length in lengths]
    pool = model.pool(len(sequences))
    handles = [pool.open() for _ in sequences]
    for begin in range(0, int(lengths.max()), STEPS):
        now = np.clip(lengths - begin, 0, STEPS)
        (live,) = np.nonzero(now)
        xs = np.zeros((len(live), int(now.max()), given), np.float32)
        for row, n in enumerate(live):
            xs[row, : now[n]] = sequences[n][begin : begin + STEPS]
        ys: Any = pool.run([handles[n] for n in live], xs, now[live])
        for row, n in enumerate(live):
            results[n][begin : begin + STEPS] = ys[row, : now[n]]
    return results


class Scorer:
    """Loads its model once, and is then called with batches.

    Args:
        how: what is done with each row.
    """

    def __init__(self, how: How) -> None:
        self.how, self.model = how, load(how.model, how.rate, how.backend)
        self.given, self.made = sizes(self.model)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score the rows of a batch.

        Args:
            batch: columns `name` and, for recordings, `path`; for sequences `x` (T, I), as nested
                lists or as JSON, or `path` of the .npz file that has it by that name.

        Returns:
            As many rows in the same order, with the columns of `schema`.
        """
        sequences: list[Float32] = []
        errors: list[str | None] = []
        facts: list[dict[str, Any]] = []
        for row in range(batch.num_rows):
            named = "name" in batch.column_names
            fact: dict[str, Any] = {"name": str(batch["name"][row]) if named else None}
            try:
                sequence, more = self._sequence(batch, row)
                sequences.append(sequence)
                errors.append(None)
                fact.update(more)
            except (RowError, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
                errors.append(f"{type(error).__name__}: {error}"[:1000])
            facts.append(fact)
        outputs, rows = iter(run(self.model, sequences)), []
        for fact, error in zip(facts, errors, strict=True):
            rows.append(self._row(fact, error, None if error else next(outputs)))
        return pa.Table.from_pylist(rows, schema=schema(self.how))

    def _sequence(self, batch: pa.Table, row: int) -> tuple[Float32, Mapping[str, Any]]:
        if self.how.model is None:
            return read_recording(str(batch["path"][row]), self.how.rate, self.given)
        if "x" in batch.column_names:
            x = from_column(batch["x"][row])
        else:
            with np.load(str(batch["path"][row]), allow_pickle=False) as arrays:
                x = arrays[str(batch["name"][row])]
        return self._checked(x), {}

    def _checked(self, x: NDArray[Any]) -> Float32:
        if x.dtype.kind != "f" or not x.ndim:
            raise RowError(f"x holds {x.dtype}, expected rows of floats: samples, / 32768")
        if not len(x):
            return np.empty((0, self.given), np.float32)
        if x.ndim == 1 and self.given == 1:
            x = x[:, None]
        if x.ndim != 2 or x.shape[1] != self.given:
            raise RowError(f"x has shape {x.shape}, expected (T, {self.given})")
        if not np.isfinite(x).all():
            raise RowError(f"{np.count_nonzero(~np.isfinite(x))} values of x are not finite")
        return np.ascontiguousarray(x, np.float32)

    def _row(self, fact: dict[str, Any], error: str | None, ys: Float32 | None) -> dict[str, Any]:
        row: dict[str, Any] = {"error": error, **fact}
        if ys is None:
            return row
        row["steps"] = len(ys)
        if self.how.model is not None:
            return {**row, "y": list(ys)}
        probabilities = ys[:, 0]
        speech = np.count_nonzero(probabilities >= self.how.threshold)
        row["speech_seconds"] = speech * self.given / self.how.rate
        return {**row, "probabilities": probabilities}


def schema(how: How) -> pa.Schema:
    """Return the columns of the result, the same for rows with errors."""
    if how.model is not None:
        outputs = [("y", pa.list_(pa.list_(REAL)))]
    else:
        real = pa.float64()
        outputs = [("seconds", real), ("speech_seconds", real), ("probabilities", pa.list_(REAL))]
    return pa.schema([("name", TEXT), ("error", TEXT), ("steps", pa.int64()), *outputs])


def from_column(value: Any) -> NDArray[Any]:
    """Return the array that a cell of a table holds: nested lists, or JSON of such.

    Raises:
        RowError: it is empty, no such thing, or its rows are of different lengths.
    """
    if isinstance(value, (pa.StringScalar, pa.LargeStringScalar)):
        try:
            found = np.array(json.loads(str(value)))
        except ValueError as error:
            raise RowError(f"x is not JSON of rows of one length: {error}") from None
        # JSON does not tell 1 from 1.0.
        return found.astype(np.float32) if found.dtype.kind in "iu" else found
    rows = getattr(value, "values", None)
    if rows is None:
        raise RowError(f"x is {value.type}{' and empty' if not value.is_valid else ''}")
    if not pa.types.is_nested(rows.type):
        return np.array(rows.to_numpy(zero_copy_only=False))
    if rows.null_count or rows.flatten().null_count:
        raise RowError("x has empty cells")
    lengths = np.unique(pc.list_value_length(rows).to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise RowError(f"x has rows of {lengths[0]} to {lengths[-1]} values, expected one length")
    width = int(lengths[0]) if len(lengths) else 0
    return np.array(rows.flatten().to_numpy(zero_copy_only=False)).reshape(len(rows), width)


def read_recording(path: str, rate: int, chunk: int) -> tuple[Float32, Mapping[str, Any]]:
    """Read a recording, mixed to one channel and resampled, as whole chunks (T, chunk).

    The last chunk is filled up with silence.

    Raises:
        RowError: there is nothing in it, or what is in it is not finite.
        OSError, RuntimeError: it cannot be read.
    """
    import soundfile
    import soxr

    try:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw
        raise RowError(f"cannot be read as audio: {error}") from None
    if not len(samples):
        raise RowError("there are no samples in it")
    if not np.isfinite(samples).all():
        raise RowError("it has samples that are not finite")
    audio = samples.mean(axis=1)
    if found != rate:
        audio = soxr.resample(audio, found, rate)
    chunks = np.zeros((-(-len(audio) // chunk), chunk), np.float32)
    chunks.reshape(-1)[: len(audio)] = audio
    return chunks, {"seconds": len(samples) / found}
