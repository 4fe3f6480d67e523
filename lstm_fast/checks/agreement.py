"""Does it compute the equations: every step against float64, within a derived bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._weights import Weights
from . import reproduction
from ._context import SEE_DETERMINISM, Context
from ._error_arithmetic import Float64
from ._error_propagation import free_run_bounds
from .bounds import excess, initial, step
from .charging import charging, rising
from .options import Options
from .oracle import Oracle
from .probes import Frames, given
from .references import Reference, reference_for
from .results import CheckResult
from .target import Recording, Target

__all__ = ["agreement"]

LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 64, 128)
UNSEEN_LENGTHS = (1, 2, 4, 8, 16, 48)  # without the state, whose bound takes long to compute
UNSEEN_RISE, UNSEEN_CHARGE = 24, 24  # steps, likewise
COHORTS = ((1, 1), (2, 8), (9, 32), (33, 128), (129, 2**62))


@dataclass
class Errors:
    """Distances from float64, gathered from many steps."""

    absolute: list[Float64] = field(default_factory=list)
    ulp: list[Float64] = field(default_factory=list)
    worst: float = 0.0  # as a part of the bound

    def add(self, actual: Any, exact: Any, ratio: Any = 0.0) -> None:
        """Add some; ratio: of the distance that is judged to its bound."""
        with np.errstate(all="ignore"):
            distance = np.abs(np.float64(actual) - exact)
            self.ulp.append((distance / np.spacing(np.abs(np.float32(exact)))).ravel())
        self.absolute.append(np.where(np.isnan(distance), np.inf, distance).ravel())
        self.add_ratio(ratio)

    def add_ratio(self, ratio: Any) -> None:
        """Add a distance as a part of its bound alone."""
        self.worst = max(self.worst, float(np.max(ratio, initial=0.0)))

    def numbers(self) -> dict[str, float]:
        """Return max and mean."""
        absolute, ulp = np.concatenate(self.absolute), np.concatenate(self.ulp)
        return {
            "max_error": float(absolute.max()),
            "mean_error": float(absolute.mean()),
            "max_ulp": float(ulp.max()),
            "mean_ulp": float(ulp.mean()),
            "of_bound": self.worst,
        }


@dataclass(frozen=True)
class Exceeding:
    """The first value of a sequence that is beyond its bound."""

    frames: Frames
    step: int
    part: str  # "y", "h" or "c"
    layer: int
    unit: int
    found: float
    exact: float
    bound: float

    def __str__(self) -> str:
        where = f"layer {self.layer} (counted from 0), " if self.part != "y" else ""
        return (
            f"{self.part} at step {self.step}, {where}unit {self.unit} is {self.found:.9g}, "
            f"expected {self.exact:.9g} within {self.bound:.2g}"
        )


def agreement(
    target: Target,
    reference: Any,
    options: Options | None = None,
    *,
    sequences: Sequence[Any] | None = None,
) -> CheckResult:
    """Check every step against the equations in float64.

    Where the state is seen, each step is judged from the state that the target itself had before
    it, so the bound is as narrow at step 100 as at the first; else the output is judged, with
    errors that have added up (see `bounds` and `_error_propagation`). Errors are reported against
    a float64 session that runs on its own: max and mean, absolute and in ULP, by length of the
    sequence and by layer.

    Beside ordinary frames there are some that grow, and some that make cells large (see
    `charging`), so that what is clipped shows; how large they became is reported.

    Where the target should store its weights as int8, rounding to whole numbers has no bound that
    would tell right from wrong; then two or three sequences are held to int8 in float64 as
    `diagnosis` holds them.

    Args:
        target: what to check. Its output must be the last layer's h, or its state must be seen.
        reference: the LSTM that it should be, see `references.as_reference`.
        options: see `Options`.
        sequences: frames (T, I) each, to take instead of random ones.

    Raises:
        ValueError: the reference takes other frames than the target.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> mine, other = LSTM.random(3, 4, seed=0), LSTM.random(3, 4, seed=1)
        >>> target = checks.adapters.from_lstm(mine)
        >>> [checks.agreement(target, reference).status for reference in (mine, other)]
        ['passed', 'failed']
    """
    context, wanted = Context(target, options), reference_for(target, reference)
    weights = wanted.exact
    first = context.solo(context.frames(1))
    seen = _fits(first, weights)
    if first.has_state and not seen:
        assert first.hs is not None
        assert first.cs is not None
        text = (
            f"the state has shapes h {first.hs.shape[1:]} and c {first.cs.shape[1:]}; this "
            f"reference's have {initial(weights)[0].shape} and {initial(weights)[1].shape}"
        )
        return CheckResult("agreement", "failed", text)
    is_h = context.options.output_is_h and first.ys.shape[1] == weights.output_size
    if not seen and not is_h:
        text = (
            f"the output has {first.ys.shape[1]} values, the reference's h has "
            f"{weights.output_size}, and the state is not seen: there is nothing to compare"
            if context.options.output_is_h
            else "the output is not h, and the state is not seen: there is nothing to compare"
        )
        return CheckResult("agreement", "skipped", text)
    if wanted.weight_dtype == "int8":
        return _as_int8(context, wanted, seen)
    lengths = LENGTHS if seen else UNSEEN_LENGTHS
    if sequences is None:
        frames = [context.frames(n, 200 + k) for k, n in enumerate(lengths)]
        large = _large(context, weights, seen)
    else:
        frames, large = [given(xs) for xs in sequences], []
    result = _judge(context, weights, frames, large, seen)
    if result.failed and not result.reproduction:
        whole = reproduction.whole("agreement", target, context.options, wanted)
        result = replace(result, reproduction=whole)
    return result


def _large(context: Context, weights: Weights, seen: bool) -> list[Frames]:
    """Return frames that grow, and some that make cells large, to meet whatever is clipped."""
    seed, scale = context.options.seed * 1000 + 300, context.options.scale
    growing = rising(weights.input_size, seed, scale)
    if seen:
        return [growing, *charging(weights, seed, scale)]
    return [growing.first(UNSEEN_RISE), *charging(weights, seed, scale, UNSEEN_CHARGE)]


def _as_int8(context: Context, wanted: Reference, seen: bool) -> CheckResult:
    """Compare with int8 in float64, at the outputs and what is to be seen of the state."""
    from .diagnosis import diagnose, gather

    if not context.options.output_is_h:
        return CheckResult("agreement", "skipped", "int8 is judged by h, and the output is not h")
    evidence = gather(context.target, wanted.weights, steps=64, seed=context.options.seed)
    found = diagnose(evidence, wanted.weights, weight_dtype="int8", pairs=False)
    steps = sum(map(len, evidence.recordings))
    numbers = {"judged_by": "state" if seen else "output", "max_error": found.residual}
    text = f"max error {found.residual:.2g} to int8 in float64 at {steps} steps"
    if found.agrees:
        text += ", which is what float32 may lose around it"
        return CheckResult("agreement", "passed", text, {"steps": steps, **numbers})
    whole = reproduction.whole("agreement", context.target, context.options, wanted)
    return CheckResult("agreement", "failed", text, {"steps": steps, **numbers}, whole)


def _fits(first: Recording, weights: Weights) -> bool:
    """Say whether the state is seen, and of the reference's shapes."""
    h, c = initial(weights)
    if first.hs is None or first.cs is None:
        return False
    return first.hs.shape[1:] == h.shape and first.cs.shape[1:] == c.shape


