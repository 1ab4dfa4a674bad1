"""The built-in model: a child process, started at first use, that serves requests like any other provider.

It is a process of its own because loading holds the GIL for seconds, and a C++ abort would end the server
as well. This module decides when the child runs; ``client`` sends the requests to it.
"""

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chathub.sentences import Reason, sentence
from chathub.upstream.local_model.process import (
    INSTALL,
    STOPPED,
    Child,
    LocalModelError,
    start_failed,
    warn,
)

CHILD = Path(__file__).with_name("child.py")
ENGINE = "xllamacpp"
LONGEST_COOL_DOWN = 60.0


class LocalModel:
    """One GGUF file, served by at most one child process.

    ``context`` is the tokens of one conversation and ``parallel`` the number of requests at once (memory
    grows with their product); ``max_tokens`` and ``temperature`` are used where a request gives none;
    ``threads``: None takes all cores but one. The child ends after ``idle_seconds`` without a lease.
    Belongs to the event loop of its first lease; its owner calls ``close``.
    """

    def __init__(
        self,
        path: Path,
        alias: str,
        *,
        context: int = 4096,
        parallel: int = 2,
        max_tokens: int = 1024,
        temperature: float = 0.7,
        threads: int | None = None,
        start_seconds: float = 120,
        idle_seconds: float = 900,
        child: Path = CHILD,
    ) -> None:
        self._path = path
        self._settings = {
            "alias": alias,
            "context": context,
            "parallel": parallel,
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        self._threads = threads
        self._start_seconds = start_seconds
        self._idle_seconds = idle_seconds
        self._program = child
        self._child: Child | None = None
        self._lock = asyncio.Lock()  # one start or stop at a time: memory may not hold two models
        self._starting: asyncio.Task[Child | None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._leases = 0
        self._closed = False
        self._failure = LocalModelError(STOPPED)
        self._failures = 0
        self._retry_at = 0.0

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[tuple[str, str]]:
        """``(base_url, api_key)`` of a running child, which is not idle-stopped inside the block.

        Starts the child if none runs. Raises LocalModelError; after a failing start at once, with the
        last reason, until the cool-down (2, 4, 8 … 60 s) is over.
        """
        self._leases += 1
        self._disarm()
        try:
            child = await self._running()
            yield child.base_url, child.key
        finally:
            self._leases -= 1
            if not self._leases and not self._closed:
                self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._idle)

    async def close(self) -> None:
        """Stop the child, also one that is starting; leases after this raise LocalModelError."""
        self._closed = True
        self._disarm()
        if self._child:
            await self._child.stop()
        if tasks := {task for task in (self._starting, self._stopping) if task}:
            await asyncio.wait(tasks)

    async def _running(self) -> "Child":
        if self._closed:
            raise LocalModelError(STOPPED)
        if self._child and self._child.alive:
            return self._child
        if self._starting is None or self._starting.done():
            if asyncio.get_running_loop().time() < self._retry_at:
                raise LocalModelError(self._failure.reason, self._failure.log)
            # a task of its own: the first caller may be cancelled while others wait for the same child
            self._starting = asyncio.create_task(self._start())
        starting = self._starting
        await asyncio.wait({starting})
        if self._closed:
            raise LocalModelError(STOPPED)
        if child := starting.result():
            return child
        raise LocalModelError(self._failure.reason, self._failure.log)

    async def _start(self) -> "Child | None":
        """The new child, or None with the reason in ``_failure``: an exception might never be retrieved."""
        async with self._lock:
            if self._closed:
                return None
            self._child = Child()
            try:
                await self._child.start(self._program, self._child_settings(), self._start_seconds)
            except LocalModelError as error:
                self._cool_down(error)
                return None
            self._failures = 0
            return self._child

    def _child_settings(self) -> dict[str, Any]:
        if not self._path.is_file():
            raise start_failed(Reason("local_model_file_missing", {"name": self._path.name}))
        threads = self._threads or spare_cores()
        model = str(self._path.absolute())
        return self._settings | {"model": model, "threads": threads, "packages": engine_folder()}

    def _cool_down(self, error: LocalModelError) -> None:
        self._failure = error
        self._failures += 1
        pause = min(LONGEST_COOL_DOWN, 2.0**self._failures)
        self._retry_at = asyncio.get_running_loop().time() + pause
        if not self._closed:
            warn(str(error), error.log)

    def _idle(self) -> None:
        self._timer = None
        self._stopping = asyncio.create_task(self._stop_if_idle())

    async def _stop_if_idle(self) -> None:
        async with self._lock:
            if self._child and not self._leases:
                child, self._child = self._child, None  # before the await: no new lease may get it
                await child.stop()

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def available() -> str | None:
    """None if the engine is installed, else a sentence that says how to install it. Imports nothing."""
    if importlib.util.find_spec(ENGINE) is None:
        return sentence("local_model_engine_missing", "en", {"command": INSTALL})
    return None


def engine_folder() -> str | None:
    """The folder that holds the engine this process would import; None if there is none."""
    spec = importlib.util.find_spec(ENGINE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(spec.submodule_search_locations[0]).parent.absolute())


def spare_cores() -> int:
    """The cores this process may use, less one: with all of them in use, one more busy process cost the
    engine nine tenths of its speed (measured)."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux only
    return max(1, (len(usable(0)) if usable else os.cpu_count() or 1) - 1)
