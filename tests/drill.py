"""A drill for developers and doubters: ``python tests/drill.py [--rounds N] [--only SCENE]``.

A real server is killed in the middle of streams, its disk fills up, its file is locked, and backup, restore,
upgrade and undo are killed wherever they stand. A line for each scene tells what was lost. Exit code 1 if
anything was lost but the last second of what was being written.
"""

import argparse
import asyncio
import random
import resource
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import old_databases
from api.chats import messages_of, stream
from crashes import Dictation, again, ask, by_question, follow_until, ready, within
from processes import ChatHub
from scripted import Provider, chunk

from chathub.database.copying import check_copy
from chathub.database.migrations import migrations_in
from chathub.database.opening import locked

STREAMS = 10
# seconds of text that a kill may lose: the interval of saves, and their duration on a busy machine
LOST = 1.5
NEWEST = len(migrations_in(old_databases.FOLDER))


@dataclass
class Settlement:
    """The result of a scene: how often each state occurred, and what should not have occurred."""

    states: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    note: str = ""

    def __str__(self) -> str:
        states = ", ".join(f"{count} x {state}" for state, count in self.states.most_common())
        return "; ".join(part for part in (states, self.note, *self.wrong[:3]) if part)


async def killed_streams(folder: Path, rounds: int) -> Settlement:
    """Ten streams, kill -9 at a random moment, a new start: what is left of each?"""
    found, worst = Settlement(), 0.0
    for number in range(max(rounds // 10, 1)):
        async with Provider() as provider:
            questions = [f"question-{each}" for each in range(STREAMS)]
            dictations = {question: Dictation() for question in questions}
            provider.script = by_question(dict(dictations))
            database = folder / f"streams-{number}.db"
            async with ChatHub(database) as hub, AsyncExitStack() as open_:
                client, admin = await ready(hub, provider)
                for question in questions:
                    response = await ask(client, admin, question, conversation_id=question)
                    await open_.enter_async_context(response)
                    await follow_until(response, '"content"')
                await asyncio.sleep(random.uniform(0, 3))
                killed = time.monotonic()
                hub.kill()
            async with ChatHub(database) as hub:
                client, admin = await again(hub)
                for question, dictation in dictations.items():
                    asked, answer = await messages_of(client, admin, question)
                    kept = len(answer["content"])
                    if asked["content"] != question or not dictation.text.startswith(answer["content"]):
                        found.wrong.append(f"{question} holds another text")
                    worst = max(worst, killed - dictation.moment_of(kept))
                    found.states[answer["status"]] += 1
    found.note = f"at most the last {worst:.1f} s of text"
    if worst > LOST:
        found.wrong.append(f"{worst:.1f} s of text were lost")
    return found


async def trouble_over_the_end(
    folder: Path, name: str, begin: Callable[[ChatHub, Path], Callable[[], None]]
) -> Settlement:
    """Replies end while nothing can be stored; then it can. Are they complete?"""
    found, database = Settlement(), folder / f"{name}.db"
    async with Provider() as provider, ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        provider.script = provider.stream([chunk("字" * 50)] * 40 + [chunk(finish="stop")], pause=0.05)
        ways = [f"c{number}" for number in range(STREAMS)]
        asked = [
            asyncio.create_task(stream(client, admin, conversation_id=way))  # type: ignore[arg-type]
            for way in ways
        ]
        await within(30, lambda: _begun(client, admin, ways))
        end = begin(hub, database)
        try:
            ends = [(await each)[-1] for each in asked]
            found.states |= Counter(
                f"stream ends with {event['type']} {event.get('status', '')}" for event in ends
            )
            shown = [len((await messages_of(client, admin, way))[-1]["content"]) for way in ways]
            if min(shown) < 2000:
                found.wrong.append(f"a listing shows {min(shown)} of 2000 characters meanwhile")
        finally:
            end()
        for way in ways:
            try:
                await within(30, lambda way=way: _is_done(client, admin, way))
            except TimeoutError:
                found.wrong.append(f"{way} was not stored afterwards")
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        stored = [len((await messages_of(client, admin, way))[-1]["content"]) for way in ways]
    found.note = f"{sum(stored)} of {2000 * len(ways)} characters after a new start"
    if sum(stored) != 2000 * len(ways):
        found.wrong.append("text was lost")
    return found


async def _begun(client: Any, admin: Any, ways: list[str]) -> bool:
    listed = await (await client.get("/api/conversations", headers=admin)).json()
    return len(listed) == len(ways)


async def _is_done(client: Any, admin: Any, way: str) -> bool:
    answer: dict[str, Any] = (await messages_of(client, admin, way))[-1]
    return answer["status"] == "done" and len(answer["content"]) == 2000


async def full_disk(folder: Path, rounds: int) -> Settlement:
    """No file of the server may grow, from the middle of its streams until after their ends."""

    def fill(hub: ChatHub, database: Path) -> Callable[[], None]:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        return lambda: resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited) and None

    return await trouble_over_the_end(folder, "full", fill)


async def locked_file(folder: Path, rounds: int) -> Settlement:
    """Another program holds SQLite's lock meanwhile."""

    def lock(hub: ChatHub, database: Path) -> Callable[[], None]:
        other = sqlite3.connect(database, isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        return other.close

    return await trouble_over_the_end(folder, "locked", lock)


async def killed_command(
    database: Path, command: tuple[str, ...], longest: float, check: Callable[[], str]
) -> str:
    """Run a command, kill -9 it somewhere, and look at what is there."""
    hub = ChatHub(database, *command)
    hub.launch()
    await asyncio.sleep(random.uniform(0.1, longest))
    hub.reap()
    return await asyncio.to_thread(check)


async def seconds_of(database: Path, *command: str) -> float:
    began, hub = time.monotonic(), ChatHub(database, *command)
    hub.launch()
    try:
        code = await hub.ended(120)
        assert code == 0, hub.errors
    finally:
        hub.reap()
    return time.monotonic() - began


def filled(path: Path, version: int, word: str) -> None:
    """A database of some megabytes, marked by a word."""
    old_databases.make(path, version)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO settings (name, value) VALUES (?, ?)",
            [("word", word), *((f"filler {number}", "x" * 4000) for number in range(3000))],
        )
    path.chmod(0o600)


def word_of(path: Path) -> str:
    """The word that marks a database file, which must be complete."""
    check_copy(path)
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        ((word,),) = connection.execute("SELECT value FROM settings WHERE name = 'word'").fetchall()
        ((rows,),) = connection.execute("SELECT count(*) FROM settings WHERE name LIKE 'filler %'").fetchall()
    assert rows == 3000, rows
    return f"{word} (version {version})"


def settled(database: Path) -> str:
    """The database that the next start would have."""
    with locked(database) as held:
        with closing(sqlite3.connect(held.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return word_of(held.file)


async def many(rounds: int, one: Callable[[int], Awaitable[str]], good: set[str]) -> Settlement:
    found = Settlement()
    for number in range(rounds):
        try:
            state = await one(number)
        except Exception as error:
            state = f"{type(error).__name__}: {error}"
        found.states[state] += 1
        if state not in good:
            found.wrong.append(state)
    return found


async def killed_backups(folder: Path, rounds: int) -> Settlement:
    """There is a complete backup, or none; the database is unchanged."""
    database = folder / "backed-up.db"
    filled(database, NEWEST, "the database")
    longest = await seconds_of(database, "backup", str(folder / "first.db"))

    async def one(number: int) -> str:
        file = folder / f"backup-{number}.db"

        def look() -> str:
            settled(database)
            return f"a whole backup of {word_of(file)}" if file.exists() else "no backup"

        return await killed_command(database, ("backup", str(file)), longest, look)

    return await many(rounds, one, {"no backup", f"a whole backup of the database (version {NEWEST})"})


async def killed_restores(folder: Path, rounds: int) -> Settlement:
    """The old database or the backup."""
    database, backup = folder / "restored.db", folder / "backup.db"
    filled(backup, NEWEST, "the backup")
    filled(database, NEWEST, "the old one")
    longest = await seconds_of(database, "restore", str(backup))

    async def one(number: int) -> str:
        for path in folder.glob("restored.db*"):
            path.unlink()
        filled(database, NEWEST, "the old one")
        return await killed_command(database, ("restore", str(backup)), longest, lambda: settled(database))

    return await many(rounds, one, {f"{word} (version {NEWEST})" for word in ("the old one", "the backup")})


async def killed_upgrades(folder: Path, rounds: int) -> Settlement:
    """The old version, the newest, or one between that the next start upgrades; and a copy of the old one."""
    database = folder / "upgraded.db"

    async def one(number: int) -> str:
        for path in folder.glob("upgraded.db*"):
            path.unlink()
        filled(database, 1 + number % (NEWEST - 1), "it")
        before = old_databases.counts(database)
        # after the upgrade the process goes on as a server: the kill comes in any case
        await killed_command(database, (), 1.5, lambda: "")
        state, words = await asyncio.to_thread(settled, database), "the newest version"
        if old_databases.counts(database) == before and not state.endswith(f"(version {NEWEST})"):
            return "the old version"
        if not state.endswith(f"(version {NEWEST})"):
            # the next start continues the upgrade
            words = "one between, brought up by the next start"
            async with ChatHub(database) as hub:
                hub.signal(signal.SIGTERM)
                await hub.ended()
            state = await asyncio.to_thread(settled, database)
        (kept,) = folder.glob("upgraded.db.before-????")
        assert old_databases.counts(kept) == before
        return words if state.endswith(f"(version {NEWEST})") else state

    return await many(
        rounds, one, {"the newest version", "the old version", "one between, brought up by the next start"}
    )


async def killed_undos(folder: Path, rounds: int) -> Settlement:
    """The upgraded database or the one from before."""
    database, copy = folder / "undone.db", folder / "undone.db.before-0009"

    def lay() -> None:
        for path in folder.glob("undone.db*"):
            path.unlink()
        filled(database, NEWEST, "after")
        filled(copy, 8, "before")

    lay()
    longest = await seconds_of(database, "undo-upgrade", "--yes")

    async def one(number: int) -> str:
        lay()
        return await killed_command(database, ("undo-upgrade", "--yes"), longest, lambda: settled(database))

    return await many(rounds, one, {f"after (version {NEWEST})", "before (version 8)"})


SCENES: dict[str, Callable[[Path, int], Awaitable[Settlement]]] = {
    "streams": killed_streams,
    "full-disk": full_disk,
    "lock": locked_file,
    "backup": killed_backups,
    "restore": killed_restores,
    "upgrade": killed_upgrades,
    "undo": killed_undos,
}


async def run(names: list[str], rounds: int) -> int:
    """Run the scenes; returns how many failed."""
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            outcome = await SCENES[name](Path(folder), rounds)
        failed += bool(outcome.wrong)
        print(f"{'WRONG' if outcome.wrong else 'good '} {name:10} {outcome}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="kills of each command (default: 50)")
    parser.add_argument("--only", action="append", choices=SCENES, help="a scene; may be given often")
    arguments = parser.parse_args()
    return 1 if asyncio.run(run(arguments.only or list(SCENES), arguments.rounds)) else 0


if __name__ == "__main__":
    sys.exit(main())
