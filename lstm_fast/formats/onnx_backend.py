"""LSTM nodes of ONNX run by lstm_fast, as the class that ONNX's own backend tests take.

    prepared = LstmFastBackend.prepare(model)      # a ModelProto that is one LSTM node
    y, y_h, y_c = prepared.run([x, w, r, b])       # the inputs of its graph, in order

This is for conformance tests and for trying a node: weights may come at run time, and every call
packs them anew. `lstm_fast.load` is for real work. Importing this module takes the package onnx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

from .._weights import make_weights
from ..lstm import LSTM
from .onnx._file import Array, Proto
from .onnx._graph import scope_of
from .onnx._lstm import INPUTS, layers, options

__all__ = ["LstmFastBackend", "PreparedNode"]


class PreparedNode(BackendRep):
    """One LSTM node, ready to be run.

    Args:
        model: a model that is one LSTM node; its initialisers and inputs are the node's.
        backend, isa: of lstm_fast; None takes the best one.

    Raises:
        TypeError, ValueError: the node has an attribute that makes no sense.
    """

    def __init__(self, model: Proto, backend: str | None = None, isa: str | None = None) -> None:
        graph = model.graph
        (self._node,) = graph.node
        self._options = options(scope_of(graph, None).attributes_of(self._node))
        self._constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._inputs = [value.name for value in graph.input if value.name not in self._constants]
        self._outputs = [output.name for output in graph.output]
        self._choice: dict[str, Any] = {"backend": backend, "isa": isa}

    def run(self, inputs: Sequence[Any], **_: Any) -> tuple[Array, ...]:
        """Return the graph's outputs.

        Args:
            inputs: of the graph, without its initialisers, in order.

        Raises:
            ValueError: a shape does not fit.
        """
        values = {**self._constants, **dict(zip(self._inputs, inputs, strict=True))}
        names = zip(INPUTS, self._node.input, strict=False)
        given = {key: np.asarray(values[name]) for key, name in names if name}
        results = dict(zip(self._node.output, self._compute(given), strict=False))
        return tuple(results[name] for name in self._outputs)

    def _compute(self, given: dict[str, Array]) -> tuple[Array, Array, Array]:
        found = self._options
        parts = {key: given[key] for key in "WRBP" if key in given}
        lstm = LSTM.from_weights(
            make_weights(layers(found, parts), found.direction), **self._choice
        )
        # Ours are (N, T, I) and (D, N, H), which layout 0 has as (T, N, I) and 1 as (N, D, H).
        xs = given["X"] if found.layout else given["X"].swapaxes(0, 1)
        state = np.zeros((2, found.num_directions, len(xs), lstm.hidden_size), np.float32)
        for part, key in zip(state, ("initial_h", "initial_c"), strict=True):
            if key in given:
                part[:] = given[key].swapaxes(0, 1) if found.layout else given[key]
        ys, (h, c) = lstm(xs, state=(state[0], state[1]), lengths=given.get("sequence_lens"))
        split = ys.reshape(*ys.shape[:2], found.num_directions, lstm.hidden_size)  # (N, T, D, H)
        y = split if found.layout else split.transpose(1, 2, 0, 3)
        ends = (part.swapaxes(0, 1) if found.layout else part for part in (h, c))
        y_h, y_c = (np.ascontiguousarray(part, given["X"].dtype) for part in ends)
        return np.ascontiguousarray(y, given["X"].dtype), y_h, y_c


class LstmFastBackend(Backend):
    """What `onnx.backend.test` asks for: models that are one LSTM node, on the CPU."""

    @classmethod
    def is_compatible(cls, model: Proto, device: str = "CPU", **_: Any) -> bool:
        """Tell whether it is one LSTM node, for the CPU."""
        nodes = model.graph.node
        return cls.supports_device(device) and len(nodes) == 1 and nodes[0].op_type == "LSTM"

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Tell whether it is the CPU."""
        return device == "CPU"

    @classmethod
    def prepare(cls, model: Proto, device: str = "CPU", **options: Any) -> PreparedNode:
        """Return the model, ready to be run; backend= and isa= as for `PreparedNode`."""
        if not cls.is_compatible(model, device):
            raise ValueError("expected a model that is one LSTM node, for the CPU")
        return PreparedNode(model, options.get("backend"), options.get("isa"))

    @classmethod
    def run_node(
        cls,
        node: Proto,
        inputs: Sequence[Any],
        device: str = "CPU",
        outputs_info: Any = None,
        **options: Any,
    ) -> tuple[Array, ...]:
        """Run one node; inputs are those that it names, in order."""
        float32 = onnx.TensorProto.FLOAT
        described = [onnx.helper.make_tensor_value_info(n, float32, None) for n in node.input if n]
        outputs = [onnx.helper.make_tensor_value_info(n, float32, None) for n in node.output if n]
        graph = onnx.helper.make_graph([node], "node", described, outputs)
        return cls.prepare(onnx.helper.make_model(graph), device, **options).run(inputs)
