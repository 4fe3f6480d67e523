"""What a Keras file leaves open, by its version or to be given; and what is left out of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from keras_cases import FOLDER

from lstm_fast import Activation, FormatError, FormatWarning, formats

h5py = pytest.importorskip("h5py")
INPUTS, UNITS = 3, 4
HARD = {2: "hard_sigmoid(alpha=0.2, beta=0.5)"}


def arrays(seed=0, inputs=INPUTS, bias_rows=4):
    rng = np.random.default_rng(seed)
    shapes = {
        "kernel": (inputs, 4 * UNITS),
        "recurrent_kernel": (UNITS, 4 * UNITS),
        "bias": (bias_rows * UNITS,),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def fill(file, layers, version):
    """Write layers, weights by name, as `save_weights` of Keras 2 does."""
    file.attrs["layer_names"] = [name.encode() for name in layers]
    file.attrs["backend"] = b"tensorflow"
    if version is not None:
        file.attrs["keras_version"] = version.encode()
    for layer, weights in layers.items():
        group = file.create_group(layer)
        names = [f"{layer}/{name}:0" for name in weights]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, value in zip(names, weights.values(), strict=True):
            group[name] = value


def weights_file(folder, version, layers=None):
    path = folder / "weights.h5"
    with h5py.File(path, "w") as file:
        fill(file, layers or {"lstm_1": arrays()}, version)
    return path


def model_file(folder, layers, version="2.2.4", weights=None, config=None):
    """Write a Sequential of these (class, options), as `model.save` of Keras 2 does."""
    path = folder / "model.h5"
    named = [
        {"class_name": kind, "config": {"name": f"layer_{n}", **options}}
        for n, (kind, options) in enumerate(layers)
    ]
    if weights is None:
        weights, inputs = {}, INPUTS
        for one in named:
            if one["class_name"] == "LSTM":
                weights[one["config"]["name"]] = arrays(inputs=inputs)
                inputs = UNITS
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        config = config or {"class_name": "Sequential", "config": named}
        file.attrs["model_config"] = json.dumps(config).encode()
        fill(file.create_group("model_weights"), weights, version)
    return path


def lstm(**options):
    plain = {"units": UNITS, "activation": "tanh", "recurrent_activation": "sigmoid"}
    return "LSTM", {**plain, "use_bias": True, "return_sequences": True, **options}


def gate(found):
    return str(found.weights.layers[0].cell.gate)


# ---- files of weights alone ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.0.0", "hard_sigmoid"),
        ("2.0.8-tf", "hard_sigmoid"),
        ("2.1.3", "hard_sigmoid"),
        ("2.1.6-tf", "hard_sigmoid"),
        ("2.2.0", "hard_sigmoid"),
        ("2.2.4", "hard_sigmoid"),
        ("2.2.5", "hard_sigmoid"),
        ("2.3.0", "sigmoid"),
        ("2.3.1", "sigmoid"),
        ("2.3.0-tf", "sigmoid"),
        ("2.4.0", "sigmoid"),
        ("2.13.1-rc0", "sigmoid"),
        ("2.15.0", "sigmoid"),
        ("3.0.0.dev2023", "sigmoid"),
        ("3.15.1", "sigmoid"),
    ],
)
def test_the_version_says_what_gates_are(version, expected, tmp_path):
    path = weights_file(tmp_path, version)
    (found,) = formats.read(path)
    assert gate(found).partition("(")[0] == expected
    (text,) = found.assumptions
    assert f"recurrent_activation {expected} (the default of Keras {version})" in text
    assert "activation tanh" in text
    assert "go_backwards False" in text
    with pytest.warns(FormatWarning, match=rf"recurrent_activation {expected} \(the default of"):
        formats.load(path, backend="reference")


def test_keras_2s_hard_sigmoid_is_meant(tmp_path):
    """Its slope is 0.2; Keras 3's is 1/6, and a file of Keras 3 is never taken as one."""
    (found,) = formats.read(weights_file(tmp_path, "2.2.4"))
    assert gate(found) == HARD[2]
    path = weights_file(tmp_path, "3.0.0")
    (found,) = formats.read(path, recurrent_activation="hard_sigmoid")
    assert found.weights.layers[0].cell.gate.alpha == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("version", "match"),
    [
        ("2.2.4-tf", r"must be given.*2\.2\.4-tf is in TensorFlow 1\.13 to 1\.15.*2\.0 and 2\.1"),
        (None, "must be given.*does not say which Keras wrote it"),
        ("nightly", "must be given.*does not say which Keras wrote it"),
    ],
)
def test_a_version_that_does_not_say_it_must_be_told(version, match, tmp_path):
    path = weights_file(tmp_path, version)
    with pytest.raises(FormatError, match=f"lstm_1: its recurrent_activation {match}"):
        formats.load(path)
    for name in ("sigmoid", Activation("hard_sigmoid", 0.2, 0.5)):
        (found,) = formats.read(path, recurrent_activation=name)
        assert gate(found) == str(name)
        assert "recurrent_activation" not in found.assumptions[0]
    if version == "2.2.4-tf":
        (found,) = formats.read(path, recurrent_activation="hard_sigmoid")
        assert gate(found) == HARD[2]
    else:
        with pytest.raises(ValueError, match=r"Keras 2 and 3 compute differently.*0\.2, 0\.5"):
            formats.read(path, recurrent_activation="hard_sigmoid")


