"""PyTorch: its files and modules, every step of them, and what is refused."""

from __future__ import annotations

import io
import itertools
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from damage import refused
from framework_runs import GOLDEN, excess_of_run, is_each_wrong_order_seen, load_run
from test_safetensors import same, silero_vad

from lstm_fast import LSTM, FormatError, formats
from lstm_fast._source import Source
from lstm_fast.formats import pytorch

FILES = GOLDEN / "pytorch"
STATE_DICTS = [
    "two_layers.pt", "bidirectional.pt", "projected.pt", "projected_both.pt", "no_bias.pt",
    "cell.pt", "float16.pt", "bfloat16.pt", "float64.pt",
]  # fmt: skip
MODELS = ["checkpoint.ckpt", "legacy.pth", "scripted.jit"]


def run_of(name):
    return load_run(FILES / f"{name.partition('.')[0]}_run.npz")


def only(path):
    (found,) = pytorch.read(path)
    return found


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("name", [*STATE_DICTS, *MODELS])
def test_every_step_is_pytorchs(name):
    found = only(FILES / name)
    assert found.name == ("rnn" if name in MODELS else "")
    assert found.sources.keys() == found.weights.state_dict().keys()
    assert found.notes == (("left out: a GRU under 'gru.'",) if name in MODELS else ())
    assert excess_of_run(found.weights, run_of(name)) <= 1


@pytest.mark.parametrize("name", ["two_layers.pt", "projected_both.pt", "cell.pt", "scripted.jit"])
def test_every_wrong_order_of_gates_is_seen(monkeypatch, torch, name):
    assert is_each_wrong_order_seen(
        monkeypatch, "pytorch", lambda: only(FILES / name).weights, run_of(name)
    )


@pytest.mark.parametrize("name", [*STATE_DICTS, *MODELS, "code.pt"])
def test_reading_takes_no_torch(name):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from lstm_fast.formats import pytorch\n"
        f"assert len(pytorch.read({str(FILES / name)!r})) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [*STATE_DICTS, *MODELS])
def test_it_is_recognised_by_its_content(tmp_path, name):
    path = tmp_path / "unnamed"
    path.write_bytes((FILES / name).read_bytes())
    assert pytorch.recognise(Source(path), path.read_bytes()[:4096])
    path.write_bytes(b"PK\x03\x04")
    assert not pytorch.recognise(Source(path), b"PK\x03\x04")


# ---- live ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    ("bias", "batch_first", "bidirectional", "projected", "layers"),
    [*itertools.product([True, False], [True, False], [True, False], [True, False], [1, 3])],
)
def test_the_grid_of_nn_lstm(torch, bias, batch_first, bidirectional, projected, layers):
    torch.manual_seed(layers)
    rnn = torch.nn.LSTM(
        5, 8, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional,
        proj_size=3 if projected else 0,
    )  # fmt: skip
    x = torch.randn(9, 5)
    with torch.no_grad():
        y, (h, c) = rnn(x)
    run = {"x": x.numpy(), "y": y.numpy(), "h": h.numpy(), "c": c.numpy()}
    (found,) = pytorch.from_module(rnn)
    assert excess_of_run(found.weights, run) <= 1
    wrong = {**run, "y": run["y"][::-1]}
    assert excess_of_run(found.weights, wrong, ours=False) > 1


def test_modules_around_lstms(torch):
    module = torch.nn.ModuleDict(
        {"a": torch.nn.LSTM(3, 4), "b": torch.nn.LSTMCell(3, 4), "g": torch.nn.GRU(3, 4)}
    ).half()
    found = pytorch.from_module(module)
    assert [one.name for one in found] == ["a", "b"]
    assert found[0].notes == ("left out: a GRU under 'g.'",)
    with pytest.raises(FormatError, match="GRU: there is no LSTM in it, but a GRU under ''"):
        pytorch.from_module(torch.nn.GRU(3, 4))
    with pytest.raises(FormatError, match="no LSTM in it, but a plain RNN"):
        pytorch.from_module(torch.nn.RNNCell(3, 4))
    assert pytorch.from_module(torch.nn.Linear(3, 4)) == []
    with pytest.raises(FormatError, match="on meta"):
        pytorch.from_module(torch.nn.LSTM(3, 4, device="meta"))


