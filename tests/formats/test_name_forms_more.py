"""Models as people write them: what is around an LSTM, and what may be beside its weights."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest

from cases import bits
from lstm_fast import LSTM, FormatError, FormatWarning, formats
from lstm_fast.cli import main
from lstm_fast.formats import pytorch

torch = pytest.importorskip("torch")
from framework_runs import excess_of_run  # noqa: E402
from name_files import written  # noqa: E402
from name_forms import run_of  # noqa: E402
from name_modules import (  # noqa: E402
    INPUTS,
    Cell,
    H,
    Subclass,
    WeightDrop,
    lstm,
    old,
    sized,
    weight_norm,
)
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402


def model(**parts):
    """A model that has these parts, and no forward of its own."""
    module = nn.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def cell(**others):
    return Cell(bias=sized(4 * H), **others)


def normal(n):
    return nn.BatchNorm1d(n)


def through(door, module, folder, **options):
    """Return what a door finds by name."""
    if door == "module":
        return pytorch.from_module(module, **options)
    return formats.read(written(door, module.state_dict(), folder), **options)


def weights_of(module):
    """Return the weights of a plain LSTM or cell by PyTorch's names."""
    return {
        name if "_l" in name else f"{name}_l0": value.detach().numpy()
        for name, value in module.named_parameters(recurse=False)
    }


