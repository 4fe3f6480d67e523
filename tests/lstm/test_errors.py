"""A bad call says what was expected and found, and changes no bit of state."""

from __future__ import annotations

import numpy as np
import pytest

from cases import bits, state_bits, weights_for
from lstm_fast import LSTM, Stream, StreamPool

I, H, L = 6, 10, 2  # noqa: E741
F32 = np.float32


def readonly(shape):
    array = np.zeros(shape, F32)
    array.flags.writeable = False
    return array


shared = np.zeros(100, F32)
x_ok, xs_ok = np.ones(I, F32), np.ones((3, I), F32)
good = np.zeros((L, H), F32)

# fmt: off
# name: (call, error, what the message must say)
CALLS = {
    "x too long": (lambda s: s.step(np.ones(I + 1)), ValueError, r"shape \(7,\).*takes \(6,\)"),
    "x too short": (lambda s: s.step(np.ones(I - 1, F32)), ValueError, r"x has shape \(5,\)"),
    "x of rank 2": (lambda s: s.step(np.ones((1, I), F32)), ValueError, r"x has shape \(1, 6\)"),
    "x a number": (lambda s: s.step(1.0), ValueError, r"x has shape \(\)"),
    "x empty": (lambda s: s.step([]), ValueError, r"x has shape \(0,\)"),
    "x complex": (lambda s: s.step(np.ones(I, complex)), TypeError, "x has dtype complex128"),
    "x strings": (lambda s: s.step(["1"] * I), TypeError, "x has dtype <U1.*real numbers"),
    "x a string": (lambda s: s.step("abcdef"), TypeError, "x has dtype <U6"),
    "x bytes": (lambda s: s.step(b"abcdef"), TypeError, "x has dtype .S6"),
    "x None": (lambda s: s.step(None), TypeError, "x holds NoneType"),
    "x objects": (lambda s: s.step([None] * I), TypeError, "x holds NoneType.*real"),
    "x dates": (lambda s: s.step(np.zeros(I, "M8[s]")), TypeError, "x has dtype datetime64"),
    "x too large ints": (lambda s: s.step([2**70] * I), TypeError, "x holds a whole number beyond"),
    "x masked": (lambda s: s.step(np.ma.masked_array(x_ok, x_ok > 0)), TypeError, "masked array"),
    "x ragged": (lambda s: s.step([[1], [1, 2]]), ValueError, "x is not a rectangular array"),
    "xs of rank 1": (lambda s: s.run(x_ok), ValueError, r"xs has shape \(6,\).*takes \(T, 6\)"),
    "xs of rank 3": (lambda s: s.run(xs_ok[None]), ValueError, r"xs has shape \(1, 3, 6\)"),
    "xs too wide": (lambda s: s.run(np.ones((3, I + 1))), ValueError, r"xs has shape \(3, 7\)"),
    "xs complex": (lambda s: s.run(xs_ok * 1j), TypeError, "xs has dtype complex64"),
    "out float64": (lambda s: s.step(x_ok, np.zeros(H)), TypeError, "out must be.*float64"),
    "out a list": (lambda s: s.step(x_ok, out=[0.0] * H), TypeError, "out must be.*list"),
    "out int32": (lambda s: s.step(x_ok, np.zeros(H, np.int32)), TypeError, "found dtype int32"),
    "out big-endian": (lambda s: s.step(x_ok, np.zeros(H, ">f4")), TypeError, "found dtype >f4"),
    "out too long": (lambda s: s.step(x_ok, np.zeros(H + 1, F32)), ValueError,
                     r"out has shape \(11,\), expected \(10,\)"),
    "out of rank 2": (lambda s: s.step(x_ok, np.zeros((1, H), F32)), ValueError, "out has shape"),
    "out strided": (lambda s: s.step(x_ok, np.zeros(2 * H, F32)[::2]), ValueError, "C-contiguous"),
    "out reversed": (lambda s: s.step(x_ok, np.zeros(H, F32)[::-1]), ValueError, "C-contiguous"),
    "out read-only": (lambda s: s.step(x_ok, readonly(H)), ValueError, "^out is read-only$"),
    "out overlaps x": (lambda s: s.step(shared[:I], shared[I - 1 : I - 1 + H]), ValueError,
                       "out shares memory with x:"),
    "out overlaps a strided x": (lambda s: s.step(shared[: 2 * I : 2], shared[:H]), ValueError,
                                 "out shares memory with x:"),
    "out overlaps a float64 x": (lambda s: s.step(shared.view(float)[:I], shared[:H]), ValueError,
                                 "out shares memory with x:"),
    "out overlaps a memoryview": (lambda s: s.step(memoryview(shared)[:I], shared[:H]), ValueError,
                                  "out shares memory with x:"),
    "run out overlaps a memoryview": (
        lambda s: s.run(memoryview(shared)[: 3 * I].cast("B").cast("f", (3, I)),
                        shared[8 : 8 + 3 * H].reshape(3, H)), ValueError,
        "out shares memory with xs:"),
    "run out float64": (lambda s: s.run(xs_ok, np.zeros((3, H))), TypeError, "out must be"),
    "run out too long": (lambda s: s.run(xs_ok, np.zeros((4, H), F32)), ValueError,
                         r"out has shape \(4, 10\), expected \(3, 10\)"),
    "run out Fortran": (lambda s: s.run(xs_ok, np.zeros((3, H), F32, "F")), ValueError,
                        "C-contiguous"),
    "run out overlaps": (lambda s: s.run(shared[: 3 * I].reshape(3, I),
                                         shared[: 3 * H].reshape(3, H)), ValueError,
                         "out shares memory with xs"),
    "state None": (lambda s: setattr(s, "state", None), TypeError, "pair.*NoneType"),
    "state three": (lambda s: setattr(s, "state", (good, good, good)), TypeError, "pair"),
    "state h shape": (lambda s: s.reset((good[:1], good)), ValueError,
                      r"state h has shape \(1, 10\).*has \(2, 10\)"),
    "state c shape": (lambda s: s.reset((good, good[:, 1:])), ValueError, "state c has shape"),
    "state one layer": (lambda s: s.reset((good[0], good[0])), ValueError, "state h has shape"),
    "state complex": (lambda s: s.reset((good, good * 1j)), TypeError, "state c has dtype complex"),
    "state strings": (lambda s: s.reset(("ab", "cd")), TypeError, "state h has dtype <U2"),
    "stream state": (lambda s: s.lstm.stream((good, good[0])), ValueError, "state c has shape"),
}
# fmt: on


