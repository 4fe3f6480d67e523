"""TFLite's LSTM operators: their inputs by name, and the weights that they are.

The kernels compute what `Cell` says: peepholes into the sums, then layer normalisation, then the
bias; the fused activation is that of g and of the output, the gates are sigmoids. (As in TFLite's
lstm_eval.cc, and as its interpreter computes: tests/formats/test_tflite*.py.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..._weights import LayerWeights
from ...cell import Activation, Cell
from .._files import FormatError, checked
from ..gates import to_pytorch
from ._file import STORED, File, Operator, Subgraph, Tensor

# The gates in the order of the operators' inputs, and in the order of our rows i, f, g, o.
GATES = ("input", "forget", "cell", "output")
ROWS = ("input", "forget", "cell", "output")
PEEPHOLES = ("input", "forget", "output")
BASIC_ORDER = "tensorflow1"  # of the rows of LSTM's basic kernel: i, g, f, o

SEQUENCE, SINGLE = "UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM"
BIDIRECTIONAL = "BIDIRECTIONAL_SEQUENCE_LSTM"
CODES = (SEQUENCE, SINGLE, BIDIRECTIONAL)
FULL, BASIC = 0, 1  # kernel_type of LSTM
OPTIONS = {
    SEQUENCE: "UnidirectionalSequenceLSTMOptions",
    SINGLE: "LSTMOptions",
    BIDIRECTIONAL: "BidirectionalSequenceLSTMOptions",
}
# NONE is not a linear activation: for it the kernels leave the output of the cell unwritten.
ACTIVATIONS = {"TANH": "tanh", "RELU": "relu"}


@dataclass(frozen=True)
class Graph:
    """A subgraph's operators, and who makes and who uses each tensor."""

    file: File
    subgraph: Subgraph
    operators: list[Operator]
    makers: dict[int, Operator]
    users: dict[int, list[tuple[Operator, int]]]
    outputs: set[int]

    @classmethod
    def of(cls, file: File, subgraph: Subgraph) -> Graph:
        """Read a subgraph."""
        operators = subgraph.operators()
        makers: dict[int, Operator] = {}
        users: dict[int, list[tuple[Operator, int]]] = {}
        for operator in operators:
            for tensor in operator.outputs:
                makers.setdefault(tensor, operator)
            for place, tensor in enumerate(operator.inputs):
                users.setdefault(tensor, []).append((operator, place))
        return cls(file, subgraph, operators, makers, users, subgraph.outputs())

    def constant(self, index: int) -> Tensor:
        """Return the tensor with the values of this one, behind a DEQUANTIZE if there is one."""
        tensor = self.subgraph.tensor(index)
        if self.file.is_constant(tensor):
            return tensor
        maker = self.makers.get(index)
        if maker is not None and maker.code == "DEQUANTIZE" and maker.inputs:
            source = self.subgraph.tensor(maker.inputs[0])
            if self.file.is_constant(source):
                return source
        by = f"computed by {maker}" if maker else "an input of the graph"
        raise FormatError(f"{self.file.source}: {tensor} is {by}; weights must be constants")


@dataclass
class Layer:
    """One direction of an operator: its weights, and the rest as of `Found`."""

    weights: LayerWeights
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)


def input_names(operator: Operator) -> list[dict[str, int]]:
    """Return for each direction the places of its inputs by their names.

    Raises:
        ValueError: there are not as many inputs as the operator has.
    """
    peepholes = [gate for gate in GATES if gate != "cell"]
    names = [f"input_to_{gate}" for gate in GATES] + [f"recurrent_to_{gate}" for gate in GATES]
    names += [f"cell_to_{gate}" for gate in peepholes] + [f"{gate}_bias" for gate in GATES]
    names += ["projection", "projection_bias"]
    count = len(operator.inputs)
    if operator.code == BIDIRECTIONAL:
        if count != 48:
            raise ValueError(f"has {count} inputs, not 48")
        directions = []
        for first, state in ((1, 35), (18, 37)):
            places = {name: first + n for n, name in enumerate(names)}
            directions.append({**places, "output_state": state, "cell_state": state + 1})
        return directions
    if count not in (20, 24):
        raise ValueError(f"has {count} inputs, not 20 or 24")
    names += ["output_state", "cell_state"] + [f"{gate}_layer_norm" for gate in GATES]
    return [{name: 1 + n for n, name in enumerate(names[: count - 1])}]


