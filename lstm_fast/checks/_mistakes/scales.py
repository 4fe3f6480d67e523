"""Numbers that are kept in other types or scaled wrongly, and what has a number to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .loading import FORGET_ADVICE
from .machine import Layer, Machine
from .mistake import Family, Mistake, layered, whole
from .roundings import Int8


def roundings(machine: Machine) -> Iterator[Mistake]:
    advice = "keep the weights (and frames and hidden states) as {0}, or compare with weight_dtype="
    right = advice.format(machine.rounding.replace("_row", "") or "float32")
    for id, rounding, int8, words in (
        ("not_rounded", "", None, "the weights are not rounded"),
        ("rounded:float16", "float16", None, "the weights are rounded to float16"),
        ("rounded:bfloat16", "bfloat16", None, "the weights are rounded to bfloat16"),
        ("rounded:int8", "int8_row", Int8(), "weights, frames and h are rounded to int8"),
        ("rounded:int8_row", "int8_row", None, "the weights are rounded to int8, by rows"),
        ("rounded:int8_gate", "int8_gate", None, "the weights are rounded to int8, by gates"),
        ("rounded:int8_tensor", "int8_tensor", None, "the weights are rounded to int8, by matrix"),
    ):
        yield whole(id, words, right, "rounding", rounding=rounding, int8=int8)


def int8_scales() -> Iterator[Mistake]:
    scales = "int8 scale off: "
    for id, words, options in (
        ("h/128", "h is stored as 127 h and read as 1/128 of it", {"unit": 1 / 128}),
        ("128h", "h is stored as 128 h and read as 1/127 of it", {"levels": 128.0}),
        ("128h/128", "h is stored as 128 h, not 127 h", {"levels": 128.0, "unit": 1 / 128}),
        ("x_fixed", "frames are stored as 127 x, as though |x| were at most 1", {"fixed": True}),
        ("x/128", "x is scaled by 127 and read as 1/128", {"x_gain": 127 / 128}),
    ):

        def change(machine: Machine, options: Any = options) -> Machine | None:
            if machine.int8 is None:
                return None
            return replace(machine, int8=replace(machine.int8, **options))

        advice = "quantise with 127 and read with 1/127; frames by their own largest magnitude"
        yield Mistake(f"int8_scale:{id}", scales + words, advice, change, "int8_scale")
    yield layered(
        "int8_scale:h/128",
        f"{scales}h is stored as 127 h and read as 1/128 of it, beside W_hh alone",
        "quantise with 127 and read with 1/127",
        lambda layer: replace(layer, gain_hh=layer.gain_hh * 127 / 128),
    )
    for rounding, words in (("int8_tensor", "one scale per matrix"), ("int8_gate", "one per gate")):

        def regroup(machine: Machine, rounding: str = rounding) -> Machine | None:
            return None if machine.int8 is None else replace(machine, rounding=rounding)

        yield Mistake(
            f"int8_scale:{rounding.replace('int8_', 'per_')}",
            f"{scales}{words} instead of one per row",
            "give each row of the matrices a scale of its own, max |w| / 127",
            regroup,
            "int8_scale",
        )


# ---- those with a number -------------------------------------------------------------------------

FACTORS = (127 / 128, 128 / 127, 0.5, 2.0, 1 / 127, 127.0, 1 / 128, 128.0, 1 / 255, 255.0)


def fraction(number: float) -> str:
    """Write a factor, with the fraction that it is known as."""
    for value, name in zip(FACTORS, ("127/128", "128/127", "", "", "1/127"), strict=False):
        if name and abs(number / value - 1) < 2e-5:
            return f"{number:.6g} = {name}"
    return f"{number:.6g}"


def families(machine: Machine) -> list[Family]:
    """Return factors, and what is added to a bias, that the right machine can be given."""
    scale = "int8_scale" if machine.rounding or machine.int8 else "scale"
    off = "int8 scale off: " if scale == "int8_scale" else ""
    advice = "apply each scale once, to the product that it belongs to"

    def layers(m: Machine, **gains: Callable[[Layer], Any]) -> Machine:
        changes: list[dict[str, Any]] = [
            {name: gain(layer) for name, gain in gains.items()} for layer in m.layers
        ]
        changed = (replace(layer, **one) for layer, one in zip(m.layers, changes, strict=True))
        return replace(m, layers=tuple(changed))

    def forget(m: Machine, k: float) -> Machine:
        return layers(m, forget=lambda layer: layer.forget + k)

    def w_hh(m: Machine, k: float) -> Machine:
        return layers(m, gain_hh=lambda layer: layer.gain_hh * k)

    def w_ih(m: Machine, k: float) -> Machine:
        return layers(m, gain_ih=lambda layer: layer.gain_ih * k)

    def taken_by(which: tuple[int, ...]) -> Callable[[Machine, float], Machine]:
        def change(m: Machine, k: float) -> Machine:
            changed = (
                replace(layer, gain_ih=layer.gain_ih * k) if n in which else layer
                for n, layer in enumerate(m.layers)
            )
            return replace(m, layers=tuple(changed))

        return change

    def output(m: Machine, k: float) -> Machine:
        return replace(m, output_gain=m.output_gain * k)

    def times(what: str) -> Callable[[float], str]:
        return lambda k: f"{off}{what} is {fraction(k)} times what it should be"

    starts = tuple((factor,) for factor in FACTORS)

    def scaled(where: str, what: str, change: Callable[..., Machine]) -> Family:
        return Family(f"{scale}:{where}", times(what), advice, change, scale, (1.0,), starts)

    found = [
        Family(
            "forget_bias",
            lambda k: f"the bias of the forget gate is {k:.6g} too {'large' if k > 0 else 'small'}",
            FORGET_ADVICE,
            forget,
            "forget_bias",
            (0.0,),
            ((1.0,), (-1.0,), (5.0,)),
        ),
        scaled("w_hh", "the product W_hh h", w_hh),
        scaled("w_ih", "the product W_ih x", w_ih),
        scaled("both", "each of the products W_ih x and W_hh h", lambda m, k: w_ih(w_hh(m, k), k)),
        scaled("output", "the output", output),
    ]
    count = len(machine.layers)
    if count > 1:
        found.append(scaled("frame", "the product W_ih x of layer 0, the first", taken_by((0,))))
        found.append(
            scaled(
                "between", "what a layer takes of the one below", taken_by(tuple(range(1, count)))
            )
        )
    for n in range(1, count if count > 2 else 0):
        what = f"what layer {n} takes of layer {n - 1} (counted from 0)"
        found.append(scaled(f"between@layer{n}", what, taken_by((n,))))
    return found
