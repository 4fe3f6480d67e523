"""Sessions without a connection: as bytes, in memory or in a directory, until they are taken up."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import SnapshotError
from ..snapshots import Snapshot, to_bytes
from ..vad import SpeechEvents
from ..vad._resampling import check_rate
from .wire import MOST_SAMPLES, OPTIONS

__all__ = ["Kept", "Store"]

MAGIC = b"LFSERVE1"
LENGTH = struct.Struct("<I")
CHECKSUM_BYTES = 32
MOST_BYTES = 1 << 24  # of a session: tens of thousands of answers
MOST_TEXT = 200  # of what is wrong with one
MODEL_RATE = 16000  # Hz
FAULTS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error)
SUFFIX, NEW, TAKEN = ".session", ".new-", ".taken-"  # of files; with the number of a process


@dataclass
class Kept:
    """A session as it was after `taken` samples.

    Attributes:
        session: its id.
        rate: of its PCM, Hz.
        options: of its `SpeechEvents`.
        taken: samples that it has had.
        windows: answers that it has given.
        model: the snapshot of its session of the pool.
        chunks: the snapshot of its `Chunks`.
        events: the snapshot of its `SpeechEvents`.
        replies: its last answers, each with its `samples`.
    """

    session: str
    rate: int
    options: dict[str, float]
    taken: int
    windows: int
    model: bytes
    chunks: bytes
    events: bytes
    replies: list[tuple[int, bytes]]

    def to_bytes(self) -> bytes:
        """Return it as bytes: a header in JSON, three snapshots, and SHA-256 of all that."""
        facts = asdict(self)
        blobs = [facts.pop(name) for name in ("model", "chunks", "events")]
        facts["replies"] = [(samples, reply.decode()) for samples, reply in self.replies]
        facts["sizes"] = [len(blob) for blob in blobs]
        header = json.dumps(facts).encode()
        body = b"".join([MAGIC, LENGTH.pack(len(header)), header, *blobs])
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, given: Snapshot) -> Kept:
        """Read what `to_bytes` wrote, as bytes or in a file.

        Raises:
            SnapshotError: it is damaged, or something else.
            OSError: the file cannot be read.
        """
        data = to_bytes(given, MOST_BYTES)
        body = data[:-CHECKSUM_BYTES]
        if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != data[len(body) :]:
            raise SnapshotError("the kept session is damaged or cut short")
        try:
            begin = len(MAGIC) + LENGTH.size
            (size,) = LENGTH.unpack_from(body, len(MAGIC))
            facts = json.loads(body[begin : begin + size].decode("ascii"))
            begin += size
            for name, size in zip(("model", "chunks", "events"), facts.pop("sizes"), strict=True):
                facts[name] = body[begin : begin + size]
                begin += size
            facts["replies"] = [(samples, reply.encode()) for samples, reply in facts["replies"]]
            kept = cls(**facts)
            kept._check()
            if kept.to_bytes() != data:
                raise ValueError("its parts do not fit")
            return kept
        except FAULTS as error:
            what = str(error)[:MOST_TEXT]
            raise SnapshotError(f"this is not a session that this server keeps: {what}") from None

    def _check(self) -> None:
        """Refuse what no call can have had.

        Raises:
            TypeError, ValueError: the text says what.
        """
        counts = (self.taken, self.windows, *(samples for samples, _ in self.replies))
        if not isinstance(self.session, str) or not all(type(count) is int for count in counts):
            raise TypeError("its id is not text, or a count of samples is not an integer")
        if not all(0 <= count <= MOST_SAMPLES for count in counts):
            raise ValueError("a count of samples is out of range")
        if not isinstance(self.options, dict) or not self.options.keys() <= {*OPTIONS.values()}:
            raise ValueError("its options are none that a client can have given")
        check_rate(self.rate, MODEL_RATE)
        SpeechEvents(**dict[str, Any](self.options))


class Store:
    """Keeps sessions until they are taken, or too old.

    In a directory several servers may share it: a session is taken by one of them at most.

    Args:
        directory: where to keep them, a file each; None: in memory, which ends with the process.
        keep: seconds after which a session is forgotten.
        most: sessions that are kept in memory; the oldest one goes first.
        clock: of the time of day, as files have it.
    """

    def __init__(
        self,
        directory: Path | None,
        keep: float,
        most: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory, self._keep, self._most, self._clock = directory, keep, most, clock
        self._memory: dict[str, tuple[float, bytes]] = {}
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = directory / f".probe-{os.getpid()}"
            probe.touch()  # who cannot keep a session has to say so before there is one
            probe.unlink()

    def __len__(self) -> int:
        """How many sessions this process, or the directory, keeps now."""
        if self.directory is None:
            return len(self._memory)
        return sum(1 for _ in self.directory.glob(f"*{SUFFIX}"))

    def put(self, kept: Kept) -> None:
        """Keep a session, in the place of what was kept of it before.

        Whoever reads the directory, and whenever this process is killed, finds one whole file.
        """
        data = kept.to_bytes()
        if self.directory is None:
            self._memory.pop(kept.session, None)
            self._memory[kept.session] = (self._clock(), data)
            while len(self._memory) > self._most:
                del self._memory[next(iter(self._memory))]
            return
        path = self.directory / f"{kept.session}{SUFFIX}"
        new = path.with_suffix(f"{NEW}{os.getpid()}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        os.replace(new, path)

    def take(self, session: str) -> Kept | None:
        """Return a session, which nobody else gets then; None where it is not kept.

        Raises:
            SnapshotError: its file is damaged.
        """
        if self.directory is None:
            _, data = self._memory.pop(session, (0.0, b""))
            return Kept.from_bytes(data) if data else None
        path = self.directory / f"{session}{SUFFIX}"
        mine = path.with_suffix(f"{TAKEN}{os.getpid()}")
        try:
            os.rename(path, mine)  # by one process alone
        except FileNotFoundError:
            return None
        try:
            kept = Kept.from_bytes(mine)
        finally:
            mine.unlink()
        if kept.session != session:
            raise SnapshotError("the kept session is another one's")
        return kept

    def forget(self, session: str) -> None:
        """Drop a session, if it is kept."""
        if self.directory is None:
            self._memory.pop(session, None)
        else:
            (self.directory / f"{session}{SUFFIX}").unlink(missing_ok=True)

    def sweep(self) -> None:
        """Forget what is too old."""
        oldest = self._clock() - self._keep
        if self.directory is None:
            for session in [one for one, (since, _) in self._memory.items() if since < oldest]:
                del self._memory[session]
            return
        for path in self.directory.iterdir():
            if path.suffix.startswith((SUFFIX, NEW, TAKEN)):
                with suppress(FileNotFoundError):  # another server was quicker
                    if path.stat().st_mtime < oldest:
                        path.unlink()
