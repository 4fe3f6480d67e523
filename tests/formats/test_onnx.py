"""Real ONNX files: PyTorch's and onnxruntime's own, and those that silero-vad ships."""

from __future__ import annotations

import itertools
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from lstm_fast import LSTM
from lstm_fast.formats import FormatError, gates, read
from lstm_fast.formats import onnx as reader
from variant_tolerances import batch, excess, variant_step

onnx = pytest.importorskip("onnx")
HERE = Path(__file__).parents[1] / "golden/formats/onnx"
PYTORCH = {  # layers, directions, other parameters
    "torchscript_opset7": (1, 1, {"bias_ih", "bias_hh"}),
    "torchscript_stack": (3, 1, {"bias_ih", "bias_hh"}),
    "torchscript_both": (2, 2, {"bias_ih", "bias_hh"}),
    "torchscript_both_no_bias": (2, 2, set()),
    "torchscript_trained_state": (2, 1, {"bias_ih", "bias_hh", "h_0", "c_0"}),
    "dynamo_stack": (2, 1, {"bias_ih", "bias_hh"}),
    "dynamo_both": (2, 2, {"bias_ih", "bias_hh"}),
    "dynamo_fixed_sizes": (2, 2, {"bias_ih", "bias_hh"}),
    "dynamo_trained_state": (2, 1, {"bias_ih", "bias_hh", "h_0", "c_0"}),
    "dynamo_external_data": (1, 1, {"bias_ih", "bias_hh"}),
}
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
WRONG = ["".join(p) for p in itertools.permutations("iofg") if "".join(p) != "iofg"]


def distance(weights, xs, expected, lengths=None):
    """How far an LSTM's ys, h and c are from someone else's, over the sum of both bounds."""
    lstm = LSTM.from_weights(weights)
    ys, (h, c) = lstm(xs, lengths=lengths)
    start = [np.repeat(part[:, None], len(xs), axis=1) for part in lstm.initial_state]
    own = np.full(len(xs), xs.shape[1]) if lengths is None else lengths
    mine, peer = (batch(weights, xs, start, own, peer=is_peer) for is_peer in (False, True))
    return max(
        excess(our, theirs, near.error + far.error)
        for our, theirs, near, far in zip((ys, h, c), expected, mine, peer, strict=True)
    )


def every_step(weights, data):
    """As `distance`, after 1, 2, ... T frames: h and c at each step."""
    steps, worst = data["x"].shape[1], 0.0
    for n in range(steps):
        xs = data["x"][:, : n + 1]
        whole = data["y"] if n + 1 == steps else LSTM.from_weights(weights)(xs)[0]
        worst = max(worst, distance(weights, xs, (whole, data["h"][n], data["c"][n])))
    return worst


@pytest.mark.parametrize("name", PYTORCH)
def test_every_step_is_pytorchs(name):
    layers, directions, parameters = PYTORCH[name]
    (found,) = read(HERE / f"{name}.onnx")
    weights = found.weights
    assert (weights.num_layers, weights.num_directions) == (layers, directions)
    assert (weights.input_size, weights.hidden_size) == (5, 7)
    for layer in weights.layers:
        assert set(layer.parameters()) == {"weight_ih", "weight_hh"} | parameters
    assert set(found.sources) == set(weights.state_dict())
    assert every_step(weights, np.load(HERE / f"{name}.npz")) <= 1


@pytest.mark.parametrize("order", WRONG)
def test_every_wrong_gate_order_is_seen(order, monkeypatch):
    monkeypatch.setitem(gates.ORDERS, "onnx", order)
    for name in ("torchscript_both", "dynamo_stack"):
        (found,) = read(HERE / f"{name}.onnx")
        assert every_step(found.weights, np.load(HERE / f"{name}.npz")) > 100


def quantised_bound(weights, xs):
    """y in float64 and how far from it onnxruntime may be, which rounds x and h to 8 bits.

    It does so for a whole batch, from the smallest to the largest value and 0, in 255 steps: off by
    half of one, and by what the division rounds.
    """

    def rounding(values, error=0.0):
        low, high = min(0, (values - error).min()), max(0, (values + error).max())
        return (high - low) / 255 / 2 * (1 + 1e-5)

    directions, (rows, steps) = weights.num_directions, xs.shape[:2]
    below, below_error = np.float64(xs), np.zeros(xs.shape)
    for first in range(0, len(weights.layers), directions):
        x_error = below_error + rounding(below, below_error)
        outputs = []
        for n in range(first, first + directions):
            layer = weights.layers[n]
            h, c = np.zeros((2, rows, weights.hidden_size))
            h_error, c_error = np.zeros((2, rows, weights.hidden_size))
            ys, errors = np.zeros((2, rows, steps, weights.hidden_size))
            for t in range(steps)[:: -1 if n > first else 1]:
                more = rounding(h, h_error)
                for row in range(rows):
                    x, hidden = (below[row, t], x_error[row, t]), (h[row], h_error[row] + more)
                    step = variant_step(
                        x[0], hidden[0], c[row], layer, x[1], hidden[1], c_error[row], peer=True
                    )
                    h[row], c[row], h_error[row], c_error[row] = step
                ys[:, t], errors[:, t] = h, h_error
            outputs.append((ys, errors))
        below, below_error = (np.concatenate(both, axis=2) for both in zip(*outputs, strict=True))
    return below, below_error