def options_of(graph: Graph, operator: Operator) -> Any:
    """Return an operator's options, as the class that its code takes."""
    schema, name = graph.file.schema, OPTIONS[operator.code]
    with graph.file.reading(str(operator)):
        table = operator.table.BuiltinOptions()
        if table is None or operator.table.BuiltinOptionsType() != getattr(
            schema.BuiltinOptions, name
        ):
            raise ValueError(f"has no {name}")
        options = getattr(schema, name)()
        options.Init(table.Bytes, table.Pos)
        return options


def _cell(graph: Graph, operator: Operator, coupled: bool, projected: bool) -> Cell:
    """Return the cell that the options ask for."""
    options = options_of(graph, operator)
    with graph.file.reading(str(operator)):
        if operator.code == SEQUENCE and options.DiagonalRecurrentTensors():
            raise ValueError("has diagonal recurrent weights, which are not supported")
        names = vars(graph.file.schema.ActivationFunctionType).items()
        value = options.FusedActivationFunction()
        fused = next((name for name, number in names if number == value), f"number {value}")
        if fused not in ACTIVATIONS:
            raise ValueError(
                f"has the fused activation {fused}; those of an LSTM that can be computed are "
                + ", ".join(ACTIVATIONS)
            )
        clips = [options.CellClip(), options.ProjClip() if projected else 0.0]
        if not all(clip >= 0 for clip in clips):
            raise ValueError(f"has a clip that is not 0 or more: {clips[0]}, {clips[1]}")
        # 0 is none; and infinity clips nothing.
        cell_clip, proj_clip = (c if c > 0 and math.isfinite(c) else None for c in clips)
        activation = Activation(ACTIVATIONS[fused])
        return Cell(
            input=activation,
            output=activation,
            cell_clip=cell_clip,
            proj_clip=proj_clip,
            coupled="forget" if coupled else None,
        )


