"""What the mistakes of a voice activity detector are called, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...vad import CHUNKS
from .ports import Plan, Window

__all__ = ["CONTEXT_PART", "Said", "said_of"]

CONTEXT_PART = 8  # a chunk comes with an eighth as many samples of the one before it


class Said(NamedTuple):
    """A mistake: what to call it, what it is, and what would be right."""

    id: str
    words: str
    advice: str


LAST_OF_BEFORE = "Each chunk comes behind the last samples of the one before, zeros at first"
CONTEXTS = {
    "zeros": Said("context_missing", "zeros are put in front of every chunk", LAST_OF_BEFORE),
    "wrong_end": Said(
        "context_of_the_wrong_end",
        "the context is the beginning of the chunk before, not its end",
        LAST_OF_BEFORE,
    ),
    "of_itself": Said(
        "context_of_the_chunk_itself",
        "the context is the end of the chunk itself, not of the one before",
        "The context has to be put in front before it is replaced",
    ),
    "behind": Said(
        "context_behind_the_chunk",
        "the context is put behind the chunk, not in front of it",
        LAST_OF_BEFORE,
    ),
    "reflected": Said(
        "context_reflected",
        "the beginning of the chunk is reflected to where the context should be",
        LAST_OF_BEFORE,
    ),
    "backwards": Said("context_backwards", "the context runs backwards", LAST_OF_BEFORE),
}
PUT_IN_AGAIN = "The state that a chunk puts out has to be put in again with the next one"
STATES = {
    "forgotten": Said(
        "state_not_carried", "the state is not carried from chunk to chunk", PUT_IN_AGAIN
    ),
    "h_forgotten": Said(
        "h_not_carried", "h, half of the state, is not carried from chunk to chunk", PUT_IN_AGAIN
    ),
    "c_forgotten": Said(
        "c_not_carried", "c, half of the state, is not carried from chunk to chunk", PUT_IN_AGAIN
    ),
    "swapped": Said(
        "state_swapped", "h and c are swapped as they are carried", "The state holds h, then c"
    ),
}
ONCE = "Samples of int16 have to be divided by 32768, once; those of float are in -1...1"
SCALES = {
    "raw": Said("scale:32768", "samples are 32768 times as large: nothing divided them", ONCE),
    "twice": Said("scale:1/32768", "samples are divided by 32768 once too often", ONCE),
    "32767": Said("scale:32768/32767", "samples are divided by 32767", ONCE),
    "half": Said("scale:0.5", "samples are half as large as they should be", ONCE),
    "double": Said("scale:2", "samples are twice as large as they should be", ONCE),
    "loudest_is_1": Said(
        "scale:loudest_is_1",
        "each chunk is divided by its loudest sample",
        "Loudness is a part of what the model hears: divide all chunks by one constant",
    ),
    "unsigned": Said("samples:unsigned", "negative samples are read as unsigned", ONCE),
    "other_bytes": Said(
        "samples:byte_order", "the bytes of samples are swapped", "PCM is little endian here"
    ),
}
ZEROED = Said(
    "end_zeroed",
    "the last samples of the newest chunk are zeros",
    "A context that is a view of the audio must not be written to",
)
LATE = Said("one_chunk_late", "probabilities come one chunk late", "Each is of the newest chunk")
FLOAT16 = Said(
    "weights_in_float16", "weights are stored as float16", "That alone moves probabilities little"
)


def said_of(plan: Plan, right: Window) -> list[Said]:
    """Return the mistakes that a plan consists of; right: the window that it should have."""
    found = list(_of_window(plan.window, right))
    scale = plan.scale
    if isinstance(scale, float):
        found.append(Said(f"scale:{scale:.5g}", f"samples are {scale:.5g} times as large", ONCE))
    found += [
        table[key]
        for table, key in ((CONTEXTS, plan.context), (STATES, plan.state), (SCALES, scale))
        if key in table
    ]
    found += [ZEROED] if plan.end == "zeroed" else []
    found += [LATE] if plan.late else []
    found += [FLOAT16] if plan.weights == "float16" else []
    return found


def _of_window(window: Window, right: Window) -> Iterator[Said]:
    size = CHUNKS[window.rate]
    context = size // CONTEXT_PART if right.context else 0
    if window.rate != right.rate:
        yield Said(
            f"rate:{right.rate}_in_{window.rate}",
            f"audio of {right.rate} Hz goes into the model for {window.rate} Hz",
            f"Say sr={right.rate}, and give it {right.size} samples at once",
        )
        if window[1:] == right[1:]:  # only the rate was said wrongly
            return
    if window.filled:
        yield Said(
            "chunk:filled_up",
            f"chunks are filled up with zeros to {size} samples",
            f"Collect {size} samples, and only then run the model",
        )
    if window == (window.rate, size + context, 0, False) and context:
        yield Said(
            "context_of_new_samples",
            f"the model is given {window.size} new samples at once, without context",
            f"Give it {size} new samples behind the last {context} of the chunk before",
        )
        return
    if window.size != size:
        yield Said(
            f"chunk:{window.size}_at_{window.rate}",
            f"the model for {window.rate} Hz is given {window.size} new samples at once, not "
            f"{size}",
            f"Collect {size} samples, and only then run the model",
        )
    if window.context == context:
        return
    if window.context:
        yield Said(
            f"context:{window.context}",
            f"the context has {window.context} samples, at {window.rate} Hz it should have "
            f"{context}",
            LAST_OF_BEFORE,
        )
    else:
        yield Said(
            "context_left_out",
            f"the model is given {window.size} samples, without the {context} in front of them",
            LAST_OF_BEFORE,
        )
