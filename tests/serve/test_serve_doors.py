"""Who may come in to the server, and what it says of itself: origins, token, health, metrics."""

from __future__ import annotations

import json

import pytest
from serve_cases import SIZE, aiohttp, bursts, run, serving

from lstm_fast.serve.origins import Gate, is_loopback

PCM = bursts(0.5)


@pytest.mark.parametrize(
    ("told", "right"),
    [
        ({"token": "s3cret"}, True),
        ({"token": "s3cre"}, False),
        ({"token": ""}, False),
        ({}, False),
        ({"token": "sécret"}, False),
    ],
)
def test_a_token_in_the_start_message(told, right):
    async def scene():
        gate = Gate("127.0.0.1", (), "s3cret")
        async with serving(gate=gate) as service, service.client() as client:
            await client.start(**told)
            await client.read_one()
            assert (client.ready is not None) is right
            if not right:
                assert client.code_and_reason == (4401, "the token is missing or wrong")

    run(scene())


def test_a_token_in_the_header():
    async def scene():
        async with serving(gate=Gate("127.0.0.1", (), "s3cret")) as service:
            async with service.client(headers={"Authorization": "Bearer s3cret"}) as client:
                await client.begin()
            for wrong in ("Bearer s3cre", "Basic s3cret", "s3cret", ""):
                async with service.client(headers={"Authorization": wrong}) as client:
                    await client.start()
                    assert (await client.read_all())[0] == 4401
            assert (await service.get("/metrics"))[0] == 401
            assert (await service.get("/metrics", Authorization="Bearer s3cret"))[0] == 200
            status, text = await service.get("/healthz")  # a load balancer has no token
            assert (status, json.loads(text)["token"]) == (200, True)
            assert (await service.get("/"))[0] == 200  # the page asks for it

    run(scene())


def test_a_page_of_another_origin_is_refused():
    async def scene():
        async with serving() as service:
            ours = f"http://127.0.0.1:{service.port}"
            async with service.client(headers={"Origin": ours}) as client:
                await client.begin()
            for origin in ("http://evil.example", "null", f"http://127.0.0.1:{service.port + 1}"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    async with service.client(headers={"Origin": origin}):
                        pass
                assert refused.value.status == 403
            # A name of a stranger that leads to this machine, in both.
            evil = {"Host": "evil.example", "Origin": "http://evil.example"}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with service.client(headers=evil):
                    pass
            assert refused.value.status == 403
            status, text = await service.get("/", Host="evil.example")
            assert status == 403
            assert "--origin" in text
            assert service.hub.meter.refused == 5

    run(scene())


def test_gates():
    local = Gate("127.0.0.1", ("https://voice.example.org/",), None)
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "voice.example.org"):
        assert local.allows_host(host)
    for host in (None, "", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"):
        assert not local.allows_host(host)
    assert local.allows_origin("https://voice.example.org", "127.0.0.1:1")
    assert local.allows_origin("http://localhost:1", "localhost:1")
    assert local.allows_origin(None, None)
    assert not local.allows_origin("http://voice.example.org", "127.0.0.1:1")  # not over TLS
    assert not local.allows_origin("", "")
    public = Gate("0.0.0.0", (), "x")
    assert public.allows_host("any.example")
    assert not public.allows_origin("https://other.example", "any.example")
    assert Gate("127.0.0.1", ("*",), None).allows_origin("https://other.example", "x")
    assert not public.knows(None)
    assert local.knows(None)
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "localhost", "0.0.0.0", "a.b")] == [
        *(True, True, True, False, False)
    ]


def test_health_and_metrics():
    parser = pytest.importorskip("prometheus_client.parser")

    async def scene():
        async with serving() as service, service.client() as client:
            await client.begin()
            await client.send(PCM[: 2 * SIZE * 5])
            await client.read(5)
            status, text = await service.get("/healthz")
            assert (status, json.loads(text)) == (
                200,
                {"status": "ok", "sessions": 1, "limit": 16, "token": False},
            )
            async with service.client() as bad:
                await bad.start(rate=1)
                await bad.read_all()
            status, text = await service.get("/metrics")
            assert status == 200
            samples = {
                (one.name, *one.labels.values()): one.value
                for family in parser.text_string_to_metric_families(text)
                for one in family.samples
            }
            assert samples["lstm_fast_sessions",] == 1
            assert samples["lstm_fast_sessions_limit",] == 16
            assert samples["lstm_fast_windows_total",] == 5
            assert samples["lstm_fast_frames_total",] == 1
            assert samples["lstm_fast_audio_seconds_total",] == pytest.approx(5 * 0.032)
            assert samples["lstm_fast_windows_dropped_total",] == 0
            assert samples["lstm_fast_answer_seconds_count",] == 5
            assert samples["lstm_fast_answer_seconds_bucket", "+Inf"] == 5
            p50, p99 = (samples["lstm_fast_answer_recent_seconds", q] for q in ("0.5", "0.99"))
            assert 0 < p50 <= p99
            assert samples["lstm_fast_closed_total", "4400", "bad_message"] == 1
            assert samples["lstm_fast_sessions_begun_total", "new"] == 1

    run(scene())


def test_the_page_and_what_is_not_there():
    async def scene():
        async with serving() as service:
            status, page = await service.get("/")
            assert status == 200
            assert "<!doctype html>" in page.lower()
            for path in ("/page.js", "/page.css", "/worklet.js", "/icon.svg"):
                assert (await service.get(path))[0] == 200
                assert path[1:] in page or path == "/worklet.js"
            for path in ("/server.py", "/..%2fserver.py", "/page/../server.py", "/stream"):
                assert (await service.get(path))[0] in (400, 404), path

    run(scene())


def test_a_server_that_stops_takes_nobody():
    async def scene():
        async with serving() as service:
            service.hub.draining = True  # as while load balancers are given time
            assert (await service.get("/healthz"))[0] == 503
            async with service.client() as client:
                await client.start()
                assert await client.read_all() == (1012, "the server stops: try again")

    run(scene())
