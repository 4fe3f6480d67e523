"""Rows that are whole sequences, scored in batches: the bits of lone streams, or a reason."""

from __future__ import annotations

import json
from importlib import import_module
from itertools import pairwise

import numpy as np
import pytest
import scale_cases
from hypothesis import given
from hypothesis import strategies as st

import lstm_fast
from lstm_fast import LSTM

pa = pytest.importorskip("pyarrow")
scoring = import_module("scoring")
LSTM_HERE = LSTM.random(3, 5)
RNG = np.random.default_rng(1)
SEQUENCES = [
    RNG.standard_normal((length, 3), dtype=np.float32)
    for length in (7, 0, 300, 1, 256, 257, 30, 512, 2, 40)
]


def alone(sequences, model=LSTM_HERE):
    return [model.stream().run(one).tobytes() for one in sequences]


@pytest.mark.parametrize("kind", ["lstm", "model"])
def test_together_they_have_the_bits_of_lone_streams(kind):
    model = LSTM_HERE if kind == "lstm" else lstm_fast.Model.from_program(LSTM_HERE.program)
    found = scoring.run(model, SEQUENCES)
    assert [one.shape for one in found] == [(len(one), 5) for one in SEQUENCES]
    assert [one.tobytes() for one in found] == alone(SEQUENCES)
    assert scoring.run(model, []) == []


