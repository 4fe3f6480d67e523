"""Libraries that only this package needs: imported when first used, and named when missing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .._extras import install

T = TypeVar("T")


@contextmanager
def needed(library: str, purpose: str) -> Iterator[None]:
    """Say what a library is for and how to get it, where an import of it fails in the block.

    Raises:
        ImportError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{purpose} need {library} ({error}): {install('evaluate')}") from error


def stats() -> Any:
    """Return scipy.stats.

    Raises:
        ImportError: SciPy is not installed.
    """
    with needed("scipy", "intervals and tests"):
        import scipy.stats

    return scipy.stats


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
    try:
        with needed("tqdm", "progress bars"):
            import tqdm
    except ImportError:
        if progress:
            raise
        return items
    shown: Iterable[T] = tqdm.tqdm(items, unit=f" {what}", total=total, leave=False)
    return shown
