"""Every form in which an LSTM's weights are kept under names, through every door that reads names.

Each is used, or noted, or refused by name; and what is computed is what the module computes.
"""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest
from framework_runs import excess_of_run

from cases import bits
from lstm_fast import LSTM, FormatError, FormatWarning, formats
from lstm_fast.cli import main
from lstm_fast.formats import pytorch

torch = pytest.importorskip("torch")
from name_files import FILES, written  # noqa: E402
from name_forms import (  # noqa: E402
    CANCELLED,
    FORMS,
    cancellation,
    made,
    run_of,
    weights_of,
)
from name_modules import Around, Subclass  # noqa: E402

DOORS = ["from_state_dict", *FILES]


def through(door, module, prefix, folder, **options):
    """Return weights, notes and assumptions that a module's state dict gives."""
    state = module.state_dict()
    if door == "from_state_dict":
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FormatWarning)
            lstm = LSTM.from_state_dict(state, prefix, backend="reference", **options)
        return lstm.weights, None, [str(one.message) for one in caught]
    found = formats.read(written(door, state, folder), **options)
    (one,) = [one for one in found if one.name == prefix.rstrip(".")]
    return one.weights, one.notes, one.assumptions


def worst_weight(weights, theirs):
    """Return the largest relative difference from PyTorch's, in units of 2^-24."""
    ours = weights.state_dict()
    differences = [0.0]
    for name, value in theirs.items():
        exact = value.double().numpy()
        difference = np.abs(ours[name].astype(np.float64) - exact)
        differences.append(float((difference / np.maximum(np.abs(exact), 1e-30)).max()))
    return max(differences) * 2**24


LOADED = [name for name, form in FORMS.items() if form.refused is None]
REFUSED = [name for name, form in FORMS.items() if form.refused is not None]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", LOADED)
def test_what_loads_computes_what_the_module_does(tmp_path, door, name):
    form = FORMS[name]
    module = made(form)
    run = run_of(module)
    weights, notes, assumptions = through(door, module, form.prefix, tmp_path)
    # Ours is rounded once more than theirs, and what is exact in both is the same.
    allowed = form.error + 1 if form.error else 0
    assert worst_weight(weights, weights_of(module, form.prefix)) <= allowed
    # A weight that is wrong by no more than a sum of I + H terms is rounds adds at most as much
    # to a pre-activation as the bound allows for that sum.
    assert excess_of_run(weights, run) <= (1 if not form.error else 1 + allowed / (5 + 4 + 3))
    if notes is not None:
        assert re.search(form.note, "; ".join(notes))
    assert bool(assumptions) == bool(form.assumption)
    assert re.search(form.assumption, "; ".join(assumptions))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(tmp_path, door, name):
    form = FORMS[name]
    with pytest.raises((ValueError, FormatError), match=form.refused) as caught:
        through(door, made(form), form.prefix, tmp_path)
    assert "\n" not in str(caught.value)


UNKNOWN = [
    "alpha", "h0", "w_ci", "zoneout", "weight_ih_l0_scale", "weight_hh_l0_ema", "weight_ih_l00",
    "weight_hh_l0.absmax", "bias_mask", "peephole_raw", "norm.weight", "cells.0.ln.bias",
    "weight_hh_l0_lora_A", "parametrizations.gain.original", "layers/norm/scale",
]  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("prefix", ["", "rnn.", "model.encoder.rnn.", "enc/rnn/", "lstm_"])
def test_whatever_is_not_known_is_refused(tmp_path, prefix, name):
    """And the error says the option with which it loads."""
    plain = {f"{prefix}{key}": value for key, value in torch.nn.LSTM(5, 4).state_dict().items()}
    state = {**plain, prefix + name: torch.ones(4)}
    for door in ("from_state_dict", "safetensors"):

        def load(state=state, door=door, **options):
            if door == "from_state_dict":
                return LSTM.from_state_dict(state, prefix, backend="reference", **options)
            path = written(door, state, tmp_path)
            return formats.load(path, backend="reference", **options)

        with pytest.raises(ValueError, match=re.escape(repr(prefix + name))) as caught:
            load()
        ignore = json.loads(re.search(r"ignore=(\[.*?\])$", str(caught.value))[1].replace("'", '"'))
        assert load(ignore=ignore).fingerprint == load(plain).fingerprint


