"""Which known mistake explains what a voice activity detector says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arrays import Float32
from ...errors import LstmFastError
from ...formats._whole_models import load_model
from ...model import Model
from .._context import Context
from .._moved import Expected, expected, part_of
from ..options import Options
from ..target import TargetError
from .plans import plans, right_window
from .ports import Plan, Port, Window, simulation
from .references import VadReference
from .words import said_of

if TYPE_CHECKING:
    from ..adapters.vad import VadTarget

__all__ = ["Models", "Told", "explain_vad", "first_apart"]

Told = tuple[tuple[dict[str, Any], ...], str]
STEPS = 8
LOUDNESS = (1.0, 0.1, 5.0)  # of frames, each for a sequence of its own
FAR = 1000.0  # times what is allowed: no plan is followed further beyond
MUCH_NEARER = 0.5  # than with one mistake, to tell two
NEAR = 1 / 32  # of the distance that is left, at most, for a plan that is told to come nearest
TRIED = (
    "nothing known explains it: tried were states that are not carried, context that is missing or "
    "of another place, samples in another unit, chunks of another size, the other sampling rate, "
    "and any two of these"
)
OTHER_WEIGHTS = "; the weights may be of another version, which --reference FILE gives"
FACTORS = np.exp2(np.arange(-16, 16.5, 0.5))  # tried of samples
GOLDEN = (math.sqrt(5) - 1) / 2


class Models:
    """Models of the reference's file without history, by the rate and the size of their window."""

    def __init__(self, wanted: VadReference, rate: int) -> None:
        self._wanted = wanted
        (given,) = wanted.model.program.inputs
        self.right = right_window(rate, given.history > 0)
        self._made = wanted.models

    def __call__(self, window: Window, weights: str) -> Model | None:
        """Return the model, or None where the file has none such, or is not known."""
        key = window.rate, window.size + window.context, weights
        if key not in self._made:
            try:
                self._made[key] = self._make(*key)
            except (LstmFastError, OSError, ValueError, TypeError):
                self._made[key] = None
        return self._made[key]

    def _make(self, rate: int, size: int, weights: str) -> Model | None:
        right, program = self.right, self._wanted.model.program
        if (rate, size) == (right.rate, right.size + right.context):
            alone = replace(program.inputs[0], shape=(size,), history=0)
            return Model.from_program(replace(program, inputs=(alone,)), weight_dtype=weights)
        file = self._wanted.file
        if file is None:
            return None
        told: dict[str, Any] = {"shapes": {"input": (1, size)}, "weight_dtype": weights}
        try:
            return load_model(file, constants={"sr": rate}, **told)
        except ValueError:  # a file for one rate has no such input
            return load_model(file, **told) if rate == right.rate else None


def explain_vad(target: VadTarget, wanted: VadReference, options: Options | None = None) -> Told:
    """Return the mistakes that explain what a target does, and a note on that."""
    context, models = Context(target, options), Models(wanted, target.sampling_rate)
    try:
        frames = [context.frames(STEPS, 500 + n, x) for n, x in enumerate(LOUDNESS)]
        found = [context.solo(one).ys for one in frames]
    except TargetError as error:
        return (), f"not diagnosed: {error}"
    search = _Search(target, wanted, models, [one.array for one in frames], found)
    if all(_fits(ys, one) for ys, one in zip(found, search.right, strict=True)):
        return (), f"no mistake shows in the first {STEPS} chunks: it differs only later"
    hits = search.hits()
    if not hits:
        return (), search.nearest()
    best, *others = (said_of(plan, models.right) for plan in hits)
    explained = {
        "mistake": "+".join(one.id for one in best),
        "words": "; and ".join(one.words for one in best),
        "explanation": ". ".join(dict.fromkeys(one.advice for one in best)),
        "same": ["+".join(one.id for one in said) for said in others],
        "shows": f"first shows at step {search.shows()}",
    }
    return (explained,), f"{explained['mistake']} explains it"


