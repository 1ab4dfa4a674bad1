"""Speech at /v1: it passes through as it is generated, whole or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from gateway import ONE, TWO, Headers, add, official, post, token
from media import MediaProvider, add_media, ledger
from scripted import data

from chathub.app_keys import RUNNING
from chathub.config import Config

SPEECH = "/v1/audio/speech"
ASKED = {"model": "voice", "input": "你好，世界 👋", "voice": "alloy"}


@pytest.fixture
async def provider() -> AsyncIterator[MediaProvider]:
    async with MediaProvider() as provider:
        yield provider


async def keys(client: TestClient, admin: Headers, provider: MediaProvider) -> None:
    """Two API keys, ``ONE`` before ``TWO``."""
    await add(client, admin, provider.base_url, name="voice", model_type="audio", needs_key=True)
    for label, key, priority in (("one", ONE, 10), ("two", TWO, 0)):
        body = {"model_provider": "upstream", "api_key": key, "label": label, "priority": priority}
        await post(client, "/api/apikeys", body, admin)


async def test_first_bytes_come_before_the_provider_has_ended(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider, upstream_name="tts-9")
    provider.script = provider.pieces(b"ID3first", b"second", length=True)
    async with client.post(SPEECH, json=ASKED, headers=admin) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "audio/mpeg"
        assert response.headers["Content-Length"] == "14"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        first = await response.content.readany()
        assert b"ID3first".startswith(first) and first
        assert not provider.gate.is_set()
        provider.gate.set()
        assert first + await response.content.read() == b"ID3firstsecond"
        # the row is there before the last byte is
        (row,) = ledger(config.database)
    assert (row["model"], row["end_reason"]) == ("voice", "stop")
    assert provider.last.path == SPEECH
    assert json.loads(provider.last.body) == ASKED | {"model": "tts-9"}


async def test_official_client_streams_speech(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add_media(client, admin, provider)
    provider.gate.set()
    provider.script = provider.pieces(b"one", b"two")
    key = await token(client, admin)
    async with official("openai").AsyncOpenAI(
        api_key=key, base_url=str(client.make_url("/v1")), max_retries=0
    ) as hub:
        speech = hub.audio.speech.with_streaming_response.create(**ASKED)
        async with speech as response:
            assert b"".join([piece async for piece in response.iter_bytes()]) == b"onetwo"


async def test_speech_as_events_reports_its_tokens(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider, input_price_per_1k=2, output_price_per_1k=10)
    provider.gate.set()
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    events = [
        data({"type": "speech.audio.delta", "audio": "SUQz"}),
        data({"type": "speech.audio.done", "usage": usage}),
    ]
    provider.script = provider.pieces(*events, content_type="text/event-stream")
    response = await client.post(SPEECH, json={**ASKED, "stream_format": "sse"}, headers=admin)
    assert response.content_type == "text/event-stream"
    assert await response.read() == b"".join(events)
    (row,) = ledger(config.database)
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (14, 101, "reported")
    assert row["cost"] == 14 * 2_000 + 101 * 10_000


async def test_a_failure_before_the_first_byte_goes_to_the_next_key(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await keys(client, admin, provider)
    provider.gate.set()
    refusal = provider.respond(b'{"error": {"message": "no"}}', "application/json", 401)
    speech = provider.pieces(b"one", b"two")

    async def by_key(request: web.Request) -> web.StreamResponse:
        return await (refusal if ONE in request.headers["Authorization"] else speech)(request)

    provider.script = by_key
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    assert (response.status, await response.read()) == (200, b"onetwo")
    assert len(provider.received) == 2


@pytest.mark.parametrize("length", [True, False])
async def test_speech_that_is_cut_does_not_look_whole(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config, length: bool
) -> None:
    await add_media(client, admin, provider)
    provider.script = provider.pieces(b"ID3first", b"second", length=length, cut=True)
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    first = await response.content.readany()
    provider.gate.set()
    with pytest.raises(aiohttp.ClientError):
        while await response.content.readany():
            pass
    assert first
    (row,) = ledger(config.database)
    assert row["end_reason"] == "cut"
    assert len(provider.received) == 1


async def test_a_client_that_leaves_closes_the_provider_connection(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider)
    provider.script = provider.pieces(b"ID3first", b"second")
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    await response.content.readany()
    response.close()
    async with asyncio.timeout(30):
        await provider.closed.wait()
    await until(lambda: bool(ledger(config.database)))


async def test_a_client_that_does_not_read_is_dropped(
    connect: Connect, config: Config, provider: MediaProvider
) -> None:
    client = await connect(replace(config, write_seconds=0.3))
    admin = await sign_in(client, "admin", "admin123")
    await add_media(client, admin, provider)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    provider.script = endless
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    async with asyncio.timeout(60):
        await provider.closed.wait()
    await until(lambda: bool(ledger(config.database)))
    (row,) = ledger(config.database)
    assert row["end_reason"] == "disconnected"
    response.close()


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ("audio/pcm;rate=24000", "audio/pcm;rate=24000"),
        ("audio/L16; rate=24000; channels=1", "audio/L16; rate=24000; channels=1"),
        ("application/octet-stream", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/javascript", "application/octet-stream"),
    ],
)
async def test_only_recordings_keep_their_type(
    client: TestClient, admin: Headers, provider: MediaProvider, sent: str, passed: str
) -> None:
    await add_media(client, admin, provider)
    provider.gate.set()
    provider.script = provider.pieces(b"<svg>", b"</svg>", content_type=sent)
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    assert response.headers["Content-Type"] == passed
    assert await response.read() == b"<svg></svg>"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"<html><body>blocked</body></html>", "text/html", 502),
        (
            b'{"error": {"message": "no such voice", "type": "invalid_request_error"}}',
            "application/json",
            400,
        ),
        (b"", "audio/mpeg", 502),
    ],
)
async def test_what_is_no_speech_is_an_error(
    client: TestClient, admin: Headers, provider: MediaProvider, body: bytes, content_type: str, status: int
) -> None:
    await add_media(client, admin, provider)
    provider.script = provider.respond(body, content_type)
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    assert response.status == status, await response.text()
    assert (await response.json())["error"]["message"]


async def test_error_of_the_provider_comes_in_our_shape(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add_media(client, admin, provider)
    body = b'{"error": {"message": "no such voice", "type": "invalid_request_error", "param": "voice"}}'
    provider.script = provider.respond(body, "application/json", 400)
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, "voice") and "no such voice" in error["message"]


async def test_the_api_key_never_passes(client: TestClient, admin: Headers, provider: MediaProvider) -> None:
    """Also where it is split between two reads; the length stays as it was told."""
    await keys(client, admin, provider)
    leak = b"a" + ONE.encode() + b"b"
    provider.gate.set()
    provider.script = provider.pieces(leak[:9], leak[9:], length=True)
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    assert await response.read() == b"a" + b"*" * len(ONE) + b"b"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"input": "x"}, 400, "field_required"),
        ({"model": "nobody-knows", "input": "x"}, 404, "unknown_model"),
        ({"model": "painter", "input": "x"}, 400, "model_of_other_type"),
        ({"model": "voice", "input": 7}, 400, "field_wrong_type"),
        ({"model": "voice", "input": "x", "Input": "y"}, 400, "field_case_differs"),
    ],
)
async def test_wrong_requests_get_a_clear_error(
    client: TestClient, admin: Headers, provider: MediaProvider, body: Any, status: int, code: str
) -> None:
    await add_media(client, admin, provider)
    response = await client.post(SPEECH, json=body, headers=admin)
    assert (response.status, response.headers["X-ChatHub-Code"]) == (status, code), await response.text()
    assert not provider.received


async def test_other_formats_and_other_models_of_a_token_are_refused(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, provider.base_url, "gemini", name="voice", model_type="audio")
    response = await client.post(SPEECH, json=ASKED, headers=admin)
    assert (response.status, response.headers["X-ChatHub-Code"]) == (400, "model_without_path")
    limited = {"Authorization": f"Bearer {await token(client, admin, allowed_models=['m'])}"}
    response = await client.post(SPEECH, json=ASKED, headers=limited)
    assert (response.status, response.headers["X-ChatHub-Code"]) == (403, "model_not_allowed")
    assert client.app is not None and not client.app[RUNNING].is_busy
