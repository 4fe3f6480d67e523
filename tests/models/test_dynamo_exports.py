"""What PyTorch's newer exporter (dynamo=True) writes; `make conformance` installs onnxscript."""

from __future__ import annotations

import logging

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript: make conformance")
torch = pytest.importorskip("torch")
from causal_graphs import distance  # noqa: E402
from program_graphs import floats, run, session  # noqa: E402

from lstm_fast import load_model  # noqa: E402
from lstm_fast.errors import FormatError  # noqa: E402

nn = torch.nn
FRAMES = 24


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """It says much of each step."""
    monkeypatch.setattr(logging.root, "level", logging.CRITICAL)


class Plain(nn.Module):
    """Linear, LayerNorm, ReLU, two LSTMs, Linear and softmax, over (1, T, 6)."""

    kept = ("h", "c", "h", "c")

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(7, 3)
        self.lstm = nn.LSTM(8, 7, 2, batch_first=True)

    def forward(self, x):
        return torch.softmax(self.last(self.lstm(torch.relu(self.norm(self.first(x))))[0]), -1)


class Crnn(nn.Module):
    """A causal convolution, two LSTMs, a GRU and Linear, over (1, T, 6)."""

    kept = ("history", "h", "c", "h", "c", "h")

    def __init__(self):
        super().__init__()
        self.conv, self.lstm = nn.Conv1d(6, 8, 3, dilation=2), nn.LSTM(8, 7, 2, batch_first=True)
        self.gru, self.last = nn.GRU(7, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        y = torch.relu(self.conv(nn.functional.pad(x.transpose(1, 2), (4, 0)))).transpose(1, 2)
        return self.last(self.gru(self.lstm(y)[0])[0])


class Step(nn.Module):
    """One frame, with a convolution's last frames and the state of an LSTM given and returned."""

    def __init__(self):
        super().__init__()
        self.conv, self.lstm = nn.Conv1d(6, 8, 3), nn.LSTM(8, 7, 2, batch_first=True)
        self.last = nn.Linear(7, 2)

    def forward(self, x, cache, h, c):
        window = torch.cat([cache, x.transpose(1, 2)], 2)
        y, (hn, cn) = self.lstm(torch.relu(self.conv(window)).transpose(1, 2), (h, c))
        return torch.sigmoid(self.last(y)), window[:, :, -2:], hn, cn


NAMES = {"input_names": ["x", "cache", "h", "c"], "output_names": ["y", "cache_out", "hn", "cn"]}


def exported(net, given, path, **options):
    torch.manual_seed(0)
    for one in net.parameters():
        nn.init.normal_(one, std=0.4)
    torch.onnx.export(net.eval(), given, path, dynamo=True, external_data=False, **options)
    return path


def loaded(path, name):
    """Return the model of one frame a step.

    The exporter may fix a length that was to be free: of the input, or inside of the graph alone.
    """
    try:
        model = load_model(path)
    except FormatError as error:
        said = f'shapes={{"{name}": (1, ..., 6)}} with that number in the place of ..., and '
        assert said in str(error)
        return load_model(path, shapes={name: (1, FRAMES, 6)}, time_axis=1)
    is_fixed = model.inputs[name].shape == (FRAMES, 6)
    return load_model(path, time_axis=1) if is_fixed else model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_free", [True, False])
@pytest.mark.parametrize("make", [Plain, Crnn])
def test_frame_by_frame_it_is_onnxruntimes_whole_sequence(make, is_free, tmp_path):
    told = {"dynamic_shapes": ({1: torch.export.Dim("time")},)} if is_free else {}
    path = exported(make(), (torch.randn(1, FRAMES, 6),), tmp_path / "net.onnx", **told)
    theirs, xs = session(path), floats(FRAMES, 6)
    name = theirs.get_inputs()[0].name
    model, (expected,) = loaded(path, name), run(theirs, {name: xs[None]}).values()
    assert tuple(one.rpartition(".")[2] for one in model.states) == make.kept
    assert distance(model.program, xs, model.stream().run(xs)) <= 1
    assert distance(model.program, xs, expected[0], peer=True) <= 1
    apart = np.concatenate([model.stream().run(xs[:12]), model.stream().run(xs[12:])])
    assert distance(model.program, xs, apart) > 1  # the control: a state that is not kept


@pytest.mark.filterwarnings("ignore")
def test_step_by_step_it_is_onnxruntimes(tmp_path):
    """The states of layers are found by any names, others by theirs."""
    zeros = [torch.zeros(shape) for shape in ((1, 6, 2), (2, 1, 7), (2, 1, 7))]
    path = exported(Step(), (torch.randn(1, 1, 6), *zeros), tmp_path / "step.onnx", **NAMES)
    model, theirs, xs = load_model(path), session(path), floats(FRAMES, 6)
    (name, *kept), ends = (
        [one.name for one in part] for part in (theirs.get_inputs(), theirs.get_outputs())
    )
    assert [*model.states] == kept == ["cache", "h", "c"]
    state = {one: value.numpy() for one, value in zip(kept, zeros, strict=True)}
    ys = []
    for x in xs:
        found = run(theirs, {name: x[None, None], **state})
        state = {one: found[end] for one, end in zip(kept, ends[1:], strict=True)}
        ys.append(found[ends[0]].ravel())
    assert distance(model.program, xs, model.stream().run(xs)) <= 1
    assert distance(model.program, xs, np.stack(ys), peer=True) <= 1
