"""Errors belong to one LSTM: a good one beside it loads, and the error stands in its place."""

from __future__ import annotations

import re

import pytest

from cases import bits
from lstm_fast import FormatError, FormatWarning, formats
from lstm_fast.formats import pytorch

torch = pytest.importorskip("torch")
from name_files import FILES, written  # noqa: E402
from name_forms import FORMS, made  # noqa: E402


def bad_ones():
    """State dicts of LSTMs that cannot be computed, by what the error says."""
    good = torch.nn.LSTM(5, 4).state_dict()
    nan = {**good, "bias_ih_l0": good["bias_ih_l0"].clone()}
    nan["bias_ih_l0"][3] = float("nan")
    matrices = {name: good[name] for name in ("weight_ih_l0", "weight_hh_l0")}
    return {
        r"cannot be computed": made(FORMS["orthogonal"]).state_dict(),
        r"bias_ih_l0 is not finite in float32: nan at \[3\]": nan,
        r"weight_hh_l0 has shape \(16, 4, 3, 3\)": {
            name: value[..., None, None].expand(*value.shape, 3, 3).contiguous()
            for name, value in matrices.items()
        },
        r"it looks transposed": {name: value.T.contiguous() for name, value in matrices.items()},
        r"beside the weights": made(FORMS["a trained state"]).rnn.state_dict(),
        r"bias_hh_l0 is missing": {k: v for k, v in good.items() if k != "bias_hh_l0"},
        r"(?i)int64|I64|LongStorage": {**good, "weight_hh_l0": good["weight_hh_l0"].long()},
    }


@pytest.mark.parametrize("door", FILES)
@pytest.mark.parametrize("match", bad_ones())
def test_a_good_one_beside_a_bad_one_loads(tmp_path, door, match):
    good = torch.nn.LSTM(3, 2).state_dict()
    state = {f"a.{name}": value for name, value in bad_ones()[match].items()}
    state |= {f"b.{name}": value for name, value in good.items()}
    path = written(door, state, tmp_path)
    bad, found = formats.read(path)
    assert (bad.name, found.name) == ("a", "b")
    assert re.search(match, str(bad.error))
    assert re.search(r"LSTM 'a'|a\.weight_hh_l0", str(bad.error))
    assert str(tmp_path) in str(bad.error)
    assert bits(found.weights.layers[0].weight_ih) == bits(good["weight_ih_l0"].numpy())
    with pytest.warns(FormatWarning, match="left out, since it cannot be computed"):
        assert formats.load(path, backend="reference").hidden_size == 2
    assert formats.load(path, name="b", backend="reference").hidden_size == 2
    with pytest.raises(FormatError, match=match):
        formats.load(path, name="a")
    # The control: alone it is refused, and two good ones are two.
    alone = {name: value for name, value in state.items() if name.startswith("a.")}
    with pytest.raises(FormatError, match=match):
        formats.read(written(door, alone, tmp_path))
    twice = {f"c.{name}": value for name, value in good.items()}
    with pytest.raises(FormatError, match="2 LSTMs in it, say which: name= 'b', 'c'"):
        formats.load(written(door, {**state, **twice}, tmp_path))


def test_modules_with_a_bad_one():
    def make():
        modules = {"a": torch.nn.LSTM(5, 4), "b": torch.nn.LSTM(3, 2)}
        return torch.nn.ModuleDict(modules)

    module = make()
    with torch.no_grad():
        module["a"].bias_ih_l0[3] = float("nan")
    bad, found = pytorch.from_module(module)
    assert (bad.name, found.name) == ("a", "b")
    assert "bias_ih_l0 is not finite" in str(bad.error)

    class Broken(torch.nn.Module):
        def forward(self, weight):
            if self.training or torch.is_grad_enabled():
                return weight
            raise KeyError("no such thing")

    module = make()
    torch.nn.utils.parametrize.register_parametrization(module["a"], "weight_hh_l0", Broken())
    bad, found = pytorch.from_module(module)
    assert "a.weight_hh_l0: 'no such thing'" in str(bad.error)


@pytest.mark.filterwarnings("ignore")  # PyTorch means to give its quantization up
def test_quantized_modules_beside_a_float_one():
    quantized = torch.ao.nn.quantized.dynamic
    modules = {"rnn": torch.nn.LSTM(3, 2), "head": quantized.Linear(2, 3)}
    (found,) = pytorch.from_module(torch.nn.ModuleDict(modules))
    assert found.name == "rnn"
    modules["b"] = quantized.LSTM(3, 2)
    found = pytorch.from_module(torch.nn.ModuleDict(modules))
    assert [one.name for one in found] == ["b", "rnn"]
    assert "quantized by PyTorch; convert the float model" in str(found[0].error)
    del modules["rnn"]
    with pytest.raises(FormatError, match="quantized by PyTorch"):
        pytorch.from_module(torch.nn.ModuleDict(modules))


@pytest.mark.filterwarnings("ignore")  # PyTorch means to give its quantization up
def test_a_file_with_a_quantized_head(tmp_path):
    head = torch.ao.nn.quantized.dynamic.Linear(2, 3)
    module = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 2), "head": head})
    (found,) = formats.read(written("pt", module.state_dict(), tmp_path))
    assert found.name == "rnn"
    with pytest.raises(FormatError, match="quantized by PyTorch"):
        formats.read(written("pt", head.state_dict(prefix="head."), tmp_path))


def test_one_that_claims_too_much_is_refused_alone(tmp_path):
    good = torch.nn.LSTM(3, 2).state_dict()
    state = {f"{name}.{kind}": value for name in "ab" for kind, value in good.items()}
    state["a.weight_ih_l0"] = torch.ones(1).expand(8, 2**40)
    found = {one.name: one.error for one in formats.read(written("pt", state, tmp_path))}
    assert "more than the" in str(found["a"])
    assert found["b"] is None
