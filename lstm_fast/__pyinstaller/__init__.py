"""Tells PyInstaller, through an entry point, where its hook for this package lies."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder that holds `hook-lstm_fast.py`."""
    return [str(Path(__file__).parent)]
