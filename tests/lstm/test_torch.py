"""torch.nn.LSTM over its whole grid of options, and torch.nn.LSTMCell: the same weights, the same.

Both sides are judged from float64 along the sequence: ours by the bound of its own order of sums,
PyTorch's by one for sums in any order and activations of its own.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from cases import bits
from lstm_fast import LSTM
from lstm_fast._state_dict import read_weights
from variant_tolerances import batch, excess

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

I, H, P = 5, 9, 4  # noqa: E741
N, T = 3, 4
LENGTHS = [4, 1, 3]
GRID = [
    {"bias": bias, "batch_first": first, "bidirectional": both, "proj_size": proj, "num_layers": n}
    for bias, first, both, proj, n in itertools.product(
        (True, False), (True, False), (True, False), (0, P), (1, 2, 3)
    )
]


def name(options):
    on = [key for key in ("bias", "batch_first", "bidirectional") if options[key]]
    on += ["proj"] if options["proj_size"] else []
    return "-".join([f"{options['num_layers']}_layers", *on])


def module_for(**options):
    """A module with PyTorch's own initial weights, of which each is another."""
    torch.manual_seed(len(name(options)))
    return torch.nn.LSTM(I, H, **options)


def state_for(options, rows=N):
    rng = np.random.default_rng(3)
    stacked = options["num_layers"] * (2 if options["bidirectional"] else 1)
    h = rng.uniform(-1, 1, (stacked, rows, options["proj_size"] or H)).astype(np.float32)
    return h, rng.standard_normal((stacked, rows, H)).astype(np.float32)


XS = np.random.default_rng(2).standard_normal((N, T, I)).astype(np.float32)


@cache
def peer(text, lengths):
    """What PyTorch gives for these options: ys (N, T, D * P), h, c; and its state dict."""
    options = next(one for one in GRID if name(one) == text)
    module = module_for(**options)
    xs, state = torch.from_numpy(XS), tuple(map(torch.from_numpy, state_for(options)))
    first = options["batch_first"]
    xs = xs if first else xs.transpose(0, 1)
    rnn = torch.nn.utils.rnn
    with torch.no_grad():
        if lengths is None:
            ys, (h, c) = module(xs, state)
        else:
            how = {"batch_first": first, "enforce_sorted": False}
            ys, (h, c) = module(rnn.pack_padded_sequence(xs, list(lengths), **how), state)
            ys, _ = rnn.pad_packed_sequence(ys, batch_first=first, total_length=T)
    ys = ys if first else ys.transpose(0, 1)
    return [part.numpy() for part in (ys, h, c)], module.state_dict()


@cache
def bounds(text, lengths, is_peer):
    options = next(one for one in GRID if name(one) == text)
    weights = read_weights(peer(text, lengths)[1])
    return batch(weights, XS, state_for(options), lengths or [T] * N, peer=is_peer)


def worst(found, text, lengths=None, is_peer=False):
    exact = bounds(text, lengths, is_peer)
    assert [part.shape for part in found] == [near.value.shape for near in exact]
    return max(excess(part, *near) for part, near in zip(found, exact, strict=True))


def ours(implementation, options, state_dict, lengths=None):
    ys, (h, c) = implementation.from_state_dict(state_dict)(XS, state_for(options), lengths)
    return ys, h, c


@pytest.mark.parametrize("options", GRID, ids=name)
def test_grid(implementation, options):
    text = name(options)
    theirs, state_dict = peer(text, None)
    assert worst(theirs, text, is_peer=True) <= 1
    assert worst(ours(implementation, options, state_dict), text) <= 1


@pytest.mark.parametrize("options", [one for one in GRID if one["bias"]], ids=name)
def test_packed_sequences(implementation, options):
    """Lengths as pack_padded_sequence has them: the reverse direction starts at each row's end."""
    text, lengths = name(options), tuple(LENGTHS)
    theirs, state_dict = peer(text, lengths)
    assert worst(theirs, text, lengths, is_peer=True) <= 1
    assert worst(ours(implementation, options, state_dict, LENGTHS), text, lengths) <= 1


