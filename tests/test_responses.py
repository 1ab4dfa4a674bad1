"""The memory for large responses: which requests wait, and which are refused."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from chathub.errors import TooManyRequests
from chathub.limits.response_memory import ResponseMemory

NEVER = 3600.0


async def waiting(
    responses: ResponseMemory, user_id: int | None, size: int, request_bytes: int = 1
) -> asyncio.Task[None]:
    """A request that waits for memory."""

    async def stay() -> None:
        async with responses.room(user_id, size, request_bytes):
            pass

    task = asyncio.create_task(stay())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_response_that_does_not_fit_waits_in_order_and_other_users_do_not() -> None:
    responses = ResponseMemory(10, NEVER)
    async with responses.room(1, 6):
        first = await waiting(responses, 1, 6)
        # it would fit, but is not the first in the queue
        second = await waiting(responses, 1, 1)
        assert not first.done() and not second.done()
        for other in (2, None):
            assert (await waiting(responses, other, 10)).done()
    await asyncio.gather(first, second)


async def test_single_response_of_any_size_fits() -> None:
    responses = ResponseMemory(10, NEVER)
    async with responses.room(1, 1000):
        pass
    async with responses.room(1, 10):
        pass


async def test_request_that_waits_too_long_is_refused_with_retry_after() -> None:
    responses = ResponseMemory(10, 0.01)
    async with responses.room(1, 10):
        with pytest.raises(TooManyRequests) as refusal:
            async with responses.room(1, 1):
                pass
    assert refusal.value.retry_after
    async with responses.room(1, 10):
        pass


async def test_waiting_responses_are_limited_by_the_bytes_they_hold() -> None:
    responses = ResponseMemory(10, NEVER)
    async with responses.room(1, 10):
        line = [await waiting(responses, 1, 6, request_bytes=6)]
        with pytest.raises(TooManyRequests):
            async with responses.room(1, 6, request_bytes=6):
                pass
    await asyncio.gather(*line)


async def test_cancelled_request_leaves_the_queue_to_the_others() -> None:
    responses = ResponseMemory(10, NEVER)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(responses.room(1, 6))
        large = await waiting(responses, 1, 10)
        small = await waiting(responses, 1, 4)
        large.cancel()
        await asyncio.wait([large])
        async with asyncio.timeout(30):
            await small
        # nothing stays reserved
    async with responses.room(1, 10):
        pass
