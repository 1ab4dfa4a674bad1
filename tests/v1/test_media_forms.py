"""Forms at /v1: transcripts, translations and edits of images, sent on byte for byte and never held whole."""

import asyncio
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from gateway import ONE, TWO, Headers, add, official, post, token
from media import MediaProvider, add_media, ledger
from scripted import data

from chathub.app_keys import REQUEST_MEMORY, RUNNING, UPLOADS
from chathub.config import Config

TRANSCRIPTIONS, TRANSLATIONS, EDITS = (
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/images/edits",
)
AUDIO = bytes(range(256)) * 40 + b"\r\n--boundary\r\n\r\n--"
AdminOf = Callable[[Config], Awaitable[tuple[TestClient, Headers]]]
SAID = b'{"text": "hello", "usage": {"type": "duration", "seconds": 3}}'


@pytest.fixture
async def provider() -> AsyncIterator[MediaProvider]:
    async with MediaProvider() as provider:
        provider.script = provider.respond(SAID, "application/json")
        yield provider


@pytest.fixture
def admin_of(connect: Connect) -> AdminOf:
    """Starts a server, and signs an administrator in."""

    async def start(config: Config) -> tuple[TestClient, Headers]:
        client = await connect(config)
        return client, await sign_in(client, "admin", "admin123")

    return start


@pytest.fixture
def small(config: Config) -> Config:
    """Bounds that a test reaches with few bytes."""
    return replace(config, upload_bytes=100_000, body_seconds=0.5)


def form(*fields: tuple[str, bytes, str | None], boundary: bytes = b"x") -> bytes:
    """A form as bytes; a third value is a file name."""
    parts = []
    for name, content, filename in fields:
        file = f'; filename="{filename}"\r\nContent-Type: audio/wav' if filename is not None else ""
        parts.append(
            b"--%b\r\n" % boundary
            + f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
            + content
            + b"\r\n"
        )
    return b"".join(parts) + b"--%b--\r\n" % boundary


def idle(client: TestClient) -> bool:
    """Whether nothing is kept of any request."""
    assert client.app is not None
    app = client.app
    return not (app[UPLOADS].used or app[REQUEST_MEMORY].used or app[RUNNING].is_busy)


async def send(client: TestClient, headers: Headers, body: Any, path: str = TRANSCRIPTIONS) -> Any:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return await client.post(path, data=body, headers=headers | kind)


USUAL = form(("model", b"voice", None), ("file", AUDIO, "a.wav"))


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
async def test_the_provider_gets_every_part_and_its_own_name_of_the_model(
    client: TestClient, admin: Headers, provider: MediaProvider, path: str
) -> None:
    """The model may come after the file; a part that looks like a boundary is content."""
    await add_media(client, admin, provider, upstream_name="whisper-9")
    body = form(
        ("prompt", "你好".encode(), None),
        ("file", AUDIO, 'say "hi" 猫.wav'.replace('"', "%22")),
        ("timestamp_granularities[]", b"word", None),
        ("timestamp_granularities[]", b"segment", None),
        ("model", b"voice", None),
        ("empty", b"", None),
    )
    response = await send(client, admin, body, path)
    assert (response.status, await response.read()) == (200, SAID), await response.text()
    assert response.content_type == "application/json"
    assert provider.last.path == path
    assert int(provider.last.headers["Content-Length"]) == len(provider.last.body)
    assert provider.last.parts == [
        ("prompt", None, "", "你好".encode()),
        ("file", "say %22hi%22 猫.wav", "audio/wav", AUDIO),
        ("timestamp_granularities[]", None, "", b"word"),
        ("timestamp_granularities[]", None, "", b"segment"),
        ("model", None, "", b"whisper-9"),
        ("empty", None, "", b""),
    ]
    assert "authorization" not in str(provider.last.headers).lower()
    await until(lambda: idle(client))


