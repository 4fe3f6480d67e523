"""Examples in docstrings: they run, and every public class and function has one."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import sys
import types
import warnings
from fnmatch import fnmatchcase
from functools import cache

import pytest
from pages import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import site_names

from lstm_fast import FormatError, vad

OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
NEEDED = {  # what examples take without importing it, by how their module's name begins
    "lstm_fast.checks.adapters._onnx": ("onnx", "onnxruntime"),
    "lstm_fast.checks.adapters.onnx": ("onnxruntime",),
    "lstm_fast.evaluate": ("scipy",),
    "lstm_fast.tracing": ("opentelemetry",),
    "lstm_fast.vad._audio": ("soundfile",),
}
WITH_WEIGHTS = re.compile(
    r"\b(silero|silero_file|load_silero_vad|get_vad_model|SileroVoiceActivityDetector|"
    r"SpeechStream|SpeechPool)\b"
)
PARSER = doctest.DocTestParser()

# Classes and functions without an example, by pattern, and why.
OF_READERS = "what `formats.read` asks of each reader, of a file that it has opened"
WITHOUT = {
    "lstm_fast.ForkedError": "takes a fork amid a call of another thread; see docs/forks.md",
    "lstm_fast.checks.pytest.CheckWarning": "is of a run of pytest, as its module shows",
    "lstm_fast.formats.*.inventory": OF_READERS,
    "lstm_fast.formats.*.recognise": OF_READERS,
    "lstm_fast.formats.tflite.read": "takes a file that TensorFlow alone writes",
    "lstm_fast.integrations.*": "derive from classes of pipecat and LiveKit, which call them",
}


def public():
    """Return the public classes and functions, each once, by a name that the reference has."""
    found = {}
    for module in dict.fromkeys([*site_names.packages(), *site_names.modules()]):
        for name, value in site_names.public_names(module).items():
            # A plain object stands for what cannot be imported.
            if isinstance(value, (type, types.FunctionType)) or type(value) is object:
                found.setdefault(id(value), (f"{module}.{name}", value))
    return dict(found.values())


@cache
def pages():
    """Return the module whose page shows a class or function, by where that is defined."""
    places = {}
    for name, value in public().items():
        if type(value) is not object:
            places[value.__module__, value.__qualname__] = name.rpartition(".")[0]
    return places


def docstrings(path):
    """Yield the name in its module, and the text, of each docstring of a file with an example."""
    open_nodes = [("", ast.parse(path.read_text("utf-8")))]
    while open_nodes:
        name, node = open_nodes.pop()
        if ">>> " in (text := ast.get_docstring(node) or ""):
            yield name, text
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        inner = [one for one in node.body if isinstance(one, kinds)]
        open_nodes += [(f"{name}.{one.name}".lstrip("."), one) for one in inner]


def examples():
    for path in sorted((ROOT / "lstm_fast").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for name, text in docstrings(path):
            yield pytest.param(module, name, text, id=f"{module}:{name}")


def imported(code):
    """Return the modules outside of this package that code imports, and that may be missing."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return [name for name in names if not name.startswith("lstm_fast")]


def skip_where_something_is_missing(module, code):
    for begin, needed in NEEDED.items():
        for library in needed if module.startswith(begin) else ():
            pytest.importorskip(library)
    for library in imported(code):
        pytest.importorskip(library)
    if WITH_WEIGHTS.search(code):
        pytest.importorskip("onnx")
        try:
            vad.silero_file()
        except FileNotFoundError as error:
            pytest.skip(str(error))


def failures(name, text, names):
    """Return what a docstring's examples print where they fail."""
    found = PARSER.get_doctest(text, names, name, None, 0)
    out = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(found, out=out.append, clear_globs=False)
    return "".join(out)


@pytest.mark.parametrize(("module", "name", "text"), list(examples()))
def test_examples_run(module, name, text):
    """Where a page shows them, with the names of that page and what they import themselves."""
    code = "".join(one.source for one in PARSER.get_examples(text))
    skip_where_something_is_missing(module, code)
    page = pages().get((module, name.split(".")[0]))
    names = vars(importlib.import_module(module)) if page is None else site_names.public_names(page)
    with warnings.catch_warnings():
        if "keras" in imported(code):
            warnings.simplefilter("ignore")  # of Keras, about itself
        said = failures(name, text, dict(names))
    if said:
        pytest.fail(said, pytrace=False)


def test_an_example_that_fails_is_noticed():
    """Negative control."""
    assert "Expected" in failures("one", ">>> 1 + 1\n3\n", {})
    assert "NameError" in failures("one", ">>> np.zeros(1)\narray([0.])\n", {})
    assert failures("two", ">>> 1 + 1\n2\n", {}) == ""


def test_what_an_example_imports_is_known():
    code = "import torch.nn, io\nwith io.StringIO():\n    from keras.ops import a\n"
    assert imported(code + "from lstm_fast import vad\n") == ["torch.nn", "io", "keras.ops"]


# ---- who has one ----


def has_example(value):
    """Return whether a function's docstring has one, or a class's, or that of what it defines."""
    inner = vars(value).values() if isinstance(value, type) else ()
    inner = [getattr(one, "__func__", one) for one in inner]
    methods = [one for one in inner if isinstance(one, (types.FunctionType, property))]
    return any(">>> " in (one.__doc__ or "") for one in (value, *methods))


def lacking(names):
    return [name for name, value in names.items() if not has_example(value)]


def test_every_public_class_and_function_has_an_example():
    pytest.importorskip("opentelemetry")  # or its names would be plain objects
    found = lacking(public())
    assert [one for one in found if not any(fnmatchcase(one, known) for known in WITHOUT)] == []
    unused = [known for known in WITHOUT if not any(fnmatchcase(one, known) for one in found)]
    assert unused == [], "these have one by now, or are gone"


def test_one_without_an_example_is_noticed(monkeypatch):
    """Negative control."""

    class Silent:
        """A class that says: >>>."""

        def step(self):
            """Do nothing."""

    class Shown(Silent):
        def step(self):
            """Do nothing.

            >>> Shown().step()
            """

    names = {"Silent": Silent, "Shown": Shown, "step": Silent.step, "shown": Shown.step}
    assert lacking(names) == ["Silent", "step"]
    known = lacking(public())
    monkeypatch.setattr(FormatError, "__doc__", "A file is damaged.")
    assert [one for one in lacking(public()) if one not in known] == ["lstm_fast.FormatError"]