class _Search:
    """Looks for the plans that lead to what was found."""

    def __init__(
        self,
        target: VadTarget,
        wanted: VadReference,
        models: Models,
        frames: list[Float32],
        found: list[Float32],
    ) -> None:
        self._models, self._frames, self._found = models, frames, found
        self._layout = target.layout
        self._plans = plans(models.right, target.chunk, target.takes_integers)
        self.right = [expected(wanted.model, xs, wanted.simulate, target.layout) for xs in frames]

    def shows(self) -> int:
        """Return the first step at which anything is off."""
        return min(first_apart(*one) for one in zip(self._found, self.right, strict=True))

    def hits(self) -> list[Plan]:
        """Return the plans that explain it, all with as few mistakes as there can be."""
        number, hits = 0, list[Plan]()
        for plan in self._plans:
            count = len(said_of(plan, self._models.right))
            if hits and count > number:
                break
            if self._explains(plan):
                number, hits = count, [*hits, plan]
        if hits:
            return hits
        other = self._factor()
        return [other] if other is not None and self._explains(other) else []

    def nearest(self) -> str:
        """Say which plan comes nearest, where one is much nearer than what is right."""
        singles = [plan for plan in self._plans if len(said_of(plan, self._models.right)) == 1]
        at_first = _apart(self._found, [one.ys for one in self.right])
        best = min(singles, key=self._distance)
        pairs = [
            plan
            for plan in self._plans
            if plan not in singles and _has(plan, best, Plan(self._models.right))
        ]
        left = self._distance(best)
        if left > 0 and pairs:
            pair = min(pairs, key=self._distance)
            if self._distance(pair) < MUCH_NEARER * left:
                best, left = pair, self._distance(pair)
        if not left < NEAR * at_first:
            return f"{TRIED}{OTHER_WEIGHTS}"
        said = said_of(best, self._models.right)
        return (
            f"{TRIED}. Nearest comes {'+'.join(one.id for one in said)} "
            f"({'; and '.join(one.words for one in said)}): with it {left:.2g} of {at_first:.2g} "
            "is left (root mean square), more than roundings of float32 come to"
        )

    def _port(self, plan: Plan) -> Port | None:
        """Return a port on the backend that there is: to look at many plans, float32 will do."""
        model = self._models(plan.window, plan.weights)
        return None if model is None else Port(model.stream(), plan, self._models.right.size)

    def _steps(self, plan: Plan, xs: Float32) -> Float32:
        port = self._port(plan)
        if port is None:
            raise ValueError("there is no such model")
        with np.errstate(all="ignore"):
            return np.stack([port.step(x) for x in xs])

    def _distance(self, plan: Plan) -> float:
        try:
            return _apart(self._found, [self._steps(plan, xs) for xs in self._frames])
        except (LstmFastError, ValueError):
            return math.inf

    def _explains(self, plan: Plan) -> bool:
        """Say whether a plan leads to all that was found, and not to what is right."""
        model, is_other = self._models(plan.window, plan.weights), False
        if model is None:
            return False
        try:
            for xs, ys, one in zip(self._frames, self._found, self.right, strict=True):
                if not self._is_near(plan, xs, ys, one):
                    return False
            for xs, ys, one in zip(self._frames, self._found, self.right, strict=True):
                made = expected(model, xs, simulation(plan, self._models.right.size), self._layout)
                if not _fits(ys, made):
                    return False
                is_other |= not _fits(made.ys, one)
        except (LstmFastError, ValueError):  # a window that this model can't be given
            return False
        return is_other

    def _is_near(self, plan: Plan, xs: Float32, ys: Float32, one: Expected) -> bool:
        """Say whether each step is within FAR times what is allowed; end where one is not."""
        port = self._port(plan)
        assert port is not None
        with np.errstate(all="ignore"):
            return all(
                part_of(y, port.step(x), FAR * most).max() <= 1
                for x, y, most in zip(xs, ys, one.allowed, strict=True)
            )

    def _factor(self) -> Plan | None:
        """Return a plan whose samples are some times as large, by what comes nearest."""
        base = Plan(self._models.right)

        def apart(power: float) -> float:
            return self._distance(replace(base, scale=float(np.exp2(power))))

        powers = np.log2(FACTORS)
        middle = min(powers, key=apart)
        low, high = middle - 0.5, middle + 0.5
        while high - low > 1e-6:
            a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            low, high = (low, b) if apart(a) < apart(b) else (a, high)
        return replace(base, scale=float(np.exp2((low + high) / 2)))


def _has(plan: Plan, part: Plan, right: Plan) -> bool:
    """Say whether a plan has all mistakes of another one."""
    names = ("window", "context", "state", "scale", "end", "late", "weights")
    return all(
        getattr(plan, name) == getattr(part, name)
        for name in names
        if getattr(part, name) != getattr(right, name)
    )


def _apart(found: list[Float32], others: list[Float32]) -> float:
    """Return how far outputs are apart, root mean square."""
    off = np.concatenate([a.astype(np.float64) - b for a, b in zip(found, others, strict=True)])
    return float(np.sqrt(np.mean(off**2)))


def _fits(ys: Float32, one: Expected) -> bool:
    return first_apart(ys, one) == len(ys)


def first_apart(ys: Float32, one: Expected) -> int:
    """Return the first step that is further off than allowed, or how many steps there are."""
    beyond = (part_of(ys, one.ys, one.allowed) > 1).any(axis=1)
    return int(np.argmax(beyond)) if beyond.any() else len(ys)
