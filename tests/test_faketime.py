"""A server on a machine with the wrong time, which changes while it runs (libfaketime)."""

import glob
import os
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from chats import add_model
from processes import ChatHub, run_to_its_end
from scripted import Provider

Headers = dict[str, str]
DAY = 86_400
# a noon, far from the ends of its day and month
NOON = 1_794_830_400


def _library() -> str | None:
    """Where libfaketime is; Debian has it in its package of that name."""
    named = os.environ.get("LIBFAKETIME", "")
    places = [
        named,
        *glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"),
        *glob.glob("/usr/lib*/faketime/*MT*"),
    ]
    return next((place for place in places if place and Path(place).exists()), None)


pytestmark = pytest.mark.skipif(
    _library() is None,
    reason="libfaketime is not installed (apt install libfaketime, or name it in LIBFAKETIME)",
)
SetClock = Callable[[float], dict[str, str]]


@pytest.fixture
def set_clock(tmp_path: Path) -> SetClock:
    """Set the clock of all servers to a Unix time, from which it continues; returns their environment."""
    stamp = tmp_path / "clock"

    def set_to(seconds: float) -> dict[str, str]:
        stamp.with_suffix(".new").write_text(f"{seconds - time.time():+.0f}")
        stamp.with_suffix(".new").rename(stamp)
        return {
            "LD_PRELOAD": _library() or "",
            "FAKETIME_TIMESTAMP_FILE": str(stamp),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    return set_to


async def sign_in(client: aiohttp.ClientSession, name: str) -> Headers:
    body = {"username": name, "password": f"{name}123"}
    async with client.post("/api/auth/login", json=body) as response:
        assert response.status == 200, await response.text()
        return {"Authorization": "Bearer " + (await response.json())["token"]}


async def verified(client: aiohttp.ClientSession, headers: Headers) -> int:
    async with client.get("/api/auth/verify", headers=headers) as response:
        return response.status


async def chat(client: aiohttp.ClientSession, headers: Headers, name: str) -> int:
    body = {"message": "hi", "model": "test-model", "conversation_id": name}
    async with client.post("/api/chat", json=body, headers=headers) as response:
        return response.status


async def listed(client: aiohttp.ClientSession, headers: Headers) -> list[str]:
    async with client.get("/api/conversations", headers=headers) as response:
        return [row["conversation_id"] for row in await response.json()]


async def limited(client: aiohttp.ClientSession, admin: Headers) -> None:
    """Limit the user to twelve tokens: one chat takes ten."""
    async with client.put("/api/users/2", json={"usage_limit": 12}, headers=admin) as response:
        assert response.status == 200


async def test_server_started_in_1970_keeps_sessions_budgets_and_order(
    database: Path, provider: Provider, set_clock: SetClock
) -> None:
    async with ChatHub(database, **set_clock(NOON)) as hub:
        client = await hub.client()
        admin, user = await sign_in(client, "admin"), await sign_in(client, "user")
        await add_model(client, admin, provider.base_url)  # type: ignore[arg-type]
        await limited(client, admin)
        assert [await chat(client, admin, name) for name in ("one", "two")] == [200, 200]
        assert [await chat(client, user, name) for name in ("a", "b")] == [200, 429]
        set_clock(NOON - 3600)
        assert await chat(client, admin, "one") == 200
        assert await listed(client, admin) == ["one", "two"]
    environment = set_clock(120)
    async with ChatHub(database, **environment) as hub:
        assert (
            "clock: it is behind, it says 1970-01-01T00:0" in hub.errors and "after 2026-11-1" in hub.errors
        )
        client = await hub.client()
        assert await verified(client, user) == 200
        assert [await chat(client, user, "c"), await chat(client, admin, "two")] == [429, 200]
        assert await listed(client, admin) == ["two", "one"]
        code, output, _ = await run_to_its_end(database, "doctor", **environment)
        assert code == 1 and "problem clock: it is behind" in output
        set_clock(NOON + 60)
        assert await verified(client, user) == 200
        assert [await chat(client, user, "d"), await chat(client, admin, "one")] == [429, 200]
        assert await listed(client, admin) == ["one", "two"]
        code, output, _ = await run_to_its_end(database, "doctor", **environment)
        assert "problem clock" not in output


async def test_sessions_survive_a_machine_whose_clock_is_ahead_for_a_while(
    database: Path, provider: Provider, set_clock: SetClock
) -> None:
    async with ChatHub(database, CHATHUB_SESSION_SECONDS=str(DAY), **set_clock(NOON)) as hub:
        client = await hub.client()
        before = await sign_in(client, "user")
        for there in (NOON + 40 * DAY, 2**31 + 60, 7_258_118_400):
            set_clock(there)
            ahead = [await sign_in(client, name) for name in ("admin", "user")]
            assert [await verified(client, token) for token in ahead] == [200, 200]
            set_clock(NOON + 60)
            assert [await verified(client, token) for token in (before, *ahead)] == [200] * 3
        set_clock(NOON + DAY + 120)
        assert [await verified(client, token) for token in (before, *ahead)] == [401] * 3
        assert await verified(client, await sign_in(client, "user")) == 200