class _Reader:
    """Reads one direction of one operator."""

    def __init__(self, graph: Graph, operator: Operator, places: dict[str, int]) -> None:
        self.graph, self.operator = graph, operator
        inputs = operator.inputs
        self.given = {name: inputs[place] for name, place in places.items() if inputs[place] >= 0}
        self.types: set[str] = set()
        self.sources: dict[str, list[str]] = {}

    def refuse(self, text: str) -> FormatError:
        return FormatError(f"{self.graph.file.source}: {self.operator}: {text}")

    def check(self) -> None:
        """Refuse what is not a float LSTM, and what has not all of its parts."""
        for name in ("output_state", "cell_state"):
            if name not in self.given:
                raise self.refuse(f"{name} is missing")
            tensor = self.graph.subgraph.tensor(self.given[name])
            if tensor.type != "FLOAT32":
                raise self.refuse(integer_text(name, tensor))
            if not tensor.variable:
                raise self.refuse(f"{name}, {tensor}, is not a variable tensor, as TFLite's own is")
        always = ["input_to_forget", "recurrent_to_forget"]
        for name in always:
            if name not in self.given:
                raise self.refuse(f"{name} is missing")
        self.coupled = "input_to_input" not in self.given
        peephole = any(f"cell_to_{gate}" in self.given for gate in PEEPHOLES)
        norm = any(f"{gate}_layer_norm" in self.given for gate in ROWS)
        for name in (
            [f"{way}_to_{gate}" for way in ("input", "recurrent") for gate in ROWS]
            + [f"cell_to_{gate}" for gate in PEEPHOLES if peephole]
            + [f"{gate}_bias" for gate in ROWS]
            + [f"{gate}_layer_norm" for gate in ROWS if norm]
        ):
            of_input = name.endswith("_to_input") or name in ("input_bias", "input_layer_norm")
            if of_input and self.coupled and name in self.given:
                raise self.refuse(f"{name} is there, but input_to_input is not: one is missing")
            if not (of_input and self.coupled) and name not in self.given:
                raise self.refuse(f"{name} is missing")

    def shape(self, name: str) -> tuple[int, int]:
        """Return the shape of a matrix whose bytes are all there."""
        tensor = self.graph.constant(self.given[name])
        if len(tensor.shape) != 2:
            raise self.refuse(
                f"{name}, {tensor}, has shape {tensor.shape}, expected two dimensions"
            )
        if tensor.type in STORED:
            self.graph.file.values(tensor, STORED[tensor.type])
        return tensor.shape[0], tensor.shape[1]

    def take(self, kind: str, name: str, shape: tuple[int, ...]) -> Float32:
        """Return the values of an input, and remember that they are (part of) our `kind`."""
        tensor = self.graph.constant(self.given[name])
        if tensor.shape != shape:
            raise self.refuse(f"{name}, {tensor}, has shape {tensor.shape}, expected {shape}")
        self.types.add(tensor.type)
        self.sources.setdefault(kind, []).append(f"{name} ({tensor})")
        return self.graph.file.floats(tensor)

    def rows(self, kind: str, template: str, gates: tuple[str, ...], *shape: int) -> Float32:
        """Return the blocks of some gates, each of that shape; zeros for one that is coupled."""
        self.graph.file.take_memory(len(gates) * math.prod(shape))
        value = np.zeros((len(gates) * shape[0], *shape[1:]), np.float32)
        for n, gate in enumerate(gates):
            name = template.format(gate)
            if name in self.given:
                value[n * shape[0] : (n + 1) * shape[0]] = self.take(kind, name, shape)
        return value

    def layer(self) -> Layer:
        """Return the weights."""
        self.check()
        (units, inputs), (_, below) = (
            self.shape("input_to_forget"),
            self.shape("recurrent_to_forget"),
        )
        if below != units and "projection" not in self.given:
            raise self.refuse(
                f"recurrent_to_forget has {below} columns for {units} units, but no projection"
            )
        parts = {
            "weight_ih": self.rows("weight_ih", "input_to_{}", ROWS, units, inputs),
            "weight_hh": self.rows("weight_hh", "recurrent_to_{}", ROWS, units, below),
            "bias_ih": self.rows("bias_ih", "{}_bias", ROWS, units),
            "bias_hh": np.zeros(4 * units, np.float32),  # there is only one
        }
        if "cell_to_forget" in self.given:
            parts["peephole"] = self.rows("peephole", "cell_to_{}", PEEPHOLES, units)
        if "forget_layer_norm" in self.given:
            parts["layer_norm"] = self.rows("layer_norm", "{}_layer_norm", ROWS, units)
        projected = "projection" in self.given
        if projected:
            self.graph.file.take_memory(below * units)
            parts["weight_hr"] = self.take("weight_hr", "projection", (below, units))
            if "projection_bias" in self.given:
                parts["bias_hr"] = self.take("bias_hr", "projection_bias", (below,))
        cell = _cell(self.graph, self.operator, self.coupled, projected)
        weights = LayerWeights(**parts, cell=cell)
        sources = {kind: f"{self.operator}: {', '.join(v)}" for kind, v in self.sources.items()}
        return Layer(weights, sources, self.notes(), self.assumptions())

    def notes(self) -> list[str]:
        state = self.graph.subgraph.tensor(self.given["output_state"])
        notes = [f"{self.operator} keeps its state in {state.name!r} and starts from zeros"]
        if "FLOAT16" in self.types:
            notes.append(f"{self.operator} has float16 weights, widened to float32")
        return notes

    def assumptions(self) -> list[str]:
        if not self.types & {"INT8", "UINT8"}:
            return []
        return [
            f"{self.operator} has int8 weights, dequantised to float32: TFLite also rounds the "
            "input and h to int8 in each step, this does not (weight_dtype='int8' does, in its "
            "own way)"
        ]