QUANTISED = ["quantised_uint8", "quantised_int8_per_channel"]


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_weights_are_onnxruntimes(name):
    (found,) = read(HERE / f"{name}.onnx")
    data = np.load(HERE / f"{name}.npz")
    exact, error = quantised_bound(found.weights, data["x"])
    assert excess(data["y"], exact, error) <= 1
    assert any("8 bits" in text for text in found.assumptions)


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_weights_are_near_what_they_were_made_from(name):
    """Half a step of 8 bits over the range of a matrix, or of a row of it."""
    source = {"quantised_uint8": "torchscript_stack"}.get(name, "torchscript_both")
    (found,), (original,) = read(HERE / f"{name}.onnx"), read(HERE / f"{source}.onnx")
    pairs = zip(found.weights.layers, original.weights.layers, strict=True)
    for layer, before in pairs:
        for kind in ("weight_ih", "weight_hh"):
            ours, theirs = getattr(layer, kind), getattr(before, kind)
            assert np.abs(ours - theirs).max() <= 2 * np.abs(theirs).max() / 254
            assert not np.array_equal(ours, theirs)


# ---- silero-vad ----------------------------------------------------------------------------------


def silero(name):
    try:  # not by importing it: an example of ours has the name of its module
        distribution = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    path = Path(str(distribution.locate_file(f"silero_vad/data/{name}")))
    if not path.exists():
        pytest.skip(f"this silero-vad has no {name}")
    return path


