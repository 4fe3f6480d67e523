"""A small Ray, and a Redis, of this machine alone, that are gone when their block is left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or else Ray reports its use to its makers
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a warning about GPUs, if so

OBJECT_STORE_BYTES = 100_000_000
REDIS_SECONDS = 10.0  # to start


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextmanager
def small_ray(cpus: int = 2, address: str | None = None) -> Iterator[None]:
    """Start a Ray of so many CPUs, or join the one at an address; leave it in the end.

    Raises:
        ModuleNotFoundError: the extra `ray` is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install '.[ray]'", name=error.name
        ) from None

    if address is not None:
        # The nodes of a cluster have lstm_fast installed, and are sent the modules beside this one.
        ray.init(
            address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"working_dir": str(Path(__file__).parent)},
        )
        try:
            yield
        finally:
            ray.shutdown()
        return
    folder = tempfile.mkdtemp(prefix="lf-ray-")  # short: it holds sockets
    try:
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_redis() -> bool:
    """Return whether there is a redis-server to start."""
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a Redis that keeps nothing on disk; yield its URL.

    Raises:
        FileNotFoundError: it is not installed.
        RuntimeError: it does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("redis-server is not installed: apt install redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        log = Path(folder) / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen([program, *options], stdout=output, stderr=output) as process,
        ):
            try:
                _wait_for(port, process, log)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.terminate()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    begin = time.monotonic()
    while process.poll() is None and time.monotonic() - begin < REDIS_SECONDS:
        with closing(socket.socket()) as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"redis-server has not started: {log.read_text()[-2000:]}")
