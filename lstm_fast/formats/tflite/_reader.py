"""From the LSTM operators of a TFLite file to LSTMs of ours; why there is none."""

from __future__ import annotations

from collections import Counter

from ..._source import Readable, Source
from ..._weights import Weights, make_weights
from .._files import FormatError, Found, Refused, checked
from .._inventory import counted
from ._file import File
from ._operators import CODES, Graph
from ._stacks import Node, stacks_of

PRODUCTS = {"FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D"}


def read(path: Readable) -> list[Found | Refused]:
    """Return every LSTM in a file.

    Raises:
        FormatError: it is damaged, or has none that is an operator of its own, but equations that
            look like one; or the library tflite is missing.
    """
    file = File(Source.of(path))
    found: list[Found | Refused] = []
    taken = set[str]()
    for subgraph in file.subgraphs:
        if set(CODES).isdisjoint(subgraph.codes):
            continue
        graph = Graph.of(file, subgraph)
        for stack in stacks_of(graph):
            found += _found(graph, stack, taken)
    if not found:
        _explain(file)
    return found


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    counts = Counter(code for subgraph in File(source).subgraphs for code in subgraph.codes)
    return f"there are operators {counted(counts)}" if counts else "there is no operator"


def _found(graph: Graph, stack: list[Node], taken: set[str]) -> list[Found | Refused]:
    """Return the LSTM that a stack is; each layer of it, if one of them cannot be computed.

    taken: the names so far, to which theirs are added.
    """
    name = _unused(graph, _name(graph, stack[-1]), taken)
    error = stack[0].error
    if error is None:
        try:
            made = _made(graph, stack, name)
            taken.add(name)
            return [made]
        except FormatError as refusal:
            error = refusal
    if len(stack) == 1:
        taken.add(name)
        return [Refused(name, error)]
    return [one for node in stack for one in _found(graph, [node], taken)]


def _name(graph: Graph, node: Node) -> str:
    """Return the name of its output, or what operator it is where it has none."""
    if not node.outputs:
        return str(node.operators[0])
    try:
        return graph.subgraph.tensor(min(node.outputs)).name
    except FormatError:
        if node.error is None:
            raise
        return str(node.operators[0])


def _unused(graph: Graph, base: str, taken: set[str]) -> str:
    name, number = base, 2
    while name in taken:
        graph.file.budget.work()
        name, number = f"{base}#{number}", number + 1
    return name


def _made(graph: Graph, stack: list[Node], name: str) -> Found:
    layers = [layer for node in stack for layer in node.layers]
    with checked(graph.file.source, f"{stack[0].operators[0]}"):
        weights = make_weights([layer.weights for layer in layers], stack[0].direction)
    notes = [note for layer in layers for note in layer.notes]
    if stack[0].time_major:
        notes.append("in the file time is the first axis, then the batch")
    assumptions = dict.fromkeys(text for layer in layers for text in layer.assumptions)
    sources = _sources(weights, [layer.sources for layer in layers])
    parts = tuple(_name(graph, node) for node in stack) if len(stack) > 1 else ()
    return Found(name, weights, sources, tuple(dict.fromkeys(notes)), tuple(assumptions), parts)


def _sources(weights: Weights, parts: list[dict[str, str]]) -> dict[str, str]:
    return {
        kind + weights.suffix(index): text
        for index, sources in enumerate(parts)
        for kind, text in sources.items()
    }


def _explain(file: File) -> None:
    """Raise an error that says why there is no LSTM, where that can be said."""
    codes = {code for subgraph in file.subgraphs for code in subgraph.codes}
    is_decomposed = {"TANH", "LOGISTIC", "MUL"} <= codes and codes & PRODUCTS
    if "WHILE" in codes or is_decomposed:
        how = "a WHILE loop" if "WHILE" in codes else "its parts, for each step"
        raise FormatError(
            f"{file.source}: there is no LSTM operator in it, but {how}: the converter wrote "
            "the cell's equations out. It fuses keras.layers.LSTM with its default activations, "
            "without unroll or a mask, converted from a concrete function with a fixed batch size; "
            f"or load the Keras file. In it {inventory(file.source)}"
        )
