"""Work on large bodies in a thread beside the event loop.

A thread alone does not help: C code that does not release the interpreter's lock stops the loop from any
thread. The work should consist of pieces that take milliseconds each.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# bytes; shorter data is handled on the loop, because a trip to a thread costs about 0.1 ms
_LARGE = 256 * 1024


class Offload:
    """One thread: two would only compete for the interpreter's lock with each other and the loop. DNS keeps
    the default executor for itself."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "chathub-large")

    async def run(self, size: int, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(…)`` on data of ``size`` bytes: on the loop if that is little, else in the thread."""
        if size <= _LARGE:
            return fn(*args, **kwargs)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: fn(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
