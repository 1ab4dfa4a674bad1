"""Figures 1 and 2: CPU time per ordinary request, against bare aiohttp in the same rounds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from load import Hub, forwarded, message, repeat
from processes import Process, bare, chathub, upstream
from table import Figure, ratio

Work = Callable[[], Awaitable[None]]
# ``once``: the smallest load, which shows only that a figure can be measured
Size = Literal["full", "quick", "once"]


@dataclass(frozen=True)
class Plan:
    """The options of a run."""

    folder: Path
    size: Size
    uvloop: bool

    def pick(self, full: int, quick: int, once: int = 1) -> int:
        """The number of units for this size of a run."""
        return {"full": full, "quick": quick, "once": once}[self.size]

    @property
    def rounds(self) -> int:
        return self.pick(9, 3)


@dataclass(frozen=True)
class Stage:
    """The processes of a figure: ChatHub, the bare server, and the provider behind both."""

    hub: Hub
    ours: Process
    theirs: Process


@asynccontextmanager
async def stage(plan: Plan, name: str) -> AsyncIterator[Stage]:
    """Start all three on a new database; ChatHub with a session and the provider configured."""
    with (
        upstream(plan.folder) as provider,
        chathub(plan.folder, uvloop=plan.uvloop, database=f"{name}.db") as ours,
    ):
        hub = Hub(ours.port)
        (plan.folder / "bytes").write_bytes((await hub.call("GET", "/api/models")).body)
        with bare(plan.folder, provider.port, uvloop=plan.uvloop) as theirs:
            await hub.set_up(provider.port)
            yield Stage(hub, ours, theirs)


async def spent(process: Process, work: Work, units: int = 1) -> float:
    """Microseconds of the process's CPU time per unit of work."""
    before = process.cpu()
    await work()
    return (process.cpu() - before) * 1e6 / units


async def in_turns(rounds: int, *kinds: Callable[[], Awaitable[float]]) -> list[list[float]]:
    """Measure several kinds in turns, the order changing with each round; the first round warms up."""
    results: list[list[float]] = [[] for _ in kinds]
    for number in range(rounds + 1):
        turn = list(range(len(kinds)))
        for index in turn if number % 2 else reversed(turn):
            cost = await kinds[index]()
            if number:
                results[index].append(cost)
        await asyncio.sleep(0.05)
    return results


async def models(plan: Plan) -> list[Figure]:
    """GET /api/models against a bare handler that gives the same bytes."""
    count = plan.pick(1200, 400, 8)
    async with stage(plan, "models") as here:
        # the list has not changed since the bare server got its bytes
        size = len((await here.hub.call("GET", "/api/models")).body)
        ours, theirs = await in_turns(
            plan.rounds,
            lambda: spent(
                here.ours, lambda: repeat(here.ours.port, message("GET", "/api/models"), count, 4), count
            ),
            lambda: spent(
                here.theirs, lambda: repeat(here.theirs.port, message("GET", "/"), count, 4), count
            ),
        )
    return [ratio("CPU per GET /api/models", ours, theirs, 1.5, note=f"{size} bytes")]


async def chat(plan: Plan) -> list[Figure]:
    """POST /api/chat (signed in, stored, settled) against forwarding the question to the same answer.

    One request at a time; four at once; four at once with each server kept on one CPU, which tells what the
    threads of the database cost when they and the loop pass the interpreter's lock between CPUs.
    """
    async with stage(plan, "chat") as here:
        return [
            await _chat(plan, here, streams=True, connections=1),
            await _chat(plan, here, streams=True, connections=4),
            await _chat(plan, here, streams=False, connections=4),
            await _chat(plan, here, streams=True, connections=4, one_cpu=True),
        ]


async def _chat(plan: Plan, here: Stage, *, streams: bool, connections: int, one_cpu: bool = False) -> Figure:
    count = plan.pick(160, 60, 4)
    # eight chunks in one segment: a short reply; or the same text as JSON
    model = f"bench-8-0-{8 if streams else 7}"
    await here.hub.offer(model, streams=streams)
    if one_cpu:
        here.ours.keep_on_one_cpu()
        here.theirs.keep_on_one_cpu()
    ask, forward = here.hub.chat(model, stream=False), forwarded(model, stream=streams)
    ours, theirs = await in_turns(
        plan.rounds,
        lambda: spent(here.ours, lambda: repeat(here.ours.port, ask, count, connections), count),
        lambda: spent(here.theirs, lambda: repeat(here.theirs.port, forward, count, connections), count),
    )
    kind = "SSE" if streams else "JSON"
    where = f"{connections} at once" + (", one CPU" if one_cpu else "")
    # both get the same form of reply: ChatHub requests what its model can do, the bare server the same
    return ratio(f"CPU per POST /api/chat, {where}", ours, theirs, 4.0, note=f"{kind} asked for upstream")
