"""ChatHub under clients that come and go at random: ``python tests/bench/soak.py --minutes 3``.

A ChatHub process, a provider that thinks, stalls, cuts, floods and answers 429 and 500, and visitors that
chat, leave early, come back, stop, save, regenerate, edit, switch branches and delete, in a fixed number of
conversations of a fixed number of users. Afterwards all is quiet, and what is left of the storm is looked
for: replies that still live or were never settled, parts of theirs in the database, memory, descriptors,
threads, 5xx that nobody scripted, and anything in the server's log at ERROR level.

Prints what it found and exits with 1 if something is wrong. ``--seed`` repeats the visitors' choices; what
meets what still depends on time.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

# the tests' shared modules are one folder up, and this folder has a ``processes`` of its own
sys.path[0] = str(Path(__file__).parent.parent)

from api.chats import add_model  # noqa: E402
from processes import ChatHub  # noqa: E402
from scripted import Provider, chunk, data, reply, usage  # noqa: E402

_USERS, _CONVERSATIONS, _VISITORS = 6, 20, 40
_SETTINGS = {
    "CHATHUB_IDLE_SECONDS": "3",
    "CHATHUB_UNFOLLOWED_SECONDS": "4",
    "CHATHUB_REPLY_SECONDS": "12",
    "CHATHUB_HEARTBEAT_SECONDS": "1",
    "CHATHUB_WRITE_SECONDS": "3",
    "CHATHUB_REPLY_CHARACTERS": "60000",
}
# descriptors that may be open beyond those of an idle start
_SPARE = 4
# how much more memory an idle server may hold afterwards than it held under load in the second quarter, at
# the quietest tenth of its moments: by then what grows by nature has grown
_GROWTH = 1.03
# until free memory has been given back
_TRIM_SECONDS = 35
# a single request, with the longest reply and all its waiting
_REQUEST_SECONDS = 40
_TEXT = "一条很长的回复，带着🙂和👩‍👩‍👧，断断续续地来。And some Latin, too. "
# besides these: deleted by another visitor, another reply is running, trouble of the provider
_EXPECTED = {200, 404, 409, 429, 502, 504}


# --- the provider


def _pieces(count: int, size: int = 8) -> list[str]:
    return [_TEXT[i * 3 % 40 :][:size] for i in range(count)]


async def _misbehave(provider: Provider, request: web.Request) -> web.StreamResponse:
    """One of the behaviours of a provider, good ones most often."""
    count = random.randint(3, 80)
    parts = [chunk(piece) for piece in _pieces(count)]
    thoughts = [chunk(reasoning_content=piece) for piece in _pieces(count // 3)]
    kinds = {
        "good": (8, provider.stream(reply(*_pieces(count)), pause=random.choice([0, 0.005, 0.03]))),
        "thinks": (3, provider.stream([*thoughts, *reply(*_pieces(count))], pause=0.01)),
        "no usage": (1, provider.stream(parts)),
        "stalls": (2, _stalled(provider, parts[: count // 2])),
        "cuts": (2, provider.stream(parts, pause=0.01, cut=True)),
        "fails": (2, provider.stream([*parts, data({"error": {"message": "overloaded"}})], pause=0.01)),
        "floods": (1, provider.stream([chunk("洪" * 4000)] * 40)),
        "hangs": (1, _stalled(provider, [])),
        "429": (1, provider.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})),
        "500": (1, provider.answer(500, {"error": {"message": "oops"}})),
        "long": (1, provider.stream([*parts * 10, usage(5, 5)], pause=0.05)),
    }
    (name,) = random.choices(list(kinds), [weight for weight, _ in kinds.values()])
    return await kinds[name][1](request)


def _stalled(provider: Provider, parts: list[bytes]) -> Any:
    return provider.stream(parts, stall_after=len(parts))


# --- the visitors


@dataclass
class UsageMeter:
    """Counts of what happened."""

    turns: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


class Visitor:
    """Does one thing after another, each in a random conversation of a random user."""

    def __init__(
        self, session: aiohttp.ClientSession, users: list[dict[str, str]], tally: UsageMeter
    ) -> None:
        self._session = session
        self._users = users
        self._tally = tally

    async def visit(self, until: float) -> None:
        actions = {
            self.chat: 8,
            self.chat_and_leave: 4,
            self.chat_and_come_back: 4,
            self.chat_and_stop: 3,
            self.chat_and_save: 3,
            self.chat_without_stream: 1,
            self.ask_twice: 2,
            self.regenerate: 3,
            self.edit: 3,
            self.switch: 1,
            self.delete_message: 1,
            self.delete_conversation: 1,
            self.look_around: 2,
        }
        while time.monotonic() < until:
            (action,) = random.choices(list(actions), list(actions.values()))
            number = random.randrange(len(self._users))
            self.headers = self._users[number]
            self.conversation = f"soak-{number}-{random.randrange(_CONVERSATIONS)}"
            try:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    await action()
                self._tally.actions[action.__name__] += 1
            except Exception as error:
                self._tally.wrong[f"{action.__name__}: {type(error).__name__}: {error}"[:160]] += 1
            await asyncio.sleep(random.random() * 0.1)

    # --- one request each

    async def chat(self) -> None:
        await self._stream("POST", "/api/chat/stream", self._body())

    async def chat_and_leave(self) -> None:
        await self._stream("POST", "/api/chat/stream", self._body(), leave=random.randint(0, 12))

    async def chat_and_come_back(self) -> None:
        """The texts of all connections together equal the stored reply, if it still exists."""
        body = self._body() | {"resumable": True, "on_disconnect": "continue"}
        seen = await self._stream("POST", "/api/chat/stream", body, leave=random.randint(1, 12))
        for _ in range(3):
            if not seen.start or seen.last:
                break
            await asyncio.sleep(random.random() * 0.5)
            path = f"/api/chat/stream/{seen.start['message_id']}?last_event_id={seen.event_id}"
            leave = random.choice([None, random.randint(1, 12)])
            rest = await self._stream("GET", path, leave=leave)
            if not rest.start:
                return
            seen.add(rest)
        if seen.last and (stored := await self._stored(seen.start["message_id"])) is not None:
            texts = {"content": stored["content"], "reasoning": stored["reasoning"] or ""}
            if texts != seen.texts:
                self._tally.wrong["a resumed text differs from the stored one"] += 1

    async def chat_and_stop(self) -> None:
        seen = await self._stream("POST", "/api/chat/stream", self._body(), leave=random.randint(1, 8))
        if seen.start:
            key = random.choice(["message_id", "conversation_id"])
            await self._json("POST", "/api/chat/stop", {key: seen.start[key]})

    async def chat_and_save(self) -> None:
        seen = await self._stream("POST", "/api/chat/stream", self._body(), leave=random.randint(1, 8))
        if seen.start:
            content = random.choice([seen.texts["content"], "对话已被用户停止"])
            partial = {"conversation_id": self.conversation, "message_id": 1, "content": content}
            await self._json("POST", "/api/chat/save-partial", partial)

    async def chat_without_stream(self) -> None:
        await self._json("POST", "/api/chat", self._body())
        self._tally.turns += 1

    async def ask_twice(self) -> None:
        """The same request from two connections is one reply."""
        body = self._body() | {"client_message_id": f"{random.getrandbits(64):x}"}
        both = await asyncio.gather(
            self._stream("POST", "/api/chat/stream", body, leave=random.choice([None, 3])),
            self._stream("POST", "/api/chat/stream", body),
        )
        ids = {seen.start["message_id"] for seen in both if seen.start}
        # a turn that failed before any output may be asked again
        failed = any(seen.last.get("type") == "error" and not any(seen.texts.values()) for seen in both)
        if len(ids) > 1 and not failed:
            self._tally.wrong["a repeated request got a second reply"] += 1

    async def regenerate(self) -> None:
        if message := await self._message("assistant"):
            leave = random.choice([None, 2])
            await self._stream("POST", f"/api/messages/{message['id']}/regenerate", {}, leave=leave)

    async def edit(self) -> None:
        if message := await self._message("user"):
            body = {"content": f"改过的问题 {random.random()}"}
            await self._stream("PUT", f"/api/messages/{message['id']}", body, leave=random.choice([None, 2]))

    async def switch(self) -> None:
        if message := await self._message("assistant"):
            head = {"head_id": random.choice(message["sibling_ids"])}
            await self._json("PUT", f"/api/conversations/{self.conversation}", head)

    async def delete_message(self) -> None:
        if message := await self._message(random.choice(["user", "assistant"])):
            await self._json("DELETE", f"/api/messages/{message['id']}")

    async def delete_conversation(self) -> None:
        await self._json("DELETE", f"/api/conversations/{self.conversation}")

    async def look_around(self) -> None:
        for path in ("/api/conversations", "/api/stats", "/api/chat/active", "/api/models"):
            await self._json("GET", path)

    # --- how

    def _body(self) -> dict[str, Any]:
        body = {"message": f"问题 {random.random()}", "model": "test-model"}
        if random.random() < 0.3:
            body["on_disconnect"] = random.choice(["stop", "continue"])
        if random.random() < 0.1:
            body["auto_title"] = True
        return body | {"conversation_id": self.conversation}

    async def _message(self, role: str) -> dict[str, Any] | None:
        messages = await self._json("GET", f"/api/conversations/{self.conversation}/messages")
        fitting = [m for m in messages if m["role"] == role] if isinstance(messages, list) else []
        return random.choice(fitting) if fitting else None

    async def _stored(self, message_id: int) -> dict[str, Any] | None:
        messages = await self._json("GET", f"/api/conversations/{self.conversation}/messages")
        found = [m for m in messages if m["id"] == message_id] if isinstance(messages, list) else []
        return found[0] if found else None

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, path, json=body, headers=self.headers) as response:
            self._note(method, path, response.status)
            return await response.json()

    async def _stream(self, method: str, path: str, body: Any = None, leave: int | None = None) -> "Seen":
        """Follow a stream to its end, or for ``leave`` events."""
        seen = Seen()
        async with self._session.request(method, path, json=body, headers=self.headers) as response:
            self._note(method, path, response.status)
            if response.status != 200:
                return seen
            async for line in response.content:
                seen.take(line.decode())
                if leave is not None and seen.events >= leave:
                    response.close()
                    return seen
        if not seen.last:
            self._tally.wrong["a stream closed without end or error"] += 1
            return seen
        self._tally.turns += 1
        reason, status = seen.last["finish_reason"], seen.last.get("status", "")
        self._tally.endings[f"{seen.last['type']} {reason} {status}".strip()] += 1
        if status not in ("", 429, 502, 504):
            self._tally.wrong[f"an error event with {status}: {seen.last['error']}"] += 1
        return seen

    def _note(self, method: str, path: str, status: int) -> None:
        if status == 200:
            return
        short = "/".join("…" if part[-1:].isdigit() else part for part in path.partition("?")[0].split("/"))
        self._tally.statuses[f"{status} {method} {short}"] += 1
        if status not in _EXPECTED:
            self._tally.wrong[f"HTTP {status} at {method} {short}"] += 1


class Seen:
    """What a client has received of a reply."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self.texts = {"content": "", "reasoning": ""}
        self.event_id = "0-0"
        self.events = 0
        self._event_id = self.event_id

    def take(self, line: str) -> None:
        if line.startswith("id:"):
            self._event_id = line[3:].strip()
        if not line.startswith("data: "):
            return
        event = json.loads(line[6:])
        self.events += 1
        # the id stands in front of its data
        self.event_id = self._event_id
        if event["type"] == "start":
            self.start = event
        elif event["type"] in ("end", "error"):
            self.last = event
        else:
            self.texts[event["type"]] += event["content"]

    def add(self, rest: "Seen") -> None:
        for kind in self.texts:
            self.texts[kind] += rest.texts[kind]
        self.last, self.event_id = rest.last, rest.event_id


