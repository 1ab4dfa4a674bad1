"""Full disk: every read-only request succeeds, for every kind of caller."""

import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream
from conftest import sign_in
from processes import ChatHub
from scripted import Provider

from chathub.app_keys import DB
from chathub.clock import Clock
from chathub.config import Config
from chathub.routes import ROUTES

Connect = Callable[..., Awaitable[TestClient]]
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"
# read-only routes that this kind of caller may not use
# but for the one that says whether the server can store anything
READING = [route for route in ROUTES if route.method == "GET" and route.path != "/api/health/ready"]


class Hub:
    """A server whose disk can be filled, with an object of every kind that can be read; ``seconds`` moves its
    clock.
    """

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.seconds = 0.0
        self.ids: dict[str, Any] = {}

    async def fill(self, *, full: bool) -> None:
        """Let every write fail, or succeed again; all cached tokens are looked up anew."""
        assert self.client.app is not None
        pragma = f"PRAGMA query_only = {'ON' if full else 'OFF'}"
        await self.client.app[DB].run_bare(lambda connection: connection.execute(pragma))
        self.seconds += 120

    async def statuses(self, headers: Headers) -> dict[str, int]:
        """Every read-only route and its status."""
        found = {}
        for route in READING:
            path = route.path.replace("{model:.+}", "{model}").format(**self.ids)
            async with self.client.get(path, headers=headers) as response:
                await response.read()
                found[path] = response.status
        return found


@pytest.fixture
async def hub(connect: Connect, config: Config, provider: Provider) -> Hub:
    moved: list[Hub] = []
    clock = Clock(seconds=lambda: 1_800_000_000.0 + (moved[0].seconds if moved else 0))
    hub = Hub(await connect(config, clock=clock))
    moved.append(hub)
    admin = await sign_in(hub.client, "admin", "admin123")
    user = await sign_in(hub.client, "user", "user123")
    await add_model(hub.client, admin, provider.base_url, supports_vision=True)
    events = await stream(hub.client, user, images=[PIXEL], conversation_id="c")
    image = (await messages_of(hub.client, user, "c"))[0]["images"][0]["id"]
    body = {"model": "test-model", "input": "hi", "store": True}
    stored = await (await hub.client.post("/v1/responses", json=body, headers=user)).json()
    hub.ids = {
        "provider_id": 1,
        "response_id": stored["id"],
        "message_id": events[0]["message_id"],
        "conversation_id": "c",
        "file_id": image,
        "user_id": 2,
        "model": "test-model",
    }
    return hub


async def access_token(client: TestClient, headers: Headers) -> Headers:
    body = {"name": "t", "opens_api": True}
    made = await (await client.post("/api/tokens", json=body, headers=headers)).json()
    return {"Authorization": f"Bearer {made['token']}"}


async def health(client: TestClient) -> tuple[int, str]:
    async with client.get("/api/health") as response:
        return response.status, (await response.json())["status"]


async def test_read_only_routes_work_for_sessions_and_access_tokens_on_a_full_disk(hub: Hub) -> None:
    user = await sign_in(hub.client, "user", "user123")
    # 200 except for what only administrators may read
    for headers in (user, await access_token(hub.client, user)):
        usual = await hub.statuses(headers)
        assert list(usual.values()).count(200) >= 12, usual
        await hub.fill(full=True)
        assert await hub.statuses(headers) == usual
        assert (await chat(hub.client, headers))[0] == 503
        assert await health(hub.client) == (200, "degraded")
        await hub.fill(full=False)
        assert (await chat(hub.client, headers))[0] == 200
        assert await health(hub.client) == (200, "healthy")


async def test_administrators_reading_of_others_messages_fails_if_it_cannot_be_audited(
    hub: Hub,
) -> None:
    admin = await sign_in(hub.client, "admin", "admin123")
    usual = await hub.statuses(admin)
    await hub.fill(full=True)
    full = await hub.statuses(admin)
    changed = {path: status for path, status in full.items() if status != usual[path]}
    assert changed == {"/api/conversations/c/messages": 503}
    await hub.fill(full=False)
    assert await hub.statuses(admin) == usual


async def test_repeated_request_gets_the_stored_reply_on_a_full_disk(hub: Hub, provider: Provider) -> None:
    user = await sign_in(hub.client, "user", "user123")
    first = await chat(hub.client, user, client_message_id="once")
    sent = len(provider.bodies)
    await hub.fill(full=True)
    again = await chat(hub.client, user, client_message_id="once")
    assert (again[0], again[1]["message_id"]) == (200, first[1]["message_id"])
    assert (await chat(hub.client, user, "etwas anderes", client_message_id="once"))[0] == 409
    assert len(provider.bodies) == sent


async def test_access_token_can_read_while_no_file_can_grow(tmp_path: Path, provider: Provider) -> None:
    """The limit of the file size is the kernel's own, set on the running process."""
    async with ChatHub(tmp_path / "chathub.db") as hub:
        client: Any = await hub.client()
        user = await sign_in(client, "user", "user123")
        token = await access_token(client, user)
        await add_model(client, await sign_in(client, "admin", "admin123"), provider.base_url)
        full = max(path.stat().st_size for path in tmp_path.iterdir())
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        while (await chat(client, user, "满" * 50_000, conversation_id="big"))[0] == 200:
            pass
        for path in ("/v1/models", "/api/conversations"):
            async with client.get(path, headers=token) as response:
                assert response.status == 200, await response.text()
