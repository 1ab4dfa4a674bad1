"""ChatHub as a process that is killed, asked to end, started twice or started wrongly."""

import asyncio
import json
import signal
import sqlite3
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from api.chats import Headers, add_model, messages_of, read_events, stream, text_of
from conftest import sign_in
from processes import ChatHub, run_to_its_end
from scripted import Provider, Script, chunk, reply

# what a crash may cost: what came since the last save, once a second, and the time that took
_LOST_SECONDS = 2.0
_TEXT = "服务器🙂断电，文字还在：家庭👩‍👩‍👧‍👦与国旗🇨🇳，𠀀𠮷野家。abc "


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "chathub.db"


async def within(seconds: float, condition: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is truthy; gives it."""
    async with asyncio.timeout(seconds):
        while not (answer := await condition()):
            await asyncio.sleep(0.02)
        return answer


class Dictation:
    """A script that streams pieces of a known text for ever, and remembers when it had sent how much."""

    def __init__(self, pieces: int = 20, *, thinks: int = 0) -> None:
        self._pause = 1 / pieces
        self._thinks = thinks
        self.thought = self.text = ""
        self.sent: list[tuple[float, int]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(10_000):
            piece = "".join(_TEXT[(number * 5 + i) % len(_TEXT)] for i in range(1 + number % 7))
            if number < self._thinks:
                self.thought += piece
                await response.write(chunk(reasoning_content=piece))
            else:
                self.text += piece
                # cut anywhere, also inside a character: the network does
                event = chunk(piece)
                cut = number * 13 % len(event)
                await response.write(event[:cut])
                await response.write(event[cut:])
            self.sent.append((time.monotonic(), len(self.thought) + len(self.text)))
            await asyncio.sleep(self._pause)
        raise AssertionError("nobody ended this")

    def length_at(self, moment: float) -> int:
        return max([length for at, length in self.sent if at <= moment], default=0)


def by_question(scripts: dict[str, Script]) -> Script:
    """A script for each last question."""

    async def run(request: web.Request) -> web.StreamResponse:
        question = json.loads(await request.read())["messages"][-1]["content"]
        return await scripts[question](request)

    return run


async def follow_until(response: aiohttp.ClientResponse, wanted: str, seconds: float = 10) -> dict[str, Any]:
    """Read a stream up to a text of its wire; gives its start event."""
    start: dict[str, Any] = {}
    async with asyncio.timeout(seconds):
        while line := (await response.content.readline()).decode():
            if line.startswith("data: ") and not start:
                start = json.loads(line[6:])
            if wanted in line:
                return start
    raise AssertionError("the stream ended early")


async def ask(client: aiohttp.ClientSession, headers: Headers, message: str, **body: Any) -> Any:
    """A stream that has begun; the caller reads it."""
    wanted = {"message": message, "model": "test-model", **body}
    return await client.post("/api/chat/stream", json=wanted, headers=headers)


async def rest_of(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """The events that a stream still has; a heartbeat is none."""
    async with asyncio.timeout(20), response:
        lines = (await response.read()).decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def counts(database: Path) -> tuple[int, int]:
    """Rows of parts, and of messages that are still being written."""
    with closing(sqlite3.connect(database)) as connection:
        (parts,) = connection.execute("SELECT count(*) FROM message_parts").fetchone()
        (streaming,) = connection.execute(
            "SELECT count(*) FROM messages WHERE status = 'streaming'"
        ).fetchone()
    return parts, streaming


async def ready(hub: ChatHub, provider: Provider) -> tuple[aiohttp.ClientSession, Headers]:
    """A client signed in as the administrator, on a server that knows the provider's model."""
    client = await hub.client()
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    return client, admin


async def again(hub: ChatHub) -> tuple[aiohttp.ClientSession, Headers]:
    client = await hub.client()
    return client, await sign_in(client, "admin", "admin123")


# --- kill -9


@pytest.mark.parametrize("seconds", [0.3, 1.6, 3.1])
async def test_a_kill_in_mid_stream_costs_about_a_second_of_text(
    database: Path, provider: Provider, seconds: float
) -> None:
    dictation = Dictation()
    provider.script = dictation
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "说下去", conversation_id="c") as response:
            start = await follow_until(response, '"content"')
            await asyncio.sleep(seconds)
            # the clock first: what comes in until the signal is there is not missed
            killed = time.monotonic()
            hub.kill()
    assert counts(database)[1] == 1

    async with ChatHub(database) as hub:
        assert "1 replies were cut off" in hub.errors
        client, admin = await again(hub)
        question, answer = await messages_of(client, admin, "c")
        assert (question["content"], question["status"]) == ("说下去", "done")
        assert answer["id"] == start["message_id"] and answer["status"] == "interrupted"
        assert answer["reason"] and answer["finish_reason"] == "interrupted"
        assert dictation.text.startswith(answer["content"])
        assert len(answer["content"]) >= dictation.length_at(killed - _LOST_SECONDS)
        if seconds > _LOST_SECONDS:
            assert answer["content"]
        assert counts(database) == (0, 0)

        if answer["content"]:
            used = answer["usage"]
            assert used["estimated"] and used["prompt_tokens"] > 0 and used["completion_tokens"] > 0
            assert answer["cost"] > 0
            stats = await (await client.get("/api/stats", headers=admin)).json()
            assert stats["tokens_used"] == used["total_tokens"] and stats["today"]["requests"] == 1
            assert stats["total_cost"] == pytest.approx(answer["cost"])

        # whoever comes back to the stream gets what there is, and is told
        async with client.get(f"/api/chat/stream/{start['message_id']}", headers=admin) as response:
            replayed = await rest_of(response)
        assert [replayed[0]["type"], replayed[-1]["type"]] == ["start", "error"]
        assert text_of(replayed) == answer["content"]
        assert replayed[-1]["status"] == 503 and replayed[-1]["error"] == answer["reason"]
        assert await (await client.get("/api/chat/active", headers=admin)).json() == []

        # the conversation goes on, and the model sees what it had said
        provider.script = provider.stream(reply("好的"))
        events = await stream(client, admin, "继续", conversation_id="c")
        assert events[-1]["type"] == "end"
        said = [(message["role"], message["content"]) for message in provider.last["messages"]]
        before = [("user", "说下去"), ("assistant", answer["content"])] if answer["content"] else []
        assert said == [*before, ("user", "继续")]
        assert len(await messages_of(client, admin, "c")) == 4


