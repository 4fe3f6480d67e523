"""The forms in which modules of PyTorch keep an LSTM's weights, and what is beside them.

Each form is a module that really runs, so that there is something to compare with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from name_modules import (
    INPUTS,
    Around,
    Cell,
    Doubled,
    H,
    LayerNormCell,
    Renamed,
    Subclass,
    WeightDrop,
    Wrapped,
    all_weight_norm,
    lstm,
    parametrized,
    pruned,
    sized,
    spectral_norm,
    weight_norm,
    with_counter,
    with_own,
)
from torch import nn


@dataclass(frozen=True)
class Form:
    """One form: what makes the module, and what is to come of it.

    make: makes the module.
    prefix: of the LSTM in it.
    refused: what the error says where the names alone do not do; None where it loads.
    note, assumption: what is said.
    error: by how much a weight may differ from PyTorch's, relative to it, in units of 2^-24: how
        often its arithmetic in float32 rounds; ours is in float64 and rounds once more.
    module_too: whether a module at hand is refused as well.
    """

    make: Callable[[], nn.Module]
    prefix: str = ""
    refused: str | None = None
    note: str = ""
    assumption: str = ""
    error: float = 0
    module_too: bool = True


# A norm of n values takes n products and n - 1 sums, whose errors the root halves, and then there
# are the root, a quotient and a product: at most n + 4 in all. u W v has 5 H terms to a sum, which
# is at least a quarter of what they are in magnitude (test_the_spectral_norms_do_not_cancel).
ROUNDS = H + 4
CANCELLED = 4
SIGMA = CANCELLED * 5 * H + 1
BESIDE = "beside the weights of this LSTM"
FORM = "a weight in a form from which it cannot be computed"
FORMS = {
    "plain": Form(lstm),
    "one bias": Form(lambda: Cell(bias=sized(4 * H)), note="bias is the sum of both biases"),
    "one bias, nested": Form(
        lambda: Around(Cell(bias=sized(4 * H))), "rnn.", note="rnn.bias is the sum of both"
    ),
    "no bias": Form(Cell),
    "one bias of another shape": Form(
        lambda: Cell(bias=sized(H)), refused=r"bias has shape \(4,\), expected \(16,\).*ignore="
    ),
    "one bias beside both": Form(
        lambda: with_own(lstm(), bias_l0=torch.randn(4 * H)), refused=f"'bias_l0' is {BESIDE}"
    ),
    # layer normalisation
    "LayerNormLSTMCell": Form(
        lambda: Around(LayerNormCell()), "rnn.",
        refused=r"rnn.layernorm_i.weight.*layer normalisation.*'rnn.layernorm_i.\*'",
    ),
    "LayerNormLSTMCell alone": Form(LayerNormCell, refused="layernorm_h.bias"),
    "normalisation without a telling name": Form(
        lambda: Subclass(one=nn.LayerNorm(H)), refused=f"'one.bias', 'one.weight' are {BESIDE}"
    ),
    "its own scale": Form(lambda: with_own(lstm(), gamma=torch.ones(4 * H)), refused="'gamma'"),
    # other parts of a cell
    "peepholes of other names": Form(
        lambda: Cell(w_ci=sized(H), w_cf=sized(H), w_co=sized(H)), refused="'w_cf', 'w_ci', 'w_co'"
    ),
    "a trained state": Form(
        lambda: Around(with_own(lstm(), h0=torch.ones(1, 1, H))), "rnn.",
        refused=r"'rnn.h0' is beside.*ignore=\['rnn.h0'\]",
    ),
    "an attention in a layer": Form(
        lambda: Around(Subclass(attn=nn.Linear(H, 1))), "rnn.", refused="rnn.attn.weight"
    ),
    "any layer in a layer": Form(
        lambda: Around(Subclass(extra=nn.Linear(H, 3))), "rnn.", refused="rnn.extra.weight"
    ),
    "a square layer in a model": Form(
        lambda: Subclass(lin=nn.Linear(H, H)), refused="lin.bias.*lin.weight"
    ),
    "a gate in a model": Form(lambda: Subclass(gate=nn.Linear(H, 3)), refused="gate.weight"),
    # what is harmless
    "a head in a model": Form(
        lambda: Subclass(head=nn.Linear(H, 3)), note="left out, as no part.*'head.bias'"
    ),
    "a square head in a model": Form(
        lambda: Subclass(fc1=nn.Linear(H, H)), note="left out, as no part.*'fc1.bias'"
    ),
    "a layer of another shape in a model": Form(
        lambda: Subclass(out=nn.Linear(H, 3)), note="left out, as no part.*'out.bias'"
    ),
    "a head in a wrapped model": Form(
        lambda: Wrapped(Subclass(head=nn.Linear(H, 3))), "module.", note="'module.head.weight'"
    ),
    "a counter": Form(lambda: with_counter(lstm()), note="'n_averaged'"),
    # dropout of weights
    "raw, above": Form(WeightDrop, "module.", assumption="weight_hh_l0 is weight_hh_l0_raw"),
    "raw, above, both": Form(
        lambda: WeightDrop(saved=True), "module.",
        assumption="weight_hh_l0_raw.*module.weight_hh_l0 is not used",
    ),
    "raw, above another name": Form(
        lambda: Renamed(WeightDrop(saved=True)), "rnn.lstm.",
        assumption="rnn.weight_hh_l0_raw.*rnn.lstm.weight_hh_l0 is not used",
    ),
    "raw, above two": Form(
        lambda: Renamed(WeightDrop(saved=True), lstm()), "rnn.lstm.",
        refused="'rnn.weight_hh_l0_raw' is beside",
    ),
    "raw, inside": Form(
        lambda: WeightDrop(inside=True), "module.", assumption="module.weight_hh_l0_raw"
    ),
    "raw, inside, both": Form(
        lambda: WeightDrop(inside=True, saved=True), "module.",
        assumption="module.weight_hh_l0_raw.*module.weight_hh_l0 is not used",
    ),
    # weights that are computed
    "weight_norm": Form(lambda: weight_norm(lstm()), error=ROUNDS, note="by weight norm from"),
    "weight_norm, nested": Form(
        lambda: Around(weight_norm(lstm())), "rnn.", error=ROUNDS,
        note="rnn.weight_hh_l0_v and rnn.weight_hh_l0_g",
    ),
    "weight_norm over all": Form(
        lambda: weight_norm(lstm(), dim=None), error=4 * H * H + 4, note="weight norm"
    ),
    "weight_norm of columns": Form(
        lambda: weight_norm(lstm(), dim=1), error=4 * H + 4, note="weight norm"
    ),
    "weight_norm of a bias": Form(
        lambda: weight_norm(lstm(), ["bias_ih_l0"]), error=ROUNDS, note="bias_ih_l0 is computed"
    ),
    "weight_norm of everything": Form(
        lambda: all_weight_norm(False), error=2 * H + 4, note="_l1_reverse"
    ),
    "new weight_norm": Form(
        lambda: weight_norm(lstm(), new=True), error=ROUNDS, note="original1 and parametrizations"
    ),
    "new weight_norm over all": Form(
        lambda: weight_norm(lstm(), new=True, dim=None), error=4 * H * H + 4, note="weight norm"
    ),
    "new weight_norm of everything": Form(
        lambda: all_weight_norm(True), error=2 * H + 4, note="_l1_reverse"
    ),
    "spectral_norm": Form(lambda: spectral_norm(lstm()), error=SIGMA, note="spectral norm"),
    "new spectral_norm": Form(
        lambda: spectral_norm(lstm(), new=True), error=SIGMA, note="spectral norm"
    ),
    "pruned": Form(lambda: pruned("weight_hh_l0", "bias_ih_l0"), note="by pruning from"),
    "orthogonal": Form(parametrized, refused=FORM, module_too=False),
    "a parametrisation of one's own": Form(
        lambda: parametrized(Doubled()), refused=FORM, module_too=False
    ),
    "a mask beside its weight": Form(
        lambda: with_own(lstm(), weight_hh_l0_mask=torch.ones(4 * H, H)),
        refused=r"weight_hh_l0_mask' beside weight_hh_l0.*ignore=\['weight_hh_l0_mask'\]",
    ),
}  # fmt: skip


def made(form):
    """Return the module of a form, in evaluation."""
    torch.manual_seed(7)
    return form.make().eval()


def weights_of(module, prefix):
    """Return what the module's last forward in evaluation computed with, by PyTorch's names."""
    part = module.get_submodule(prefix.rstrip("."))
    names = part._flat_weights_names if isinstance(part, nn.LSTM) else ["weight_ih", "weight_hh"]
    found = {name: getattr(part, name).detach() for name in names}
    return {name if "_l" in name else f"{name}_l0": value for name, value in found.items()}


def run_of(module, steps=9):
    """Return what it computes, as in `framework_runs`."""
    x = torch.randn(steps, INPUTS)
    with torch.no_grad():
        y, (h, c) = module(x)
    return {"x": x.numpy(), "y": y.numpy(), "h": h.numpy(), "c": c.numpy()}


def cancellation(module):
    """Return the magnitudes in u W v over its value, for an LSTM with a spectral norm."""
    state = {name: value.double().abs() for name, value in module.state_dict().items()}
    exact = {name: value.double() for name, value in module.state_dict().items()}

    def product(of):
        u, w, v = (
            next(value for name, value in of.items() if re.search(end, name))
            for end in ("_u$", r"orig(inal)?$", "_v$")
        )
        return u @ w @ v

    return float(product(state) / product(exact))


def tree(state):
    """Return a module without a forward that has these tensors under these names."""
    top = nn.Module()
    for name, value in state.items():
        *path, last = name.split(".")
        module = top
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_buffer(last, value.clone())
    return top
