"""Pictures of the benchmark can be read: nothing is cut, stacked or drawn alike."""

from __future__ import annotations

import json
from itertools import combinations

import pytest

from lstm_fast import cli
from lstm_fast.bench import CannotRunError, schema, shapes, suite
from lstm_fast.bench.schema import Machine, Noise, Report, Row, Settings

plt_module = pytest.importorskip("matplotlib.pyplot", reason="needs matplotlib")

ISAS = [f"native:{isa}" for isa in ("avx512vnni", "avx512", "avxvnni", "avx2", "scalar")]
CONTENDERS = [*ISAS, "numba", "reference", "onnxruntime", "torch", "openvino"]
WEIGHTS = ("float32", "float16", "int8")
CPU = "INTEL(R) XEON(R) PLATINUM 8581C CPU @ 2.10GHz"


def row(shape, contender, weights, mode, number):
    p50 = 0.1 * 1.31**number * (40 if mode == "cold" else 1)
    return dict.fromkeys(Row.__annotations__) | {
        "shape": shape.name,
        "input_size": shape.input_size,
        "hidden_size": shape.hidden_size,
        "num_layers": shape.num_layers,
        "contender": contender,
        "weights": weights,
        "mode": mode,
        "error": 0.0,
        "steps": 10,
        "p50": p50,
        "p99": None if mode == "cold" else 3 * p50,
        "max": 9 * p50,
    }


def report(modes, contenders=CONTENDERS, table=shapes.TABLE[:3], noisy=True):
    """A report that no machine had to make."""
    series = [(c, w) for c in contenders for w in WEIGHTS]
    value = Report(
        schema=schema.SCHEMA,
        created="2026-02-03T04:05:06+00:00",
        machine=Machine(
            cpu=CPU,
            architecture="x86_64",
            cpus=2,
            virtual=True,
            caches={},
            features=[],
            os="",
            python="CPython 3.11",
            packages={"lstm_fast": "7.8.9", "numpy": "2.4"},
        ),
        settings=Settings(
            seconds=1.0, modes=list(modes), pinned_cpu=1, sweep_bytes=1, clock_ns=1.0
        ),
        noise=Noise(spin_us=1.0, spread=0.27, stolen=0.1, too_noisy=noisy),
        limits=[],
        rows=[
            row(shape, *one, mode, number)
            for shape in table
            for mode in modes
            for number, one in enumerate(series)
        ],
    )
    schema.check(json.loads(json.dumps(value)))
    return value


class Drawn:
    """A picture with where everything in it came to lie, in dots."""

    def __init__(self, value):
        from lstm_fast.bench import plot

        self.figure = plot.figure(value, plot.require())
        self.figure.canvas.draw()
        self.renderer = self.figure.canvas.get_renderer()
        self.panels = [axis for axis in self.figure.axes if axis.axison]

    def box(self, artist):
        return artist.get_window_extent(self.renderer)

    def words(self):
        return " ".join(text.get_text() for text in self.figure.texts).replace("\n", " ")


PICTURES = {
    "single steps": lambda: report(("hot", "cold", "prepared")),
    "all shapes": lambda: report(("hot", "cold"), CONTENDERS[:1], shapes.TABLE),
    "many series": lambda: report(("hot",), [f"contender {n}" for n in range(17)]),
    "pools": lambda: report(("pool1", "pool64", "half64"), table=shapes.TABLE[4:5]),
    "both": lambda: report(("hot", "pool4", "pool16")),
    "one": lambda: report(("hot",), CONTENDERS[:1], shapes.TABLE[4:5]),
}


@pytest.fixture(scope="module", params=PICTURES)
def drawn(request):
    made = Drawn(PICTURES[request.param]())
    yield made
    plt_module.close(made.figure)


def visible(axis, labels, which):
    low, high = sorted(axis.get_xlim() if which == "x" else axis.get_ylim())
    at = 0 if which == "x" else 1
    return [t for t in labels if t.get_text() and low <= t.get_position()[at] <= high]


def overlaps(boxes):
    return [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]