async def test_a_kill_before_the_first_upstream_byte_keeps_the_question(
    database: Path, provider: Provider
) -> None:
    provider.script = provider.hang()
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "在吗？", conversation_id="c") as response:
            start = await follow_until(response, '"start"')
            await within(5, lambda: asyncio.sleep(0, provider.bodies))
            hub.kill()

    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        question, answer = await messages_of(client, admin, "c")
        assert question["content"] == "在吗？"
        assert (answer["id"], answer["content"]) == (start["message_id"], "")
        assert answer["status"] == "interrupted" and answer["reason"]
        assert counts(database) == (0, 0)
        async with client.get(f"/api/chat/stream/{answer['id']}", headers=admin) as response:
            assert [event["type"] for event in await rest_of(response)] == ["start", "error"]
        provider.script = provider.stream(reply("在"))
        await stream(client, admin, "还在吗？", conversation_id="c")
        # an empty answer takes its question along
        assert [message["content"] for message in provider.last["messages"]] == ["还在吗？"]


async def test_a_kill_loses_neither_thoughts_nor_other_conversations(
    database: Path, provider: Provider
) -> None:
    """Several replies at once, one of them thinking, one finished, one stopped."""
    dictations = {f"say{i}": Dictation(10 + 10 * i, thinks=15 if i == 1 else 0) for i in range(3)}
    scripts: dict[str, Script] = {**dictations, "short": provider.stream(reply("完")), "stop": Dictation()}
    provider.script = by_question(scripts)
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        await stream(client, admin, "short", conversation_id="short")
        async with await ask(client, admin, "stop", conversation_id="stop") as response:
            await follow_until(response, '"content"')
            await client.post("/api/chat/stop", json={"conversation_id": "stop"}, headers=admin)
            await rest_of(response)
        done = {name: await messages_of(client, admin, name) for name in ("short", "stop")}
        followed = [await ask(client, admin, name, conversation_id=name) for name in dictations]
        for response in followed:
            await follow_until(response, '"type":"')
        await asyncio.sleep(3.2)
        killed = time.monotonic()
        hub.kill()
        for response in followed:
            response.close()

    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        for name, dictation in dictations.items():
            answer = (await messages_of(client, admin, name))[1]
            assert answer["status"] == "interrupted"
            thought = answer["reasoning"] or ""
            assert dictation.thought.startswith(thought) and dictation.text.startswith(answer["content"])
            # text without all of the thoughts before it would have a hole
            assert not answer["content"] or thought == dictation.thought
            kept = len(thought) + len(answer["content"])
            assert kept >= dictation.length_at(killed - _LOST_SECONDS) > 0
        assert {name: await messages_of(client, admin, name) for name in done} == done
        assert counts(database) == (0, 0)


