"""Each operation against a formula written down here, in plain loops, or against onnx.reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operation_cases import CLOSE, arrays, compute, seeds, shapes, small

from lstm_fast import reference_operations
from lstm_fast._program_attributes import complete
from lstm_fast._program_shapes import RULES, infer
from lstm_fast.operations import OPERATIONS
from lstm_fast.program import Tensor


def test_the_table_is_whole():
    assert set(OPERATIONS) == set(RULES) == set(reference_operations.FUNCTIONS)
    numbers = [one.number for one in OPERATIONS.values()]
    assert len(set(numbers)) == len(numbers)


# ---- element by element ----

SCALAR = {
    "relu": lambda x: x if x > 0 else 0.0,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "exp": math.exp,
    "abs": abs,
    "neg": lambda x: -x,
    "reciprocal": lambda x: 1 / x,
    "erf": math.erf,
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "hard_swish": lambda x: x * min(max(x / 6 + 0.5, 0), 1),
    "square": lambda x: x**2,
    "hard_sigmoid": lambda x: min(max(float(np.float32(0.2)) * x + 0.5, 0), 1),
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "leaky_relu": lambda x: x if x > 0 else float(np.float32(0.01)) * x,
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "clip": lambda x: x,
}
OF_POSITIVE = {"log": math.log, "sqrt": math.sqrt}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "minimum": min,
    "maximum": max,
    "pow": math.pow,
    "prelu": lambda a, b: a if a >= 0 else a * b,
    "less": lambda a, b: a < b,
    "greater": lambda a, b: a > b,
    "equal": lambda a, b: a == b,
}


@pytest.mark.parametrize("code", [*SCALAR, *OF_POSITIVE])
@given(seed=seeds, shape=shapes)
def test_one_input(code, seed, shape):
    (x,) = arrays(seed, shape)
    x = np.abs(x) if code in OF_POSITIVE else 3 * x
    formula = {**SCALAR, **OF_POSITIVE}[code]
    expected = np.array([formula(float(v)) for v in x.ravel()]).reshape(shape)
    np.testing.assert_allclose(compute(code, x), expected, **CLOSE)


def broadcast_pairs(a, b):
    """Elements that meet, by hand: what is missing in front and sizes of 1 repeat."""
    rank = max(a.ndim, b.ndim)
    a, b = (v.reshape((1,) * (rank - v.ndim) + v.shape) for v in (a, b))
    shape = tuple(map(max, a.shape, b.shape))
    result = np.empty(shape, object)
    for index in itertools.product(*map(range, shape)):
        result[index] = tuple(
            v[tuple(i if s > 1 else 0 for i, s in zip(index, v.shape, strict=True))] for v in (a, b)
        )
    return result


PAIRS = [((2, 3), (2, 3)), ((2, 3), (3,)), ((), (4,)), ((2, 1, 3), (4, 1)), ((1,), (1, 1))]


@pytest.mark.parametrize("shapes", PAIRS)
@pytest.mark.parametrize("code", BINARY)
def test_two_inputs(code, shapes):
    for seed in range(3):
        a, b = arrays(seed, *shapes)
        if code == "equal":
            a, b = np.round(a), np.round(b)
        if code == "pow":
            a = np.abs(a)
        pairs = broadcast_pairs(a, b)
        expected = np.array([BINARY[code](*p) for p in pairs.ravel()]).reshape(pairs.shape)
        np.testing.assert_allclose(compute(code, a, b), expected, **CLOSE)


def test_bools_and_where():
    for a, b in itertools.product((False, True), repeat=2):
        assert compute("logical_and", np.array(a), np.array(b)) == (a and b)
        assert compute("logical_or", np.array(a), np.array(b)) == (a or b)
    assert compute("logical_not", np.array([True, False])).tolist() == [False, True]
    condition = np.array([True, False])
    assert compute("where", condition, np.array([1, 2]), np.array([[5], [6]])).tolist() == [
        [1, 5],
        [1, 6],
    ]
    assert compute("equal", np.array([2**53 + 1]), np.array([2**53])).tolist() == [False]


def test_parameters_change_what_is_computed():
    x = np.array([-2.0, -0.1, 0.1, 2.0])
    assert compute("clip", x, min=-1.0, max=0.5).tolist() == [-1, -0.1, 0.1, 0.5]
    assert compute("leaky_relu", x, alpha=0.5).tolist() == [-1, -0.05, 0.1, 2]
    np.testing.assert_allclose(compute("elu", x, alpha=2.0)[0], 2 * (math.exp(-2) - 1), **CLOSE)
    assert compute("hard_sigmoid", x, alpha=0.5, beta=0.25).tolist() == [0, 0.2, 0.3, 1]
    inner = [math.sqrt(2 / math.pi) * (v + 0.044715 * v**3) for v in x]
    expected = [v * (1 + math.tanh(i)) / 2 for v, i in zip(x, inner, strict=True)]
    found = compute("gelu", x, approximate="tanh")
    np.testing.assert_allclose(found, expected, **CLOSE)
    assert np.abs(found - compute("gelu", x)).max() > 1e-5  # the control: the two are told apart


@pytest.mark.parametrize("code", [*SCALAR, "log", "sqrt"])
def test_nan_stays(code):
    assert np.isnan(compute(code, np.array([math.nan, 1.0]))).tolist() == [True, False]


def test_casts():
    x = np.array([-1.7, 0.0, 2.9, math.nan, math.inf, -1e30, 0.3])
    least = -(2**63)
    assert compute("cast", x, kind="int64").tolist() == [-1, 0, 2, least, least, least, 0]
    assert compute("cast", x, kind="bool").tolist() == [True, False, *[True] * 5]
    assert compute("cast", np.array([2**24 + 1]), kind="float32").tolist() == [2**24]
    assert compute("cast", np.array([True]), kind="int64").tolist() == [1]


# ---- along axes and movement, against onnx.reference ----


def onnx_reference(op, inputs, attributes, opset=20):
    onnx = pytest.importorskip("onnx")
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    helper = onnx.helper
    names = [f"i{n}" for n in range(len(inputs))]
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in zip(names, inputs, strict=True)
    ]
    out = helper.make_tensor_value_info("o", onnx.TensorProto.DOUBLE, None)
    graph = helper.make_graph([helper.make_node(op, names, ["o"], **attributes)], "g", infos, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return evaluator(model).run(None, dict(zip(names, inputs, strict=True)))[0]


@given(seed=seeds, shape=st.lists(small, min_size=1, max_size=3), data=st.data())
def test_along_an_axis(seed, shape, data):
    (x,) = arrays(seed, tuple(shape))
    axis = data.draw(st.integers(0, len(shape) - 1))
    for code, name in (("softmax", "Softmax"), ("log_softmax", "LogSoftmax")):
        expected = onnx_reference(name, [x], {"axis": axis})
        np.testing.assert_allclose(compute(code, x, axis=axis), expected, **CLOSE)
    indices = np.array(data.draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1)))
    expected = onnx_reference("Gather", [x, indices], {"axis": axis})
    assert (compute("gather", x, indices, axis=axis) == expected).all()
    expected = onnx_reference("Concat", [x, 2 * x], {"axis": axis})
    assert (compute("concat", x, 2 * x, axis=axis) == expected).all()


@given(seed=seeds, shape=st.lists(small, min_size=1, max_size=3), data=st.data())
def test_reductions(seed, shape, data):
    (x,) = arrays(seed, tuple(shape))
    axes = sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    keep = data.draw(st.booleans())
    names = {"mean": "Mean", "sum": "Sum", "max": "Max", "min": "Min", "l2": "L2"}
    for kind, name in names.items():
        inputs = [x, np.array(axes)]
        expected = onnx_reference(f"Reduce{name}", inputs, {"keepdims": int(keep)})
        found = compute("reduce", x, kind=kind, axes=tuple(axes), keepdims=keep)
        np.testing.assert_allclose(found, expected, **CLOSE)


def test_large_values_do_not_overflow_a_softmax():
    x = np.array([1000.0, 1000.0, -1000.0])
    assert compute("softmax", x, axis=0).tolist() == [0.5, 0.5, 0.0]
    np.testing.assert_allclose(compute("log_softmax", x, axis=0)[2], -2000 - math.log(2), **CLOSE)


@given(seed=seeds, before=shapes, size=small)
def test_layer_norm(seed, before, size):
    x, scale, bias = arrays(seed, (*before, size), (size,), (size,))
    expected = np.empty_like(x)
    for index in itertools.product(*map(range, before)):
        row = x[index]
        mean = math.fsum(row) / size
        variance = math.fsum((v - mean) ** 2 for v in row) / size
        expected[index] = (row - mean) / math.sqrt(variance + 0.25) * scale + bias
    found = compute("layer_norm", x, scale, bias, epsilon=0.25)
    np.testing.assert_allclose(found, expected, **CLOSE)
    plain = compute("layer_norm", x, epsilon=0.25)
    np.testing.assert_allclose(plain * scale + bias, expected, **CLOSE)


@given(seed=seeds, shape=st.lists(small, min_size=1, max_size=3), data=st.data())
def test_movement(seed, shape, data):
    (x,) = arrays(seed, tuple(shape))
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    expected = onnx_reference("Transpose", [x], {"perm": order})
    assert (compute("transpose", x, order=order) == expected).all()
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    steps = [data.draw(st.sampled_from((-2, -1, 1, 2))) for _ in shape]
    ends = [
        data.draw(st.integers(start + 1, size) if step > 0 else st.integers(-1, start - 1))
        for size, start, step in zip(shape, starts, steps, strict=True)
    ]
    kept = [
        [i for i in range(size) if i in range(start, end, step)][:: 1 if step > 0 else -1]
        for size, start, end, step in zip(shape, starts, ends, steps, strict=True)
    ]
    found = compute("slice", x, starts=tuple(starts), ends=tuple(ends), steps=tuple(steps))
    assert (found == x[np.ix_(*kept)]).all()
    flat = compute("reshape", x, shape=(x.size, 1))
    assert flat[:, 0].tolist() == [x[i] for i in itertools.product(*map(range, shape))]
    wide = compute("expand", x, shape=(2, *shape))
    assert (wide[0] == x).all()
    assert (wide[1] == x).all()


@given(seed=seeds, shape=st.lists(small, min_size=1, max_size=2), data=st.data())
def test_padding(seed, shape, data):
    (x,) = arrays(seed, tuple(shape))
    for mode in ("constant", "reflect"):
        widths = [st.integers(0, size - 1 if mode == "reflect" else 3) for size in shape]
        before, after = (tuple(data.draw(st.tuples(*widths))) for _ in range(2))
        expected = np.empty([b + s + a for b, s, a in zip(before, shape, after, strict=True)])
        for index in itertools.product(*map(range, expected.shape)):
            at = [i - b for i, b in zip(index, before, strict=True)]
            inside = all(0 <= i < size for i, size in zip(at, shape, strict=True))
            if mode == "reflect":
                at = [size - 1 - abs(size - 1 - abs(i)) for i, size in zip(at, shape, strict=True)]
            expected[index] = x[tuple(at)] if inside or mode == "reflect" else 0.5
        options = {"before": before, "after": after, "mode": mode, "value": 0.5}
        assert (compute("pad", x, **options) == expected).all()


def test_embedding():
    table = np.arange(6.0).reshape(3, 2)
    assert compute("embedding", table, np.array(1)).tolist() == [2, 3]
    assert compute("embedding", table, np.array([[-1], [0]])).tolist() == [[[4, 5]], [[0, 1]]]
    for wrong in (3, -4):
        with pytest.raises(ValueError, match=f"the index {wrong} is not within the 3 rows"):
            compute("embedding", table, np.array([0, wrong]))


# ---- what does not fit is said ----

PLANE = [(3, 4, 5), (2, 3, 2, 2)]
REFUSED = [
    ("dense", [(3,), (2, 4)], {}, "last axis must be the weight's 4"),
    ("dense", [(3,), (2, 3), (3,)], {}, r"bias has shape \(3,\), expected \(2,\)"),
    ("dense", [(3,)], {}, "the input weight is missing"),
    ("conv", [(3, 5), (2, 3, 2)], {"stride": 0}, "stride is 0"),
    ("conv", [(3, 5), (2, 3, 2)], {"groups": 2}, "groups is 2"),
    ("conv", [(3, 5), (2, 3, 2)], {"pad_end": -1}, "pad_end is -1"),
    ("conv", [(3, 5), (2, 3, 2)], {"pads": 1}, "there is no attribute pads"),
    ("conv2d", PLANE, {"strides": (1, 0)}, r"strides is \(1, 0\), expected two of 1 or more"),
    ("conv2d", PLANE, {"dilations": (1,)}, r"dilations is \(1,\), expected two"),
    ("conv2d", PLANE, {"pad_end": (-1, 0)}, r"pad_end is \(-1, 0\), expected two of 0 or more"),
    ("conv2d", PLANE, {"groups": 2}, "groups is 2"),
    ("conv2d", PLANE, {"pad_begin": 1}, "pad_begin is 1, expected a tuple"),
    ("conv2d", PLANE, {"dilations": (4, 1)}, "a window spans 5 rows, x has 4"),
    ("conv2d", PLANE, {"dilations": (1, 5)}, "a window spans 6 columns, x has 5"),
    ("conv2d", PLANE, {"pad_end": (2**14, 2**14)}, "has more than 268435456 values with its pad"),
    ("conv2d", [(3, 5), (2, 3, 2, 2)], {}, "x has shape .*, expected 3 axes"),
    ("lstm", [(3,), (2,), (4,), (16, 3), (16, 2)], {}, "there is no weight_hr"),
    ("lstm", [(3,), (4,), (4,), (16, 3), (16, 4)], {"gate": "swish"}, "gate is 'swish'"),
    ("lstm", [(3,), (4,), (4,), (16, 3), (16, 4)], {"clip": -1.0}, "clip must be above 0"),
    ("gru", [(3,), (4,), (12, 3), (12, 3)], {}, "weight_hh has shape"),
    ("gru", [(3,), (4,), (12, 3), (12, 4)], {"linear_before_reset": 2}, "expected True or False"),
    ("add", [(2,), (3,)], {}, "don't broadcast"),
    ("clip", [(2,)], {"min": 1.0, "max": 0.0}, "above max"),
    ("elu", [(2,)], {"alpha": math.nan}, "expected a number"),
    ("softmax", [(2,)], {"axis": 1}, "axis is 1"),
    ("softmax", [(2,)], {}, "the attribute axis is missing"),
    ("softmax", [(2,)], {"axis": 2**31}, "an integer of 32 bits"),
    ("reduce", [(2, 3)], {"kind": "mean", "axes": (1, 0)}, "expected ascending axes"),
    ("reduce", [(2, 3)], {"kind": "mean", "axes": ()}, "expected ascending axes"),
    ("concat", [], {"axis": 0}, "one input or more"),
    ("concat", [(2, 3), (2, 4)], {"axis": 0}, "does not go with"),
    ("slice", [(4,)], {"starts": (4,), "ends": (5,), "steps": (1,)}, "is not a slice"),
    ("slice", [(4,)], {"starts": (1,), "ends": (1,), "steps": (1,)}, "is not a slice"),
    ("slice", [(4,)], {"starts": (1,), "ends": (2,), "steps": (0,)}, "is not a slice"),
    ("slice", [(4, 4)], {"starts": (1,), "ends": (2,), "steps": (1,)}, "starts is"),
    ("transpose", [(2, 3)], {"order": (0, 0)}, "each axis"),
    ("reshape", [(2, 3)], {"shape": (5,)}, "another number of elements"),
    ("reshape", [(2, 3)], {"shape": (0, 6)}, "not an integer of 1 or more"),
    ("expand", [(2, 3)], {"shape": (3,)}, "does not broadcast"),
    ("expand", [(1,)], {"shape": (2**20, 2**20)}, "elements"),
    ("pad", [(2,)], {"before": (2,), "after": (0,), "mode": "reflect"}, "reflects at most 1"),
    ("pad", [(2,)], {"before": (-1,), "after": (0,)}, "expected 0 or more"),
    ("where", [(2,), (2,), (2,)], {}, "condition is float32, expected bool"),
    ("logical_not", [(2,)], {}, "expected bool"),
    ("gather", [(2,), (2,)], {"axis": 0}, "indices is float32, expected int64"),
    ("relu", [(2,), (2,)], {}, "at most 1 inputs"),
    ("relu", [(1,) * 9], {}, "9 axes"),
]


@pytest.mark.parametrize(("code", "shapes", "attributes", "text"), REFUSED)
def test_what_does_not_fit_is_refused(code, shapes, attributes, text):
    with pytest.raises(ValueError, match=text):
        infer(code, complete(code, attributes), [Tensor(shape) for shape in shapes])