def test_tick_labels_stay_apart(drawn):
    for axis in drawn.panels:
        for which in ("x", "y"):
            own = axis.xaxis if which == "x" else axis.yaxis
            both = [*own.get_ticklabels(minor=False), *own.get_ticklabels(minor=True)]
            shown = visible(axis, both, which)
            assert len(shown) >= (1 if which == "x" else 2)
            assert not overlaps([drawn.box(text) for text in shown])


def test_every_point_is_inside_its_panel(drawn):
    for axis in drawn.panels:
        low, high = axis.get_ylim()
        for line in axis.lines:
            if not isinstance(line.get_label(), str) or line.get_marker() in ("None", None):
                continue  # the lines between shapes
            assert all(low < value < high for value in line.get_ydata())
        for lines in axis.collections:
            for path in lines.get_paths():
                assert low < path.vertices[:, 1].min() <= path.vertices[:, 1].max() < high


def test_nothing_is_cut_or_covered(drawn):
    whole = drawn.figure.bbox
    (legend,) = [a.get_legend() for a in drawn.figure.axes if a.get_legend()]
    parts = [legend, *(t for t in drawn.figure.texts if t.get_text())]
    boxes = [drawn.box(part) for part in parts]
    for box in boxes:
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1
    assert not overlaps([*boxes, *(drawn.box(axis) for axis in drawn.panels)])


def test_no_two_series_are_drawn_alike(drawn):
    (legend,) = [a.get_legend() for a in drawn.figure.axes if a.get_legend()]
    looks = [(tuple(h.get_color()), h.get_marker()) for h in legend.legend_handles]
    assert len(looks) == len(legend.get_texts()) == len(set(looks))
    labels = {text.get_text() for text in legend.get_texts()}
    assert len(labels) == len(looks)


def test_it_says_when_with_what_and_how_steady(drawn):
    words = drawn.words()
    for text in ("2026-02-03", "lstm_fast 7.8.9", CPU, "TOO NOISY", "27%"):
        assert text in words


def test_a_quiet_machine_is_not_called_noisy():
    made = Drawn(report(("hot",), noisy=False))
    assert "TOO NOISY" not in made.words()
    plt_module.close(made.figure)


def test_the_checks_above_can_fail():
    """What pictures once did: every minor tick labelled, and limits of the first panel alone."""
    made = Drawn(PICTURES["single steps"]())
    axis = made.panels[1]
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.set_ylim(1e-3, 10.0)
    made.figure.canvas.draw()
    with pytest.raises(AssertionError):
        test_tick_labels_stay_apart(made)
    with pytest.raises(AssertionError):
        test_every_point_is_inside_its_panel(made)
    plt_module.close(made.figure)


@pytest.mark.parametrize("name", ["x.nope", "x", "x.pgf", "x.png.bak"])
def test_a_suffix_of_no_picture_is_refused_before_measuring(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "run", lambda plan: pytest.fail("it was measured"))
    assert cli.main(["bench", "--quick", "--plot", str(tmp_path / name)]) == 2
    assert "ends with one of" in capsys.readouterr().err


def test_a_folder_is_refused_before_measuring(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suite, "run", lambda plan: pytest.fail("it was measured"))
    for option, name in (("--json", "x"), ("--plot", "x.png")):
        (tmp_path / name).mkdir()
        assert cli.main(["bench", "--quick", option, str(tmp_path / name)]) == 2
        assert "is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.svg", "x.pdf"])
def test_pictures_are_written(name, tmp_path):
    from lstm_fast.bench import plot

    plot.draw(PICTURES["one"](), tmp_path / name)
    assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(CannotRunError, match="cannot write"):
        plot.draw(PICTURES["one"](), tmp_path / "no" / name)


def test_a_mode_that_nothing_was_timed_in_has_no_panel():
    value = report(("hot", "prepared"))
    both = Drawn(value)
    hot = Drawn({**value, "rows": [row for row in value["rows"] if row["mode"] == "hot"]})
    assert len(both.panels) == len(hot.panels) + 1
    plt_module.close(both.figure)
    plt_module.close(hot.figure)
