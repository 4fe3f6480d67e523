"""One step of lstm_fast against one of onnxruntime with IO binding: one thread, interleaved.

    python benchmarks/versus_onnxruntime.py [SECONDS_PER_SHAPE]

Each side first has to agree with the float64 reference. Then blocks of steps alternate, so that
whatever else the machine does meets both. Only ratios of one run mean something.
"""

from __future__ import annotations

import itertools
import platform
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from lstm_fast import LSTM, reference

SHAPES = [(40, 64), (64, 64), (128, 128), (80, 256), (256, 256), (512, 512)]
BLOCK = 50  # steps of one side before the other has its turn
Step = Callable[[], object]


def onnx_order(weight: np.ndarray) -> np.ndarray:
    """Put PyTorch's gates i, f, g, o in ONNX's order i, o, f, c."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])[None]


def onnxruntime_step(lstm: LSTM, x: np.ndarray) -> tuple[Step, np.ndarray]:
    """Return a step that carries its state by IO binding, and the array its h lands in."""
    weights, hidden = lstm.state_dict(), lstm.hidden_size
    constants = {
        "W": onnx_order(weights["weight_ih_l0"]),
        "R": onnx_order(weights["weight_hh_l0"]),
        "B": np.concatenate([onnx_order(weights[f"bias_{k}_l0"]) for k in ("ih", "hh")], axis=1),
    }
    inputs = {"X": (1, 1, lstm.input_size), "h0": (1, 1, hidden), "c0": (1, 1, hidden)}
    outputs = {"h1": (1, 1, hidden), "c1": (1, 1, hidden)}
    node = helper.make_node(
        "LSTM", ["X", "W", "R", "B", "", "h0", "c0"], ["", *outputs], hidden_size=hidden
    )

    def infos(values: dict[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
        f32 = onnx.TensorProto.FLOAT
        return [helper.make_tensor_value_info(name, f32, shape) for name, shape in values.items()]

    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], "lstm", infos(inputs), infos(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)

    # Two states that take turns: onnxruntime goes wrong where one buffer is both input and output.
    states = np.zeros((2, 2, 1, 1, hidden), np.float32)
    bindings = [session.io_binding(), session.io_binding()]
    for turn, binding in enumerate(bindings):
        (h0, c0), (h1, c1) = states[turn], states[1 - turn]
        values = {"X": x.reshape(1, 1, -1), "h0": h0, "c0": c0, "h1": h1, "c1": c1}
        for name, value in values.items():
            bind = binding.bind_input if name in inputs else binding.bind_output
            bind(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
    run, turns = session.run_with_iobinding, itertools.cycle(bindings)
    return lambda: run(next(turns)), states[0, 0]  # where an even number of steps leaves h


def block(step: Step) -> list[float]:
    """Return the times of BLOCK steps in us."""
    clock, times = time.perf_counter_ns, []
    for _ in range(BLOCK):
        start = clock()
        step()
        times.append((clock() - start) / 1000)
    return times


def compare(shape: tuple[int, int], seconds: float) -> str:
    """Check both sides, time them in turns, and return a row of the table."""
    lstm = LSTM.random(*shape)
    x = np.random.default_rng(0).standard_normal(shape[0]).astype(np.float32)
    y = np.empty(shape[1], np.float32)
    stream = lstm.stream()
    theirs, theirs_h = onnxruntime_step(lstm, x)
    for _ in range(10):
        stream.step(x, out=y)
        theirs()
    exact = reference.stack(np.tile(x, (10, 1)), lstm.state_dict())[0][-1]
    assert abs(y - exact).max() < 1e-5
    assert abs(theirs_h.ravel() - exact).max() < 1e-5

    ours_times: list[float] = []
    theirs_times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        ours_times += block(lambda: stream.step(x, out=y))
        theirs_times += block(theirs)
    (p50, p99), (their_p50, their_p99) = (
        np.percentile(times, [50, 99]) for times in (ours_times, theirs_times)
    )
    sizes = f"{shape[0]} -> {shape[1]}"
    return (
        f"{sizes:>12} {p50:9.2f} {p99:9.2f} {their_p50:13.2f} {their_p99:9.2f} "
        f"{their_p50 / p50:9.1f}x"
    )


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(
        f"{platform.machine()}, {LSTM.random(1, 1)!r}, onnxruntime {ort.__version__}; us per step"
    )
    print(f"{'':>12} {'ours p50':>9} {'p99':>9} {'theirs p50':>13} {'p99':>9} {'p50 ratio':>10}")
    for shape in SHAPES:
        print(compare(shape, seconds))


if __name__ == "__main__":
    main()
