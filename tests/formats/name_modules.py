"""Modules of PyTorch that keep an LSTM's weights in some form, or have something beside them."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

INPUTS, H = 5, 4


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
