"""Fallback models of requests that are only forwarded."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientPayloadError, FormData, web
from aiohttp.test_utils import TestClient
from gateway import Headers, add, post, token, unused_address
from media import MediaProvider, ledger

from chathub.config import Config

TEXT = {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": "hi"}]}
AUDIO = b"RIFF....WAVE" * 40_000
ALIAS = {
    "model_name": "voices",
    "display_name": "voices",
    "targets": [{"model_name": "asked", "order": 0}, {"model_name": "busy", "order": 1}],
}
AGAIN = {"error": {"message": "busy", "type": "server_error"}}
# type of model, path, what is asked, what comes back
PATHS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("completion", "/v1/completions", {"prompt": "x"}, TEXT),
    ("image", "/v1/images/generations", {"prompt": "x"}, {"data": [{"url": "https://x"}]}),
    ("image", "/v1/images/edits", {"prompt": "x", "images": [{"image_url": "x"}]}, {"data": [{"url": "x"}]}),
    ("audio", "/v1/audio/speech", {"input": "x", "voice": "v"}, b"recording"),
    ("rerank", "/v1/rerank", {"query": "q", "documents": ["d"]}, {"results": []}),
    ("moderation", "/v1/moderations", {"input": "x"}, {"results": []}),
]


@pytest.fixture
async def provider() -> AsyncIterator[MediaProvider]:
    async with MediaProvider() as provider:
        yield provider


def respond(provider: MediaProvider, answer: Any) -> None:
    """Respond in the name of the fallback model only; the other one is busy."""

    async def run(request: web.Request) -> web.StreamResponse:
        if b"behind" not in await request.read():
            return web.json_response(AGAIN, status=503)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="audio/mpeg")
        return web.json_response(answer)

    provider.script = run


@pytest.mark.parametrize(("kind", "path", "body", "answer"), PATHS)
async def test_fallback_model_takes_the_place_of_one_that_fails(
    client: TestClient,
    admin: Headers,
    provider: MediaProvider,
    config: Config,
    kind: str,
    path: str,
    body: Any,
    answer: Any,
) -> None:
    """One of another format has no such path, and is passed over."""
    base_url, fields = provider.base_url, {"model_type": kind}
    await add(client, admin, base_url, name="asked", fallback_model="foreign", **fields)
    await add(
        client, admin, base_url, "anthropic", "foreign", provider="p2", fallback_model="behind", **fields
    )
    await add(client, admin, base_url, name="behind", **fields)
    respond(provider, answer)
    response = await client.post(path, json={"model": "asked", **body}, headers=admin)
    assert response.status == 200, await response.text()
    found = await response.read()
    assert (found if isinstance(answer, bytes) else json.loads(found)) == answer
    assert [received.path for received in provider.received] == [path, path]
    assert [row["model"] for row in ledger(config.database)] == ["asked", "behind"]


@pytest.mark.parametrize("path", [path for _, path, _, _ in PATHS])
async def test_fallback_model_of_another_type_is_passed_over(
    client: TestClient, admin: Headers, provider: MediaProvider, path: str
) -> None:
    (kind, _, body, answer), *_ = (each for each in PATHS if each[1] == path)
    await add(client, admin, provider.base_url, name="asked", fallback_model="behind", model_type=kind)
    await add(client, admin, provider.base_url, name="behind", model_type="embedding")
    respond(provider, answer)
    response = await client.post(path, json={"model": "asked", **body}, headers=admin)
    assert response.status == 502 and len(provider.received) == 1, await response.text()


async def test_form_goes_whole_to_the_fallback_model(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, unused_address(), name="asked", provider="down", model_type="audio")
    await add(client, admin, provider.base_url, name="busy", model_type="audio", fallback_model="behind")
    await add(
        client, admin, provider.base_url, name="behind", model_type="audio", upstream_name="whisper-behind"
    )
    await post(client, "/api/models", ALIAS, admin)
    respond(provider, {"text": "hello"})
    form = FormData()
    form.add_field("file", AUDIO, filename="a.wav", content_type="audio/wav")
    form.add_field("model", "voices")
    response = await client.post("/v1/audio/transcriptions", data=form, headers=admin)
    assert response.status == 200 and await response.json() == {"text": "hello"}
    first, second = (
        dict((name, content) for name, _, _, content in each.parts) for each in provider.received
    )
    assert first == {"file": AUDIO, "model": b"busy"}
    assert second == {"file": AUDIO, "model": b"whisper-behind"}


async def test_model_that_replies_is_paid_and_the_dearest_is_reserved(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add(
        client,
        admin,
        provider.base_url,
        name="asked",
        model_type="image",
        units={"image": 1},
        fallback_model="behind",
    )
    await add(client, admin, provider.base_url, name="behind", model_type="image", units={"image": 5})
    respond(provider, {"data": [{"url": "x"}]})
    key = await token(client, admin, cost_limit=7)
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": "asked", "prompt": "a cat"}
    assert (await client.post("/v1/images/generations", json=body, headers=headers)).status == 200
    assert [row["cost"] for row in ledger(config.database) if row["cost"]] == [5_000_000]
    count = len(provider.received)
    response = await client.post("/v1/images/generations", json=body, headers=headers)
    assert response.status == 429 and len(provider.received) == count


async def test_speech_that_has_begun_has_no_fallback_model(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, provider.base_url, name="asked", model_type="audio", fallback_model="behind")
    await add(client, admin, provider.base_url, name="behind", model_type="audio")
    provider.gate.set()
    provider.script = provider.pieces(b"begun", b"more", cut=True)
    with pytest.raises(ClientPayloadError):
        response = await client.post(
            "/v1/audio/speech", json={"model": "asked", "input": "x", "voice": "v"}, headers=admin
        )
        await response.read()
    assert len(provider.received) == 1


async def test_request_that_was_refused_itself_has_no_fallback_model(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, provider.base_url, name="asked", model_type="image", fallback_model="behind")
    await add(client, admin, provider.base_url, name="behind", model_type="image")
    provider.script = provider.respond(b'{"error": {"message": "no such size"}}', "application/json", 400)
    body = {"model": "asked", "prompt": "x", "size": "1x1"}
    assert (await client.post("/v1/images/generations", json=body, headers=admin)).status == 400
    assert len(provider.received) == 1