def test_what_is_told_is_no_assumption(tmp_path):
    path = weights_file(tmp_path, "2.2.4")
    told = {"activation": "relu", "recurrent_activation": "sigmoid", "go_backwards": False}
    (found,) = formats.read(path, **told)
    assert found.assumptions == ()
    assert found.notes == ("the file does not say what it computes: it is as the options have it",)
    formats.load(path, backend="reference", **told)  # without a warning
    del told["activation"]
    (found,) = formats.read(path, **told)
    assert "taken are activation tanh, and no mask before it;" in found.assumptions[0]


def test_cudnn_is_always_sigmoid(tmp_path):
    """It has two biases, by which it is known; nothing but the direction is open."""
    for version in ("2.1.6-tf", "2.2.4-tf", "2.2.4"):
        path = weights_file(tmp_path, version, {"cu_dnnlstm_1": arrays(bias_rows=8)})
        (found,) = formats.read(path)
        assert gate(found) == "sigmoid"
        assert "taken are go_backwards False, and no mask before it;" in found.assumptions[0]


def test_groups_are_of_a_keras_whose_default_is_sigmoid():
    for name in ("keras2_alone.weights.h5", "keras3_alone.weights.h5"):
        path = FOLDER / name
        for found in formats.read(path):
            assert gate(found) == "sigmoid"
            assert "(the default of Keras 2.12 and later)" in found.assumptions[0]
        with pytest.raises(ValueError, match="Keras 2 and 3 compute differently"):
            formats.read(path, recurrent_activation="hard_sigmoid")


# ---- models --------------------------------------------------------------------------------------


def test_a_config_is_believed_whatever_the_version(tmp_path):
    for name in ("hard_sigmoid", "sigmoid"):
        for version in ("2.2.4", "2.2.4-tf", "2.15.0"):
            path = model_file(tmp_path, [lstm(recurrent_activation=name)], version)
            (found,) = formats.read(path)
            assert gate(found) == (HARD[2] if name == "hard_sigmoid" else "sigmoid")
            assert found.assumptions == ()


def test_a_config_without_it_is_as_the_version_has_it(tmp_path):
    kind, options = lstm(implementation=1, unit_forget_bias=True)
    del options["recurrent_activation"]
    path = model_file(tmp_path, [(kind, options)], "2.1.6")
    (found,) = formats.read(path)
    assert gate(found) == HARD[2]
    text = "recurrent_activation hard_sigmoid (the default of Keras 2.1.6)"
    assert found.assumptions == (f"its config does not hold it: {text}",)
    path = model_file(tmp_path, [(kind, options)], "2.2.4-tf")
    with pytest.raises(FormatError, match=r"layer_0: its recurrent_activation must be given"):
        formats.read(path)
    (found,) = formats.read(path, recurrent_activation="sigmoid")
    assert (gate(found), found.assumptions) == ("sigmoid", ())


def test_an_lstm_that_no_config_tells_of_goes_by_the_version(tmp_path):
    """One inside of a layer of somebody's own."""
    for version, expected in {"2.2.4": HARD[2], "2.4.0": "sigmoid"}.items():
        path = model_file(tmp_path, [("Mine", {})], version, {"layer_0": arrays()})
        (found,) = formats.read(path)
        assert gate(found) == expected


# ---- masks, states, modes ------------------------------------------------------------------------

MASKING = ("Masking", {"mask_value": -9.0})
MASKED = "'layer_0' before it masks steps whose values are all -9.0: Keras leaves such steps out"