def silero_weights():
    """Those of the models for 16 and 8 kHz, as PyTorch keeps them, by PyTorch's names."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = torch.jit.load(silero("silero_vad.jit")).state_dict()
    return [
        {f"{kind}_l0": values[f"{model}.decoder.rnn.{kind}"].numpy() for kind in KINDS}
        for model in ("_model", "_model_8k")
    ]


def are_equal(weights, expected):
    ours = weights.state_dict()
    assert set(ours) == set(expected)
    return all(np.array_equal(ours[name], value) for name, value in expected.items())


def test_both_lstms_of_silero_are_found_in_the_branches():
    """Each is there twice, for a call with a state and without."""
    found = read(silero("silero_vad.onnx"))
    for_16k, for_8k = silero_weights()
    assert are_equal(found[0].weights, for_8k)
    assert are_equal(found[1].weights, for_16k)
    assert [one.name for one in found] == [
        f"If_0_{branch}_branch__Inline_0__/decoder/rnn/LSTM" for branch in ("else", "then")
    ]
    for one in found:
        assert (one.weights.input_size, one.weights.hidden_size) == (128, 128)
        assert "rnn_1/LSTM has the same weights" in one.notes[-1]
        assert "decoder.rnn.weight_ih" in one.sources["weight_ih_l0"]


SILERO_16K = [
    "silero_vad_16k_op15.onnx",
    "silero_vad_openvino_16k.onnx",
    "silero_vad_16k_sequence.onnx",
]


@pytest.mark.parametrize("name", SILERO_16K)
def test_the_16k_models_of_silero_have_its_weights(name):
    (found,) = read(silero(name))
    assert are_equal(found.weights, silero_weights()[0])


def test_silero_in_safetensors_is_another_training_of_the_same_gates():
    """Its weights are not those of the other files, but resemble them gate by gate."""
    safetensors = pytest.importorskip("safetensors.numpy")
    theirs = safetensors.load_file(silero("silero_vad_16k.safetensors"))
    (found,) = read(silero("silero_vad_16k_op15.onnx"))
    for kind in ("weight_ih", "weight_hh"):
        ours = np.split(found.weights.state_dict()[f"{kind}_l0"], 4)
        blocks = np.split(theirs[f"lstm_cell.{kind}"], 4)
        alike = np.corrcoef([block.ravel() for block in (*ours, *blocks)])[:4, 4:]
        assert (np.diag(alike) > 0.9).all()
        assert (np.abs(alike - np.diag(np.diag(alike))) < 0.3).all()


def test_silero_without_an_lstm_node_says_so():
    expected = "there is no LSTM node in it.*taken one apart into Gemm or MatMul, Sigmoid"
    with pytest.raises(FormatError, match=expected):
        read(silero("silero_vad_op18_ifless.onnx"))


def test_silero_is_onnxruntimes():
    """On what the model's own layers make of noise, in a model of onnxruntime's choice."""
    onnxruntime = pytest.importorskip("onnxruntime")
    path = silero("silero_vad_16k_sequence.onnx")
    (found,) = read(path)
    model = onnx.load(path)
    (node,) = (n for n in model.graph.node if n.op_type == "LSTM")
    for name in (node.input[0], *node.output):
        if name not in {output.name for output in model.graph.output}:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(1)
    feeds = {
        "input": (0.3 * rng.standard_normal((8, 576))).astype(np.float32),
        "h": np.zeros((1, 1, 128), np.float32),
        "c": np.zeros((1, 1, 128), np.float32),
    }
    x, y, h, c = session.run([node.input[0], *node.output], feeds)
    expected = y.transpose(2, 0, 1, 3).reshape(1, len(y), -1), h, c
    assert distance(found.weights, x.swapaxes(0, 1), expected) <= 1


@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_16k_op15.onnx"])
def test_onnxruntime_computes_the_same_weights_from_sileros_branches(name):
    """Its own run of the nodes that make W, R and B, and of the LSTM on them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    path = silero(name)
    model = onnx.load(path)
    for found in read(path):
        part = alone(model, found.name)
        rng = np.random.default_rng(2)
        x = rng.standard_normal((6, 1, 128)).astype(np.float32)
        h, c = (0.1 * rng.standard_normal((2, 1, 1, 128))).astype(np.float32)
        session = onnxruntime.InferenceSession(
            part.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        y, y_h, y_c = session.run(None, {"x": x, "h": h, "c": c})
        lstm = LSTM.from_weights(found.weights)
        ours = lstm(x.swapaxes(0, 1), state=(h, c))
        near, far = (
            batch(found.weights, x.swapaxes(0, 1), (h, c), [6], peer=is_peer)
            for is_peer in (False, True)
        )
        theirs = (y.transpose(2, 0, 1, 3).reshape(1, 6, 128), y_h, y_c)
        values = zip((ours[0], *ours[1]), theirs, near, far, strict=True)
        for our, their, mine, peer in values:
            assert excess(our, their, mine.error + peer.error) <= 1


def alone(model, name):
    """A model of one LSTM node and those that compute its weights, wherever they are."""

    def graphs(graph):
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from graphs(attribute.g)

    everything = list(graphs(model.graph))
    makers = {out: node for graph in everything for node in graph.node for out in node.output}
    tensors = {t.name: t for graph in everything for t in graph.initializer}
    lstm = onnx.NodeProto()
    lstm.CopyFrom(next(n for n in makers.values() if n.name == name))
    nodes, kept = [], {}

    def need(wanted):
        if wanted in tensors:
            kept[wanted] = tensors[wanted]
        elif wanted in makers and makers[wanted] not in nodes:
            for one in makers[wanted].input:
                need(one)
            nodes.append(makers[wanted])

    for wanted in lstm.input[1:4]:
        need(wanted)
    lstm.input[0], lstm.input[5], lstm.input[6] = "x", "h", "c"
    floats = onnx.TensorProto.FLOAT
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [*nodes, lstm],
        "alone",
        [info(n, floats, None) for n in "xhc"],
        [info(n, floats, None) for n in lstm.output],
        list(kept.values()),
    )
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


# ---- live ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_what_pytorch_exports_now(bidirectional, layers, bias, batch_first, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    net = torch.nn.LSTM(
        5, 7, layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first
    ).eval()
    x = torch.randn(2, 4, 5)
    given = x if batch_first else x.transpose(0, 1)
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (given,), path, dynamo=False)
    (found,) = read(path)
    theirs = net.state_dict()
    ours = found.weights.state_dict()
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert np.array_equal(ours[name], value.numpy())
    with torch.no_grad():
        y, (h, c) = net(given)
    y = y if batch_first else y.transpose(0, 1)
    expected = [part.numpy() for part in (y, h, c)]
    assert distance(found.weights, x.numpy(), expected) <= 1


def test_recognise():
    path = HERE / "dynamo_stack.onnx"
    assert reader.recognise(path, path.read_bytes()[:4096])
    assert not reader.recognise(Path("x"), b"")
    assert not reader.recognise(Path("x"), b"\x1c\x00\x00\x00TFL3" + bytes(8))
    assert not reader.recognise(Path("x"), b"PK\x03\x04")
    for other in (HERE.parent).rglob("*"):
        if other.is_file() and other.suffix != ".onnx":
            assert not reader.recognise(other, other.read_bytes()[:4096])