async def test_the_next_key_gets_the_whole_form_again(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, provider.base_url, name="voice", model_type="audio", needs_key=True)
    for label, key, priority in (("one", ONE, 10), ("two", TWO, 0)):
        body = {"model_provider": "upstream", "api_key": key, "label": label, "priority": priority}
        await post(client, "/api/apikeys", body, admin)
    refusal = provider.respond(b'{"error": {"message": "no"}}', "application/json", 401)
    said = provider.script

    async def by_key(request: web.Request) -> web.StreamResponse:
        return await (refusal if ONE in request.headers["Authorization"] else said)(request)

    provider.script = by_key
    response = await send(client, admin, USUAL)
    assert (response.status, await response.read()) == (200, SAID)
    first, second = provider.received
    assert first.parts == second.parts and first.headers["Content-Type"] != second.headers["Content-Type"]


@pytest.mark.parametrize(
    ("response_format", "body", "sent", "passed"),
    [
        ("text", b"hello\n", "text/plain; charset=utf-8", "text/plain"),
        ("srt", b"1\n00:00:00,000 --> 00:00:02,000\nhello\n", "application/x-subrip", "application/x-subrip"),
        ("vtt", b"WEBVTT\n\n00:00.000 --> 00:02.000\nhello\n", "text/vtt", "text/vtt"),
        ("text", b"{laughs} hello", "text/plain", "application/json"),
        ("text", b"", "text/plain", "text/plain"),
        ("text", b"hello", "application/javascript", "text/plain"),
        ("verbose_json", b'{"text": "hello", "duration": 2.5, "segments": []}', "application/json", None),
        ("diarized_json", b'{"text": "hello", "segments": [{"speaker": "A"}]}', "application/json", None),
    ],
)
async def test_transcripts_pass_in_every_format(
    client: TestClient,
    admin: Headers,
    provider: MediaProvider,
    response_format: str,
    body: bytes,
    sent: str,
    passed: str | None,
) -> None:
    await add_media(client, admin, provider)
    provider.script = provider.respond(body, sent)
    asked = form(
        ("model", b"voice", None),
        ("response_format", response_format.encode(), None),
        ("file", AUDIO, "a.wav"),
    )
    response = await send(client, admin, asked)
    assert (response.status, await response.read()) == (200, body), await response.text()
    assert response.content_type == (passed or "application/json")


async def test_a_transcript_streams_and_its_tokens_are_charged(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider, input_price_per_1k=2, output_price_per_1k=10)
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
    events = [
        data({"type": "transcript.text.delta", "delta": "hel"}),
        data({"type": "transcript.text.delta", "delta": "lo"}),
        data({"type": "transcript.text.done", "text": "hello", "usage": usage}),
    ]
    provider.script = provider.pieces(*events, content_type="text/event-stream")
    asked = form(("file", AUDIO, "a.wav"), ("model", b"voice", None), ("stream", b"true", None))
    response = await send(client, admin, asked)
    assert response.content_type == "text/event-stream"
    first = await response.content.readany()
    assert b"hel" in first and not provider.gate.is_set()
    provider.gate.set()
    assert first + await response.read() == b"".join(events)
    (row,) = ledger(config.database)
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (14, 3, "reported")
    assert row["cost"] == 14 * 2_000 + 3 * 10_000


