"""What the properties of variants are tried on: any options together, and values of every kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from cases import REGIMES
from lstm_fast import LSTM, Activation, Cell
from lstm_fast._weights import LayerWeights, Weights, make_weights
from lstm_fast.cell import ACTIVATIONS

# Around the vector widths and panels, as in cases.py; a normalisation adds in sixteens.
SIZES = [1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 40, 49]
INPUTS = [1, 2, 3, 7, 16, 23, 33]
PARAMETERS = [None, 0.0, 1.0, -1.0, 0.2, 1 / 6, 0.5, -0.3, 2.0]
NATIVE = sorted(set(ACTIVATIONS) - {"softplus"})  # what every implementation has

# "level" is for normalisation: every row of a matrix alike, so that a gate has no variance.
VARIANT_REGIMES = [*sorted(REGIMES), "normal", "normal", "level"]


def make(implementation, weights, weight_dtype="float32", keep_weights=None):
    """An LSTM of these weights on that implementation."""
    options = {"backend": implementation.backend, "isa": implementation.isa}
    return LSTM.from_weights(
        weights, weight_dtype=weight_dtype, keep_weights=keep_weights, **options
    )


@dataclass(frozen=True)
class Variant:
    """Weights of some variant, and frames and states to try them on, that seed and regime give."""

    weights: Weights
    regime: str
    seed: int

    def frames(self, *shape):
        """Frames (*shape, I)."""
        rng = np.random.default_rng(self.seed + 1)
        scale = REGIMES.get(self.regime, REGIMES["normal"])[0]
        xs = scale * rng.standard_normal((*shape, self.weights.input_size))
        return xs.astype(np.float32)

    def state(self, *rows):
        """A state as something may have left it, of shapes (layers, *rows, P) and (.., H)."""
        rng = np.random.default_rng(self.seed + 2)
        scale = REGIMES.get(self.regime, REGIMES["normal"])[2]
        layers = self.weights.layers
        h = scale * rng.standard_normal((len(layers), *rows, self.weights.output_size))
        c = scale * rng.standard_normal((len(layers), *rows, self.weights.hidden_size))
        for n, layer in enumerate(layers):
            h[n] = h[n].clip(-1, 1) if layer.is_bounded else h[n].clip(-1e4, 1e4)
        return h.astype(np.float32), c.astype(np.float32)

    def __repr__(self):
        weights = self.weights
        text = f"{weights.direction}, {self.regime}, seed={self.seed}: I={weights.input_size}"
        for layer in weights.layers:
            extras = [kind for kind in layer.parameters() if kind not in ("weight_ih", "weight_hh")]
            text += f"\n    H={layer.hidden_size} P={layer.output_size} {layer.cell} {extras}"
        return f"Variant({text})"


@st.composite
def activations(draw, names=NATIVE):
    name = draw(st.sampled_from(names))
    values = {p: draw(st.sampled_from(PARAMETERS)) for p in ACTIVATIONS[name]}
    return Activation(name, **values)


def maybe(values):
    return st.none() | st.sampled_from(values)


@st.composite
def cells(draw, names=NATIVE, projected=False):
    """Each option on its own; the activations as in the plain cell for half of them."""
    usual = draw(st.booleans())
    acts = {} if usual else {role: draw(activations(names)) for role in ("gate", "input", "output")}
    return Cell(
        **acts,
        clip=draw(maybe([0.5, 2.0, 50.0])),
        cell_clip=draw(maybe([0.25, 1.0, 10.0])),
        proj_clip=draw(maybe([0.1, 1.0])) if projected else None,
        coupled=draw(st.sampled_from([None, None, "input", "forget"])),
        layer_norm_eps=draw(st.sampled_from([1e-8, 1e-5, 1e-3])),
    )


PARTS = ["bias_ih", "bias_hr", "peephole", "layer_norm", "h_0", "c_0"]
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@st.composite
def variants(draw, names=NATIVE, max_layers=3, directions=("forward",)):
    """Weights of any variant; the layers may differ in all but their sizes."""
    inputs, units = draw(st.sampled_from(INPUTS)), draw(st.sampled_from(SIZES))
    outputs = draw(st.none() | st.sampled_from([1, 3, units, *SIZES]))
    direction = draw(st.sampled_from(directions))
    num_layers = draw(st.integers(1, max_layers))
    regime, seed = draw(st.sampled_from(VARIANT_REGIMES)), draw(st.integers(0, 2**32 - 1))
    layers = []
    for n in range(num_layers * DIRECTIONS[direction]):
        cell = draw(cells(names, projected=outputs is not None))
        parts = {part for part in PARTS if draw(st.booleans())}
        below = inputs if n < DIRECTIONS[direction] else (outputs or units) * DIRECTIONS[direction]
        sizes = below, units, outputs
        layers.append(layer_for(sizes, regime, [seed, n], cell, parts))
    return Variant(make_weights(layers, direction), regime, seed)


def layer_for(sizes, regime, seed, cell, parts=frozenset(PARTS)):
    """A layer with these parts, of sizes (I, H, P or None), with values of that regime."""
    inputs, units, outputs = sizes
    rng = np.random.default_rng(seed)
    scale = REGIMES.get(regime, REGIMES["normal"])[1] / np.sqrt(units)
    width = outputs or units

    def draw(*shape):
        values = rng.uniform(-scale, scale, shape)
        if regime == "level" and shape[0] == 4 * units:
            values = np.repeat(values[::units], units, axis=0)  # each gate's rows alike
        return values.astype(np.float32)

    biased = "bias_ih" in parts
    found = {
        "weight_ih": draw(4 * units, inputs),
        "weight_hh": draw(4 * units, width),
        "bias_ih": draw(4 * units) if biased else None,
        "bias_hh": draw(4 * units) if biased else None,
        "weight_hr": draw(width, units) if outputs else None,
        "bias_hr": draw(width) if outputs and "bias_hr" in parts else None,
        "peephole": draw(3 * units) if "peephole" in parts else None,
        "layer_norm": draw(4 * units) + np.float32(1) if "layer_norm" in parts else None,
        "h_0": np.clip(draw(width), -1, 1) if "h_0" in parts else None,
        "c_0": draw(units) if "c_0" in parts else None,
    }
    return LayerWeights(**found, cell=cell)


def changed(weights, index=None, **values):
    """The weights with other values in every layer, or in the one of that index."""
    layers = [
        replace(layer, **values) if index in (None, n) else layer
        for n, layer in enumerate(weights.layers)
    ]
    return make_weights(layers, weights.direction)


def with_cell(weights, **options):
    """The weights with other options in every layer's cell."""
    layers = [replace(layer, cell=replace(layer.cell, **options)) for layer in weights.layers]
    return make_weights(layers, weights.direction)


def everything(sizes=(11, 19, 7), num_layers=2, seed=5, **options):
    """Weights with every part and option there is, of few enough values to be quick."""
    cell = Cell(
        **{
            "gate": "hard_sigmoid",
            "input": "softsign",
            "output": Activation("scaled_tanh", 1.5, 0.8),
            "clip": 2.0,
            "cell_clip": 1.5,
            "proj_clip": 0.5 if sizes[2] else None,
            "layer_norm_eps": 1e-5,
            **options,
        }
    )
    inputs, units, outputs = sizes
    layers = [
        layer_for((outputs or units if n else inputs, units, outputs), "normal", [seed, n], cell)
        for n in range(num_layers)
    ]
    return make_weights(layers)