@pytest.mark.parametrize("name", FORMS)
def test_a_module_at_hand(name):
    """Of a module every weight is what its forward in evaluation has, to the bit."""
    form = FORMS[name]
    module = made(form)
    if form.refused and form.module_too:
        with pytest.raises(FormatError, match=form.refused):
            pytorch.from_module(module)
        return
    run = run_of(module)
    (found,) = pytorch.from_module(module)
    assert found.name == form.prefix.rstrip(".")
    theirs = weights_of(module, form.prefix)
    ours = found.weights.state_dict()
    assert all(bits(ours[name]) == bits(value.numpy()) for name, value in theirs.items())
    assert excess_of_run(found.weights, run) <= 1


@pytest.mark.parametrize("name", ["spectral_norm", "new spectral_norm", "weight_norm", "pruned"])
def test_a_module_in_training_is_left_as_it_is(name):
    module = made(FORMS[name])
    with torch.no_grad():
        before = {key: value.clone() for key, value in module.state_dict().items()}
    module.train()
    attributes = dict(vars(module))
    (found,) = pytorch.from_module(module)
    assert module.training
    assert vars(module) == attributes
    after = module.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert excess_of_run(found.weights, run_of(module.eval())) <= 1


def test_new_values_are_seen_without_a_forward():
    """The old hooks keep what they computed at the last forward, which may be stale."""
    module = made(FORMS["weight_norm"])
    with torch.no_grad():
        module.weight_hh_l0_g.mul_(3)
    (found,) = pytorch.from_module(module)
    stale = module.weight_hh_l0.detach().numpy()
    assert not np.allclose(found.weights.layers[0].weight_hh, stale)
    assert excess_of_run(found.weights, run_of(module)) <= 1


def test_a_class_of_ones_own_is_said():
    (found,) = pytorch.from_module(made(FORMS["one bias"]))
    assert found.assumptions == (
        "Cell is taken to compute what torch.nn.LSTM does with weights of these names",
    )
    assert pytorch.from_module(Subclass())[0].assumptions == ()
    hooked = torch.nn.LSTM(5, 4)
    hooked.register_forward_pre_hook(lambda module, arguments: None)
    assert "LSTM is taken" in pytorch.from_module(hooked)[0].assumptions[0]


@pytest.mark.parametrize("door", DOORS)
def test_ignore(tmp_path, door):
    """What is refused loads where the names are left out, one by one or by a pattern."""
    form = FORMS["LayerNormLSTMCell"]
    module = made(form)
    with pytest.raises(ValueError, match="layernorm_h") as caught:
        through(door, module, form.prefix, tmp_path)
    patterns = re.search(r"ignore=(\[.*\])", str(caught.value)).group(1)
    assert patterns == "['rnn.layernorm_h.*', 'rnn.layernorm_i.*']"
    for ignore in ("rnn.layernorm_*", json.loads(patterns.replace("'", '"'))):
        weights, notes, _ = through(door, module, form.prefix, tmp_path, ignore=ignore)
        assert bits(weights.layers[0].weight_ih) == bits(module.rnn.weight_ih.detach().numpy())
        assert notes is None or "left out, as ignore= asks: 'rnn.layernorm_" in notes[0]
    with pytest.raises(ValueError, match="layernorm_h"):
        through(door, module, form.prefix, tmp_path, ignore=["rnn.layernorm_i.*"])
    with pytest.raises(TypeError, match="found int"):
        through(door, module, form.prefix, tmp_path, ignore=[3])


def test_ignore_of_a_module_and_of_raw_weights():
    module = made(FORMS["LayerNormLSTMCell"])
    (found,) = pytorch.from_module(module, ignore="*layernorm*")
    assert found.name == "rnn"
    module = made(FORMS["raw, inside, both"])
    (found,) = pytorch.from_module(module, ignore="*_raw")
    assert found.assumptions == ()


def test_load_warns_of_raw_weights(tmp_path):
    path = written("safetensors", made(FORMS["raw, above"]).state_dict(), tmp_path)
    with pytest.warns(FormatWarning, match="as dropout of weights has it in evaluation"):
        formats.load(path, backend="reference")


def test_ignore_on_the_command_line(tmp_path, capsys):
    path = str(written("safetensors", made(FORMS["LayerNormLSTMCell"]).state_dict(), tmp_path))
    out = str(tmp_path / "out.safetensors")
    assert main(["inspect", path]) == 1
    assert "rnn.layernorm_i.weight" in capsys.readouterr().err
    assert main(["inspect", path, "--ignore", "*_i.*", "--ignore", "*_h.*"]) == 0
    assert main(["convert", path, out, "--ignore", "*layernorm*"]) == 0
    assert len(formats.read(out)) == 1


