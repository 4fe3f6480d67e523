"""What only shows after long: errors that grow with the number of steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .._weights import Weights
from . import reproduction
from ._context import Context
from .agreement import _fits
from .bounds import excess, initial
from .bounds import step as bound_step
from .options import Options
from .oracle import Oracle, as_weights
from .results import CheckResult
from .target import Target, state_of, step

__all__ = ["drift"]

BLOCK = 256  # frames that are drawn, and then judged, at once
RATIO = 64.0
"""How many times lstm_fast's own float32 error is allowed.

That error is measured along, on the same frames, since an LSTM may amplify rounding, and only that
tells how much. A correct float32 implementation may have activations that are off by 16 ULP where
ours are by 2.5, a factor of about 6, and sums that are rounded in a worse order: n roundings, of
which the root of n remains by chance, another 10 for some hundred terms.
"""


def drift(target: Target, reference: Any, options: Options | None = None) -> CheckResult:
    """Check over 100,000 steps without a reset that errors against float64 do not grow.

    Where the state is seen, the last step of each block of 256 is held to the bound of one step, as
    in `agreement`. The distance to a float64 session that runs on its own is compared with that of
    lstm_fast's float32 on the same frames: in the first and in the last tenth.
    """
    from ..lstm import LSTM

    context, weights = Context(target, options), as_weights(reference)
    first = context.solo(context.frames(1))
    seen = _fits(first, weights)
    is_h = context.options.output_is_h and first.ys.shape[1] == weights.output_size
    if not seen and not is_h:
        return CheckResult("drift", "skipped", "neither the state nor h is seen")
    oracle, ours = Oracle(weights), LSTM.from_weights(weights).stream()
    errors: list[tuple[float, float]] = []  # of each block: the target's, and ours
    beyond: tuple[int, float] | None = None
    steps, end = 0, time.monotonic() + context.options.drift_seconds
    with context.session() as session:
        before = initial(weights)
        while steps < context.options.drift_steps and time.monotonic() < end:
            xs = context.frames(BLOCK, 1000 + steps // BLOCK).array
            exact = np.array([oracle.step(x).copy() for x in xs])
            own = ours.run(xs)
            ys = np.empty_like(exact)
            for t, x in enumerate(xs):
                if seen and t == len(xs) - 1:
                    before = state_of(session)  # type: ignore[assignment]
                y = step(session, x)
                ys[t] = y if is_h else np.nan
            if seen:
                after = state_of(session)
                assert after is not None
                ratio = _step_ratio(weights, xs[-1], before, after, context.options.activation)
                if ratio > 1 and beyond is None:
                    beyond = steps + len(xs) - 1, ratio
                ys[-1] = after[0][-1]
            with np.errstate(invalid="ignore"):
                errors.append((_largest(ys - exact), _largest(own - exact)))
            steps += len(xs)
    return _result(context, np.array(errors), steps, beyond)


def _largest(distance: Any) -> float:
    """Return the largest magnitude; rows that were not seen are NaN, all else must be a number."""
    rows = np.abs(distance[~np.isnan(distance).all(axis=1)])
    if not len(rows):
        return float("inf")
    return float(np.where(np.isnan(rows), np.inf, rows).max())


def _step_ratio(weights: Weights, x: Any, before: Any, after: Any, activation: float) -> float:
    """Return the largest error of one step over its bound."""
    worst, below = 0.0, x
    for n, layer in enumerate(weights.layers):
        one = bound_step(below, before[0][n], before[1][n], layer, activation=activation)
        for found, exact, error in (
            (after[0][n], one.h, one.h_error),
            (after[1][n], one.c, one.c_error),
        ):
            worst = max(worst, float(excess(found, exact, error).max()))
        below = after[0][n]
    return worst


def _result(
    context: Context, errors: Any, steps: int, beyond: tuple[int, float] | None
) -> CheckResult:
    tenth = max(1, len(errors) // 10)
    early, late = errors[:tenth].max(axis=0), errors[-tenth:].max(axis=0)
    allowed = RATIO * max(float(errors[:, 1].max()), 2.0**-24)
    numbers: dict[str, Any] = {
        "steps": steps,
        "steps_wanted": context.options.drift_steps,
        "max_error": float(errors[:, 0].max()),
        "max_error_first_tenth": float(early[0]),
        "max_error_last_tenth": float(late[0]),
        "max_error_of_lstm_fast": float(errors[:, 1].max()),
        "allowed": allowed,
    }
    figures = (
        f"max error {early[0]:.2g} in the first tenth of {steps:,} steps, {late[0]:.2g} in the "
        f"last (lstm_fast's float32: {early[1]:.2g} and {late[1]:.2g})"
    )
    if steps < context.options.drift_steps:
        figures += f"; ended after {context.options.drift_seconds:g} s, drift_seconds= is more"
    if beyond is None and numbers["max_error"] <= allowed:
        return CheckResult("drift", "passed", figures, numbers)
    where = int(np.argmax(errors[:, 0] > allowed)) * BLOCK + BLOCK
    why = f"above {allowed:.2g}"
    if beyond is not None:
        where = min(where, beyond[0] + 1) if numbers["max_error"] > allowed else beyond[0] + 1
        why = f"step {beyond[0]} alone is {beyond[1]:.3g} times its bound off"
        numbers["beyond_the_bound_of_a_step"] = {"step": beyond[0], "of_bound": beyond[1]}
    text = f"{figures}: {why}"
    return CheckResult("drift", "failed", text, numbers, _reproduction(context, where))


def _reproduction(context: Context, steps: int) -> str:
    options = context.options
    longest = -(-steps // BLOCK) * BLOCK
    body = f"""
# reference: the LSTM that it should be, as it was given to the check
options = Options(seed={options.seed}, scale={options.scale!r}, drift_steps={longest})
result = drift(target, reference, options)
assert not result.failed, result.text
"""
    return reproduction.code(context.target, body, "from lstm_fast.checks import Options, drift")
