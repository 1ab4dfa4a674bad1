"""The end of a forwarded stream: its last event, or an error event."""

import asyncio
import json
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import Headers, add, key_states, post, spent
from scripted import DONE, Provider, chunk, reply

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    key = {"model_provider": "upstream", "api_key": "key-0123456789", "label": "one"}
    await post(client, "/api/apikeys", key, admin)


async def ask(client: TestClient, headers: Headers) -> list[Any]:
    """The events of the stream that a client receives."""
    async with asyncio.timeout(30):
        response = await client.post("/v1/chat/completions", json=ASKED, headers=headers)
        text = await response.text()
    assert response.status == 200, text
    lines = [line[6:] for event in text.split("\n\n") for line in event.split("\n") if line[:6] == "data: "]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def end_reasons(client: TestClient, admin: Headers) -> list[str]:
    await spent(client, admin, 1)
    rows = await (await client.get("/api/usage", params={"limit": "10"}, headers=admin)).json()
    return [row["end_reason"] for row in rows["data"]]


@pytest.mark.parametrize("how", ["ended", "reset", "closed"])
async def test_stream_cut_in_the_middle_ends_with_an_error_and_is_recorded_as_cut(
    client: TestClient, admin: Headers, provider: Provider, how: str
) -> None:
    async def run(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        # without a length: only the connection's end marks the end of the body
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        transport.write(chunk("so far"))
        await asyncio.sleep(0.1)
        if how == "reset":
            connection = transport.get_extra_info("socket")
            connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        transport.close()
        return web.Response()

    script = provider.stream([chunk("so far")]) if how == "ended" else run
    provider.script = script
    begun, error = await ask(client, admin)
    assert begun["choices"][0]["delta"]["content"] == "so far" and "broke off" in error["error"]["message"]
    assert await end_reasons(client, admin) == ["cut"]
    (state,) = (await key_states(client, admin)).values()
    assert state["failure_count"] == 1 and state["last_error"]


async def test_error_is_a_separate_event_after_an_incomplete_one(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """A part of an event without an end was forwarded, until the event was too long."""
    provider.script = provider.stream([chunk("so far"), *([b"x" * 65_536] * 40)])
    *_, error = await ask(client, admin)
    assert "too large" in error["error"]["message"]


async def test_stream_ends_at_its_last_event_although_the_provider_keeps_it_open(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    parts = reply("whole")
    provider.script = provider.stream(parts, stall_after=len(parts), pause=0.05)
    events = await ask(client, admin)
    assert events[-1] == DONE[6:-2].decode() and await end_reasons(client, admin) == ["stop"]
    assert not provider.gate.is_set()
