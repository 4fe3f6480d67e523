"""The client of docs/serve.md, word for word, against a server; its tables against the code."""

from __future__ import annotations

import re
from pathlib import Path

from serve_cases import RATE, alone, bursts, run, serving

from lstm_fast.serve import wire
from lstm_fast.serve.limits import KEPT, Close, Limits
from lstm_fast.vad import SpeechEvents

PAGE = (Path(__file__).parents[2] / "docs/serve.md").read_text("utf-8")


def test_the_client_of_the_page_works():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(block.splitlines()) <= 16
    names = {}
    exec(block, names)
    pcm = bursts(2.0)

    async def scene():
        async with serving() as service:
            told = await names["listen"](f"{service.url}/stream", pcm, RATE)
            events = SpeechEvents(turn_pause_ms=700)
            found = [one for *_, p, _ in alone(pcm, flush=True) for one in events.push(p)]
            found += events.finish()
            assert [event["type"] for event in told] == [event.kind for event in found]
            assert [event["seconds"] for event in told] == [event.seconds for event in found]
            assert len(found) >= 5

    run(scene())


def test_the_page_names_every_code_and_option():
    for code in Close:
        assert re.search(rf"\b{int(code)}\b", PAGE), code
    for name in wire.KNOWN:
        assert f'"{name}"' in PAGE or f"`{name}`" in PAGE, name
    after = re.search(r"After ([\d, and]+) a session can be taken up again", PAGE)[1]
    assert {int(code) for code in re.findall(r"\d+", after)} == {int(code) for code in KEPT}


def test_the_page_has_the_limits_as_they_are():
    limits = Limits()
    for text in (
        f"`--idle` {limits.idle:g} s",
        f"`--keep` {limits.keep:g} s",
        f"`--speed` {limits.speed:g} times, `--burst` {limits.burst:g} s",
        f"`--sessions` {limits.sessions}",
        f"{limits.message_bytes // 1024} KiB",
        f"{limits.waiting:,} windows wait",
        f"{limits.unread // 1024} KiB wait",
        f"within {limits.start:g} s",
        f"the latest {limits.replies}",
    ):
        assert text in PAGE, text
