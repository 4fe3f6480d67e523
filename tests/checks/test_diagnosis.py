"""Each mistake that is planted is named; what is right, or merely noisy, is blamed for nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import Port
from plants import INT8, PLANTS, Plant, grid

import lstm_fast
from lstm_fast import LSTM, Activation, Cell
from lstm_fast._weights import LayerWeights, make_weights
from lstm_fast.checks.diagnosis import Evidence, diagnose, gather
from lstm_fast.checks.target import Recording, record

SLOW = pytest.mark.slow
SHAPES = [(6, 10, 1), (10, 10, 1), (8, 5, 2), (12, 12, 2)]


def weights_for(shape, seed=0, **options):
    return LSTM.random(*shape, seed=seed, **options).weights


def planted(shape, hidden, plant, seed=0, **options):
    weights = weights_for(shape, seed)
    port = Port(weights, hidden=hidden, **plant.flaws)
    return diagnose(gather(port, weights, seed=seed + 100), weights, **options)


def named(found, plant):
    assert not found.agrees
    assert found, found.note
    assert found[0].mistake == plant.id, [str(one) for one in found]
    assert found[0].residual_after < found[0].residual_before / 8
    assert found[0].explanation
    assert found[0].words in found.note


CASES = [*grid(PLANTS, SHAPES, every=8)]


@pytest.mark.parametrize(("plant", "shape", "hidden"), CASES)
def test_each_mistake_is_named(plant, shape, hidden):
    found = planted(shape, hidden, plant, pairs=False)
    named(found, plant)
    assert found[0].confident, found[0].also


@pytest.mark.parametrize(
    ("plant", "shape", "hidden"), [*grid(INT8, [(20, 32, 1), (16, 24, 2)], every=4)]
)
def test_an_int8_scale_that_is_off_is_named(plant, shape, hidden):
    found = planted(shape, hidden, plant, weight_dtype="int8", pairs=False)
    if hidden and shape[2] > 1 and plant.id == "int8_scale:w_hh:0.9":
        # Which whole numbers the layer below had is not to be seen, and the fit takes them all.
        assert not found.agrees
        return
    named(found, plant)


@pytest.mark.parametrize("shape", [(20, 32, 1), (16, 24, 2)], ids=str)
def test_an_int8_port_is_right_as_int8_and_named_beside_float32(shape):
    right = Plant("rounded:int8", {"int8": {}})
    assert planted(shape, False, right, weight_dtype="int8").agrees
    found = planted(shape, False, right)
    named(found, right)
    wrong = Plant("rounded:int8 + int8_scale:h/128", {"int8": {"h_scale": 1 / 128}})
    named(planted(shape, False, wrong), wrong)
    plain = Plant("not_rounded", {})
    named(planted(shape, False, plain, weight_dtype="int8"), plain)


@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("shape", "flaws", "id"),
    [
        ((12, 8, 1), {"zero_first": 6}, "context:zero_first:6"),
        ((12, 12, 2), {"zero_first": 9}, "context:zero_first:9"),
        ((12, 8, 1), {"zero_first": 5}, "context:zero_first:5"),
        ((12, 8, 1), {"repeat": 4}, "context:repeat:4"),
        ((12, 8, 1), {"newest_first": 4}, "context:newest_first:4"),
    ],
    ids=str,
)
def test_a_missing_context_window_is_named(shape, flaws, id, seed, hidden):
    named(planted(shape, hidden, Plant(id, flaws), seed, pairs=False), Plant(id, flaws))


@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_that_come_early_or_backwards_are_named(shape, hidden):
    """No stream can plant these; whole sequences that were cut or turned wrongly can."""
    weights = weights_for(shape)
    xs = np.random.default_rng(0).standard_normal((25, shape[0])).astype(np.float32)
    whole = record(Port(weights, hidden=hidden), xs)
    early = replace(whole, xs=xs[:-1], ys=whole.ys[1:])
    shown = {name: value for name in ("hs", "cs") if (value := getattr(whole, name)) is not None}
    together = replace(early, **{name: value[1:] for name, value in shown.items()})
    early = replace(early, **{name: value[:-1] for name, value in shown.items()})
    for one in (early, together):
        assert [d.mistake for d in diagnose(one, weights)] == ["one_step_early"]
    turned = record(Port(weights, hidden=hidden), xs[::-1])
    for ys in (turned.ys, turned.ys[::-1]):
        one = Recording(xs, ys)
        assert [d.mistake for d in diagnose(one, weights)] == ["reversed_time"]


def test_the_larger_shapes_of_real_models():
    for flaws, id in (
        ({"gate_order": "iofg"}, "gate_order:iofg"),
        ({"bias": "twice"}, "bias:twice"),
    ):
        named(planted((128, 128, 1), True, Plant(id, flaws)), Plant(id, flaws))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [*SHAPES, (64, 80, 1), (1, 3, 1)], ids=str)
@pytest.mark.parametrize("hidden", [False, True], ids=["state", "outputs"])
def test_what_is_right_is_blamed_for_nothing(shape, hidden, seed):
    found = planted(shape, hidden, Plant("none"), seed)
    assert found.agrees
    assert found == []
    assert found.nearest is None
    assert "no difference" in found.note


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_our_own_streams_are_right(backend):
    if not any(name.startswith(backend) for name in lstm_fast.available()):
        pytest.skip(f"{backend} is not here")
    lstm = LSTM.random(32, 48, 2, backend=backend)
    stream = lstm.stream()
    rng = np.random.default_rng(0)
    recordings = []
    for _ in range(2):
        stream.reset()
        recordings.append(record(stream, rng.standard_normal((20, 32)).astype(np.float32)))
    assert diagnose(recordings, lstm.weights).agrees
    assert diagnose(recordings[0], lstm.weights).agrees
    small = record(lstm.astype("int8").stream(), recordings[0].xs)
    assert diagnose(small, lstm.weights, weight_dtype="int8").agrees
    assert [one.mistake for one in diagnose(small, lstm.weights)] == ["rounded:int8"]
    small = record(lstm.astype("float16").stream(), recordings[0].xs)
    assert diagnose(small, lstm.weights, weight_dtype="float16").agrees
    assert [one.mistake for one in diagnose(small, lstm.weights)] == ["rounded:float16"]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=SLOW), pytest.param(2, marks=SLOW)])
@pytest.mark.parametrize("shape", [(6, 10, 1), (12, 12, 2)], ids=str)
def test_noise_is_not_called_a_mistake(shape, seed):
    """float16 activations are far off float32's bound, and no mistake that is in the list."""
    found = planted(shape, False, Plant("none", {"float16_activations": True}), seed)
    assert not found.agrees
    assert found == []
    assert "nothing known explains it" in found.note


