"""200 analyzers and 200 streams in one process: no thread, little memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from processes import python

ROOT = Path(__file__).parents[2]
PATHS = [str(ROOT / "tests"), str(ROOT / "tests/integrations")]
COUNT = 200
LIMIT = 64 * 1024  # bytes of each, beside the audio that an event still owes
START = """
    import asyncio, gc, json, os, sys, threading, tracemalloc, warnings
    warnings.simplefilter("ignore")
    sys.path[:0] = {paths!r}
    from heard import recording

    def threads():  # also those that Python does not know of
        folder = "/proc/self/task"
        return len(os.listdir(folder)) if os.path.isdir(folder) else threading.active_count()

    def resident():  # bytes; 0 where the system does not say
        try:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    class Measured:
        def __init__(self, is_traced):
            self.is_traced = is_traced

        def __enter__(self):
            gc.collect()
            if self.is_traced:
                tracemalloc.start()
            self.threads, self.resident = threads(), resident()
            return self

        def __exit__(self, *error):
            gc.collect()
            self.python = tracemalloc.get_traced_memory()[0]
            self.threads, self.resident = threads() - self.threads, resident() - self.resident

    def say(measured, count, owed):
        taken = measured.python if measured.is_traced else measured.resident
        print(json.dumps([measured.threads, (taken - owed) / count]))

    COUNTS = ((False, {count}), (True, 20))  # tracing is slow
"""
ANALYZERS = """
    from loguru import logger
    logger.remove()
    from lstm_fast.integrations.pipecat import SileroVADAnalyzer

    audio = recording("speech", {rate})[{rate} : 3 * {rate} // 2].tobytes()
    size = {rate} // 25 * 2

    def made():
        analyzer = SileroVADAnalyzer(shared={shared})
        analyzer.set_sample_rate({rate})
        return analyzer

    async def hear(analyzers):
        for at in range(0, len(audio), size):
            await asyncio.gather(*(one.analyze_audio(audio[at : at + size]) for one in analyzers))

    async def main():
        first = [made()]
        await hear(first)
        kept = []
        for is_traced, count in COUNTS:
            with Measured(is_traced) as measured:
                analyzers = [made() for _ in range(count)]
                await hear(analyzers)
            kept.append(analyzers)
            say(measured, count, 0)

    asyncio.run(main())
"""
STREAMS = """
    from livekit import rtc
    from lstm_fast.integrations.livekit import VAD

    audio = recording("speech", {rate})[int({first} * {rate}) : int({last} * {rate})].tobytes()
    size = {rate} // 25 * 2

    async def hear(streams):
        for at in range(0, len(audio), size):
            piece = audio[at : at + size]
            for stream in streams:
                stream.push_frame(rtc.AudioFrame(piece, {rate}, 1, len(piece) // 2))
            while not all(one._input_ch._gets and one._event_ch._gets for one in streams):
                await asyncio.sleep(0)

    async def drain(stream):
        async for event in stream:
            pass

    async def main():
        vad = VAD.load(min_silence_duration=0.1)
        first = vad.stream()
        listener = asyncio.create_task(drain(first))
        await hear([first])
        kept = []
        for is_traced, count in COUNTS:
            with Measured(is_traced) as measured:
                streams = [vad.stream() for _ in range(count)]
                kept += [(stream, asyncio.create_task(drain(stream))) for stream in streams]
                await hear(streams)
            speaking = [one._detector._speaking for one in streams]
            assert speaking == [{last} < 2] * count
            say(measured, count, sum(2 * len(one._detector._speech) for one in streams))

    asyncio.run(main())
"""


def check(code, **values):
    """Once as the system sees it, once as Python does."""
    every = {"paths": PATHS, "count": COUNT, **values}
    done = python(START.format(**every) + code.format(**every), PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        threads, each = json.loads(line)
        assert threads == 0
        assert each <= LIMIT


@pytest.mark.parametrize(("shared", "rate"), [(False, 16000), (True, 8000)])
def test_analyzers(shared, rate):
    pytest.importorskip("pipecat", reason="pipecat-ai is not installed: make integrations")
    check(ANALYZERS, shared=shared, rate=rate)


STAGES = {"speaking": (0.8, 1.6), "spoken": (2.3, 3.2)}


@pytest.mark.parametrize(("rate", "stage"), [(16000, "spoken"), (48000, "speaking")])
def test_streams(rate, stage):
    """With LiveKit's own resampler, which takes 40 kB of these."""
    pytest.importorskip("livekit.agents", reason="livekit-agents is missing: make integrations")
    first, last = STAGES[stage]
    check(STREAMS, rate=rate, first=first, last=last)
