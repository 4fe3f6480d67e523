"""A float32 LSTM as others write one, into which any known mistake can be planted.

It is code of its own: it shares nothing with the simulator that diagnosis tries mistakes on, keeps
gates by name, and computes in float32 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lstm_fast.checks.target import Target

F = np.float32


def sigmoid(x):
    with np.errstate(over="ignore"):
        return F(1) / (F(1) + np.exp(-x))


def hard(slope):
    return lambda x: np.clip(F(slope) * x + F(0.5), F(0), F(1))


GATES = {
    "sigmoid": sigmoid,
    "0.2": hard(0.2),
    "1/6": hard(1 / 6),
    "0.5": hard(0.5),
}


class Port(Target):
    """Makes sessions with those flaws; state is to be seen, and set, unless hidden."""

    def __init__(self, weights, *, hidden=False, name="port", **flaws):
        self.name = name
        self.weights, self.flaws, self.hidden = weights, flaws, hidden
        self.input_size, self.output_size = weights.input_size, weights.output_size
        self.layers = [
            Loaded(layer, flaws if flaws.get("only_layer", n) == n else {})
            for n, layer in enumerate(weights.layers)
        ]
        order = flaws.get("layers")
        if order:
            self.layers = [self.layers[n] for n in order]

    def session(self):
        return HiddenSession(self) if self.hidden else Session(self)


class Loaded:
    """The weights of a layer by gate, as a port loads them."""

    def __init__(self, layer, flaws):
        w_ih, w_hh = layer.weight_ih, layer.weight_hh
        rows, self.inputs = w_ih.shape
        self.units = units = rows // 4
        zeros = np.zeros(rows, F)
        b_ih = zeros if layer.bias_ih is None else layer.bias_ih
        b_hh = zeros if layer.bias_hh is None else layer.bias_hh
        bias = {
            "": lambda: b_ih + b_hh,
            "none": lambda: zeros,
            "only_b_ih": lambda: b_ih,
            "only_b_hh": lambda: b_hh,
            "twice": lambda: (b_ih + b_hh) + (b_ih + b_hh),
            "b_ih_twice": lambda: b_ih + b_ih + b_hh,
            "b_hh_twice": lambda: b_ih + b_hh + b_hh,
            "b_ih_for_both": lambda: b_ih + b_ih,
        }[flaws.get("bias", "")]()
        if flaws.get("swap_matrices"):
            if w_ih.shape == w_hh.shape:
                w_ih, w_hh = w_hh, w_ih
            else:  # a joint matrix, cut where the other half ends
                joint = np.hstack([w_ih, w_hh])
                w_hh, w_ih = joint[:, :units], joint[:, units:]
        turn = flaws.get("transpose", {})
        w_ih = turned(w_ih, turn.get("w_ih"))
        w_hh = turned(w_hh, turn.get("w_hh"))
        self.letters = flaws.get("gate_order", "ifgo")
        letters = flaws.get("bias_gate_order", self.letters)
        self.w_ih = dict(zip(self.letters, np.split(w_ih, 4), strict=True))
        self.w_hh = dict(zip(self.letters, np.split(w_hh, 4), strict=True))
        self.bias = dict(zip(letters, np.split(bias, 4), strict=True))
        self.bias["f"] = self.bias["f"] + F(flaws.get("forget_bias", 0.0))
        self.bias["f"] = self.bias["f"] * F(2 if flaws.get("forget_twice") else 1)
        self.gate = GATES[flaws.get("gate", "sigmoid")]
        self.int8 = flaws.get("int8")
        if self.int8 is not None:
            self.q_ih = {k: quantised(w, w_ih, self.int8) for k, w in self.w_ih.items()}
            self.q_hh = {k: quantised(w, w_hh, self.int8) for k, w in self.w_hh.items()}
        self.flaws = flaws

    def sums(self, x, h, is_first):
        if self.int8 is None:
            return {k: self.w_ih[k] @ x + self.w_hh[k] @ h + self.bias[k] for k in "ifgo"}
        options = self.int8
        h_whole = np.clip(np.rint(h * F(127)), -127, 127).astype(np.int32)
        h_scale = F(options.get("h_scale", 1 / 127))
        if is_first:
            largest = np.abs(x).max()
            x_whole = np.rint(x * (F(127) / largest)).astype(np.int32)
            x_scale = largest / F(127) * F(options.get("x_gain", 1.0))
        else:
            x_whole = np.clip(np.rint(x * F(127)), -127, 127).astype(np.int32)
            x_scale = F(1 / 127)
        result = {}
        for k in "ifgo":
            (q, s), (p, r) = self.q_ih[k], self.q_hh[k]
            left = (q @ x_whole).astype(F) * (s * x_scale)
            right = (p @ h_whole).astype(F) * (r * h_scale)
            result[k] = left + right + self.bias[k]
        return result

    def step(self, x, h, c, is_first=True):
        if self.flaws.get("in_place"):
            return self.unit_by_unit(x, h, c)
        flaws = self.flaws
        a = self.sums(x, h, is_first)
        i, f, o = (self.gate(a[k]) for k in "ifo")
        g = {"linear": lambda v: v, "gate": self.gate, "": np.tanh}[flaws.get("g", "")](a["g"])
        c = f * c + i * g
        h = o * (c if flaws.get("no_tanh") else np.tanh(c))
        if flaws.get("float16_state"):
            h, c = (v.astype(np.float16).astype(F) for v in (h, c))
        return h, c

    def unit_by_unit(self, x, h, c):
        for n in range(self.units):
            a = {k: self.w_ih[k][n] @ x + self.w_hh[k][n] @ h + self.bias[k][n] for k in "ifgo"}
            c[n] = self.gate(a["f"]) * c[n] + self.gate(a["i"]) * np.tanh(a["g"])
            h[n] = self.gate(a["o"]) * np.tanh(c[n])
        return h, c


def turned(w, how):
    """A matrix that was read as though columns had been stored."""
    if how == "whole":
        return np.reshape(np.ravel(w), w.shape[::-1]).T
    if how == "gates":
        blocks = [np.ravel(b) for b in np.split(w, 4)]
        shape = (w.shape[1], w.shape[0] // 4)
        return np.vstack([b.reshape(shape).T for b in blocks])
    return w


def quantised(block, whole, options):
    """Whole numbers of a gate's rows, and the scale of each."""
    largest = np.abs(whole if options.get("per_tensor") else block)
    largest = largest.max() if options.get("per_tensor") else largest.max(axis=1)
    scale = (largest / F(127)).astype(F) * np.ones(len(block), F)
    return np.rint(block / scale[:, None]).astype(np.int32), scale


