"""Sessions that are placed by Ray Serve; a replica is killed while they stream, and no bit is lost.

    python examples/scale/live.py              # three rounds: Ray and Redis on this machine
    python examples/scale/live.py --rounds 20  # what `make scale` does
    python examples/scale/live.py --serve --store redis://10.0.0.2:6379/0 --address auto

In each round sessions stream frames to the replicas that they were placed at. At a random moment
one of these is killed with SIGKILL, which it cannot see coming. Its clients ask for another place,
send the frames since the last snapshot again, and in the end each of them must have the bits that
a stream of its own, never interrupted, gives. The last round is the control: replicas forget the
snapshots, and the comparison must notice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from local import free_port, has_redis, redis_server, small_ray
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech.wav"
PACE = 0.008  # seconds from frame to frame: four times as fast as frames of 32 ms are spoken
HEALTHY_SECONDS = 90.0


@dataclass
class Round:
    """What happened in a round."""

    right: int = 0  # sessions with all bits
    sessions: int = 0
    moved: int = 0  # sessions that were placed more than once
    again: int = 0  # frames that were answered a second time
    longest: float = 0.0  # seconds from one first answer of a session to the next
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()


def frames_of(model: Any, count: int, number: int, seed: int) -> Float32:
    """Return what a session sends, (count, I): speech, or noise for models of something else."""
    from any_model import sizes
    from scoring import read_recording

    given, _ = sizes(model)
    if given == 512:
        chunks, _ = read_recording(str(SPEECH), 16000, given)
        return np.ascontiguousarray(np.resize(np.roll(chunks, 31 * number, 0), (count, given)))
    rng = np.random.default_rng([seed, number])
    return rng.standard_normal((count, given), dtype=np.float32)


async def paced(frames: Float32, pace: float) -> AsyncIterator[Float32]:
    """Yield frames, one at a time."""
    due = time.monotonic()
    for frame in frames:
        due += pace
        await asyncio.sleep(max(due - time.monotonic(), 0))
        yield frame


async def stream_and_kill(
    place_url: str, inputs: dict[str, Float32], kill_at: int | None, rng: random.Random
) -> tuple[list[Any], list[str | None], float]:
    """Stream all sessions; kill a replica that serves one of them at the given answer of all.

    Returns:
        Their `Call`s, why each has failed or None, and the longest wait for an answer in seconds.
    """
    from client import Call, SessionLostError

    answers, longest = 0, 0.0
    last: dict[str, float] = {}

    def on_answer(call: Call, _: int) -> None:
        nonlocal answers, longest
        now = time.monotonic()
        longest = max(longest, now - last.get(call.name, now))
        last[call.name] = now
        answers += 1
        if answers == kill_at:
            busy = [one for one in calls if one.placements and not one.ended]
            os.kill(rng.choice(busy).placements[-1]["pid"], signal.SIGKILL)

    calls = [Call(place_url, name, on_answer=on_answer) for name in inputs]

    async def one(call: Call) -> str | None:
        try:
            await call.run(paced(inputs[call.name], PACE))
        except SessionLostError as error:
            return str(error)
        return None

    return calls, await asyncio.gather(*map(one, calls)), longest


def play(place_url: str, model: Any, options: argparse.Namespace, number: int, kill: bool) -> Round:
    """Play a round; compare each session with a stream of its own."""
    rng = random.Random(options.seed + number)
    inputs = {
        f"round-{number}.session-{n}": frames_of(model, options.frames, n, options.seed + number)
        for n in range(options.sessions)
    }
    total = options.frames * options.sessions
    kill_at = rng.randint(total // 10, total * 8 // 10) if kill else None
    begin = time.monotonic()
    calls, reasons, longest = asyncio.run(stream_and_kill(place_url, inputs, kill_at, rng))
    result = Round(sessions=len(calls), longest=longest, seconds=time.monotonic() - begin)
    for call in calls:
        lone = model.stream()
        expected = [np.asarray(lone.step(x), "<f4").tobytes() for x in inputs[call.name]]
        result.right += call.outputs == expected
        result.moved += len(call.placements) > 1
        result.again += call.answered_twice
    result.reasons = tuple(reason for reason in reasons if reason)
    return result


def wait_until_healthy(replicas: int) -> None:
    """Wait until all replicas run, so that each round begins like the first.

    Raises:
        RuntimeError: they do not.
    """
    from ray import serve

    begin = time.monotonic()
    while time.monotonic() - begin < HEALTHY_SECONDS:
        deployment = serve.status().applications["sessions"].deployments["Placer"]
        states = {str(getattr(s, "value", s)): n for s, n in deployment.replica_states.items()}
        if states == {"RUNNING": replicas}:
            return
        time.sleep(0.2)
    raise RuntimeError(f"after {HEALTHY_SECONDS:.0f} s the replicas are {states}")


def host_of(options: argparse.Namespace) -> str:
    """Return where replicas listen: on this machine alone, unless it is one of many."""
    return "127.0.0.1" if options.address is None else ""


def rounds(options: argparse.Namespace, store: str) -> bool:
    """Play all rounds and the control; return whether everything was as it must be."""
    from any_model import load
    from placing import Settings, start

    model = load(options.model)
    settings = Settings(store, options.model, options.every, host=host_of(options))
    place_url = start(settings, replicas=options.replicas, port=free_port())
    wait_until_healthy(options.replicas)
    print(
        f"{options.replicas} replicas, {options.sessions} sessions of {options.frames} frames, a "
        f"snapshot each {options.every} frames in {store.partition(':')[0]}; {model!r}",
        flush=True,
    )
    kill, good = not options.no_kill, 0
    for number in range(options.rounds):
        one = play(place_url, model, options, number, kill)
        is_good = one.right == one.sessions and (one.moved > 0 or not kill)
        good += is_good
        print(
            f"round {number + 1}: {one.right} of {one.sessions} sessions have all bits; "
            f"{one.moved} moved, {one.again} frames computed twice, longest wait "
            f"{one.longest:.2f} s, {one.seconds:.1f} s",
            *one.reasons,
            sep="\n  ",
            flush=True,
        )
        wait_until_healthy(options.replicas)
    print(f"{good} of {options.rounds} rounds lost no bit")
    return good == options.rounds and (not kill or control(options, settings, model, place_url))


def control(options: argparse.Namespace, settings: Any, model: Any, place_url: str) -> bool:
    """Show that the comparison can fail: replicas that forget the snapshots."""
    from placing import start

    port = int(place_url.rstrip("/").rpartition(":")[2])
    start(replace(settings, forget=True), replicas=options.replicas, port=port)
    wait_until_healthy(options.replicas)
    one = play(place_url, model, options, options.rounds, kill=True)
    wrong = one.sessions - one.right
    print(f"Control, snapshots forgotten: {wrong} of the {one.moved} sessions that moved are wrong")
    return 0 < wrong <= one.moved


def serve_for_good(options: argparse.Namespace) -> None:
    """Place and serve sessions until Ctrl-C or SIGTERM."""
    from placing import Settings, start

    store = options.store or "actor:sessions"
    settings = Settings(store, options.model, options.every, host=host_of(options))
    how = {"replicas": options.replicas, "port": options.port, "host": options.host}
    print(f"place sessions at {start(settings, **how)}", flush=True)
    with suppress(KeyboardInterrupt, SystemExit):  # the second is what Ray makes of SIGTERM
        threading.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 1 if a bit was lost or the control did not notice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--model", help="a file of one input and one output; default: Silero VAD")
    add("--store", help="redis://host:port/0, or actor:NAME; default: a Redis of its own, or else")
    add("--replicas", type=int, default=2, help="(%(default)s)")
    add("--every", type=int, default=16, help="frames from snapshot to snapshot (%(default)s)")
    add("--sessions", type=int, default=16, help="(%(default)s)")
    add("--frames", type=int, default=200, help="of each session (%(default)s)")
    add("--rounds", type=int, default=3, help="(%(default)s)")
    add("--seed", type=int, default=0, help="of the moments to kill at (%(default)s)")
    add("--no-kill", action="store_true", help="let them all live")
    add("--serve", action="store_true", help="only serve, until Ctrl-C")
    add("--host", default="127.0.0.1", help="to place sessions at, with --serve (%(default)s)")
    add("--port", type=int, default=8000, help="of --serve (%(default)s)")
    add("--address", help="of a running Ray; default: start one of two CPUs")
    options = parser.parse_args(arguments)
    if min(options.replicas, options.every, options.sessions, options.frames, options.rounds) < 1:
        parser.error("--replicas, --every, --sessions, --frames and --rounds must be 1 or more")
    if options.address and not (options.serve or options.no_kill):
        parser.error("a replica on another machine cannot be killed from here: take --no-kill")
    with ExitStack() as stack:
        store = options.store
        if store is None and not options.serve and has_redis():
            store = stack.enter_context(redis_server())
        try:
            stack.enter_context(small_ray(address=options.address))
        except ModuleNotFoundError as error:
            print(f"live.py: {error}", file=sys.stderr)
            return 2
        if options.serve:
            serve_for_good(options)
            return 0
        if store is None:
            print("redis-server is not installed: sessions are kept in a named actor")
        return 0 if rounds(options, store or "actor:sessions") else 1


if __name__ == "__main__":
    sys.exit(main())
