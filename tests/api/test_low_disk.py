"""Low disk space: the server first refuses turns that would store much, then all turns; everything else
works.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, opened, read_events, stream, text_of
from conftest import sign_in
from scripted import Provider, reply

from chathub.app_keys import DISK
from chathub.config import Config
from chathub.disk import Disk, free_bytes
from chathub.errors import DiskLow

Connect = Callable[..., Awaitable[TestClient]]
BOUND = 1_000_000
LOW, EMPTY = BOUND - 1, BOUND // 4 - 1
IMAGE = {"images": ["data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"]}
TOOLS = {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}
PLAIN: dict[str, Any] = {"system_prompt": "短", "temperature": 0.5}


class Hub:
    """A server on a disk with as much free space as the test sets."""

    def __init__(self) -> None:
        self.free = BOUND
        self.client: TestClient
        self.user: Headers = {}

    async def leave(self, free: int) -> None:
        """Set the free bytes, and let the server measure them."""
        self.free = free
        assert self.client.app is not None
        await self.client.app[DISK].measure()

    async def post(self, path: str, body: dict[str, Any], method: str = "POST") -> ClientResponse:
        return await self.client.request(method, path, json=body, headers=self.user)

    async def refused(self, path: str, body: dict[str, Any], method: str = "POST") -> str:
        """The message of a 507 response."""
        response = await self.post(path, body, method)
        said = await response.json()
        assert response.status == 507, said
        assert said == {
            "error": said["error"],
            "message": said["error"],
            "success": False,
            "code": "disk_low",
        }
        sentence: str = said["error"]
        return sentence


@pytest.fixture
async def hub(connect: Connect, config: Config, provider: Provider) -> Hub:
    hub = Hub()
    hub.client = await connect(replace(config, free_bytes=BOUND), free_disk=lambda folder: hub.free)
    hub.user = await sign_in(hub.client, "user", "user123")
    admin = await sign_in(hub.client, "admin", "admin123")
    await add_model(
        hub.client, admin, provider.base_url, supports_vision=True, supports_function_calling=True
    )
    return hub


def question(**more: Any) -> dict[str, Any]:
    return {"message": "问题", "model": "test-model", "conversation_id": "c", **more}


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_below_the_limit_turns_with_images_or_tools_get_507_and_others_succeed(
    hub: Hub, provider: Provider, path: str
) -> None:
    await hub.leave(LOW)
    for large in (IMAGE, TOOLS, {"response_format": {"type": "json_object"}}):
        assert "图片" in await hub.refused(path, question(**large))
        # nothing is stored, also of a turn that is refused for another reason too
        assert (await (await hub.client.get("/api/conversations", headers=hub.user)).json()) == []
    async with await hub.post(path, question(**PLAIN)) as response:
        assert response.status == 200
        await response.read()
    assert len(provider.bodies) == 1
    await hub.leave(BOUND)
    assert (await stream(hub.client, hub.user, **question(**IMAGE, **TOOLS)))[-1]["type"] == "end"


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_below_a_quarter_of_the_limit_every_turn_gets_507(
    hub: Hub, provider: Provider, path: str
) -> None:
    await hub.leave(EMPTY)
    assert "新的消息" in await hub.refused(path, question())
    assert (await (await hub.client.get("/api/conversations", headers=hub.user)).json()) == []
    assert provider.bodies == []


async def test_below_the_limit_responses_with_much_input_are_not_stored(hub: Hub, provider: Provider) -> None:
    small = {"model": "test-model", "input": "hi", "store": True}
    large = small | {"input": os.urandom(250_000).hex()}
    assert (await hub.post("/v1/responses", large)).status == 200
    calls = len(provider.bodies)
    await hub.leave(LOW)
    refused = await hub.post("/v1/responses", large)
    assert refused.status == 507 and (await refused.json())["error"]["code"] == "disk_low"
    assert len(provider.bodies) == calls
    for body in (small, large | {"store": False}):
        assert (await hub.post("/v1/responses", body)).status == 200
    await hub.leave(EMPTY)
    assert (await hub.post("/v1/responses", small)).status == 507


async def test_regeneration_and_edit_are_refused_like_turns(hub: Hub) -> None:
    await stream(hub.client, hub.user, **question(**IMAGE))
    first, _ = await messages_of(hub.client, hub.user, "c")
    again, edit = f"/api/messages/{first['id']}/regenerate", f"/api/messages/{first['id']}"
    await hub.leave(LOW)
    # the message and its images are stored already; an edited one would be stored again
    await hub.refused(edit, {"content": "改问"}, "PUT")
    async with await hub.post(again, {}) as response:
        assert (await read_events(response))[-1]["type"] == "end"
    await hub.leave(EMPTY)
    await hub.refused(edit, {"content": "改问", "images": []}, "PUT")
    await hub.refused(again, {})
    assert len(await messages_of(hub.client, hub.user, "c")) == 2


async def test_refused_turn_stops_no_reply_and_does_not_use_its_idempotency_key(
    hub: Hub, provider: Provider
) -> None:
    provider.script = provider.one_after_the_other(
        provider.stream(reply("前", "后"), stall_after=1), provider.stream(reply("又"))
    )
    running = await opened(hub.client, hub.user, **question())
    await hub.leave(EMPTY)
    later = question(message="后来", client_message_id="once")
    await hub.refused("/api/chat/stream", later)
    provider.gate.set()
    assert '"end"' in (await running.read()).decode()
    await hub.refused("/api/chat", later)
    await hub.leave(BOUND)
    for _ in range(2):
        async with await hub.post("/api/chat/stream", later) as response:
            assert text_of(await read_events(response)) == "又"
    # a stored response is sent again however little space is free
    await hub.leave(EMPTY)
    async with await hub.post("/api/chat/stream", later) as response:
        assert text_of(await read_events(response)) == "又"
    assert len(provider.bodies) == 2


async def test_gateway_requests_get_507_below_a_quarter_in_the_clients_format(
    hub: Hub, provider: Provider
) -> None:
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}], **TOOLS}
    paths = ("/v1/chat/completions", "/v1/messages", "/v1/embeddings")
    await hub.leave(LOW)
    async with await hub.post(paths[0], body) as response:
        assert response.status == 200, await response.text()
    await hub.leave(EMPTY)
    for path in paths[:2]:
        async with await hub.post(path, body | {"max_tokens": 5, "tools": []}) as response:
            said = await response.json()
            assert response.status == 507 and "disk" in said["error"]["message"], said
            assert said["error"].get("code", "disk_low") == "disk_low" and "success" not in said
    assert len(provider.bodies) == 1


async def test_login_reading_deleting_and_settling_work_without_free_space(
    hub: Hub, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后", completion=2), stall_after=1)
    running = await opened(hub.client, hub.user, **question())
    await hub.leave(0)
    provider.gate.set()
    assert '"end"' in (await running.read()).decode()
    again = await sign_in(hub.client, "user", "user123")
    question_, answer = await messages_of(hub.client, again, "c")
    assert (answer["content"], answer["usage"]["completion_tokens"]) == ("前后", 2)
    for path in (f"/api/messages/{question_['id']}", "/api/conversations/c"):
        assert (await hub.client.delete(path, headers=again)).status == 200
    health = await (await hub.client.get("/api/health")).json()
    assert health["status"] == "degraded" and "磁盘" in health["message"]


async def test_disk_space_is_measured_before_the_server_answers(
    connect: Connect, config: Config, tmp_path: Path
) -> None:
    """The test sets no free space: the limit is larger than any disk."""
    client = await connect(replace(config, free_bytes=2**50))
    user = await sign_in(client, "user", "user123")
    response = await client.post("/api/chat/stream", json=question(), headers=user)
    assert (response.status, (await response.json())["code"]) == (507, "disk_low")
    assert 0 < free_bytes(tmp_path) <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


async def test_change_of_free_disk_space_is_detected(hub: Hub) -> None:
    for free, status in ((EMPTY, "degraded"), (BOUND, "healthy")):
        hub.free = free
        async with asyncio.timeout(20):
            while (await (await hub.client.get("/api/health")).json())["status"] != status:
                await asyncio.sleep(0.05)


async def test_failed_measurement_of_disk_space_keeps_the_last_value() -> None:
    figures: list[int | OSError] = [5, OSError("the network disk hangs"), 39]

    def look_up(folder: Path) -> int:
        figure = figures.pop(0)
        if isinstance(figure, OSError):
            raise figure
        return figure

    disk = Disk(Path("/"), 40, look_up)
    disk.check(large=True)
    for expected in (True, True, False):
        await disk.measure()
        assert disk.is_full is expected
    disk.check()
    with pytest.raises(DiskLow):
        disk.check(large=True)


async def test_without_a_disk_limit_nothing_is_refused() -> None:
    disk = Disk(Path("/"), 0, lambda folder: 0)
    await disk.measure()
    disk.check(large=True)
    assert not disk.is_full
    # nothing needs to be measured
    await disk.watch()
