"""The modules of examples/scale, stores to try them on, and a service without Ray."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path

import pytest

SCALE = Path(__file__).parents[2] / "examples" / "scale"
sys.path.append(str(SCALE))
stores = import_module("store")
local = import_module("local")


@contextmanager
def redis_url():
    """Start a Redis; skip where its server or its client is not installed."""
    pytest.importorskip("redis")
    if not local.has_redis():
        pytest.skip("redis-server is not installed")
    with local.redis_server() as url:
        yield url


@asynccontextmanager
async def opened(url):
    """Open the store at a URL; an empty one in memory for None."""
    if url is None:
        yield stores.Local(stores.MemoryStore())
        return
    store = stores.RedisStore(url)
    try:
        await store._client.flushdb()
        yield store
    finally:
        await store.close()


class UnreachableError(Exception):
    """What a store raises that is down."""


class Fragile:
    """A store of which the connection can be cut: before it does anything, or before it answers."""

    def __init__(self, store):
        self.store, self.is_down, self.loses_answers = store, False, False

    async def read(self, session):
        if self.is_down:
            raise UnreachableError
        return await self.store.read(session)

    async def swap(self, session, seen, new):
        await asyncio.sleep(0)
        if self.is_down:
            raise UnreachableError
        result = await self.store.swap(session, seen, new)
        if self.loses_answers:  # then clients of Redis try again by themselves
            result = await self.store.swap(session, seen, new)
        return result


class Careless:
    """A store that sets without comparing: the mistake that all of this is about."""

    def __init__(self, store):
        self.store = store

    async def read(self, session):
        return await self.store.read(session)

    async def swap(self, session, seen, new):
        found = await self.store.read(session)
        return await self.store.swap(session, found.version if found else None, new)


async def until(condition):
    async def wait():
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(wait(), 10)
