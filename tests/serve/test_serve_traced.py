"""The server with tracing: a segment for each turn; and what goes over the wire, byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections import deque

import pytest
from serve_cases import MODEL, alone, bursts, run, serving

from lstm_fast import tracing
from lstm_fast.serve import load, wire
from lstm_fast.vad import SpeechEvent

PCM = bursts(2.0)


def test_turns_are_segments_of_traces():
    pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    pool = tracing.trace_pool(MODEL.pool(4), model_name="vad", tracer=tracer)

    async def scene():
        async with serving(pool=pool) as service:
            async with service.client() as client:
                await client.begin(turn_pause_ms=200)
                await client.send(PCM[:40_000])
                await client.read(40_000 // 2 // 512)
                client.socket._response.connection.transport.abort()
            while service.hub.calls:
                await asyncio.sleep(0.001)
            async with service.client() as again:
                await again.resume(client.ready["session"], client.received)
                await again.read_one()
                await again.send(PCM[2 * again.ready["samples"] :])
                await again.end()
                await again.read_all()
            expected = alone(PCM, flush=True, turn_pause_ms=200)
            assert client.answers + again.answers == expected
            turns = [number for number, *_, found in expected if "turn_end" in dict(found)]
            spans = [span.attributes for span in exporter.get_finished_spans()]
            assert {span["session.id"] for span in spans} == {client.ready["session"]}
            ended = [span for span in spans if span.get("lstm.prediction.label") == "turn_end"]
            assert len(ended) == len(turns) == 2
            assert ended[0]["lstm.sequence.length"] == turns[0]
            assert ended[1]["lstm.state.age_steps"] == turns[1]  # over the lost connection
            assert sum(span["lstm.sequence.length"] for span in spans) == len(expected)

    run(scene())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_frames_of_any_length(size):
    """Against a reader of its own, that of RFC 6455, 5.2."""
    payload = bytes(range(256)) * (size // 256 + 1)
    data = wire.frame(payload[:size])
    assert data[0] == 0x81
    length, begin = data[1], 2
    if length == 126:
        length, begin = int.from_bytes(data[2:4], "big"), 4
        assert length > 125
    elif length == 127:
        length, begin = int.from_bytes(data[2:10], "big"), 10
        assert length > 65535
    assert (length, data[begin:]) == (size, payload[:size])
    masked = load.masked(load.BINARY, payload[:size])
    assert masked[begin : begin + 4] == bytes(4)
    assert masked[1] == data[1] | 0x80
    assert masked[begin + 4 :] == payload[:size]


def test_texts_are_json_with_all_digits():
    seconds = 12345.678125
    events = wire.events_text([SpeechEvent("speech_start", seconds, 5)])
    reply = json.loads(wire.WINDOW_WITH % (7, 3584, 1 / 3, events))
    assert reply == {
        "type": "window",
        "window": 7,
        "samples": 3584,
        "probability": 0.333333333,
        "events": [{"type": "speech_start", "seconds": seconds}],
    }


def test_the_load_reads_frames_however_they_are_cut():
    async def scene():
        written = []
        client = load.Client(b"GET", b"start", [b"frame"], 0)
        client._transport = type("T", (), {"write": lambda _, data: written.append(data)})()
        client._sent = deque([0.0] * 3)
        client.kept = []
        replies = [wire.WINDOW % (n, n, 0.5) for n in range(2)]
        replies.append(wire.WINDOW_WITH % (2, 2, 0.5, b"[%s]" % (b" " * 100)))
        stream = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"
        stream += wire.frame(b'{"type":"ready"}') + bytes((0x89, 2)) + b"hi"
        stream += b"".join(map(wire.frame, replies)) + bytes((0x88, 2)) + b"\x03\xe8"
        for n in range(len(stream)):
            client.data_received(stream[n : n + 1])
        assert client.kept == replies
        assert client.answered == 3
        assert written[0] == b"start"
        assert written[1] == load.masked(0x8A, b"hi")
        assert not client.is_open
        await client.ready

    asyncio.run(scene())