def test_state_dicts_within_dicts(torch, tmp_path):
    one, two = torch.nn.LSTM(3, 4), torch.nn.LSTM(3, 4)
    path = tmp_path / "a.pt"
    both = {"model": {"x": one.state_dict()}, "ema": {"rnn": two.state_dict()}, "step": 4}
    torch.save(both, path)
    names = {found.name: found.weights for found in pytorch.read(path)}
    assert names.keys() == {"model.x", "ema.rnn"}
    assert same(names["ema.rnn"], pytorch.from_module(two)[0].weights)
    assert not same(names["ema.rnn"], pytorch.from_module(one)[0].weights)
    around = {"a": {}}
    around["a"]["again"] = around  # pickle can do that
    around["a"]["rnn"] = one.state_dict()
    torch.save(around, path)
    assert same(only(path).weights, pytorch.from_module(one)[0].weights)


def test_silero_vads_torchscript():
    """The weights are those of its ONNX file, to the bit."""
    onnx = pytest.importorskip("onnx")
    locate = silero_vad()
    found = pytorch.read(locate("silero_vad/data/silero_vad.jit"))
    assert [one.name for one in found] == ["_model.decoder.rnn", "_model_8k.decoder.rnn"]
    graph = onnx.load(locate("silero_vad/data/silero_vad_16k_op15.onnx")).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    demo = LSTM.from_state_dict(values, "model.decoder.rnn.", backend="reference")
    assert same(found[0].weights, demo.weights)
    assert not same(found[1].weights, demo.weights)


def test_load_of_a_path(torch):
    lstm = formats.load(FILES / "checkpoint.ckpt", name="rnn", backend="reference")
    assert isinstance(lstm, LSTM)
    assert same(lstm.weights, only(FILES / "checkpoint.ckpt").weights)


# ---- what is refused -----------------------------------------------------------------------------


class Evil:
    ran = False

    def __reduce__(self):
        return exec, ("import test_pytorch; test_pytorch.Evil.ran = True",)


def test_code_is_not_run(torch, tmp_path):
    path = tmp_path / "a.pt"
    weights = torch.nn.LSTM(3, 4).state_dict()
    for zipped in (True, False):
        torch.save({"a": Evil(), "b": weights}, path, _use_new_zipfile_serialization=zipped)
        assert only(path).weights.input_size == 3
        torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(FormatError, match="no LSTM in it, and no tensor, but a dict of 1"):
            pytorch.read(path)
    assert not Evil.ran
    pickle.loads(pickle.dumps(Evil()))  # the control: it would
    assert Evil.ran


def test_code_in_torchscript_is_not_run(tmp_path):
    Evil.ran = False
    path = tmp_path / "a.jit"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", pickle.dumps(Evil(), 2))
    with pytest.raises(FormatError, match=r"no tensor, but an object of __builtin__\.exec"):
        pytorch.read(path)
    assert not Evil.ran


def test_other_cells_and_quantized_ones(torch, tmp_path):
    with pytest.raises(FormatError, match="no LSTM in it, but a GRU under ''"):
        pytorch.read(FILES / "gru.pt")
    path = tmp_path / "a.pt"
    torch.save({"rnn._all_weight_values.0.param": 3}, path)
    with pytest.raises(FormatError, match="quantized by PyTorch; convert the float model"):
        pytorch.read(path)
    weights = torch.nn.LSTM(3, 4).state_dict()
    torch.save({**weights, "weight_hh_l0": weights["weight_hh_l0"].to(torch.int8)}, path)
    with pytest.raises(FormatError, match=r"weight_hh_l0: a tensor of torch\.int8"):
        pytorch.read(path)


def test_a_stretched_tensor_takes_no_memory(torch, tmp_path):
    weights = torch.nn.LSTM(3, 4).state_dict()
    path = tmp_path / "a.pt"
    torch.save({**weights, "weight_ih_l0": torch.ones(1).expand(16, 2**40)}, path)
    with pytest.raises(FormatError, match="reading a tensor would take"):
        pytorch.read(path)


