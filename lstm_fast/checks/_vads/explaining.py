"""What a report says of a voice activity detector that failed a check, and what is noted first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .._context import ROUNDING
from .._moved import expected
from ..options import DEFAULT, Options
from ..results import CheckResult
from ..speech import INT16
from ..target import TargetError, record
from .mistakes import Told, explain_vad
from .references import VadReference
from .sessions import explain_reset, explain_sharing

if TYPE_CHECKING:
    from ..adapters.vad import VadTarget

__all__ = ["Explainer", "settle"]

OF_SESSIONS = ("isolation", "determinism", "nan", "chunks")
OF_NUMBERS = ("agreement", "drift")
SETTLING = 24  # chunks from which it is told what integers are divided by
NEARER = 4.0  # times, that 32767 has to be nearer than 32768


class Explainer:
    """Explains failures of one target; what was computed for one of them serves the next."""

    def __init__(self, target: VadTarget, wanted: VadReference, options: Options | None) -> None:
        self._target, self._wanted, self._options = target, wanted, options
        self._told: dict[str, Told] = {}

    def __call__(self, result: CheckResult) -> CheckResult:
        """Return a failure with the mistakes that explain it."""
        kinds = ["sharing"]
        if result.name == "reset":
            kinds = ["reset", "sharing", "numbers"]
        elif result.name in OF_NUMBERS:
            kinds = ["sharing", "numbers"]
        note = ""
        for kind in kinds:
            diagnosis, said = self._of(kind)
            note = said or note
            if diagnosis:
                return replace(result, diagnosis=diagnosis, note=said)
        return replace(result, note=note)

    def _of(self, kind: str) -> Told:
        if kind not in self._told:
            explain = {"reset": explain_reset, "sharing": explain_sharing, "numbers": explain_vad}
            self._told[kind] = explain[kind](self._target, self._wanted, self._options)
        return self._told[kind]


def settle(target: VadTarget, wanted: VadReference, options: Options | None = None) -> None:
    """Find what a target is like where that is not a failure; it notes that in its remarks."""
    seed = (options or DEFAULT).seed * 1000 + 530
    try:
        _settle_end(target, seed)
        _settle_full_scale(target, wanted, seed)
    except TargetError:  # the checks tell
        return


def _settle_end(target: VadTarget, seed: int) -> None:
    """Look whether the last chunk of a recording has the probability that it has before others."""
    if not target.recordings:
        return
    xs = target.drawn(4, seed, 2.0).array
    (inside,), (last,) = target.last_of(xs, 1), target.last_of(xs, 0)
    if abs(float(inside) - float(last)) > ROUNDING:
        target.remarks = (
            *target.remarks,
            f"the last chunk of a recording has another probability ({last:.3g}) than where one of "
            f"silence follows ({inside:.3g}): is its end overwritten, such as by context[-1] = 0 "
            "in a view of the audio?",
        )


def _settle_full_scale(target: VadTarget, wanted: VadReference, seed: int) -> None:
    """Find whether integers are divided by 32767, where nobody said so; the target notes it.

    3e-5 of loudness moves probabilities by 1e-6 to 1e-4. Some of that is more than roundings come
    to, and some is less, so it is told by which of both is nearer, over all chunks together.
    """
    if target.settled or not target.takes_integers or target.chunk != target.own_chunk:
        return
    target.settled = True
    xs = target.drawn(SETTLING, seed, 2.0).array
    found = record(target, xs).ys
    others = xs * np.float32(INT16 / (INT16 - 1))
    usual, other = (expected(wanted.model, one) for one in (xs, others))
    apart = [float(np.sqrt(np.mean((found - one.ys) ** 2))) for one in (usual, other)]
    fits = (np.abs(found - other.ys) <= other.allowed).all()
    if not (fits and NEARER * apart[1] < apart[0]):
        return
    target.full_scale = INT16 - 1
    moved = float(np.abs(usual.ys - other.ys).max())
    target.remarks = (
        *target.remarks,
        f"integers are divided by 32767, not by 32768, which moved probabilities by up to "
        f"{moved:.1g} here (full_scale=32767 says that this is meant)",
    )
