"""Live services: a batcher for asyncio, and a server of voice activity that is made of it.

    async with FrameBatcher(model.pool(5000)) as batcher:  # one per event loop
        async with batcher.session() as session:  # one per live call
            y = await session.step(frame)

`FrameBatcher` needs NumPy alone. `lstm-fast serve`, a WebSocket server with a page to look at,
needs the extra `serve` (docs/serve.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batcher import FrameBatcher
    from .sessions import Answer, ClosedError, OverloadedError, Session, StepFailedError

__all__ = [
    "Answer",
    "ClosedError",
    "FrameBatcher",
    "OverloadedError",
    "Session",
    "StepFailedError",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for: the command line needs no asyncio to say its version."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "batcher" if name == "FrameBatcher" else "sessions"
    return getattr(importlib.import_module(f"{__name__}.{where}"), name)