@pytest.mark.parametrize("between", [[], [("Dropout", {})], [("Dense", {"units": 3})]])
def test_masking_is_said(between, tmp_path):
    path = model_file(tmp_path, [MASKING, *between, lstm()])
    (found,) = formats.read(path)
    assert len(found.assumptions) == 1
    assert MASKED in found.assumptions[0]
    with pytest.warns(FormatWarning, match="Masking 'layer_0'"):
        formats.load(path, backend="reference")


def test_mask_zero_is_said(tmp_path):
    embedding = {"input_dim": 9, "output_dim": INPUTS}
    for mask_zero in (True, False):
        layers = [("Embedding", {**embedding, "mask_zero": mask_zero}), lstm()]
        (found,) = formats.read(model_file(tmp_path, layers))
        assert len(found.assumptions) == mask_zero
        assert not mask_zero or "masks token 0 (mask_zero)" in found.assumptions[0]


@pytest.mark.parametrize("stop", ["Flatten", "Lambda", "Conv1D", "GlobalMaxPooling1D"])
def test_a_mask_ends_where_keras_ends_it(stop, tmp_path):
    (found,) = formats.read(model_file(tmp_path, [MASKING, (stop, {}), lstm()]))
    assert found.assumptions == ()
    (found,) = formats.read(model_file(tmp_path, [lstm(), MASKING]))  # nor does one come after it
    assert found.assumptions == ()


def test_a_mask_goes_through_sequences_but_not_past_a_last_output(tmp_path):
    path = model_file(tmp_path, [MASKING, lstm(), ("Dense", {}), lstm()])
    assert [bool(one.assumptions) for one in formats.read(path)] == [True, True]
    last = [MASKING, lstm(return_sequences=False), ("RepeatVector", {}), lstm()]
    assert [bool(one.assumptions) for one in formats.read(model_file(tmp_path, last))] == [
        True,
        False,
    ]


def test_a_stack_behind_a_mask_is_one(tmp_path):
    (found,) = formats.read(model_file(tmp_path, [MASKING, lstm(), lstm()]))
    assert found.parts == ("layer_1", "layer_2")
    assert len(found.assumptions) == 1


def functional(*layers):
    """Return a config of (name, class, options, inbound nodes)."""
    return {
        "class_name": "Model",
        "config": {
            "layers": [
                {"class_name": k, "name": n, "config": {"name": n, **o}, "inbound_nodes": nodes}
                for n, k, o, nodes in layers
            ],
            "input_layers": [],
            "output_layers": [[layers[-1][0], 0, 0]],
        },
    }


def of_graph(folder, *layers):
    names = [one[0] for one in layers if one[1] == "LSTM"]
    weights = {name: arrays() for name in names}
    return formats.read(model_file(folder, [], weights=weights, config=functional(*layers)))


def test_masks_states_and_modes_of_a_graph(tmp_path):
    kind, options = lstm(dropout=0.5)
    source = ("x", "InputLayer", {}, [])
    masking = ("m", "Masking", {}, [[["x", 0, 0, {}]]])
    (found,) = of_graph(tmp_path, source, masking, ("a", kind, options, [[["m", 0, 0, {}]]]))
    assert "Masking 'm' before it" in found.assumptions[0]
    mask = {"mask": ["other", 0, 0]}
    other = ("other", "Lambda", {}, [[["x", 0, 0, {}]]])
    (found,) = of_graph(tmp_path, source, other, ("a", kind, options, [[["x", 0, 0, mask]]]))
    assert "it gets a mask from 'other'" in found.assumptions[0]
    states = [[["x", 0, 0, {}], ["s", 0, 0, {}], ["s", 0, 1, {}]]]
    encoder = ("s", "Dense", {}, [[["x", 0, 0, {}]]])
    (found,) = of_graph(tmp_path, source, encoder, ("a", kind, options, states))
    assert "a state that 's' computes; that is left out" in found.assumptions[0]
    (found,) = of_graph(tmp_path, source, ("s", "InputLayer", {}, []), ("a", kind, options, states))
    assert found.assumptions == ()
    assert "an input of the model" in found.notes[0]
    training = [[["x", 0, 0, {"training": True}]]]
    (found,) = of_graph(tmp_path, source, ("a", kind, options, training))
    assert "training=True" in found.assumptions[0]
    (found,) = of_graph(tmp_path, source, ("a", kind, lstm()[1], training))  # which drops nothing
    assert found.assumptions == ()


