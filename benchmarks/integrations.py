"""One window through the plug-ins for pipecat and LiveKit, and through their own, in turns.

    .venv/bin/python benchmarks/integrations.py [--blocks 40]

Needs `make integrations`. What is timed is what a pipeline waits for: `await analyze_audio` of
32 ms, and from `push_frame` of 32 ms to its event. Medians over all calls of all turns; the ratio
is that of the medians, its range the quartiles of the ratios of single turns.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from livekit import rtc
from livekit.agents.vad import VADEventType
from livekit.plugins import silero
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer as TheirAnalyzer

from lstm_fast.integrations.livekit import VAD
from lstm_fast.integrations.pipecat import SileroVADAnalyzer

SPEECH = Path(__file__).parents[1] / "examples/data/speech.wav"
CALLS = 50  # in a turn
WARM_CALLS = 5  # before them, untimed
MANY = 200  # analyzers that share a pool

Call = Callable[[int], Awaitable[Any]]


def windows(rate: int) -> list[bytes]:
    """Return the demo recording in pieces of 32 ms."""
    audio, has = soundfile.read(SPEECH, dtype="int16")
    audio = soxr.resample(audio, has, rate)
    size = rate * 32 // 1000
    return [audio[at : at + size].tobytes() for at in range(0, len(audio) - size, size)]


async def in_turns(calls: Sequence[Call], blocks: int) -> list[np.ndarray]:
    """Return the seconds of each call, shape (blocks, CALLS), for each contender."""
    taken = [np.empty((blocks, CALLS)) for _ in calls]
    number = [0] * len(calls)
    for block in range(blocks):
        for which, call in enumerate(calls):
            for at in range(-WARM_CALLS, CALLS):
                begin = time.perf_counter()
                await call(number[which])
                if at >= 0:
                    taken[which][block, at] = time.perf_counter() - begin
                number[which] += 1
    return taken


def tell(what: str, names: Sequence[str], taken: Sequence[np.ndarray], each: int = 1) -> None:
    """Print medians, and ratios to the first contender."""
    first = np.median(taken[0], axis=1)
    for name, times in zip(names, taken, strict=True):
        half, late = np.quantile(times, [0.5, 0.99]) * 1e6 / each
        ratio = np.median(times) / np.median(taken[0])
        low, high = np.quantile(np.median(times, axis=1) / first, [0.25, 0.75])
        print(
            f"{what:24} {name:10} {half:8.1f} us  p99 {late:8.1f} us  "
            f"{ratio:5.2f} of theirs ({low:.2f} to {high:.2f})"
        )


async def pipecat(blocks: int) -> None:
    """Time `analyze_audio`."""
    logger.remove()

    def analyzer(kind: Any, rate: int, **options: Any) -> Any:
        made = kind(**options)
        made.set_sample_rate(rate)
        return made

    for rate in (16000, 8000):
        pieces = windows(rate)
        names = ("pipecat", "lstm_fast", "shared")
        all_of_one = [analyzer(TheirAnalyzer, rate), analyzer(SileroVADAnalyzer, rate), None]
        all_of_one[2] = analyzer(SileroVADAnalyzer, rate, shared=True, tick=0)

        def call(one: Any, pieces: list[bytes] = pieces) -> Call:
            return lambda number: one.analyze_audio(pieces[number % len(pieces)])

        tell(f"pipecat {rate} Hz", names, await in_turns([call(a) for a in all_of_one], blocks))

    pieces = windows(16000)
    crowds = [[analyzer(TheirAnalyzer, 16000) for _ in range(MANY)]]
    crowds.append([analyzer(SileroVADAnalyzer, 16000) for _ in range(MANY)])
    crowds.append([analyzer(SileroVADAnalyzer, 16000, shared=True, tick=0) for _ in range(MANY)])

    def together(crowd: list[Any]) -> Call:
        return lambda number: asyncio.gather(
            *(
                one.analyze_audio(pieces[(number + at) % len(pieces)])
                for at, one in enumerate(crowd)
            )
        )

    taken = await in_turns([together(crowd) for crowd in crowds], max(1, blocks // 20))
    tell(f"pipecat, each of {MANY}", names, taken, each=MANY)


async def livekit(blocks: int) -> None:
    """Time from `push_frame` to the event of its window."""
    logging.disable(logging.ERROR)
    for rate in (16000, 48000):
        frames = [rtc.AudioFrame(one, rate, 1, len(one) // 2) for one in windows(rate)]
        streams = [silero.VAD.load().stream(), VAD.load().stream()]
        for stream in streams:
            stream.push_frame(frames[0])  # a resampler holds a little of it back

        def call(stream: Any, frames: list[Any] = frames) -> Call:
            async def window(number: int) -> None:
                stream.push_frame(frames[number % len(frames)])
                while (await stream.__anext__()).type != VADEventType.INFERENCE_DONE:
                    pass

            return window

        taken = await in_turns([call(stream) for stream in streams], blocks)
        tell(f"LiveKit {rate} Hz", ("livekit", "lstm_fast"), taken)
        for stream in streams:
            await stream.aclose()


def main() -> int:
    """Print what both take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=40, help=f"turns of {CALLS} calls (40)")
    blocks = parser.parse_args().blocks
    asyncio.run(pipecat(blocks))
    asyncio.run(livekit(blocks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
