"""Files of Silero VAD, small graphs of its signatures, and onnxruntime to compare with."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

FILES = {  # by name, the rates that each has
    "silero_vad": (16000, 8000),
    "silero_vad_16k_op15": (16000,),
    "silero_vad_16k_sequence": (16000,),
    "silero_vad_half": (16000,),
    "silero_vad_op18_ifless": (16000, 8000),
    "silero_vad_openvino_16k": (16000,),
}
UNITS = 64  # of each of the two layers of version 4
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def silero_file(name):
    """Return a file of the package silero-vad, without importing that."""
    try:
        distribution = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    path = Path(str(distribution.locate_file(f"silero_vad/data/{name}.onnx")))
    if not path.is_file():
        pytest.skip(f"this silero-vad has no {name}")
    return path


def speech(chunks, size):
    """Return chunks with the loudness and the spectrum of speech, louder and quieter."""
    rng, count = np.random.default_rng(5), chunks * size
    noise = np.convolve(rng.standard_normal(count + 15), np.ones(16) / 4, "valid")
    loud = np.repeat(rng.uniform(0, 1, -(-count // 800)) ** 2, 800)[:count]
    return (0.3 * loud * noise).astype(np.float32).reshape(chunks, size)


def onnxruntime_trace(path, chunks, rate, context):
    """Yield the probability and the states by name after each chunk, computed by onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {one.name: one.shape for one in session.get_inputs()}
    state = {
        name: np.zeros([size if isinstance(size, int) else 1 for size in given[name]], np.float32)
        for name in ("state", "h", "c")
        if name in given
    }
    constants = {"sr": np.array(rate, np.int64)} if "sr" in given else {}
    before = np.zeros(context, np.float32)
    names = [one.name for one in session.get_outputs()]
    for chunk in chunks:
        samples = np.concatenate([before, chunk])
        found = session.run(None, {"input": samples[None], **state, **constants})
        outputs = dict(zip(names, found, strict=True))
        before = samples[len(samples) - context :]
        state = {name: outputs[name + ("N" if name == "state" else "n")] for name in state}
        yield outputs.get("output", outputs.get("speech_probs")).item(), state


def distances(stream, trace, chunks):
    """Return how far probability and state are from those of a trace, at most."""
    worst = np.zeros(2)
    for chunk, (probability, state) in zip(chunks, trace, strict=True):
        (ours,), kept = stream.step(chunk), stream.state
        off = max(np.abs(kept[name] - value).max() for name, value in state.items())
        worst = np.maximum(worst, [abs(ours - probability), off])
    return worst


def version_4():
    """Return a model with the signature of version 4: no context, h and c of two layers, an If."""
    rng = np.random.default_rng(4)
    names = {"one": [1], "two": [2]}
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in names.items()]
    constants.append(numpy_helper.from_array(np.array(16000, np.int64), "rate"))
    scales = {"basis": (UNITS, 1, 64), "last": (1, UNITS, 1)}
    for n in range(2):
        scales |= {f"W{n}": (1, 4 * UNITS, UNITS), f"R{n}": (1, 4 * UNITS, UNITS)}
    constants += [
        numpy_helper.from_array((0.2 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in scales.items()
    ]

    def branch(stride):
        """Different strides, so that the two rates differ."""
        nodes = [
            helper.make_node("Unsqueeze", ["input", "one"], ["x1"]),
            helper.make_node("Conv", ["x1", "basis"], ["x2"], strides=[stride]),
            helper.make_node("Relu", ["x2"], ["x3"]),
            helper.make_node("ReduceMean", ["x3"], ["found"], axes=[2], keepdims=0),
        ]
        out = helper.make_tensor_value_info("found", FLOAT, None)
        return helper.make_graph(nodes, f"by_{stride}", [], [out])

    nodes = [
        helper.make_node("Equal", ["sr", "rate"], ["is_16k"]),
        helper.make_node("If", ["is_16k"], ["f"], then_branch=branch(64), else_branch=branch(32)),
        helper.make_node("Unsqueeze", ["f", "zero"], ["y0"]),
        helper.make_node("Split", ["h"], ["h0", "h1"], axis=0),
        helper.make_node("Split", ["c"], ["c0", "c1"], axis=0),
    ]
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    for n in range(2):
        given = [f"y{n}", f"W{n}", f"R{n}", "", "", f"h{n}", f"c{n}"]
        made = [f"l{n}", f"hn{n}", f"cn{n}"]
        nodes.append(helper.make_node("LSTM", given, made, hidden_size=UNITS))
        nodes.append(helper.make_node("Squeeze", [f"l{n}", "one"], [f"y{n + 1}"]))
    nodes += [
        helper.make_node("Transpose", ["y2"], ["t"], perm=[1, 2, 0]),
        helper.make_node("Conv", ["t", "last"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Squeeze", ["p", "two"], ["output"]),
        helper.make_node("Concat", ["hn0", "hn1"], ["hn"], axis=0),
        helper.make_node("Concat", ["cn0", "cn1"], ["cn"], axis=0),
    ]
    state = [2, "batch", UNITS]
    inputs = [
        helper.make_tensor_value_info("input", FLOAT, ["batch", "sequence"]),
        helper.make_tensor_value_info("sr", INT64, []),
        *(helper.make_tensor_value_info(name, FLOAT, state) for name in "hc"),
    ]
    outputs = [helper.make_tensor_value_info("output", FLOAT, ["batch", 1])]
    outputs += [helper.make_tensor_value_info(name, FLOAT, state) for name in ("hn", "cn")]
    graph = helper.make_graph(nodes, "version_4", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
