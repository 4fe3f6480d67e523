"""Models with one LSTM op or more, built with the object API of TFLite's own schema.

For what no converter writes (CIFG, peepholes, projection, layer normalisation): the file is ours,
but what it computes is said by TensorFlow's interpreter.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

GATES = ("input", "forget", "cell", "output")
TYPES = {
    "float32": "FLOAT32",
    "float16": "FLOAT16",
    "int8": "INT8",
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
}


class Graph:
    """Tensors and operators of one subgraph; `schema` is TFLite's schema_py_generated."""

    def __init__(self, schema: Any):
        self.schema = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name, shape, data=None, *, type="float32", variable=False, scale=None, axis=0):
        """Add a tensor and return its index; scale: of a quantised one, one or one per channel."""
        one = self.schema.TensorT()
        one.name, one.shape, one.isVariable = name, list(shape), variable
        one.type = getattr(self.schema.TensorType, TYPES[type])
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            one.buffer = len(self.model.buffers) - 1
        if scale is not None:
            one.quantization = self.schema.QuantizationParametersT()
            one.quantization.scale = [float(s) for s in np.atleast_1d(scale)]
            one.quantization.zeroPoint = [0] * np.size(scale)
            one.quantization.quantizedDimension = axis
        self.graph.tensors.append(one)
        return len(self.graph.tensors) - 1

    def constant(self, name, value, **options):
        """Add a tensor with data; None is an optional input that is not there."""
        if value is None:
            return -1
        return self.tensor(name, value.shape, value, type=value.dtype.name, **options)

    def op(self, name, inputs, outputs, options=None, version=1):
        """Add an operator; options: an object of the schema."""
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        self.model.operatorCodes.append(code)
        one = self.schema.OperatorT()
        one.opcodeIndex = len(self.model.operatorCodes) - 1
        one.inputs, one.outputs = list(inputs), list(outputs)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            one.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            one.builtinOptions = options
        self.graph.operators.append(one)

    def build(self, inputs, outputs) -> bytes:
        """Return the file's bytes."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def random_parts(
    rng, inputs, units, *, outputs=0, cifg=False, peephole=False, norm=False, bias=False
):
    """Draw an LSTM's tensors by TFLite's names, each gate with values of its own.

    outputs: the size of the projection, 0 without; bias: whether the projection has one.
    """

    def draw(*shape, low=-1.0):
        return rng.uniform(low, 1.0, shape).astype(np.float32)

    below = outputs or units
    parts = {}
    for gate in GATES[1:] if cifg else GATES:
        parts[f"input_to_{gate}"] = draw(units, inputs)
        parts[f"recurrent_to_{gate}"] = draw(units, below)
        parts[f"{gate}_bias"] = draw(units)
        if peephole and gate != "cell":
            parts[f"cell_to_{gate}"] = draw(units)
        if norm:
            parts[f"{gate}_layer_norm"] = draw(units, low=0.25)
    if outputs:
        parts["projection"] = draw(outputs, units)
        parts["projection_bias"] = draw(outputs) if bias else None
    return parts


def input_names(count: int) -> list[str]:
    """Name the op's inputs after the first one, in their order; count is 20 or 24."""
    names = [f"input_to_{gate}" for gate in GATES] + [f"recurrent_to_{gate}" for gate in GATES]
    names += [f"cell_to_{gate}" for gate in ("input", "forget", "output")]
    names += [f"{gate}_bias" for gate in GATES] + ["projection", "projection_bias", "h", "c"]
    return names + [f"{gate}_layer_norm" for gate in GATES][: count - 20]


def sequence_options(schema, activation="TANH", cell_clip=0.0, proj_clip=0.0, time_major=False):
    """Return the options of UNIDIRECTIONAL_SEQUENCE_LSTM."""
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation)
    options.cellClip, options.projClip, options.timeMajor = cell_clip, proj_clip, time_major
    return options


