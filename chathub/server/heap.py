"""Return free heap memory to the system: on a small machine other programs can use it."""

import asyncio

_SECONDS = 30


async def return_free_memory() -> None:
    """Return free pages of the C heap to the system every 30 seconds, without end.

    glibc returns only the pages at the heap's top, and raises its threshold for separately mapped blocks over
    time: after some minutes of load 20 to 40 MB of free pages stay resident for ever. A round takes 0.5 to
    4 ms. mallopt with a fixed threshold is no solution: every ``recv`` of asyncio would map and unmap its
    256 KiB. Other C libraries have no ``malloc_trim`` and need none.
    """
    # imported late: the start does not need it
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(trim, 0)
