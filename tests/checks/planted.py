"""A float32 LSTM as others write one, into which any known mistake can be planted.

It is code of its own: it shares nothing with the simulator that diagnosis tries mistakes on, keeps
gates by name, and computes in float32 throughout.
"""

from __future__ import annotations

import numpy as np

from lstm_fast.checks.target import Target

F = np.float32


def sigmoid(x):
    with np.errstate(over="ignore"):
        return F(1) / (F(1) + np.exp(-x))


def hard(slope):
    return lambda x: np.clip(F(slope) * x + F(0.5), F(0), F(1))


def ratio_tanh(x):
    x = np.clip(x, F(-3), F(3))
    return x * (F(27) + x * x) / (F(27) + F(9) * x * x)


def pade_tanh(x):
    y = x * x
    above = x * (F(135135) + y * (F(17325) + y * (F(378) + y)))
    below = F(135135) + y * (F(62370) + y * (F(3150) + F(28) * y))
    return np.clip(above / below, F(-1), F(1))


def amp_tanh(x):
    a, y = np.abs(x), x * x
    above = F(2.45550750702956) * (F(1) + a) + (F(0.893229853513558) + F(0.821226666969744) * a) * y
    below = F(2.44506634652299) + (F(2.44506634652299) + y) * np.abs(
        x + F(0.814642734961073) * x * a
    )
    return x * above / below


def bits_exp(x):
    """Schraudolph's."""
    whole = (F(12102203) * np.clip(x, F(-80), F(80))).astype(np.int32) + np.int32(1064866805)
    return whole.view(F)


def halves(tanh):
    return lambda x: F(0.5) * tanh(F(0.5) * x) + F(0.5)


def to_bfloat16(v):
    bits = np.ascontiguousarray(v, F).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(F)


SMALLER = {"float16": lambda v: v.astype(np.float16).astype(F), "bfloat16": to_bfloat16}

TANHS = {
    "27/9": ratio_tanh,
    "pade_7/6": pade_tanh,
    "vaneev": amp_tanh,
    "softsign": lambda x: x / (F(1) + np.abs(x)),
    "hard": lambda x: np.clip(x, F(-1), F(1)),
    "schraudolph": lambda x: F(2) / (F(1) + bits_exp(F(-2) * x)) - F(1),
}

