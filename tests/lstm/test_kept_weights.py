"""An LSTM with small weights is small: its float32 weights stay where that is asked for alone."""

from __future__ import annotations

import pickle
import weakref
from pathlib import Path

import numpy as np
import pytest

import lstm_fast
from cases import bits, weights_for
from lstm_fast import LSTM, WeightsNotKeptError
from lstm_fast._weights import WEIGHT_DTYPES
from lstm_fast.formats import safetensors
from processes import python

SHAPE = (5, 6, 2)
SMALL = [dtype for dtype in WEIGHT_DTYPES if dtype != "float32"]
WEIGHTS = {
    name: value.astype(np.float32) for name, value in weights_for(SHAPE, "normal", 1).items()
}
XS = np.random.default_rng(0).standard_normal((7, SHAPE[0])).astype(np.float32)


def as_bits(state_dict):
    return {name: value.tobytes() for name, value in state_dict.items()}


USES = {
    "state_dict": lambda lstm: lstm.state_dict(),
    "weights": lambda lstm: lstm.weights,
    "astype": lambda lstm: lstm.astype("float32"),
    "pickle": pickle.dumps,
    "pickle of a stream": lambda lstm: pickle.dumps(lstm.stream()),
}


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("use", USES)
def test_what_was_not_kept_is_missed_by_name(implementation, dtype, use):
    lstm = implementation.from_state_dict(WEIGHTS, weight_dtype=dtype)
    assert not lstm.keeps_weights
    with pytest.raises(WeightsNotKeptError, match=f"as {dtype} .* keep_weights=True"):
        USES[use](lstm)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_what_is_asked_for_is_kept(implementation, dtype):
    lstm = implementation.from_state_dict(WEIGHTS, weight_dtype=dtype, keep_weights=True)
    for one in (lstm, pickle.loads(pickle.dumps(lstm)), lstm.astype("float32")):
        assert one.keeps_weights
        assert as_bits(one.state_dict()) == as_bits(WEIGHTS)
        assert one.astype(dtype).fingerprint == lstm.fingerprint
    again = implementation.from_state_dict(lstm.state_dict(), weight_dtype=dtype)
    assert again.stream().run(XS).tobytes() == lstm.stream().run(XS).tobytes()


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_whatever_is_kept_everything_else_is_the_same(implementation, dtype):
    kept, gone = (
        implementation.from_state_dict(WEIGHTS, weight_dtype=dtype, keep_weights=keep)
        for keep in (True, False)
    )
    assert (kept.keeps_weights, gone.keeps_weights) == (True, False)
    for what in ("fingerprint", "nbytes", "input_size", "hidden_size", "num_layers", "proj_size"):
        assert getattr(kept, what) == getattr(gone, what)
    assert repr(kept) == repr(gone)
    assert bits(*kept.initial_state) == bits(*gone.initial_state)
    ys = [one.stream().run(XS).tobytes() for one in (kept, gone)]
    assert ys[0] == ys[1]
    snapshot = kept.stream().snapshot()
    gone.stream().restore(snapshot)
    gone.pool(1).restore(snapshot)


def test_by_default_float32_weights_are_kept():
    assert LSTM.from_state_dict(WEIGHTS).keeps_weights
    with pytest.raises(WeightsNotKeptError, match="keep_weights=True"):
        LSTM.from_state_dict(WEIGHTS, keep_weights=False).state_dict()


@pytest.mark.parametrize("keep", [1, "yes", np.True_])
def test_keep_weights_is_a_bool(keep):
    for make in (
        lambda: LSTM.from_state_dict(WEIGHTS, keep_weights=keep),
        lambda: LSTM.random(2, 3, keep_weights=keep),
        lambda: LSTM.random(2, 3).astype("int8", keep_weights=keep),
        lambda: LSTM.from_weights(LSTM.random(2, 3).weights, keep_weights=keep),
    ):
        with pytest.raises(TypeError, match="keep_weights must be True, False or None, found"):
            make()


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"proj_size": 2}])
def test_what_a_seed_gave_it_gives_again(implementation, options):
    small = implementation.random(*SHAPE, seed=3, weight_dtype="int8", **options)
    whole = implementation.random(*SHAPE, seed=3, **options)
    assert not small.keeps_weights
    for one in (small, pickle.loads(pickle.dumps(small)), whole.astype("int8")):
        assert as_bits(one.state_dict()) == as_bits(whole.state_dict())
        assert one.astype("float32").fingerprint == whole.fingerprint
        assert not one.keeps_weights
        assert bits(one(XS[None])[0]) == bits(small(XS[None])[0])
    with pytest.raises(WeightsNotKeptError):
        implementation.random(*SHAPE, seed=None, weight_dtype="int8", **options).state_dict()


# ---- what was loaded from a file -----------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lstm.safetensors"
    safetensors.write(path, LSTM.from_state_dict(WEIGHTS).weights)
    return path


def other_weights(path):
    safetensors.write(path, LSTM.random(*SHAPE).weights)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("dtype", SMALL)