DOORS = ["pt", "safetensors", "torchscript", "module"]
AROUND = {
    "CRNN": lambda: model(
        conv=nn.Conv1d(1, 3, 3), bn=normal(3), lstm=lstm(num_layers=2, bidirectional=True),
        lstm_norm=nn.LayerNorm(2 * H), rnn_dropout=nn.Dropout(), head=nn.Linear(2 * H, 3),
    ),
    "trained states in the parent": lambda: model(
        lstm=lstm(), h0=sized(1, 1, H), c0=sized(1, 1, H), lstm_h0=sized(H),
        lstm_state=nn.ParameterDict({"h": sized(H), "c": sized(H)}),
    ),
    "sequence to sequence": lambda: model(
        encoder=model(embedding=nn.Embedding(9, INPUTS), rnn=lstm(), norm=nn.LayerNorm(H)),
        decoder=model(
            attn=nn.MultiheadAttention(H, 2), out=nn.Linear(H, 9),
            cells=nn.ModuleList([nn.LSTMCell(INPUTS, H), nn.LSTMCell(H, H)]),
        ),
    ),
    "norms of the linear layers": lambda: model(
        lstm=lstm(), fc=old(nn.utils.weight_norm, nn.Linear(H, 3)),
        out=parametrizations.weight_norm(nn.Linear(H, H)),
        mix=parametrizations.spectral_norm(nn.Linear(H, H)),
    ),
    "an unfinished lazy layer": lambda: model(lstm=lstm(), head=nn.LazyLinear(3)),
    "observers around it": lambda: model(
        quant_min=torch.zeros(1), lstm=lstm(), lstm_activation_post_process=model(scale=sized(1)),
    ),
    "compiled": lambda: torch.compile(
        model(lstm=lstm(), norm=nn.LayerNorm(H)), backend="eager"
    ),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(model(lstm=lstm(), fc=nn.Linear(H, 2))),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", AROUND)
def test_what_is_around_an_lstm_is_no_reason_to_refuse(tmp_path, door, name):
    if name == "an unfinished lazy layer" and door != "module":
        pytest.skip("it cannot be saved to such a file")
    module = AROUND[name]().eval()
    parts = {
        path: part
        for path, part in module.named_modules()
        if isinstance(part, (nn.LSTM, nn.LSTMCell))
    }
    found = through(door, module, tmp_path)
    assert {one.name for one in found} == parts.keys()
    for one in found:
        assert not one.notes
        assert not one.assumptions
        ours = one.weights.state_dict()
        theirs = weights_of(parts[one.name])
        assert {key: bits(value) for key, value in ours.items()} == {
            key: bits(value) for key, value in theirs.items()
        }


# Models whose own parameters are those of an LSTM, in what their names are wrapped by.
WRAPPERS = [
    "", "model.", "module.", "_orig_mod.", "model._orig_mod.", "_fsdp_wrapped_module.",
    "_forward_module.", "_checkpoint_wrapped_module.", "base_model.model.", "ema.", "shadow.",
    "ema_state_dict.", "model_state_dict.", "online_model.", "student.", "lstm_model.", "models.3.",
    "policy.", "generator.", "averaged_model.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_a_head_in_a_wrapped_model(tmp_path, prefix):
    module = Subclass(head=nn.Linear(H, 3), out=nn.Linear(H, H))
    state = {prefix + key: value for key, value in module.state_dict().items()}
    (found,) = formats.read(written("pt", state, tmp_path))
    assert found.name == prefix.rstrip(".")
    assert not found.assumptions
    assert all(f"'{prefix}{name}" in found.notes[0] for name in ("head.weight", "out.weight"))
    assert excess_of_run(found.weights, run_of(module)) <= 1


HARMLESS = {
    "embedding": lambda: nn.Embedding(9, INPUTS),
    "word_embeddings": lambda: nn.Embedding(4 * H, INPUTS),
    "tok_emb": lambda: nn.Embedding(H, INPUTS),
    "out": lambda: nn.Linear(H, H),
    "output_layer": lambda: nn.Linear(H, 4 * H),
    "hidden2tag": lambda: nn.Linear(H, H),
    "value_head": lambda: nn.Linear(H, H),
    "fc_out": lambda: nn.Linear(H, H),
    "linear": lambda: nn.Linear(H, 10 * H),  # more rows than a step has use for
    "proj": lambda: nn.Linear(H, 3),
    "lin": lambda: parametrizations.weight_norm(nn.Linear(H, 3)),
    "input_bn": lambda: normal(INPUTS),
    "cnn": lambda: nn.Sequential(nn.Conv1d(H, H, 3), normal(H)),
}
IN_A_CELL = {
    "linear": lambda: nn.Linear(H, 4 * H),
    "lin": lambda: parametrizations.weight_norm(nn.Linear(H, H)),
    "output_gate": lambda: nn.Linear(H, 3),
    "output_norm": lambda: nn.LayerNorm(H),
    "norm": lambda: nn.LayerNorm(INPUTS + H),  # of the input and h in one
    "bn_ih": lambda: normal(4 * H),
    "fc_gate": lambda: nn.Linear(H, 3),
    "conv_hh": lambda: nn.Linear(H, 3),
    "remember": lambda: nn.Linear(INPUTS, H),
    "attn_emb": lambda: nn.Embedding(9, INPUTS),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_layers_beside_the_weights_of_a_whole_model(tmp_path, name):
    module = cell(**{name: HARMLESS[name]()}).eval()
    (found,) = formats.read(written("pt", module.state_dict(), tmp_path))
    assert f"'{name}." in "; ".join(found.notes)
    assert not found.assumptions
    assert excess_of_run(found.weights, run_of(module)) <= 1


@pytest.mark.parametrize("name", IN_A_CELL)
def test_layers_that_may_be_part_of_a_step(tmp_path, name):
    module = cell(**{name: IN_A_CELL[name]()})
    path = written("pt", module.state_dict(), tmp_path)
    with pytest.raises(FormatError, match=re.escape(f"'{name}.")):
        formats.read(path)
    assert len(formats.read(path, ignore=f"{name}.*")) == 1


def test_a_head_or_an_embedding_in_a_layer_is_left_out_with_a_warning(tmp_path):
    """It is not the whole model, so that the name alone says that they are outside of a step."""
    module = model(decoder=cell(fc=nn.Linear(H, 9), emb=nn.Embedding(9, INPUTS)))
    path = written("pt", module.state_dict(), tmp_path)
    text = "taken by name for no part of the LSTM: 'decoder.fc.bias', 'decoder.fc.weight'"
    with pytest.warns(FormatWarning, match=text):
        ours = formats.load(path, backend="reference")
    assert excess_of_run(ours.weights, run_of(module.decoder)) <= 1
    formats.load(path, backend="reference", ignore=["decoder.fc.*"])  # said, and so no warning
    # As wide as the state, an embedding might start it.
    wide = {f"rnn.{name}": value for name, value in nn.LSTM(H, H).state_dict().items()}
    wide["rnn.emb.weight"] = torch.ones(9, H)
    with pytest.warns(FormatWarning, match=r"rnn\.emb\.weight"):
        formats.load(written("pt", wide, tmp_path), backend="reference")
    for name in ("fc_hh.weight", "attn_emb.weight", "mean"):
        state = {**module.state_dict(), f"decoder.{name}": torch.ones(9, INPUTS)}
        with pytest.raises(FormatError, match=name):
            formats.read(written("pt", state, tmp_path))


def test_numbers_and_words_beside_weights():
    """What people keep in one dict with the weights is not a weight."""
    state = lstm().state_dict()
    facts = {
        "hidden_size": H, "loss": 0.3, "bidirectional": False, "labels": ["a", "b"], "name": "x",
        "best": np.float64(0.3), "config": {"a": 1}, "sizes": (), "epoch": torch.tensor(3),
        "best_loss": torch.tensor(0.3),
    }  # fmt: skip
    ours = LSTM.from_state_dict({**state, **facts}, backend="reference")
    assert ours.fingerprint == LSTM.from_state_dict(state, backend="reference").fingerprint
    for value in (np.float64([0.3]), torch.tensor(0.3), [0.3, 0.4], np.array(0.3)):
        with pytest.raises(ValueError, match="'alpha' is beside"):
            LSTM.from_state_dict({**state, "alpha": value}, backend="reference")


def test_a_lazy_layer_beside_weights():
    module = Subclass(head=nn.LazyLinear(3))
    (found,) = pytorch.from_module(module)
    assert "head.weight" in found.notes[0]
    LSTM.from_state_dict(module.state_dict(), backend="reference")
    with pytest.raises(FormatError, match=r"'extra\.weight'"):
        pytorch.from_module(Subclass(extra=nn.LazyLinear(3)))


MEANINGS = {"peephole": 3 * H, "layer_norm": 4 * H, "h_0": H, "c_0": H}


@pytest.mark.parametrize("name", MEANINGS)
def test_names_like_ours_in_the_modules_of_others(tmp_path, name):
    """A peephole may be of the gates f, i, o there: what it is taken for is said."""
    state = {f"rnn.{key}": value for key, value in cell().state_dict().items()}
    value = torch.rand(MEANINGS[name])
    path = written("pt", {**state, f"rnn.{name}": value}, tmp_path)
    with pytest.warns(FormatWarning, match=rf"rnn\.{name} is taken for "):
        formats.load(path, backend="reference")
    own = written("safetensors", {**state, f"rnn.{name}_l0": value}, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        formats.load(own, backend="reference")
    wrong = {**state, f"rnn.{name}": value[None, None]}
    shape = re.escape(f"(1, 1, {len(value)}), expected ({len(value)},)")
    with pytest.raises(FormatError, match=f"{shape}.*--ignore rnn.{name} "):
        formats.read(written("pt", wrong, tmp_path))


@pytest.mark.parametrize("saved", [False, True])
def test_a_whole_awd_lstm(tmp_path, saved):
    drops = [WeightDrop(saved=saved) for _ in range(3)]
    encoder = model(
        encoder=nn.Embedding(9, INPUTS), encoder_dp=model(emb=nn.Embedding(9, INPUTS)),
        rnns=nn.ModuleList(drops),
    )  # fmt: skip
    module = nn.Sequential(encoder, model(decoder=nn.Linear(INPUTS, 9)))
    found = formats.read(written("pt", module.state_dict(), tmp_path))
    assert [one.name for one in found] == [f"0.rnns.{n}.module" for n in range(3)]
    for one, drop in zip(found, drops, strict=True):
        assert "dropout of weights" in one.assumptions[0]
        assert excess_of_run(one.weights, run_of(drop.eval())) <= 1


def test_a_piece_that_is_computed_itself():
    module = weight_norm(lstm())
    some = torch.arange(4 * H * H).reshape(4 * H, H) % 3 != 0  # in every row, which has a norm
    prune.custom_from_mask(module, "weight_hh_l0_v", some)
    (found,) = pytorch.from_module(module)
    assert excess_of_run(found.weights, run_of(module)) <= 1


@pytest.mark.filterwarnings("ignore")  # PyTorch means to give its quantization up
def test_a_module_that_is_trained_for_quantization():
    module = model(rnn=torch.ao.nn.quantizable.LSTM(INPUTS, H), other=lstm())
    found = pytorch.from_module(module)
    assert [one.name for one in found] == ["other", "rnn"]
    assert "convert the float model" in str(found[1].error)
    del module.other
    with pytest.raises(FormatError, match=r"rnn\.\*: quantized by PyTorch"):
        pytorch.from_module(module)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_errors_say_both_ways_on(tmp_path, capsys, count):
    names = [f"rnn.gain {n}" for n in range(count)]
    state = {f"rnn.{key}": value for key, value in lstm().state_dict().items()}
    state |= {name: torch.ones(H) for name in names}
    path = str(written("safetensors", state, tmp_path))
    assert main(["inspect", path]) == 1
    text = capsys.readouterr().err.strip()
    advice = re.search(r": (--ignore .*) on the command line, or ignore=(\[.*\])$", text)
    ignore = json.loads(advice[2].replace("'", '"'))
    assert ignore == names
    options = shlex.split(advice[1])
    if count > 3:
        assert options.pop() == "..."
        options = [word for name in names for word in ("--ignore", name)]
    assert main(["inspect", path, *options]) == 0
    assert len(formats.read(path, ignore=ignore)) == 1


def test_what_is_beside_weights_that_we_wrote(tmp_path, capsys):
    """Our own files say it likewise."""
    source = written("safetensors", lstm().state_dict(), tmp_path)
    path = tmp_path / "ours.safetensors"
    assert main(["convert", str(source), str(path)]) == 0
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["extra"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    assert main(["inspect", str(path)]) == 1
    expected = r"'extra' is not part.*--ignore extra on the command line, or ignore=\['extra'\]"
    assert re.search(expected, capsys.readouterr().err)
    assert main(["inspect", str(path), "--ignore", "extra"]) == 0


def test_an_option_that_a_format_does_not_have(capsys):
    path = Path(__file__).parents[1] / "golden/formats/onnx/torchscript_both.onnx"
    assert main(["inspect", str(path), "--ignore", "x"]) == 1
    assert "files of format onnx have no option ignore; they have" in capsys.readouterr().err
    path = path.parents[1] / "safetensors/cell.safetensors"
    with pytest.raises(TypeError, match=r"format safetensors have no option forget_bias.*ignore"):
        formats.load(path, forget_bias=1)
