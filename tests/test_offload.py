"""Offloading: large work runs in another thread, small work on the event loop; both return the function's
result.
"""

import asyncio
import threading

import pytest

from chathub.offload import Offload

KIB = 1024


def where(value: int) -> tuple[int, int]:
    return value, threading.get_ident()


async def test_only_large_work_runs_in_another_thread() -> None:
    offload, here = Offload(), threading.get_ident()
    assert await offload.run(256 * KIB, where, 1) == (1, here)
    value, there = await offload.run(256 * KIB + 1, where, value=2)
    assert value == 2 and there != here
    offload.close()


@pytest.mark.parametrize("size", [0, 1000 * KIB])
async def test_exception_of_the_work_reaches_the_caller(size: int) -> None:
    def fail() -> None:
        raise ValueError("no")

    offload = Offload()
    with pytest.raises(ValueError, match="no"):
        await offload.run(size, fail)
    offload.close()


async def test_event_loop_continues_during_the_work() -> None:
    offload, begun, gate = Offload(), threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return gate.wait(20)

    working = asyncio.create_task(offload.run(1000 * KIB, wait))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    gate.set()
    assert await working
    offload.close()