def test_a_file_gives_them_again(file, dtype, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lstm = lstm_fast.load(file.name, weight_dtype=dtype)  # a path of this folder's
    monkeypatch.chdir("/")
    for one in (lstm, pickle.loads(pickle.dumps(lstm)), lstm.astype("float32").astype(dtype)):
        assert not one.keeps_weights
        assert as_bits(one.state_dict()) == as_bits(WEIGHTS)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (Path.unlink, "cannot be read again: .*No such file"),
        (cut_short, "cannot be read again: .*safetensors"),
        (other_weights, "holds other weights by now"),
    ],
)
def test_a_file_that_has_changed_is_never_taken_for_the_same(file, spoil, says):
    lstm, kept = (
        lstm_fast.load(file, weight_dtype="int8", keep_weights=keep) for keep in (None, True)
    )
    before = lstm.stream().run(XS).tobytes()
    spoil(file)
    for use in USES.values():
        with pytest.raises(WeightsNotKeptError, match=f"{says}.*keep_weights=True"):
            use(lstm)
    assert lstm.stream().run(XS).tobytes() == before
    assert as_bits(kept.state_dict()) == as_bits(WEIGHTS)


def test_the_same_lstm_of_the_file_is_read_again(tmp_path):
    several = {
        f"{name}.{key}": value
        for name, seed in (("a", 1), ("b", 2))
        for key, value in LSTM.random(2, 3, seed=seed).state_dict().items()
    }
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pt"
    torch.save({name: torch.from_numpy(value) for name, value in several.items()}, path)
    names = [found.name for found in lstm_fast.formats.read(path)]
    for name, seed in zip(names, (1, 2), strict=True):
        lstm = lstm_fast.load(path, name=name, weight_dtype="int8")
        assert as_bits(lstm.state_dict()) == as_bits(LSTM.random(2, 3, seed=seed).state_dict())


@pytest.mark.parametrize("given", [lambda patterns: patterns, iter], ids=["list", "iterator"])
def test_options_are_those_of_then(given, tmp_path):
    """A list of patterns that is changed later, or an iterator, which is at its end."""
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({**WEIGHTS, "mask": np.zeros(3, np.float32)}))
    patterns = ["mas*"]
    lstm = lstm_fast.load(path, weight_dtype="int8", ignore=given(patterns))
    patterns.clear()
    assert as_bits(lstm.state_dict()) == as_bits(WEIGHTS)


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_nothing_holds_the_matrices(implementation, dtype, direction, monkeypatch):
    """Whatever the backend: their memory is given back. Kept, they are held: the control."""
    made = LSTM.random(3, 4, 2, bidirectional=direction == "bidirectional").weights
    for keep in (True, False):
        weights = lstm_fast._weights.make_weights([*made.layers], direction)
        refs = [
            weakref.ref(layer.parameters()[kind])
            for layer in weights.layers
            for kind in ("weight_ih", "weight_hh")
        ]
        options = {"backend": implementation.backend, "isa": implementation.isa}
        lstm = LSTM._build(weights, dtype, *options.values(), keep)
        del weights
        assert [ref() is not None for ref in refs] == [keep] * len(refs)
        assert lstm.keeps_weights is keep


NO_SMAPS = not Path("/proc/self/smaps_rollup").exists()
MEMORY = """
import ctypes, gc, hashlib, json, re
import numpy as np
import lstm_fast

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return 1024 * int(re.search(r"^Rss: +(\\d+)", open("/proc/self/smaps_rollup").read(), re.M)[1])

K = 1024
def make(sizes, **options):
    rng = np.random.default_rng(0)
    weights = {"weight_ih": rng.random((4 * sizes, sizes), np.float32)}
    weights["weight_hh"] = rng.random((4 * sizes, sizes), np.float32)
    return LOAD

make(8, weight_dtype="int8").stream().step(np.zeros(8, np.float32))  # whatever is imported late
before = resident()
lstm = make(K, OPTIONS)
print(resident() - before, lstm.nbytes, lstm.weight_dtype)
"""
LARGE = 2 << 20  # packed weights are in pages of that size where there are such
BESIDE = 1 << 19  # what Python, NumPy and the C library touch beside; 10 KiB were seen
MATRICES = 2 * 4 * 1024 * 1024 * 4  # bytes of the two matrices in float32
IN_MEMORY = "lstm_fast.LSTM.from_state_dict(weights, backend='native', **options)"
FROM_FILE = """reload(weights, options)

def reload(weights, options):
    from lstm_fast.formats import safetensors
    found = lstm_fast.LSTM.from_state_dict(weights).weights
    safetensors.write("x.safetensors", found)
    return lstm_fast.load("x.safetensors", backend="native", **options)
"""


@pytest.mark.skipif(NO_SMAPS, reason="there is no /proc/self/smaps_rollup")
@pytest.mark.skipif(
    not lstm_fast.available()[0].startswith("native"), reason="the native core is not built"
)
@pytest.mark.parametrize("source", ["memory", "file"])
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("weight_dtype='int8'", False),
        ("weight_dtype='float16'", False),
        ("weight_dtype='int8', keep_weights=True", True),
        ("", True),
        ("keep_weights=False", False),
    ],
)
def test_a_process_grows_by_nbytes(options, kept, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load = IN_MEMORY if source == "memory" else FROM_FILE
    done = python(MEMORY.replace("LOAD", load).replace("OPTIONS", options))
    assert done.returncode == 0, done.stderr
    grown, nbytes = map(int, done.stdout.split()[:2])
    in_pages = -(-nbytes // LARGE) * LARGE
    assert nbytes <= grown - MATRICES * kept <= in_pages + BESIDE