def _judge(
    context: Context, weights: Weights, ordinary: list[Frames], large: list[Frames], seen: bool
) -> CheckResult:
    """Judge all sequences; errors are those of the ordinary ones alone."""
    reached = np.zeros(len(weights.layers))
    overall, cohorts = Errors(), {cohort: Errors() for cohort in COHORTS}
    layers = [{"h": Errors(), "c": Errors()} for _ in weights.layers]
    exceeding: Exceeding | None = None
    judged = steps = 0
    for number, frames in enumerate(ordinary + large):
        recording = context.solo(frames)
        hs, cs = Oracle(weights).run(frames.array)
        parts = (
            _seen_parts(recording, weights, context.options)
            if seen
            else _unseen_parts(recording, weights, context.options.activation)
        )
        steps += len(frames)
        has_bound = np.isfinite(parts[0][4].reshape(len(frames), -1)).all(axis=1)
        judged += int(has_bound.sum())
        reached = np.maximum(reached, np.abs(cs[has_bound]).max(axis=(0, 2), initial=0.0))
        cohort = next(one for one in COHORTS if one[0] <= len(frames) <= one[1])
        for part, layer, found, exact, bound in parts:
            ratio = excess(found, exact, bound)
            free_running = cs[:, layer] if part == "c" else hs[:, layer]
            of_layer = layers[layer]["c" if part == "c" else "h"]
            if number >= len(ordinary):
                overall.add_ratio(ratio)
                of_layer.add_ratio(ratio)
                continue
            for errors in (overall, cohorts[cohort], of_layer):
                errors.add(found, free_running, ratio)
        here = _first_beyond(frames, parts)
        if here and (exceeding is None or here.step < exceeding.step):
            exceeding = here
    numbers: dict[str, Any] = {
        "judged_by": "state" if seen else "output",
        "steps": steps,
        "steps_with_a_bound": judged,
        "largest_frame": float(max(np.abs(one.array).max() for one in ordinary + large)),
        "largest_cells": [float(size) for size in reached],
        **overall.numbers(),
        "cohorts": {_cohort_name(one): e.numbers() for one, e in cohorts.items() if e.absolute},
        "layers": [
            {part: errors.numbers() for part, errors in layer.items() if errors.absolute}
            for layer in layers
        ],
    }
    return _result(context, numbers, exceeding, seen)


Part = tuple[str, int, Any, Float64, Float64]  # part, layer, found, exact, bound: (T, size) each


