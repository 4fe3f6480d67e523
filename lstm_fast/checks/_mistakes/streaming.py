"""Sessions that go wrong from step to step: state, time, and what is in a frame."""

from __future__ import annotations

from collections.abc import Iterator

from .machine import Machine
from .mistake import Mistake, whole

PARTS = {"h": "h", "c": "c", "hc": "h and c"}


def states(machine: Machine) -> Iterator[Mistake]:
    carry = "keep h and c from one step to the next, per session"
    for part, text in PARTS.items():
        kept = "hc".translate({ord(letter): None for letter in part})
        many = "are" if part == "hc" else "is"
        yield whole(
            f"not_carried:{part}",
            f"{text} {many} not carried to the next step",
            carry,
            keep=kept,
            shows=kept,
        )
        yield whole(
            f"not_carried:{part}",
            f"{text} {many} not carried to the next step, nor from a state that is set",
            carry,
            keep=kept,
            shows=kept,
            takes=kept,
        )
        yield whole(
            f"not_set:{part}",
            f"{text} of a state that is set {many} not taken",
            "a session that is given a state begins with its h and c",
            pairs=False,
            takes=kept,
        )
    clear = "a reset sets h and c of every layer to zeros (or to the trained initial state)"
    for part, text in PARTS.items():
        many = "are" if part == "hc" else "is"
        words = f"{text} {many} carried over a reset"
        yield whole(f"carried_over_reset:{part}", words, clear, leak=part)
        for n in range(len(machine.layers) if len(machine.layers) > 1 else 0):
            others = tuple(m for m in range(len(machine.layers)) if m != n)
            id = f"carried_over_reset:{part}"
            yield whole(
                f"{id}@layer{n}",
                f"{words}, in layer {n} (counted from 0) alone",
                clear,
                pairs=False,
                leak=part,
                leak_layers=(n,),
            )
            if len(others) > 1:
                yield whole(
                    f"{id}@not_layer{n}",
                    f"{words}, in every layer but {n}",
                    clear,
                    pairs=False,
                    leak=part,
                    leak_layers=others,
                )
    if machine.layers[0].w_hr is not None:
        return  # h and c have different sizes
    order = "the state is the pair (h, c), h first; the output is h"
    name = "h_c_swapped"
    for words, id, options in (
        ("h and c are swapped in the output: y = c", "output", {"output": "c"}),
        (
            "h and c are swapped in the output and in the state shown",
            "output",
            {"output": "c", "crossed_states": True},
        ),
        ("h and c are swapped in the state shown", "shown", {"crossed_states": True}),
        ("h and c are swapped in the state handed on", "carried", {"crossed": True}),
        (
            "h and c are swapped in the state handed on",
            "carried",
            {"crossed": True, "crossed_states": True},
        ),
        (
            "h and c are swapped in the state that a step takes",
            "carried",
            {"crossed": True, "crossed_start": True},
        ),
        ("h and c are swapped in a state that is set", "start", {"crossed_start": True}),
        (
            "h and c are swapped in a state that is set, and in the state shown",
            "start",
            {"crossed_start": True, "crossed_states": True},
        ),
    ):
        yield whole(f"{name}:{id}", words, order, **options)


def times(machine: Machine) -> Iterator[Mistake]:
    late = "return the h of this step, computed from this frame"
    words = "the output is one step late"
    yield whole("one_step_late", words, late, "time", late=1)
    yield whole("one_step_late", words, late, "time", late=1, late_states=True)
    for kept, more in ((0, ""), (1, ", and a reset keeps the last one")):
        yield whole(
            "one_step_late:input",
            f"the frame is one step late: each step computes with the frame before{more}",
            "a step takes the frame that it was called with",
            "time",
            frames=(("late", kept),),
        )
    if len(machine.layers) > 1:
        yield whole(
            "one_step_late:layers",
            "each layer takes what the one below gave a step before",
            "step the layers from the bottom up: layer n takes the new h of layer n - 1",
            "time",
            stale_below=True,
        )
    early = "the output at step t has seen the frames up to t, and no more"
    for states in (False, True):
        yield whole(
            "one_step_early",
            "the output is one step early",
            early,
            "time",
            late=-1,
            late_states=states,
        )
    for backwards, more in ((True, ""), (False, ", and the outputs are in that order")):
        yield whole(
            "reversed_time",
            f"the frames are taken last first{more}",
            "step from the first frame to the last",
            "time",
            frames=(("backwards", 0),),
            backwards=backwards,
            pairs=False,
        )


def contexts(machine: Machine) -> Iterator[Mistake]:
    size = machine.layers[0].sizes[0]
    widths = [width for width in range(size - 1, 0, -1) if size % width == 0]
    advice = "give a step all {0} values of its frame: the context of the frames before is in it"
    others = [k for k in range(1, size) if size - k not in widths]
    for width in widths:
        for name, words in (
            ("zero_first", f"the first {size - width} of {size} columns are zeros: no context"),
            ("repeat", f"the last {width} of {size} columns are there instead of the others"),
            ("newest_first", f"the frames of {width} values in a window are newest first"),
        ):
            number = size - width if name == "zero_first" else width
            yield whole(
                f"context:{name}:{number}",
                words,
                advice.format(size),
                frames=((name, number),),
                pairs=name == "zero_first" and size // width in (2, 3),
            )
    for which, numbers in (("first", others), ("last", range(1, size))):
        for k in numbers:
            yield whole(
                f"context:zero_{which}:{k}",
                f"the {which} {k} of {size} columns are zeros",
                advice.format(size),
                pairs=False,
                frames=((f"zero_{which}", k),),
            )
