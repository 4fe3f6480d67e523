"""What only shows after long: errors that grow with the number of steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .._arrays import Float32
from .._weights import Weights
from . import reproduction
from ._context import Context
from .agreement import _fits
from .bounds import excess
from .bounds import step as bound_step
from .options import Options
from .oracle import Oracle
from .references import Reference, reference_for
from .results import CheckResult
from .target import Session, State, Target, state_of, step, theirs, to_array

__all__ = ["drift"]

BLOCK = 256  # frames that are drawn, and then judged, at once
CHUNK = 128 * BLOCK  # frames that are run at once, at most, where steps would take too long
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

    What has not been stepped in half of `drift_seconds` is run in chunks, where the session has a
    `run`; what is not done in all of that time is left out, which the result says.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> lstm = LSTM.random(3, 4)
        >>> few = checks.Options(drift_steps=1000)
        >>> checks.drift(checks.adapters.from_lstm(lstm), lstm, few).status
        'passed'
    """
    context, wanted = Context(target, options), reference_for(target, reference)
    weights = wanted.exact
    first = context.solo(context.frames(1))
    seen = _fits(first, weights)
    is_h = context.options.output_is_h and first.ys.shape[1] == weights.output_size
    if wanted.weight_dtype == "int8":
        text = "int8 is not held to float64 over many steps"
        return CheckResult("drift", "skipped", text, on_purpose=True)  # by asking for int8
    if not seen and not is_h:
        return CheckResult("drift", "skipped", "neither the state nor h is seen")
    with context.session() as session:
        walk = _Walk(context, weights, session, seen, is_h)
        walk.go()
    return _result(context, wanted, walk)


