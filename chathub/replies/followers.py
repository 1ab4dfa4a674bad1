"""Those who wait for news of a reply: for more of it, for its end, or for a heartbeat."""

import asyncio


class Followers:
    """The waiting followers of one reply; nothing is queued for them."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        """Wake every follower."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Wait for the next wake-up."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future
