"""A plugin for pytest: as if Numba were not installed."""

import sys

sys.modules["numba"] = None  # type: ignore[assignment]
