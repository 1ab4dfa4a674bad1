"""Figures 3, 7 and 8: the CPU time of a streamed chunk, the memory of an open stream, the delay of
a chunk.
"""

import asyncio
import re
import statistics
import time
from functools import partial

from figures_requests import Plan, Stage, in_turns, spent, stage
from load import Connection, forwarded, over
from processes import Process
from table import Figure, percentile, ratio

_STAMP = re.compile(rb"@(\d{20})@")
# name, pause in ms between segments, chunks in a segment, streams, chunks of a long stream
_PACES = (
    ("back to back", 0, 1, 10, 2000),
    ("one per read", 5, 1, 20, 300),
    ("bursts of 8", 5, 8, 20, 1200),
)
_SHORT = 8


def _model(chunks: int, pause: int, burst: int) -> str:
    return f"bench-{chunks}-{pause}-{burst}"


async def _open(here: Stage, process: Process, model: str, streams: int) -> None:
    """Read so many concurrent streams to their ends."""
    ours = process is here.ours
    request = here.hub.chat(model, stream=True) if ours else forwarded(model, stream=True)

    async def read(connection: Connection) -> None:
        answer = await connection.ask(request)
        if answer.status != 200 or b"[DONE]" not in answer.body and b'"type":"end"' not in answer.body:
            raise RuntimeError(f"a stream broke off: {answer.body[-300:].decode(errors='replace')}")

    await over(process.port, streams, read)


async def chunks(plan: Plan) -> list[Figure]:
    """CPU per chunk: long streams minus short ones, so that a turn's own cost is a separate figure."""
    figures: list[Figure] = []
    async with stage(plan, "chunks") as here:
        for name, pause, burst, streams, long in _PACES:
            long = plan.pick(long, long // 2, 2 * _SHORT)
            streams = plan.pick(streams, streams, 2)
            ours, theirs = await _slopes(plan, here, (pause, burst, streams, long))
            target = None if burst > 1 else 1.3
            note = f"{streams} streams of {long}"
            figures.append(
                ratio(
                    f"CPU per chunk, {name}", [s for s, _ in ours], [s for s, _ in theirs], target, note=note
                )
            )
            if name == "back to back":
                fixed = [f for _, f in ours], [f for _, f in theirs]
    note = f"a stream less its chunks, from {_SHORT}-chunk streams"
    return [*figures, ratio("CPU per streamed turn, without chunks", *fixed, None, note=note)]


async def _slopes(
    plan: Plan, here: Stage, pace: tuple[int, int, int, int]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """For ChatHub and the bare forwarder, of each round: (per chunk, per stream) in microseconds."""
    pause, burst, streams, long = pace
    lengths = (_SHORT, long)
    for length in lengths:
        await here.hub.offer(_model(length, pause, burst))

    def kind(process: Process, length: int) -> partial:  # type: ignore[type-arg]
        count = streams if length == long else 2 * streams
        work = partial(_open, here, process, _model(length, pause, burst), count)
        return partial(spent, process, work, count)

    kinds = [kind(process, length) for process in (here.ours, here.theirs) for length in lengths]
    rounds = await in_turns(plan.rounds if pause == 0 else min(plan.rounds, 5), *kinds)
    pairs = []
    for short, whole in (rounds[:2], rounds[2:]):
        slopes = [(b - a) / (long - _SHORT) for a, b in zip(short, whole, strict=True)]
        pairs.append([(s, a - _SHORT * s) for s, a in zip(slopes, short, strict=True)])
    return pairs[0], pairs[1]


async def memory(plan: Plan) -> list[Figure]:
    """Memory per open stream, of many concurrent streams with one chunk a second."""
    streams = plan.pick(1000, 200, 3)
    async with stage(plan, "memory") as here:
        warm, slow = _model(2, 0, 1), _model(plan.pick(600, 600, 4), 1000, 1)
        await here.hub.offer(warm)
        await here.hub.offer(slow)
        weights = []
        for process in (here.ours, here.theirs):
            await _open(here, process, warm, 20)
            before = process.resident()
            weights.append((await _hold(here, process, slow, streams) - before) / streams / 1024)
    ours, theirs = weights
    name = f"memory per open stream, {streams} streams"
    return [Figure(name, f"{ours:.1f} KB", f"{theirs:.1f} KB", ours, 60, "KB")]


async def _hold(here: Stage, process: Process, model: str, streams: int) -> int:
    """Resident bytes once all streams are open and have received some chunks; the streams are closed then."""
    request = here.hub.chat(model, stream=True) if process is here.ours else forwarded(model, stream=True)
    begun: set[int] = set()

    async def read(number: int, connection: Connection) -> None:
        def watch(data: bytes) -> None:
            if _STAMP.search(data):
                begun.add(number)

        await connection.ask(request, watch)

    connections = [Connection(process.port) for _ in range(streams)]
    tasks = [asyncio.create_task(read(*pair)) for pair in enumerate(connections)]
    try:
        async with asyncio.timeout(30):
            while len(begun) < streams:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        return process.resident()
    finally:
        for task, connection in zip(tasks, connections, strict=True):
            task.cancel()
            connection.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def latency(plan: Plan) -> list[Figure]:
    """The delay of a chunk, from the provider's write to the client's read."""
    streams, seconds, rounds = plan.pick(500, 100, 2), plan.pick(6, 3), plan.pick(3, 1)
    results: dict[int, list[list[float]]] = {}
    async with stage(plan, "latency") as here:
        model = _model(5 * seconds, 200, 1)
        await here.hub.offer(model)
        for number in range(rounds):
            turn = (here.ours, here.theirs) if number % 2 else (here.theirs, here.ours)
            for process in turn:
                results.setdefault(process.pid, []).append(await delays(here, process, model, streams))
        ours, theirs = results[here.ours.pid], results[here.theirs.pid]
    tails = [[percentile(one, 0.99) for one in each] for each in (ours, theirs)]
    shown = [f"{statistics.median(t):.1f} ({min(t):.1f}) ms" for t in tails]
    middles = [statistics.median(sum(each, [])) for each in (ours, theirs)]
    note = f"p50 {middles[0]:.2f} against {middles[1]:.2f} ms; {len(ours[0])} chunks a round, {rounds} rounds"
    result = statistics.median(a / b for a, b in zip(*tails, strict=True))
    return [Figure(f"p99 chunk under way, {streams} streams x 5/s", *shown, result, 2.0, note=note)]


async def delays(here: Stage, process: Process, model: str, streams: int) -> list[float]:
    """Milliseconds for every chunk that came while all streams were open."""
    request = here.hub.chat(model, stream=True) if process is here.ours else forwarded(model, stream=True)
    found: list[float] = []
    waiting = streams

    async def read(connection: Connection) -> None:
        first = True

        def watch(data: bytes) -> None:
            nonlocal first, waiting
            now = time.monotonic_ns()
            for stamp in _STAMP.findall(data):
                waiting, first = waiting - first, False
                if not waiting:
                    found.append((now - int(stamp)) / 1e6)

        await connection.ask(request, watch)

    await over(process.port, streams, read)
    return found
