"""State of any variant belongs to one session: streams, pools, copies and snapshots, to the bit."""

from __future__ import annotations

import copy
import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import bits, run, state_bits, steps
from lstm_fast import LSTM, Activation, Cell, SnapshotError
from lstm_fast._arrays import canonical
from lstm_fast._weights import WEIGHT_DTYPES, make_weights
from snapshot_cases import WAYS
from variant_cases import Variant, changed, everything, layer_for, make, variants, with_cell

dtypes = st.sampled_from(WEIGHT_DTYPES)
some = settings(max_examples=15)
fewer = settings(max_examples=8)
I, H, P = SIZES = (11, 19, 7)  # noqa: E741
WHOLE = Variant(everything(SIZES), "normal", 7)


@pytest.fixture(scope="module", params=WEIGHT_DTYPES)
def lstm(implementation, request):
    """One with every part and option at once."""
    return make(implementation, WHOLE.weights, request.param, keep_weights=True)


# ---- streams -------------------------------------------------------------------------------------


@some
@given(variant=variants(), dtype=dtypes, cuts=st.lists(st.integers(0, 6), max_size=3))
def test_run_equals_steps_however_cut(implementation, variant, dtype, cuts):
    made, xs = make(implementation, variant.weights, dtype), variant.frames(6)
    expected, stream = steps(made.stream(), xs), made.stream()
    ys = [stream.run(xs[a:b]) for a, b in itertools.pairwise([0, *sorted(cuts), 6])]
    assert bits(np.concatenate(ys)) + state_bits(stream) == expected


ACTIONS = ["step", "run", "prepare", "prepare", "reset", "state", "copy", "nan"]
plans = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=12)


def follow(lstm, variant, plan, *, prepare):
    """All that comes out of a stream that does what the plan says."""
    stream, xs, state, out = lstm.stream(), variant.frames(5), variant.state(), b""
    for n, action in enumerate(plan):
        if action == "step":
            out += bits(stream.step(xs[n % 5]))
        elif action == "run":
            out += bits(stream.run(xs[: n % 4]))
        elif action == "prepare" and prepare:
            stream.prepare()
        elif action == "reset":
            stream.reset()
        elif action == "state":
            stream.state = state
        elif action == "nan":
            out += bits(stream.step(np.full_like(xs[0], np.nan)))
        elif action == "copy":
            stream, left_behind = stream.copy(), stream
            out += bits(left_behind.step(xs[0]))
        out += state_bits(stream)
    return out + steps(stream, xs)


@some
@given(variant=variants(), dtype=dtypes, plan=plans)
def test_prepare_changes_nothing(implementation, variant, dtype, plan):
    made = make(implementation, variant.weights, dtype)
    assert follow(made, variant, plan, prepare=True) == follow(made, variant, plan, prepare=False)


@some
@given(variant=variants(), dtype=dtypes, prior=st.sampled_from(["frames", "nan", "state", "none"]))
def test_reset_goes_back_to_the_trained_state(implementation, variant, dtype, prior):
    made, xs = make(implementation, variant.weights, dtype), variant.frames(4)
    start = made.initial_state
    for name, part in zip(("h_0", "c_0"), start, strict=True):
        for layer, values in zip(variant.weights.layers, part, strict=True):
            trained = getattr(layer, name)
            assert bits(values) == bits(
                np.zeros_like(values) if trained is None else canonical(trained)
            )
    stream = made.stream()
    assert state_bits(stream) == bits(*start)
    if prior == "state":
        stream.state = variant.state()
    elif prior != "none":
        past = variant.frames(3)
        past[:1] = np.nan if prior == "nan" else past[:1]
        stream.run(past)
    stream.prepare()
    stream.reset()
    assert state_bits(stream) == bits(*start)
    assert steps(stream, xs) == steps(made.stream(), xs)
    stream.reset(variant.state())
    assert steps(stream, xs) == steps(made.stream(variant.state()), xs)
    for part in made.initial_state:
        part[:] = 9  # a copy: what is done to it does not reach the LSTM
    assert bits(*made.initial_state) == bits(*start)


