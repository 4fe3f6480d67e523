"""Other functions in the place of sigmoid and tanh, in all gates or in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...cell import Activation
from .functions import RATIONAL, SIGMOIDS, TANHS, Function, function_of, halved
from .machine import Layer, Machine
from .mistake import Mistake, layered

HARD = {
    "0.2": (0.2, "clip(0.2 x + 0.5, 0, 1)"),
    "1/6": (1 / 6, "clip(x / 6 + 0.5, 0, 1)"),
    "0.25": (0.25, "clip(x / 4 + 0.5, 0, 1)"),
    "0.5": (0.5, "clip((x + 1) / 2, 0, 1)"),
}
TANH_ROLES = {"": ("g", "output"), ":g": ("g",), ":output": ("output",)}
TANH_WORDS = {"": "tanh is {0} here", ":g": "g is {0} of a_g", ":output": "h is o times {0} of c"}


def activations(machine: Machine) -> Iterator[Mistake]:
    """Yield other functions, for a machine that has sigmoid and tanh as for one that has not."""
    yield from _tanhs(machine)
    yield from _all_gates(machine)
    yield from _some_gates(machine)


def _other(functions: dict[str, Function], *, pairs: bool = False, **words: str) -> Mistake:
    return layered(
        words["id"],
        words["words"],
        words["advice"],
        lambda layer: layer.with_others(functions),
        group="gate" if words["id"].startswith(("hard_sigmoid", "sigmoid_is")) else "tanh",
        pairs=pairs,
    )


def _tanhs(machine: Machine) -> Iterator[Mistake]:
    gate, g, output = machine.layers[0].cell.activations
    has_tanh = g.name == output.name == "tanh"
    advice = f"g has {g} and the output {output}: an approximation is off by more than float32 is"
    for name, (formula, meant) in TANHS.items():
        near = name in RATIONAL  # so near that it might be the exact one, where that is the mistake
        kind = "rational_tanh" if near else "tanh_is"
        if near and not (has_tanh and gate.name == "sigmoid"):
            continue
        for function in meant:
            for where, roles in TANH_ROLES.items():
                yield _other(
                    dict.fromkeys(roles, function),
                    pairs=name == "27/9" and not where and function is meant[0],
                    id=f"{kind}:{name}{where}",
                    words=TANH_WORDS[where].format(formula),
                    advice=advice,
                )
            if name == "schraudolph":  # its sigmoid is made of exp itself, see below
                continue
            everywhere = dict.fromkeys(("g", "output"), function)
            yield _other(
                everywhere | dict.fromkeys("ifo", halved(function)),
                id=f"{kind}:{name}:gates",
                words=f"tanh is {formula} here, and the gates are tanh(x / 2) / 2 + 0.5 of that",
                advice=advice,
            )
            yield _other(
                dict.fromkeys("ifo", halved(function)),
                id=f"{kind}:{name}:gates_alone",
                words=f"the gates are tanh(x / 2) / 2 + 0.5, with {formula} for that tanh",
                advice=advice,
            )
    plain = function_of(Activation("tanh"))
    yield _other(
        {"g": plain, "output": plain},
        id="tanh_is:tanh",
        words="g and the output have tanh here",
        advice=f"g has {g} and the output {output}",
    )


def _all_gates(machine: Machine) -> Iterator[Mistake]:
    right = machine.layers[0].cell.activations[0]
    for name, (formula, meant) in SIGMOIDS.items():
        for function in meant:
            yield _other(
                dict.fromkeys("ifo", function),
                id=f"sigmoid_is:{name}",
                words=f"the gates are {formula} instead of {right}",
                advice=f"i, f and o have {right} here",
            )
    for name, (_, meant) in SIGMOIDS.items():
        if name == "schraudolph":
            for sigmoid, tanh in zip(meant, TANHS[name][1], strict=True):
                yield _other(
                    dict.fromkeys("ifo", sigmoid) | dict.fromkeys(("g", "output"), tanh),
                    id="exp_is:schraudolph",
                    words="sigmoid and tanh are made with Schraudolph's exp, of a float's bits",
                    advice="that exp is off by up to 6 %: take the exact one",
                )


def _some_gates(machine: Machine) -> Iterator[Mistake]:
    """Yield what one gate, or two of the three, have for themselves."""
    right = machine.layers[0].cell.activations[0]
    for name, (slope, formula) in HARD.items():
        hard = function_of(Activation("hard_sigmoid", slope, 0.5))
        for gates in ("i", "f", "o", "if", "io", "fo"):
            yield _one("hard_sigmoid", name, gates, hard, formula, str(right))
    for name, (formula, meant) in SIGMOIDS.items():
        for gate in "ifo":
            yield _one("sigmoid_is", name, gate, meant[0], formula, str(right))
    plain = function_of(Activation("sigmoid"))
    for gates in ("i", "f", "o"):
        yield _one("sigmoid_is", "sigmoid", gates, plain, "1 / (1 + exp(-x))", str(right))


def _one(kind: str, name: str, gates: str, function: Function, formula: str, right: str) -> Mistake:
    which = f"the gate {gates} has" if len(gates) == 1 else f"the gates {' and '.join(gates)} have"
    return _other(
        dict.fromkeys(gates, function),
        id=f"{kind}:{name}:{gates}",
        words=f"{which} {formula} instead of {right}",
        advice=f"i, f and o all have {right} here",
    )


def norms(machine: Machine) -> Iterator[Mistake]:
    """Yield the epsilons that frameworks have for layer normalisation."""
    for epsilon in (1e-3, 1e-5, 1e-6, 1e-8, 1e-12):

        def change(layer: Layer, epsilon: float = epsilon) -> Layer | None:
            if layer.layer_norm is None:
                return None
            return replace(layer, cell=replace(layer.cell, layer_norm_eps=epsilon))

        yield layered(
            f"layer_norm_eps:{epsilon:g}",
            f"the epsilon of the layer normalisation is {epsilon:g}",
            f"it is {machine.layers[0].cell.layer_norm_eps:g} here: see lstm_fast.Cell",
            change,
            pairs=False,
        )
