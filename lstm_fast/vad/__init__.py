"""Voice activity detection: Silero VAD, for live callers and for recordings.

One caller, at any rate and in pieces of any size:

    stream = lstm_fast.vad.SpeechStream(rate=48000)
    heard = stream.push(samples)  # .probabilities, .events

`SpeechPool` has many; `silero` is the bare model. Code that is written for silero-vad 6.2 runs with
its import changed, without PyTorch:

    from lstm_fast.vad import load_silero_vad, read_audio, get_speech_timestamps
"""

from ._audio import collect_chunks, drop_chunks, read_audio, save_audio
from ._chunks import Chunks
from ._drop_in import SileroVAD, SileroVADSequence, load_silero_vad
from ._events import SpeechEvent, SpeechEvents
from ._iterator import VADIterator
from ._others import (
    InvalidChunkSizeError,
    SileroVADModel,
    SileroVoiceActivityDetector,
    get_vad_model,
)
from ._session import Heard, SpeechStream
from ._session_pool import SpeechPool
from ._silero import CHUNKS, silero, silero_file
from ._timestamps import (
    get_speech_timestamps,
    get_speech_timestamps_from_probs,
    get_speech_timestamps_sequence,
)

__all__ = [
    "CHUNKS",
    "Chunks",
    "Heard",
    "InvalidChunkSizeError",
    "SileroVAD",
    "SileroVADModel",
    "SileroVADSequence",
    "SileroVoiceActivityDetector",
    "SpeechEvent",
    "SpeechEvents",
    "SpeechPool",
    "SpeechStream",
    "VADIterator",
    "collect_chunks",
    "drop_chunks",
    "get_speech_timestamps",
    "get_speech_timestamps_from_probs",
    "get_speech_timestamps_sequence",
    "get_vad_model",
    "load_silero_vad",
    "read_audio",
    "save_audio",
    "silero",
    "silero_file",
]
