"""`read_audio`, `save_audio`, `collect_chunks` and `drop_chunks`."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("soundfile")
import soundfile
from recordings import SPEECH, theirs

from lstm_fast import FormatError, vad


def noise(count, channels=1):
    shape = (count, channels) if channels > 1 else (count,)
    return np.random.default_rng(1).integers(-32768, 32768, shape).astype(np.int16)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_read_is_written_as_it_was(tmp_path, suffix):
    samples = noise(5000)
    samples[:2] = -32768, 32767
    path, other = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    soundfile.write(path, samples, 16000)
    read = vad.read_audio(path)
    assert read.tobytes() == (samples / np.float32(32768)).tobytes()
    vad.save_audio(other, read)
    assert (soundfile.read(other, dtype="int16")[0] == samples).all()
    vad.save_audio(str(other), samples, 8000)
    again, rate = soundfile.read(other, dtype="int16")
    assert (again == samples).all()
    assert rate == 8000


def test_channels_are_mixed_and_rates_made_the_same(tmp_path):
    path, samples = tmp_path / "a.wav", noise(44100, 2)
    soundfile.write(path, samples, 44100)
    mixed = (samples / np.float32(32768)).mean(axis=1)
    assert vad.read_audio(path, 44100).tobytes() == mixed.astype(np.float32).tobytes()
    found = vad.read_audio(path)
    assert (found.shape, found.dtype) == ((16000,), np.float32)
    chunks = vad.Chunks(44100)
    expected = np.concatenate([chunks.push(mixed), chunks.flush()]).reshape(-1)
    assert found.tobytes() == expected[:16000].tobytes()


def test_their_values_where_the_rate_is_unchanged(tmp_path, monkeypatch):
    """Theirs decodes with torchaudio or torchcodec, which gives 16 bits divided by 32768, as
    soundfile does; that stands in for it here, what is made of it is their own."""
    torch = pytest.importorskip("torch")
    utils = theirs().utils_vad

    class TorchAudio:
        __version__ = "2.11.0"

        @staticmethod
        def load(path):
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            return torch.from_numpy(samples.T.copy()), rate

    monkeypatch.setattr(utils, "_try_import_torchaudio", lambda: TorchAudio)
    stereo = tmp_path / "a.wav"
    soundfile.write(stereo, noise(1000, 2), 16000)
    for path in (SPEECH, stereo):
        expected = theirs().read_audio(str(path)).numpy()
        assert vad.read_audio(path).tobytes() == expected.tobytes()


def test_several_channels_tensors_and_what_is_too_loud_are_written(tmp_path):
    path = tmp_path / "a.wav"
    vad.save_audio(path, np.array([[0.5, 2.0], [-0.5, -2.0]]), 16000)
    found, _ = soundfile.read(path, dtype="int16")
    assert found.tolist() == [[16384, -16384], [32767, -32768]]
    torch = sys.modules.get("torch")
    if torch is not None:
        vad.save_audio(path, torch.full((5,), 0.25, requires_grad=True))
        assert soundfile.read(path, dtype="int16")[0].tolist() == [8192] * 5


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    text = tmp_path / "a.wav"
    text.write_text("no audio")
    with pytest.raises(FormatError, match="cannot be read as audio"):
        vad.read_audio(text)
    with pytest.raises(FormatError, match="cannot be read as audio"):
        vad.read_audio(_made(tmp_path / "a.raw", b"\0" * 100))
    with pytest.raises(FileNotFoundError):
        vad.read_audio(tmp_path / "none.wav")
    with pytest.raises(IsADirectoryError):
        vad.read_audio(tmp_path)
    with pytest.raises(ValueError, match="meet only every 1 s"):
        vad.read_audio(SPEECH, 16001)
    with pytest.raises(FormatError, match="cannot be written"):
        vad.save_audio(tmp_path / "a.xyz", np.zeros(5))
    with pytest.raises(ValueError, match="not finite"):
        vad.save_audio(text, np.array([np.nan]))
    with pytest.raises(TypeError, match="int32"):
        vad.save_audio(text, np.zeros(5, np.int32))
    with pytest.raises(ValueError, match=r"shape \(\)"):
        vad.save_audio(text, np.float32(0))


def _made(path, data):
    path.write_bytes(data)
    return path


def test_without_soundfile_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match="the extra 'vad'"):
        vad.read_audio(SPEECH)


SEGMENTS = [{"start": 2, "end": 5}, {"start": 7, "end": 8}]


def test_parts_are_collected_and_dropped():
    samples = np.arange(10, dtype=np.float32)
    assert vad.collect_chunks(SEGMENTS, samples).tolist() == [2, 3, 4, 7]
    assert vad.drop_chunks(SEGMENTS, samples).tolist() == [0, 1, 5, 6, 8, 9]
    assert vad.drop_chunks([], samples).tolist() == samples.tolist()
    times = [{"start": 0.26, "end": 0.63}]
    found = vad.collect_chunks(times, samples, seconds=True, sampling_rate=8)
    assert found.tolist() == [2, 3, 4]
    assert vad.drop_chunks(times, samples, seconds=True, sampling_rate=8)[0] == 0
    for call in (vad.collect_chunks, vad.drop_chunks):
        with pytest.raises(ValueError, match="sampling_rate"):
            call(times, samples, seconds=True)
    with pytest.raises(ValueError, match="the list is empty"):
        vad.collect_chunks([], samples)


def test_tensors_stay_tensors_and_theirs_do_the_same():
    torch = pytest.importorskip("torch")
    samples = torch.arange(10)
    for name in ("collect_chunks", "drop_chunks"):
        found = getattr(vad, name)(SEGMENTS, samples)
        assert torch.equal(found, getattr(theirs(), name)(SEGMENTS, samples))
    for call in (vad.collect_chunks, theirs().collect_chunks):
        with pytest.raises(ValueError, match=r"empty"):
            call([], samples)


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(OSError, match="is there such a directory"):
        vad.save_audio(tmp_path / "missing" / "a.wav", np.zeros(10))
    with pytest.raises(FormatError, match="No format"):
        vad.save_audio(tmp_path / "a", np.zeros(10))