@pytest.fixture(scope="module")
def lstm(implementation):
    return implementation.random(I, H, L)


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_call_says_so_and_changes_nothing(lstm, name):
    call, error, message = CALLS[name]
    stream = lstm.stream()
    stream.run(xs_ok)
    before = state_bits(stream)
    with pytest.raises(error, match=message) as caught:
        call(stream)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert state_bits(stream) == before


def test_a_good_call_does_change_the_state(lstm):
    """Negative control of the above."""
    stream = lstm.stream()
    before = state_bits(stream)
    stream.step(x_ok)
    assert state_bits(stream) != before


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(F32)
    view[:] = array
    return view


CONVERSIONS = {
    "list": list,
    "tuple": tuple,
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "int8": lambda x: x.astype(np.int8),
    "uint64": lambda x: x.astype(np.uint64),
    "bool": lambda x: x.astype(bool),
    "strided": lambda x: np.repeat(x, 2)[::2],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "big-endian": lambda x: x.astype(">f4"),
    "read-only": lambda x: np.frombuffer(x.tobytes(), F32),
    "unaligned": unaligned,
    "subclass": lambda x: x.view(type("Sub", (np.ndarray,), {})),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_other_inputs_are_converted(lstm, name):
    x = np.array([1, 0, 1, 1, 0, 1], F32)
    expected = bits(lstm.stream().step(x))
    assert bits(lstm.stream().step(CONVERSIONS[name](x))) == expected
    assert bits(lstm.stream().step(CONVERSIONS[name](x), out=np.empty(H, F32))) == expected
    xs = [CONVERSIONS[name](x)] * 3
    assert bits(lstm.stream().run(xs)) == bits(lstm.stream().run([x] * 3))


def test_unaligned_out_is_written(lstm):
    out = unaligned(np.zeros(H, F32))
    assert bits(lstm.stream().step(x_ok, out=out)) == bits(lstm.stream().step(x_ok)) == bits(out)


def test_too_large_for_float32_is_infinite(lstm):
    stream = lstm.stream()
    stream.step([1e300] * I)
    assert state_bits(stream) == state_bits(after_infinity(lstm))


def after_infinity(lstm):
    stream = lstm.stream()
    stream.step(np.full(I, np.inf, F32))
    return stream


def weights(**changes):
    result = weights_for((I, H, L), "normal", 0) | changes
    return {name: value for name, value in result.items() if value is not None}


def spoiled(name, value):
    array = weights()[name].astype(np.float64)
    array.flat[7] = value
    return {name: array}


# fmt: off
# name: (mapping, prefix, error, what the message must say)
WEIGHTS = {
    "no mapping": ([1, 2], "", TypeError, "expected a mapping.*found list"),
    "prefix no string": (weights(), None, TypeError, "prefix must be a string, found NoneType"),
    "empty": ({}, "", ValueError, "weight_hh_l0 is missing"),
    "W_ih missing": (weights(weight_ih_l0=None), "", ValueError, "weight_ih_l0 is missing"),
    "W_hh missing": (weights(weight_hh_l0=None), "", ValueError, "weight_hh_l0 is missing"),
    "W_hh of l1 missing": (weights(weight_hh_l1=None), "", ValueError, "weight_hh_l1 is missing"),
    "one bias missing": (weights(bias_hh_l1=None), "", ValueError, "bias_hh_l1 is missing"),
    "wrong prefix": ({"lstm." + n: w for n, w in weights().items()}, "rnn.", ValueError,
                     r"rnn\.weight_hh_l0 is missing; there are LSTM weights under prefix='lstm\.'"),
    "no prefix": ({"a.lstm." + n: w for n, w in weights().items()}, "", ValueError,
                  r"weight_hh_l0 is missing; there are LSTM weights under prefix='a\.lstm\.'"),
    "W_ih misshapen": (weights(weight_ih_l0=np.zeros((4 * H + 1, I))), "", ValueError,
                       r"weight_ih_l0 has shape \(41, 6\), expected \(40, input_size\)"),
    "W_ih of l1": (weights(weight_ih_l1=np.zeros((4 * H, I))), "", ValueError,
                   r"weight_ih_l1 has shape \(40, 6\), expected \(40, 10\)"),
    "W_hh transposed": (weights(weight_hh_l0=np.zeros((H, 4 * H))), "", ValueError,
                        r"weight_hh_l0 has shape \(10, 40\).*transposed"),
    "W_hh ragged": (weights(weight_hh_l0=[[1], [1, 2]]), "", ValueError,
                    "weight_hh_l0 is not a rectangular array"),
    "W_hh None": (weights() | {"weight_hh_l0": None}, "", TypeError, "weight_hh_l0 holds NoneType"),
    "W_hh of rank 1": (weights(weight_hh_l0=np.zeros(40)), "", ValueError, "weight_hh_l0 has"),
    "bias misshapen": (weights(bias_ih_l0=np.zeros((1, 4 * H))), "", ValueError,
                       r"bias_ih_l0 has shape \(1, 40\), expected \(40,\)"),
    "NaN": (weights(**spoiled("weight_hh_l1", np.nan)), "", ValueError,
            r"weight_hh_l1 is not finite in float32: nan at \[0, 7\]"),
    "infinite": (weights(**spoiled("bias_ih_l0", -np.inf)), "", ValueError,
                 r"bias_ih_l0 is not finite in float32: -inf at \[7\]"),
    "too large": (weights(**spoiled("weight_ih_l0", 1e39)), "", ValueError,
                  r"weight_ih_l0 is not finite in float32: 1e\+39 at \[1, 1\]"),
    "bias sum": (weights(bias_ih_l0=np.full(40, 3e38), bias_hh_l0=np.full(40, 3e38)), "",
                 ValueError, r"bias_ih_l0 \+ bias_hh_l0 overflows"),
    "complex": (weights(weight_ih_l0=np.zeros((4 * H, I), complex)), "", TypeError,
                "weight_ih_l0 has dtype complex128"),
    "no input": ({"weight_ih": np.zeros((8, 0)), "weight_hh": np.zeros((8, 2))}, "", ValueError,
                 r"weight_ih has shape \(8, 0\), expected an input_size of 1 or more"),
    "no hidden": ({"weight_ih": np.zeros((0, 3)), "weight_hh": np.zeros((0, 0))}, "", ValueError,
                  r"weight_hh has shape \(0, 0\), expected \(4 \* hidden_size"),
    "one projection of two": (weights(weight_hr_l0=np.zeros((5, H))), "", ValueError,
                              "weight_hr_l1 is missing"),
    "one reverse weight": (weights(weight_ih_l0_reverse=np.zeros((40, I))), "", ValueError,
                           "weight_hh_l0_reverse is missing"),
    "both names": (weights(weight_ih=np.zeros((40, I))), "", ValueError, "both weight_"),
}
# fmt: on


@pytest.mark.parametrize("name", WEIGHTS)
def test_bad_weights_are_named(name):
    mapping, prefix, error, message = WEIGHTS[name]
    with pytest.raises(error, match=message) as caught:
        LSTM.from_state_dict(mapping, prefix, backend="reference")
    assert "\n" not in str(caught.value)


def test_the_weights_those_were_made_from_are_good():
    """Negative control of the above."""
    assert LSTM.from_state_dict(weights(), backend="reference").num_layers == L


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 4), ValueError, "input_size must be 1 or more, found 0"),
        ((4, 0), ValueError, "hidden_size must be 1 or more, found 0"),
        ((4, 4, 0), ValueError, "num_layers must be 1 or more, found 0"),
        ((4, -1), ValueError, "hidden_size must be 1 or more, found -1"),
        ((4.0, 4), TypeError, "input_size must be an integer, found float"),
        (("4", 4), TypeError, "input_size must be an integer, found str"),
        ((2**28 + 1, 1), ValueError, "input_size must be at most 268435456"),
    ],
)
def test_bad_sizes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        LSTM.random(*arguments)


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_bad_seeds_are_named(seed):
    with pytest.raises(ValueError, match="seed must be a whole number of 0 or more, or None"):
        LSTM.random(2, 3, seed=seed)