@pytest.mark.parametrize("factor", [1 + 2**-19, 0.5])
@pytest.mark.parametrize("name", ["weight_norm", "new spectral_norm", "pruned", "raw, above"])
def test_the_comparison_of_weights_can_fail(tmp_path, name, factor):
    """Negative control: a weight that is wrong by some roundings, or by half."""
    form = FORMS[name]
    module = made(form)
    run_of(module)
    weights, _, _ = through("pt", module, form.prefix, tmp_path)
    theirs = weights_of(module, form.prefix)
    theirs["weight_hh_l0"] = theirs["weight_hh_l0"] * factor
    limit = form.error + 1 if form.error else 0
    assert (worst_weight(weights, theirs) > limit) == (factor == 0.5 or limit < 2**5)


def test_a_cell_that_normalises_is_no_plain_one():
    """Negative control: what was loaded in silence before computes something else."""
    module = made(FORMS["LayerNormLSTMCell alone"])
    lstm = LSTM.from_state_dict(module.state_dict(), ignore="layernorm*", backend="reference")
    assert excess_of_run(lstm.weights, run_of(module), ours=False) > 1000


def test_raw_weights_are_not_those_that_were_dropped_out(tmp_path):
    """Negative control: the ones that stand in the place of the weight are others."""
    module = made(FORMS["raw, above, both"])
    run = run_of(module)
    module.train()
    module(torch.randn(3, 5))  # leaves a weight with zeros behind
    weights, _, _ = through("pt", module, "module.", tmp_path)
    dropped, _, _ = through("pt", module, "module.", tmp_path, ignore="*_raw")
    assert excess_of_run(weights, run) <= 1
    assert excess_of_run(dropped, run, ours=False) > 1000


@pytest.mark.parametrize("name", ["spectral_norm", "new spectral_norm"])
def test_the_spectral_norms_do_not_cancel(name):
    assert cancellation(made(FORMS[name])) <= CANCELLED


def test_a_module_in_the_place_of_its_state_dict():
    with pytest.raises(TypeError, match=r"found LSTM: pass its state_dict\(\)"):
        LSTM.from_state_dict(torch.nn.LSTM(5, 4))
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module, found OrderedDict"):
        pytorch.from_module(torch.nn.LSTM(5, 4).state_dict())


def test_shapes_that_no_norm_has(tmp_path):
    state = made(FORMS["weight_norm"]).state_dict()
    wrong = {**state, "weight_hh_l0_g": torch.ones(16, 4)}
    with pytest.raises(FormatError, match=r"weight_hh_l0_v: a weight norm of shapes"):
        formats.read(written("pt", wrong, tmp_path))
    wrong = {**state, "weight_hh_l0_v": torch.zeros(16, 4)}
    with pytest.raises(FormatError, match=r"weight_hh_l0_v is not finite.*by weight norm"):
        formats.read(written("pt", wrong, tmp_path))
    state = made(FORMS["spectral_norm"]).state_dict()
    wrong = {**state, "weight_hh_l0_u": torch.ones(5)}
    with pytest.raises(FormatError, match=r"weight_hh_l0_orig: a spectral norm of shapes"):
        formats.read(written("pt", wrong, tmp_path))


def test_other_modules_beside_it_are_of_no_interest(tmp_path):
    """What is not under the prefix is not looked at, whatever it is."""
    module = Around(torch.nn.LSTM(5, 4))
    module.rnn_norm = torch.nn.LayerNorm(4)
    module.h0 = torch.nn.Parameter(torch.ones(4))
    for door in DOORS:
        _, notes, assumptions = through(door, module, "rnn.", tmp_path)
        assert not notes
        assert not assumptions


def test_long_names_take_no_long_time():
    """A name is cut at every separator; there may be many in a file that means harm."""
    names = [f"{n}" + ".-" * 2000 for n in range(3000)]
    lstm = LSTM.random(3, 2, backend="reference").state_dict()
    mapping = {**dict.fromkeys(names, np.zeros((3, 3, 3))), **lstm}
    assert LSTM.from_state_dict(mapping, backend="reference").hidden_size == 2