async def test_a_kill_around_the_end_leaves_a_reply_whole_or_interrupted(
    database: Path, provider: Provider
) -> None:
    texts = [_TEXT[i : i + 3] for i in range(0, len(_TEXT), 3)]
    whole = "".join(texts)
    for number, pause in enumerate([0.0, 0.002, 0.02]):
        provider.script = provider.stream(reply(*texts))
        async with ChatHub(database) as hub:
            client, admin = await (again(hub) if number else ready(hub, provider))
            async with await ask(client, admin, "快", conversation_id=f"c{number}") as response:
                await follow_until(response, whole[:3])
                await asyncio.sleep(pause)
                hub.kill()
        async with ChatHub(database) as hub:
            client, admin = await again(hub)
            question, answer = await messages_of(client, admin, f"c{number}")
            assert question["content"] == "快"
            assert answer["status"] in ("done", "interrupted")
            assert whole.startswith(answer["content"])
            if answer["status"] == "done":
                assert answer["content"] == whole and not answer["usage"]["estimated"]
            assert counts(database) == (0, 0)


async def test_a_reply_whose_end_was_seen_survives_a_kill(database: Path, provider: Provider) -> None:
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "你好", conversation_id="c") as response:
            await follow_until(response, '"type":"end"')
            hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        answer = (await messages_of(client, admin, "c"))[1]
        assert (answer["content"], answer["status"]) == ("你好，世界", "done")
        assert "cut off" not in hub.errors


async def test_a_request_repeated_after_a_kill_gets_the_reply_it_had(
    database: Path, provider: Provider
) -> None:
    """The connection was lost with the server: sending again must not ask and pay twice."""
    provider.script = dictation = Dictation()
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        once = {"client_message_id": "once", "conversation_id": "c"}
        async with await ask(client, admin, "说下去", **once) as response:
            start = await follow_until(response, '"content"')
            await asyncio.sleep(2.5)
            hub.kill()
    asked = len(provider.bodies)
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        events = await stream(client, admin, "说下去", **once)
        assert events[0]["message_id"] == start["message_id"] and events[-1]["status"] == 503
        assert text_of(events) and dictation.text.startswith(text_of(events))
        assert len(provider.bodies) == asked and len(await messages_of(client, admin, "c")) == 2


async def test_a_server_killed_over_and_over_adds_up(database: Path, provider: Provider) -> None:
    """Each start recovers what the one before left, once."""
    dictation = Dictation()
    provider.script = dictation
    kept: list[dict[str, Any]] = []
    for number in range(3):
        async with ChatHub(database) as hub:
            client, admin = await (again(hub) if number else ready(hub, provider))
            if number:
                kept = await messages_of(client, admin, "c")
            async with await ask(client, admin, f"第{number}次", conversation_id="c") as response:
                await follow_until(response, '"content"')
                await asyncio.sleep(1.5)
                hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        messages = await messages_of(client, admin, "c")
        # a reply that was recovered once is left alone
        assert messages[: len(kept)] == kept and len(messages) == 6
        assert {message["status"] for message in messages[1::2]} == {"interrupted"}
        stats = await (await client.get("/api/stats", headers=admin)).json()
        used = [message["usage"]["total_tokens"] for message in messages[1::2] if message["usage"]]
        assert stats["tokens_used"] == sum(used) and stats["today"]["requests"] == len(used)


