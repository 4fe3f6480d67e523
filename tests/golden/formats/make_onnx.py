"""Make the ONNX fixtures: written by PyTorch's two exporters and by onnxruntime's quantiser.

    python tests/golden/formats/make_onnx.py

Made with PyTorch 2.13.0, onnxscript 0.7.2, onnx 1.23.2 and onnxruntime 1.32.0. Beside each model
NAME.onnx lies NAME.npz: x (N, T, I), PyTorch's own y (N, T, D * H) for it, and its h and c after
the first 1, 2, ... T frames of each sequence, each (T, L * D, N, H). Where PyTorch cannot run it,
onnxruntime's: y only. Of what the exporters wrote, stack traces are left out: they
hold the paths of the machine.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

HERE = Path(__file__).parent / "onnx"
ROWS, STEPS, INPUT_SIZE, HIDDEN_SIZE = 2, 6, 5, 7


class Net(torch.nn.Module):
    """An LSTM, which may start from a trained state."""

    def __init__(self, trained=False, **options):
        super().__init__()
        self.rnn = torch.nn.LSTM(INPUT_SIZE, HIDDEN_SIZE, batch_first=True, **options)
        count = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
        self.h0 = self.c0 = None
        if trained:
            self.h0 = torch.nn.Parameter(torch.rand(count, 1, HIDDEN_SIZE) - 0.5)
            self.c0 = torch.nn.Parameter(2 * torch.rand(count, 1, HIDDEN_SIZE) - 1)

    def forward(self, x):
        if self.h0 is None:
            return self.rnn(x)
        rows = x.shape[0]
        return self.rnn(x, (self.h0.expand(-1, rows, -1).contiguous(), self.c0.repeat(1, rows, 1)))


def expected(net, x):
    ends = [net(x[:, : n + 1])[1] for n in range(STEPS)]
    return {
        "x": x.numpy(),
        "y": net(x)[0].numpy(),
        "h": torch.stack([h for h, _ in ends]).numpy(),
        "c": torch.stack([c for _, c in ends]).numpy(),
    }


def export(name, opset, dynamo, dynamic=True, external=False, **options):
    """Write one model, with weights in which every gate differs."""
    torch.manual_seed(len(name))
    net = Net(**options).eval()
    x = torch.randn(ROWS, STEPS, INPUT_SIZE)
    path = HERE / f"{name}.onnx"
    kinds = {}
    if dynamo:
        kinds = {"external_data": external, "optimize": True}
        if dynamic:
            sizes = {0: torch.export.Dim("rows"), 1: torch.export.Dim("steps")}
            kinds["dynamic_shapes"] = {"x": sizes}
    elif dynamic:
        kinds = {"dynamic_axes": {"x": {0: "rows", 1: "steps"}}}
    torch.onnx.export(
        net,
        (x,),
        path,
        input_names=["x"],
        dynamo=dynamo,
        opset_version=opset,
        verbose=False,
        **kinds,
    )
    without_traces(path)
    with torch.no_grad():
        np.savez(HERE / f"{name}.npz", **expected(net, x))


def without_traces(path):
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.input, *graph.value_info, *graph.initializer]:
        kept = [entry for entry in part.metadata_props if "stack_trace" not in entry.key]
        del part.metadata_props[:]
        part.metadata_props.extend(kept)
    path.write_bytes(model.SerializeToString())


def quantise(name, source, **options):
    quantize_dynamic(
        HERE / f"{source}.onnx", HERE / f"{name}.onnx", op_types_to_quantize=["LSTM"], **options
    )
    kept = [node.op_type for node in onnx.load(HERE / f"{name}.onnx").graph.node]
    assert "DynamicQuantizeLSTM" in kept
    x = np.load(HERE / f"{source}.npz")["x"]
    session = onnxruntime.InferenceSession(
        HERE / f"{name}.onnx", providers=["CPUExecutionProvider"]
    )
    np.savez(HERE / f"{name}.npz", x=x, y=session.run(None, {"x": x})[0])


def main():
    warnings.simplefilter("ignore")
    HERE.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    export("torchscript_opset7", 7, False, dynamic=False)
    export("torchscript_stack", 14, False, num_layers=3)
    export("torchscript_both", 17, False, num_layers=2, bidirectional=True)
    export("torchscript_both_no_bias", 14, False, num_layers=2, bidirectional=True, bias=False)
    export("torchscript_trained_state", 14, False, trained=True, num_layers=2)
    export("dynamo_stack", 22, True, num_layers=2)
    export("dynamo_both", 22, True, num_layers=2, bidirectional=True)
    export("dynamo_fixed_sizes", 18, True, dynamic=False, num_layers=2, bidirectional=True)
    export("dynamo_trained_state", 22, True, trained=True, num_layers=2)
    export("dynamo_external_data", 18, True, external=True)
    quantise("quantised_uint8", "torchscript_stack", weight_type=QuantType.QUInt8)
    quantise(
        "quantised_int8_per_channel",
        "torchscript_both",
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


if __name__ == "__main__":
    main()
