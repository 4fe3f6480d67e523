"""`lstm-fast vad`: recordings through one pool, every form of output, live audio, and errors."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("soundfile")
import soundfile
from recordings import SPEECH
from silero_cases import silero_file

from lstm_fast import cli, vad
from lstm_fast.vad import _recordings as module
from lstm_fast.vad._reports import FEW_POINTS, MOST_POINTS, loudest, thinned


@pytest.fixture(autouse=True)
def _installed():
    silero_file("silero_vad")


@pytest.fixture
def folder(tmp_path):
    """A folder of recordings: of several rates, channels and formats; some cannot be heard."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    soundfile.write(tmp_path / "mono.wav", samples, rate)
    soundfile.write(tmp_path / "stereo.flac", np.stack([samples, 0.5 * samples], 1), rate)
    soundfile.write(tmp_path / "fast.wav", samples[:90001], 44100)
    soundfile.write(tmp_path / "silence.ogg", 0 * samples[:50000], rate)
    soundfile.write(tmp_path / "moment.wav", samples[:100], rate)
    return tmp_path


GOOD = ["mono.wav", "stereo.flac", "fast.wav", "silence.ogg", "moment.wav"]


def run(capsys, *arguments):
    """Return the exit code, stdout and stderr."""
    try:
        code = cli.main(["vad", *map(str, arguments)])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err


def expected(path, **options):
    audio, model = vad.read_audio(path), vad.load_silero_vad()
    return vad.get_speech_timestamps(
        audio, model, return_seconds=True, time_resolution=3, **options
    )