def test_the_trained_state_is_where_it_starts(implementation, lstm):
    """Negative control: without it the first output is another, and a reset to it still works."""
    xs, stream = WHOLE.frames(4), lstm.stream()
    plain = make(implementation, changed(WHOLE.weights, h_0=None, c_0=None), lstm.weight_dtype)
    assert not any(np.any(part) for part in plain.initial_state)
    for kind in ("h_0", "c_0"):
        other = make(implementation, changed(WHOLE.weights, **{kind: None}), lstm.weight_dtype)
        assert bits(other.stream().step(xs[0])) != bits(lstm.stream().step(xs[0]))
    expected = run(stream, xs)
    assert run(plain.stream(), xs) != expected
    assert run(plain.stream(lstm.initial_state), xs) == expected
    assert run(stream, xs) != expected  # it really had gone somewhere
    stream.reset()
    assert run(stream, xs) == expected


def test_a_trained_state_is_made_canonical(implementation):
    h, c = np.full(P, 2.0**-127, np.float32), np.full(H, -(2.0**-130), np.float32)
    made = make(implementation, changed(WHOLE.weights, h_0=h, c_0=c))
    assert bits(*made.initial_state) == bits(np.zeros((2, P)), -np.zeros((2, H)))
    assert state_bits(made.stream()) == bits(*made.initial_state)
    pool = made.pool(1)
    assert bits(*pool.state(pool.open())) == bits(*made.initial_state)


@some
@given(variant=variants(), dtype=dtypes, special=st.sampled_from([0.5, -0.0, np.nan, -np.inf]))
def test_state_out_and_in_is_exact(implementation, variant, dtype, special):
    made, weights, xs = (
        make(implementation, variant.weights, dtype),
        variant.weights,
        variant.frames(3),
    )
    h, c = (canonical(part) for part in variant.state())
    h[-1, 0] = c[0, -1] = special
    stream = made.stream((h, c))
    assert state_bits(stream) == bits(h, c)
    stream.run(variant.frames(2))
    saved = stream.state
    assert saved.h.shape == (len(weights.layers), weights.output_size)
    assert saved.c.shape == (len(weights.layers), weights.hidden_size)
    before = bits(*saved)
    expected = steps(stream, xs)
    assert steps(made.stream(saved), xs) == expected
    stream.state = saved
    assert steps(stream, xs) == expected
    assert bits(*saved) == before  # a copy: what followed has not touched it


@pytest.mark.parametrize(
    "duplicate",
    [lambda s: s.copy(), copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))],
)
def test_a_copy_continues_on_its_own(lstm, duplicate):
    stream = lstm.stream()
    stream.run(WHOLE.frames(4))
    twin, xs = duplicate(stream), WHOLE.frames(9)[4:]
    assert state_bits(twin) == state_bits(stream)
    expected = steps(stream, xs)
    assert steps(twin, xs) == expected
    twin.reset()
    assert state_bits(twin) == bits(*lstm.initial_state) != state_bits(stream)