# --- the server from outside


class Gauge:
    """Resident memory, descriptors and threads of a process, sampled regularly."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._began = time.monotonic()
        self.samples: list[tuple[float, float, int, int]] = []

    def look(self) -> tuple[float, float, int, int]:
        pages = int((self._folder / "statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        files = len(os.listdir(self._folder / "fd"))
        threads = len(os.listdir(self._folder / "task"))
        self.samples.append((time.monotonic() - self._began, resident, files, threads))
        return self.samples[-1]

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(1)

    def at(self, share: float) -> tuple[float, float, int, int]:
        return self.samples[min(int(len(self.samples) * share), len(self.samples) - 1)]

    def floor(self, begin: float, end: float) -> float:
        """The memory at the quietest tenth of the samples between two shares of the time, in MiB."""
        count = len(self.samples)
        resident = sorted(sample[1] for sample in self.samples[int(count * begin) : int(count * end)])
        return resident[len(resident) // 10]


def _show(name: str, sample: tuple[float, float, int, int]) -> None:
    seconds, resident, files, threads = sample
    print(f"  {name:<12}{seconds:6.0f} s {resident:7.1f} MiB {files:5} descriptors {threads:3} threads")


async def _quiet(session: aiohttp.ClientSession, users: list[dict[str, str]]) -> int:
    """Wait until no reply is running; returns how many still are."""
    deadline = time.monotonic() + 30
    while True:
        live = 0
        for headers in users:
            async with session.get("/api/chat/active", headers=headers) as response:
                live += len(await response.json())
        if not live or time.monotonic() > deadline:
            return live
        await asyncio.sleep(0.5)


async def _settled(gauge: Gauge) -> tuple[float, float, int, int]:
    """The last sample, once unused connections to the provider have been closed (after 15 seconds) and free
    memory has been returned to the OS.
    """
    await asyncio.sleep(_TRIM_SECONDS)
    return gauge.look()


def _count(database: Path, sql: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        count: int = connection.execute(sql).fetchone()[0]
    return count


_LEFT_OVERS = {
    "messages still streaming": "SELECT count(*) FROM messages WHERE status = 'streaming'",
    "rows of parts": "SELECT count(*) FROM message_parts",
    "conversations whose count is wrong": """
        WITH RECURSIVE branch (conversation_id, id) AS (
            SELECT id, head_id FROM conversations WHERE head_id IS NOT NULL
            UNION ALL
            SELECT branch.conversation_id, parent_id FROM branch JOIN messages USING (id)
            WHERE parent_id IS NOT NULL)
        SELECT count(*) FROM conversations WHERE message_count <>
            (SELECT count(*) FROM branch WHERE branch.conversation_id = conversations.id)""",
}


async def _sign_in(session: aiohttp.ClientSession, username: str, password: str) -> dict[str, str]:
    named = {"username": username, "password": password}
    async with session.post("/api/auth/login", json=named) as response:
        assert response.status == 200, await response.text()
        return {"Authorization": "Bearer " + (await response.json())["token"]}


async def _users(session: aiohttp.ClientSession, provider: Provider) -> list[dict[str, str]]:
    admin = await _sign_in(session, "admin", "admin123")
    await add_model(session, admin, provider.base_url, context_window=4000)
    users = []
    for number in range(_USERS):
        user = {"username": f"visitor{number}", "email": f"v{number}@example.com", "password": "password123"}
        limited = user | {"usage_limit": 10**15}
        async with session.post("/api/auth/admin/register", json=limited, headers=admin) as response:
            assert response.status < 300, await response.text()
        users.append(await _sign_in(session, user["username"], user["password"]))
    return users


def _report(tally: UsageMeter, gauge: Gauge, before: Any, after: Any) -> None:
    print(f"turns followed to their end: {tally.turns}, actions: {sum(tally.actions.values())}")
    for title, counter in (
        ("actions", tally.actions),
        ("how streams ended", tally.endings),
        ("other answers than 200", tally.statuses),
    ):
        print(f"{title}:")
        for name, count in counter.most_common():
            print(f"  {count:6}  {name}")
    print("the server:")
    _show("idle before", before)
    for name, share in (("first", 0.02), ("quarter", 0.25), ("half", 0.5), ("end", 1.0)):
        _show(name, gauge.at(share))
    _show("idle after", after)


async def _soak(minutes: float, folder: Path) -> int:
    tally = UsageMeter()
    database = folder / "soak.db"
    async with Provider() as provider, ChatHub(database, **_SETTINGS) as hub:
        provider.script = lambda request: _misbehave(provider, request)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(hub.base_url, connector=connector) as session:
            users = await _users(session, provider)
            gauge = Gauge(hub.pid)
            before = gauge.look()
            until = time.monotonic() + minutes * 60
            watching = asyncio.create_task(gauge.watch())
            await asyncio.gather(*(Visitor(session, users, tally).visit(until) for _ in range(_VISITORS)))
            watching.cancel()
            wrong = tally.wrong
            if live := await _quiet(session, users):
                wrong["replies still live"] = live
        after = await _settled(Gauge(hub.pid))
        _report(tally, gauge, before, after)
        floors = [gauge.floor(quarter / 4, (quarter + 1) / 4) for quarter in range(4)]
        print("floor of memory in each quarter:", ", ".join(f"{floor:.1f} MiB" for floor in floors))
        if after[1] > floors[1] * _GROWTH:
            wrong["MiB that memory grew by"] = round(after[1] - floors[1])
        if after[2] > before[2] + _SPARE:
            wrong["descriptors left open"] = after[2] - before[2]
        if after[3] > before[3] + 4:
            wrong["threads left"] = after[3] - before[3]
        for name, sql in _LEFT_OVERS.items():
            if count := _count(database, sql):
                wrong[name] = count
        for line in hub.errors.splitlines():
            if " ERROR " in line or " CRITICAL " in line or line.startswith("Traceback"):
                wrong[f"in the log: {line[24:160]}"] += 1
        if wrong:
            words = [line for line in hub.errors.splitlines() if " INFO " not in line]
            print("\n".join(["the server's last words:", *words[-80:]]))
    print("wrong:" if wrong else "nothing wrong")
    for name, count in wrong.most_common():
        print(f"  {count:6}  {name}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="ChatHub under clients that come and go at random.")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    # the server closes connections to the provider in the middle of streams all the time
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="chathub-soak-") as folder:
        return asyncio.run(_soak(arguments.minutes, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
