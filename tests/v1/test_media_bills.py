"""What media cost: rows of the ledger to the millionth, by the prices of units or of tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from audio_files import recording
from chats import until
from conftest import Connect, sign_in
from gateway import Headers, add
from media import MediaProvider, ledger

from chathub.config import Config

SPEECH, TRANSCRIPTIONS, EDITS = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/images/edits"
PRICES = {
    "character": 0.000015,
    "second": 0.0001,
    "image": 0.02,
    "image/1024x1024": 0.04,
    "image/1024x1024/high": 0.167,
}
TEXT = "你好，世界 👋" * 100


@pytest.fixture
async def provider() -> AsyncIterator[MediaProvider]:
    async with MediaProvider() as provider:
        provider.gate.set()
        yield provider


async def add_priced(client: TestClient, admin: Headers, provider: MediaProvider, **model: Any) -> None:
    await add(client, admin, provider.base_url, name="voice", model_type="audio", units=PRICES, **model)
    await add(client, admin, provider.base_url, name="painter", model_type="image", units=PRICES, **model)


def transcription(**texts: str) -> tuple[bytes, Headers]:
    """A form with 1.5 seconds."""
    head = 'Content-Disposition: form-data; name="{}"\r\n\r\n{}'
    parts = [head.format(name, text).encode() for name, text in {"model": "voice", **texts}.items()]
    wav = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + recording("pcm.wav")
    body = b"".join([b"--x\r\n%b\r\n" % part for part in (*parts, wav)]) + b"--x--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=x"}


def bill(config: Config) -> tuple[Any, ...]:
    (row,) = ledger(config.database)
    return row["kind"], row["unit"], row["units"], row["cost"]


async def test_speech_costs_its_characters(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_priced(client, admin, provider)
    provider.script = provider.pieces(b"one", b"two")
    body = {"model": "voice", "input": TEXT, "voice": "alloy"}
    response = await client.post(SPEECH, json=body, headers=admin)
    assert (response.status, await response.read()) == (200, b"onetwo")
    assert bill(config) == ("speech", "character", len(TEXT), len(TEXT) * 15)


async def test_speech_costs_its_characters_also_if_its_client_leaves(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_priced(client, admin, provider)
    provider.gate.clear()
    provider.script = provider.pieces(b"ID3first", b"second")
    body = {"model": "voice", "input": TEXT, "voice": "alloy"}
    response = await client.post(SPEECH, json=body, headers=admin)
    await response.content.readany()
    response.close()
    await until(lambda: bool(ledger(config.database)))
    assert bill(config) == ("speech", "character", len(TEXT), len(TEXT) * 15)


async def test_refused_speech_costs_nothing(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_priced(client, admin, provider)
    provider.script = provider.respond(b'{"error": {"message": "no"}}', "application/json", 400)
    body = {"model": "voice", "input": TEXT, "voice": "alloy"}
    assert (await client.post(SPEECH, json=body, headers=admin)).status == 400
    assert bill(config)[3] == 0


@pytest.mark.parametrize(
    ("texts", "answer", "seconds"),
    [
        ({}, b'{"text": "x", "usage": {"type": "duration", "seconds": 61}}', 61),
        ({}, b'{"text": "x", "duration": 60.2}', 61),
        ({"response_format": "text"}, b"x", 2),
        ({"response_format": "srt"}, b"1\n00:00:00,000 --> 00:00:01,500\nx\n", 2),
    ],
)
async def test_a_transcript_costs_the_seconds_that_are_told_else_those_of_the_file(
    client: TestClient,
    admin: Headers,
    provider: MediaProvider,
    config: Config,
    texts: dict[str, str],
    answer: bytes,
    seconds: int,
) -> None:
    await add_priced(client, admin, provider)
    kind = "application/json" if answer.startswith(b"{") else "text/plain"
    provider.script = provider.respond(answer, kind)
    body, headers = transcription(**texts)
    response = await client.post(TRANSCRIPTIONS, data=body, headers=admin | headers)
    assert response.status == 200, await response.text()
    assert bill(config) == ("transcription", "second", seconds, seconds * 100)


async def test_a_transcript_whose_client_left_costs_the_seconds_of_its_file(
    connect: Connect, config: Config, provider: MediaProvider
) -> None:
    client = await connect(replace(config, usage_seconds=0.1))
    admin = await sign_in(client, "admin", "admin123")
    await add_priced(client, admin, provider)
    provider.gate.clear()
    provider.script = provider.pieces(b"never", b"sent")
    body, headers = transcription()
    sending = asyncio.create_task(client.post(TRANSCRIPTIONS, data=body, headers=admin | headers))
    await until(lambda: bool(provider.received))
    sending.cancel()
    await until(lambda: bool(ledger(config.database)))
    assert bill(config) == ("transcription", "second", 2, 200)


async def test_tokens_that_have_a_price_are_paid_instead_of_seconds(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_priced(client, admin, provider, input_price_per_1k=0.006, output_price_per_1k=0.01)
    usage = {"type": "tokens", "input_tokens": 1400, "output_tokens": 333, "total_tokens": 1733}
    provider.script = provider.respond(json.dumps({"text": "x", "usage": usage}).encode(), "application/json")
    body, headers = transcription()
    await client.post(TRANSCRIPTIONS, data=body, headers=admin | headers)
    assert bill(config) == ("transcription", "", 0, 1400 * 6 + 333 * 10)


@pytest.mark.parametrize(
    ("asked", "told", "units", "cost"),
    [
        ({}, {}, "image", 20_000),
        ({"size": "1024x1024"}, {}, "image/1024x1024", 40_000),
        ({"size": "1024x1024", "quality": "high"}, {}, "image/1024x1024/high", 167_000),
        ({"size": "auto"}, {"size": "1024x1024", "quality": "high"}, "image/1024x1024/high", 167_000),
    ],
)
async def test_images_cost_what_was_made(
    client: TestClient,
    admin: Headers,
    provider: MediaProvider,
    config: Config,
    asked: dict[str, str],
    told: dict[str, str],
    units: str,
    cost: int,
) -> None:
    await add_priced(client, admin, provider)
    answer = {"created": 1, "data": [{"b64_json": "aGk="}] * 2, **told}
    provider.script = provider.respond(json.dumps(answer).encode(), "application/json")
    body = {"model": "painter", "prompt": "a cat", "images": [{"file_id": "f"}], "n": 2, **asked}
    response = await client.post(EDITS, json=body, headers=admin)
    assert response.status == 200, await response.text()
    assert bill(config) == ("image", units, 2, 2 * cost)


async def test_what_a_budget_does_not_hold_is_not_sent(
    client: TestClient, admin: Headers, user: Headers, provider: MediaProvider
) -> None:
    """The most that it can cost is reserved: 1,000 characters cost 0.015."""
    await add_priced(client, admin, provider)
    made = await client.post("/api/tokens", json={"name": "t", "cost_limit": 0.01}, headers=user)
    limited = {"Authorization": f"Bearer {(await made.json())['token']}"}
    provider.script = provider.pieces(b"one", b"two")
    body = {"model": "voice", "input": "a" * 1000, "voice": "alloy"}
    response = await client.post(SPEECH, json=body, headers=limited)
    assert response.status == 429, await response.text()
    assert not provider.received
    body["input"] = "a" * 600
    assert (await client.post(SPEECH, json=body, headers=limited)).status == 200