def test_wrong_shapes_are_named(lstm):
    """h and c have widths of their own, and the output is as wide as h."""
    stream, (h, c), xs = lstm.stream(), WHOLE.state(), WHOLE.frames(2)
    before = state_bits(stream)
    for wrong, message in (
        ((c, c), r"state h has shape \(2, 19\), this LSTM has \(2, 7\) \(num_layers, proj_size\)"),
        (
            (h, h),
            r"state c has shape \(2, 7\), this LSTM has \(2, 19\) \(num_layers, hidden_size\)",
        ),
    ):
        for call in (lstm.stream, stream.reset, lstm.pool(1).open):
            with pytest.raises(ValueError, match=message):
                call(wrong)
    for call in (
        lambda: stream.step(xs[0], out=np.empty(H, np.float32)),
        lambda: stream.run(xs, out=np.empty((2, H), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"out has shape .*19.*, expected \(.*7.*\)"):
            call()
    assert state_bits(stream) == before
    out = np.empty(P, np.float32)
    assert stream.step(xs[0], out=out) is out


# ---- nothing reaches another ---------------------------------------------------------------------


@fewer
@given(variant=variants(max_layers=2), dtype=dtypes, spoiler=st.sampled_from([np.nan, np.inf]))
def test_what_is_not_finite_stays_where_it_is(implementation, variant, dtype, spoiler):
    """In its stream, or in its session of a pool, until the reset; others have their own bits."""
    made, xs = make(implementation, variant.weights, dtype), variant.frames(4)
    expected = run(made.stream(), xs)
    spoiled, mine = made.stream(), made.stream()
    pool = made.pool(3)
    handles = [pool.open() for _ in range(3)]
    ys = []
    for x in xs:
        bad = np.full_like(x, spoiler)
        spoiled.step(bad)
        spoiled.prepare()
        ys.append(mine.step(x))
        rows = pool.step(handles, [bad, x, bad])
        assert bits(rows[1]) == bits(ys[-1])
    assert bits(*ys) + state_bits(mine) == expected
    spoiled.reset()
    assert run(spoiled, xs) == expected
    pool.reset(handles[0])
    assert bits(pool.run(handles[:1], xs[None])) + bits(*pool.state(handles[0])) == expected


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("spoiled", ["frame", "h", "c"])
def test_nan_is_never_clipped_away(implementation, dtype, spoiled):
    """A spoiled session says so: clips, saturating activations and coupled gates keep the NaN."""
    for options in ({}, {"coupled": "input"}, {"coupled": "forget"}):
        for without in ((), ("layer_norm",), ("peephole", "layer_norm")):
            weights = with_cell(WHOLE.weights, gate="hard_sigmoid", **options)
            weights = changed(weights, **dict.fromkeys(without))
            stream = make(implementation, weights, dtype).stream()
            h, c, x = *stream.state, WHOLE.frames()
            {"frame": x, "h": h[0], "c": c[0]}[spoiled][:] = np.nan
            stream.state = h, c
            for _ in range(3):
                assert np.isnan(stream.step(x)).all()
            assert all(np.isnan(part).all() for part in stream.state)


def test_interleaved_equals_solo(lstm):
    sequences = WHOLE.frames(5, 6)
    solo = [run(lstm.stream(), xs) for xs in sequences]
    streams, ys = [lstm.stream() for _ in sequences], [[] for _ in sequences]
    for n in np.random.default_rng(0).permutation(np.repeat(np.arange(5), 6)):
        ys[n].append(streams[n].step(sequences[n][len(ys[n])]))
    together = [bits(*y) + state_bits(s) for y, s in zip(ys, streams, strict=True)]
    assert together == solo


# ---- snapshots, pickles, fingerprints ------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@fewer
@given(variant=variants(max_layers=2), dtype=dtypes)
def test_a_restored_session_continues(implementation, way, variant, dtype):
    made, xs = make(implementation, variant.weights, dtype), variant.frames(3)
    stream = made.stream(variant.state())
    stream.run(xs)
    before = state_bits(stream)
    resumed, state = WAYS[way](made, stream)
    assert state() == state_bits(stream) == before
    assert bits(resumed(xs)) == bits(stream.run(xs))
    assert state() == state_bits(stream)


def test_all_implementations_take_each_others_snapshots(exact_implementations):
    results, xs = set(), WHOLE.frames(3)
    made = [make(one, WHOLE.weights) for one in exact_implementations]
    for source in made:
        stream = source.stream()
        stream.run(xs)
        for other in made:
            target = other.stream()
            target.restore(stream.snapshot())
            results.add((stream.snapshot(), run(target, xs)))
    assert len(results) == 1


def each_other():
    """The whole, and what differs from it in one thing each."""
    weights, (layer, _) = WHOLE.weights, WHOLE.weights.layers
    yield "the same", weights
    for kind, value in layer.parameters().items():
        yield kind, changed(weights, index=0, **{kind: np.nextafter(value, np.float32(9))})
    for kind in ("bias_hr", "peephole", "layer_norm", "h_0", "c_0"):
        yield f"no {kind}", changed(weights, index=0, **{kind: None})
    for name, value in {
        "gate": Activation("hard_sigmoid", 0.21, 0.5),
        "input": "tanh",
        "output": Activation("scaled_tanh", 1.5, 0.81),
        "clip": None,
        "cell_clip": 1.25,
        "proj_clip": 0.25,
        "coupled": "input",
        "layer_norm_eps": 1e-4,
    }.items():
        yield name, with_cell(weights, **{name: value})
    yield "coupled the other way", with_cell(weights, coupled="forget")
    yield "one layer's clip", changed(weights, 1, cell=replace(layer.cell, clip=1.0))
    yield "the other layer's clip", changed(weights, 0, cell=replace(layer.cell, clip=1.0))
    yield "roles swapped", with_cell(weights, input=layer.cell.output, output=layer.cell.input)


def test_a_fingerprint_is_of_one_variant():
    """Anything that changes a result changes it, and a snapshot goes no other way."""
    prints, whole = {}, make_whole()
    taken = whole.stream().snapshot()
    for name, weights in each_other():
        lstm = LSTM.from_weights(weights, backend="reference")
        prints[name] = lstm.fingerprint
        if name == "the same":
            lstm.stream().restore(taken)
        else:
            with pytest.raises(SnapshotError, match="other weights"):
                lstm.stream().restore(taken)
    assert len(set(prints.values())) == len(prints)
    assert prints["the same"] == whole.fingerprint
    stored = {whole.astype(dtype).fingerprint for dtype in WEIGHT_DTYPES}
    assert len(stored) == 3


def make_whole():
    return LSTM.from_weights(everything(SIZES), backend="reference")


def test_a_fingerprint_knows_the_direction():
    layers = [layer_for((4, 5, None), "normal", n, Cell()) for n in range(2)]
    prints = {
        LSTM.from_weights(make_weights(some, direction), backend="reference").fingerprint
        for some, direction in (
            (layers[:1], "forward"),
            (layers[:1], "reverse"),
            (layers, "bidirectional"),
            (layers[::-1], "bidirectional"),
        )
    }
    assert len(prints) == 4


@fewer
@given(
    variant=variants(max_layers=2, directions=["forward", "reverse", "bidirectional"]), dtype=dtypes
)
def test_an_lstm_pickles_with_its_variant(implementation, variant, dtype):
    made = make(implementation, variant.weights, dtype, keep_weights=True)
    twin = pickle.loads(pickle.dumps(made))
    assert twin.fingerprint == made.fingerprint
    assert (twin.backend, twin.weight_dtype, twin.direction) == (
        made.backend,
        made.weight_dtype,
        made.direction,
    )
    assert [a.cell for a in twin.weights.layers] == [a.cell for a in made.weights.layers]
    assert [bits(*results(one, variant)) for one in (made, twin)] == [
        bits(*results(made, variant))
    ] * 2
    assert copy.deepcopy(made) is copy.copy(made) is made


def results(lstm, variant):
    ys, state = lstm(variant.frames(2, 3))
    return ys, *state


@fewer
@given(
    variant=variants(max_layers=2, directions=["forward", "reverse", "bidirectional"]),
    first=dtypes,
    second=dtypes,
)
def test_astype_keeps_the_variant(implementation, variant, first, second):
    twin = make(implementation, variant.weights, first, keep_weights=True).astype(second)
    made = make(implementation, variant.weights, second)
    assert twin.fingerprint == made.fingerprint
    assert (twin.weight_dtype, twin.backend, twin.isa) == (second, made.backend, made.isa)
    assert bits(*results(twin, variant)) == bits(*results(made, variant))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_the_sizes_are_told(implementation, direction):
    both = direction == "bidirectional"
    options = {"proj_size": 3, "bidirectional": both, "cell": Cell(clip=2.0)}
    lstm = implementation.random(5, 8, 2, seed=1, **options)
    directions = 2 if both else 1
    assert (lstm.input_size, lstm.hidden_size, lstm.proj_size, lstm.output_size) == (5, 8, 3, 3)
    assert (lstm.num_layers, lstm.num_directions, lstm.bidirectional) == (2, directions, both)
    assert lstm.direction == direction
    assert [part.shape for part in lstm.initial_state] == [(2 * directions, 3), (2 * directions, 8)]
    assert {layer.cell for layer in lstm.weights.layers} == {Cell(clip=2.0)}
    plain = implementation.random(5, 8)
    assert (plain.proj_size, plain.output_size, plain.num_directions) == (0, 8, 1)