@pytest.mark.parametrize(("body", "sent"), [(SAID, "application/json"), (b"hello", "text/plain")])
async def test_a_whole_transcript_in_place_of_events_is_passed_on(
    client: TestClient, admin: Headers, provider: MediaProvider, body: bytes, sent: str
) -> None:
    """As OpenAI's own older models do."""
    await add_media(client, admin, provider)
    provider.script = provider.respond(body, sent)
    asked = form(("file", AUDIO, "a.wav"), ("model", b"voice", None), ("stream", b"true", None))
    response = await send(client, admin, asked)
    assert (response.status, await response.read(), response.content_type) == (200, body, sent)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_official_client_transcribes_translates_and_edits(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add_media(client, admin, provider)
    key = await token(client, admin)
    made = official("openai").AsyncOpenAI(api_key=key, base_url=str(client.make_url("/v1")), max_retries=0)
    async with made as hub:
        said = await hub.audio.transcriptions.create(model="voice", file=("a.wav", AUDIO, "audio/wav"))
        assert (said.text, said.usage.seconds) == ("hello", 3)
        said = await hub.audio.translations.create(model="voice", file=("a.wav", AUDIO), temperature=0.2)
        assert said.text == "hello"
        provider.script = provider.respond(b"hello", "text/plain")
        said = await hub.audio.transcriptions.create(
            model="voice", file=("a.wav", AUDIO), response_format="text"
        )
        assert said == "hello"
        usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
        answer = {"created": 1, "data": [{"b64_json": "aGk="}], "usage": usage}
        provider.script = provider.respond(json.dumps(answer).encode(), "application/json")
        made = await hub.images.edit(
            model="painter",
            image=[("one.png", b"\x89PNG1", "image/png"), ("two.png", b"\x89PNG2", "image/png")],
            mask=("mask.png", b"\x89PNG3", "image/png"),
            prompt="a cat",
            n=1,
            size="1024x1024",
        )
        assert made.data[0].b64_json == "aGk="
    files = [part[:2] + part[3:] for part in provider.last.parts if part[1] is not None]
    assert files == [
        ("image[]", "one.png", b"\x89PNG1"),
        ("image[]", "two.png", b"\x89PNG2"),
        ("mask", "mask.png", b"\x89PNG3"),
    ]


async def test_image_edits_as_json_and_as_events(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider, upstream_name="gpt-image-9", input_price_per_1k=1)
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    events = [
        data({"type": "image_edit.partial_image", "b64_json": "aGk=" * 100_000}),
        data({"type": "image_edit.completed", "b64_json": "aGk=" * 100_000, "size": "1x1", "usage": usage}),
    ]
    provider.gate.set()
    provider.script = provider.pieces(*events, content_type="text/event-stream")
    body = {"model": "painter", "prompt": "a cat", "images": [{"file_id": "f"}], "stream": True}
    response = await client.post(EDITS, json=body, headers=admin)
    assert await response.read() == b"".join(events)
    assert json.loads(provider.last.body) == body | {"model": "gpt-image-9"}
    (row,) = ledger(config.database)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (5, 7)


# --- malicious and broken forms


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (form(("file", AUDIO, "a.wav")), 400, "field_required"),
        (form(("model", b"voice", None)), 400, "field_required"),
        (form(("model", b"voice", None), ("file", b"text", None)), 400, "field_required"),
        (form(("model", b"voice", None), ("model", b"m", None), ("file", b"a", "a")), 400, "field_repeated"),
        (
            form(("model", b"voice", None), ("Model", b"m", None), ("file", b"a", "a")),
            400,
            "field_case_differs",
        ),
        (form(("model", b"voice", "m.txt"), ("file", b"a", "a")), 400, "field_invalid"),
        (form(("model", b"voice", None), ("file", b"a", "a"), ("file", b"b", "b")), 400, "field_repeated"),
        (form(("model", b"voice", None), ("file", b"a", None), ("file", b"b", "b")), 400, "field_repeated"),
        (
            form(("model", b"voice", None), ("file", b"a", "a"), ("File", b"b", "b")),
            400,
            "field_case_differs",
        ),
        (form(("model", b"m" * 200_000, None), ("file", b"a", "a")), 400, "field_invalid"),
        (form(*[("a", b"1" * 60_000, None)] * 10), 413, "form_texts_too_large"),
        (form(*[("a", b"", None)] * 129), 400, "form_too_many_parts"),
        (USUAL.replace(b"form-data", b"attachment"), 400, "form_invalid"),
        (USUAL[:-10], 400, "form_incomplete"),
        (b"", 400, "form_incomplete"),
        (b'{"model": "voice"}', 400, "form_incomplete"),
        (b"--x\r\nX: " + b"a" * 20_000, 400, "form_invalid"),
    ],
)
async def test_wrong_forms_get_a_clear_error_and_leave_nothing(
    client: TestClient, admin: Headers, provider: MediaProvider, body: bytes, status: int, code: str
) -> None:
    await add_media(client, admin, provider)
    response = await send(client, admin, body)
    assert (response.status, response.headers["X-ChatHub-Code"]) == (status, code), await response.text()
    assert not provider.received
    await until(lambda: idle(client))


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS, EDITS])
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/mixed"],
)
async def test_other_content_types_are_refused(
    client: TestClient, admin: Headers, provider: MediaProvider, content_type: str, path: str
) -> None:
    await add_media(client, admin, provider)
    headers = admin | {"Content-Type": content_type}
    response = await client.post(path, data=USUAL, headers=headers)
    assert response.status == 415, await response.text()
    assert response.headers["X-ChatHub-Code"] in ("form_boundary_missing", "body_not_json")
    assert not provider.received


