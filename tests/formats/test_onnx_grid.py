"""Random LSTM nodes against onnxruntime: h and c at every step, within derived bounds."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, event, given, settings

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx_cases
from onnx_cases import SPELLED, Case, cases, excess, judge

from lstm_fast.formats import FormatError, gates

EXAMPLES = int(os.environ.get("LSTM_FAST_ONNX_EXAMPLES", "100"))


def check(case):
    judged = judge(case)
    assert judged.excess <= 1
    event("sharp" if judged.sharp > 0.99 else "blunt: errors grow too much to say anything")


@settings(max_examples=EXAMPLES)
@given(case=cases())
def test_every_step_is_onnxruntimes(case):
    check(case)


@pytest.mark.slow
def test_2000_random_nodes_are_onnxruntimes():
    """As above, and most bounds are small enough to see a mistake."""
    sharp = []

    @settings(max_examples=2000, database=None, phases=[Phase.generate])  # shrinking takes hours
    @given(case=cases())
    def run(case):
        judged = judge(case)
        assert judged.excess <= 1
        sharp.append(judged.sharp > 0.99)

    run()
    assert len(sharp) >= 2000
    assert np.mean(sharp) > 0.8


PARAMETERS = {"activation_alpha": [0.3, 0.8, 0.6], "activation_beta": [0.4, 0.7, 0.2]}


@pytest.mark.parametrize("role", range(3))
@pytest.mark.parametrize("kind", sorted(SPELLED))
@pytest.mark.parametrize("clip", [None, 0.4])
def test_each_activation_in_each_role(kind, role, clip):
    names = ["Sigmoid", "Tanh", "Tanh"]
    names[role] = SPELLED[kind]
    attributes = {"activations": names, **PARAMETERS}
    if clip is not None:
        attributes["clip"] = clip
    judged = judge(Case(seed=role, peephole=True, lengths="every", rows=4, attributes=attributes))
    assert judged.excess <= 1
    assert judged.sharp == 1


EVERYTHING = Case(
    rows=5,
    seed=3,
    direction="bidirectional",
    peephole=True,
    state="constant",
    attributes={
        "activations": ["HardSigmoid", "Elu", "LeakyRelu", "Sigmoid", "Tanh", "ScaledTanh"],
        "activation_alpha": [0.3, 0.8, 0.2, 1.2],
        "activation_beta": [0.4, 0.7],
        "clip": 0.9,
        "input_forget": 1,
    },
)


def test_everything_at_once():
    judged = judge(EVERYTHING)
    assert judged.excess <= 1
    assert judged.sharp == 1


# Each attribute and input changes what comes out, so that one that is ignored is seen.
@pytest.mark.parametrize(
    "change",
    [
        {"bias": False},
        {"peephole": False},
        {"state": "none"},
        {"lengths": "random"},
        *(
            {"attributes": {k: v for k, v in EVERYTHING.attributes.items() if k != name}}
            for name in ("clip", "input_forget")
        ),
        {"attributes": {**EVERYTHING.attributes, "activation_alpha": [0.8, 0.3, 0.2, 1.2]}},
        {"attributes": {**EVERYTHING.attributes, "activation_beta": [0.7, 0.4]}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_is_left_out_is_seen(change, monkeypatch):
    theirs = onnx_cases.onnxruntime_run
    wrong = replace(EVERYTHING, **change)

    def run_wrong(model, feeds):
        arrays = wrong.arrays()
        model, given_names = wrong.model(arrays)
        return theirs(model, {name: arrays[name] for name in given_names})

    monkeypatch.setattr(onnx_cases, "onnxruntime_run", run_wrong)
    assert excess(EVERYTHING) > 100


@pytest.mark.parametrize(
    "order", ["".join(p) for p in itertools.permutations("iofg") if "".join(p) != "iofg"]
)
def test_every_wrong_gate_order_is_seen(order, monkeypatch):
    """Also in the plain cell, where the gates i, o and f are computed alike."""
    plain = Case(seed=1, state="run time")
    assert excess(plain) <= 1
    monkeypatch.setitem(gates.ORDERS, "onnx", order)
    assert excess(plain) > 100


@pytest.mark.parametrize("kind", ["affine", "scaled_tanh", "thresholded_relu"])
def test_parameters_that_nobody_agrees_on_are_refused(kind):
    case = Case(attributes={"activations": ["Sigmoid", SPELLED[kind], "Tanh"]})
    model, _ = case.model(case.arrays())
    with pytest.raises(FormatError, match=f"{SPELLED[kind]} has no activation_alpha"):
        onnx_cases.read_model(model)
