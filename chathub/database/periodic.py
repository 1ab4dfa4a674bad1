"""What the server does again and again beside the requests: no error ends it before the server does."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from chathub.database.errors import DatabaseUnavailable

log = logging.getLogger("chathub.rounds")

# seconds until a round that failed begins again: twice as many each time, up to the longest, after which it
# counts as having gone well
_FIRST, _LONGEST = 1.0, 30.0

# runs without end, or until there is nothing for it to do
Round = Callable[[], Awaitable[None]]


@asynccontextmanager
async def going_on(*rounds: Round) -> AsyncIterator[None]:
    """Have rounds go on for as long as this lasts; then they are cancelled, and have ended."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(forever(each)) for each in rounds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def forever(run: Round, first: float = _FIRST) -> None:
    """Run a round, and begin it again a while after an error. Of the database's own troubles its condition
    has told already; another is told when it comes first."""
    pause, told = first, ""
    while True:
        began = time.monotonic()
        try:
            return await run()
        except Exception as error:
            if time.monotonic() - began > _LONGEST:
                pause, told = first, ""
            if not isinstance(error, DatabaseUnavailable) and repr(error) != told:
                told = repr(error)
                log.exception("%s failed, and is begun again", getattr(run, "__qualname__", run))
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST)