@pytest.mark.parametrize("size", [3.0, 10.0, 100.0])
def test_noise_of_any_size_is_not_called_a_mistake(size):
    """Not even where it is just above what rounding allows."""
    weights = weights_for((6, 10, 1))
    evidence = gather(Port(weights), weights)
    rng = np.random.default_rng(1)
    # 4 (1e-6 + what rounding carries on, some 1e-6) is allowed
    noisy = [
        replace(one, ys=one.ys + (size * 1e-5 * rng.uniform(-1, 1, one.ys.shape)).astype("f"))
        for one in evidence.recordings
    ]
    found = diagnose(Evidence(tuple(noisy), evidence.starts), weights)
    assert not found.agrees
    assert found == []


@pytest.mark.parametrize("shape", [(6, 10, 1), (12, 12, 2)], ids=str)
def test_nothing_explains_other_weights(shape):
    weights = weights_for(shape, 1)
    found = diagnose(gather(Port(weights_for(shape, 2)), weights), weights)
    assert not found.agrees
    assert found == []
    assert found.residual > 0.1


PAIRS = [
    ({"gate_order": "iofg", "bias": "none"}, "gate_order:iofg + bias:none"),
    ({"gate_order": "igfo", "gate": "0.2"}, "gate_order:igfo + hard_sigmoid:0.2"),
    ({"bias": "only_b_ih", "leak": "c"}, "bias:only_b_ih + carried_over_reset:c"),
    ({"no_tanh": True, "late_output": True}, "tanh_missing:output + one_step_late"),
    ({"forget_bias": 1.0, "gate": "1/6"}, "forget_bias:+1 + hard_sigmoid:1/6"),
    (
        {"transpose": {"w_hh": "gates"}, "bias": "twice"},
        "bias:twice + transposed:w_hh",
    ),
    ({"swap_matrices": True, "drop_after": "c"}, "swapped:w_ih_w_hh + not_carried:c"),
]


