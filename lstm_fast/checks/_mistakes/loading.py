"""Weights that are read wrongly: gates, biases, matrices, layers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .machine import Layer, Machine
from .mistake import Mistake, layered, whole
from .roundings import Matrix

OURS = "ifgo"


def gate_orders() -> Iterator[Mistake]:
    famous = {"iofg": "ONNX's", "igfo": "TensorFlow 1's"}
    scopes = {"": ["order", "bias_order"], ":matrices": ["order"], ":biases": ["bias_order"]}
    for scope, parts in scopes.items():
        for letters in map("".join, itertools.permutations(OURS)):
            if letters == OURS:
                continue
            order = tuple(letters.index(gate) for gate in OURS)
            where = scope.replace(":", " of the ") + " alone" if scope else ""
            whose = f" (that is {famous[letters]} order)" if letters in famous else ""
            yield layered(
                f"gate_order:{letters}{scope}",
                f"gate order {', '.join(letters)} instead of {', '.join(OURS)}{where}",
                f"the rows{where} are read as blocks of {', '.join(letters)}{whose}; they are "
                f"{', '.join(OURS)}, as in PyTorch: reorder the blocks when loading",
                lambda layer, parts=parts, order=order: replace(  # type: ignore[misc]
                    layer, **dict.fromkeys(parts, order)
                ),
                pairs=not scope,
            )


def biases() -> Iterator[Mistake]:
    once = "a = W_ih x + W_hh h + b_ih + b_hh: add each of the two biases once"
    for name, words, (k, m) in (
        ("none", "the bias is not added", (0, 0)),
        ("only_b_ih", "only b_ih is added, b_hh is missing", (1, 0)),
        ("only_b_hh", "only b_hh is added, b_ih is missing", (0, 1)),
        ("twice", "the bias b_ih + b_hh is added twice", (2, 2)),
        ("b_ih_twice", "b_ih is added twice, and b_hh once", (2, 1)),
        ("b_hh_twice", "b_hh is added twice, and b_ih once", (1, 2)),
        ("b_ih_for_both", "b_ih is added in place of b_hh, too", (2, 0)),
        ("b_hh_for_both", "b_hh is added in place of b_ih, too", (0, 2)),
    ):
        yield layered(
            f"bias:{name}",
            words,
            once,
            lambda layer, k=k, m=m: replace(  # type: ignore[misc]
                layer, b_ih=layer.b_ih * k, b_hh=layer.b_hh * m
            ),
            pairs=name in ("none", "only_b_ih", "only_b_hh", "twice"),
        )
    yield layered(
        "forget_bias:twice",
        "the bias of the forget gate is added twice",
        "add the biases of all gates once; that of the forget gate is like the others",
        lambda layer: replace(layer, forget_gain=2.0),
    )
    for number, words in ((1.0, "is added once too often"), (-1.0, "is missing")):
        yield layered(
            f"forget_bias:{number:+g}",
            f"a forget bias of 1.0 {words}",
            FORGET_ADVICE,
            lambda layer, number=number: replace(  # type: ignore[misc]
                layer, forget=layer.forget + number
            ),
        )


FORGET_ADVICE = (
    "the forget bias is part of the biases already (as Keras and PyTorch store it); TensorFlow 1 "
    "adds it when it runs: add it in one place alone"
)


def _transposed(matrix: Matrix, blocks: int) -> Matrix:
    """Return each block of rows read as though it had been stored by columns."""
    rows, columns = matrix.value.shape
    parts = matrix.value.reshape(blocks, rows // blocks, columns)
    turned = parts.reshape(blocks, columns, rows // blocks).transpose(0, 2, 1)
    return Matrix(np.ascontiguousarray(turned.reshape(rows, columns)))


def matrices() -> Iterator[Mistake]:
    def swap(layer: Layer) -> Layer | None:
        outputs = layer.sizes[2]
        both = np.concatenate([layer.w_ih.value, layer.w_hh.value], axis=1)
        w_hh, w_ih = Matrix(both[:, :outputs].copy()), Matrix(both[:, outputs:].copy())
        return replace(layer, w_ih=w_ih, w_hh=w_hh)

    yield layered(
        "swapped:w_ih_w_hh",
        "W_ih and W_hh are swapped",
        "W_ih takes the frame and W_hh the hidden state; in a joint matrix the columns of the "
        "frame come first",
        swap,
        group="matrices",
    )
    names = {"w_ih": ("w_ih",), "w_hh": ("w_hh",), "w_ih_w_hh": ("w_ih", "w_hh")}
    for how, blocks, where in (("", 4, "in each gate"), (":whole", 1, "as a whole")):
        for id, which in names.items():
            text = " and ".join(name.replace("w_", "W_") for name in which)
            many = "are" if len(which) > 1 else "is"

            def turn(layer: Layer, which: Any = which, blocks: int = blocks) -> Layer:
                turned: dict[str, Any] = {
                    name: _transposed(getattr(layer, name), blocks) for name in which
                }
                return replace(layer, **turned)

            yield layered(
                f"transposed:{id}{how}",
                f"{text} {many} transposed, {where}",
                f"{text} {many} stored with a row (4H of them) for each gate and unit; read by "
                "rows, or transpose when loading from a format that stores columns (Keras, "
                "TensorFlow)",
                turn,
                group="matrices",
            )


def stacks(machine: Machine) -> Iterator[Mistake]:
    layers = machine.layers
    count = len(layers)
    if count < 2:
        return
    ids = {
        "layer_order": (layers[::-1], "the layers are in the reversed order"),
        "layer_missing:last": (layers[:-1], f"layer {count - 1}, the last, is missing"),
        "layer_missing:first": (layers[1:], "layer 0, the first, is missing"),
        "layer_repeated:first": (
            layers[:1] * count,
            "every layer has the weights of layer 0, the first",
        ),
        "layer_repeated:last": (layers[-1:] * count, "every layer has the weights of the last"),
    }
    for id, (wrong, words) in ids.items():
        sizes = [layers[0].sizes[0], *(layer.sizes[2] for layer in wrong[:-1])]
        if [layer.sizes[0] for layer in wrong] == sizes:
            yield whole(
                id, words, "layer 0 takes the frame, layer n the h of layer n - 1", layers=wrong
            )
