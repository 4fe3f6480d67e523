"""Random LSTM nodes of ONNX, what onnxruntime makes of them and what we do, and how far apart."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lstm_fast import LSTM
from lstm_fast.cell import ACTIVATIONS
from lstm_fast.formats import read
from lstm_fast.formats.onnx._lstm import AMBIGUOUS, NAMES
from variant_tolerances import batch
from variant_tolerances import excess as excess_of

SPELLED = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "hard_sigmoid": "HardSigmoid",
    "relu": "Relu",
    "affine": "Affine",
    "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu",
    "scaled_tanh": "ScaledTanh",
    "elu": "Elu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
assert {name.lower() for name in SPELLED.values()} == set(NAMES)
OPSETS = (7, 14, 22)
IR_VERSIONS = {7: 3, 14: 7, 22: 10}


@dataclass(frozen=True)
class Case:
    """One node and what it is run on. state: none, run time, or constant."""

    seed: int = 0
    direction: str = "forward"
    steps: int = 4
    rows: int = 2
    input_size: int = 3
    hidden_size: int = 4
    bias: bool = True
    peephole: bool = False
    state: str = "none"
    lengths: str = "none"
    opset: int = 14
    attributes: dict = field(default_factory=dict)

    @property
    def directions(self):
        return 2 if self.direction == "bidirectional" else 1

    def arrays(self):
        """The node's inputs by ONNX's names; each weight is drawn on its own."""
        rng = np.random.default_rng(self.seed)
        d, n, i, h = self.directions, self.rows, self.input_size, self.hidden_size

        def draw(scale, *shape):
            return (scale * rng.uniform(-1, 1, shape)).astype(np.float32)

        found = {
            "X": draw(2, self.steps, n, i),
            "W": draw(1.5 / np.sqrt(i), d, 4 * h, i),
            "R": draw(1.5 / np.sqrt(h), d, 4 * h, h),
            "B": draw(1, d, 8 * h),
            "P": draw(1, d, 3 * h),
            "initial_h": draw(1, d, n, h),
            "initial_c": draw(2, d, n, h),
            "sequence_lens": rng.integers(1, self.steps + 1, n).astype(np.int32),
        }
        if self.lengths == "every":  # each row of the batch stops after one step more: c at each
            found["X"][:] = found["X"][:, :1]
            found["sequence_lens"] = (np.arange(n) % self.steps + 1).astype(np.int32)
        if self.state == "constant" or self.lengths == "every":
            for name in ("initial_h", "initial_c"):
                found[name][:] = found[name][:, :1]
        absent = {
            "B": not self.bias,
            "P": not self.peephole,
            "sequence_lens": self.lengths == "none",
        }
        absent |= dict.fromkeys(("initial_h", "initial_c"), self.state == "none")
        return {name: value for name, value in found.items() if not absent.get(name)}

    def model(self, arrays):
        """The model, and which of its inputs are given when it runs."""
        names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
        attributes = {"hidden_size": self.hidden_size, "direction": self.direction}
        node = helper.make_node(
            "LSTM",
            [name if name in arrays else "" for name in names],
            ["Y", "Y_h", "Y_c"],
            "lstm",
            **attributes,
            **self.attributes,
        )
        given = {"X", "sequence_lens"} & set(arrays)
        if self.state == "run time":
            given |= {"initial_h", "initial_c"}
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(arrays[name].dtype), arrays[name].shape
            )
            for name in sorted(given)
        ]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("Y", "Y_h", "Y_c")
        ]
        constants = [numpy_helper.from_array(v, k) for k, v in arrays.items() if k not in given]
        if self.opset == 7:  # then initialisers are inputs with a default
            inputs += [
                helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in constants
            ]
        graph = helper.make_graph([node], "case", inputs, outputs, constants)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=IR_VERSIONS[self.opset],
        ), given


def onnxruntime_run(model: onnx.ModelProto, feeds):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def read_model(model: onnx.ModelProto):
    """What our reader finds in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return read(path)


@dataclass(frozen=True)
class Judged:
    """excess: the largest distance from onnxruntime over the sum of both bounds, above 1 is wrong.

    sharp: the share of values whose bound is at most 1e-3 of max(1, |value|), so that a mistake
    would be seen.
    """

    excess: float
    sharp: float


