"""How long a chunk of Silero VAD takes: its LSTM alone, all of it, and all of it in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_fast import LSTM, Model, vad

__all__ = ["measure", "table"]

Float32 = NDArray[np.float32]
Step = Callable[[Float32], Any]
Times = Mapping[str, NDArray[np.int64]]  # nanoseconds of each chunk, by what was timed
WARM_UP = 50  # chunks
ENOUGH = 1000  # chunks, for one in a thousand to be among them
WHOLE, PEER = "whole chunk", "whole chunk, onnxruntime"


def measure(model: Model, chunks: Float32, count: int) -> Times:
    """Time all that there is in turns, chunk by chunk, on one thread.

    Args:
        model: Silero VAD.
        chunks: (chunks, samples); they are played again until there are as many as needed.
        count: how many chunks to time.
    """
    whole, chunk_out = model.stream(), np.empty(1, np.float32)
    contenders: dict[str, Step] = {
        "LSTM alone": _lstm_alone(model),
        WHOLE: lambda chunk: whole.step(chunk, out=chunk_out),
    }
    if find_spec("onnxruntime") is not None:
        contenders[PEER] = _onnxruntime(chunks.shape[1])
    times = {name: np.empty(count, np.int64) for name in contenders}
    for number in range(-WARM_UP, count):
        chunk = chunks[number % len(chunks)]
        for name, step in contenders.items():
            start = perf_counter_ns()
            step(chunk)
            end = perf_counter_ns()
            if number >= 0:
                times[name][number] = end - start
    return times


def table(times: Times, chunk_seconds: float) -> Iterator[str]:
    """Yield the lines that show what was measured."""
    count = len(times[WHOLE])
    yield f"\nTime for one chunk of {1e3 * chunk_seconds:.0f} ms, in turns ({count} timed)"
    name_of_tail, tail = ("p99.9", 99.9) if count >= ENOUGH else ("max", 100)
    yield f"{'p50':>37}{name_of_tail:>14}"
    for name, values in times.items():
        p50, late = np.percentile(values / 1e3, (50, tail))
        yield f"  {name:<26}{p50:9.1f} µs{late:11.1f} µs"
    if PEER not in times:
        yield "  onnxruntime is not installed, so it is not timed"
    factor = times[WHOLE].mean() / (1e9 * chunk_seconds)
    yield f"  real-time factor {factor:.4f}: {1 / factor:.0f} times as fast as the audio\n"


def _lstm_alone(model: Model) -> Step:
    """Return what steps only the LSTM, on as many values of a chunk as it takes."""
    program = model.program
    (op,) = (op for op in program.ops if op.code == "lstm")
    weight_ih, weight_hh, bias = (program.constants[number] for number in op.inputs[3:6])
    weights = {
        "weight_ih_l0": weight_ih,
        "weight_hh_l0": weight_hh,
        "bias_ih_l0": bias,
        "bias_hh_l0": np.zeros_like(bias),
    }
    lstm = LSTM.from_state_dict(weights, backend=model.backend)
    stream, y = lstm.stream(), np.empty(lstm.output_size, np.float32)
    return lambda chunk: stream.step(chunk[: lstm.input_size], out=y)


def _onnxruntime(size: int) -> Step:
    """Return what takes a chunk as the file wants it: context in front, state in and out."""
    import onnxruntime  # noqa: PLC0415  where it is installed

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(vad.silero_file()), options, providers=["CPUExecutionProvider"]
    )
    context = size // 8
    samples = np.zeros((1, context + size), np.float32)
    feed = {
        "input": samples,
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000, np.int64),
    }

    def step(chunk: Float32) -> None:
        samples[0, :context] = samples[0, -context:]
        samples[0, context:] = chunk
        _, feed["state"] = session.run(None, feed)

    return step