def integer_text(what: str, tensor: Tensor) -> str:
    """Say what to do about an LSTM whose activations are whole numbers."""
    return (
        f"{what}, {tensor}, is {tensor.type}: a fully integer LSTM, whose state is quantised too; "
        "convert without a representative dataset (float32 or dynamic range quantisation), and "
        "load that with weight_dtype='int8'"
    )


def check_input(graph: Graph, operator: Operator) -> None:
    """Refuse an operator whose input is not float32."""
    if not operator.inputs or not operator.outputs:
        raise FormatError(f"{graph.file.source}: {operator}: has no inputs or no outputs")
    tensor = graph.subgraph.tensor(operator.inputs[0])
    if tensor.type != "FLOAT32":
        raise FormatError(f"{graph.file.source}: {operator}: {integer_text('its input', tensor)}")


def is_basic(graph: Graph, operator: Operator) -> bool:
    """Whether it is LSTM's basic kernel: one matrix, one step, the state as an input."""
    if operator.code != SINGLE:
        return False
    with graph.file.reading(str(operator)):
        return bool(options_of(graph, operator).KernelType() == BASIC)


def _basic_layer(graph: Graph, operator: Operator) -> Layer:
    """Read the basic kernel: weights (4H, I + H), the input's columns first, gates i, g, f, o."""
    part = f"{graph.file.source}: {operator}"
    if len(operator.inputs) != 5:
        raise FormatError(f"{part}: has {len(operator.inputs)} inputs, not 5")
    options = options_of(graph, operator)
    with graph.file.reading(str(operator)):
        tanh = graph.file.schema.ActivationFunctionType.TANH
        if options.FusedActivationFunction() != tanh or options.CellClip() or options.ProjClip():
            raise ValueError("the basic kernel has tanh and no clips, which its options do not say")
    weights, bias = (graph.constant(operator.inputs[place]) for place in (2, 3))
    for tensor in (weights, bias):
        if tensor.type not in ("FLOAT32", "FLOAT16"):
            raise FormatError(f"{part}: {integer_text('its weights', tensor)}")
    shape = weights.shape
    units = bias.shape[0] // 4 if len(bias.shape) == 1 else 0
    if len(shape) != 2 or (4 * units,) != bias.shape or shape[0] != 4 * units or shape[1] <= units:
        raise FormatError(
            f"{part}: {weights} has shape {shape} and {bias} {bias.shape}, "
            "expected (4H, I + H) and (4H,)"
        )
    graph.file.values(weights, STORED[weights.type])
    graph.file.take_memory(math.prod(shape))
    with checked(graph.file.source, str(operator)):
        rows = to_pytorch(graph.file.floats(weights), BASIC_ORDER)
        bias_ih = to_pytorch(graph.file.floats(bias), BASIC_ORDER)
    inputs = shape[1] - units
    layer = LayerWeights(
        rows[:, :inputs], rows[:, inputs:], bias_ih, np.zeros(4 * units, np.float32)
    )
    sources = {
        "weight_ih": f"{operator}: {weights}, columns up to {inputs}, gates i, g, f, o",
        "weight_hh": f"{operator}: {weights}, columns from {inputs}, gates i, g, f, o",
        "bias_ih": f"{operator}: {bias}, gates i, g, f, o",
    }
    return Layer(layer, sources, [f"{operator} is the basic kernel: its state is an input"])


def read_layers(graph: Graph, operator: Operator) -> list[Layer]:
    """Return the weights of an operator: one layer, or forward and backward.

    Raises:
        FormatError: it is damaged, or nothing that a float LSTM could compute.
    """
    check_input(graph, operator)
    if is_basic(graph, operator):
        return [_basic_layer(graph, operator)]
    with checked(graph.file.source, str(operator)):
        directions = input_names(operator)
    if operator.code == BIDIRECTIONAL and any(index >= 0 for index in operator.inputs[39:]):
        raise FormatError(
            f"{graph.file.source}: {operator}: has an auxiliary input, which is not supported"
        )
    return [_Reader(graph, operator, places).layer() for places in directions]
