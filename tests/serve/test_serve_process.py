"""`lstm-fast serve` as it runs: signals, a restart in the middle, the load, errors."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import wave
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from serve_cases import Client, aiohttp, alone, cut

from lstm_fast import _extras, cli, vad

pytest.importorskip("uvloop", reason="needs uvloop")
pytest.importorskip("onnx", reason="needs onnx")
try:
    vad.silero_file()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).parents[2]
TOKEN = "a token"
PATIENCE = 60


def recording(seconds):
    with wave.open(str(ROOT / "examples/data/speech.wav"), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        return file.readframes(int(seconds * 16000))


@contextmanager
def served(*options, **environment):
    """Run a server; give its process and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lstm_fast", "serve", "--port", "0", *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "LSTM_FAST_TOKEN": TOKEN, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = process.stdout.readline()
        assert first.startswith("lstm-fast serve: http://127.0.0.1:"), process.stderr.read()
        yield process, int(re.search(r":(\d+)/", first)[1])
    finally:
        process.kill()
        process.communicate()


async def talk(port, do):
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{port}/stream"
        async with http.ws_connect(url, autoclose=False) as socket:
            return await do(Client(socket))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_restart_in_the_middle_of_a_recording(number, tmp_path):
    pcm = recording(4)
    options = {"turn_pause_ms": 300, "threshold": 0.4}
    expected = alone(pcm, model=vad.silero(), flush=True, **options)
    assert any(events for *_, events in expected)

    async def begin(client):
        await client.begin(token=TOKEN, **options)
        for part in cut(pcm[: len(pcm) // 2 // 2 * 2], [480]):
            await client.send(part)
        await client.read(20)
        process.send_signal(number)
        code, reason = await client.read_all()
        assert (code, "come back" in reason) == (1012, True)
        return client

    async def go_on(client):
        await client.resume(first.ready["session"], first.received, token=TOKEN)
        await client.read_one()
        for part in cut(pcm[2 * client.ready["samples"] :], [1000]):
            await client.send(part)
        await client.end()
        assert await client.read_all() == (1000, "all is answered")
        return client

    state = ("--state", tmp_path / "state")
    with served(*state) as (process, port):
        first = asyncio.run(talk(port, begin))
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == (0 if number == signal.SIGTERM else 130)
        assert "stopped, 1 sessions kept in" in out
        assert "Traceback" not in err
    with served(*state, "--sessions", 3) as (process, port):
        second = asyncio.run(talk(port, go_on))
    assert first.answers + second.answers == expected


def test_load_and_its_check(capfd):
    with served("--speed", 1000) as (process, port):
        url = f"ws://127.0.0.1:{port}/stream"
        command = [sys.executable, "-m", "lstm_fast", "serve-load", url, "--seconds", "0.3"]
        environment = {**os.environ, "LSTM_FAST_TOKEN": TOKEN}
        more = ["--sessions", "3", "--pid", str(process.pid), "--json"]
        done = subprocess.run(
            [*command, *more],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["right"], found["checked"], found["unanswered"]) == (3, 3, 0)
        assert found["closed"] == {}
        assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
        refused = subprocess.run(
            [*command, "--sessions", "1"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert refused.stderr == (
            "lstm-fast: the server has refused a session: 4401 the token is missing or wrong\n"
        )


def test_load_notices_wrong_bits():
    """Negative control: the answer to another window."""
    from lstm_fast.serve import load

    frames, windows = load.frames_of(None)
    assert len(frames) == len(windows) == 256
    stream, client = vad.silero().stream(), type("Client", (), {"_first": 3})()
    x = windows[3:6].astype(np.float32) / np.float32(32768)
    client.kept = [b'{"probability":%.9g}' % p for (p,) in stream.run(x)]
    assert load.is_right(client, windows)
    client.kept[1] = client.kept[0]
    assert not load.is_right(client, windows)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--checkpoint", "1"], "--checkpoint writes to --state DIR: name it, too"),
        (["--model", "no.onnx"], "no.onnx"),
        (["--token-file", "no.txt"], "no.txt"),
        (["--idle", "0"], "--idle is 0.0, expected more than 0"),
        (["--host", "203.0.113.7"], "assign requested address"),
        (["--state", "/proc/no"], "/proc/no"),
    ],
)
def test_errors_are_one_line(options, text, capsys):
    assert cli.main(["serve", "--port", "0", *options]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_a_library_that_is_missing_is_named(monkeypatch, capsys):
    from lstm_fast.serve import command

    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "aiohttp" else name)
    assert cli.main(["serve"]) == 2
    assert capsys.readouterr().err == (
        f"lstm-fast: aiohttp is not installed: {_extras.install('serve')}\n"
    )


def test_on_windows_nobody_is_told_to_install_what_there_is_not(monkeypatch, capsys):
    monkeypatch.setattr("lstm_fast.serve.command.sys.platform", "win32")
    assert cli.main(["serve"]) == 2
    assert "there is no uvloop for Windows: serve from Linux" in capsys.readouterr().err


def test_without_opentelemetry():
    """Which `--otel` alone needs."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from lstm_fast import cli; sys.exit(cli.main(['serve', '--port', '0', *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        [*command, "--otel"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "the extra 'otel'" in done.stderr
    assert done.stderr.count("\n") == 1
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.terminate()
        assert process.wait(PATIENCE) == 0