GATES = {
    "sigmoid": sigmoid,
    "softsign": lambda x: F(0.5) * x / (F(1) + np.abs(x)) + F(0.5),
    "tanh": np.tanh,
    "ratio": halves(ratio_tanh),
    "schraudolph": lambda x: F(1) / (F(1) + bits_exp(-x)),
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
        gate = flaws.get("gate", "sigmoid")
        self.gate = dict.fromkeys("ifo", GATES[gate])
        self.gate |= {k: GATES[name] for k, name in flaws.get("gates", {}).items()}
        self.tanh_g = TANHS.get(flaws.get("tanh_g", flaws.get("tanh")), np.tanh)
        self.tanh_c = TANHS.get(flaws.get("tanh_c", flaws.get("tanh")), np.tanh)
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
        flaws, old_h, old_c = self.flaws, h, c
        a = self.sums(x, h, is_first)
        if bound := flaws.get("gate_clip"):
            a = {k: np.clip(v, F(-bound), F(bound)) for k, v in a.items()}
        i, f, o = (self.gate[k](a[k]) for k in "ifo")
        makes_g = {"linear": lambda v: v, "gate": self.gate["i"], "": self.tanh_g}
        c = self.early(f * c + i * makes_g[flaws.get("g", "")](a["g"]), old_c)
        seen = old_c if flaws.get("old_c") else c
        h = o * (seen if flaws.get("no_tanh") else self.tanh_c(seen))
        if bound := flaws.get("h_clip"):
            h = np.clip(h, F(-bound), F(bound))
        if flaws.get("float16_activations"):
            h = h.astype(np.float16).astype(F) + F(1e-4) * np.sin(F(1e4) * c)
        return self.late(h, c, old_h, old_c)

    def early(self, c, old_c):
        flaws = self.flaws
        if bound := flaws.get("cell_clip"):
            c = np.clip(c, F(-bound), F(bound))
        if flaws.get("zone_c_early"):
            c = mixed(c, old_c, flaws["zone_c"])
        return SMALLER[flaws["kept"]](c) if flaws.get("kept_c_early") else c

    def late(self, h, c, old_h, old_c):
        flaws, out = self.flaws, h
        if "zone_h" in flaws:
            h = mixed(h, old_h, flaws["zone_h"])
            out = out if flaws.get("zone_h_late") else h
        if "zone_c" in flaws and not flaws.get("zone_c_early"):
            c = mixed(c, old_c, flaws["zone_c"])
        if kept := SMALLER.get(flaws.get("kept")):
            parts = flaws.get("kept_parts", "hc")
            h, c = (kept(v) if part in parts else v for part, v in (("h", h), ("c", c)))
            out = out if flaws.get("kept_h_late") else h
        return out, h, c

    def unit_by_unit(self, x, h, c):
        for n in range(self.units):
            a = {k: self.w_ih[k][n] @ x + self.w_hh[k][n] @ h + self.bias[k][n] for k in "ifgo"}
            c[n] = self.gate["f"](a["f"]) * c[n] + self.gate["i"](a["i"]) * np.tanh(a["g"])
            h[n] = self.gate["o"](a["o"]) * np.tanh(c[n])
        return h, h, c


def mixed(new, old, rate):
    return F(rate) * old + F(1 - rate) * new


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
        self.count = 0

    def reset(self):
        leak = self.flaws.get("leak", "")
        for part in "hc":
            for n, value in enumerate(getattr(self, part)):
                if part not in leak or n not in self.flaws.get("leak_layers", (n,)):
                    value[...] = 0
        self.count = self.count if self.flaws.get("timer_counts_on") else 0
        self.last_y = np.zeros_like(self.last_y)
        if not self.flaws.get("late_frame_kept"):
            self.last_x = np.zeros_like(self.last_x)

    def step(self, x):
        flaws = self.flaws
        x = frame = self.taken(np.array(x, F))
        self.forget(flaws.get("drop_before", ""))
        if flaws.get("timer") and self.count and self.count % flaws["timer"] == 0:
            self.forget(flaws.get("timer_parts", "hc"))
        self.count += 1
        if order := flaws.get("take_of"):
            for part in flaws.get("take_parts", "hc"):
                old = getattr(self, part)
                setattr(self, part, [old[n].copy() for n in order])
        y = self.shown(self.layers(x), frame)
        self.forget(flaws.get("drop_after", ""))
        if flaws.get("swap_carried"):
            self.h, self.c = self.c, self.h
        if flaws.get("late_output"):
            y, self.last_y = self.last_y, y
        return y

    def forget(self, parts):
        for part in parts:
            setattr(self, part, [np.zeros_like(v) for v in getattr(self, part)])

    def taken(self, x):
        flaws = self.flaws
        if k := flaws.get("zero_first"):
            x[:k] = 0
        if k := flaws.get("repeat"):
            x = np.concatenate([x[-k:]] * (len(x) // k))
        if k := flaws.get("newest_first"):
            x = x.reshape(-1, k)[::-1].ravel()
        if bound := flaws.get("input_clip"):
            x = np.clip(x, F(-bound), F(bound))
        if how := flaws.get("input_kept"):
            x = SMALLER[how](x)
        if flaws.get("late_frame"):
            x, self.last_x = self.last_x, x
        return x

    def layers(self, x):
        flaws, below, out = self.flaws, list(self.h), None
        shared = flaws.get("shared", "")
        for n, layer in enumerate(self.port.layers):
            if n:
                x = below[n - 1] if flaws.get("stale_layers") else out * F(flaws.get("between", 1))
                for part in shared:
                    getattr(self, part)[n] = getattr(self, part)[n - 1].copy()
            out, self.h[n], self.c[n] = layer.step(x, self.h[n], self.c[n], is_first=n == 0)
            if n in flaws.get("residual", ()):
                out = out + x * F(flaws.get("residual_gain", 1))
                self.h[n] = out if flaws.get("residual_kept") else self.h[n]
        for part in shared:
            setattr(self, part, [getattr(self, part)[-1].copy() for _ in self.port.layers])
        return out

    def shown(self, out, frame):
        flaws = self.flaws
        y = (self.c[-1] if flaws.get("swap_output") else out).copy()
        y = y * F(flaws.get("output_gain", 1.0))
        y = y + frame if flaws.get("add_frame") else y
        return SMALLER[flaws["output_kept"]](y) if "output_kept" in flaws else y


class Session(HiddenSession):
    """A session whose state can be seen and set."""

    @property
    def state(self):
        order = "ch" if self.flaws.get("swap_shown") else "hc"
        turn = -1 if self.flaws.get("layers_shown_turned") else 1
        return tuple(np.stack(getattr(self, part)[::turn]) for part in order)

    @state.setter
    def state(self, value):
        value = value[::-1] if self.flaws.get("swap_start") else value
        kept = {part: getattr(self, part) for part in self.flaws.get("not_set", "")}
        turn = -1 if self.flaws.get("layers_start_turned") else 1
        self.h, self.c = ([np.array(v, F) for v in part[::turn]] for part in value)
        for part, old in kept.items():
            setattr(self, part, old)
