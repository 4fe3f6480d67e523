"""Causal convolutions over a time axis, in the forms in which people and exporters write them."""

from __future__ import annotations

import numpy as np
from program_graphs import graph_model, node, run, session, tensors

import program_bounds
from lstm_fast import load_model
from variant_tolerances import excess

# What puts k - 1 frames, times the dilation, in front of a convolution along time, or cuts the
# same off behind it.
FORMS = ("pad", "pad before turning", "pads", "chomp", "chomp by length", "chomp later", "crop")
FORMS += ("concat",)


class Chain:
    """A graph that grows node by node; its last value is (1, channels, T).

    Args:
        rng: of the weights.
        channels: of the input x.
        turned: x is (1, T, channels), else (1, channels, T).
        length: of the time axis; None leaves it free.
    """

    def __init__(self, rng, channels, *, turned=False, length=None):
        time = "time" if length is None else length
        shape = [
            "batch" if length is None else 1,
            *((time, channels), (channels, time))[not turned],
        ]
        self.rng, self.channels, self.inputs = rng, channels, {"x": shape}
        self.nodes, self.values, self.last, self._count = [], {}, "x", 0
        if turned:
            self.add("Transpose", perm=[0, 2, 1])

    def floats(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def constant(self, value):
        self._count += 1
        name = f"v{self._count}"
        self.values[name] = np.asarray(value)
        return name

    def add(self, kind, *others, first=None, outputs=1, **attributes):
        """Add a node that takes the last value, then others; return the name of its result."""
        self._count += 1
        made = [f"{kind.lower()}{self._count}{n or ''}" for n in range(outputs)]
        given = " ".join([first or self.last, *others])
        self.nodes.append(node(kind, given, " ".join(made), **attributes))
        self.last = made[-1]
        return self.last

    def conv(self, out, taps, dilation=1, groups=1, form="pads", bias=True, fill=0.0):
        """Add a causal convolution; fill: what a padding node puts in front."""
        before, given = (taps - 1) * dilation, self.last
        pads, cut = [0, 0], before
        if form == "pad":
            self.add("Pad", self.constant([0, 0, before, 0, 0, 0]), self.constant(np.float32(fill)))
        elif form == "pad before turning":
            self.add("Transpose", perm=[0, 2, 1])
            self.add("Pad", self.constant([0, before, 0, 0, 0, 0]))
            self.add("Transpose", perm=[0, 2, 1])
        elif form == "concat":
            zeros = self.constant(np.full((1, self.channels, before), fill, np.float32))
            self.add("Concat", self.last, first=zeros, axis=2)
        else:
            pads = [before, 0 if form == "pads" else before]
        weight = self.floats(
            out, self.channels // groups, taps, scale=(self.channels * taps) ** -0.5
        )
        others = [self.constant(weight)]
        if bias:
            others.append(self.constant(self.floats(out, scale=0.3)))
        self.add("Conv", *others, pads=pads, dilations=[dilation], group=groups)
        self.channels = out
        if form == "chomp later":
            self.add("Tanh")
        if form.startswith("chomp") and before:
            ends = self.constant([-cut])
            if form == "chomp by length":
                last = self.last
                self.add("Shape", first=given)
                ends = self.add("Slice", self.constant([2]), self.constant([3]))
                self.last = last
            self.add("Slice", self.constant([0]), ends, self.constant([2]))
        elif form == "crop":
            self.add("Pad", self.constant([0, 0, 0, 0, 0, -cut]))
        return self

    def norm(self):
        """Add a batch normalisation whose folded bias is made of terms below 8."""
        rows = [self.rng.uniform(*ends, self.channels) for ends in ((0.5, 1), (-1, 1), (-1, 1))]
        rows.append(self.rng.uniform(0.5, 2, self.channels))
        self.add("BatchNormalization", *(self.constant(np.float32(one)) for one in rows))
        return self

    def rnn(self, kind, size):
        """Add an LSTM or GRU over [T, 1, channels]."""
        gates = {"LSTM": 4, "GRU": 3}[kind]
        self.add("Transpose", perm=[2, 0, 1])
        shapes = ((1, gates * size, self.channels), (1, gates * size, size), (1, 2 * gates * size))
        weights = [self.constant(self.floats(*shape, scale=0.3)) for shape in shapes]
        more = {"linear_before_reset": 1} if kind == "GRU" else {}
        self.add(kind, *weights, hidden_size=size, **more)
        self.add("Squeeze", self.constant([1]))
        self.add("Transpose", perm=[1, 2, 0])
        self.channels = size
        return self

    def model(self, *, softmax=0):
        """Return the model; softmax: so many classes, (1, T, classes), behind it."""
        if softmax:
            self.add("Transpose", perm=[0, 2, 1])
            self.add("MatMul", self.constant(self.floats(self.channels, softmax, scale=0.5)))
            self.add("Softmax", axis=-1)
        self.nodes[-1].output[0] = "y"
        return graph_model(self.nodes, self.inputs, constants=tensors(**self.values))


def random_chain(seed, **options):
    """Return a stack of convolutions of all kinds, and what often stands between and behind."""
    rng = np.random.default_rng(seed)
    chain = Chain(rng, int(rng.choice([4, 6])), turned=bool(rng.integers(2)), **options)
    for _ in range(rng.integers(1, 4)):
        before, channels = chain.last, chain.channels
        groups = int(rng.choice([1, 2, channels]))
        out = groups * int(rng.integers(1, 3)) if groups > 1 else int(rng.choice([4, 6]))
        form, taps = str(rng.choice(FORMS)), int(rng.integers(2, 5))
        chain.conv(out, taps, int(rng.integers(1, 4)), groups, form, bias=bool(rng.integers(2)))
        if rng.integers(2):
            chain.norm()
        chain.add(str(rng.choice(["Relu", "Tanh", "Sigmoid"])))
        if chain.channels == channels and rng.integers(2):
            chain.add("Add", before)
    if rng.integers(3):
        chain.rnn(str(rng.choice(["LSTM", "GRU"])), 5)
    return chain


def whole(path, xs):
    """Return what onnxruntime computes of all frames at once, a row for each."""
    one = session(path)
    (given,), rows = one.get_inputs(), xs
    if given.shape[2] != xs.shape[1]:
        rows = xs.T
    (y,) = run(one, {"x": np.ascontiguousarray(rows)[None]}).values()
    return y[0] if y.shape[1] == len(xs) else y[0].T


def streamed(path, xs, **options):
    stream = load_model(path, **options).stream()
    return np.stack([stream.step(x) for x in xs])


def distance(program, xs, ys, *, peer=False):
    """Return the largest distance over its bound, from a program's steps in float64."""
    steps = program_bounds.run(program, xs, peer=peer)
    error = np.stack([one.error for one in steps])
    assert np.isfinite(error).all()
    return excess(ys, np.stack([one.value for one in steps]), error)
