"""Training checkpoints as torch.save writes them: whatever is around the weights, they load."""

from __future__ import annotations

import enum
import io
import pathlib
import pickle
import subprocess
import sys
import tarfile
import warnings

import numpy as np
import pytest
from test_safetensors import same

import lstm_fast
from lstm_fast import FormatError, formats
from lstm_fast.formats import pytorch

torch = pytest.importorskip("torch")

import checkpoint_cases as cases  # noqa: E402  (it imports torch)

PROTOCOLS = (2, 3, 4, 5)


@pytest.fixture
def net():
    torch.manual_seed(3)
    return cases.Net()


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a value and returns the path."""

    def save(value, zipped=True, protocol=2):
        path = tmp_path / "a.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of quantization, which PyTorch is about to remove
            torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        cases.forget()
        return path

    return save


def expected(net):
    (found,) = pytorch.from_module(net.rnn)
    return found.weights


def only(path):
    (found,) = pytorch.read(path)
    return found


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_every_form_gives_the_modules_own_weights(net, saved, form, zipped):
    right = expected(net)
    for protocol in PROTOCOLS:
        value = cases.FORMS[form](net)
        found = only(saved(value, zipped, protocol))
        right = expected(net)  # some forms take a step of training
        assert same(found.weights, right)
        assert found.name in ("rnn", "module.rnn", "")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", cases.SEVERAL)
def test_each_copy_has_its_own_name(net, saved, form, zipped):
    for protocol in PROTOCOLS:
        found = pytorch.read(saved(cases.SEVERAL[form](net), zipped, protocol))
        assert [one.name for one in found] == ["ema.rnn", "model.rnn"]
        assert all(same(one.weights, expected(net)) for one in found)


def test_other_weights_would_be_seen(net, saved):
    """The negative control of the tests above."""
    found = only(saved(cases.Net().state_dict()))
    assert not same(found.weights, expected(net))


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_pythons_own(net, tmp_path, protocol):
    """Their storages are whole files of PyTorch's, within bytes."""
    path = tmp_path / "a.pkl"
    arrays = {name: value.numpy() for name, value in net.state_dict().items()}
    for value in (arrays, net.state_dict(), net, {"model": net, "epoch": np.float64(3)}):
        path.write_bytes(pickle.dumps(value, protocol))
        assert same(only(path).weights, expected(net))
    lstm = formats.load(path, backend="reference")  # and it is recognised
    assert same(lstm.weights, expected(net))


def test_names_are_those_of_the_state_dict(net, saved):
    both = torch.nn.ModuleDict({"a": net, "b": torch.nn.ModuleList([net.rnn, net.head])})
    names = [one.name for one in pytorch.read(saved(both))]
    assert names == [one.name for one in pytorch.read(saved(both.state_dict()))] == ["a.rnn", "b.0"]