def test_recordings_together_are_as_each_alone(folder, capsys, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", 2)
    monkeypatch.setattr(module, "BLOCK_SECONDS", 0.7)
    code, out, err = run(capsys, "--json", *[folder / name for name in GOOD])
    assert (code, err) == (0, "")
    found = json.loads(out)["recordings"]
    assert [one["file"] for one in found] == [str(folder / name) for name in GOOD]
    for one in found:
        assert one["speech"] == expected(one["file"])
    assert [len(one["speech"]) for one in found] == [4, 4, len(found[2]["speech"]), 0, 0]
    assert [one["channels"] for one in found] == [1, 2, 1, 1, 1]
    assert found[2]["sampling_rate"] == 44100
    assert found[2]["seconds"] == round(90001 / 44100, 6)


def test_options_are_those_of_the_function(folder, capsys):
    path = folder / "mono.wav"
    options = ["--threshold", 0.3, "--neg-threshold", 0.2, "--min-speech", 0, "--min-silence", 500]
    options += ["--pad", 100, "--max-speech", 3]
    code, out, _ = run(capsys, "--json", *options, path)
    assert code == 0
    assert json.loads(out)["recordings"][0]["speech"] == expected(
        path,
        threshold=0.3,
        neg_threshold=0.2,
        min_speech_duration_ms=0,
        min_silence_duration_ms=500,
        speech_pad_ms=100,
        max_speech_duration_s=3,
    )
    assert out != run(capsys, "--json", path)[1]  # negative control


def test_a_table_says_what_was_found(folder, capsys):
    code, out, _ = run(capsys, folder / "stereo.flac", folder / "silence.ogg")
    first, second = out.split("\n\n")
    assert code == 0
    assert first.splitlines()[0].endswith("stereo.flac: 15.57 s, 16000 Hz, 2 channels mixed to one")
    assert len(first.splitlines()) == 7
    assert "4 segments, 9." in first
    assert second.endswith("no speech\n")


def test_rttm_and_srt(folder, capsys):
    path = folder / "mono.wav"
    speech = expected(path)
    _, out, _ = run(capsys, "--rttm", path, folder / "silence.ogg")
    rows = [line.split() for line in out.splitlines()]
    assert [[float(row[3]), round(float(row[3]) + float(row[4]), 3)] for row in rows] == [
        [one["start"], one["end"]] for one in speech
    ]
    assert {(row[0], row[1], row[2], *row[5:]) for row in rows} == {
        ("SPEAKER", "mono", "1", "<NA>", "<NA>", "speech", "<NA>", "<NA>")
    }
    _, out, _ = run(capsys, "--srt", path)
    assert out.splitlines()[:4] == ["1", "00:00:00,770 --> 00:00:02,878", "[speech]", ""]
    assert out.count(" --> ") == 4


@pytest.mark.parametrize(("form", "suffix"), [("json", "json"), ("rttm", "rttm"), ("srt", "srt")])
def test_a_file_for_each(folder, capsys, form, suffix):
    out = folder / "new" / "found"
    paths = [folder / name for name in GOOD]
    code, text, err = run(capsys, f"--{form}", "--out", out, *paths)
    assert (code, text, err) == (0, "", "")
    assert sorted(os.listdir(out)) == sorted(f"{path.stem}.{suffix}" for path in paths)
    assert (out / f"mono.{suffix}").stat().st_size > 100


def test_what_cannot_be_heard_is_said_and_the_others_are_heard(folder, capsys):
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    soundfile.write(folder / "none.wav", samples[:0], rate)
    soundfile.write(folder / "odd.wav", samples[:9000], 16001)
    soundfile.write(folder / "loud.wav", 30000 * samples, rate, subtype="FLOAT")
    samples[5000] = np.nan
    soundfile.write(folder / "nan.wav", samples, rate, subtype="FLOAT")
    (folder / "text.wav").write_text("no audio")
    (folder / "zero.wav").touch()
    (folder / "bare.raw").write_bytes(b"\0" * 64)
    flac = (folder / "stereo.flac").read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) * 3 // 4])
    wrong = {
        "cut.flac": "it is damaged after 8 s, within the next 8 (",
        "none.wav": "there are no samples in it",
        "odd.wav": "rate is 16001 Hz",
        "loud.wav": "it has floats up to",
        "nan.wav": "it has samples that are not finite",
        "text.wav": "this cannot be read as audio",
        "zero.wav": "the file is empty",
        "bare.raw": "this cannot be read as audio",
        "missing.wav": "there is no such file",
        ".": "this is a directory",
    }
    names = [*wrong, "mono.wav"]
    code, out, err = run(capsys, "--json", *[folder / name for name in names])
    assert code == 1
    lines = err.splitlines()
    for line, (name, text) in zip(lines, wrong.items(), strict=True):
        assert line.startswith(f"lstm-fast: {folder / name}: {text}"), line
    found = json.loads(out)["recordings"]
    assert [Path(one["file"]).name for one in found if "error" not in one] == ["mono.wav"]
    assert found[-1]["speech"] == expected(folder / "mono.wav")
    code, out, _ = run(capsys, folder / "zero.wav")
    assert (code, out) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name recordings, or --live"),
        (["--live", "{mono}"], "one of both"),
        (["--json", "--srt", "{mono}"], "not allowed with"),
        (["--srt", "{mono}", "{stereo}"], "--srt is of one recording"),
        (["--threshold", "3", "{mono}"], "--threshold is 3, expected 0 to 1"),
        (["--pad", "-3", "{mono}"], "--pad is -3, expected 0 or more"),
        (["--pad", "nan", "{mono}"], "--pad is nan"),
        (["--turn", "500", "{mono}"], "--turn is of --live"),
        (["--rate", "8000", "{mono}"], "--rate is of --live; recordings say their own"),
        (["--live", "--out", "x"], "--out is of recordings"),
        (["--live", "--max-speech", "3"], "--max-speech is of recordings"),
        (["--live", "--srt"], "--srt is of recordings"),
        (["--model-rate", "44100", "{mono}"], "invalid choice"),
        (["--plot", "x.txt", "{mono}"], "its name must end in .png"),
        (["--plot", "{folder}/none/x.png", "{mono}"], "there is no such directory"),
        (["--plot", "x.png", *["{mono}"] * 21], "up to 20 recordings, there are 21"),
        (["--out", "{folder}/x", "{mono}", "{mono}"], "would be mono there, {mono} and {mono}"),
        (["--out", "{stereo}", "{mono}"], "this is a file, expected a folder"),
        (["--model", "{mono}", "{mono}"], "no ONNX model"),
        (["--model", "{folder}/none.onnx", "{mono}"], "none.onnx"),
    ],
)
def test_wrong_usage_is_one_line(arguments, text, folder, capsys):
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    names = {"folder": folder, "mono": folder / "mono.wav", "stereo": folder / "stereo.flac"}
    code, out, err = run(capsys, *[one.format(**names) for one in arguments])
    assert (code, out) == (2, "")
    assert text.format(**names) in err
    assert len(err.splitlines()) == 1
    assert err.startswith("lstm-fast")


def test_without_weights_or_libraries_it_says_what_to_install(folder, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "soundfile", None)
        code, _, err = run(capsys, folder / "mono.wav")
        assert (code, len(err.splitlines())) == (2, 1)
        assert "the extra 'vad'" in err
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        code, _, err = run(capsys, folder / "mono.wav", "--plot", folder / "a.png")
        assert (code, len(err.splitlines())) == (2, 1)
        assert "the extra 'plot'" in err

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    code, _, err = run(capsys, folder / "mono.wav")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "pip install --no-deps silero-vad" in err


