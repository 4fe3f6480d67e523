"""TensorFlow Lite: UNIDIRECTIONAL_SEQUENCE_LSTM, BIDIRECTIONAL_SEQUENCE_LSTM and LSTM operators.

All of their variants: coupled gates (CIFG), peepholes, projection, layer normalisation, clips,
tanh and relu; float32 and float16 weights, and int8 ones of dynamic range quantisation, which are
dequantised. Fully integer LSTMs are refused. Stacks and Keras's Bidirectional are put together.
"""

from __future__ import annotations

from pathlib import Path

from .._weights import Weights, make_weights
from ._files import FormatError, Found, checked
from ._tflite_file import IDENTIFIER, File
from ._tflite_ops import CODES, Graph
from ._tflite_stacks import Node, stacks_of

__all__ = ["SUFFIXES", "read", "recognise"]

SUFFIXES = (".tflite", ".lite")


def recognise(path: Path, head: bytes) -> bool:
    """Tell by the identifier, which stands behind the first four bytes."""
    return head[4:8] == IDENTIFIER


def read(path: Path) -> list[Found]:
    """Return every LSTM in a file.

    Raises:
        FormatError: it is damaged, or has an LSTM that cannot be computed, or none that is an
            operator of its own; or the library tflite is missing.
    """
    file = File(path)
    found: list[Found] = []
    for subgraph in file.subgraphs:
        if set(CODES).isdisjoint(subgraph.codes):
            continue
        graph = Graph.of(file, subgraph)
        for stack in stacks_of(graph):
            found.append(_found(graph, stack, {one.name for one in found}))
    if not found:
        _explain(file)
    return found


def _found(graph: Graph, stack: list[Node], taken: set[str]) -> Found:
    layers = [layer for node in stack for layer in node.layers]
    part = f"{stack[0].operators[0]}"
    with checked(graph.file.path, part):
        weights = make_weights([layer.weights for layer in layers], stack[0].direction)
    name = base = graph.subgraph.tensor(min(stack[-1].outputs)).name
    number = 2
    while name in taken:
        name, number = f"{base}#{number}", number + 1
    notes = [note for layer in layers for note in layer.notes]
    if stack[0].time_major:
        notes.append("in the file time is the first axis, then the batch")
    sources = _sources(weights, [layer.sources for layer in layers])
    return Found(name, weights, sources, tuple(dict.fromkeys(notes)))


def _sources(weights: Weights, parts: list[dict[str, str]]) -> dict[str, str]:
    return {
        kind + weights.suffix(index): text
        for index, sources in enumerate(parts)
        for kind, text in sources.items()
    }


def _explain(file: File) -> None:
    """Raise an error that says why there is no LSTM, where that can be said."""
    codes = {code for subgraph in file.subgraphs for code in subgraph.codes}
    if "WHILE" in codes:
        raise FormatError(
            f"{file.path}: there is no LSTM operator in it, but a WHILE loop: the converter wrote "
            "the cell's equations out. It fuses keras.layers.LSTM with its default activations, "
            "converted from a concrete function with a fixed batch size; or load the Keras file"
        )
