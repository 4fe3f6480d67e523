"""Small programs of many operations in a row, which all are right: movement above all, and states.

A random number generator decides everything, so that Hypothesis can shrink one and a seed names it.
Constants are float16 numbers: stored as float16 they are the same weights.
"""

from __future__ import annotations

import math

import numpy as np
from program_cases import Builder, gru_layer, lstm_layer

from lstm_fast._program_checks import checked

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
MOST = 3000  # elements of a value
MOST_AXES = 5
ROWS = 4  # of every table; indices that are given are -ROWS to ROWS - 1
UNARY = ("relu", "sigmoid", "tanh", "abs", "neg", "softsign", "hard_swish", "gelu", "leaky_relu")
UNARY = (*UNARY, "clip", "hard_sigmoid", "elu", "erf", "relu", "tanh")
BINARY = ("add", "sub", "mul", "minimum", "maximum", "prelu", "div")


class Random:
    """Puts a program together; values are known by their number."""

    def __init__(self, rng):
        self.rng = rng
        self.build = Builder(rng.randrange(2**32))
        self.values = {"float32": [], "int64": [], "bool": []}
        self.layers = 0

    def shape(self, number):
        return self.build.tensors[number].shape

    def kind(self, number):
        return self.build.tensors[number].kind

    def add(self, number):
        self.values[self.kind(number)].append(number)
        return number

    def op(self, code, *inputs, **attributes):
        return self.build.op(code, *inputs, **attributes)

    def some(self, kind="float32"):
        """A value, more often one of the last."""
        known = self.values[kind]
        return known[max(self.rng.randrange(len(known)), self.rng.randrange(len(known)))]

    def anything(self):
        return self.some(self.rng.choice([kind for kind, known in self.values.items() if known]))

    def sizes(self, least, most):
        shape = [self.rng.choice(SIZES) for _ in range(self.rng.randint(least, most))]
        while math.prod(shape) > MOST // 8:
            shape[shape.index(max(shape))] = self.rng.randint(1, 3)
        return shape

    def with_axes(self, x):
        """A value that has an axis."""
        return x if self.shape(x) else self.op("reshape", x, shape=(1,))

    def row(self, x, most):
        """A view of a value as a row of so many elements at most; backwards at times."""
        count = math.prod(self.shape(x))
        x = self.op("reshape", x, shape=(count,))
        step = self.rng.choice((1, 1, 2, -1))
        size = min(most, -(-count // abs(step)))
        start = 0 if step > 0 else count - 1
        end = start + size * step
        end = min(end, count) if step > 0 else max(end, -1)
        return self.op("slice", x, starts=(start,), ends=(end,), steps=(step,))

    def factors(self, count, most):
        shape = []
        while count > 1 and len(shape) < most - 1:
            size = self.rng.choice([n for n in range(1, count + 1) if count % n == 0])
            shape.append(size)
            count //= size
        return (*shape, count)

    # ---- movement ----

    def slice(self):
        x = self.anything()
        parts = []
        for size in self.shape(x):
            step = self.rng.choice((1, 1, 2, 3, -1, -2))
            start = self.rng.randrange(size)
            room = size - start if step > 0 else start + 1
            length = self.rng.randint(1, room)
            end = start + length if step > 0 else start - length
            parts.append((start, end, step))
        starts, ends, steps = zip(*parts, strict=True) if parts else ((), (), ())
        return self.op("slice", x, starts=starts, ends=ends, steps=steps)

    def transpose(self):
        x = self.anything()
        axes = list(range(len(self.shape(x))))
        return self.op("transpose", x, order=tuple(self.rng.sample(axes, len(axes))))

    def expand(self):
        x = self.anything()
        shape = [self.rng.randint(1, 4) if size == 1 else size for size in self.shape(x)]
        if len(shape) < MOST_AXES and self.rng.random() < 0.5:
            shape = [self.rng.randint(1, 3), *shape]
        return x if math.prod(shape) > MOST else self.op("expand", x, shape=tuple(shape))

    def reshape(self):
        x = self.anything()
        return self.op("reshape", x, shape=self.factors(math.prod(self.shape(x)), MOST_AXES))

    def concat(self):
        x = self.with_axes(self.anything())
        shape = self.shape(x)
        axis = self.rng.randrange(len(shape))
        parts = [x]
        for _ in range(self.rng.randint(0, 3)):
            length = self.rng.randint(1, shape[axis])
            ends = [length if n == axis else size for n, size in enumerate(shape)]
            zeros, ones = (0,) * len(shape), (1,) * len(shape)
            parts.append(self.op("slice", x, starts=zeros, ends=tuple(ends), steps=ones))
        self.rng.shuffle(parts)
        return x if 4 * math.prod(shape) > MOST else self.op("concat", *parts, axis=axis)

    def gather(self):
        x = self.with_axes(self.anything())
        shape = self.shape(x)
        axis = self.rng.randrange(len(shape))
        most = 2 if len(shape) < MOST_AXES else 1
        size = shape[axis]
        of = [self.rng.randint(1, 4) for _ in range(self.rng.randint(0, most))]
        if math.prod(of) * math.prod(shape) > MOST:
            return x
        count = math.prod(of)
        picked = [self.rng.randint(-size, size - 1) for _ in range(count)]
        indices = self.build.constant(np.array(picked, np.int64).reshape(of))
        return self.op("gather", x, indices, axis=axis)

    def pad(self):
        x, is_reflected = self.some(), self.rng.random() < 0.5
        widest = [size - 1 if is_reflected else 3 for size in self.shape(x)]
        before, after = (tuple(self.rng.randint(0, min(n, 4)) for n in widest) for _ in range(2))
        sizes = zip(before, self.shape(x), after, strict=True)
        if math.prod(sum(three) for three in sizes) > MOST:
            return x
        if is_reflected:
            return self.op("pad", x, before=before, after=after, mode="reflect")
        return self.op("pad", x, before=before, after=after, value=self.rng.choice((0.0, -1.5)))

    def embedding(self):
        if not self.values["int64"]:
            return self.pad()
        indices = next((n for n in self.values["int64"] if n in self.given), None)
        table = self.build.weights(ROWS, *self.sizes(0, 2))
        if indices is None or math.prod(self.shape(indices)) * math.prod(self.shape(table)) > MOST:
            return self.gather()
        return self.op("embedding", table, indices)

    # ---- element by element, and along axes ----

    def unary(self):
        attributes = {"min": -0.75, "max": 1.25}
        code = self.rng.choice(UNARY)
        return self.op(code, self.some(), **(attributes if code == "clip" else {}))

    def other(self, x):
        """Something that broadcasts with x: a constant, or a part of x."""
        shape = [self.rng.choice((size, size, 1)) for size in self.shape(x)]
        cut = self.rng.randint(0, len(shape)) if self.rng.random() < 0.3 else 0
        if self.rng.random() < 0.5:
            ends = tuple(shape)
            zeros, ones = (0,) * len(shape), (1,) * len(shape)
            y = self.op("slice", x, starts=zeros, ends=ends, steps=ones)
            if cut and all(size == 1 for size in shape[:cut]):
                y = self.op("reshape", y, shape=tuple(shape[cut:]))
            return y
        if self.kind(x) == "float32":
            return self.build.constant(np.abs(self.build.rng.standard_normal(shape[cut:])) + 0.5)
        noise = self.build.rng.integers(0, 2, shape[cut:])
        return self.build.constant(noise.astype(self.kind(x)))

    def binary(self):
        x, code = self.some(), self.rng.choice(BINARY)
        if code == "div":
            positive = np.abs(self.build.rng.standard_normal(self.shape(x)[-1:])) + 0.5
            return self.op("div", x, self.build.constant(positive))
        pair = [x, self.other(x)]
        if code == "mul":  # squares of squares would become infinite
            pair[1] = self.op("tanh", pair[1])
        self.rng.shuffle(pair)
        return self.op(code, *pair)

    def compare(self):
        kinds = [kind for kind in ("float32", "int64") if self.values[kind]]
        x = self.some(self.rng.choice(kinds))
        return self.op(self.rng.choice(("less", "greater", "equal")), x, self.other(x))

    def where(self):
        condition = self.compare()
        if self.values["bool"] and self.rng.random() < 0.3:
            one = self.some("bool")
            condition = self.op("logical_not", one)
            condition = self.op("logical_or", condition, self.other(one))
        x = self.op("cast", condition, kind="float32")
        return self.op("where", condition, self.op("tanh", x), self.other(x))

    def cast(self):
        return self.op("cast", self.anything(), kind=self.rng.choice(list(self.values)))

    def along(self):
        x = self.with_axes(self.some())
        code = self.rng.choice(("softmax", "log_softmax", "layer_norm", "reduce", "reduce"))
        axes = range(len(self.shape(x)))
        if code == "reduce":
            picked = sorted(self.rng.sample(axes, self.rng.randint(1, len(axes))))
            kind = self.rng.choice(("mean", "sum", "max", "min", "l2"))
            keeps = self.rng.random() < 0.5
            return self.op(code, x, kind=kind, axes=tuple(picked), keepdims=keeps)
        if code == "layer_norm":
            sides = [self.build.weights(self.shape(x)[-1]) for _ in range(self.rng.randint(0, 2))]
            if sides and self.rng.random() < 0.3:
                sides[0] = -1 if len(sides) == 2 else sides[0]
            return self.op(code, x, *sides)
        return self.op(code, x, axis=self.rng.choice(axes))

    # ---- products and recurrent layers ----

    def dense(self):
        x = self.with_axes(self.some())
        width = self.shape(x)[-1]
        rows = self.rng.choice((*SIZES, 70))
        if math.prod(self.shape(x)) // width * rows > MOST:
            rows = 1
        bias = [self.build.weights(rows)] if self.rng.random() < 0.7 else []
        return self.fused(
            self.op("dense", x, self.build.weights(rows, width, scale=width**-0.5), *bias)
        )

    def fused(self, x):
        """A product, or what a product does along with it."""
        return self.op(self.rng.choice(UNARY[:9]), x) if self.rng.random() < 0.5 else x

    def conv(self):
        x = self.some()
        if len(self.shape(x)) != 2:
            count = math.prod(self.shape(x))
            channels = self.rng.choice([n for n in range(1, count + 1) if count % n == 0])
            x = self.op("reshape", x, shape=(channels, count // channels))
        channels, steps = self.shape(x)
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        groups = self.rng.choice((1, channels, self.rng.choice(divisors)))
        rows = groups * self.rng.choice((1, 1, 2, 3))
        taps, dilation = self.rng.randint(1, 4), self.rng.choice((1, 1, 2, 3))
        begin, end = (self.rng.choice((0, 0, 1, 2, steps + 3)) for _ in range(2))
        end += max(0, dilation * (taps - 1) + 1 - steps - begin - end)
        stride = self.rng.choice((1, 1, 2, 3, 5))
        if rows * (steps + begin + end) > MOST:
            return x
        scale = (taps * channels // groups) ** -0.5
        weights = [self.build.weights(rows, channels // groups, taps, scale=scale)]
        if self.rng.random() < 0.7:
            weights.append(self.build.weights(rows))
        options = {"stride": stride, "dilation": dilation, "groups": groups}
        options |= {"pad_begin": begin, "pad_end": end}
        return self.fused(self.op("conv", x, *weights, **options))

    def plane(self):
        x = self.some()
        count = math.prod(self.shape(x))
        if len(self.shape(x)) != 3:
            x = self.op("reshape", x, shape=(*(1,) * 3, *self.factors(count, 3))[-3:])
        if self.rng.random() < 0.4:
            x = self.op("transpose", x, order=tuple(self.rng.sample(range(3), 3)))
        channels, *sizes = self.shape(x)
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        groups = self.rng.choice((1, channels, self.rng.choice(divisors)))
        rows = groups * self.rng.choice((1, 1, 2, 3))
        kernel = [self.rng.randint(1, 3) for _ in range(2)]
        dilations = [self.rng.choice((1, 1, 2)) for _ in range(2)]
        begin, end = ([self.rng.choice((0, 0, 1, 2)) for _ in range(2)] for _ in range(2))
        for n in range(2):
            end[n] += max(0, dilations[n] * (kernel[n] - 1) + 1 - sizes[n] - begin[n] - end[n])
        if rows * math.prod(map(sum, zip(sizes, begin, end, strict=True))) > MOST:
            return x
        scale = (math.prod(kernel) * channels // groups) ** -0.5
        weights = [self.build.weights(rows, channels // groups, *kernel, scale=scale)]
        if self.rng.random() < 0.7:
            weights.append(self.build.weights(rows))
        options = {"strides": tuple(self.rng.choice((1, 1, 2, 3)) for _ in range(2))}
        options |= {"dilations": tuple(dilations), "groups": groups}
        options |= {"pad_begin": tuple(begin), "pad_end": tuple(end)}
        return self.fused(self.op("conv2d", x, *weights, **options))

    def recurrent(self):
        x = self.row(self.some(), 40)
        self.layers += 1
        name, hidden = f"layer {self.layers}", self.rng.choice((1, 3, 8, 17))
        what = self.rng.randrange(5)
        if what == 0:
            linear = self.rng.random() < 0.5
            return gru_layer(self.build, x, name, hidden, linear_before_reset=linear)
        if what == 1:
            return lstm_layer(self.build, x, name, hidden, self.rng.randint(1, 9), ("bias_hr",))
        if what == 2:
            return lstm_layer(self.build, x, name, hidden, 0, ("peephole", "layer_norm"))
        if what == 3:
            return lstm_layer(self.build, x, name, hidden)
        width = self.shape(x)[0]  # a step whose h and c are no states, but parts of its input
        return self.op(
            "lstm",
            x,
            x,
            x,
            self.build.weights(4 * width, width),
            self.build.weights(4 * width, width),
        )[self.rng.randrange(3)]

    # ---- the whole ----

    def inputs(self):
        build = self.build
        for n in range(self.rng.choice((1, 1, 2))):
            shape = self.sizes(1, 3)
            history = self.rng.choice((0, 0, 1, 2, shape[-1] + 2))
            build.input(f"x{n}", tuple(shape), history=history)
        if self.rng.random() < 0.5:
            shape = [self.rng.randint(1, 3) for _ in range(self.rng.randint(0, 2))]
            build.input(
                "token", tuple(shape), "int64", 2 if shape and self.rng.random() < 0.5 else 0
            )
        if self.rng.random() < 0.4:
            shape = [self.rng.randint(1, 5) for _ in range(self.rng.randint(0, 2))]
            build.input("flag", tuple(shape), "bool", 1 if shape and self.rng.random() < 0.5 else 0)
        self.given = {one.tensor for one in build.inputs}
        for one in build.inputs:
            self.add(one.tensor)

    def program(self, operations):
        """A program of so many operations, and of those that they need."""
        build = self.build
        self.inputs()
        shape = tuple(self.sizes(0, 2))
        initial = build.rng.standard_normal((2, *shape)).astype(np.float16)
        names = ("old", "new")[: self.rng.choice((0, 1, 2, 2))]
        self.registers = [build.state(name, shape, initial[n]) for n, name in enumerate(names)]
        for number in self.registers:
            self.add(number)
        make = [self.slice, self.transpose, self.expand, self.reshape, self.concat, self.gather]
        make += [self.pad, self.embedding, self.unary, self.binary, self.binary, self.compare]
        make += [self.where, self.cast, self.along, self.along, self.dense, self.dense, self.conv]
        make += [self.conv, self.conv, self.plane, self.plane, self.recurrent]
        for _ in range(operations):
            self.add(self.rng.choice(make)())
        self.keep(self.registers)
        self.outputs()
        for number, value in build.constants.items():
            if value.dtype == np.float32:
                build.constants[number] = value.astype(np.float16).astype(np.float32)
        return checked(build.program())

    def keep(self, registers):
        """The newest value becomes one register, and a register the other: a shift."""
        build = self.build
        for n, number in enumerate(registers):
            alike = [one for one in self.values["float32"] if self.shape(one) == self.shape(number)]
            is_shifted = n == 0 and len(registers) == 2
            build.keep(("old", "new")[n], registers[1] if is_shifted else self.bounded(alike))

    def bounded(self, alike):
        """One of some values, or a view of what it is within limits, or it would grow for ever."""
        picked = self.rng.choice(alike)
        if picked in self.given or self.rng.random() < 0.2:
            return self.rng.choice([n for n in alike if n in self.given | set(self.registers)])
        x = self.op("clip", picked, min=-2.0, max=2.0)
        sizes = self.shape(x)
        if self.rng.random() < 0.5:
            return x
        starts = tuple(size - 1 for size in sizes)
        return self.op("slice", x, starts=starts, ends=(-1,) * len(sizes), steps=(-1,) * len(sizes))

    def outputs(self):
        last = self.values["float32"][-1]
        others = [self.anything() for _ in range(self.rng.choice((0, 0, 1, 3)))]
        if self.rng.random() < 0.2:
            others.append(self.build.weights(3, 2))
        if self.rng.random() < 0.2:
            others.append(last)
        for n, number in enumerate([last, *others]):
            self.build.output(f"y{n}", number)


def random_program(rng, operations=6):
    return Random(rng).program(operations)


def random_frames(program, steps, seed=0):
    """Frames for every input, (steps, ...); indices are within the tables."""
    noise = np.random.default_rng(seed)
    made = {}
    for one in program.inputs:
        kind, shape = program.tensors[one.tensor].kind, (steps, *one.shape)
        if kind == "int64":
            made[one.name] = noise.integers(-ROWS, ROWS, shape)
        elif kind == "bool":
            made[one.name] = noise.integers(0, 2, shape).astype(bool)
        else:
            made[one.name] = noise.standard_normal(shape).astype(np.float32)
    return made