# --- SIGTERM and SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_end_it_lets_replies_finish_and_takes_no_new_ones(
    database: Path, provider: Provider, number: signal.Signals
) -> None:
    provider.script = by_question(
        {
            "会完": provider.stream(reply("前半", "后半"), stall_after=1),
            "不完": Dictation(),
            "新的": provider.stream(reply("不该有")),
        }
    )
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="4") as hub:
        client, admin = await ready(hub, provider)
        ends = await ask(client, admin, "会完", conversation_id="ends")
        await follow_until(ends, "前半")
        lasts = await ask(client, admin, "不完", conversation_id="lasts")
        start = await follow_until(lasts, '"content"')
        began = time.monotonic()
        hub.signal(number)
        await asyncio.sleep(0.5)

        for path in ("/api/chat/stream", "/api/chat"):
            wanted = {"message": "新的", "model": "test-model"}
            async with client.post(path, json=wanted, headers=admin) as response:
                assert response.status == 503, path
                assert int(response.headers["Retry-After"]) > 0
                assert (await response.json())["error"]
        # other pages work on, and a running reply may still be followed
        assert (await client.get("/api/conversations", headers=admin)).status == 200
        late = await client.get(f"/api/chat/stream/{start['message_id']}", headers=admin)
        assert hub.exit_code is None

        provider.gate.set()
        assert (await rest_of(ends))[-1]["type"] == "end"
        for response in (lasts, late):
            last = (await rest_of(response))[-1]
            assert (last["type"], last["status"]) == ("error", 503)
            assert last["error"] and last["finish_reason"] == "interrupted"
        assert await hub.ended(10) == 0
        took = time.monotonic() - began
        assert 3 < took < 4 + 4, f"it took {took:.1f} s"
        assert "Traceback" not in hub.errors and " ERROR " not in hub.errors
    assert counts(database) == (0, 0)

    async with ChatHub(database) as hub:
        assert "cut off" not in hub.errors
        client, admin = await again(hub)
        whole = (await messages_of(client, admin, "ends"))[1]
        assert (whole["content"], whole["status"]) == ("前半后半", "done")
        part = (await messages_of(client, admin, "lasts"))[1]
        assert part["status"] == "interrupted" and part["reason"] and part["usage"]["estimated"]
        listed = await (await client.get("/api/conversations", headers=admin)).json()
        assert {row["conversation_id"] for row in listed} == {"ends", "lasts"}


async def test_all_text_is_kept_when_the_drain_is_over(database: Path, provider: Provider) -> None:
    """Not only what was saved a second ago: what followers saw is what is stored."""
    provider.script = provider.stream([chunk(_TEXT), chunk("末尾")], stall_after=2)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.2") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说", conversation_id="c")
        await follow_until(response, "末尾")
        hub.signal(signal.SIGTERM)
        assert (await rest_of(response))[-1]["status"] == 503
        assert await hub.ended(10) == 0
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        assert (await messages_of(client, admin, "c"))[1]["content"] == _TEXT + "末尾"


async def test_it_ends_as_soon_as_the_last_reply_does(database: Path, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="60") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说")
        await follow_until(response, "前")
        hub.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert hub.exit_code is None
        provider.gate.set()
        assert (await rest_of(response))[-1]["type"] == "end"
        assert await hub.ended(10) == 0


async def test_with_nothing_to_do_it_ends_at_once_also_with_idle_connections(database: Path) -> None:
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="60") as hub:
        client = await hub.client()
        assert (await client.get("/api/health")).status == 200
        # a kept connection that was used, and one that never said anything
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        try:
            hub.signal(signal.SIGTERM)
            assert await hub.ended(10) == 0
        finally:
            writer.close()
        assert "Traceback" not in hub.errors


