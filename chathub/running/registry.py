"""The registry of running work: replies, gateway requests, and turns that are being begun."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from chathub.errors import Unavailable
from chathub.formats.messages import Endpoint

T = TypeVar("T")


class Run(Protocol):
    """A reply or a gateway request that is being generated."""

    @property
    def user_id(self) -> int:
        """The user for whom it runs."""

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint of its latest attempt."""

    @property
    def has_left(self) -> bool:
        """Whether its client has left, and only its usage is still read."""

    def exclude_key(self, key_id: int) -> None:
        """Exclude an API key from later attempts."""

    def stop(self) -> None:
        """Begin to end it. It removes itself from the registry when it has ended."""


Predicate = Callable[[Run], bool]


def of_user(user_id: int) -> Predicate:
    """The runs of one user."""
    return lambda run: run.user_id == user_id


def with_api_key(key_id: int) -> Predicate:
    """The runs that use an API key that was removed. Every run that is checked also excludes it from its
    later attempts."""

    def uses_key(run: Run) -> bool:
        run.exclude_key(key_id)
        return run.endpoint is not None and run.endpoint.key_id == key_id

    return uses_key


class Registry:
    """All running work of the server, to be stopped by a predicate and to be drained at the end.

    ``usage_seconds``: how long what a client left is read on for its usage; not at all while the server ends.
    """

    def __init__(self, usage_seconds: float = 0) -> None:
        self.usage_seconds = usage_seconds
        # each run with a future that is done when the run is removed
        self._runs: dict[Run, asyncio.Future[None]] = {}
        # the turns that are being begun and are not a reply yet, with their users
        self._beginning: dict[asyncio.Task[Any], int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._is_draining = False

    # --- what runs

    @property
    def is_busy(self) -> bool:
        return bool(self._runs)

    @property
    def count(self) -> int:
        """The replies and gateway requests that run."""
        return len(self._runs)

    def user_ids(self) -> set[int]:
        """The users for whom something runs or is being begun."""
        return {run.user_id for run in self._runs} | set(self._beginning.values())

    def check_open(self) -> None:
        """Check that something new may begin.

        Raises:
            Unavailable: the server is shutting down.
        """
        if self._is_draining:
            raise Unavailable("server_stopping", retry_after=5)

    def add(self, run: Run) -> None:
        self._runs[run] = asyncio.get_running_loop().create_future()
        self._idle.clear()

    def remove(self, run: Run) -> None:
        self._runs.pop(run).set_result(None)
        self._check_idle()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a part of the work as a task that goes on if the client leaves; the server waits for it at its
        end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        self._idle.clear()
        task.add_done_callback(self._forget)
        return task

    def begin(self, user_id: int, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Spawn the work that begins a user's turn and adds its run."""
        task = self.spawn(work)
        self._beginning[task] = user_id
        task.add_done_callback(self._beginning.pop)
        return task

    async def wait_begun(self, user_id: int | None = None) -> None:
        """Wait for the turns that are being begun, by one user or by all: their runs are known then."""
        beginning = [task for task, owner_id in self._beginning.items() if user_id in (None, owner_id)]
        if beginning:
            await asyncio.wait(beginning)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # a caller that was cancelled does not retrieve the exception, and asyncio would log that
            task.exception()
        self._check_idle()

    def _check_idle(self) -> None:
        if not self._runs and not self._tasks:
            self._idle.set()

    async def _refuse_new(self) -> None:
        """From now on nothing begins, and nothing is read that its client left."""
        self._is_draining, self.usage_seconds = True, 0
        await self._stop_known(lambda run: run.has_left)

    # --- its end

    async def stop(self, where: Predicate) -> None:
        """Stop the runs for which a predicate holds, those of turns that are being begun as soon as they are
        known, and wait until none of them is in the registry."""
        await self._stop_known(where)
        await self.wait_begun()
        await self._stop_known(where)

    async def _stop_known(self, where: Predicate) -> None:
        stopped = [run for run in self._runs if where(run)]
        removals = [self._runs[run] for run in stopped]
        for run in stopped:
            run.stop()
        if removals:
            await asyncio.wait(removals)

    async def drain(self, seconds: float) -> None:
        """Refuse new work, and wait at most so many seconds for the running work."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._refuse_new()
                if self._runs or self._tasks:
                    await self._idle.wait()

    async def close(self, interrupt: Callable[[], None]) -> None:
        """Refuse new work, and wait for every task. ``interrupt`` ends the runs; it is called before each
        wait, because a turn that is being begun becomes a run meanwhile."""
        await self._refuse_new()
        while self._tasks:
            interrupt()
            await asyncio.wait(list(self._tasks))