def test_a_module_of_torch_fx(saved):
    class Cells(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = torch.nn.LSTMCell(3, 4)

        def forward(self, x):
            return self.cell(x)[0]

    traced = torch.fx.symbolic_trace(Cells())
    assert same(only(saved(traced)).weights, pytorch.from_module(traced)[0].weights)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_dtypes(net, saved, dtype, zipped):
    net = net.to(dtype)
    assert same(only(saved(net, zipped)).weights, expected(net.float()))


def test_checksums_may_be_left_out(net, saved):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(net.state_dict())
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(only(path).weights, expected(net))


def test_a_changed_byte_of_a_weight_is_seen(net, saved):
    path = saved(net.state_dict())
    data = path.read_bytes()
    value = net.rnn.weight_hh_l0.detach().numpy().tobytes()
    path.write_bytes(data.replace(value, value[:-1] + bytes([value[-1] ^ 1])))
    with pytest.raises(FormatError, match=r"checksum of .*data/.* is wrong"):
        pytorch.read(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_of_a_file_runs(net, saved, tmp_path, zipped, protocol):
    canary = tmp_path / "canary"
    value = {"a": cases.Evil(canary), "b": cases.OldStyle(3), "w": net.state_dict()}
    path = saved(value, zipped, protocol)
    assert same(only(path).weights, expected(net))
    assert not canary.exists()
    with pytest.raises(AssertionError, match="nothing of a file is called"):
        torch.load(path, weights_only=False)
    assert canary.exists()  # the control: what the file asks for does happen


def test_nothing_is_imported(net, saved):
    path = saved({"args": cases.Config(), "d": cases.Mode.TRAIN, "w": net})
    code = (
        "import sys\n"
        "from lstm_fast.formats import pytorch\n"
        "before = set(sys.modules)\n"
        f"assert len(pytorch.read({str(path)!r})) == 1\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new <= {'numpy'}, new\n"
        "assert 'torch' not in before and 'checkpoint_cases' not in before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- quantized -----------------------------------------------------------------------------------


def quantized(module, kinds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(module, kinds, dtype=torch.qint8)


@pytest.mark.parametrize("whole", [True, False], ids=["module", "state dict"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_quantized_lstm_is_refused_in_words(net, saved, whole, zipped):
    module = quantized(net, {torch.nn.LSTM})
    path = saved(module if whole else module.state_dict(), zipped)
    with pytest.raises(FormatError, match=r"quantized by PyTorch.*before torch\.ao.*dynamic"):
        pytorch.read(path)
    path = saved(module.rnn if whole else module.rnn.state_dict(), zipped)
    with pytest.raises(FormatError, match=r"quantized by PyTorch.*before torch\.ao.*dynamic"):
        pytorch.read(path)


def test_a_quantized_cell_is_refused_in_words(saved):
    cell = quantized(torch.nn.Sequential(torch.nn.LSTMCell(3, 4)), {torch.nn.LSTMCell})
    for value in (cell.state_dict(), cell):
        with pytest.raises(FormatError, match="quantized by PyTorch"):
            pytorch.read(saved(value))


@pytest.mark.parametrize("whole", [True, False], ids=["module", "state dict"])
def test_a_quantized_head_is_not_in_the_way(net, saved, whole):
    module = quantized(net, {torch.nn.Linear})
    found = only(saved(module if whole else module.state_dict()))
    assert same(found.weights, expected(net))


@pytest.mark.parametrize("whole", [True, False], ids=["module", "state dict"])
def test_a_quantized_lstm_stands_beside_a_float_one(net, saved, whole):
    both = torch.nn.ModuleDict({"a": quantized(net, {torch.nn.LSTM}), "b": net})
    good, bad = pytorch.read(saved(both if whole else both.state_dict()))
    assert (good.name, bad.name) == ("b.rnn", "a.rnn")
    assert same(good.weights, expected(net))
    assert "quantized by PyTorch" in str(bad.error)


def test_a_quantized_lstm_beside_a_gru_and_a_damaged_one(net, saved):
    lstm = quantized(torch.nn.ModuleDict({"a": net.rnn}), {torch.nn.LSTM}).state_dict()
    gru = {f"b.{name}": value for name, value in torch.nn.GRU(3, 4).state_dict().items()}
    with pytest.raises(FormatError, match=r"a GRU under 'b\.'.*a\..*quantized by PyTorch"):
        pytorch.read(saved({**lstm, **gru}))
    bad = {f"c.{name}": value * np.nan for name, value in net.rnn.state_dict().items()}
    with pytest.raises(FormatError, match=r"'c': .*is not finite"):
        pytorch.read(saved({**lstm, **bad}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_lstm_in_torchscript(saved, tmp_path, net):
    path = tmp_path / "a.pt"
    torch.jit.script(quantized(net, {torch.nn.LSTM})).save(str(path))
    with pytest.raises(FormatError, match=r"rnn.*quantized by PyTorch"):
        pytorch.read(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_frozen_lstm_in_torchscript(tmp_path, net):
    path = tmp_path / "a.pt"
    torch.jit.freeze(torch.jit.script(net).eval()).save(str(path))
    with pytest.raises(FormatError, match=r"tensors as constants.*torch\.jit\.freeze.*before"):
        pytorch.read(path)


# ---- what is refused -----------------------------------------------------------------------------


def test_what_cannot_be_a_weight_is_named(net, saved):
    state = net.rnn.state_dict()
    weight = state["weight_hh_l0"]
    for value, words in (
        (weight.to(torch.int8), "a tensor of torch.int8"),
        (weight.to_sparse(), "a sparse tensor"),
        (torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "a quantized tensor"),
        (weight.to("meta"), "a tensor on the meta device"),
        (torch.view_as_complex(torch.ones(16, 4, 2)).conj().imag, "a view that negates"),
        (weight.numpy().astype(np.int32), "an array of i4"),
    ):
        path = saved({**state, "weight_hh_l0": value})
        with pytest.raises(FormatError, match=f"weight_hh_l0: {words}"):
            pytorch.read(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_where_no_lstm_is_the_error_says_what_is(saved, zipped):
    state = {f"layer{n}.w": torch.ones(2) for n in range(14)}
    path = saved({"model": state, "epoch": 3}, zipped)
    with pytest.raises(
        FormatError, match=r"14 tensors: model\.layer0\.w, .*model\.layer11\.w, \.\.\.$"
    ):
        pytorch.read(path)
    for value, words in (
        ({"epoch": 3, "name": "x"}, "a dict of 2 with 'epoch', 'name'"),
        (cases.Config(), r"an object of checkpoint_cases\.Config"),
        ([1, 2], "a list of 2"),
        (None, "None"),
        (3, "a int"),
        (torch.nn.LSTM, r"the name torch\.nn\.modules\.rnn\.LSTM"),
    ):
        with pytest.raises(FormatError, match=f"no LSTM in it, and no tensor, but {words}"):
            pytorch.read(saved(value, zipped))


def test_where_only_the_head_is_quantized_it_is_said(saved):
    head = quantized(torch.nn.Sequential(torch.nn.Linear(3, 4)), {torch.nn.Linear})
    with pytest.raises(FormatError, match=r"no LSTM in it.*0\._packed.* was quantized by PyTorch"):
        pytorch.read(saved(head.state_dict()))


def test_what_is_no_file_of_pytorchs_is_said(tmp_path):
    path = tmp_path / "a.pth.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(
        FormatError, match=r"a tar file.*before 0\.1\.10.*save its state dict again"
    ):
        pytorch.read(path)
    path.write_bytes(b"<!DOCTYPE html>\n<html></html>\n" * 9)
    with pytest.raises(FormatError, match="neither a zip file nor a pickle"):
        pytorch.read(path)
    path.write_bytes(b"\x80\x02}U\x1bStructuredToParameterName@@Ns.")
    with pytest.raises(FormatError, match="PaddlePaddle wrote it; load it there"):
        pytorch.read(path)
    path.write_bytes(b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81\xde\xad")
    with pytest.raises(FormatError, match=r"joblib wrote it.*load it with joblib"):
        pytorch.read(path)


def test_a_path_is_taken_as_a_string_too(net, saved):
    assert same(only(str(saved(net))).weights, expected(net))
    assert pathlib.Path(cases.__file__).exists()


class Kind(enum.Enum):
    BEST = 1


OTHER_KEYS = {
    "a loss": 0.25,
    "a pair": ("rnn", 1),
    "an enum": Kind.BEST,
    "None": None,
    "NumPy's": np.int64(3),
}


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_what_stands_under_another_key_is_found(kind, saved, net):
    """Left out it would leave the other one the only one, and nobody would know."""
    other = cases.Net()
    path = saved({"last": other.state_dict(), OTHER_KEYS[kind]: net.state_dict()})
    with pytest.raises(FormatError, match=r"2 LSTMs in it.*'\[1\].rnn', 'last.rnn'"):
        lstm_fast.load(path)
    assert same(lstm_fast.load(path, name="[1].rnn").weights, expected(net))


def test_names_that_are_there_twice_are_two_lstms(saved, net):
    """A list of the names of a model and of its average: neither is taken for the other."""
    average = cases.Net()
    path = saved([*net.named_parameters(), *average.named_parameters()])
    with pytest.raises(FormatError, match=r"2 LSTMs in it.*'again.rnn', 'rnn'"):
        lstm_fast.load(path)
    assert same(lstm_fast.load(path, name="rnn").weights, expected(net))
    assert same(lstm_fast.load(path, name="again.rnn").weights, expected(average))