async def test_a_large_form_takes_little_memory(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    """It is on the disk, whole, before the provider gets its first byte; twice, for the second key."""
    await add(client, admin, provider.base_url, name="voice", model_type="audio", needs_key=True)
    for label, key, priority in (("one", ONE, 10), ("two", TWO, 0)):
        body = {"model_provider": "upstream", "api_key": key, "label": label, "priority": priority}
        await post(client, "/api/apikeys", body, admin)
    provider.keeps_bodies = False
    assert client.app is not None
    uploads, memory = client.app[UPLOADS], client.app[REQUEST_MEMORY]
    kept, counted, piece = [], [], os.urandom(65_536)

    async def refuse_first(request: web.Request) -> web.StreamResponse:
        kept.append(uploads.used)
        counted.append(memory.used)
        first = ONE in request.headers["Authorization"]
        return web.Response(status=401 if first else 200, body=SAID, content_type="application/json")

    provider.script = refuse_first
    head, tail = form(("model", b"voice", None), ("file", b"|", "a.wav")).split(b"|")

    async def pieces() -> AsyncIterator[bytes]:
        yield head
        for _ in range(512):
            yield piece
        yield tail

    tracemalloc.start()
    try:
        response = await send(client, admin, pieces())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status == 200, await response.text()
    size = 512 * len(piece)
    assert kept == [size + 5, size + 5] and max(counted) < 300_000
    assert provider.sizes[0] == provider.sizes[1] > size
    # of the client, ChatHub and the provider together
    assert peak < 8 * 1024 * 1024
    await until(lambda: idle(client))


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_form_above_the_bound_is_refused(
    small: Config, provider: MediaProvider, chunked: bool, admin_of: AdminOf
) -> None:
    client, admin = await admin_of(small)
    await add_media(client, admin, provider)
    body = form(("model", b"voice", None), ("file", bytes(100_001), "a.wav"))

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    response = await send(client, admin, pieces() if chunked else body)
    assert (response.status, response.headers["X-ChatHub-Code"]) == (413, "body_too_large")
    response = await send(client, admin, form(("model", b"voice", None), ("file", bytes(99_000), "a.wav")))
    assert response.status == 200
    await until(lambda: idle(client))


async def test_a_form_that_does_not_arrive_times_out(
    small: Config, provider: MediaProvider, admin_of: AdminOf
) -> None:
    client, admin = await admin_of(small)
    await add_media(client, admin, provider)
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield USUAL[:-100]
        await ended.wait()

    response = await send(client, admin, pieces())
    assert (response.status, response.headers["X-ChatHub-Code"]) == (400, "body_timeout")
    ended.set()
    await until(lambda: idle(client))


async def test_heads_of_parts_count_as_memory(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add_media(client, admin, provider)
    assert client.app is not None
    memory = client.app[REQUEST_MEMORY]
    never = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield form(*[("a", b"", "f" * 8_000)] * 100)[:-10]
        await never.wait()

    sending = asyncio.create_task(send(client, admin, pieces()))
    await until(lambda: memory.used > 800_000)
    sending.cancel()
    await until(lambda: idle(client))


async def test_a_client_that_leaves_while_it_uploads_leaves_nothing(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider)
    assert client.app is not None
    uploads = client.app[UPLOADS]
    never = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield form(("file", bytes(1_000_000), "a.wav"))[:-10]
        await never.wait()

    sending = asyncio.create_task(send(client, admin, pieces()))
    await until(lambda: uploads.used > 500_000)
    sending.cancel()
    await until(lambda: idle(client))
    assert not [name for name in os.listdir(config.database.parent) if "upload" in name]


async def test_a_client_that_leaves_ends_the_request_and_frees_its_file(
    config: Config, provider: MediaProvider, admin_of: AdminOf
) -> None:
    """The provider has what was sent, and may still tell its usage: after a moment nothing is awaited."""
    client, admin = await admin_of(replace(config, usage_seconds=0.1))
    await add_media(client, admin, provider)
    provider.script = provider.pieces(b"never", b"sent")
    sending = asyncio.create_task(send(client, admin, USUAL))
    await until(lambda: bool(provider.received))
    sending.cancel()
    async with asyncio.timeout(30):
        await provider.closed.wait()
    await until(lambda: idle(client) and bool(ledger(config.database)))
    (row,) = ledger(config.database)
    assert (row["model"], row["end_reason"]) == ("voice", "disconnected")


async def test_a_file_name_cannot_write_headers(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add_media(client, admin, provider)
    for name in (r"a\"; name=\"model", "a%0D%0AX-Evil: 1", "a\\"):
        body = USUAL.replace(b'filename="a.wav"', f'filename="{name}"'.encode())
        if name == "a\\":
            body = USUAL.replace(b'filename="a.wav"', rb'filename="a\\"')
        response = await send(client, admin, body)
        assert response.status == 200, await response.text()
        assert [part[0] for part in provider.last.parts] == ["model", "file"]
        assert b"\r\nX-Evil" not in provider.last.body
        assert provider.last.body.count(b"filename=") == 1


async def test_a_limited_token_cannot_choose_another_model_in_a_form(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add_media(client, admin, provider)
    limited = {"Authorization": f"Bearer {await token(client, admin, allowed_models=['voice'])}"}
    body = form(
        ("model", b"voice", None),
        ("models[]", b"other", None),
        ("Provider[order][]", b"other", None),
        ("file", AUDIO, "a.wav"),
    )
    assert (await send(client, limited, body)).status == 200
    assert [part[0] for part in provider.last.parts] == ["model", "file"]


async def test_an_error_of_the_provider_comes_in_our_shape(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add_media(client, admin, provider)
    provider.script = provider.respond(
        b'{"error": {"message": "Invalid file format.", "type": "invalid_request_error"}}',
        "application/json",
        400,
    )
    response = await send(client, admin, USUAL)
    assert response.status == 400 and "Invalid file format" in (await response.json())["error"]["message"]
    (row,) = ledger(config.database)
    assert (row["cost"], row["http_status"]) == (0, 400)
    await until(lambda: idle(client))


async def test_a_provider_that_responds_before_it_has_read_the_form(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    """Its response counts, although it closes the connection."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": {"message": "File is too large", "type": "invalid_request_error"}}'
        head = f"HTTP/1.1 413 X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.write_eof()
        while await reader.read(65_536):
            pass
        writer.close()

    async def pieces() -> AsyncIterator[bytes]:
        yield form(("model", b"voice", None), ("file", bytes(3_000_000), "a"))

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await add(client, admin, f"http://127.0.0.1:{port}/v1", name="voice", model_type="audio")
        response = await send(client, admin, pieces())
        assert (response.status, "File is too large" in await response.text()) == (413, True)
