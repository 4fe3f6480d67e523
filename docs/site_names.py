"""The public names of lstm_fast, and which of them the API reference does not have."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Container
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def packages() -> list[str]:
    """Return lstm_fast and its public subpackages."""
    found = (path.parent.relative_to(ROOT).parts for path in ROOT.glob("lstm_fast/**/__init__.py"))
    return sorted(".".join(p) for p in found if not any(part.startswith("_") for part in p))


def modules() -> list[str]:
    """Return the modules that have a page of the reference."""
    texts = (path.read_text("utf-8") for path in sorted((ROOT / "docs/api").glob("*.rst")))
    return [name for text in texts for name in re.findall(r"automodule:: (\S+)", text)]


def public_names(module: str) -> dict[str, Any]:
    """Return what a module exports, without the modules among it."""
    try:
        there = importlib.import_module(module)
    except ImportError:  # of an extra, or a plug-in whose framework is not installed
        folder = ROOT.joinpath(*module.split("."))
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        tree = ast.parse(path.read_text("utf-8"))
        exported = next(n for n in tree.body if ast.unparse(n).startswith("__all__ ="))
        return {name: object() for name in ast.literal_eval(exported.value)}  # type: ignore[attr-defined]
    names = getattr(there, "__all__", ())
    values = {name: getattr(there, name) for name in names}
    return {name: value for name, value in values.items() if not isinstance(value, ModuleType)}


def undocumented(documented: Container[str]) -> list[str]:
    """Return the public names that are documented under no name of theirs."""
    everything = {
        f"{module}.{name}": value
        for module in dict.fromkeys([*packages(), *modules()])
        for name, value in public_names(module).items()
    }
    seen = {id(value) for name, value in everything.items() if name in documented}
    return [n for n, value in everything.items() if n not in documented and id(value) not in seen]
