"""pipecat's own analyzer and ours, watched window by window."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pipecat imports audioop, which goes with Python 3.13
    pytest.importorskip("pipecat", reason="pipecat-ai is not installed: make integrations")
    from pipecat.audio.vad.silero import SileroVADAnalyzer as Theirs
    from pipecat.audio.vad.vad_analyzer import VADParams

    from lstm_fast.integrations.pipecat import SileroVADAnalyzer as Ours
from tolerances import SILERO_PROBABILITY

__all__ = ["DEFAULTS", "Ours", "Theirs", "VADParams", "assert_same", "heard", "run", "watched"]

DEFAULTS = VADParams()


def watched(kind, **options):
    """Return an analyzer that lists what it finds of each window: `windows`."""

    class Watched(kind):
        def voice_confidence(self, buffer):
            found = np.asarray(super().voice_confidence(buffer)).item()
            self.windows.append((found, self._windows_since_reset, self._vad_state.name))
            return found

    analyzer = Watched(**options)
    analyzer.windows = []
    return analyzer


async def heard(analyzer, pieces, changes=()):
    """Return what each piece has led to. changes: (number of a piece, a function to call first)."""
    changes, found = dict(changes), []
    for number, piece in enumerate(pieces):
        if number in changes:
            changes[number](analyzer)
        state = await analyzer.analyze_audio(bytes(piece))
        found.append(
            (
                *(state.name, analyzer._vad_starting_count, analyzer._vad_stopping_count),
                *(analyzer._prev_volume, len(analyzer._vad_buffer), len(analyzer.windows)),
            )
        )
    await analyzer.cleanup()
    return found


def run(analyzer, pieces, changes=()):
    return asyncio.run(heard(analyzer, pieces, changes))


def assert_same(ours, theirs, calls, thresholds):
    """Compare two analyzers and what their calls found; no window may be near a threshold."""
    assert len(ours.windows) == len(theirs.windows) > 0
    mine, other = np.array([w[0] for w in ours.windows]), np.array([w[0] for w in theirs.windows])
    near = np.abs(other[:, None] - [0.1, *thresholds]) <= SILERO_PROBABILITY
    assert near.sum() == 0, "take other audio: here either decision would do"
    assert np.abs(mine - other).max() <= SILERO_PROBABILITY
    assert [w[1:] for w in ours.windows] == [w[1:] for w in theirs.windows]
    assert calls[0] == calls[1]
