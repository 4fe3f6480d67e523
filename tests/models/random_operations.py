"""Programs of one operation, most of them almost right: for readers that have to agree."""

from __future__ import annotations

import random

import numpy as np

from lstm_fast import _lfm
from lstm_fast._program_attributes import complete
from lstm_fast._program_shapes import infer
from lstm_fast.operations import OPERATIONS
from lstm_fast.program import Input, Op, Output, Program, Tensor

INTEGERS = (-1, 0, 1, 2, 3, 4, 2**14, 2**28, 2**31 - 1, -(2**31))
REALS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-40, float("inf"), float("-inf"), float("nan"))
WILD = (float("nan"), float("inf"), -(2.0**127))


class Operand:
    """A tensor that an operation gets, or that is left out."""

    def __init__(self, shape, kind="float32", least=0, greatest=2):
        self.shape, self.kind = tuple(shape), kind
        self.range = least, greatest  # of indices
        self.is_constant = False
        self.is_left_out = False
        self.wild = 0.0


def _shape(rng, least=0, most=3):
    return [rng.randint(1, 3) for _ in range(rng.randint(least, most))]


def _pair(rng):
    """Two shapes that broadcast."""
    whole = _shape(rng)
    cut = [rng.choice((size, 1)) for size in whole][rng.randint(0, len(whole)) :]
    return rng.sample((whole, cut), 2)


def _lstm(rng):
    width, hidden = rng.randint(1, 3), rng.randint(1, 3)
    projected = rng.randint(1, 3)
    rows = 4 * hidden
    is_projected = rng.random() < 0.5
    size = projected if is_projected else hidden
    shapes = [(width,), (size,), (hidden,), (rows, width), (rows, size), (rows,)]
    shapes += [(size, hidden), (3 * hidden,), (rows,), (size,)]
    operands = [Operand(shape) for shape in shapes]
    for n in (5, 7, 8, 9):
        operands[n].is_left_out = rng.random() < 0.4
    operands[6].is_left_out = not is_projected
    operands[9].is_left_out |= not is_projected
    return operands, {}


def _conv(rng):
    groups, taps = rng.randint(1, 2), rng.randint(1, 3)
    shapes = [(2 * groups, rng.randint(3, 6)), (groups, 2, taps), (groups,)]
    attributes = {"groups": groups, "stride": rng.randint(1, 3), "pad_end": rng.randint(0, 2)}
    return [Operand(shape) for shape in shapes], attributes


def _conv2d(rng):
    groups, kernel = rng.randint(1, 2), [rng.randint(1, 3) for _ in range(2)]
    sizes = [rng.randint(3, 5) for _ in range(2)]
    shapes = [(2 * groups, *sizes), (groups, 2, *kernel), (groups,)]

    def pair(least, most):
        return tuple(rng.randint(least, most) for _ in range(2))

    attributes = {"groups": groups, "strides": pair(1, 3), "dilations": pair(1, 2)}
    attributes |= {"pad_begin": pair(0, 2), "pad_end": pair(0, 2)}
    return [Operand(shape) for shape in shapes], attributes


def _dense(rng):
    shape, rows = _shape(rng, 1), rng.randint(1, 3)
    return [Operand(one) for one in (shape, (rows, shape[-1]), (rows,))], {}


def _gru(rng):
    width, hidden = rng.randint(1, 3), rng.randint(1, 3)
    rows = 3 * hidden
    shapes = ((width,), (hidden,), (rows, width), (rows, hidden), (rows,), (rows,))
    return [Operand(one) for one in shapes], {}


def _binary(rng, kind="float32"):
    return [Operand(one, kind) for one in _pair(rng)], {}


def _logical(rng):
    return _binary(rng, "bool")


def _where(rng):
    kinds = ("bool", "int64", "int64")
    return [Operand(*one) for one in zip((*_pair(rng), (1,)), kinds, strict=True)], {}


def _layer_norm(rng):
    shape = _shape(rng, 1)
    return [Operand(shape), Operand(shape[-1:]), Operand(shape[-1:])], {}


def _softmax(rng):
    shape = _shape(rng, 1)
    return [Operand(shape)], {"axis": rng.randrange(len(shape))}


def _reduce(rng):
    shape = _shape(rng, 1)
    axes = sorted(rng.sample(range(len(shape)), rng.randint(1, len(shape))))
    return [Operand(shape)], {"axes": tuple(axes), "kind": "sum"}


def _unary(rng):
    return [Operand(_shape(rng))], {}


def _logical_not(rng):
    return [Operand(_shape(rng), "bool")], {}


def _cast(rng):
    return [Operand(_shape(rng), rng.choice(_lfm.KINDS))], {"kind": rng.choice(_lfm.KINDS)}


def _x(rng):
    return Operand(_shape(rng, 1), rng.choice(_lfm.KINDS))


def _concat(rng):
    x = _x(rng)
    more = [Operand(x.shape, x.kind) for _ in range(rng.randint(0, 3))]
    return [x, *more], {"axis": rng.randrange(len(x.shape))}


def _slice(rng):
    x = _x(rng)
    steps = tuple(rng.choice((1, 2, -1, -2)) for _ in x.shape)
    starts = tuple(rng.randrange(size) for size in x.shape)
    ends = tuple(
        start - 1 if step < 0 else start + 1 for start, step in zip(starts, steps, strict=True)
    )
    return [x], {"starts": starts, "ends": ends, "steps": steps}


def _gather(rng):
    x = _x(rng)
    axis = rng.randrange(len(x.shape))
    size = x.shape[axis]
    return [x, Operand(_shape(rng), "int64", -size, size - 1)], {"axis": axis}


