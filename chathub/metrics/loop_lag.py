"""The lag of the event loop: by how much a timer is late."""

import asyncio
from collections.abc import Callable

# seconds between two measurements
_ROUND = 0.25


async def watch(observe: Callable[[float], None]) -> None:
    """Measure four times a second, without end."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _ROUND
        await asyncio.sleep(_ROUND)
        observe(max(0.0, loop.time() - due))
