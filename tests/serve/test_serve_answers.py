"""Answers of the server: the bits of a lone stream, at any rate, however PCM is cut and shared."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from serve_cases import RATE, SIZE, alone, bursts, cut, run, serving

RATES = (8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000)


async def talk(service, pcm, sizes, rate=RATE, **options):
    """Send all of it and end; return the answers and what came with the end."""
    async with service.client() as client:
        await client.begin(rate=rate, **options)
        for part in cut(pcm, sizes):
            await client.send(part)
            await asyncio.sleep(0)
        await client.end()
        assert await client.read_all() == (1000, "all is answered")
        return client


@pytest.mark.parametrize("rate", RATES)
def test_answers_are_those_of_a_lone_stream_at_any_rate(rate):
    pcm = bursts(1.3, rate)
    options = {"min_silence_duration_ms": 64, "turn_pause_ms": 128}

    async def scene():
        async with serving() as service:
            client = await talk(
                service, pcm, [rate // 31], rate, min_silence_ms=64, turn_pause_ms=128
            )
            expected = alone(pcm, rate, flush=True, **options)
            assert client.answers == expected
            assert client.done["samples"] == len(pcm) // 2
            assert client.done["windows"] == len(expected)
            kinds = [kind for *_, events in client.answers for kind, _ in events]
            assert {"speech_start", "speech_end", "turn_end"} <= {*kinds}
            assert client.ready["rate"] == rate

    run(scene())


@pytest.mark.parametrize(
    "sizes", [[1], [7, 1000, 3], [SIZE], [100, SIZE, SIZE - 100, SIZE], [4096], [5 * SIZE - 1, 1]]
)
def test_pcm_may_be_cut_anywhere(sizes):
    pcm = bursts(0.2 if sizes == [1] else 1.5)

    async def scene():
        async with serving() as service:
            client = await talk(service, pcm, sizes)
            assert client.answers == alone(pcm, flush=True)

    run(scene())


def test_sessions_share_steps_and_nothing_else():
    """Twelve at once, of other rates and lengths; each has the answers that it would have alone."""
    rng = np.random.default_rng(1)
    calls = [
        (bursts(rng.uniform(0.5, 1.5), rate, seed), rate, rng.integers(1, 3000, 5).tolist())
        for seed, rate in enumerate([8000, 16000, 48000] * 4)
    ]

    async def scene():
        async with serving() as service:
            clients = await asyncio.gather(
                *(talk(service, pcm, sizes, rate) for pcm, rate, sizes in calls)
            )
            for client, (pcm, rate, _) in zip(clients, calls, strict=True):
                assert client.answers == alone(pcm, rate, flush=True)
            batcher = service.hub.batcher
            assert batcher.frames == sum(len(client.answers) for client in clients)
            assert batcher.steps < batcher.frames  # some were shared

    run(scene())


def test_the_comparison_can_fail():
    """Negative control: two samples are swapped, and a sample is left out."""
    pcm, at = bursts(0.8), 2 * 10_000  # where it is loud
    swapped = pcm[:at] + pcm[at + 2 : at + 4] + pcm[at : at + 2] + pcm[at + 4 :]
    assert alone(swapped) != alone(pcm)
    assert alone(pcm[:at] + pcm[at + 2 :])[-1] != alone(pcm)[-2]


def test_the_last_window_ends_with_silence_and_so_does_speech():
    pcm = (np.ones(SIZE + 100) * 20000).astype("<i2").tobytes()

    async def scene():
        async with serving() as service:
            client = await talk(service, pcm, [SIZE], turn_pause_ms=500)
            assert [window for window, *_ in client.answers] == [1, 2]
            assert [event["type"] for event in client.done["events"]] == ["speech_end", "turn_end"]
            silent = await talk(service, b"", [SIZE])
            assert (silent.answers, silent.done["windows"], silent.done["events"]) == ([], 0, [])

    run(scene())


def test_options_are_those_of_the_events():
    pcm = bursts(1.5)

    async def scene():
        async with serving() as service:
            told = {"threshold": 0.9, "neg_threshold": 0.2, "min_speech_ms": 100, "pad_ms": 0}
            client = await talk(service, pcm, [SIZE], **told)
            named = {
                "threshold": 0.9,
                "neg_threshold": 0.2,
                "min_speech_duration_ms": 100,
                "speech_pad_ms": 0,
            }
            expected = alone(pcm, flush=True, **named)
            assert client.answers == expected
            assert expected != alone(pcm, flush=True)

    run(scene())
