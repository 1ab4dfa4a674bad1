"""Figures 4, 5 and 6: start, idle memory, and other users' requests while many log in."""

import asyncio
import statistics
import time

from figures_requests import Plan, stage
from load import Connection, Hub, check, message, over
from processes import Process, bare, chathub
from table import Figure, percentile

# as many as may wait in the queue from one address
_STORM = 8


async def start(plan: Plan) -> list[Figure]:
    """From spawning the process to the first response, on an existing database."""
    rounds = plan.pick(9, 4)
    (plan.folder / "bytes").write_bytes(b"{}")
    first, _ = await _start(chathub(plan.folder, uvloop=plan.uvloop, database="start.db"), "/api/health")
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(rounds):
        ours.append(
            await _start(chathub(plan.folder, uvloop=plan.uvloop, database="start.db"), "/api/health")
        )
        theirs.append(await _start(bare(plan.folder, uvloop=plan.uvloop), "/"))
    walls = [[wall for wall, _ in each] for each in (ours, theirs)]
    cpus = [statistics.median(cpu for _, cpu in each) for each in (ours, theirs)]
    shown = [f"{statistics.median(w):.0f} ({min(w):.0f}) ms" for w in walls]
    result = statistics.median(a / b for a, b in zip(*walls, strict=True))
    note = f"first start with founding {first:.0f} ms; CPU {cpus[0]:.0f} against {cpus[1]:.0f} ms"
    return [Figure("second start to first answer", *shown, result, 1.5, note=note)]


async def _start(process: Process, path: str) -> tuple[float, float]:
    """Milliseconds until the first 200, and of CPU time until then; the server is stopped again."""
    with process:
        connection = Connection(process.port)
        check(await connection.ask(message("GET", path)))
        result = (time.perf_counter() - process.started) * 1000, process.cpu() * 1000
        connection.close()
        return result


async def idle(plan: Plan) -> list[Figure]:
    """Resident memory of a server after one request; a second start, so that the database existed."""
    sizes = []
    for _ in range(2):
        with chathub(plan.folder, uvloop=plan.uvloop, database="idle.db") as ours:
            await Hub(ours.port).call("GET", "/api/health")
            await asyncio.sleep(1)
            sizes.append(ours.resident() / 2**20)
    with bare(plan.folder, uvloop=plan.uvloop) as theirs:
        await Hub(theirs.port).call("GET", "/")
        floor = theirs.resident() / 2**20
    note = f"{sizes[0]:.1f} MB after the first start, which hashes and migrates"
    return [
        Figure("resident memory, idle", f"{sizes[1]:.1f} MB", f"{floor:.1f} MB", sizes[1], 60, "MB", note)
    ]


async def storm(plan: Plan) -> list[Figure]:
    """8 users log in at once while another one lists conversations at a steady rate."""
    rounds, people = plan.pick(6, 2), plan.pick(_STORM, _STORM, 2)
    async with stage(plan, "storm") as here:
        hub = here.hub
        await hub.offer("bench-2-0-1")
        ask = hub.chat("bench-2-0-1", stream=False)
        connection = Connection(hub.port)
        for _ in range(20):
            check(await connection.ask(ask))
        connection.close()
        calm = await _listing(hub, asyncio.sleep(1.5))
        delays: list[float] = []
        took: list[float] = []
        for _ in range(rounds):
            began = time.perf_counter()
            delays += await _listing(hub, _sign_in_all(hub, people))
            took.append(time.perf_counter() - began)
    tail = percentile(delays, 0.99)
    note = (
        f"p50 {statistics.median(delays):.1f}, max {max(delays):.1f} ms of {len(delays)}; without logins p99 "
        f"{percentile(calm, 0.99):.1f} ms; {people} logins took {statistics.median(took):.2f} s"
    )
    return [
        Figure(f"p99 of other requests, {people} logins at once", f"{tail:.1f} ms", "", tail, 50, "ms", note)
    ]


async def _sign_in_all(hub: Hub, people: int) -> None:
    request = message("POST", "/api/auth/login", body={"username": "user", "password": "user123"})

    async def one(connection: Connection) -> None:
        check(await connection.ask(request))

    await over(hub.port, people, one)


async def _listing(hub: Hub, meanwhile) -> list[float]:  # type: ignore[no-untyped-def]
    """Milliseconds of one request every 10 ms, each from when it was due, until ``meanwhile`` is done."""
    busy = asyncio.ensure_future(meanwhile)
    request = message("GET", "/api/conversations?limit=20", hub.token)
    delays: list[float] = []
    spare = [Connection(hub.port) for _ in range(4)]
    pending: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        # a late response must not delay the next request
        connection = spare.pop() if spare else Connection(hub.port)
        check(await connection.ask(request))
        delays.append((time.perf_counter() - due) * 1000)
        spare.append(connection)

    due = time.perf_counter()
    while not busy.done():
        task = asyncio.create_task(one(due))
        pending.add(task)
        task.add_done_callback(pending.discard)
        due += 0.01
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await busy
    await asyncio.gather(*pending)
    for connection in spare:
        connection.close()
    return delays