def test_conversion_does_not_mind_how_numpy_treats_errors(lstm):
    with np.errstate(all="raise"):
        y = lstm.stream().step([1e-60, 1e60, 1, 1, 1, 1])
    assert np.isfinite(y).all() or np.isnan(y).any()


def test_memory_that_is_between_the_values_of_x_is_not_shared(lstm):
    memory = np.zeros(100 * I, F32)
    lstm.stream().step(memory[::100], out=memory[1 : 1 + H])


WEIGHT_DTYPES = [
    (3, TypeError, "weight_dtype must be a string, found int"),
    ("int4", ValueError, "no weight_dtype 'int4'; choose one of float32, float16, int8"),
    ("float16", ValueError, "weight_hh_l1 reaches 65520, float16 only 65504"),
]


@pytest.mark.parametrize(("weight_dtype", "error", "message"), WEIGHT_DTYPES)
def test_bad_weight_dtypes_are_named(weight_dtype, error, message):
    mapping = weights(**spoiled("weight_hh_l1", 65520))
    plain = LSTM.from_state_dict(mapping, backend="reference")
    with pytest.raises(error, match=message):
        plain.astype(weight_dtype)
    with pytest.raises(error, match=message):
        LSTM.from_state_dict(mapping, weight_dtype=weight_dtype)


