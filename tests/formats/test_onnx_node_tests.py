"""ONNX's own backend tests of LSTM, through its own runner; and what they cannot see."""

from __future__ import annotations

import importlib
import itertools
import unittest
import warnings

import numpy as np
import pytest

from lstm_fast.formats import gates

pytest.importorskip("onnx")
runner = pytest.importorskip("onnx.backend.test.runner")
import onnx_cases  # noqa: E402

from lstm_fast.formats.onnx_backend import LstmFastBackend  # noqa: E402

NAMES = {
    "test_lstm_defaults",
    "test_lstm_with_initial_bias",
    "test_lstm_with_peepholes",
    "test_lstm_batchwise",
    "test_lstm_reverse",
    "test_lstm_bidirectional",
}


def official_cases():
    """Those of the module that defines them; collecting all 1,884 of ONNX takes 16 seconds."""
    importlib.import_module("onnx.backend.test.case.node.lstm")
    node = importlib.import_module("onnx.backend.test.case.node")
    return [case for case in node._NodeTestCases if "lstm" in case.name]


def run(backend_class, monkeypatch):
    """Return the result of ONNX's own runner, and the names of what it ran."""
    cases = official_cases()
    monkeypatch.setattr(runner, "load_model_tests", lambda kind: cases if kind == "node" else [])
    whole = runner.Runner(backend_class, __name__).test_cases["OnnxBackendNodeModelTest"]
    names = [n for n in unittest.TestLoader().getTestCaseNames(whole) if n.endswith("_cpu")]
    result = unittest.TestResult()
    with warnings.catch_warnings():  # the runner's own
        warnings.simplefilter("ignore", DeprecationWarning)
        unittest.TestSuite(map(whole, names)).run(result)
    return result, {name.removesuffix("_cpu") for name in names}


def backend_on(name, isa=None):
    class OnThis(LstmFastBackend):
        @classmethod
        def prepare(cls, model, device="CPU", **options):
            return super().prepare(model, device, backend=name, isa=isa)

    return OnThis


def test_all_official_lstm_tests_pass(implementation, monkeypatch):
    result, ran = run(backend_on(implementation.backend, implementation.isa), monkeypatch)
    assert ran >= NAMES
    assert result.testsRun == len(ran) > 0
    assert result.wasSuccessful(), result.failures + result.errors
    assert not result.skipped


@pytest.mark.slow
def test_these_are_all_tests_with_lstm_in_their_name():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        names = {
            case.name
            for kind in ("node", "simple", "pytorch-converted", "pytorch-operator")
            for case in load_model_tests(kind=kind)
            if "lstm" in case.name.lower()
        }
    assert names == {case.name for case in official_cases()}


WRONG = ["".join(p) for p in itertools.permutations("iofg") if "".join(p) != "iofg"]


def test_the_official_tests_cannot_see_a_wrong_gate_order(monkeypatch):
    """They give all gates the same weights. Those that can: below, and the grid."""
    blind = 0
    for order in WRONG:
        monkeypatch.setitem(gates.ORDERS, "onnx", order)
        result, _ = run(backend_on("reference"), monkeypatch)
        blind += result.wasSuccessful()
    assert blind == len(WRONG) == 23


@pytest.mark.parametrize("order", WRONG)
def test_distinct_weights_see_every_wrong_gate_order(order, monkeypatch):
    pytest.importorskip("onnxruntime")
    case = onnx_cases.random_case(np.random.default_rng(5))
    assert onnx_cases.excess(case, "reference") <= 1
    monkeypatch.setitem(gates.ORDERS, "onnx", order)
    assert onnx_cases.excess(case, "reference") > 100
