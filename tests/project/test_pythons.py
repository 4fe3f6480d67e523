"""The Pythons that .ci/pythons.py finds for the wheel."""

from __future__ import annotations

import os
import runpy
import sys

import pytest
from pages import ROOT

HERE = "{}.{}".format(*sys.version_info)
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the scripts here are for a POSIX shell")


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Return what is found where only shims of pyenv's are on PATH, and another Python runs it."""
    script(tmp_path / f"shims/python{HERE}", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    tools = runpy.run_path(str(ROOT / ".ci/pythons.py"))
    there = tools["candidates"]
    others = lambda version: (one for one in there(version) if one != sys.executable)  # noqa: E731
    monkeypatch.setitem(tools["found"].__globals__, "candidates", others)
    return tools["found"]


def test_a_shim_that_refuses_is_passed_over(found, tmp_path):
    assert found(HERE) is None
    release = f"versions/{HERE}.{{}}/bin/python"
    script(tmp_path / "pyenv" / release.format(9), f'exec {sys.executable} "$@"')
    newest = script(tmp_path / "pyenv" / release.format(13), f'exec {sys.executable} "$@"')
    assert found(HERE) == newest


def test_a_python_of_another_version_is_passed_over(found, tmp_path):
    wrapper = script(tmp_path / "pyenv/versions/3.99.0/bin/python", f'exec {sys.executable} "$@"')
    assert "python" in wrapper
    assert found("3.99") is None