def test_without_a_state_both_start_from_zeros(implementation):
    module = module_for(**GRID[0])
    with torch.no_grad():
        theirs, _ = module(torch.from_numpy(XS))
    lstm = implementation.from_state_dict(module.state_dict())
    ys, _ = lstm(XS)
    zeros = tuple(np.zeros_like(part) for part in state_for(GRID[0]))
    value, error = batch(lstm.weights, XS, zeros, [T] * N, peer=True)[0]
    assert excess(theirs.numpy(), value, error) <= 1
    assert excess(ys, value, error) <= 1


@pytest.mark.parametrize("bias", [True, False])
def test_cell(implementation, bias):
    torch.manual_seed(4)
    cell = torch.nn.LSTMCell(I, H, bias=bias)
    options = {"num_layers": 1, "bidirectional": False, "proj_size": 0}
    h, c = state_for(options)
    lstm = implementation.from_state_dict(cell.state_dict())
    exact, at_peer = (
        batch(lstm.weights, XS, (h, c), [T] * N, peer=is_peer) for is_peer in (False, True)
    )
    state, theirs = (torch.from_numpy(h[0]), torch.from_numpy(c[0])), []
    with torch.no_grad():
        for t in range(T):
            state = cell(torch.from_numpy(XS[:, t]), state)
            theirs.append(state[0].numpy())
    assert excess(np.stack(theirs, axis=1), *at_peer[0]) <= 1
    assert excess(state[1].numpy()[None], *at_peer[2]) <= 1
    for row in range(N):
        stream = lstm.stream((h[:, row], c[:, row]))
        ys = np.stack([stream.step(x) for x in XS[row]])
        assert excess(ys, *(part[row] for part in exact[0])) <= 1
        assert excess(stream.state.c, *(part[:, row] for part in exact[2])) <= 1
    assert (lstm.num_layers, lstm.direction, lstm.proj_size) == (1, "forward", 0)


@pytest.mark.parametrize("options", GRID, ids=name)
def test_names_and_sizes_are_pytorchs(options):
    module = module_for(**options)
    lstm = LSTM.from_state_dict(module.state_dict(), backend="reference")
    for size in ("input_size", "hidden_size", "num_layers", "proj_size", "bidirectional"):
        assert getattr(lstm, size) == getattr(module, size)
    back = {key: torch.from_numpy(value) for key, value in lstm.state_dict().items()}
    twin = torch.nn.LSTM(I, H, **options)
    twin.load_state_dict(back)  # strict: every name, no other
    for key, value in module.state_dict().items():
        assert bits(back[key].numpy()) == bits(value.numpy())


def permuted(state_dict, order):
    return {
        key: value if "_hr" in key else torch.cat([torch.chunk(value, 4)[gate] for gate in order])
        for key, value in state_dict.items()
    }


def reversed_names(state_dict):
    def other(key):
        return key.removesuffix("_reverse") if key.endswith("_reverse") else f"{key}_reverse"

    return {key: state_dict[other(key)] for key in state_dict}


@pytest.mark.parametrize("proj_size", [0, P])
def test_every_wrong_order_of_gates_is_noticed(implementation, proj_size):
    """Negative control: each of the 23, and the directions swapped."""
    options = GRID[0] | {"bidirectional": True, "num_layers": 1, "proj_size": proj_size}
    text = name(options)
    _, state_dict = peer(text, None)
    right, *wrong = itertools.permutations(range(4))
    assert len(wrong) == 23
    assert worst(ours(implementation, options, permuted(state_dict, right)), text) <= 1
    for order in wrong:
        assert worst(ours(implementation, options, permuted(state_dict, order)), text) > 30
    assert worst(ours(implementation, options, reversed_names(state_dict)), text) > 30


@pytest.mark.parametrize("is_peer", [False, True])
def test_the_bound_notices_a_small_mistake(implementation, is_peer):
    """Negative control: one weight off by 0.1 %, and the lengths of other rows."""
    options = GRID[0] | {"bidirectional": True, "num_layers": 2, "proj_size": P}
    text = name(options)
    _, state_dict = peer(text, None)
    for key in ("weight_ih_l0", "weight_hh_l1_reverse", "weight_hr_l0", "bias_hh_l1"):
        changed = {k: value.clone() for k, value in state_dict.items()}
        largest = changed[key].abs().argmax()
        changed[key].view(-1)[largest] *= 1.001
        assert worst(ours(implementation, options, changed), text, is_peer=is_peer) > 1.5, key
    found = ours(implementation, options, state_dict, LENGTHS[::-1])
    assert worst(found, text, tuple(LENGTHS), is_peer) > 30
