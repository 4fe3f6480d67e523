"""Models that people have and whose frames the file does not describe: Silero VAD.

A Silero VAD takes any number of values and answers something, so a check of the wrong number would
find nothing wrong. It is known by the names and shapes of its inputs and outputs.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Known", "known", "shapes", "wrong_rate"]

CONTEXT = "of context, which are the last ones of the frame before, and"


@dataclass(frozen=True)
class Known:
    """A model that is known.

    title: its name. inputs, outputs: their names. state: the shape of each state, None is free.
    frames: the values in a frame by sample rate, the usual number first. why: of that number.
    context: how many of these are the last ones of the frame before, by sample rate.
    """

    title: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    state: tuple[int | None, ...]
    frames: Mapping[int, tuple[int, ...]]
    why: Mapping[int, str]
    context: Mapping[int, int] = field(default_factory=dict)

    def fits(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Any]) -> bool:
        """Say whether a model has these inputs and outputs; "sr" may be left out."""
        if set(inputs) - {"sr"} != self.inputs or set(outputs) != self.outputs:
            return False
        shapes = [inputs[name] for name in self.inputs - {"input"}]
        return len(inputs["input"]) == 2 and all(
            len(shape) == len(self.state)
            and all(want in (None, have) for have, want in zip(shape, self.state, strict=True))
            for shape in shapes
        )

    def problem(
        self,
        inputs: Mapping[str, Sequence[Any]],
        constants: Mapping[str, Any],
        frame_shape: Sequence[int] | None,
    ) -> str:
        """Return what was said wrongly or not at all of its frames, or ""."""
        found = []
        rate = 16000.0
        if "sr" not in inputs and "sr" in constants:
            found.append("has no input sr in this file, which is for 16000 Hz alone")
        elif "sr" in inputs and "sr" not in constants:
            found.append("takes the sample rate sr, in constants= (--set)")
        elif "sr" in inputs:
            rate = _number(constants["sr"])
        if rate not in self.frames:
            return f"{self.title} takes {_either(self.frames)} Hz, found sr={rate:g}"
        sizes, last = self.frames[int(rate)], inputs["input"][-1]
        if frame_shape is not None and math.prod(frame_shape) not in sizes:
            found.append(f"{self._of_frames(int(rate))}, found {math.prod(frame_shape)}")
        elif frame_shape is None and not isinstance(last, int):
            found.append(self._of_frames(int(rate)))
        return f"{self.title} {' and '.join(found)}" if found else ""

    def _of_frames(self, rate: int) -> str:
        sizes = _either(self.frames[rate])
        return f"takes {sizes} values per frame (--frame) at {rate} Hz{self.why[rate]}"

    def command(
        self,
        model: object,
        inputs: Mapping[str, Sequence[Any]],
        constants: Mapping[str, Any],
    ) -> str:
        """Return a whole command line that works: the strongest check that there is.

        Where the model has context, the check keeps it and compares all of the model; else it does
        without a reference.
        """
        rate = _number(constants.get("sr", 16000))
        rate = int(rate) if "sr" in inputs and rate in self.frames else 16000
        path = shlex.quote(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else "FILE"
        words = ["lstm-fast", "check", path]
        if "sr" in inputs:
            words += ["--set", f"sr={rate}"]
        last = inputs["input"][-1]
        context = self.context.get(rate, 0)
        if isinstance(last, int) and last not in self.frames[rate]:
            context = 0  # a file of its own, whose frames are as long as it says
        if context:
            words += ["--history", f"input={context}"]
        if not isinstance(last, int):
            words += ["--frame", str(self.frames[rate][0] - context)]
        if context:
            return " ".join(words)
        return " ".join([*words, "--no-reference"])


def _number(value: Any) -> float:
    """Return the one number in a value; of anything else NaN, which is not a sample rate."""
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError):
        return math.nan


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, numbers))


def wrong_rate(runner: Any, which: Known, constants: Mapping[str, Any]) -> bool:
    """Say whether 8000 Hz were said of a known model that is for 16000 Hz alone.

    Such a one answers the same at both rates; where it can't be run at both, it is none.
    """
    if _number(constants.get("sr")) != 8000:
        return False
    (inputs, _), size = shapes(runner), which.frames[8000][0]
    x = np.random.Generator(np.random.PCG64(0)).random((1, size)).astype(np.float32)
    states = which.inputs - {"input"}
    feeds = {name: np.zeros([n or 1 for n in which.state], np.float32) for name in states}
    try:
        one, other = (
            runner.run(None, {"input": x, **feeds, "sr": _shaped(rate, inputs["sr"])})
            for rate in (16000, 8000)
        )
    except Exception:  # onnxruntime raises many kinds
        return False
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _shaped(rate: int, shape: tuple[Any, ...]) -> Any:
    return np.full([1] * len(shape), rate, np.int64)


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODELS = (
    Known(
        "Silero VAD (version 5 or newer)",
        _named("input state"),
        _named("output stateN"),
        (2, None, 128),
        {16000: (576,), 8000: (288,)},
        {16000: f" (64 {CONTEXT} 512 new ones)", 8000: f" (32 {CONTEXT} 256 new ones)"},
        {16000: 64, 8000: 32},
    ),
    Known(
        "Silero VAD (for whole sequences)",
        _named("input h c"),
        _named("speech_probs hn cn"),
        (1, None, 128),
        {16000: (576,)},
        {16000: f" (64 {CONTEXT} 512 new ones)"},
        {16000: 64},
    ),
    *(
        Known(
            f"Silero VAD (version {version})",
            _named(f"input {states}"),
            _named("output hn cn"),
            (2, None, 64),
            {16000: (512, 1024, 1536), 8000: (256, 512, 768)},
            {16000: "", 8000: ""},
        )
        for version, states in (("4", "h c"), ("3", "h0 c0"))
    ),
)


def known(runner: Any) -> Known | None:
    """Return which known model one in onnxruntime is, if any."""
    inputs, outputs = shapes(runner)
    return next((one for one in MODELS if one.fits(inputs, outputs)), None)


def shapes(runner: Any) -> tuple[dict[str, tuple[Any, ...]], dict[str, tuple[Any, ...]]]:
    """Return the shapes of a model's inputs and outputs, by name."""
    inputs, outputs = (
        {one.name: tuple(one.shape or ()) for one in some}
        for some in (runner.get_inputs(), runner.get_outputs())
    )
    return inputs, outputs
