"""`lstm-fast serve` and `serve-load`: their options, and what has to be there before they run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import _extras
from .limits import ServeError

TOKEN = "LSTM_FAST_TOKEN"  # of the environment: arguments are for all on a machine to read


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
    from . import process

    model = silero(options.model, weight_dtype=options.weights)
    logging.basicConfig(format="lstm-fast serve: %(message)s", level=logging.INFO)
    return int(uvloop.run(process.serve(options, model, token)))


def run_load(options: argparse.Namespace) -> int:
    """Put load on a server; return the exit code."""
    uvloop = _need()
    from . import load

    return int(uvloop.run(load.main(options, os.environ.get(TOKEN))))


def _need() -> Any:
    """Return uvloop.

    Raises:
        ServeError: a library is not installed, or there is none for this system.
    """
    if sys.platform == "win32":
        raise ServeError("there is no uvloop for Windows: serve from Linux, as in WSL, or macOS")
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