@pytest.mark.parametrize(
    "dtype", ["mixed_float16", {"class_name": "Policy", "config": {"name": "mixed_bfloat16"}}]
)
def test_computing_in_half_is_said(dtype, tmp_path):
    (found,) = formats.read(model_file(tmp_path, [lstm(dtype=dtype)]))
    assert "Keras computes it in" in found.assumptions[0]
    (found,) = formats.read(model_file(tmp_path, [lstm(dtype="float32")]))
    assert found.assumptions == ()


def test_orders_and_merges_change_what_comes_out(tmp_path):
    (found,) = formats.read(model_file(tmp_path, [lstm(go_backwards=True)]))
    assert "at their own steps" in found.assumptions[0]
    (found,) = formats.read(model_file(tmp_path, [lstm(go_backwards=True, return_sequences=False)]))
    assert "return_sequences=False" in found.assumptions[0]
    (found,) = formats.read(model_file(tmp_path, [lstm(return_sequences=False, stateful=True)]))
    assert found.assumptions == ()  # the last output is the last output
    assert "stateful" in found.notes[0]


# ---- errors belong to one LSTM -------------------------------------------------------------------


def test_a_bad_layer_beside_good_ones(tmp_path):
    dense = ("Dense", {})
    layers = [lstm(), dense, lstm(activation="swish"), dense, lstm()]
    path = model_file(tmp_path, layers)
    good, bad, other = formats.read(path)
    assert [good.name, bad.name, other.name] == ["layer_0", "layer_2", "layer_4"]
    assert isinstance(bad, formats.Refused)
    assert "activation of layer_2 is 'swish'" in str(bad.error)
    assert formats.load(path, name="layer_4", backend="reference").hidden_size == UNITS
    with pytest.raises(FormatError, match="activation of layer_2 is 'swish'"):
        formats.load(path, name="layer_2")


def test_the_only_good_one_loads_and_the_others_are_said(tmp_path):
    path = model_file(tmp_path, [lstm(), ("Dense", {}), lstm(activation="swish")])
    with pytest.warns(FormatWarning, match=r"left out, since it cannot be computed: .*swish"):
        assert formats.load(path, backend="reference").hidden_size == UNITS


@pytest.mark.parametrize("what", ["nan", "integers", "missing", "shape"])
def test_bad_weights_are_of_their_own_layer(what, tmp_path):
    weights = {"layer_0": arrays(), "layer_2": arrays(1, UNITS)}
    bias = weights["layer_2"]["bias"]
    if what == "nan":
        bias[3] = np.nan
    elif what == "integers":
        weights["layer_2"]["bias"] = np.zeros(4 * UNITS, np.int32)
    elif what == "missing":
        del weights["layer_2"]
    else:
        weights["layer_2"]["bias"] = bias[:-1]
    for between in ([("Dense", {})], [("Dropout", {})]):  # two LSTMs, and two layers of one
        path = model_file(tmp_path, [lstm(), *between, lstm()], weights=weights)
        good, bad = formats.read(path)
        assert (good.name, bad.name) == ("layer_0", "layer_2")
        assert isinstance(bad, formats.Refused)
        assert "layer_2" in str(bad.error)
        np.testing.assert_array_equal(good.weights.layers[0].weight_ih.T, arrays()["kernel"])


def test_bad_weights_alone_beside_good_ones(tmp_path):
    bad = arrays(1)
    bad["kernel"][0, 0] = np.inf
    path = weights_file(tmp_path, "2.15.0", {"good": arrays(), "bad": bad})
    first, second = formats.read(path)
    assert (first.name, second.name) == ("good", "bad")
    assert isinstance(second, formats.Refused)


def test_a_damaged_dataset_is_refused_alone(tmp_path):
    """Whatever single byte of a file's structure is wrong, the layers that can be read are."""
    whole = weights_file(tmp_path, "2.15.0", {"first": arrays(), "second": arrays(1)})
    data, path, kinds = whole.read_bytes(), tmp_path / "damaged.h5", set()
    for at in range(0, len(data), 31):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = formats.read(path)
        except FormatError:
            kinds.add("none")
        else:
            kinds.add(tuple(type(one).__name__ for one in found))
    assert ("Found", "Refused") in kinds or ("Refused", "Found") in kinds
    assert ("Found", "Found") in kinds


def test_the_layers_of_a_stack_are_named(tmp_path):
    path = model_file(tmp_path, [lstm(), lstm()])
    (found,) = formats.read(path)
    assert (found.name, found.parts) == ("layer_0+layer_1", ("layer_0", "layer_1"))
    with pytest.raises(FormatError, match=r"'layer_1' is layer 1 .* of the stack 'layer_0\+layer"):
        formats.load(path, name="layer_1")