def add_lstm(graph, x, parts, *, scales=None, name="lstm", steps=1, batch=1, **options):
    """Add one UNIDIRECTIONAL_SEQUENCE_LSTM over tensor x; return its output's index.

    scales: of the parts that are int8, by name.
    """
    units = len(parts["forget_bias"])
    outputs = parts["recurrent_to_forget"].shape[1]
    count = 24 if "forget_layer_norm" in parts else 20
    states = {
        "h": graph.tensor(f"{name}/h", (batch, outputs), variable=True),
        "c": graph.tensor(f"{name}/c", (batch, units), variable=True),
    }
    inputs = [x]
    for part in input_names(count):
        scale = (scales or {}).get(part)
        inputs.append(
            states[part]
            if part in states
            else graph.constant(f"{name}/{part}", parts.get(part), scale=scale)
        )
    shape = (steps, batch, outputs) if options.get("time_major") else (batch, steps, outputs)
    y = graph.tensor(f"{name}/y", shape)
    graph.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [y], sequence_options(graph.schema, **options))
    return y


def one_lstm(schema, parts, *, steps=1, **options) -> bytes:
    """Return a model of one UNIDIRECTIONAL_SEQUENCE_LSTM for a batch of 1."""
    graph = Graph(schema)
    inputs = parts["input_to_forget"].shape[1]
    shape = (steps, 1, inputs) if options.get("time_major") else (1, steps, inputs)
    x = graph.tensor("x", shape)
    return graph.build([x], [add_lstm(graph, x, parts, steps=steps, **options)])


def bidirectional(schema, parts, *, steps=1, merge=True) -> bytes:
    """Return a model of one BIDIRECTIONAL_SEQUENCE_LSTM; parts: forward and backward."""
    graph = Graph(schema)
    units, inputs = parts[0]["input_to_forget"].shape
    below = parts[0]["recurrent_to_forget"].shape[1]
    x = graph.tensor("x", (1, steps, inputs))
    places = [x]
    for way, ones in zip(("forward", "backward"), parts, strict=True):
        names = [name for name in input_names(20) if name not in ("h", "c")]
        places += [graph.constant(f"{way}/{name}", ones.get(name)) for name in names]
    for way in ("forward", "backward"):
        places.append(graph.tensor(f"{way}/h", (1, below), variable=True))
        places.append(graph.tensor(f"{way}/c", (1, units), variable=True))
    places += [-1] * 9  # no auxiliary input
    options = schema.BidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    options.mergeOutputs, options.timeMajor = merge, False
    if merge:
        outputs = [graph.tensor("y", (1, steps, 2 * below))]
    else:
        outputs = [graph.tensor(name, (1, steps, below)) for name in ("y", "y_backward")]
    graph.op("BIDIRECTIONAL_SEQUENCE_LSTM", places, outputs, options)
    return graph.build([x], outputs)


def basic_lstm(schema, rng, inputs, units) -> bytes:
    """Return a model of one step of LSTM's basic kernel: x, h and c in, h and c out."""
    graph = Graph(schema)
    weights = rng.uniform(-1, 1, (4 * units, inputs + units)).astype(np.float32)
    bias = rng.uniform(-1, 1, 4 * units).astype(np.float32)
    x, h, c = (
        graph.tensor(name, (1, size)) for name, size in (("x", inputs), ("h", units), ("c", units))
    )
    parts = [graph.constant("weights", weights), graph.constant("bias", bias)]
    new_h, new_c = graph.tensor("new_h", (1, units)), graph.tensor("new_c", (1, units))
    scratch = graph.tensor("concat", (1, inputs + units)), graph.tensor("gates", (1, 4 * units))
    options = schema.LSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    options.kernelType = schema.LSTMKernelType.BASIC
    graph.op("LSTM", [x, h, *parts, c], [new_h, new_c, *scratch], options, version=2)
    return graph.build([x, h, c], [new_h, new_c])