def test_a_bomb_of_zeros_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"}" * 100_000_000)
    with pytest.raises(FormatError, match="is compressed"):
        pytorch.read(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"}" * 1_000_000)
    with pytest.raises(FormatError, match="is compressed"):
        pytorch.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"}" * 1_000_000)
    with pytest.raises(FormatError, match="the pickle in it would take"):
        pytorch.read(path)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    path.write_bytes(magic + b"}" * 2_000_000)
    with pytest.raises(FormatError, match="the pickle in it would take"):
        pytorch.read(path)


def test_a_legacy_file_claims_a_storage(torch, tmp_path):
    data = (FILES / "legacy.pth").read_bytes()
    place = data.index(b"cpuq") + 5  # after the storage's device: how many values it has
    assert data[place : place + 2] == b"K\x0f"  # 3 by 5
    claim = b"\x8a\x06" + (2**40).to_bytes(6, "little")
    path = tmp_path / "a.pth"
    path.write_bytes(data[:place] + claim + data[place + 2 :])
    with pytest.raises(FormatError, match="a storage claims 1099511627776 values"):
        pytorch.read(path)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "a.pt"
    np.savez(path.with_suffix(".npz"), a=np.ones(3))
    path.write_bytes(path.with_suffix(".npz").read_bytes())
    with pytest.raises(FormatError, match=r"no data\.pkl"):
        pytorch.read(path)
    path.write_bytes(b"PK\x03\x04" + bytes(90))
    with pytest.raises(FormatError, match="damaged zip file"):
        pytorch.read(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="damaged"):
        pytorch.read(path)


@pytest.mark.filterwarnings("ignore")  # torch warns about what is in damaged files
@pytest.mark.parametrize("name", ["no_bias.pt", "legacy.pth", "scripted.jit", "checkpoint.ckpt"])
def test_damaged_files_are_refused_or_read(torch, tmp_path, name):
    number = refused(pytorch.read, tmp_path / "a.pt", (FILES / name).read_bytes(), 250)
    assert 50 < number < 250


def test_torchscript_tensors_stay_within_their_storage(tmp_path):
    """An archive made by hand: the right one is read, one whose strides reach further is not."""

    def archive(stride):
        pickled = io.BytesIO()

        class Pickler(pickle._Pickler):
            def persistent_id(self, value):
                return value.pid if isinstance(value, Storage) else None

        values = {"weight_ih": Tensor((16, 3), stride), "weight_hh": Tensor((16, 4), (4, 1))}
        Pickler(pickled, 2).dump(Module(values))
        path = tmp_path / "a.jit"
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("a/constants.pkl", b"")
            names = {b"test_pytorch\nFloatStorage": b"torch\nFloatStorage"}
            names |= {b"test_pytorch\n_rebuild_tensor_v2": b"torch._utils\n_rebuild_tensor_v2"}
            text = pickled.getvalue()
            for ours, theirs in names.items():
                text = text.replace(ours, theirs)
            zipped.writestr("a/data.pkl", text)
            zipped.writestr("a/data/0", np.arange(64, dtype="<f4").tobytes())
        return path

    assert only(archive((3, 1))).weights.input_size == 3
    with pytest.raises(FormatError, match=r"weight_ih.*beyond its storage"):
        pytorch.read(archive((5, 1)))
    with pytest.raises(FormatError, match=r"weight_ih.*damaged"):
        pytorch.read(archive((-1, 1)))


class Module:
    def __init__(self, values):
        self.__dict__.update(values)


class FloatStorage:
    pass


class Storage:
    pid = ("storage", FloatStorage, "0", "cpu", 64)


class Tensor:
    def __init__(self, sizes, strides):
        self.args = Storage(), 0, sizes, strides, False, None

    def __reduce__(self):
        return _rebuild_tensor_v2, self.args


def _rebuild_tensor_v2(*args):
    raise AssertionError
