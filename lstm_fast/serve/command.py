"""`lstm-fast serve`: its options, and its process until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _extras
from ..errors import LstmFastError

if TYPE_CHECKING:
    from ..model import Model
    from .server import Server

TOKEN = "LSTM_FAST_TOKEN"  # of the environment: arguments are for all on a machine to read
INTERRUPTED = 130
GARBAGE = (20_000, 20, 50)  # a message leaves none in circles: looking for it took 4 % of the time
DEFAULTS = {"sessions": 1000, "idle": 60.0, "speed": 4.0, "burst": 30.0, "keep": 600.0}


def add(commands: Any) -> None:
    """Add `serve` and `serve-load` to the command line."""
    parser = commands.add_parser(
        "serve",
        help="voice activity over WebSockets, with a page to look at",
        description="Serves Silero VAD: PCM in, probabilities, speech and turns out, and at / a "
        "page with a microphone. SIGTERM lets all sessions leave; docs/serve.md.",
    )
    option = parser.add_argument
    option("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine)")
    option("--port", type=int, default=8765, help="(%(default)s); 0: any that is free")
    option("--model", type=Path, metavar="FILE", help="of Silero VAD; default: as installed")
    option("--weights", default="float32", choices=["float32", "float16", "int8"])
    option("--sessions", type=int, metavar="N", help="live at once (1000)")
    option("--state", type=Path, metavar="DIR", help="where sessions are kept that leave")
    option(
        "--checkpoint",
        type=float,
        default=0.0,
        metavar="S",
        help="write each live session to DIR every so many seconds, against kill -9",
    )
    option("--idle", type=float, metavar="S", help="without audio that end a session (60)")
    option("--speed", type=float, metavar="X", help="times real time that a client may send (4)")
    option("--burst", type=float, metavar="S", help="of audio beyond that, once (30)")
    option("--keep", type=float, metavar="S", help="that a session without client is kept (600)")
    option(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"has the token that clients need; or the variable {TOKEN}",
    )
    option(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="of a page elsewhere that may use this; several times for several; '*': any",
    )
    option("--drain-delay", type=float, default=0.0, metavar="S", help="of /healthz before leaving")
    option("--otel", action="store_true", help="trace sessions with OpenTelemetry (extra otel)")
    parser.set_defaults(command=run)
    load = commands.add_parser(
        "serve-load",
        help="live sessions for `serve`, and what their answers take",
        description="Opens sessions in real time, 32 ms a message, and reports p50 and p99 from "
        "frame to answer.",
    )
    option = load.add_argument
    option("url", nargs="?", default="ws://127.0.0.1:8765/stream", help="(%(default)s)")
    option("--sessions", type=int, nargs="+", default=[100, 500, 1000, 2000], metavar="N")
    option("--seconds", type=float, default=10.0, metavar="S", help="each (%(default)s)")
    option("--audio", type=Path, metavar="FILE", help="a WAV of PCM16; default: noise")
    option("--pid", type=int, help="of the server, to tell its CPU time as well")
    option("--json", action="store_true", help="a line of JSON for each")
    load.set_defaults(command=run_load)


def run(options: argparse.Namespace) -> int:
    """Serve until a signal; return the exit code."""
    uvloop = _need()
    token = _token(options.token_file)
    if options.checkpoint and options.state is None:
        raise ServeError("--checkpoint writes to --state DIR: name it, too")
    from ..vad import silero

    model = silero(options.model, weight_dtype=options.weights)
    logging.basicConfig(format="lstm-fast serve: %(message)s", level=logging.INFO)
    return int(uvloop.run(_main(options, model, token)))


def run_load(options: argparse.Namespace) -> int:
    """Put load on a server; return the exit code."""
    uvloop = _need()
    from . import load

    main: Coroutine[Any, Any, int] = load.main(options, os.environ.get(TOKEN))
    return int(uvloop.run(main))


class ServeError(LstmFastError):
    """The server cannot start as it was told to."""


def _need() -> Any:
    """Return uvloop.

    Raises:
        ServeError: a library is not installed.
    """
    for name in ("aiohttp", "prometheus_client", "uvloop"):
        if find_spec(name) is None:
            raise ServeError(f"{name} is not installed: {_extras.install('serve')}")
    import uvloop

    return uvloop


def _token(path: Path | None) -> str | None:
    token = os.environ.get(TOKEN, "").strip() if path is None else path.read_text("utf-8").strip()
    if path is not None and not token:
        raise ServeError(f"{path} has no token")
    return token or None


def make_server(options: argparse.Namespace, model: Model, token: str | None) -> Server:
    """Return the server that the options describe; on the event loop that runs.

    Raises:
        ServeError: they cannot be.
        OSError: the directory cannot be written.
    """
    from .hub import Hub
    from .keeping import Store
    from .limits import Limits
    from .origins import Gate
    from .server import Server

    told = {name: getattr(options, name) for name in DEFAULTS}
    try:
        limits = Limits(**{name: value for name, value in told.items() if value is not None})
    except ValueError as error:
        raise ServeError(f"--{error}") from None
    pool: Any = model.pool(limits.sessions)
    if options.otel:
        from .. import tracing

        pool = tracing.trace_pool(pool, model_name="silero-vad")
    store = Store(options.state, limits.keep, limits.sessions)
    hub = Hub(pool, limits, store, options.checkpoint)
    return Server(hub, Gate(options.host, options.origin, token))


async def _main(options: argparse.Namespace, model: Model, token: str | None) -> int:
    from .origins import is_loopback

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
    received: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, received.put_nowait, one)
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
