"""Where sessions are kept that must outlive the process which serves them.

For each session a store holds who owns it, how many frames are in its snapshot, and the snapshot.
All that is ever written is a compare-and-set of the whole record, so that nobody writes over what
they have not seen: an owner that was taken for dead, and wakes up, is refused.

    lease = await claim(store, "call-7", "ws://10.0.0.3:4000/")  # takes it over, whoever has it
    lease = await save(store, lease, 48, stream.snapshot())  # after frames 0 to 47

Epochs count the owners of a session. The owner in a record has a part that no other claim has, so
that a session which ended and began anew, at epoch 1 again, is still told from the old one.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, NamedTuple, Protocol

NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRIES = 20  # of a claim that others keep writing to
SECONDS = 3600  # that a session is kept which nobody goes on with


class StaleOwnerError(RuntimeError):
    """The session has another owner by now, or has ended. Nothing was written."""


class Version(NamedTuple):
    """What two records of a session are told apart by."""

    epoch: int  # owners so far
    owner: str  # an address, and a part that is unique to the claim
    counter: int  # frames that the snapshot has seen

    def __str__(self) -> str:
        return f"{self.epoch} {self.counter} {self.owner}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read what `str` wrote."""
        epoch, counter, owner = text.split(" ", 2)
        return cls(int(epoch), owner, int(counter))


class Record(NamedTuple):
    """What a store holds of a session. An empty snapshot is the state at the beginning."""

    version: Version
    snapshot: bytes


class Lease(NamedTuple):
    """What an owner holds: the session, and its record as that owner last wrote it."""

    session: str
    record: Record


class Store(Protocol):
    """Records by session; the one way to write is to compare and set."""

    async def read(self, session: str) -> Record | None:
        """Return the record of a session, or None."""

    async def swap(
        self, session: str, seen: Version | None, new: Record | None
    ) -> tuple[bool, Record | None]:
        """Write the new record (None: delete it) if the one there has the version `seen`.

        Returns:
            Whether it was written, and the record that is there now.
        """


class MemoryStore:
    """Records in the memory of one process, which has to outlive the owners.

    Its methods return at once; `Local` and `ActorStore` make a `Store` of it.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def read(self, session: str) -> Record | None:
        """Return the record of a session, or None."""
        return self._records.get(session)

    def swap(
        self, session: str, seen: Version | None, new: Record | None
    ) -> tuple[bool, Record | None]:
        """Compare and set: see `Store`."""
        found = self._records.get(session)
        if (found.version if found else None) != seen:
            return False, found
        if new is None:
            self._records.pop(session, None)
        else:
            self._records[session] = new
        return True, new

    def __len__(self) -> int:
        return len(self._records)


class Local:
    """A `MemoryStore` of this very process, for tests."""

    def __init__(self, memory: MemoryStore) -> None:
        self.memory = memory

    async def read(self, session: str) -> Record | None:
        """Return the record of a session, or None."""
        return self.memory.read(session)

    async def swap(
        self, session: str, seen: Version | None, new: Record | None
    ) -> tuple[bool, Record | None]:
        """Compare and set: see `Store`."""
        return self.memory.swap(session, seen, new)


class ActorStore:
    """A `MemoryStore` that lives in an actor of Ray: no server to install, lost with its process.

    Args:
        actor: the handle of the actor.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def read(self, session: str) -> Record | None:
        """Return the record of a session, or None."""
        record: Record | None = await self._actor.read.remote(session)
        return record

    async def swap(
        self, session: str, seen: Version | None, new: Record | None
    ) -> tuple[bool, Record | None]:
        """Compare and set: see `Store`."""
        result: tuple[bool, Record | None] = await self._actor.swap.remote(session, seen, new)
        return result


# A hash of two fields for each session. A script runs alone in Redis, which is what makes this one
# step. ARGV: the version seen ("": none), the new one ("": delete), its snapshot, milliseconds.
SWAP = """
local found = redis.call('HGET', KEYS[1], 'version') or ''
if found ~= ARGV[1] then
  return {0, found, redis.call('HGET', KEYS[1], 'snapshot') or ''}
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'version', ARGV[2], 'snapshot', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {1, ARGV[2], ARGV[3]}
"""