async def test_a_follower_that_does_not_read_does_not_hold_up_the_end(
    database: Path, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("字" * 10_000)] * 190, stall_after=190)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.5", CHATHUB_REPLY_CHARACTERS="9000000") as hub:
        client, admin = await ready(hub, provider)
        stuck = await hub.client(read_bufsize=1024)
        response = await ask(stuck, admin, "说", conversation_id="c")
        reader = await ask(client, admin, "再说", conversation_id="d")
        async with asyncio.timeout(20):
            seen = 0
            while seen < 190 * 30_000:
                seen += len(await reader.content.readany())
        began = time.monotonic()
        hub.signal(signal.SIGTERM)
        assert (await rest_of(reader))[-1]["status"] == 503
        assert await hub.ended(20) == 0
        took = time.monotonic() - began
        assert took < 0.5 + 5, f"it took {took:.1f} s"
        response.close()
        assert "Traceback" not in hub.errors
    assert counts(database) == (0, 0)
    with closing(sqlite3.connect(database)) as connection:
        (shortest,) = connection.execute(
            "SELECT min(length(content)) FROM messages WHERE role = 'assistant'"
        ).fetchone()
    assert shortest == 1_900_000


async def test_a_second_signal_changes_nothing(database: Path, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="30") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说")
        await follow_until(response, "前")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            hub.signal(number)
            await asyncio.sleep(0.2)
        assert hub.exit_code is None
        provider.gate.set()
        assert (await rest_of(response))[-1]["type"] == "end"
        assert await hub.ended(10) == 0
        assert "Traceback" not in hub.errors


# --- starts that are refused


def assert_refused(outcome: tuple[int, str, str], *words: str) -> None:
    """One sentence for the operator, and no traceback."""
    code, output, errors = outcome
    assert code == 2, errors
    assert errors.startswith("chathub: ") and "Traceback" not in errors + output
    assert "listens on" not in output
    for word in words:
        assert word in errors


async def test_two_servers_do_not_share_a_database(database: Path, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说", conversation_id="c")
        await follow_until(response, "前")
        assert_refused(await run_to_its_end(database), "another ChatHub is running", str(database))
        # the first one's reply was not taken for one that a crash left behind
        provider.gate.set()
        assert (await rest_of(response))[-1]["type"] == "end"
        assert (await messages_of(client, admin, "c"))[1]["status"] == "done"
        assert_refused(await run_to_its_end(database, "set-password", "admin"), "another ChatHub is running")
        await sign_in(client, "admin", "admin123")
    # a lock that outlived its owner would keep the next one out
    async with ChatHub(database):
        pass


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_another_path_to_the_same_database_is_refused_as_well(
    database: Path, what: str, tmp_path: Path
) -> None:
    secret = {"CHATHUB_SECRET_KEY": "s" * 40}
    async with ChatHub(database, **secret):
        if what == "folder":
            (tmp_path / "by-link").symlink_to(tmp_path, target_is_directory=True)
            other = tmp_path / "by-link" / database.name
        else:
            other = tmp_path / "by-link.db"
            other.symlink_to(database)
        assert_refused(await run_to_its_end(other, **secret), "another ChatHub is running")


async def test_a_database_is_not_opened_under_another_secret(database: Path) -> None:
    secret = database.with_suffix(".secret")
    async with ChatHub(database):
        pass
    kept = secret.read_bytes()
    secret.unlink()
    assert_refused(await run_to_its_end(database), "secret", "CHATHUB_SECRET_KEY")
    wrong = "w" * 40
    outcome = await run_to_its_end(database, CHATHUB_SECRET_KEY=wrong)
    assert_refused(outcome, "secret")
    assert wrong not in "".join(outcome[1:])
    # what mends it
    secret.write_bytes(kept)
    async with ChatHub(database) as hub:
        client = await hub.client()
        await sign_in(client, "admin", "admin123")


async def test_a_secret_that_is_none_is_refused(database: Path, tmp_path: Path) -> None:
    outcome = await run_to_its_end(database, CHATHUB_SECRET_KEY="too short a one")
    assert_refused(outcome, "CHATHUB_SECRET_KEY", "32")
    assert "too short a one" not in outcome[2]
    outcome = await run_to_its_end(database, CHATHUB_SECRET_KEY_FILE=str(tmp_path / "nothing-here"))
    assert_refused(outcome, "nothing-here")
    database.with_suffix(".secret").write_text("short\n")
    assert_refused(await run_to_its_end(database), ".secret", "32")


async def test_a_port_in_use_is_named(database: Path, tmp_path: Path) -> None:
    async with ChatHub(database) as hub:
        other = tmp_path / "other.db"
        assert_refused(
            await run_to_its_end(other, "--port", str(hub.port)), "cannot listen", f"127.0.0.1:{hub.port}"
        )
        client = await hub.client()
        assert (await client.get("/api/health")).status == 200


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    hub = ChatHub(tmp_path / "chathub.db", "--database", str(tmp_path / "file" / "chathub.db"))
    hub.launch()
    try:
        code = await hub.ended()
    finally:
        hub.reap()
    assert_refused((code, hub.output, hub.errors), "folder of the database")


async def test_production_refuses_the_passwords_of_development_until_they_are_changed(
    database: Path,
) -> None:
    async with ChatHub(database):
        pass
    production = {"CHATHUB_ENV": "production"}
    assert_refused(await run_to_its_end(database, **production), "admin, user", "set-password admin user")
    code, output, errors = await run_to_its_end(database, "set-password", "admin", "user", **production)
    assert (code, errors) == (0, "")
    passwords = dict(line.split(": ", 1) for line in output.splitlines())
    assert set(passwords) == {"admin", "user"}
    async with ChatHub(database, **production) as hub:
        assert "(production)" in hub.output
        client = await hub.client()
        for name, old in (("admin", "admin123"), ("user", "user123")):
            await sign_in(client, name, passwords[name])
            wrong = {"username": name, "password": old}
            assert (await client.post("/api/auth/login", json=wrong)).status == 401
            assert passwords[name] not in hub.output + hub.errors
        demo = {"Authorization": "Bearer demo-token"}
        assert (await client.get("/api/conversations", headers=demo)).status == 401


async def test_a_fresh_production_start_prints_its_administrators_password_once(database: Path) -> None:
    async with ChatHub(database, CHATHUB_ENV="production") as hub:
        (line,) = [line for line in hub.output.splitlines() if "password" in line]
        client = await hub.client()
        await sign_in(client, "admin", line.rpartition(": ")[2])
    async with ChatHub(database, CHATHUB_ENV="production") as hub:
        assert "password" not in hub.output


async def test_setting_the_password_of_nobody_is_refused(database: Path) -> None:
    async with ChatHub(database):
        pass
    assert_refused(await run_to_its_end(database, "set-password", "nobody"), "nobody")


# --- what others on the machine can see


async def test_files_are_their_owners_alone(database: Path, provider: Provider) -> None:
    """Started with a umask that would let everyone read and write."""
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        await stream(client, admin)
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in database.parent.iterdir()
            if path.name.startswith("chathub.")
        }
        assert {"chathub.db", "chathub.db-wal", "chathub.db.lock", "chathub.secret"} <= set(modes)
        assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


