"""Libraries that only this package needs: imported when first used, and named when missing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")

EXTRA = "pip install 'lstm-fast[evaluate]'"


def require(module: str, purpose: str) -> Any:
    """Import a module of the extra `evaluate`.

    Raises:
        ImportError: it is not installed; the text says what for and how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} need {module.partition('.')[0]} ({error}): {EXTRA}"
        ) from error


def stats() -> Any:
    """Return scipy.stats.

    Raises:
        ImportError: SciPy is not installed.
    """
    return require("scipy.stats", "intervals and tests")


def optional(module: str) -> Any | None:
    """Import a module, or return None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def with_progress(
    items: Iterable[T], progress: bool | None, what: str, total: int | None = None
) -> Iterable[T]:
    """Show how far an iteration is, on stderr.

    Args:
        items: what is iterated over.
        progress: True shows it; None where stderr is a terminal and tqdm is installed; False never.
        what: one of the items, in words.
        total: how many there are; None asks items, which may not know.

    Raises:
        ImportError: progress is True, and tqdm is not installed.
    """
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return items
    tqdm = require("tqdm", "progress bars") if progress else optional("tqdm")
    if tqdm is None:
        return items
    shown: Iterable[T] = tqdm.tqdm(items, unit=f" {what}", total=total, leave=False)
    return shown
