"""Libraries that only an adapter needs."""

from __future__ import annotations

import importlib
from typing import Any

from ..target import TargetError


class MissingLibraryError(TargetError, ImportError):
    """A library is missing; the text says how to get it."""


def need(module: str, package: str) -> Any:
    """Import a library.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"this target takes {package} ({error}): pip install {package}"
        ) from error
