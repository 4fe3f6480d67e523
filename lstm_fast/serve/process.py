"""The process of `lstm-fast serve`: from its options to the signal that ends it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from typing import Any

from ..model import Model
from .hub import Hub
from .keeping import Store
from .limits import Limits, ServeError
from .origins import Gate, is_loopback
from .server import Server

LIMITS = ("sessions", "idle", "speed", "burst", "keep")  # that options can say
INTERRUPTED = 130
GARBAGE = (2_000, 10, 1_000)  # neither messages nor calls leave any in circles: looking takes time


def make_server(options: argparse.Namespace, model: Model, token: str | None) -> Server:
    """Return the server that the options describe; on the event loop that runs.

    Raises:
        ServeError: they cannot be.
        OSError: the directory cannot be written.
    """
    told = {name: getattr(options, name) for name in LIMITS}
    try:
        limits = Limits(**{name: value for name, value in told.items() if value is not None})
    except ValueError as error:
        raise ServeError(f"--{error}") from None
    pool: Any = model.pool(limits.sessions)
    if options.otel:
        try:
            from .. import tracing
        except ImportError as error:
            raise ServeError(str(error)) from None
        pool = tracing.trace_pool(pool, model_name="silero-vad")
    store = Store(options.state, limits.keep, limits.sessions)
    hub = Hub(pool, limits, store, options.checkpoint)
    return Server(hub, Gate(options.host, options.origin, token))


async def serve(options: argparse.Namespace, model: Model, token: str | None) -> int:
    """Serve until a signal; return the exit code."""
    received: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, received.put_nowait, one)
    server = make_server(options, model, token)
    port = await server.start(options.host, options.port)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(
        f"lstm-fast serve: http://{host}:{port}/ ({server.hub.limits.sessions} sessions, "
        f"{'with' if token else 'no'} token, process {os.getpid()})",
        flush=True,
    )
    if not is_loopback(options.host) and token is None:
        print(
            f"lstm-fast serve: {options.host} can be reached by others, and there is no token: "
            "--token-file",
            file=sys.stderr,
        )
    gc.collect()
    gc.freeze()  # what lives as long as the server need not be searched time and again
    gc.set_threshold(*GARBAGE)
    number = await received.get()
    if options.drain_delay and number == signal.SIGTERM:
        server.hub.draining = True  # load balancers ask /healthz, and send nobody else
        await _first(asyncio.sleep(options.drain_delay), received.get())
    stopping = asyncio.ensure_future(server.stop())
    if await _first(stopping, received.get()):
        kept = stopping.result()
        where = f" in {options.state}" if options.state else ", in vain: there is no --state"
        print(f"lstm-fast serve: stopped, {kept} sessions kept{where if kept else ''}", flush=True)
    return INTERRUPTED if number == signal.SIGINT else 0


async def _first(some: Any, other: Any) -> bool:
    """Wait for one of two; cancel the other; say whether it was the first one."""
    tasks = [asyncio.ensure_future(some), asyncio.ensure_future(other)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    is_done: bool = tasks[0].done()
    for task in tasks:
        task.cancel()
    return is_done
