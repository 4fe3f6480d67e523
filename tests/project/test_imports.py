"""No module of the package imports itself through others, and no header of the core does.

The graph is read off the source, so imports inside functions count as well: one that is there only
to break a circle is a circle. What stands under TYPE_CHECKING never runs, and does not count. That
Python loads a package before its modules is not counted either.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Graph = dict[str, set[str]]


def find_circle(graph: Graph) -> list[str]:
    """The nodes of a circle in its order, the first one at the end once more; [] without one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def import_graph(root: Path, package: str) -> Graph:
    """Which modules of a package import which others of it."""
    files = {}
    for path in [*(root / package).rglob("*.py"), *(root / package).rglob("*.pyi")]:
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: Graph = {}
    for module, path in files.items():
        names = [name for node in _imports(ast.parse(path.read_text())) for name in node]
        here = module if path.name == "__init__.py" else module.rpartition(".")[0]
        absolute = [_absolute(name, here) for name in names]
        graph[module] = {_module(name, files) for name in absolute} - {module, ""}
    return graph


def _imports(node: ast.AST) -> Iterator[list[str]]:
    """Yield what each import statement names, with its dots in front."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []))
        elif isinstance(child, ast.Import):
            yield [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            source = "." * child.level + (f"{child.module}." if child.module else "")
            yield [source + alias.name for alias in child.names]
        else:
            yield from _imports(child)


def _absolute(name: str, package: str) -> str:
    """Return a name with dots in front, as it is meant in a module of that package."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], name[level:]])


def _module(name: str, known: dict[str, Path]) -> str:
    """Return the module that a name is, or is of; "" of another package."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def include_graph(folder: Path) -> Graph:
    """Which files below a folder include which others, by `#include "..."`."""
    folder = folder.resolve()
    files = [path for path in folder.rglob("*") if path.suffix in {".c", ".h", ".inc"}]
    graph: Graph = {}
    for path in files:
        found = set()
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            places = [(place / name).resolve() for place in (path.parent, folder)]
            found |= {str(place.relative_to(folder)) for place in places if place in files}
        graph[str(path.relative_to(folder))] = found
    return graph


def test_no_circle_of_modules():
    graph = import_graph(ROOT, "lstm_fast")
    assert graph["lstm_fast.pool"] >= {"lstm_fast.model_pool", "lstm_fast._handles"}
    assert "lstm_fast._backends.native" in graph["lstm_fast._backends"]  # inside a function
    assert find_circle(graph) == []


def test_no_circle_of_c_files():
    graph = include_graph(ROOT / "csrc")
    assert any("lstm_fast.h" in included for included in graph.values())
    assert find_circle(graph) == []


# Each has a circle of two modules in a package called p, but the last three.
CIRCLES = {
    "plain": ("from . import b", "import p.a"),
    "of a name": ("from .b import name", "from .a import name"),
    "inside a function": ("from .b import name", "def f():\n    from p.a import name"),
    "otherwise": ("from . import b", "if TYPE_CHECKING:\n    pass\nelse:\n    from . import a"),
    "one way": ("from . import b", "import os"),
    "for types": ("from . import b", "if TYPE_CHECKING:\n    from . import a"),
    "of others": ("from q import b", "from q import a"),
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_of_modules_is_found(case, tmp_path):
    (tmp_path / "p").mkdir()
    for name, text in zip(("__init__", "a", "b"), ("", *CIRCLES[case]), strict=True):
        (tmp_path / "p" / f"{name}.py").write_text(text)
    has_none = case in {"one way", "for types", "of others"}
    assert sorted(set(find_circle(import_graph(tmp_path, "p")))) == (
        [] if has_none else ["p.a", "p.b"]
    )


def test_a_circle_of_headers_is_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.h").write_text('#include <stdio.h>\n#include "deep/b.h"\n')
    (tmp_path / "deep/b.h").write_text('#ifndef B\n#  include "../a.h"\n#endif\n')
    assert sorted(set(find_circle(include_graph(tmp_path)))) == ["a.h", "deep/b.h"]
    (tmp_path / "deep/b.h").write_text('// "../a.h" is included before\n')
    assert find_circle(include_graph(tmp_path)) == []


# ---- tests: what stands in several folders is imported by its name alone ----


def same_names(paths):
    """Names of Python files that stand in more than one folder."""
    count = Counter(path.name for path in paths if not path.name.startswith("__"))
    return [name for name, times in count.items() if times > 1 and name != "conftest.py"]


def test_no_two_modules_of_tests_have_one_name():
    assert same_names((ROOT / "tests").rglob("*.py")) == []


def test_modules_of_one_name_are_found():
    paths = [Path("a/bounds.py"), Path("b/bounds.py"), Path("a/__main__.py"), Path("b/__main__.py")]
    assert same_names(paths) == ["bounds.py"]