class _Walk:
    """A long way of a target's session, beside one in float64 and one of lstm_fast's float32.

    errors: of each block its last step, and the largest of the target and of lstm_fast.
    beyond: the first step that is beyond its bound, and its error as a multiple of that.
    """

    def __init__(
        self, context: Context, weights: Weights, session: Session, seen: bool, is_h: bool
    ) -> None:
        from ..lstm import LSTM

        self.steps = self.steps_in_chunks = 0
        self.errors: list[tuple[int, float, float]] = []
        self.beyond: tuple[int, float] | None = None
        self._context, self._weights, self._session = context, weights, session
        self._seen, self._is_h = seen, is_h
        self._oracle, self._ours = Oracle(weights), LSTM.from_weights(weights).stream()

    def go(self) -> None:
        """Go as far as was asked for, or as there is time."""
        options, start = self._context.options, time.monotonic()
        can_run = callable(getattr(self._session, "run", None))
        while self.steps < options.drift_steps:
            spent = (time.monotonic() - start) / options.drift_seconds
            if spent > 1 and self.errors:
                break
            in_chunks = can_run and spent > 0.5
            most = BLOCK
            if in_chunks:  # no more than there is time for, at the pace so far
                most = int(min(CHUNK, self.steps * (1 / spent - 1)))
                most = max(BLOCK, most - most % BLOCK)
            self._advance(self._frames(min(most, options.drift_steps - self.steps)), in_chunks)

    def _frames(self, most: int) -> Float32:
        """Return the next frames: those of a block depend on its number alone."""
        first = self.steps // BLOCK
        numbers = range(first, first - (-most // BLOCK))
        blocks = [self._context.frames(BLOCK, 1000 + number).array for number in numbers]
        return np.concatenate(blocks)[:most]

    def _advance(self, xs: Float32, in_chunks: bool) -> None:
        """Take frames, the last one of them always by a step, and compare."""
        early = self._run(xs[:-1]) if in_chunks and len(xs) > 1 else self._step(xs[:-1])
        before = state_of(self._session) if self._seen else None
        last = step(self._session, xs[-1])[None]
        if self._seen:
            after = state_of(self._session)
            assert before is not None
            assert after is not None
            self._judge_step(self.steps + len(xs) - 1, xs[-1], before, after)
            last = after[0][-1:]
        ys = np.concatenate([early, last]) if self._is_h else last
        seen_from = len(xs) - len(ys)
        for at in range(0, len(xs), BLOCK):
            block = xs[at : at + BLOCK]
            exact = np.array([self._oracle.step(x).copy() for x in block])
            own = self._ours.run(block)
            self.steps += len(block)
            first = max(0, seen_from - at)
            if first < len(block):
                found = ys[at + first - seen_from :][: len(block) - first]
                apart, own_apart = _largest(found - exact[first:]), _largest((own - exact)[first:])
                self.errors.append((self.steps, apart, own_apart))
        self.steps_in_chunks += len(xs) if in_chunks else 0

    def _step(self, xs: Float32) -> Float32:
        return np.array([step(self._session, x) for x in xs])

    def _run(self, xs: Float32) -> Float32:
        with theirs("run(xs)"):
            ys = self._session.run(xs.copy())  # type: ignore[attr-defined]
        return to_array(ys, "run(xs)", (len(xs), None))

    def _judge_step(self, at: int, x: Float32, before: State, after: State) -> None:
        """Hold one step to its bound."""
        worst, below = 0.0, x
        for n, layer in enumerate(self._weights.layers):
            activation = self._context.options.activation
            one = bound_step(below, before[0][n], before[1][n], layer, activation=activation)
            for found, exact, error in (
                (after[0][n], one.h, one.h_error),
                (after[1][n], one.c, one.c_error),
            ):
                worst = max(worst, float(excess(found, exact, error).max()))
            below = after[0][n]
        if worst > 1 and self.beyond is None:
            self.beyond = at, worst


def _largest(distance: Any) -> float:
    """Return the largest magnitude; what is not a number is infinitely far."""
    return float(np.where(np.isnan(distance), np.inf, np.abs(distance)).max())


def _result(context: Context, wanted: Reference, walk: _Walk) -> CheckResult:
    options, steps = context.options, walk.steps
    ends, found, own = np.array(walk.errors).T
    tenth = max(1, len(ends) // 10)
    allowed = RATIO * max(float(own.max()), 2.0**-24)
    numbers: dict[str, Any] = {
        "steps": steps,
        "steps_wanted": options.drift_steps,
        "steps_in_chunks": walk.steps_in_chunks,
        "max_error": float(found.max()),
        "max_error_first_tenth": float(found[:tenth].max()),
        "max_error_last_tenth": float(found[-tenth:].max()),
        "max_error_of_lstm_fast": float(own.max()),
        "allowed": allowed,
    }
    figures = (
        f"max error {found[:tenth].max():.2g} in the first tenth of {steps:,} steps, "
        f"{found[-tenth:].max():.2g} in the last (lstm_fast's float32: {own[:tenth].max():.2g} and "
        f"{own[-tenth:].max():.2g})"
    )
    if walk.steps_in_chunks:
        figures += f"; {walk.steps_in_chunks:,} of them in chunks, to be done in time"
    if steps < options.drift_steps:
        figures = (
            f"only {steps:,} of the {options.drift_steps:,} steps asked for: ended after "
            f"{options.drift_seconds:g} s (drift_seconds=, in the shell --seconds, is more); "
            f"{figures}"
        )
    if walk.beyond is None and numbers["max_error"] <= allowed:
        return CheckResult("drift", "passed", figures, numbers)
    where = int(ends[np.argmax(found > allowed)]) if numbers["max_error"] > allowed else steps
    why = f"above {allowed:.2g}"
    if walk.beyond is not None:
        at, ratio = walk.beyond
        where = min(where, at + 1)
        why = f"step {at} alone is {ratio:.3g} times its bound off"
        numbers["beyond_the_bound_of_a_step"] = {"step": at, "of_bound": ratio}
    body = f"""
options = {reproduction.options(options, drift_steps=max(100, where))}
result = drift(target, reference, options)
assert not result.failed, result.text
"""
    imports = "from lstm_fast.checks import Options, drift"
    code = reproduction.code(context.target, body, imports, reference=wanted)
    return CheckResult("drift", "failed", f"{figures}: {why}", numbers, code)
