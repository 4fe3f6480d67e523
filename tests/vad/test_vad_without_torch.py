"""A program written for silero-vad runs with its import changed, where torch cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("onnx")
pytest.importorskip("soundfile")
from recordings import SPEECH
from silero_cases import silero_file

PROGRAM = """
from silero_vad import VADIterator, collect_chunks, get_speech_timestamps
from silero_vad import load_silero_vad, read_audio, save_audio

model = load_silero_vad(onnx=True)
wav = read_audio(path, sampling_rate=16000)
segments = get_speech_timestamps(wav, model, return_seconds=True, time_resolution=2)

iterator, events = VADIterator(model, sampling_rate=16000), []
for i in range(0, len(wav), 512):
    chunk = wav[i : i + 512]
    if len(chunk) < 512:
        break
    event = iterator(chunk)
    if event:
        events.append(event)
iterator.reset_states()
save_audio(out, collect_chunks(get_speech_timestamps(wav, model), wav), 16000)
probability = model(wav[:512], 16000).item()
"""
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio", "silero_vad", "onnxruntime", "soxr"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
"""
TELL = """
import json
loaded = [name for name in ("torch", "soxr") if name in sys.modules]
print(json.dumps([segments, events, probability, loaded]))
"""


def run(program, path, out):
    head = f"{BLOCK}\npath, out = {str(path)!r}, {str(out)!r}\n"
    return subprocess.run(
        [sys.executable, "-c", head + program + TELL], capture_output=True, text=True, check=False
    )


def test_its_import_is_all_that_changes(tmp_path):
    silero_file("silero_vad")
    out = tmp_path / "speech.wav"
    done = run(PROGRAM.replace("from silero_vad import", "from lstm_fast.vad import"), SPEECH, out)
    assert done.returncode == 0, done.stderr
    segments, events, probability, loaded = json.loads(done.stdout)
    assert len(segments) >= 3
    assert [next(iter(event)) for event in events][:4] == ["start", "end", "start", "end"]
    assert 0 < probability < 1
    assert out.stat().st_size > 32000
    assert loaded == []


def test_without_the_change_it_does_not_run(tmp_path):
    """Negative control: the block works."""
    done = run(PROGRAM, SPEECH, tmp_path / "speech.wav")
    assert done.returncode != 0
    assert "silero_vad is blocked" in done.stderr
