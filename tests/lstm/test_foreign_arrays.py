"""Frames, states and weights that are not NumPy arrays: converted exactly, or named in errors."""

from __future__ import annotations

import array
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from cases import bits
from lstm_fast import LSTM
from lstm_fast._arguments import to_float32

I, H = 6, 4  # noqa: E741
VALUES = np.array([0.5, -1.25, 3.0, 0.0, -0.0, 2.0**-120], np.float32)  # exact in bfloat16, too


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def lstm():
    return LSTM.random(I, H, 2, backend="reference")


class Array:
    """A thing of another library, of which NumPy asks for an array."""

    def __init__(self, result):
        self.result = result

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


# ---- what is converted ---------------------------------------------------------------------------

WITH_TORCH = {
    "grad": lambda t: t.tensor(VALUES, requires_grad=True),
    "bfloat16": lambda t: t.tensor(VALUES).bfloat16(),
    "double": lambda t: t.tensor(VALUES).double(),
    "bfloat16 with grad": lambda t: t.tensor(VALUES).bfloat16().requires_grad_(),
    "parameter": lambda t: t.nn.Parameter(t.tensor(VALUES)),
    "strided": lambda t: t.tensor(np.repeat(VALUES, 2))[::2],
    "negated view": lambda t: t.complex(t.zeros(I), t.tensor(-VALUES)).conj().imag,
    "list of tensors": lambda t: [t.tensor(v) for v in VALUES],
    "list of tensors with grad": lambda t: [t.tensor(v, requires_grad=True) for v in VALUES],
    "list of bfloat16": lambda t: [t.tensor(v).bfloat16() for v in VALUES],
    "tuple of tensors and numbers": lambda t: (*map(t.tensor, VALUES[:5]), float(VALUES[5])),
    "objects": lambda t: np.array([t.tensor(v) for v in VALUES] + [None], object)[:-1],
}
WITHOUT_TORCH = {
    "float32": lambda: VALUES,
    "float64": lambda: VALUES.astype(np.float64),
    "longdouble": lambda: VALUES.astype(np.longdouble),
    "list": VALUES.tolist,
    "list of arrays": lambda: list(VALUES),
    "array of Python": lambda: array.array("f", VALUES),
    "memoryview": lambda: memoryview(VALUES),
    "subclass": lambda: VALUES.view(type("Own", (np.ndarray,), {})),
    "other library": lambda: Array(VALUES),
    "objects: floats": lambda: np.array(VALUES.tolist(), object),
    "objects: scalars": lambda: np.array([*VALUES, None], object)[:-1],
    "objects: Decimal": lambda: np.array([Decimal(float(v)) for v in VALUES], object),
    "objects: mixed": lambda: [
        Fraction(0.5),
        Decimal("-1.25"),
        3,
        False,
        np.float16(-0.0),
        2**-120,
    ],
}


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_frames_are_converted(lstm, name):
    check_frames(lstm, WITHOUT_TORCH[name]())


@pytest.mark.parametrize("name", WITH_TORCH)
def test_frames_of_tensors_are_converted(lstm, torch, name):
    check_frames(lstm, WITH_TORCH[name](torch))


def check_frames(lstm, x):
    assert bits(to_float32(x, "x", (I,), "%s")) == bits(VALUES)
    assert bits(lstm.stream().step(x)) == bits(lstm.stream().step(VALUES))
    assert bits(lstm.stream().run([x, x])) == bits(lstm.stream().run(np.stack([VALUES] * 2)))
    pool = lstm.pool(2)
    handles = [pool.open()]
    assert bits(pool.step(handles, [x])) == bits(lstm.stream().step(VALUES)[None])


def test_the_frames_are_not_all_alike(lstm):
    """Negative control: another last value is seen."""
    other = VALUES.copy()
    other[-1] = 2.0**-119
    assert bits(to_float32(other.tolist(), "x", (I,), "%s")) != bits(VALUES)


def test_numpys_bfloat16(lstm):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for x in (VALUES.astype(ml_dtypes.bfloat16), list(VALUES.astype(ml_dtypes.bfloat16))):
        assert bits(lstm.stream().step(x)) == bits(lstm.stream().step(VALUES))
    weights = {n: w.astype(ml_dtypes.bfloat16) for n, w in lstm.state_dict().items()}
    rounded = LSTM.from_state_dict(weights, backend="reference").weights.layers[0].weight_ih
    assert bits(rounded) == bits(weights["weight_ih_l0"].astype(np.float32))