def test_a_picture_is_drawn(folder, capsys):
    pytest.importorskip("matplotlib")
    picture = folder / "a.png"
    code, _, err = run(capsys, "--plot", picture, *[folder / name for name in GOOD])
    assert (code, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20000


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 4000, 56173])
def test_a_long_recording_is_drawn_with_fewer_points(count):
    values = np.random.default_rng(count).random(count, np.float32)
    means, each = thinned(values)
    wanted = [values[at : at + each].astype(float).mean() for at in range(0, count, each)]
    assert (each == 1) == (count <= MOST_POINTS)
    assert each == 1 or FEW_POINTS * 0.8 < len(means) <= FEW_POINTS
    np.testing.assert_allclose(means, wanted, rtol=1e-12)
    assert each > 1 or np.array_equal(means, values)
    peaks, each = loudest(values)
    assert [*peaks] == [values[at : at + each].max() for at in range(0, count, each)]
    assert len(peaks) <= MOST_POINTS


class Standing:
    """Standard input that gives a few bytes at a time, and is not a terminal."""

    def __init__(self, data, size=999):
        self.buffer, self.size = types.SimpleNamespace(read1=self.read1), size
        self.data = io.BytesIO(data)

    def isatty(self):
        return False

    def read1(self, count):
        return self.data.read(min(count, self.size))


@pytest.mark.parametrize("rate", [16000, 48000])
def test_live_audio_gives_events_as_they_come(rate, capsys, monkeypatch):
    samples = vad.read_audio(SPEECH, rate)[: 10 * rate]
    data = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", Standing(data))
    code, out, err = run(capsys, "--live", "--rate", rate, "--turn", 300, "--json")
    assert (code, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    stream = vad.SpeechStream(rate=rate, turn_pause_ms=300)
    events = [*stream.push(data).events, *stream.flush().events]
    assert found == [{"event": one.kind, "seconds": round(one.seconds, 6)} for one in events]
    assert len(found) >= 6
    monkeypatch.setattr(sys, "stdin", Standing(data + b"x"))
    code, out, err = run(capsys, "--live", "--rate", rate)
    assert out.splitlines()[0].split(maxsplit=1)[1] == "s  speech start"
    assert "half of a sample" in err


def test_live_audio_from_a_terminal_or_at_no_rate_is_refused(capsys, monkeypatch):
    terminal = Standing(b"")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    code, _, err = run(capsys, "--live")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "which is a terminal" in err
    monkeypatch.setattr(sys, "stdin", Standing(b"\0" * 100))
    code, _, err = run(capsys, "--live", "--rate", 16001)
    assert code == 2
    assert "rate is 16001 Hz" in err


@pytest.mark.parametrize("size", [1, 999])
def test_a_file_that_is_taken_for_raw_audio_is_told(size, folder, capsys, monkeypatch):
    for name, said in (("mono.wav", "a WAV"), ("stereo.flac", "a FLAC"), ("silence.ogg", "an Ogg")):
        monkeypatch.setattr(sys, "stdin", Standing((folder / name).read_bytes()[:4000], size))
        code, _, err = run(capsys, "--live")
        assert (code, err.count("begins like"), f"like {said} file" in err) == (0, 1, True)
    monkeypatch.setattr(sys, "stdin", Standing(b"\0" * 4000, size))  # the control: raw audio
    assert run(capsys, "--live") == (0, "", "")


def test_events_are_there_before_the_audio_ends():
    """A process whose standard input stays open tells a start while it waits for more."""
    samples = (vad.read_audio(SPEECH) * 32767).astype("<i2")[: 3 * 16000].tobytes()
    command = [sys.executable, "-m", "lstm_fast", "vad", "--live"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(samples)
        process.stdin.flush()
        assert process.stdout.readline().strip() == b"0.770 s  speech start"
        process.stdin.close()
        assert b"speech end" in process.stdout.read()
    assert process.returncode == 0


@pytest.mark.parametrize("rate", [11025, 16000, 44100])
def test_peaks_are_drawn_where_they_are(rate, tmp_path):
    samples = np.zeros(20 * rate, np.float32)
    at = 19 * rate + 1
    samples[at] = 0.5
    soundfile.write(tmp_path / "click.wav", samples, rate)
    (one,) = module.listen([tmp_path / "click.wav"], vad.silero(), has_peaks=True)
    assert np.flatnonzero(one.peaks) == at // one.peak_samples
