"""Asks a server for its health every 5 ms, from a process of its own: ``prober.py PORT``.

Says ``probing`` once it does; at the end of its input it prints the median, the 99th percentile and the
longest of its waits, in milliseconds.
"""

import asyncio
import statistics
import sys
import time

from load import Connection, check, message
from table import percentile

_PAUSE = 0.005


async def main(port: int) -> None:
    connection, request = Connection(port), message("GET", "/api/health")
    check(await connection.ask(request))
    print("probing", flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    waits = []
    while not ended.done():
        began = time.perf_counter()
        check(await connection.ask(request))
        waits.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(_PAUSE)
    connection.close()
    print(f"{statistics.median(waits):.1f} {percentile(waits, 0.99):.1f} {max(waits):.1f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
