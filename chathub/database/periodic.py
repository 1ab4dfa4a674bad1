"""Background tasks, such as saving replies and measuring the disk: after an error a task is restarted."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from chathub.database.errors import DatabaseUnavailable

log = logging.getLogger("chathub.rounds")

# seconds before a failed task is restarted: doubled each time up to the longest; a task that ran longer than
# that counts as having worked
_FIRST, _LONGEST = 1.0, 30.0

# runs without end, or until it has nothing to do
Job = Callable[[], Awaitable[None]]


@asynccontextmanager
async def background_tasks(*jobs: Job) -> AsyncIterator[None]:
    """Run jobs while the block lasts; then they are cancelled, and their end is awaited."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(restart_on_error(job)) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def restart_on_error(run: Job, first: float = _FIRST) -> None:
    """Run a job, and restart it after an error. The database's condition logs when the database is
    unavailable; another error is logged once in a row."""
    pause, logged = first, ""
    while True:
        began = time.monotonic()
        try:
            return await run()
        except Exception as error:
            if time.monotonic() - began > _LONGEST:
                pause, logged = first, ""
            if not isinstance(error, DatabaseUnavailable) and repr(error) != logged:
                logged = repr(error)
                log.exception("%s failed, and is restarted", getattr(run, "__qualname__", run))
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST)
