"""Live services: a batcher for asyncio, and a server of voice activity that is made of it.

    async with FrameBatcher(model.pool(5000)) as batcher:  # one per event loop
        async with batcher.session() as session:  # one per live call
            y = await session.step(frame)

`FrameBatcher` needs NumPy alone. `lstm-fast serve`, a WebSocket server with a page to look at,
needs the extra `serve` (docs/serve.md).
"""

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
