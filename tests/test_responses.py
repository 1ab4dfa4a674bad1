"""Room for large responses: who waits, who is refused."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from chathub.errors import TooManyRequests
from chathub.limits.response_memory import ResponseMemory

NEVER = 3600.0


async def waiting(
    responses: ResponseMemory, user_id: int | None, size: int, request_bytes: int = 1
) -> asyncio.Task[None]:
    """A request that has asked for room."""

    async def stay() -> None:
        async with responses.room(user_id, size, request_bytes):
            pass

    task = asyncio.create_task(stay())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_what_does_not_fit_waits_in_line_and_other_users_do_not() -> None:
    responses = ResponseMemory(10, NEVER)
    async with responses.room(1, 6):
        first = await waiting(responses, 1, 6)
        # it would fit, but is not the first of the line
        second = await waiting(responses, 1, 1)
        assert not first.done() and not second.done()
        for other in (2, None):
            assert (await waiting(responses, other, 10)).done()
    await asyncio.gather(first, second)


async def test_one_response_fits_whatever_its_size() -> None:
    responses = ResponseMemory(10, NEVER)
    async with responses.room(1, 1000):
        pass
    async with responses.room(1, 10):
        pass


async def test_who_waits_too_long_is_refused_and_told_when_to_come_again() -> None:
    responses = ResponseMemory(10, 0.01)
    async with responses.room(1, 10):
        with pytest.raises(TooManyRequests) as refusal:
            async with responses.room(1, 1):
                pass
    assert refusal.value.retry_after
    async with responses.room(1, 10):
        pass


async def test_what_waits_is_bounded_by_the_bytes_that_it_holds() -> None:
    responses = ResponseMemory(10, NEVER)
    async with responses.room(1, 10):
        line = [await waiting(responses, 1, 6, request_bytes=6)]
        with pytest.raises(TooManyRequests):
            async with responses.room(1, 6, request_bytes=6):
                pass
    await asyncio.gather(*line)


async def test_who_gives_up_leaves_the_line_to_the_others() -> None:
    responses = ResponseMemory(10, NEVER)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(responses.room(1, 6))
        large = await waiting(responses, 1, 10)
        small = await waiting(responses, 1, 4)
        large.cancel()
        await asyncio.wait([large])
        async with asyncio.timeout(30):
            await small
        # nothing stays counted
    async with responses.room(1, 10):
        pass