# Of each pair one view is quick, in turns.
PAIR_CASES = [
    pytest.param(
        *(flaws, id, hidden),
        id=f"{id}-{'outputs' if hidden else 'state'}",
        marks=[SLOW] if (n + hidden) % 2 else [],
    )
    for n, (flaws, id) in enumerate(PAIRS)
    for hidden in (False, True)
]


@pytest.mark.parametrize(("flaws", "id", "hidden"), PAIR_CASES)
def test_two_at_once_are_found_and_named(flaws, id, hidden):
    plant = Plant(id, flaws)
    found = planted((10, 10, 1), hidden, plant)
    named(found, plant)
    assert found[0].parts == tuple(id.split(" + "))
    assert planted((10, 10, 1), hidden, plant, pairs=False) == []  # it is no single one


def test_two_at_once_that_no_pair_explains_are_found():
    flaws = {"float16_activations": True, "bias": "none"}
    found = planted((6, 10, 1), False, Plant("", flaws))
    assert not found.agrees
    assert found == []
    assert found.nearest is not None
    assert found.nearest.mistake == "bias:none"
    assert not found.nearest.confident
    assert found.nearest.words in found.note


def without(weights, *names):
    """The same weights with zeros for some."""
    layers = [
        replace(one, **{name: np.zeros_like(getattr(one, name)) for name in names})
        for one in weights.layers
    ]
    return make_weights(layers)


def test_mistakes_that_make_no_difference_are_none():
    weights = without(weights_for((6, 10, 1)), "bias_ih", "bias_hh")
    for flaws in ({"bias": "twice"}, {"bias": "none"}):
        port = Port(weights, **flaws)
        assert diagnose(gather(port, weights), weights).agrees


def test_mistakes_that_are_the_same_for_these_weights_count_once():
    weights = without(weights_for((6, 10, 1)), "bias_hh")
    found = diagnose(gather(Port(weights, bias="only_b_hh"), weights), weights)
    assert [one.mistake for one in found] == ["bias:none"]
    assert found[0].confident


def test_a_forget_bias_that_is_added_twice_is_all_that_it_is_the_same_as():
    """Keras begins with biases of zero, and of one for the forget gate."""
    weights = weights_for((6, 10, 1))
    (layer,) = weights.layers
    bias = np.repeat(np.float32([0, 1, 0, 0]), 10)
    keras = make_weights([replace(layer, bias_ih=bias, bias_hh=0 * bias)])
    found = diagnose(gather(Port(keras, forget_bias=1.0), keras), keras)
    assert [one.mistake for one in found] == ["bias:twice"]
    assert {"forget_bias:twice", "forget_bias:+1"} <= set(found[0].same)
    other = diagnose(gather(Port(weights, forget_bias=1.0), weights), weights)
    assert [(one.mistake, one.same) for one in other] == [("forget_bias:+1", ())]


def test_what_the_record_does_not_tell_apart_is_said():
    """With one frame nobody can tell h from c among what is not reset."""
    weights = weights_for((6, 10, 1))
    evidence = gather(Port(weights, gate_order="ifog"), weights, steps=1)
    one = diagnose(evidence.recordings[0], weights)
    assert not one.agrees
    for diagnosis in one:
        assert diagnosis.confident == (len(one) == 1)
        assert set(diagnosis.also) == {other.mistake for other in one} - {diagnosis.mistake}
    assert "gate_order:ifog" in {diagnosis.mistake for diagnosis in one}


def test_what_a_reset_leaves_takes_two_recordings():
    weights = weights_for((6, 10, 1))
    evidence = gather(Port(weights, leak="h"), weights)
    assert diagnose(evidence.recordings[0], weights).agrees
    assert not diagnose(Evidence(evidence.recordings, evidence.starts), weights).agrees


