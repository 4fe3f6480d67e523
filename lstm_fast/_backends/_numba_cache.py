"""Kernels of the Numba backend, compiled ahead and kept on disk.

Numba throws away what it has kept of a function when the file of that function changes, or Numba
itself. It sees no change in what the function calls in other files. So the name under which a
kernel is kept has a digest of all that kernels are made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import cfunc


def _digest() -> str:
    """Return what stands for the sources of all kernels and the versions that compile them."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    # a frozen application has no sources: there Numba looks at the executable
    for path in sorted(Path(__file__).parent.glob("_numba_*.py")):
        source = path.read_bytes()
        digest.update(f" {path.name} {len(source)} ".encode() + source)
    return digest.hexdigest()[:16]


DIGEST = _digest()


def compiled(*signature: Any) -> Callable[[Any], Any]:
    """Compile now, from the cache on disk where there is a place for one, for C to call."""

    def decorate(function: Any) -> Any:
        function.__qualname__ = f"{function.__name__}_{DIGEST}"  # Numba names its files after it
        try:
            return cfunc(*signature, cache=True, error_model="numpy")(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return cfunc(*signature, error_model="numpy")(function)

    return decorate