def test_weights_and_states_of_tensors(torch, lstm):
    """As `model.state_dict(keep_vars=True)` and `dict(model.named_parameters())` have them."""
    plain = {name: torch.tensor(value) for name, value in lstm.state_dict().items()}
    for change in (
        lambda t: t.requires_grad_(),
        torch.nn.Parameter,
        lambda t: t.double().requires_grad_(),
        lambda t: list(t.detach()),
    ):
        weights = {name: change(tensor.clone()) for name, tensor in plain.items()}
        twin = LSTM.from_state_dict(weights, backend="reference")
        assert twin.fingerprint == lstm.fingerprint
    rounded = {name: tensor.bfloat16().requires_grad_() for name, tensor in plain.items()}
    twin = LSTM.from_state_dict(rounded, backend="reference")
    value = rounded["weight_hh_l1"].float().detach().numpy()
    assert bits(twin.weights.layers[1].weight_hh) == bits(value)
    h, c = torch.randn(2, H), torch.randn(2, H)
    stream = lstm.stream((h.requires_grad_(), c.bfloat16()))
    assert bits(stream.state.h) == bits(h.detach().numpy())
    assert bits(stream.state.c) == bits(c.bfloat16().float().numpy())


def test_too_large_is_infinite():
    given = [Decimal("1e400"), Fraction(-(10**400)), 1e300, Decimal("sNaN"), np.inf, 2**63]
    found = to_float32(given, "x", (6,), "%s")
    assert found[[0, 1, 2, 4]].tolist() == [np.inf, -np.inf, np.inf, np.inf]
    assert np.isnan(found[3])
    assert found[5] == 2.0**63


# ---- what is refused, by name --------------------------------------------------------------------

WRONG_WITH_TORCH = {
    "sparse": (lambda t: t.eye(I).to_sparse(), "tensor of torch.float32 on cpu.*to_dense"),
    "meta": (lambda t: t.zeros(I, device="meta"), "on meta: it has no values"),
    "quantized": (
        lambda t: t.quantize_per_tensor(t.tensor(VALUES), 0.1, 0, t.qint8), r"dequantize\(\)",
    ),
    "complex": (lambda t: t.zeros(I, dtype=t.complex64), "has dtype complex64"),
    "a sparse one in a list": (lambda t: [t.eye(I).to_sparse()], "to_dense"),
}  # fmt: skip
WRONG = {
    "None": (lambda: None, "holds NoneType"),
    "None in it": (lambda: [1.0, None], "holds NoneType"),
    "string": (lambda: "1.5", "has dtype <U3"),
    "strings": (lambda: np.array(["1.5", "2"], object), "holds str"),
    "complex in it": (lambda: np.array([1.0, 1j], object), "holds complex"),
    "dict": (lambda: {"a": 1}, "holds dict|'x' is missing, 'a' is unknown"),
    "generator": (lambda: (v for v in VALUES), "holds generator"),
    "whole numbers": (lambda: [2**70] * I, "holds a whole number beyond 64 bits"),
    "records": (lambda: np.zeros(I, "f4, f4"), "has dtype"),
    "raises": (lambda: Array(RuntimeError("use .get()\nplease")), r"a Array.*use .get\(\) please"),
    "raises nothing to say": (lambda: Array(KeyError()), "gives no array: KeyError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_named(lstm, name):
    make, message = WRONG[name]
    check_wrong(lstm, make, message)


@pytest.mark.filterwarnings("ignore")  # PyTorch means to give its quantization up
@pytest.mark.parametrize("name", WRONG_WITH_TORCH)
def test_wrong_tensors_are_named(lstm, torch, name):
    make, message = WRONG_WITH_TORCH[name]
    check_wrong(lstm, lambda: make(torch), message)


def check_wrong(lstm, make, message):
    stream, pool = lstm.stream(), lstm.pool(1)
    handles, weights = [pool.open()], lstm.state_dict()
    before = bits(stream.state.h)
    for name, call in {
        "x": lambda: stream.step(make()),
        "xs": lambda: pool.step(handles, make()),
        "state c": lambda: lstm.stream((np.zeros((2, H)), make())),
        "weight_hh_l1": lambda: LSTM.from_state_dict({**weights, "weight_hh_l1": make()}),
    }.items():
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            call()
        assert str(caught.value).startswith(name)
        assert "\n" not in str(caught.value)
    assert bits(stream.state.h) == before


def test_torch_is_not_imported_for_it():
    """Who passes a tensor has it; nobody else waits for it."""
    import subprocess

    code = (
        "import sys, lstm_fast\n"
        "lstm_fast.LSTM.random(2, 3, backend='reference').stream().step([1, 2.5])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
