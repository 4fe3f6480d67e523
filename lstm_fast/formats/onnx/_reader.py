"""From the nodes of an ONNX model to LSTMs of ours: each node's weights, then their stacks."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from ..._source import Readable, Source
from ..._weights import LayerWeights, make_weights
from .._files import FormatError, Found, Refused, checked
from ..gates import ORDERS
from ._constants import Folder, Unknown
from ._file import Array, File, Proto
from ._graph import Scope, scopes
from ._lstm import INPUTS, QUANTISED, Options, initial_row, layers, options
from ._no_lstm import nothing
from ._operators import dequantise
from ._stacks import Chains, Node

LSTM_STEPS, LSTM_BYTES = 300, 8000  # that one node takes, beside its weights
HASHED_A_STEP = 200  # bytes
LABELS = 12  # texts that have its name in them
KINDS = {("", "LSTM"), ("ai.onnx", "LSTM"), ("com.microsoft", "DynamicQuantizeLSTM")}
# Our names for what is in an input
MEANT = {
    "W": ("weight_ih",),
    "R": ("weight_hh",),
    "B": ("bias_ih", "bias_hh"),
    "P": ("peephole",),
    "initial_h": ("h_0",),
    "initial_c": ("c_0",),
}


def read(path: Readable) -> list[Found | Refused]:
    """Return every LSTM in a model; see `formats.read`.

    Example:
        >>> import onnx
        >>> text = '''<ir_version: 8, opset_import: ["": 17]>
        ... turns (float[t, 1, 1] x) => (float[t, 1, 1, 1] y)
        ... <float[1, 4, 1] w = {1, 2, 3, 4}, float[1, 4, 1] r = {4, 3, 2, 1}>
        ... { y = LSTM <hidden_size = 1> (x, w, r) }'''
        >>> model = onnx.parser.parse_model(text)
        >>> [(one.name, one.weights.hidden_size) for one in read(model.SerializeToString())]
        [('y', 1)]
    """
    source = Source.of(path)
    file = File(source)
    with checked(source, "the graph", TypeError, AttributeError, OverflowError):
        return _Reader(file).read()


@dataclass(frozen=True, eq=False)
class _Part:
    """What one node holds; sources by its inputs; notes and assumptions as of `Found`."""

    node: Node
    layers: list[LayerWeights]
    sources: dict[str, str]
    notes: tuple[str, ...]
    assumptions: tuple[str, ...]


class _Reader:
    def __init__(self, file: File) -> None:
        self._file, self._path = file, file.source
        self._constants, self._states = Folder(file), Folder(file, batch=True)

    def read(self) -> list[Found | Refused]:
        all_scopes = scopes(self._file.model, self._file.budget)
        read = self._parts(all_scopes)
        if not read:
            raise FormatError(f"{self._path}: {nothing(all_scopes)}")
        parts = {one.node: one for one in read if isinstance(one, _Part)}
        chains = Chains(self._file, all_scopes, list(parts))
        below = {node: chains.below(node) for node in parts}
        inner = set(below.values())
        stacks = [_stack(below, node) for node in parts if node not in inner]
        order = {
            one.node.name if isinstance(one, _Part) else one.name: n for n, one in enumerate(read)
        }
        found: list[Found | Refused] = [one for one in read if isinstance(one, Refused)]
        for stack in stacks:
            found += self._stack([parts[node] for node in stack])
        found.sort(key=lambda one: order[one.name])
        self._file.work(sum(_bytes(one) for one in found) / HASHED_A_STEP)
        return _distinct(found)

    def _parts(self, all_scopes: list[Scope]) -> list[_Part | Refused]:
        """Return the nodes that are LSTMs of ours, and why others that should be are not."""
        found: list[_Part | Refused] = []
        names: Counter[str] = Counter()
        for scope in all_scopes:
            self._file.work(len(scope.nodes))
            for proto in scope.nodes:
                if (proto.domain, proto.op_type) not in KINDS:
                    continue
                name = proto.name or next(filter(None, proto.output), "LSTM")
                names[name] += 1
                name = name if names[name] == 1 else f"{name}#{names[name]}"
                # Not in what follows, which takes a node alone that is too much.
                self._file.work(LSTM_STEPS)
                self._file.budget.memory(LSTM_BYTES + LABELS * len(name), "its LSTM nodes")
                try:
                    what = f"node {name!r} ({proto.op_type})"
                    with checked(self._path, what, TypeError, IndexError):
                        found.append(self._part(name, scope, proto))
                except FormatError as error:
                    found.append(Refused(name, error))
        return found

    def _stack(self, parts: list[_Part]) -> list[Found | Refused]:
        """Return the stack of these nodes; each of them, if one of them cannot be computed."""
        try:
            return [self._found(parts)]
        except FormatError as error:
            if len(parts) == 1:
                return [Refused(parts[0].node.name, error)]
        return [one for part in parts for one in self._stack([part])]

    def _part(self, name: str, scope: Scope, proto: Proto) -> _Part:
        if len(proto.input) < 3 or not proto.output:
            raise ValueError("its inputs X, W and R, or its outputs, are missing")
        found = options(scope.attributes_of(proto))
        inputs = [*INPUTS, *QUANTISED] if proto.op_type == "DynamicQuantizeLSTM" else INPUTS
        given = {key: value for key, value in zip(inputs, proto.input, strict=False) if value}
        arrays = {key: self._constant(scope, given, key) for key in "WRBP" if key in given}
        assumptions = []
        if proto.op_type == "DynamicQuantizeLSTM":
            for key in "WR":
                arrays[key] = self._dequantised(scope, given, key, arrays[key])
            assumptions.append(
                f"{name}: W and R have 8 bits in the file and are float32 here; onnxruntime rounds "
                "x and h to 8 bits, too, so its values differ"
            )
        state, more, left_out = self._state(scope, given, found)
        arrays |= state
        left_out += self._lengths(scope, given, found)
        notes = [*found.notes, *(f"{name}: {text}" for text in more)]
        assumptions += [f"{name}: {text}" for text in left_out]
        notes += [
            f"{name}: {key} is {arrays[key].dtype} in the file, here rounded to float32"
            for key in arrays
            if arrays[key].dtype.itemsize > 4
        ]
        sources = {
            key: f"{key} of node {name} ({self._constants.source(scope, given[key])})"
            for key in arrays
        }
        self._file.keep(sum(4 * value.size for value in arrays.values()))
        whole = layers(found, arrays)
        node = Node(name, scope, proto, found, whole[0].hidden_size, whole[0].input_size)
        return _Part(node, whole, sources, tuple(notes), tuple(assumptions))

    def _constant(self, scope: Scope, given: dict[str, str], key: str) -> Array:
        value = self._constants.value(scope, given[key]) if key in given else Unknown("nothing")
        if isinstance(value, Unknown):
            raise ValueError(f"{key} is not in the file: it is {value.why}")
        return value

    def _dequantised(self, scope: Scope, given: dict[str, str], key: str, value: Array) -> Array:
        """Return W or R in float32 and in LSTM's layout, (D, 4H, K); it is kept as (D, K, 4H)."""
        scale = self._constant(scope, given, f"{key}_scale")
        zero = None
        if f"{key}_zero_point" in given:
            zero = self._constant(scope, given, f"{key}_zero_point")
        if value.ndim != 3:
            raise ValueError(f"{key} has shape {value.shape}, expected (directions, columns, rows)")
        if scale.size not in (value.shape[0], value.shape[0] * value.shape[2]):
            raise ValueError(f"{key}_scale has shape {scale.shape}, {key} {value.shape}")
        scale = scale.reshape(value.shape[0], 1, -1)
        rows: Array = dequantise(value, scale, zero, self._file).transpose(0, 2, 1)
        return rows

    def _state(
        self, scope: Scope, given: dict[str, str], found: Options
    ) -> tuple[dict[str, Array], list[str], list[str]]:
        """Return the trained initial state, as far as there is one, notes, and what is left out."""
        arrays: dict[str, Array] = {}
        notes: list[str] = []
        left_out: list[str] = []
        if "sequence_lens" in given:
            notes.append(f"sequence_lens ({given['sequence_lens']}) is for you to give, as lengths")
        for key in ("initial_h", "initial_c"):
            if key not in given:
                continue
            value = self._states.value(scope, given[key])
            if isinstance(value, Unknown):
                kind = self._states.depends(scope, given[key])
                why = value.why
                if kind == "data":
                    why = f"{given[key]!r}, which is computed when the model runs"
                text = f"{key} is {why}; left out: streams start from zeros"
                if not value.zeros:  # the caller gives an input here, too, as state=
                    (notes if kind == "an input" else left_out).append(text)
            elif np.any(value):
                row = initial_row(value, found, key)
                if row is None:
                    left_out.append(f"{key} differs from sequence to sequence; left out")
                else:
                    arrays[key] = row
        return arrays, notes, left_out

    def _lengths(self, scope: Scope, given: dict[str, str], found: Options) -> list[str]:
        """Return in words how the model itself ends sequences early, as for a mask."""
        name = given.get("sequence_lens")
        if name is None:
            return []
        kind = self._constants.depends(scope, name)
        if kind == "data":
            return [
                f"sequence_lens ({name}) is computed when the model runs, as from a mask: steps "
                "beyond it are left out there, here every frame counts"
            ]
        value = self._constants.value(scope, name) if kind == "constants" else Unknown("")
        steps = scope.shapes.get(given.get("X", ""), (None, None))[found.layout :][:1]
        if isinstance(value, Unknown) or all(value.ravel() == (steps or (None,))[0]):
            return []
        some = ", ".join(str(one) for one in value.ravel()[:5].tolist())
        return [
            f"sequence_lens is {some} in the file: steps beyond it are left out there, here every "
            "frame counts"
        ]

    def _found(self, parts: list[_Part]) -> Found:
        """Return the stack of these nodes, from the bottom up."""
        directions = parts[0].node.options.num_directions
        order = ", ".join(ORDERS["onnx"].replace("g", "c"))
        sources: dict[str, str] = {}
        for n, part in enumerate(parts):
            for reverse in range(directions):
                is_reverse = reverse or part.node.options.direction == "reverse"
                suffix = f"_l{n}_reverse" if is_reverse else f"_l{n}"
                for key, text in part.sources.items():
                    gates = (
                        f", gates {order}"
                        if key in "WRB"
                        else ", gates i, o, f"
                        if key == "P"
                        else ""
                    )
                    sources.update({kind + suffix: text + gates for kind in MEANT[key]})
        name = parts[0].node.name
        layers = [layer for part in parts for layer in part.layers]
        with checked(self._path, f"node {name!r}"):
            weights = make_weights(layers, parts[0].node.options.direction, sources)
        notes = [note for part in parts for note in part.notes]
        names = tuple(part.node.name for part in parts) if len(parts) > 1 else ()
        if names:
            notes.insert(0, "a stack of " + ", ".join(names))
        assumptions = tuple(text for part in parts for text in part.assumptions)
        return Found(name, weights, sources, tuple(notes), assumptions, names)


def _stack(below: dict[Node, Node | None], top: Node) -> list[Node]:
    """Return the nodes from the bottom up."""
    stack, node = [top], below[top]
    while node is not None:
        stack.append(node)
        node = below[node]
    return stack[::-1]


def _distinct(found: list[Found | Refused]) -> list[Found | Refused]:
    """Return those with weights of their own; exporters write a node into each branch of an If."""
    if len(found) == 1:
        return found
    kept: dict[object, Found | Refused] = {}
    for one in found:
        if isinstance(one, Refused):
            kept[one.name] = one
            continue
        key = (one.weights.direction, *map(_fingerprint, one.weights.layers))
        first = kept.get(key)
        if isinstance(first, Found):
            note = f"node {one.name} has the same weights"
            kept[key] = replace(first, notes=(*first.notes, note))
        else:
            kept[key] = one
    return list(kept.values())


def _bytes(one: Found | Refused) -> int:
    if isinstance(one, Refused):
        return 0
    return sum(v.nbytes for layer in one.weights.layers for v in layer.parameters().values())


def _fingerprint(layer: LayerWeights) -> tuple[object, ...]:
    values = layer.parameters().items()
    return layer.cell, *((k, v.shape, hashlib.sha256(v.data).digest()) for k, v in values)
