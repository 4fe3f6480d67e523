"""ONNX's LSTM and GRU nodes as operations of a program, a step at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...operations import cell_attributes
from ..gates import gru_to_pytorch
from ._file import Array
from ._lstm import INPUTS, initial_row, layers, options
from ._program_advice import FIX_AXIS
from ._program_builder import Sym, UnsupportedError, Value, shape_of
from ._program_nodes import Node, Start, lowering

MOST_STEPS = 256  # that one step of a session may take of a recurrent node
GRU_ATTRIBUTES = {"activations", "direction", "hidden_size", "layout", "linear_before_reset"}
GRU_ATTRIBUTES |= {"output_sequence", "clip", "activation_alpha", "activation_beta"}


class _Frames:
    """What all recurrent nodes share: the frames of X, the layout, the state."""

    def __init__(self, node: Node, layout: int) -> None:
        self._node, self._layout = node, layout
        self._x = node.of_kind(node.need(0))
        shape = shape_of(self._x)
        if len(shape) != 3:
            raise ValueError(f"X has shape {shape}, expected three axes")
        self.steps, batch = (shape[1], shape[0]) if layout else (shape[0], shape[1])
        self.input_size = shape[2]
        if batch != 1:  # where only shapes are wanted, too: it would start anew in each frame
            raise UnsupportedError(
                f"X, of shape {shape}, is a batch of {batch}; a step has one session: {FIX_AXIS}"
            )
        if self.steps > MOST_STEPS and not node.builder.is_aside:
            raise UnsupportedError(
                f"X, of shape {shape}, has {self.steps} steps, more than {MOST_STEPS}"
            )
        lengths = node.given(4)
        if isinstance(lengths, Sym) or (lengths is not None and np.any(lengths != self.steps)):
            raise UnsupportedError("sequence_lens ends sequences early")

    def walked(self) -> range:
        """Return the steps that are computed; one where only shapes are wanted."""
        return range(1 if self._node.builder.is_aside else self.steps)

    def frame(self, step: int) -> int:
        """Return the tensor (I,) of one frame."""
        builder, size = self._node.builder, self.input_size
        if self.steps == 1:
            return builder.shaped(self._x, (size,))
        rows = builder.shaped(self._x, (self.steps, size))
        row = builder.emit(
            "slice", [rows], (1, size), starts=(step, 0), ends=(step + 1, size), steps=(1, 1)
        )
        return builder.shaped(Sym(row, (1, size)), (size,))

    def state(
        self,
        index: int,
        name: str,
        initial: Array | None,
        size: int,
        weights: Sequence[int],
    ) -> tuple[str, int]:
        """Return where a state starts: the name of a register of our own, "" for none, its tensor.

        initial: (H,), what the file has for input `index`, where that is not a computed value.
        weights: tensors of the node.
        """
        own, tensor = self._start(index, name, initial, size)
        starts = self._node.registers.starts.setdefault(self._node.name, [])
        starts.append(Start(name, own, tensor, tuple(weights)))
        return own, tensor

    def _start(self, index: int, name: str, initial: Array | None, size: int) -> tuple[str, int]:
        value = self._node.given(index)
        if isinstance(value, Sym):
            if value.shape not in ((1, 1, size), (1, 1, 1, size)):
                raise ValueError(f"initial_{name} has shape {value.shape}, expected (1, 1, {size})")
            return "", self._node.builder.shaped(self._node.of_kind(value), (size,))
        values = np.zeros(size, np.float32) if initial is None else initial.astype(np.float32)
        return self._node.registers.new(f"{self._node.name}.{name}", values.reshape(size))

    def outputs(self, ys: Sequence[int], *states: int) -> list[Value]:
        """Return Y of these tensors, then the last state of each kind."""
        builder = self._node.builder
        size = builder.shape(ys[0])[0]
        whole = (1, self.steps, 1, size) if self._layout else (self.steps, 1, 1, size)
        y = ys[0]
        if len(ys) > 1:
            rows = [builder.shaped(Sym(one, (size,)), (1, size)) for one in ys]
            y = builder.emit("concat", rows, (len(ys), size), axis=0)
        last = [Sym(one, (1, 1, builder.shape(one)[0])) for one in states]
        return [Sym(y, whole), *last]


@lowering("LSTM")
def _lstm(node: Node) -> list[Value]:
    found = options(node.attributes)
    if found.direction != "forward":
        raise UnsupportedError(f"it is {found.direction}, so it looks into the future")
    arrays = {
        name: value
        for index, name in enumerate(INPUTS)
        if name in ("W", "R", "B", "P") and (value := node.known(index, name)) is not None
    }
    initial: dict[str, Array] = {}
    for index, name in ((5, "initial_h"), (6, "initial_c")):
        start = node.given(index)
        if isinstance(start, np.ndarray):
            row = initial_row(start, found, name)
            if row is None:
                raise UnsupportedError(f"{name} differs from sequence to sequence")
            initial[name] = row
    node.builder.foresee(4 * sum(one.size for one in arrays.values()))
    (layer,) = layers(found, {**arrays, **initial})
    frames = _Frames(node, found.layout)
    if frames.input_size != layer.weight_ih.shape[1]:
        raise ValueError(f"X has {frames.input_size} values, W has shape {arrays['W'].shape}")
    for text in found.notes:
        node.builder.note(f"{node.name}: {text}")
    builder, size = node.builder, layer.hidden_size
    weights = [builder.constant(one) for one in (layer.weight_ih, layer.weight_hh)]
    bias = -1
    if layer.bias_ih is not None and layer.bias_hh is not None:
        with np.errstate(all="ignore"):  # what is not finite is refused with the constants
            bias = builder.constant(layer.bias_ih + layer.bias_hh)
    weights.append(bias)
    if layer.peephole is not None:
        weights += [-1, builder.constant(layer.peephole)]
    while weights[-1] == -1:
        weights.pop()
    own_h, h = frames.state(5, "h", layer.h_0, size, weights)
    own_c, c = frames.state(6, "c", layer.c_0, size, weights)
    ys, attributes = [], cell_attributes(layer.cell)
    for step in frames.walked():
        inputs = [frames.frame(step), h, c, *weights]
        y, h, c = builder.emit_all("lstm", inputs, [(size,)] * 3, attributes)
        ys.append(y)
    _keep(node, {own_h: h, own_c: c})
    return frames.outputs(ys, h, c)


@lowering("GRU")
def _gru(node: Node) -> list[Value]:
    _check_gru(node)
    w, r, b = node.needed(1, "W"), node.needed(2, "R"), node.known(3, "B")
    size = r.shape[-1]
    if w.shape[:2] != (1, 3 * size) or w.ndim != 3 or r.shape != (1, 3 * size, size):
        raise ValueError(f"W has shape {w.shape}, R {r.shape}")
    if b is not None and b.shape != (1, 6 * size):
        raise ValueError(f"B has shape {b.shape}, expected (1, {6 * size})")
    if int(node.attributes.get("hidden_size", size)) != size:
        raise ValueError(f"hidden_size is {node.attributes['hidden_size']}, R has shape {r.shape}")
    layout = int(node.attributes.get("layout", 0))
    if layout not in (0, 1):
        raise ValueError(f"layout is 0 or 1, found {layout!r}")
    frames, builder = _Frames(node, layout), node.builder
    if frames.input_size != w.shape[2]:
        raise ValueError(f"X has {frames.input_size} values, W has shape {w.shape}")
    builder.foresee(4 * (w.size + r.size))
    weights = [builder.constant(gru_to_pytorch(one[0], "onnx")) for one in (w, r)]
    if b is not None:
        weights += [builder.constant(gru_to_pytorch(half, "onnx")) for half in np.split(b[0], 2)]
    value, initial = node.given(5), None
    if isinstance(value, np.ndarray):
        rows = value.reshape(-1, size)
        if value.shape != (1, 1, size) and np.any(rows != rows[:1]):
            raise UnsupportedError("initial_h differs from sequence to sequence")
        initial = rows[0]
    own, h = frames.state(5, "h", initial, size, weights)
    ys = []
    attributes = {"linear_before_reset": bool(node.attributes.get("linear_before_reset", 0))}
    for step in frames.walked():
        inputs = [frames.frame(step), h, *weights]
        y, h = builder.emit_all("gru", inputs, [(size,)] * 2, attributes)
        ys.append(y)
    _keep(node, {own: h})
    return frames.outputs(ys, h)


def _check_gru(node: Node) -> None:
    """Refuse what our GRU does not compute."""
    if unknown := sorted(set(node.attributes) - GRU_ATTRIBUTES):
        raise ValueError(f"a GRU has no attribute {', '.join(unknown)}")
    direction = str(node.attributes.get("direction", "forward")).lower()
    if direction != "forward":
        raise UnsupportedError(f"it is {direction}, so it looks into the future")
    activations = [str(one).lower() for one in node.attributes.get("activations") or ()]
    if activations not in ([], ["sigmoid", "tanh"]):
        raise UnsupportedError(
            f"its activations are {', '.join(activations)}, not Sigmoid and Tanh"
        )
    if node.attributes.get("clip") is not None:
        raise UnsupportedError("it clips its gates")


def _keep(node: Node, states: dict[str, int]) -> None:
    """Keep what registers of our own become."""
    own = {name: tensor for name, tensor in states.items() if name}
    node.registers.next.update(own)
    if own:
        node.builder.note(f"node {node.name} keeps its state from step to step")
