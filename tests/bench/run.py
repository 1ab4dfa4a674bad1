"""ChatHub's benchmark: ``python tests/bench/run.py [--quick | --once] [--only NAME] [--uvloop]``.

Every figure is measured in the same run against bare aiohttp doing the same work with nothing around it
(``bare.py``), both with the same scripted provider behind them (``upstream.py``), all in processes of their
own on loopback; ChatHub is started as a user starts it, on a new database in a temporary folder.

How to read it. "us" are microseconds of CPU time of the server process, all its threads, as the kernel
counts them: median (minimum) over rounds in which the two take turns. Such times move by half between one
machine and moment and the next; the ratio within a round moves much less, and its median is the result that
is held against the target. The note has the smallest and the largest pair: if they lie on both sides of
the target, run it again on a quieter machine before believing either.

A streamed chunk costs what long streams take more than short ones, for each chunk more; what a streamed
turn takes besides (both messages stored, usage settled) is a row of its own. "back to back" lets the
provider write as fast as it can, so that both servers read several chunks at once: the bare one passes such
a read on as one piece of bytes, while ChatHub looks into each chunk.

What a request costs depends on company: the more at once, the less each costs the bare server, and the more
the threads of ChatHub's database and its event loop get in each other's way. Hence several rows of
POST /api/chat; how the operating system places the threads moves those of several at once most.

Both run on asyncio's own event loop, also where uvloop is installed, unless ``--uvloop`` is given. It
prints; it never fails because a target was missed, and ends with 1 where a figure could not be measured.
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

import figures_backup
import figures_process
import figures_requests
import figures_save
import figures_streams
import figures_v1
from figures_requests import Plan
from processes import raise_file_limit
from table import Figure, show

_FIGURES = {
    "models": figures_requests.models,
    "chat": figures_requests.chat,
    "chunks": figures_streams.chunks,
    "start": figures_process.start,
    "idle": figures_process.idle,
    "storm": figures_process.storm,
    "memory": figures_streams.memory,
    "latency": figures_streams.latency,
    "v1": figures_v1.v1,
    "save": figures_save.save,
    "backup": figures_backup.backup,
}
# seconds after which a figure is cancelled
_LIMIT = 120


async def _measure(name: str, plan: Plan) -> list[Figure]:
    """The rows of one figure; an error becomes a row without a value."""
    began = time.perf_counter()
    print(f"{name} ...", end=" ", flush=True)
    try:
        async with asyncio.timeout(_LIMIT):
            figures = await _FIGURES[name](plan)
    except Exception as error:
        traceback.print_exc()
        figures = [Figure(name, "not measured", note=f"{type(error).__name__}: {error}"[:150])]
    print(f"{time.perf_counter() - began:.1f} s", flush=True)
    return figures


async def _run(names: list[str], plan: Plan) -> list[Figure]:
    return [figure for name in names for figure in await _measure(name, plan)]


def main() -> int:
    parser = argparse.ArgumentParser(description="ChatHub's speed and footprint beside bare aiohttp's.")
    sizes = parser.add_mutually_exclusive_group()
    for size, text in (
        ("quick", "fewer rounds and streams: under a minute"),
        ("once", "the least of everything: shows that it runs, the figures mean nothing"),
    ):
        sizes.add_argument(f"--{size}", action="store_const", const=size, dest="size", help=text)
    parser.set_defaults(size="full")
    parser.add_argument("--only", action="append", choices=list(_FIGURES), help="one figure; may be repeated")
    parser.add_argument(
        "--uvloop", action="store_true", help="let both servers use uvloop if it is installed"
    )
    arguments = parser.parse_args()
    raise_file_limit()
    loop = "uvloop where installed" if arguments.uvloop else "asyncio's own loop"
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {loop}")
    with tempfile.TemporaryDirectory(prefix="chathub-bench-") as folder:
        plan = Plan(Path(folder), arguments.size, arguments.uvloop)
        figures = asyncio.run(_run(arguments.only or list(_FIGURES), plan))
    print(f"\n{show(figures)}")
    return 1 if any(figure.value is None for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