class RedisStore:
    """Records in Redis, which may be anywhere, and which outlives whoever serves.

    What Redis itself loses, when it is restarted without persistence or fails over to a replica
    that is behind, is noticed by the client, whose frames of before are gone: it raises, and never
    goes on from a wrong state.

    Args:
        url: "redis://host:port/0".
        prefix: of the keys.
        seconds: after which a session is forgotten that nobody has written to.
    """

    def __init__(
        self, url: str, prefix: str = "lstm_fast:session:", seconds: float = SECONDS
    ) -> None:
        import redis.asyncio

        self._client = redis.asyncio.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=5, protocol=2
        )
        self._prefix, self._milliseconds = prefix, int(seconds * 1000)
        self._script = self._client.register_script(SWAP)

    async def read(self, session: str) -> Record | None:
        """Return the record of a session, or None."""
        fields = ["version", "snapshot"]
        version, snapshot = await self._client.hmget(self._prefix + session, fields)
        return _record(version, snapshot)

    async def swap(
        self, session: str, seen: Version | None, new: Record | None
    ) -> tuple[bool, Record | None]:
        """Compare and set: see `Store`."""
        version, snapshot = (str(new.version), new.snapshot) if new else ("", b"")
        written, *found = await self._script(
            [self._prefix + session],
            [str(seen) if seen else "", version, snapshot, self._milliseconds],
        )
        return bool(written), _record(*found)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _record(version: bytes | None, snapshot: bytes | None) -> Record | None:
    return Record(Version.parse(version.decode()), snapshot or b"") if version else None


# ---- what owners do ----


async def claim(store: Store, session: str, address: str) -> Lease:
    """Become the owner of a session, new or not; whoever was it before is refused from now on.

    Args:
        store: where it is kept.
        session: its name, 1 to 128 letters, digits and `._:-`.
        address: of the new owner.

    Raises:
        ValueError: that is not a name.
        StaleOwnerError: others claim it all the time.
    """
    if not NAME.fullmatch(session):
        raise ValueError(f"{session!r} names no session: 1 to 128 letters, digits and ._:- do")
    owner = f"{address} {uuid.uuid4().hex}"
    seen = await store.read(session)
    for _ in range(TRIES):
        epoch, counter = (seen.version.epoch, seen.version.counter) if seen else (0, 0)
        new = Record(Version(epoch + 1, owner, counter), seen.snapshot if seen else b"")
        if await _written(store, session, seen.version if seen else None, new):
            return Lease(session, new)
        seen = await store.read(session)
    raise StaleOwnerError(f"{session}: {TRIES} times somebody else was faster")


async def save(store: Store, lease: Lease, counter: int, snapshot: bytes) -> Lease:
    """Write a newer snapshot.

    Args:
        store: where the session is kept.
        lease: what `claim`, or the last `save`, has returned.
        counter: frames that the snapshot has seen, more than in the one before.
        snapshot: of the session.

    Raises:
        ValueError: the counter does not grow.
        StaleOwnerError: the session is somebody else's. Nothing was written.
    """
    seen = lease.record.version
    if counter <= seen.counter:
        raise ValueError(f"{lease.session}: frame {counter} is saved after {seen.counter}")
    new = Record(seen._replace(counter=counter), snapshot)
    if not await _written(store, lease.session, seen, new):
        raise StaleOwnerError(f"{lease.session}: epoch {seen.epoch} of it is over")
    return Lease(lease.session, new)


async def end(store: Store, lease: Lease) -> None:
    """Delete a session which is over.

    Raises:
        StaleOwnerError: it is somebody else's. Nothing was deleted.
    """
    seen = lease.record.version
    if not await _written(store, lease.session, seen, None):
        raise StaleOwnerError(f"{lease.session}: epoch {seen.epoch} of it is over")


async def _written(store: Store, session: str, seen: Version | None, new: Record | None) -> bool:
    """Return whether the new record is there, also if that was so before: an answer may be lost.

    Then the client of Redis sends it again; the unique part of the owner says that it is ours.
    """
    written, found = await store.swap(session, seen, new)
    return written or found == new
