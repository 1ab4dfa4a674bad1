"""Figure 11: how much longer a chunk takes while the database is being copied."""

import asyncio
import sqlite3
import statistics
import sys
from contextlib import closing
from pathlib import Path

from figures_requests import Plan, stage
from figures_streams import delays
from table import Figure

# bytes of a row that only makes the file large
_ROW = 4000


async def backup(plan: Plan) -> list[Figure]:
    """The longest delay of a chunk, in rounds with and without a backup beside the streams."""
    streams, seconds, rounds = plan.pick(200, 50, 2), plan.pick(8, 4, 1), plan.pick(5, 2)
    megabytes = plan.pick(100, 30, 2)
    quiet, busy, took = [], [], []
    async with stage(plan, "backup") as here:
        database = plan.folder / "backup.db"
        _fill(database, megabytes)
        model = f"bench-{5 * seconds}-200-1"
        await here.hub.offer(model)
        for number in range(rounds):
            quiet.append(max(await delays(here, here.ours, model, streams)))
            streaming = asyncio.create_task(delays(here, here.ours, model, streams))
            await asyncio.sleep(0.3)
            took.append(await _copy(database, plan.folder / f"copy-{number}.db"))
            busy.append(max(await streaming))
    longer = statistics.median(b - q for b, q in zip(busy, quiet, strict=True))
    note = f"{megabytes} MB copied in {statistics.median(took):.1f} s, {rounds} rounds"
    shown = [f"{statistics.median(each):.0f} ms" for each in (busy, quiet)]
    name = f"longest chunk under way beside a backup, {streams} streams"
    return [Figure(name, shown[0], f"{shown[1]} without", longer, 100, "ms more", note)]


def _fill(database: Path, megabytes: int) -> None:
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.executemany(
            "INSERT INTO settings (name, value) VALUES (?, ?)",
            ((f"filler {number}", "x" * _ROW) for number in range(megabytes * 250)),
        )


async def _copy(database: Path, target: Path) -> float:
    """Run the command to its end; gives its seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    command = (sys.executable, "run.py", "backup", target, "--database", database)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError("the backup failed")
    target.unlink()
    return loop.time() - began