VARIANTS = [
    {"cell": Cell(gate="hard_sigmoid")},
    {"cell": Cell(clip=0.5, cell_clip=0.4)},
    {"cell": Cell(gate=Activation("hard_sigmoid", 1 / 6, 0.5), coupled="input")},
    {"proj_size": 4},
    {"bias": False},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_variants_are_judged_by_their_own_equations(options):
    lstm = LSTM.random(6, 9, 2, **options)
    stream = lstm.stream()
    xs = np.random.default_rng(3).standard_normal((30, 6)).astype(np.float32)
    assert diagnose(record(stream, xs), lstm.weights).agrees
    twin = LSTM.from_weights(lstm.weights)
    layers = [replace(layer, **scrambled(layer)) for layer in twin.weights.layers]
    wrong = LSTM.from_weights(make_weights(layers)).stream()
    found = diagnose(record(wrong, xs), lstm.weights)
    assert [one.mistake for one in found] == ["gate_order:iofg"]


def scrambled(layer: LayerWeights):
    """The rows of a layer, taken in ONNX's order."""

    def taken(value):
        i, o, f, g = np.split(value, 4)
        return np.concatenate([i, f, g, o])

    return {
        name: taken(getattr(layer, name))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        if getattr(layer, name) is not None
    }


@pytest.mark.parametrize("missing", ["peephole", "layer_norm", "gate", "cell_clip"])
def test_a_variant_taken_for_the_plain_cell_is_named(missing):
    rng = np.random.default_rng(0)
    lstm = LSTM.random(6, 9, cell=Cell(gate="hard_sigmoid", cell_clip=0.3))
    (layer,) = lstm.weights.layers
    layer = replace(
        layer,
        peephole=rng.standard_normal(27).astype(np.float32),
        layer_norm=rng.uniform(0.5, 1.5, 36).astype(np.float32),
    )
    change = {
        "gate": {"cell": replace(layer.cell, gate="sigmoid")},
        "cell_clip": {"cell": replace(layer.cell, cell_clip=None)},
    }.get(missing, {missing: None})
    weights = make_weights([layer])
    stream = LSTM.from_weights(make_weights([replace(layer, **change)])).stream()
    xs = rng.standard_normal((30, 6)).astype(np.float32)
    expected = {"gate": "plain_sigmoid"}.get(missing, f"ignored:{missing}")
    assert [one.mistake for one in diagnose(record(stream, xs), weights)] == [expected]


def test_a_port_that_gives_nan_is_wrong_and_not_explained():
    weights = weights_for((6, 10, 1))
    recording = gather(Port(weights), weights).recordings[0]
    ys = recording.ys.copy()
    ys[5:] = np.nan
    found = diagnose(replace(recording, ys=ys), weights)
    assert not found.agrees
    assert found == []
    assert found.residual == np.inf


def test_long_recordings_are_cut():
    weights = weights_for((4, 4, 1))
    evidence = gather(Port(weights, no_tanh=True), weights, steps=400)
    assert [len(one) for one in evidence.first_steps(512).recordings] == [400, 112]
    assert diagnose(evidence, weights)[0].mistake == "tanh_missing:output"


def test_the_text_says_what_to_change():
    (found,) = planted((6, 10, 1), False, Plant("", {"gate_order": "iofg"}))
    assert found.words == "gate order i, o, f, g instead of i, f, g, o"
    assert "ONNX" in found.explanation
    assert found.words in str(found)
    assert found.parts == ("gate_order:iofg",)


def test_what_does_not_fit_the_weights_is_refused():
    weights = weights_for((6, 10, 1))
    recording = gather(Port(weights), weights, steps=3).recordings[0]
    with pytest.raises(ValueError, match="one recording at least"):
        Evidence(())
    with pytest.raises(ValueError, match="1 recordings and 2 starts"):
        Evidence((recording,), (None, None))
    with pytest.raises(ValueError, match=r"xs has shape \(3, 6\), expected \(3, 7\)"):
        diagnose(recording, weights_for((7, 10, 1)))
    with pytest.raises(ValueError, match=r"ys has shape \(3, 10\), expected \(3, 9\)"):
        diagnose(recording, weights_for((6, 9, 1)))
    with pytest.raises(ValueError, match=r"hs has shape \(3, 1, 9\), expected \(3, 1, 10\)"):
        diagnose(replace(recording, hs=recording.hs[:, :, 1:]), weights)
    with pytest.raises(ValueError, match=r"h of starts\[0\] has shape"):
        diagnose(Evidence((recording,), ((np.zeros((1, 9)), np.zeros((1, 10))),)), weights)
    empty = Recording(recording.xs[:0], recording.ys[:0])
    with pytest.raises(ValueError, match="no step"):
        diagnose(empty, weights)
    with pytest.raises(ValueError, match="run forwards"):
        diagnose(recording, weights_for((6, 10, 1), bidirectional=True))
    with pytest.raises(ValueError, match="weight_dtype"):
        diagnose(recording, weights, weight_dtype="int4")
