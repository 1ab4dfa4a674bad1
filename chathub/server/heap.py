"""Memory that is free gives itself back: on a small machine others can use it."""

import asyncio

_SECONDS = 30


async def give_back() -> None:
    """Now and then hand free pages of the C heap to the system; without end.

    glibc returns only what lies at the heap's top, and raises the size from which it asks the system for
    single blocks as it goes: after some minutes of load 20 to 40 MB of free pages stay resident for ever.
    A round takes 0.5 to 4 ms (mallopt with a fixed threshold is no way: every ``recv`` of asyncio's would
    map and unmap its 256 KiB). Other C libraries have no ``malloc_trim`` and need none.
    """
    # not needed by a start
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(trim, 0)