async def test_neither_secret_nor_keys_are_seen_from_outside(database: Path, provider: Provider) -> None:
    secret, key = "the-secret-" + "s" * 40, "sk-a-provider-key-0123456789abcdef"
    provider.script = provider.one_after_the_other(
        provider.stream(reply("好")),
        provider.answer(401, {"error": {"message": f"Incorrect API key provided: {key}"}}),
        provider.answer(500, f"panic: Authorization: Bearer {key}".encode()),
    )
    async with ChatHub(database, CHATHUB_SECRET_KEY=secret) as hub:
        client, admin = await ready(hub, provider)
        saved = {"model_provider": "p_test_model", "api_key": key}
        answers = []
        for _ in range(3):
            # saved anew each time: a key that failed is not used for a while
            async with client.post("/api/apikeys", json=saved, headers=admin) as response:
                answers.append(await response.text())
            async with await ask(client, admin, "你好") as response:
                answers.append(json.dumps(await read_events(response), ensure_ascii=False))
            assert provider.headers[-1]["Authorization"] == f"Bearer {key}"
            answers.append(await (await client.get("/api/apikeys", headers=admin)).text())
        seen = [*answers, hub.command_line(), hub.output, hub.errors]
        hub.signal(signal.SIGTERM)
        assert await hub.ended(15) == 0
        seen += [hub.output, hub.errors]
        for text in seen:
            assert key not in text and secret not in text
    assert not database.with_suffix(".secret").exists()
    files = [path for path in database.parent.iterdir() if path.is_file()]
    assert database in files
    for path in files:
        assert key.encode() not in path.read_bytes() and secret.encode() not in path.read_bytes(), path
