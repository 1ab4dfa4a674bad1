"""ChatHub with a watch on its event loop: ``watched.py FILE [flags of ChatHub]``.

Each callback that takes the loop 2 ms or more of CPU time of its own thread becomes a line of the file:
milliseconds, and the name of the coroutine or function.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

gc.disable()
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from chathub.__main__ import main  # noqa: E402

_LEAST = 0.002


def watch(file: Path) -> None:
    """Measure every callback of every loop of this process."""
    original: Callable[[asyncio.Handle], None] = asyncio.events.Handle._run
    lines = file.open("a", buffering=1)

    def run(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        original(handle)
        spent = time.thread_time() - before
        if spent >= _LEAST:
            lines.write(f"{spent * 1000:.1f} {_name(handle)}\n")

    asyncio.events.Handle._run = run  # type: ignore[method-assign]


def _name(handle: Any) -> str:
    """The coroutine of a task's step; otherwise the function."""
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        callback = owner.get_coro()
    return getattr(callback, "__qualname__", None) or type(callback).__name__


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