class HiddenSession:
    """A session without a state to be seen."""

    def __init__(self, port):
        self.port, self.flaws = port, port.flaws
        self.h = [np.zeros(layer.units, F) for layer in port.layers]
        self.c = [np.zeros(layer.units, F) for layer in port.layers]
        self.last_y = np.zeros(port.output_size, F)
        self.last_x = np.zeros(port.input_size, F)

    def reset(self):
        leak = self.flaws.get("leak", "")
        for part in "hc":
            for n, value in enumerate(getattr(self, part)):
                if part not in leak or n not in self.flaws.get("leak_layers", (n,)):
                    value[...] = 0
        self.last_y = np.zeros_like(self.last_y)
        if not self.flaws.get("late_frame_kept"):
            self.last_x = np.zeros_like(self.last_x)

    def step(self, x):
        flaws, x = self.flaws, np.array(x, F)
        if k := flaws.get("zero_first"):
            x[:k] = 0
        if k := flaws.get("repeat"):
            x = np.concatenate([x[-k:]] * (len(x) // k))
        if k := flaws.get("newest_first"):
            x = x.reshape(-1, k)[::-1].ravel()
        if flaws.get("late_frame"):
            x, self.last_x = self.last_x, x
        for part in flaws.get("drop_before", ""):
            setattr(self, part, [np.zeros_like(v) for v in getattr(self, part)])
        below = list(self.h)
        for n, layer in enumerate(self.port.layers):
            if n:
                x = below[n - 1] if flaws.get("stale_layers") else self.h[n - 1]
            self.h[n], self.c[n] = layer.step(x, self.h[n], self.c[n], is_first=n == 0)
        y = (self.c if flaws.get("swap_output") else self.h)[-1].copy()
        y = y * F(flaws.get("output_gain", 1.0))
        for part in flaws.get("drop_after", ""):
            setattr(self, part, [np.zeros_like(v) for v in getattr(self, part)])
        if flaws.get("swap_carried"):
            self.h, self.c = self.c, self.h
        if flaws.get("late_output"):
            y, self.last_y = self.last_y, y
        return y


class Session(HiddenSession):
    """A session whose state can be seen and set."""

    @property
    def state(self):
        order = "ch" if self.flaws.get("swap_shown") else "hc"
        return tuple(np.stack(getattr(self, part)) for part in order)

    @state.setter
    def state(self, value):
        value = value[::-1] if self.flaws.get("swap_start") else value
        kept = {part: getattr(self, part) for part in self.flaws.get("not_set", "")}
        self.h, self.c = ([np.array(v, F) for v in part] for part in value)
        for part, old in kept.items():
            setattr(self, part, old)


@dataclass(frozen=True)
class Plant:
    """Flaws of a `Port`, and the id by which diagnosis has to name them.

    needs: "square" (I = H), "layers" (two at least), "state" (that is seen and set), "even" (I is).
    """

    id: str
    flaws: dict = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    label: str = ""

    def fits(self, inputs, units, layers, hidden):
        have = {
            "square": inputs == units,
            "layers": layers > 1,
            "state": not hidden,
            "even": inputs % 2 == 0,
        }
        return all(have[need] for need in self.needs)

    def __str__(self):
        return self.label or self.id


ORDERS = [
    a + b + c + d
    for a in "ifgo"
    for b in "ifgo"
    for c in "ifgo"
    for d in "ifgo"
    if len({a, b, c, d}) == 4 and a + b + c + d != "ifgo"
]


PLANTS = [
    *(Plant(f"gate_order:{order}", {"gate_order": order}) for order in ORDERS),
    Plant("gate_order:iofg:matrices", {"gate_order": "iofg", "bias_gate_order": "ifgo"}),
    Plant("gate_order:igfo:biases", {"bias_gate_order": "igfo"}),
    *(
        Plant(f"bias:{name}", {"bias": name})
        for name in (
            "none",
            "only_b_ih",
            "only_b_hh",
            "twice",
            "b_ih_twice",
            "b_hh_twice",
            "b_ih_for_both",
        )
    ),
    Plant("forget_bias:+1", {"forget_bias": 1.0}),
    Plant("forget_bias:-1", {"forget_bias": -1.0}),
    Plant("forget_bias:twice", {"forget_twice": True}),
    Plant("forget_bias:0.7", {"forget_bias": 0.7}),
    Plant("transposed:w_ih", {"transpose": {"w_ih": "gates"}}),
    Plant("transposed:w_hh", {"transpose": {"w_hh": "gates"}}),
    Plant("transposed:w_ih_w_hh", {"transpose": {"w_ih": "gates", "w_hh": "gates"}}),
    Plant("transposed:w_ih:whole", {"transpose": {"w_ih": "whole"}}),
    Plant("transposed:w_hh:whole", {"transpose": {"w_hh": "whole"}}),
    Plant("swapped:w_ih_w_hh", {"swap_matrices": True}),
    Plant("tanh_missing:output", {"no_tanh": True}),
    Plant("tanh_missing:input", {"g": "linear"}),
    Plant("sigmoid_for_tanh", {"g": "gate"}),
    *(Plant(f"hard_sigmoid:{slope}", {"gate": slope}) for slope in ("0.2", "1/6", "0.5")),
    *(
        Plant(f"not_carried:{part}", {when: part}, label=f"not_carried:{part}-{when}")
        for part in ("h", "c", "hc")
        for when in ("drop_before", "drop_after")
    ),
    *(Plant(f"carried_over_reset:{part}", {"leak": part}) for part in ("h", "c", "hc")),
    Plant("carried_over_reset:hc@layer1", {"leak": "hc", "leak_layers": (1,)}, ("layers",)),
    Plant("h_c_swapped:output", {"swap_output": True}),
    Plant("h_c_swapped:shown", {"swap_shown": True}, ("state",)),
    Plant("h_c_swapped:start", {"swap_start": True}, ("state",)),
    *(Plant(f"not_set:{part}", {"not_set": part}, ("state",)) for part in ("h", "c", "hc")),
    Plant("h_c_swapped:carried", {"swap_carried": True}),
    Plant("h_in_place", {"in_place": True}),
    Plant("one_step_late", {"late_output": True}),
    Plant("one_step_late:input", {"late_frame": True}),
    Plant(
        "one_step_late:input",
        {"late_frame": True, "late_frame_kept": True},
        label="one_step_late:input-kept",
    ),
    Plant("one_step_late:layers", {"stale_layers": True}, ("layers",)),
    Plant("layer_missing:last", {"layers": (0,)}, ("layers",)),
    Plant("layer_repeated:first", {"layers": (0, 0)}, ("layers", "square")),
    Plant("layer_repeated:last", {"layers": (1, 1)}, ("layers", "square")),
    Plant("layer_order", {"layers": (1, 0)}, ("layers", "square")),
    Plant("gate_order:iofg@layer1", {"gate_order": "iofg", "only_layer": 1}, ("layers",)),
    Plant("scale:output:0.5", {"output_gain": 0.5}),
]

# An int8 implementation that is right but for a scale.
INT8 = [
    Plant("int8_scale:h/128", {"int8": {"h_scale": 1 / 128}}),
    Plant("int8_scale:x/128", {"int8": {"x_gain": 127 / 128}}),
    Plant("int8_scale:per_tensor", {"int8": {"per_tensor": True}}),
    Plant("int8_scale:w_hh:127", {"int8": {"h_scale": 1.0}}),
    Plant("int8_scale:w_hh:0.9", {"int8": {"h_scale": 0.9 / 127}}),
]
