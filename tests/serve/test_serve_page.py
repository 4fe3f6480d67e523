"""The page in Chromium: a microphone that hears a recording, by keyboard; and what goes wrong.

LSTM_FAST_SCREENSHOTS=FOLDER writes pictures there, for people to look at.
"""

from __future__ import annotations

import os
import signal
import wave
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from serve_cases import alone
from test_serve_process import TOKEN, recording, served

from lstm_fast import vad

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip(f"needs {CHROMIUM}: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

SECONDS = 4.4  # of the recording: one segment and the beginning of the next
WINDOW = 0.032  # s
OFFSET = 2 * WINDOW  # by which the page may be late: what was played before it was connected
PAUSE = 400  # ms
PATIENCE = 30_000  # ms: a guard against waiting for ever


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(recording(SECONDS))
    return path


@pytest.fixture(scope="module")
def browser(wav):
    flags = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}%noloop",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def port():
    with served() as (_, number):
        yield number


@contextmanager
def page_of(browser, port, *, token=TOKEN, scheme="light", before=""):
    """Open the page; whatever it complains of in the console is an error."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1000, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    if before:
        page.add_init_script(before)
    page.goto(f"http://127.0.0.1:{port}/#token={token.replace(' ', '%20')}")
    yield page
    context.close()
    assert errors == []


def picture(page, name):
    folder = os.environ.get("LSTM_FAST_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def status(page, text):
    page.wait_for_function(
        "text => document.getElementById('status').textContent.startsWith(text)", arg=text
    )


def problem(page, text):
    page.wait_for_function(
        "text => document.getElementById('problem').textContent.includes(text)", arg=text
    )
    assert page.locator("#problem").is_visible()


def expected_events():
    events = alone(recording(SECONDS), model=vad.silero(), turn_pause_ms=PAUSE)
    return [event for *_, found in events for event in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_microphone_shows_speech_where_the_recording_has_it(browser, port, scheme):
    if scheme == "dark" and "LSTM_FAST_SCREENSHOTS" not in os.environ:
        pytest.skip("the same in other colours: for pictures")
    with page_of(browser, port, scheme=scheme) as page:
        page.locator("#pause").fill(str(PAUSE))
        page.locator("#token").wait_for(state="visible")
        page.locator("#microphone").focus()
        page.keyboard.press("Enter")
        page.wait_for_function("() => window.page.segments.length == 2")
        picture(page, f"speaking_{scheme}")
        page.keyboard.press("Escape")
        status(page, "Done")
        picture(page, f"done_{scheme}")
        found = page.evaluate("window.page")
        rows = page.locator("#segments tr").all_inner_texts()
        is_hidden = page.locator("#problem").is_hidden()
        focused = page.evaluate("document.activeElement.tagName")
    expected = expected_events()
    assert [kind for kind, _ in expected] == [
        *("speech_start", "speech_end", "turn_end", "speech_start")
    ]
    (begin, end, turn, again) = (seconds for _, seconds in expected)
    first, second = found["segments"]
    for got, want in (
        (first["from"], begin),
        (first["to"], end),
        (found["turns"][0], turn),
        (second["from"], again),
    ):
        assert abs(got - want) <= OFFSET + 1e-9, (found["segments"], expected)
    assert len(rows) >= 3
    assert rows[-1].split("\t")[:2] == ["Speech", f"{first['from']:.2f} s"]
    assert is_hidden
    assert len(found["latencies"]) > 50
    assert focused in ("BUTTON", "BODY")


def test_a_recording_goes_on_where_the_server_is_replaced(browser, wav, tmp_path):
    """In the middle of it; the page ends with as many windows as there are, each where it was."""
    state = ("--state", tmp_path)
    with served(*state) as (process, port), page_of(browser, port) as page:
        page.locator("#chooser").set_input_files(wav)
        page.wait_for_function("() => window.page.windows.length > 30")
        process.send_signal(signal.SIGTERM)
        process.wait()
        problem(page, "The connection is lost. Trying to go on")
        picture(page, "trying")
        with served(*state, "--port", port):
            status(page, "Live")
            status(page, "Done")
            found = page.evaluate("window.page")
            assert page.locator("#problem").is_hidden()
    times = [window["time"] for window in found["windows"]]
    assert len(times) == -(-int(SECONDS * 16000) // 512)
    assert max(b - a for a, b in pairwise(times)) < 1.01 * WINDOW
    (begin, end, *_) = (seconds for _, seconds in expected_events())
    first = found["segments"][0]
    # It is played from its beginning. Both times are whole milliseconds, and so is a window.
    assert round(1000 * abs(first["from"] - begin)) <= round(1000 * WINDOW)
    assert round(1000 * abs(first["to"] - end)) <= round(1000 * WINDOW)


def test_what_goes_wrong_is_said(browser, tmp_path):
    nobody = (
        "navigator.mediaDevices.getUserMedia = "
        "() => Promise.reject(new DOMException('none', 'NotFoundError'))"
    )
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no sound")
    with served("--sessions", 1) as (process, port):
        with page_of(browser, port, before=nobody) as page:
            page.locator("#microphone").click()
            problem(page, "There is no microphone.")
            assert page.locator("#microphone").is_enabled()
            page.locator("#chooser").set_input_files(broken)
            problem(page, "cannot read broken.wav as sound")
        with page_of(browser, port, token="wrong") as page:
            page.locator("#microphone").click()
            problem(page, "The server wants a token")
            assert page.evaluate("document.activeElement.id") == "token"
            picture(page, "token")
            page.locator("#token").fill(TOKEN)
            page.locator("#microphone").click()
            status(page, "Live")
            assert page.locator("#problem").is_hidden()
            with page_of(browser, port) as other:
                other.locator("#microphone").click()
                problem(other, "The server is full")
            process.send_signal(signal.SIGKILL)
            problem(page, "The connection is lost")
            page.locator("#stop").click()
    with page_of_nothing(browser) as page:
        problem(page, "There is no connection to the server")


@contextmanager
def page_of_nothing(browser):
    """The page of a server that has ended meanwhile."""
    with served() as (process, port), page_of(browser, port) as page:
        status(page, "Not connected")
        process.kill()
        process.wait()
        page.locator("#microphone").click()
        yield page


def test_small_screens_and_what_is_read_aloud(browser, port):
    with page_of(browser, port) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        picture(page, "small")
        unnamed = page.evaluate(
            """[...document.querySelectorAll("button, input, meter, canvas, table")].filter((one) =>
              !(one.innerText || one.ariaLabel || one.labels?.length || one.tagName === "TABLE" ||
                one.getAttribute("aria-label"))).map((one) => one.outerHTML)"""
        )
        assert unnamed == []
        assert page.locator("html").get_attribute("lang") == "en"
        page.keyboard.press("Tab")
        seen = [page.evaluate("document.activeElement.id")]
        for _ in range(4):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.id"))
        assert seen == ["microphone", "file", "threshold", "pause", "token"]


def test_the_comparison_can_fail_by_half_a_second():
    """Negative control: half a second later, the recording is not where the page shows it."""
    pcm = bytes(16000) + recording(SECONDS)
    events = alone(pcm, model=vad.silero(), turn_pause_ms=PAUSE)
    (begin, *_) = (seconds for *_, found in events for _, seconds in found)
    assert abs(begin - expected_events()[0][1]) > OFFSET
