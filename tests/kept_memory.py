"""What calls leave behind in memory."""

from __future__ import annotations

import gc
import tracemalloc


def kept_bytes(work):
    """What Python's allocator keeps of each call of work(): the least of five.

    Python swaps some objects with those that it has set aside, which shows in some calls of them.
    """

    def once():
        gc.collect()
        start = tracemalloc.get_traced_memory()[0]
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - start

    tracemalloc.start()
    try:
        return min(once() for _ in range(5))
    finally:
        tracemalloc.stop()