def _seen_parts(recording: Recording, weights: Weights, options: Options) -> list[Part]:
    """Judge each step from the state that it started from."""
    assert recording.hs is not None
    assert recording.cs is not None
    h, c = initial(weights)
    hs = np.concatenate([h[None], recording.hs[:-1]])
    cs = np.concatenate([c[None], recording.cs[:-1]])
    parts: list[Part] = []
    below = recording.xs
    for n, layer in enumerate(weights.layers):
        one = step(below, hs[:, n], cs[:, n], layer, activation=options.activation)
        parts.append(("h", n, recording.hs[:, n], one.h, one.h_error))
        parts.append(("c", n, recording.cs[:, n], one.c, one.c_error))
        below = recording.hs[:, n]
    if options.output_is_h and recording.ys.shape[1] == weights.output_size:
        top = len(weights.layers) - 1
        _, _, _, exact, bound = parts[2 * top]
        parts.append(("y", top, recording.ys, exact, bound))
    return parts


def _unseen_parts(recording: Recording, weights: Weights, activation: float) -> list[Part]:
    """Judge the output, with errors that have added up."""
    steps = free_run_bounds(weights, recording.xs, activation)
    top = len(weights.layers) - 1
    exact = np.stack([one.h[top] for one in steps])
    bound = np.stack([one.h_error[top] for one in steps])
    return [("y", top, recording.ys, exact, bound)]


def _first_beyond(frames: Frames, parts: list[Part]) -> Exceeding | None:
    """Return the first value beyond its bound: earliest step, lowest layer; there the worst."""
    best: Exceeding | None = None
    for part, layer, found, exact, bound in parts:
        ratio = excess(found, exact, bound)
        beyond = (ratio > 1).any(axis=1)
        if not beyond.any():
            continue
        t = int(np.argmax(beyond))
        if best is None or t < best.step:
            unit = int(np.argmax(ratio[t]))
            values = (float(array[t, unit]) for array in (np.float64(found), exact, bound))
            best = Exceeding(frames, t, part, layer, unit, *values)
    return best


def _reached(numbers: dict[str, Any]) -> str:
    """Say how far cells and frames were driven, since what is clipped beyond shows nowhere."""
    cells = " and ".join(f"{size:.2g}" for size in numbers["largest_cells"])
    of_layers = ", layer by layer" if len(numbers["largest_cells"]) > 1 else ""
    return (
        f"cells became as large as {cells}{of_layers}, frames {numbers['largest_frame']:.2g}: "
        "a clip beyond would not show"
    )


def _cohort_name(cohort: tuple[int, int]) -> str:
    low, high = cohort
    return str(low) if low == high else f"{low}+" if high > 2**60 else f"{low}-{high}"


def _result(
    context: Context, numbers: dict[str, Any], exceeding: Exceeding | None, seen: bool
) -> CheckResult:
    figures = (
        f"max error {numbers['max_error']:.2g} ({numbers['max_ulp']:.3g} ULP), mean "
        f"{numbers['mean_error']:.2g} ({numbers['mean_ulp']:.2g} ULP)"
    )
    what = "h and c of every layer" if seen else "the output"
    if exceeding is None:
        if not numbers["steps_with_a_bound"]:
            return CheckResult("agreement", "skipped", f"no bound holds here; {figures}", numbers)
        text = (
            f"{what} within {max(numbers['of_bound'], 0.0001):.2g} of the derived bound at each of "
            f"{numbers['steps_with_a_bound']} steps; {figures}; {_reached(numbers)}"
        )
        return CheckResult("agreement", "passed", text, numbers)
    by_length = ", ".join(f"{k}: {v['max_error']:.2g}" for k, v in numbers["cohorts"].items())
    figures += f" against float64; by length {by_length}"
    numbers["first_exceeding"] = {
        name: getattr(exceeding, name)
        for name in ("step", "part", "layer", "unit", "found", "exact", "bound")
    }
    text, code = f"{exceeding}; {figures}", None
    if seen and exceeding.part == "y":
        text += (
            ". The state is right there: if the output is not h but what a head makes of it, say "
            "so (output_is_h=False, in the shell --head)"
        )
    if _is_so_again(context, exceeding):
        code = _reproduction(context.target, exceeding)
    else:
        text += (
            ". A new session gives something else for these frames: it depends on those before "
            f"it, or on chance{SEE_DETERMINISM}"
        )
    return CheckResult("agreement", "failed", text, numbers, code)


def _is_so_again(context: Context, found: Exceeding) -> bool:
    """Say whether the same frames in another session lead to the same value."""
    recording = context.solo(found.frames.first(found.step + 1))
    parts = {"y": recording.ys, "h": recording.hs, "c": recording.cs}
    last = parts[found.part]
    assert last is not None
    values = last[-1] if found.part == "y" else last[-1, found.layer]
    return bool(np.array_equal(values[found.unit], found.found, equal_nan=True))


def _reproduction(target: Target, found: Exceeding) -> str:
    last = {"y": "ys[-1]", "h": f"hs[-1, {found.layer}]", "c": f"cs[-1, {found.layer}]"}
    body = f"""
xs = {found.frames.first(found.step + 1).code}
value = float(record(target.session(), xs).{last[found.part]}[{found.unit}])
expected, bound = {found.exact!r}, {found.bound!r}  # in float64, and what float32 may lose
assert abs(value - expected) <= bound, f"{found.part} is {{value!r}}, expected {{expected!r}}"
"""
    return reproduction.code(target, body)
