"""Make speech.wav and speech.json: two synthetic voices in noise, and when they really speak.

Needs espeak-ng on the PATH (1.51 made the files here), and `pip install ".[demo]"`. With
the same versions of espeak-ng, soxr and NumPy the same files come out.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE = 16000  # Hz
SEED = 7

VOICES = {"Ann": ("en-gb-scotland+f4", 160), "Bob": ("en-us+m7", 155)}  # name, words per minute
# Seconds of pause before it, who, what. espeak-ng pauses at commas, and before "and": without them
# a turn is speech from its start to its end.
TURNS = (
    (0.8, "Ann", "Good morning this is the library speaking."),
    (0.6, "Bob", "Hello there I would like to renew two books please."),
    (0.9, "Ann", "Can you tell me the number on your card?"),
    (3.2, "Bob", "My card number is four seven one nine."),
)
NOISY_TURN = 3  # the loud noise is in the pause before this one
TAIL = 0.8  # seconds after the last turn

SPEECH_PEAK = 0.4
HISS = 0.002  # RMS of the noise over the whole file: -54 dB of full scale
LOUD = 0.05  # RMS of the loud noise, where nobody speaks: as loud as the voices
LOUD_MARGIN = 0.6  # seconds of pause left before and after the loud noise
LOUD_FADE = 0.05  # seconds


def say(text: str, voice: str, speed: int) -> NDArray[np.float64]:
    """Return text as spoken by espeak-ng, at RATE, without the silence around it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        command = ["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(path), text]
        subprocess.run(command, check=True)
        audio, rate = soundfile.read(path)
    return trim(soxr.resample(audio / np.abs(audio).max() * SPEECH_PEAK, rate, RATE))


def trim(audio: NDArray[np.float64], below_db: float = 40.0) -> NDArray[np.float64]:
    """Cut the ends off where 10 ms frames are more than below_db quieter than the loudest one."""
    frame = RATE // 100
    frames = audio[: len(audio) // frame * frame].reshape(-1, frame)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    heard = np.flatnonzero(rms > rms.max() * 10 ** (-below_db / 20))
    return audio[heard[0] * frame : (heard[-1] + 1) * frame]


def loud_noise(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return count samples of noise at LOUD, faded in and out."""
    fade = np.minimum(np.arange(count) / (LOUD_FADE * RATE), 1.0)
    return LOUD * rng.standard_normal(count) * fade * fade[::-1]


def main() -> None:
    """Write both files beside this script."""
    rng = np.random.default_rng(SEED)
    pieces: list[NDArray[np.float64]] = []
    speech: list[tuple[float, float]] = []
    noise: list[tuple[float, float]] = []
    now = 0  # samples
    margin = round(LOUD_MARGIN * RATE)
    for turn, (pause, name, text) in enumerate(TURNS):
        gap = np.zeros(round(pause * RATE))
        if turn == NOISY_TURN:
            gap[margin:-margin] = loud_noise(len(gap) - 2 * margin, rng)
            noise.append(((now + margin) / RATE, (now + len(gap) - margin) / RATE))
        spoken = say(text, *VOICES[name])
        start = now + len(gap)
        now = start + len(spoken)
        speech.append((start / RATE, now / RATE))
        pieces += [gap, spoken]
    audio = np.concatenate([*pieces, np.zeros(round(TAIL * RATE))])
    audio += HISS * rng.standard_normal(len(audio))
    soundfile.write(HERE / "speech.wav", audio, RATE, subtype="PCM_16")
    lines = [
        f'  "{name}": {json.dumps(value)}'
        for name, value in (("unit", "seconds"), ("speech", speech), ("loud_noise", noise))
    ]
    (HERE / "speech.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
