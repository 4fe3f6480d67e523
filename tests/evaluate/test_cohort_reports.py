"""Tables, pictures, and what is said where a library is missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lstm_fast import evaluate
from lstm_fast.evaluate import Labelled, Prediction, by, by_steps
from lstm_fast.evaluate._texts import time_text


def make(name="model", bad=True):
    items = [Labelled(np.zeros((n % 40 + 1, 1)), "a", keys={"k": n % 3}) for n in range(240)]

    def predict(xs):
        return Prediction("b" if bad and len(xs) > 30 else "a", 0.9, 1e-4 * len(xs))

    return evaluate.run(predict, items, [by_steps([11, 31]), by("k")], name=name)


@pytest.fixture
def result():
    pytest.importorskip("scipy")
    return make()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (2.5, "2.5 s"), (0.0123, "12.3 ms"), (4e-5, "40 us"), (3e-7, "300 ns")],
)
def test_times_have_a_unit(seconds, text):
    assert time_text(seconds) == text


def test_a_plain_table(result):
    lines = str(result).splitlines()
    assert lines[0] == "model: 240 sequences by steps"
    head = "steps count right [95 %] wrong p50 p99 confidence verdict"
    assert lines[1].split() == head.split()
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["<11", "60"],
        ["11-30", "120"],
        ["31+", "60"],
        ["all", "240"],
    ]
    assert "0.0 % [0.0, 6.0]" in lines[4]
    assert "60 (100.0 %)" in lines[4]
    assert lines[4].endswith("worse")
    assert len({line.index("]") for line in lines[2:6]}) == 1  # columns are aligned
    assert lines[-1].startswith("FAILS at steps 31+: 0.0 % right, the rest 100.0 %, -100.0 [")


def test_without_buckets_there_is_one_row():
    pytest.importorskip("scipy")
    single = evaluate.run(lambda xs: "a", [Labelled(np.zeros((1, 1)), "a")])
    assert str(single).splitlines()[2].split()[:2] == ["all", "1"]


def test_rich_says_the_same(result):
    pytest.importorskip("rich")
    plain, rich = result.report(rich=False), result.report(rich=True)
    keep = set(plain.split())
    assert keep <= set(rich.split())
    assert result.report() == rich
    assert max(map(len, result.report(width=40).splitlines()[:10])) <= 40
    other = make("other", bad=False)
    for made in (evaluate.compare_runs(result, other), evaluate.drift(result, other)):
        assert set(made.report(rich=False).split()) <= set(made.report(rich=True).split())


def colours(path):
    """The numbers of reddish and of bluish pixels in a picture."""
    pixels = pytest.importorskip("matplotlib.image").imread(path)[..., :3].reshape(-1, 3)
    red, _, blue = pixels.T
    return int((red - blue > 0.1).sum()), int((blue - red > 0.1).sum())


def test_a_picture_shows_what_is_worse_in_red(result, tmp_path):
    pytest.importorskip("matplotlib")
    result.draw(tmp_path / "bad.png")
    make(bad=False).draw(tmp_path / "good.png")
    (_, blue), (no_red, more_blue) = (colours(tmp_path / f"{n}.png") for n in ("bad", "good"))
    assert no_red == 0
    assert blue > 1000
    assert more_blue > blue  # the bar that was at 0
    half = evaluate.run(
        lambda xs: "a" if len(xs) < 20 or xs[0, 0] else "b",
        [Labelled(np.full((n % 40 + 1, 1), n % 2), "a") for n in range(400)],
        by_steps([20]),
    )
    half.draw(tmp_path / "half.png")
    assert colours(tmp_path / "half.png")[0] > 1000
    evaluate.compare_runs(result, make("other", bad=False)).draw(tmp_path / "two.svg")
    svg = (tmp_path / "two.svg").read_text("utf-8")
    assert svg.startswith("<?xml")
    with pytest.raises(ValueError, match="nope"):
        result.draw(tmp_path / "x.nope")


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("scipy.stats", lambda made: make()),
        ("matplotlib.figure", lambda made: made.draw("never.png")),
        ("rich.table", lambda made: made.report(rich=True)),
        ("tqdm", lambda made: evaluate.run(lambda xs: "a", [], progress=True)),
    ],
)
def test_a_missing_library_is_named_with_its_extra(module, call, result, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    library = module.partition(".")[0]
    with pytest.raises(ImportError, match=rf"need {library} .*pip install .*'{library}>="):
        call(result)
    if library != "scipy":
        assert make().report()  # plain, and no bar


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, lstm_fast.evaluate; "
        "print(*{'scipy', 'matplotlib', 'rich', 'tqdm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
