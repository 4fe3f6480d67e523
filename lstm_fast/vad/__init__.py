"""Voice activity detection: whole models that say whether somebody is speaking.

model = lstm_fast.vad.silero()
stream = model.stream()  # one per live caller
(probability,) = stream.step(chunk)  # 512 samples at 16 kHz, float32 in -1...1
"""

from ._chunks import Chunks
from ._events import SpeechEvent, SpeechEvents
from ._silero import CHUNKS, silero, silero_file

__all__ = ["CHUNKS", "Chunks", "SpeechEvent", "SpeechEvents", "silero", "silero_file"]
