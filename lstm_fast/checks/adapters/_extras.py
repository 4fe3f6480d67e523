"""Libraries that only an adapter needs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..target import TargetError


class MissingLibraryError(TargetError, ImportError):
    """A library is missing; the text says how to get it."""


@contextmanager
def needed(package: str) -> Iterator[None]:
    """Say how to get a library, where an import of it fails in the block.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingLibraryError(
            f"this target takes {package} ({error}): pip install {package}"
        ) from error


def need(module: str, package: str) -> Any:
    """Import a library whose name is known when this runs; others are imported in `needed`.

    Raises:
        MissingLibraryError: it is not installed.

    Example:
        >>> from lstm_fast import checks
        >>> try:
        ...     checks.adapters.need("jax_port", "jax-port")
        ... except checks.TargetError as error:
        ...     print(error)
        this target takes jax-port (No module named 'jax_port'): pip install jax-port
    """
    with needed(package):
        return importlib.import_module(module)