@pytest.fixture(scope="module")
def how(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.lfm"
    lstm_fast.Model.from_program(LSTM_HERE.program).save(path)
    return scoring.How(str(path))


@pytest.fixture(scope="module")
def scorer(how):
    return scoring.Scorer(how)


TABLE = pa.table({"name": [f"row-{n}" for n in range(10)], "x": [[*one] for one in SEQUENCES]})


def by_name(tables):
    return {
        row["name"]: np.array(row["y"], np.float32).tobytes()
        for table in tables
        for row in table.to_pylist()
    }


def in_batches(table, cuts):
    edges = sorted({0, len(table), *cuts})
    return [table[a:b] for a, b in pairwise(edges)]


@given(cuts=st.lists(st.integers(0, 10)), order=st.permutations(range(10)))
def test_however_rows_are_cut_into_batches_the_bits_are_the_same(scorer, cuts, order):
    found = by_name(map(scorer, in_batches(TABLE.take(order), cuts)))
    assert [found[f"row-{n}"] for n in range(10)] == alone(SEQUENCES)


def test_a_state_that_goes_on_from_row_to_row_would_be_noticed(scorer, monkeypatch):
    """The control: one stream for all rows of a batch."""

    def careless(model, sequences):
        stream = model.stream()
        return [stream.run(one) for one in sequences]

    monkeypatch.setattr(scoring, "run", careless)
    whole, cut = by_name([scorer(TABLE)]), by_name(map(scorer, in_batches(TABLE, [5])))
    assert whole != cut
    assert [*whole.values()] != alone(SEQUENCES)


GOOD = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
FLOATS, DOUBLES = pa.list_(pa.list_(pa.float32())), pa.list_(pa.list_(pa.float64()))
COLUMNS = {
    "float32": pa.array([GOOD], FLOATS),
    "float64": pa.array([GOOD], DOUBLES),
    "large": pa.array([GOOD], pa.large_list(pa.large_list(pa.float32()))),
    "fixed": pa.array([GOOD], pa.list_(pa.list_(pa.float32(), 3))),
    "json": pa.array([json.dumps(GOOD)]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_sequences_come_in_columns_of_many_types(scorer, kind):
    (row,) = scorer(pa.table({"x": COLUMNS[kind]})).to_pylist()
    assert (row["error"], row["steps"], row["name"]) == (None, 2, None)
    expected = LSTM_HERE.stream().run(np.array(GOOD, np.float32))
    assert np.array(row["y"], np.float32).tobytes() == expected.tobytes()


BAD = {
    "none": (pa.array([None], FLOATS), "and empty"),
    "narrow": (pa.array([[[1.0, 2.0]]], FLOATS), r"shape (1, 2), expected (T, 3)"),
    "flat": (pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32())), "shape (3,), expected (T, 3)"),
    "ragged": (pa.array([[[1.0, 2, 3], [1.0]]], FLOATS), "rows of 1 to 3 values"),
    "hole": (pa.array([[[1.0, None, 3.0]]], FLOATS), "empty cells"),
    "integers": (
        pa.array([[[1, 2, 3]]], pa.list_(pa.list_(pa.int16()))),
        "int16, expected rows of floats",
    ),
    "nan": (pa.array([[[1.0, float("nan"), float("inf")]]], FLOATS), "2 values of x are not"),
    "number": (pa.array([3.0]), "x is double"),
    "text": (pa.array(["[[1, 2"]), "not JSON of rows"),
    "ragged text": (pa.array(["[[1, 2, 3], [1]]"]), "not JSON of rows"),
    "words": (pa.array(['[["a", "b", "c"]]']), "expected rows of floats"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_has_a_reason_and_those_beside_it_do_not_notice(scorer, kind):
    column, reason = BAD[kind]
    good = pa.array([GOOD], FLOATS).cast(column.type) if kind in ("none", "hole") else None
    bad = scorer(pa.table({"name": ["bad"], "x": column})).to_pylist()[0]
    assert reason in bad["error"]
    assert bad["y"] is None
    assert bad["steps"] is None
    if good is not None:
        mixed = pa.table({"x": pa.concat_arrays([good, column, good])})
        errors = scorer(mixed)["error"].to_pylist()
        assert [error is None for error in errors] == [True, False, True]


def test_arrays_of_an_npz_file_are_rows(scorer, tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, one=SEQUENCES[0], two=SEQUENCES[2], bad=np.zeros((2, 2)), objects=np.array([{}]))
    names = ["two", "bad", "one", "objects", "missing"]
    rows = scorer(pa.table({"name": names, "path": [str(path)] * 5})).to_pylist()
    assert [row["error"] is None for row in rows] == [True, False, True, False, False]
    found = [np.array(rows[n]["y"], np.float32).tobytes() for n in (2, 0)]
    assert found == alone([SEQUENCES[0], SEQUENCES[2]])


def test_a_file_of_an_lstm_alone_does_too():
    path = scale_cases.SCALE.parent / "data" / "recall.safetensors"
    lstm = lstm_fast.load(path)
    x = RNG.standard_normal((9, lstm.input_size), dtype=np.float32)
    found = scoring.Scorer(scoring.How(str(path)))(pa.table({"name": ["a"], "x": [[*x]]}))
    assert [*by_name([found]).values()] == alone([x], lstm)


# ---- recordings ----


@pytest.fixture(scope="module")
def silero():
    pytest.importorskip("soxr")
    pytest.importorskip("onnx")
    try:
        lstm_fast.vad.silero_file()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return scoring.Scorer(scoring.How())


def test_recordings_are_scored_chunk_by_chunk(silero, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    samples = (0.1 * RNG.standard_normal(512 * 5 + 100)).clip(-1, 1).astype(np.float32)
    soundfile.write(tmp_path / "mono.wav", samples, 16000, "FLOAT")
    soundfile.write(tmp_path / "two.wav", np.stack([samples, samples], 1), 16000, "FLOAT")
    soundfile.write(tmp_path / "slow.wav", samples, 8000, "FLOAT")
    soundfile.write(tmp_path / "none.wav", samples[:0], 16000)
    soundfile.write(tmp_path / "nan.wav", samples * np.nan, 16000, "FLOAT")
    (tmp_path / "text.wav").write_text("no audio")
    names = ["mono.wav", "text.wav", "two.wav", "none.wav", "slow.wav", "nan.wav", "missing.wav"]
    paths = [str(tmp_path / name) for name in names]
    rows = silero(pa.table({"name": names, "path": paths})).to_pylist()
    assert [row["error"] is None for row in rows] == [True, False, True, False, True, False, False]
    chunks = np.zeros((6, 512), np.float32)
    chunks.reshape(-1)[: len(samples)] = samples
    expected = silero.model.stream().run(chunks)[:, 0]
    for row in (rows[0], rows[2]):
        assert np.array(row["probabilities"], np.float32).tobytes() == expected.tobytes()
    assert rows[0]["seconds"] == len(samples) / 16000
    assert rows[0]["speech_seconds"] == np.count_nonzero(expected >= 0.5) * 0.032
    assert rows[4]["steps"] == 11  # twice as many samples at 16 kHz
    assert "not finite" in rows[5]["error"]
