"""The forms in which modules of PyTorch keep an LSTM's weights, and what is beside them.

Each form is a module that really runs, so that there is something to compare with.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

INPUTS, H = 5, 4


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


class Around(nn.Module):
    """A model with an LSTM under "rnn." and a head."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(H, 3)

    def forward(self, x):
        return self.rnn(x)


class Subclass(nn.LSTM):
    """A model that is an LSTM itself, and has other layers."""

    def __init__(self, **others):
        super().__init__(INPUTS, H)
        for name, layer in others.items():
            setattr(self, name, layer)


class Cell(nn.Module):
    """A hand-written cell, which runs over a sequence."""

    def __init__(self, **others):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(4 * H, INPUTS) / 2)
        self.weight_hh = nn.Parameter(torch.randn(4 * H, H) / 2)
        for name, other in others.items():
            setattr(self, name, other)

    def gates(self, x, h):
        gates = x @ self.weight_ih.T + h @ self.weight_hh.T
        return gates + self.bias if hasattr(self, "bias") else gates

    def forward(self, xs):
        h = c = torch.zeros(H)
        ys = []
        for x in xs:
            i, f, g, o = self.gates(x, h).chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            ys.append(h)
        return torch.stack(ys), (h[None], c[None])


class LayerNormCell(Cell):
    """As `LayerNormLSTMCell` of PyTorch's benchmark of custom LSTMs."""

    def __init__(self, normalisation=nn.LayerNorm):
        super().__init__(layernorm_i=normalisation(4 * H), layernorm_h=normalisation(4 * H))

    def gates(self, x, h):
        return self.layernorm_i(x @ self.weight_ih.T) + self.layernorm_h(h @ self.weight_hh.T)


class WeightDrop(nn.Module):
    """As fastai's `WeightDropout`: the raw weight is above the LSTM; or as torchnlp's, in it.

    What is dropped out stays behind in the LSTM where it is saved, in fastai's first version.
    """

    def __init__(self, inside=False, saved=False):
        super().__init__()
        self.module = nn.LSTM(INPUTS, H)
        self.inside, self.saved = inside, saved
        raw = self.module.weight_hh_l0
        del self.module.weight_hh_l0
        owner = self.module if inside else self
        owner.register_parameter("weight_hh_l0_raw", nn.Parameter(raw.data))
        self._set()

    def _set(self):
        owner = self.module if self.inside else self
        dropped = nn.functional.dropout(owner.weight_hh_l0_raw, 0.5, self.training)
        self.module.weight_hh_l0 = nn.Parameter(dropped) if self.saved else dropped

    def forward(self, x):
        self._set()
        return self.module(x)


class Renamed(nn.Module):
    """A `WeightDrop` whose LSTM has another name, and perhaps a neighbour."""

    def __init__(self, drop, other=None):
        super().__init__()
        self.rnn = nn.Module()
        self.rnn.lstm = drop.module
        self.rnn.weight_hh_l0_raw = drop.weight_hh_l0_raw
        if other is not None:
            self.rnn.other = other

    def forward(self, x):
        self.rnn.lstm.weight_hh_l0.data.copy_(self.rnn.weight_hh_l0_raw.data)
        return self.rnn.lstm(x)


def old(function, *arguments, **options):
    """Call what PyTorch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def lstm(**options):
    return nn.LSTM(INPUTS, H, **options)


def weight_norm(module, names=("weight_hh_l0",), *, new=False, dim=0):
    for name in names:
        if new:
            parametrizations.weight_norm(module, name, dim)
        else:
            old(nn.utils.weight_norm, module, name, dim)
    originals = dict(module.named_parameters())
    with torch.no_grad():  # so that the weight is not the one that it was made from
        for name, value in originals.items():
            if name.endswith(("_g", "original0")):
                value.mul_(1.5)
    return module


def all_weight_norm(new):
    module = lstm(num_layers=2, bidirectional=True)
    names = [name for name, _ in module.named_parameters() if "weight" in name]
    return weight_norm(module, names, new=new)


def spectral_norm(module, *, new=False):
    apply = parametrizations.spectral_norm if new else nn.utils.spectral_norm
    old(apply, module, "weight_hh_l0")
    module(torch.randn(3, INPUTS))  # a step in training, which changes the vectors
    return module


def pruned(*names):
    module = lstm()
    for name in names:
        prune.random_unstructured(module, name, 0.5)
    return module


class Doubled(nn.Module):
    """A parametrisation without a state."""

    def forward(self, weight):
        return 2 * weight


def parametrized(parametrization=None):
    module = lstm()
    if parametrization is None:
        return parametrizations.orthogonal(module, "weight_hh_l0")
    parametrize.register_parametrization(module, "weight_hh_l0", parametrization)
    return module


def with_own(module, **tensors):
    """Register parameters of the module itself."""
    for name, tensor in tensors.items():
        module.register_parameter(name, nn.Parameter(tensor))
    return module


def one_bias(bidirectional=False):
    """An LSTM of two layers with one bias for both, as state dicts of other libraries have it."""
    module = lstm(num_layers=2, bidirectional=bidirectional)
    for name, value in list(module.named_parameters()):
        if name.startswith("bias_hh"):
            value.data.zero_()
    return module


def sized(*shape):
    return nn.Parameter(torch.randn(*shape))


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
        lambda: with_own(lstm(), bias_l0=torch.randn(4 * H)), refused=f"'bias_l0' stands {BESIDE}"
    ),
    # layer normalisation
    "LayerNormLSTMCell": Form(
        lambda: Around(LayerNormCell()), "rnn.",
        refused=r"rnn.layernorm_i.weight.*layer normalisation.*'rnn.layernorm_i.\*'",
    ),
    "LayerNormLSTMCell alone": Form(LayerNormCell, refused="layernorm_h.bias"),
    "normalisation without a telling name": Form(
        lambda: Subclass(one=nn.LayerNorm(H)), refused=f"'one.bias', 'one.weight' stand {BESIDE}"
    ),
    "its own scale": Form(lambda: with_own(lstm(), gamma=torch.ones(4 * H)), refused="'gamma'"),
    # other parts of a cell
    "peepholes of other names": Form(
        lambda: Cell(w_ci=sized(H), w_cf=sized(H), w_co=sized(H)), refused="'w_cf', 'w_ci', 'w_co'"
    ),
    "a trained state": Form(
        lambda: Around(with_own(lstm(), h0=torch.ones(1, 1, H))), "rnn.",
        refused=r"'rnn.h0' stands beside.*ignore=\['rnn.h0'\]",
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
        refused="'rnn.weight_hh_l0_raw' stands beside",
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


class Wrapped(nn.Module):
    """As `DataParallel` names it."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)


def with_counter(module):
    module.register_buffer("n_averaged", torch.tensor(3))
    return module


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