def _embedding(rng):
    return [_x(rng), Operand(_shape(rng), "int64")], {}


def _transpose(rng):
    x = _x(rng)
    return [x], {"order": tuple(rng.sample(range(len(x.shape)), len(x.shape)))}


def _reshape(rng):
    x = _x(rng)
    return [x], {"shape": tuple(rng.sample((*x.shape, 1), len(x.shape) + 1))}


def _expand(rng):
    x = _x(rng)
    return [x], {"shape": (*_shape(rng, 0, 2), *x.shape)}


def _pad(rng):
    shape = _shape(rng, 1)
    before, after = (tuple(rng.randrange(size) for size in shape) for _ in range(2))
    mode = rng.choice(("constant", "reflect"))
    return [Operand(shape)], {"before": before, "after": after, "mode": mode}


def _of(make, first, last):
    return {code: make for code, one in OPERATIONS.items() if first <= one.number <= last}


# What makes operands and attributes of an operation that fit, as a rule.
PLAUSIBLE = {
    "dense": _dense,
    "conv": _conv,
    "lstm": _lstm,
    "gru": _gru,
    "conv2d": _conv2d,
    **_of(_unary, 10, 28),
    **_of(_binary, 40, 52),
    **_of(_logical, 53, 54),
    "logical_not": _logical_not,
    "where": _where,
    **_of(_softmax, 60, 61),
    "layer_norm": _layer_norm,
    "reduce": _reduce,
    "concat": _concat,
    "slice": _slice,
    "gather": _gather,
    "embedding": _embedding,
    "transpose": _transpose,
    "reshape": _reshape,
    "expand": _expand,
    "pad": _pad,
    "cast": _cast,
}


def _spoil_attribute(code, attributes, rng):
    name, one = rng.choice(list(OPERATIONS[code].attributes.items()))
    if one.type == "int":
        attributes[name] = rng.choice(INTEGERS)
    elif one.type == "float":
        attributes[name] = rng.choice(REALS)
    elif one.type == "name":
        attributes[name] = rng.choice(one.choices)
    elif one.type == "flag":
        attributes[name] = rng.random() < 0.5
    else:
        values = list(attributes.get(name, ()))
        at = rng.randint(0, len(values))
        values[at : at + rng.randint(0, 1)] = [rng.choice(INTEGERS)] * rng.choice((0, 1, 1, 7))
        attributes[name] = tuple(values)


def _spoil(code, operands, attributes, rng):
    """Change something, after which it may still fit."""
    if OPERATIONS[code].attributes and rng.random() < 0.5:
        _spoil_attribute(code, attributes, rng)
        return
    one = rng.choice(operands)
    what = rng.randrange(7)
    if what == 0:
        one.kind = rng.choice(_lfm.KINDS)
    elif what == 1:
        one.shape = tuple(_shape(rng, 0, 4))
    elif what == 2 and one.shape:
        sizes = list(one.shape)
        sizes[rng.randrange(len(sizes))] = rng.choice(
            (1, 2, 4, 5, 2**14 if not one.is_constant else 7)
        )
        one.shape = tuple(sizes)
    elif what == 3:
        one.is_left_out = not one.is_left_out
    elif what == 4 and np.prod(one.shape) < 2**10:
        one.is_constant = not one.is_constant
    elif what == 5:
        one.wild = rng.choice(WILD)
    elif rng.random() < 0.5:
        operands.append(Operand((2,)))
    else:
        one.range = one.range[0] - 1, one.range[1] + 1


def _value(one, rng):
    noise = np.random.default_rng(rng.randrange(2**32))
    if one.kind == "float32":
        value = noise.standard_normal(one.shape).astype(np.float32)
        if one.wild:
            value = value.copy().reshape(-1)
            value[-1] = one.wild
        return value.reshape(one.shape)
    if one.kind == "bool":
        return noise.integers(0, 2, one.shape).astype(bool)
    return noise.integers(*one.range, one.shape, endpoint=True)


def _outputs(code, attributes, given):
    try:
        return infer(code, complete(code, attributes), given)
    except ValueError:
        return (Tensor((2,)),) * OPERATIONS[code].outputs


def random_program(seed):
    """A program of one operation that nothing has checked, written as a file."""
    rng = random.Random(seed)
    code = rng.choice(list(OPERATIONS))
    operands, attributes = PLAUSIBLE[code](rng)
    names = (*OPERATIONS[code].inputs, *[""] * len(operands))
    for one, name in zip(operands, names, strict=False):
        one.is_constant = name.startswith("=") or rng.random() < 0.1
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
        _spoil(code, operands, attributes, rng)
    tensors, constants, inputs, ids = [Tensor((2,))], {}, [Input("x", 0, (2,))], []
    for one in operands:
        ids.append(-1 if one.is_left_out else len(tensors))
        if one.is_left_out:
            continue
        if one.is_constant:
            constants[len(tensors)] = _value(one, rng)
        else:
            inputs.append(Input(f"input {len(tensors)}", len(tensors), one.shape))
        tensors.append(Tensor(one.shape, one.kind))
    if rng.random() < 0.95:
        while ids and ids[-1] == -1:
            ids.pop()
    given = [None if i == -1 else tensors[i] for i in ids]
    made = _outputs(code, attributes, given)
    results = tuple(range(len(tensors), len(tensors) + len(made)))
    table = OPERATIONS[code].attributes
    full = {name: attributes.get(name, one.default) for name, one in table.items()}
    op = Op(code, tuple(ids), results, full)
    program = Program(
        tuple(inputs), (Output("y", results[0]),), (), (*tensors, *made), constants, (op,)
    )
    return _lfm.to_bytes(program)