def judge(case: Case, backend=None) -> Judged:
    arrays = case.arrays()
    model, given = case.model(arrays)
    theirs = onnxruntime_run(model, {name: arrays[name] for name in given})
    (found,) = read_model(model)
    lstm = LSTM.from_weights(found.weights, backend=backend)
    xs, lengths = arrays["X"].swapaxes(0, 1), arrays.get("sequence_lens")
    state = None
    if case.state == "run time":
        state = arrays["initial_h"], arrays["initial_c"]
    ours = lstm(xs, state=state, lengths=lengths)
    start = state or tuple(np.repeat(part[:, None], len(xs), axis=1) for part in lstm.initial_state)
    own = np.full(len(xs), case.steps) if lengths is None else lengths
    mine = batch(found.weights, xs, start, own)
    peer = batch(found.weights, xs, start, own, peer=True)
    # onnxruntime computes log(1 + exp(x)), which is infinite from x = 88.7 on, and such an h goes
    # into the next step, where clip makes something finite of it. So nothing is compared with a run
    # that has met it. (Ours is still held against float64.)
    functions = (f for layer in found.weights.layers for f in layer.cell.activations)
    overflowed = "softplus" in {function.name for function in functions} and not all(
        np.isfinite(part).all() for part in theirs
    )
    y = theirs[0].transpose(2, 0, 1, 3).reshape(*xs.shape[:2], -1)
    worst, sharp = 0.0, []
    for n, (our, near, far) in enumerate(zip((ours[0], *ours[1]), mine, peer, strict=True)):
        their = (y, *theirs[1:])[n]
        assert np.isfinite(near.error).all() == np.isfinite(far.error).all()
        error = near.error + far.error
        worst = max(worst, excess_of(our, near.value, near.error))
        if not overflowed:
            worst = max(worst, excess_of(our, their, error))
        sharp.append((error <= 1e-3 * np.maximum(1, np.abs(near.value))).ravel())
    return Judged(worst, float(np.concatenate(sharp).mean()))


def excess(case: Case, backend=None) -> float:
    return judge(case, backend).excess


def random_case(rng) -> Case:
    """A case with everything in it whose permuted gates differ."""
    return Case(
        seed=int(rng.integers(2**31)),
        direction="bidirectional",
        peephole=True,
        state="run time",
        attributes={"activations": ["HardSigmoid", "Softsign", "Tanh"] * 2},
    )


# No threshold is ever one of these: there onnxruntime differs from ONNX's text, which is ours.
CLIPS = tuple(float(np.float32(value)) for value in (0.3, 0.7, 1.9, 5.3))


@st.composite
def attributes(draw, directions):
    """activations with their parameters, clip, input_forget."""
    found = {}
    if draw(st.booleans()):
        kinds = draw(
            st.lists(
                st.sampled_from(sorted(SPELLED)), min_size=3 * directions, max_size=3 * directions
            )
        )
        spell = draw(st.sampled_from([str, str.lower, str.upper]))
        found["activations"] = [spell(SPELLED[kind]) for kind in kinds]
        number = st.floats(0.0625, 1.5, width=32).filter(lambda value: value not in CLIPS)
        for parameter in ("alpha", "beta"):
            takers = [kind for kind in kinds if parameter in ACTIVATIONS[kind]]
            last = max((n for n, kind in enumerate(takers) if kind in AMBIGUOUS), default=-1) + 1
            count = draw(st.integers(last, len(takers) + 1))  # fewer: defaults; more: left over
            values = draw(st.lists(number, min_size=count, max_size=count))
            if values:
                found[f"activation_{parameter}"] = values
    if draw(st.booleans()):
        found["clip"] = draw(st.sampled_from(CLIPS))
    if draw(st.booleans()):
        found["input_forget"] = draw(st.integers(0, 1))
    return found


@st.composite
def cases(draw):
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    case = Case(
        seed=draw(st.integers(0, 2**32 - 1)),
        direction=direction,
        steps=draw(st.integers(1, 6)),
        rows=draw(st.integers(1, 4)),
        input_size=draw(st.integers(1, 9)),
        hidden_size=draw(st.integers(1, 9)),
        bias=draw(st.booleans()),
        peephole=draw(st.booleans()),
        state=draw(st.sampled_from(["none", "run time", "constant"])),
        lengths=draw(st.sampled_from(["none", "random", "every"])),
        opset=draw(st.sampled_from(OPSETS)),
        attributes=draw(attributes(2 if direction == "bidirectional" else 1)),
    )
    return replace(case, rows=case.steps) if case.lengths == "every" else case