def test_the_largest_float16_is_fine(implementation):
    mapping = weights(**spoiled("weight_hh_l1", 65519))
    lstm = LSTM.from_state_dict(mapping, weight_dtype="float16", backend=implementation.backend)
    assert np.isfinite(lstm.stream().step(x_ok)).all()


def test_the_class_says_how_to_make_one():
    with pytest.raises(TypeError, match=r"LSTM\.from_state_dict"):
        LSTM()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda lstm: LSTM(40, 96), "LSTM(40, 96) has no weights: call lstm_fast.load(path) or"),
        (lambda lstm: LSTM(40, 96), "or LSTM.random(40, 96) for random ones"),
        (
            lambda lstm: LSTM(input_size=40, hidden_size=96, batch_first=True, bidirectional=True),
            "LSTM.random(40, 96, bidirectional=True)",
        ),
        (lambda lstm: LSTM(), "LSTM.random(input_size, hidden_size)"),
        (lambda lstm: LSTM("m.onnx"), "call lstm_fast.load('m.onnx')"),
        (lambda lstm: LSTM(lstm.state_dict()), "call LSTM.from_state_dict(weights)"),
        (lambda lstm: LSTM(lstm.weights), "call LSTM.from_weights(weights)"),
        (LSTM, "call LSTM.from_state_dict(lstm.state_dict())"),
        (Stream, "call lstm.stream(), where lstm is LSTM(2, 3, num_layers=1"),
        (lambda lstm: Stream(), "a Stream is made by its LSTM: call lstm.stream()"),
        (StreamPool, "call lstm.pool(capacity), where lstm is LSTM(2, 3,"),
        (lambda lstm: StreamPool(lstm, 100), "call lstm.pool(100), where lstm is"),
        (lambda lstm: StreamPool(lstm=lstm, capacity=9), "call lstm.pool(capacity=9), where"),
    ],
)
def test_what_is_not_made_by_calling_it_says_what_to_call(call, says):
    with pytest.raises(TypeError) as raised:
        call(LSTM.random(2, 3))
    assert says in str(raised.value)
