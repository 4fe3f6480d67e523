"""States that are kept as smaller types, mixed with the old ones, or reset without being asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from .machine import Kept, Timer
from .mistake import Mistake, layered, whole
from .streaming import PARTS

KEPT_ADVICE = "keep h and c as float32 from step to step: what is lost there adds up"
TIMER_ADVICE = "reset a session where the caller says so, and nowhere else"


def kept() -> Iterator[Mistake]:
    """Yield states, and outputs and frames, of sixteen bits."""
    for how in ("float16", "bfloat16"):
        for parts, text in PARTS.items():
            many = "are" if parts == "hc" else "is"
            h_late = (False, True) if "h" in parts else (False,)
            c_early = (False, True) if "c" in parts else (False,)
            for late, early in itertools.product(h_late, c_early):
                one = Kept(how, parts, late, early)
                yield layered(
                    f"state_rounded:{how}:{parts}",
                    f"{text} {many} kept as {how} from step to step",
                    KEPT_ADVICE,
                    lambda layer, one=one: replace(layer, kept=one),  # type: ignore[misc]
                    pairs=False,
                )
        yield whole(
            f"output_rounded:{how}",
            f"the output is rounded to {how}, and the state is not",
            "return h as float32",
            pairs=False,
            output_rounding=how,
        )
        yield whole(
            f"input_rounded:{how}",
            f"the frames are rounded to {how}",
            "take the frames as float32",
            pairs=False,
            frames=((how, 0),),
        )


def timers(recording: int, before: int, step: int) -> Iterator[Mistake]:
    """Yield states that a timer resets, so that it shows first at a step of a recording.

    before: the steps of all recordings before that one.
    """
    counts = [(step, False, False), (step + 1, True, False)]
    if recording and before:
        counts += [(before + step, False, True), (before + step + 1, True, True)]
    for (steps, shown, counts_on), (parts, text) in itertools.product(counts, PARTS.items()):
        if steps < 2:  # each step is what not_carried is
            continue
        many = "are" if parts == "hc" else "is"
        more = ", whatever the resets in between" if counts_on else ""
        yield whole(
            f"reset_by_timer:{steps}" + ("" if parts == "hc" else f":{parts}"),
            f"{text} {many} reset after {steps} steps without being asked{more}",
            TIMER_ADVICE,
            pairs=False,
            timer=Timer(steps, parts, shown, counts_on),
        )
