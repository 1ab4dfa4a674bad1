"""Random operations on stored responses: after each the storage is what the rows take, no row is left without
its response, and what is read again is what was stored."""

import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from msgspec import Raw
from stored import storage_by_user

from chathub.accounts.caller import Caller
from chathub.app_keys import DB, STORED_RESPONSES
from chathub.config import Config
from chathub.database.rows.responses import StoredResponse
from chathub.errors import ChatHubError
from chathub.schemas.responses import ItemsPage
from chathub.stored_responses import log
from chathub.stored_responses.events import Batch, framed
from chathub.stored_responses.repeats import RepeatedRequest, RequestKey
from chathub.stored_responses.request import packed_items
from chathub.stored_responses.responses import StoredResponses
from chathub.stored_responses.run import CANCELLED

ITEMS = [f"msg_{number}" for number in range(12)]
KEYS = ["one", "two", "three"]
USERS = (1, 2)


@dataclass
class Known:
    """A response as it should be."""

    id: int
    public_id: str
    user_id: int
    previous: "Known | None"
    input: list[Any]
    key: RequestKey | None
    events: list[bytes] = field(default_factory=list)
    output: list[Any] = field(default_factory=list)
    has_ended: bool = False
    is_deleted: bool = False
    is_old: bool = False


class World:
    """The stored responses of two users, and what they should be."""

    def __init__(self, client: TestClient, database: Path, chance: random.Random) -> None:
        assert client.app is not None
        self.db, self.database, self.chance = client.app[DB], database, chance
        self.stored: StoredResponses = client.app[STORED_RESPONSES]
        self.known: list[Known] = []
        self.callers = {id: Caller(id, f"user{id}", "user") for id in USERS}
        self.count = 0

    # --- operations

    async def begin(self) -> None:
        """Begin a response, which may continue another one, and may be repeated."""
        user_id = self.chance.choice(USERS)
        earlier = [each for each in self.visible(user_id) if each.has_ended]
        previous = self.chance.choice(earlier) if earlier and self.chance.random() < 0.5 else None
        self.count += 1
        public_id = f"resp_{self.count:048x}"
        given = [self._item("user") for _ in range(self.chance.randrange(4))]
        name, digest = self.chance.choice(KEYS), self.chance.choice("ab")
        key = RequestKey(name, digest) if self.chance.random() < 0.3 else None
        fields = {"input": Raw(json.dumps(given).encode())}
        new = log.NewResponse(
            public_id,
            user_id,
            await self._row(previous) if previous else None,
            "m",
            False,
            1_800_000_000_000,
            key,
            packed_items(fields, public_id),
        )
        holder = self._holder(user_id, key)
        first = self._events(0) if self.chance.random() < 0.7 else []
        batch = Batch(0, len(first) - 1, b"".join(first)) if first else None
        try:
            id = await self.db.write(log.begin, new, batch)
        except RepeatedRequest as repeated:
            assert holder and holder.key == key and holder.public_id == repeated.public_id
        except ChatHubError as error:
            assert error.reason.code == "idempotency_key_reused" and holder and holder.key != key
        else:
            assert holder is None
            self.known.append(Known(id, public_id, user_id, previous, given, key, list(first)))

    async def append(self) -> None:
        if known := self._running():
            events = self._events(len(known.events))
            await self.db.write(log.append, known.id, _batch(known, events))

    async def finish(self) -> None:
        """End a response: its log is folded."""
        if known := self._running():
            known.output = [self._item("assistant") for _ in range(self.chance.randrange(4))]
            response = {"id": known.public_id, "status": "completed", "output": known.output}
            event = framed({"type": "response.completed", "response": response}, len(known.events))
            await self.db.write(log.end, known.id, _batch(known, [event]), "completed")
            known.has_ended = True

    async def cut(self) -> None:
        """End a response before it is whole."""
        if known := self._running():
            head = {"id": known.public_id, "status": "in_progress", "output": []}
            batch = await self.db.write(log.cut, known.id, CANCELLED, head)
            assert batch.first == batch.last == len(known.events)
            known.events.append(batch.data)
            known.has_ended = True

    async def delete(self) -> None:
        ended = [each for id in USERS for each in self.visible(id) if each.has_ended]
        if ended:
            known = self.chance.choice(ended)
            await self.stored.delete(await self._row(known))
            known.is_deleted = True
            if not self._is_continued(known):
                self.known.remove(known)

    async def expire(self) -> None:
        """Let the time of some be over, and remove what may go."""
        for known in self.chance.sample(self.known, len(self.known) // 4):
            known.is_old = True
            with closing(sqlite3.connect(self.database)) as connection, connection:
                connection.execute("UPDATE responses SET created_at = 1 WHERE id = ?", (known.id,))
        while await self.stored.remove_some():
            pass
        while gone := [
            each
            for each in self.known
            if each.has_ended and (each.is_old or each.is_deleted) and not self._is_continued(each)
        ]:
            self.known = [each for each in self.known if each not in gone]

    # --- what should be

    async def _row(self, known: Known) -> StoredResponse:
        return await self.stored.find(self.callers[known.user_id], known.public_id)

    def visible(self, user_id: int) -> list[Known]:
        return [each for each in self.known if each.user_id == user_id and not each.is_deleted]

    def _holder(self, user_id: int, key: RequestKey | None) -> Known | None:
        """The response that an idempotency key stands for, unless that was too long ago."""
        for known in self.visible(user_id):
            if key and known.key and known.key.name == key.name and not known.is_old:
                return known
        return None

    def _is_continued(self, known: Known) -> bool:
        return any(each.previous is known for each in self.known)

    def _running(self) -> Known | None:
        running = [each for each in self.known if not each.has_ended]
        return self.chance.choice(running) if running else None

    def _item(self, role: str) -> dict[str, Any]:
        text = "x" * self.chance.choice((1, 50, 3000)) + str(self.chance.random())
        item = {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
        return item | ({"id": self.chance.choice(ITEMS)} if self.chance.random() < 0.7 else {})

    def _events(self, first: int) -> list[bytes]:
        texts = ["字" * self.chance.choice((1, 100, 900)) for _ in range(self.chance.randrange(1, 6))]
        return [
            framed({"type": "response.output_text.delta", "delta": text, "output_index": 0}, first + number)
            for number, text in enumerate(texts)
        ]

    async def check(self) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            kept, counted = storage_by_user(connection)
            assert kept == counted
            ids = {each.id for each in self.known}
            assert {id for (id,) in connection.execute("SELECT id FROM responses")} == ids
            for table in ("response_events", "response_items"):
                found = {id for (id,) in connection.execute(f"SELECT response_id FROM {table}")}
                assert found <= ids, table
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for known in self.known:
            if not known.is_deleted and known.has_ended:
                await self._check_readable(known)
        for user_id in USERS:
            await self._check_items(user_id)

    async def _check_readable(self, known: Known) -> None:
        caller = self.callers[known.user_id]
        stored = await self.stored.find(caller, known.public_id)
        after = self.chance.randrange(-1, len(known.events) + 1)
        read = b"".join([piece async for piece in self.stored.follow(stored, after)])
        assert read == b"".join(known.events[after + 1 :])
        page = json.loads(await self.stored.input_page(caller, stored, ItemsPage(limit=100)))
        assert len(page["data"]) == len(known.input)

    async def _check_items(self, user_id: int) -> None:
        """Each item is found in the newest response that has it; in its output before its input."""
        expected: dict[str, str] = {}
        for known in self.visible(user_id):
            for item in [*known.input, *(known.output if known.has_ended else [])]:
                if "id" in item:
                    expected[item["id"]] = item["content"][0]["text"]
        found = await self.stored.find_items(self.callers[user_id], ITEMS)
        assert {id: json.loads(item)["content"][0]["text"] for id, item in found.items()} == expected


def _batch(known: Known, events: list[bytes]) -> Batch:
    first = len(known.events)
    known.events += events
    return Batch(first, len(known.events) - 1, b"".join(events))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(4))
async def test_storage_rows_and_events_agree_after_every_operation(
    client: TestClient, config: Config, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # so that a log is folded into several blocks
    monkeypatch.setattr(log, "_BLOCK", 4000)
    world = World(client, config.database, random.Random(seed))
    kinds = [world.begin, world.append, world.finish, world.cut, world.delete, world.expire]
    done: Counter[str] = Counter()
    for number in range(120):
        (operation,) = world.chance.choices(kinds, (6, 5, 4, 1, 2, 1 if number > 20 else 0))
        await operation()
        done[operation.__name__] += 1
        await world.check()
    assert len(done) == len(kinds)
    # nothing is left when everything has ended and is deleted
    while world._running():
        await world.finish()
    while any(world.visible(id) for id in USERS):
        await world.delete()
    await world.expire()
    await world.check()
    assert world.known == [] and not any((await _sizes(config)).values())


async def _sizes(config: Config) -> dict[int, int]:
    with closing(sqlite3.connect(config.database)) as connection:
        return storage_by_user(connection)[0]
