"""Programs for tests: a builder, and some that have every kind of thing in them."""

from __future__ import annotations

import numpy as np

from lstm_fast import BackendUnavailableError, Model
from lstm_fast._backends import NAMES
from lstm_fast._program_attributes import complete
from lstm_fast._program_shapes import infer
from lstm_fast.program import Input, Op, Output, Program, State, Tensor


class Builder:
    """Puts a program together, operation by operation; values are known by their number."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.tensors, self.constants, self.ops = [], {}, []
        self.inputs, self.outputs, self.states = [], [], []

    def tensor(self, shape, kind="float32"):
        self.tensors.append(Tensor(tuple(shape), kind))
        return len(self.tensors) - 1

    def input(self, name, shape, kind="float32", history=0):
        whole = (*shape[:-1], shape[-1] + history) if history else shape
        self.inputs.append(Input(name, self.tensor(whole, kind), tuple(shape), history))
        return self.inputs[-1].tensor

    def constant(self, value):
        value = np.asarray(value)
        kind = {"f": "float32", "i": "int64", "b": "bool"}[value.dtype.kind]
        number = self.tensor(value.shape, kind)
        self.constants[number] = value.astype(np.float32) if kind == "float32" else value
        return number

    def weights(self, *shape, scale=0.5):
        return self.constant(scale * self.rng.standard_normal(shape))

    def op(self, code, *inputs, **attributes):
        """Add an operation and return its output, or the tuple of them."""
        given = [None if i == -1 else self.tensors[i] for i in inputs]
        made = tuple(
            self.tensor(one.shape, one.kind)
            for one in infer(code, complete(code, attributes), given)
        )
        self.ops.append(Op(code, tuple(inputs), made, attributes, f"/{code}/{len(self.ops)}"))
        return made if len(made) > 1 else made[0]

    def state(self, name, shape, initial=None):
        """Add a state and return its tensor; `keep` says what becomes it."""
        value = np.zeros(shape, np.float32) if initial is None else np.asarray(initial, np.float32)
        self.states.append([name, self.tensor(shape), None, value])
        return self.states[-1][1]

    def keep(self, name, number):
        next(one for one in self.states if one[0] == name)[2] = number

    def output(self, name, number):
        self.outputs.append(Output(name, number))

    def program(self, *notes):
        states = tuple(State(*one) for one in self.states)
        return Program(
            tuple(self.inputs),
            tuple(self.outputs),
            states,
            tuple(self.tensors),
            dict(self.constants),
            tuple(self.ops),
            notes,
        )


def lstm_layer(build, x, name, hidden, projected=0, extra=(), **attributes):
    """An LSTM layer with its state; extra: of peephole, layer_norm, bias_hr what there is."""
    (width,) = build.tensors[x].shape
    size = projected or hidden
    h, c = build.state(f"{name}.h", (size,)), build.state(f"{name}.c", (hidden,))
    weights = [build.weights(4 * hidden, width), build.weights(4 * hidden, size)]
    weights.append(build.weights(4 * hidden))
    weights.append(build.weights(size, hidden) if projected else -1)
    for part, rows in (("peephole", 3 * hidden), ("layer_norm", 4 * hidden), ("bias_hr", size)):
        weights.append(build.weights(rows) if part in extra else -1)
    y, h_new, c_new = build.op("lstm", x, h, c, *weights, **attributes)
    build.keep(f"{name}.h", h_new)
    build.keep(f"{name}.c", c_new)
    return y


def gru_layer(build, x, name, hidden, **attributes):
    (width,) = build.tensors[x].shape
    h = build.state(f"{name}.h", (hidden,))
    shapes = [(3 * hidden, width), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,)]
    y, h_new = build.op("gru", x, h, *(build.weights(*shape) for shape in shapes), **attributes)
    build.keep(f"{name}.h", h_new)
    return y


def chain(seed=0):
    """Linear -> ReLU -> 2 x LSTM -> Linear -> softmax: what people have."""
    build = Builder(seed)
    x = build.input("x", (5,))
    x = build.op("relu", build.op("dense", x, build.weights(6, 5), build.weights(6)))
    x = lstm_layer(build, lstm_layer(build, x, "a", 7), "b", 4)
    logits = build.op("dense", x, build.weights(3, 4), build.weights(3))
    build.output("y", build.op("softmax", logits, axis=0))
    return build.program()


def rich(seed=0):
    """Two inputs (one with history, one of integers), three outputs, states of all sorts."""
    build = Builder(seed)
    x = build.input("audio", (2, 8), history=3)
    token = build.input("token", (), "int64")
    table = build.weights(5, 4)
    row = build.op("embedding", table, token)
    conv = build.op(
        "conv", x, build.weights(4, 1, 3), build.weights(4), stride=2, groups=2, pad_end=1
    )
    flat = build.op("reduce", build.op("tanh", conv), kind="mean", axes=(1,), keepdims=False)
    both = build.op("concat", flat, row, axis=0)
    y = gru_layer(build, both, "g", 4, linear_before_reset=False)
    z = lstm_layer(build, both, "p", 6, 3, ("peephole", "bias_hr"), clip=2.0, coupled="input")
    count = build.state("count", (1, 2), [[0.5, -1.0]])  # a register of the file's own shape
    one = build.op("slice", count, starts=(0, 1), ends=(1, 2), steps=(1, 1))
    part = build.op(
        "reshape", build.op("slice", y, starts=(0,), ends=(1,), steps=(1,)), shape=(1, 1)
    )
    build.keep("count", build.op("concat", one, part, axis=1))
    shifted = build.op("add", z, build.op("reshape", one, shape=(1,)))
    build.output("score", build.op("sigmoid", shifted))
    build.output("is_high", build.op("greater", shifted, build.constant(np.float32(0))))
    build.output("row", row)
    return build.program("one note", "another, with an umlaut: ü")


def rich_frames(steps, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "audio": rng.standard_normal((steps, 2, 8)).astype(np.float32),
        "token": rng.integers(-5, 5, steps),
    }


def paired_state(build, name, size, axis):
    """A state that holds two vectors along an axis, and views of the two."""
    shape = (2, size) if axis == 0 else (size, 2)
    both = build.state(name, shape, 0.5 * build.rng.standard_normal(shape))

    def part(n):
        starts, ends = [0, 0], [*shape]
        starts[axis], ends[axis] = n, n + 1
        one = build.op("slice", both, starts=tuple(starts), ends=tuple(ends), steps=(1, 1))
        return build.op("reshape", one, shape=(size,))

    def keep(*new):
        rows = [
            build.op("reshape", one, shape=(1, size) if axis == 0 else (size, 1)) for one in new
        ]
        build.keep(name, build.op("concat", *rows, axis=axis))

    return part(0), part(1), keep


def halves(seed=0):
    """Recurrent layers of every kind, and every way in which a state becomes their h.

    Five take it as it lies there, two from every other place of a state, and one takes what is
    computed from a state.
    """
    build = Builder(seed)
    x = build.input("x", (5,))
    y = gru_layer(build, x, "g", 7, linear_before_reset=True)
    y = gru_layer(build, y, "r", 3, linear_before_reset=False)
    y = lstm_layer(build, y, "a", 18)
    y = lstm_layer(build, y, "b", 6, 4, ("peephole", "layer_norm", "bias_hr"), clip=2.0)
    for axis in (0, 1):
        h, c, keep = paired_state(build, f"s{axis}", 17, axis)
        (width,) = build.tensors[y].shape
        weights = [build.weights(68, width), build.weights(68, 17), build.weights(68)]
        y, h_new, c_new = build.op("lstm", y, h, c, *weights)
        keep(h_new, c_new)
    h, other, keep = paired_state(build, "p", 5, 1)
    weights = [build.weights(15, 17), build.weights(15, 5), build.weights(15), build.weights(15)]
    y, h_new = build.op("gru", y, h, *weights)
    keep(h_new, build.op("add", h_new, other))
    h = build.state("e", (4,), build.rng.standard_normal(4))
    weights = [build.weights(16, 5), build.weights(16, 4), build.weights(16)]
    y, h_new, _ = build.op("lstm", y, build.op("tanh", h), h, *weights)
    build.keep("e", h_new)
    build.output("y", y)
    return build.program()


PROGRAMS = {"chain": chain, "rich": rich}


def frames(name, steps, seed=0):
    if name == "rich":
        return rich_frames(steps, seed)
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((steps, 5)).astype(np.float32)}


def cut(values, start, end=None):
    """The steps from start to end of every value; without an end, the single step."""
    piece = start if end is None else slice(start, end)
    return {name: value[piece] for name, value in values.items()}


def named(model, result):
    """What a call has returned, as a mapping also where there is one output."""
    return result if isinstance(result, dict) else {next(iter(model.outputs)): result}


class Models:
    """The programs above as models of one backend, and others."""

    def __init__(self, backend):
        self.backend = backend
        self.made = {}

    def make(self, program, **options):
        return Model.from_program(program, backend=self.backend, **options)

    def __getitem__(self, name):
        if name not in self.made:
            self.made[name] = self.make(PROGRAMS[name]())
        return self.made[name]


def _runs_whole_models(backend):
    try:
        Models(backend)["chain"]
    except BackendUnavailableError:
        return False
    except ValueError as error:
        if backend == "native" or f"the {backend!r} backend has no" not in str(error):
            raise
        return False
    return True


BACKENDS = [name for name in NAMES if _runs_whole_models(name)]


def pool_backends():
    """Those of them that have pools of whole models."""
    return BACKENDS
