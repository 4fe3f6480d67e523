"""Ray Serve places sessions on replicas, each of which serves its own over WebSockets.

    place_url = start(Settings(store="redis://127.0.0.1:6379/0"), replicas=2)

A client asks `place_url`, with its session's name in the header `x-session-id`. Serve's router
hashes the name, so that a session stays with its replica as long as that lives. The replica answers
with its own address, and frames go there: Serve's proxy has nothing to do with them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import ray
from any_model import load
from ray import serve
from ray.serve.config import RequestRouterConfig
from sessions import FullError, SessionServer
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from store import ActorStore, MemoryStore, RedisStore, StaleOwnerError, Store

from lstm_fast import SnapshotError

HEADER = "x-session-id"  # another one by Serve's RAY_SERVE_SESSION_ID_HEADER_KEY
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
NAMESPACE = "lstm_fast"
log = logging.getLogger("lstm_fast.scale")


@dataclass(frozen=True)
class Settings:
    """What each replica is told.

    Args:
        store: "redis://host:port/0", or "actor:NAME" for a named actor.
        model: a file; None is Silero VAD at 16 kHz.
        every: frames from one snapshot of a session to the next.
        max_sessions: of one replica.
        host: to listen on; "" is this node's address, as the other nodes know it.
        forget: see `SessionServer`.
    """

    store: str
    model: str | None = None
    every: int = 16
    max_sessions: int = 1000
    host: str = ""
    forget: bool = False


def make_store(where: str) -> Store:
    """Return the store that a setting names. A named actor is made if it is not there.

    Raises:
        ValueError: it names none.
    """
    kind, _, name = where.partition(":")
    if kind in ("redis", "rediss", "unix"):
        return RedisStore(where)
    if kind != "actor" or not name:
        raise ValueError(f"the store is {where!r}, expected redis://host:port/0 or actor:NAME")
    # No CPU of its own, and not on a replica's process: it has to outlive those.
    options = {"name": name, "namespace": NAMESPACE, "num_cpus": 0, "get_if_exists": True}
    actor = ray.remote(MemoryStore).options(lifetime="detached", **options).remote()
    return ActorStore(actor)


class Placer:
    """A replica: its model, its sessions, and the server for their frames."""

    async def __init__(self, settings: Settings) -> None:
        host = settings.host or ray.util.get_node_ip_address()
        model = load(settings.model)
        self._server = SessionServer(
            model,
            make_store(settings.store),
            every=settings.every,
            max_sessions=settings.max_sessions,
            forget=settings.forget,
        )
        await self._server.start(host)
        log.info("sessions are served at %s", self._server.url)

    async def __call__(self, request: Request) -> Response:
        """Place the session that the header names, here."""
        name = request.headers.get(HEADER, "")
        try:
            return JSONResponse(await self._server.place(name))
        except ValueError as error:
            return PlainTextResponse(f"{error}; it is taken from the header {HEADER}", 400)
        except SnapshotError as error:
            return PlainTextResponse(f"{name}: {error}", 409)
        except (FullError, StaleOwnerError) as error:
            return PlainTextResponse(str(error), 503)


def start(
    settings: Settings, *, replicas: int = 2, port: int = 8000, host: str = "127.0.0.1"
) -> str:
    """Run the service on the Ray that this process is connected to.

    Args:
        settings: of each replica.
        replicas: how many.
        port: where sessions are placed.
        host: on which address.

    Returns:
        The URL to place sessions at.
    """
    serve.start(http_options={"host": host, "port": port}, logging_config={"log_level": "WARNING"})
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # `start` has set it, too
    deployment: Any = serve.deployment(
        name="Placer",
        num_replicas=replicas,
        # Serve sees placements only. What frames take is bounded by `max_sessions`.
        ray_actor_options={"num_cpus": 0.1},
        # All sessions may ask at once, as after a kill. Beyond this number Serve does not refuse
        # but waits, as no other replica may take them.
        max_ongoing_requests=2 * settings.max_sessions,
        health_check_period_s=1,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=2,
        request_router_config=RequestRouterConfig(
            request_router_class=ROUTER,
            # No other replica is tried where one is busy: the next placement would move it back.
            request_router_kwargs={"num_fallback_replicas": 0},
        ),
    )(Placer)
    serve.run(deployment.bind(settings), name="sessions", route_prefix="/")
    return f"http://{host}:{port}/"
