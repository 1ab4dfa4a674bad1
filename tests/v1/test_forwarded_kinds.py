"""Texts, images, ranks and moderations at /v1: forwarded, reserved, and paid by the unit."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import Headers, add, official, post, token
from media import MediaProvider, ledger

from chathub.config import Config

IMAGE = {"data": [{"b64_json": "aGk="}] * 3, "created": 1}
PAINT = {"model": "painter", "prompt": "a cat", "n": 3, "size": "1024x1024", "quality": "hd"}
TEXT = {"id": "c", "object": "text_completion", "created": 1, "model": "x"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


@pytest.fixture
async def provider() -> AsyncIterator[MediaProvider]:
    async with MediaProvider() as provider:
        yield provider


def respond(provider: MediaProvider, body: Any, status: int = 200) -> None:
    provider.script = provider.respond(json.dumps(body).encode(), "application/json", status)


async def test_three_images_cost_three_times_the_most_specific_price(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    units = {"image": 0.04, "image/1024x1024": 0.06, "image/1024x1024/hd": 0.08}
    await add(client, admin, provider.base_url, name="painter", model_type="image", units=units)
    respond(provider, IMAGE)
    assert await post(client, "/v1/images/generations", PAINT, admin) == IMAGE
    (row,) = ledger(config.database)
    assert (row["kind"], row["cost"], row["unit"]) == ("image", 240_000, "image/1024x1024/hd")
    assert (row["units"], row["unit_price"]) == (3, 80_000_000_000)
    shown = await (await client.get("/api/usage", headers=admin)).json()
    assert (shown["data"][0]["cost"], shown["data"][0]["price_per_unit"]) == (0.24, 0.08)
    sums = await (await client.get("/api/usage?group_by=model", headers=admin)).json()
    assert sums["data"][0]["cost"] == 0.24
    assert provider.last.path == "/v1/images/generations"


async def test_refused_request_costs_nothing(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add(client, admin, provider.base_url, name="painter", model_type="image", units={"image": 1})
    respond(provider, {"error": {"message": "no", "type": "invalid_request_error"}}, 400)
    assert (await client.post("/v1/images/generations", json=PAINT, headers=admin)).status == 400
    assert [row["cost"] for row in ledger(config.database)] == [0]


async def test_images_are_paid_by_tokens_where_these_are_reported_and_have_a_price(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    prices = {"input_price_per_1k": 0.005, "output_price_per_1k": 0.04, "units": {"image": 9}}
    await add(client, admin, provider.base_url, name="painter", model_type="image", **prices)
    respond(provider, {**IMAGE, "usage": {"input_tokens": 10, "output_tokens": 1_000, "total_tokens": 1_010}})
    await post(client, "/v1/images/generations", PAINT, admin)
    (row,) = ledger(config.database)
    assert (row["cost"], row["unit"], row["completion_tokens"]) == (40_050, "", 1_000)


async def test_budget_for_three_images_pays_no_more_than_three_of_twenty_at_once(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add(client, admin, provider.base_url, name="painter", model_type="image", units={"image": 1})
    respond(provider, {"data": [{"url": "x"}]})
    key = await token(client, admin, cost_limit=3)
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": "painter", "prompt": "a cat"}

    async def one() -> int:
        return (await client.post("/v1/images/generations", json=body, headers=headers)).status

    found = sorted(await asyncio.gather(*(one() for _ in range(20))))
    assert found[:3] == [200] * 3 and set(found[3:]) == {429}
    assert sum(row["cost"] for row in ledger(config.database)) == 3_000_000


# what an image may take of a provider's tokens at most, and what it takes here
MOST_TOKENS, TOKENS = 16_000, 6_240


async def test_budget_for_three_images_paid_by_tokens_bounds_twenty_at_once(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    """The length of an image cannot be capped: nothing is left for a fourth one until the three are there."""
    await add(client, admin, provider.base_url, name="painter", model_type="image", output_price_per_1k=1)
    told = {"input_tokens": 10, "output_tokens": TOKENS, "total_tokens": TOKENS + 10}
    begun, gate = asyncio.Semaphore(0), asyncio.Event()

    async def paint(request: web.Request) -> web.StreamResponse:
        begun.release()
        await gate.wait()
        return web.json_response({"data": [{"url": "x"}], "usage": told})

    provider.script = paint
    key = await token(client, admin, cost_limit=3 * MOST_TOKENS / 1000)
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": "painter", "prompt": "a cat"}

    async def one() -> int:
        return (await client.post("/v1/images/generations", json=body, headers=headers)).status

    asked = [asyncio.create_task(one()) for _ in range(20)]
    refused = [await each for each in islice(asyncio.as_completed(asked), 17)]
    for _ in range(3):
        await begun.acquire()
    assert set(refused) == {429} and len(provider.received) == 3
    gate.set()
    assert sorted(await asyncio.gather(*asked)) == [200] * 3 + [429] * 17
    assert [row["cost"] for row in ledger(config.database)] == [TOKENS * 1000] * 3
    # 29.28 are left: one image more, then 23.04, and so on, until there are less than 16
    statuses = [await one() for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert sum(row["cost"] for row in ledger(config.database)) <= 48_000_000


@pytest.mark.parametrize(
    ("name", "fields", "limits"),
    [
        ("painter", {"prompt": "a cat", "n": 2}, {"cost_limit": 31.9}),
        ("painter", {"prompt": "a cat", "n": 2}, {"monthly_limit": 31_999}),
        ("speaker", {"input": "x" * 100, "voice": "v", "stream_format": "sse"}, {"cost_limit": 0.4}),
    ],
)
async def test_nearly_empty_budget_does_not_reach_for_what_cannot_be_capped(
    client: TestClient,
    admin: Headers,
    provider: MediaProvider,
    name: str,
    fields: dict[str, Any],
    limits: dict[str, float],
) -> None:
    """Also where the model has a limit of its own, which is one of texts."""
    prices = {"output_price_per_1k": 1, "max_tokens": 100}
    await add(client, admin, provider.base_url, name="painter", model_type="image", **prices)
    await add(client, admin, provider.base_url, name="speaker", model_type="audio", **prices)
    key = await token(client, admin, **limits)
    path = "/v1/images/generations" if name == "painter" else "/v1/audio/speech"
    headers = {"Authorization": f"Bearer {key}"}
    response = await client.post(path, json={"model": name, **fields}, headers=headers)
    assert response.status == 429, await response.text()
    assert provider.received == []


@pytest.mark.parametrize(
    ("response", "counts"),
    [
        ({"usage": {"total_tokens": 30}}, (30, "search", 2, 4_000)),
        ({"meta": {"billed_units": {"search_units": 5}}}, (None, "search", 5, 10_000)),
        ({"meta": {"tokens": {"input_tokens": 21, "output_tokens": 0}}}, (21, "search", 2, 4_000)),
    ],
)
async def test_searches_are_those_that_the_provider_tells_or_by_the_hundred_documents(
    client: TestClient,
    admin: Headers,
    provider: MediaProvider,
    config: Config,
    response: dict[str, Any],
    counts: tuple[int | None, str, int, int],
) -> None:
    await add(client, admin, provider.base_url, name="r", model_type="rerank", units={"search": 0.002})
    respond(provider, {"results": [{"index": 0, "relevance_score": 0.5}], **response})
    body = {"model": "r", "query": "q", "documents": ["d"] * 101, "top_n": 1}
    assert (await post(client, "/v1/rerank", body, admin))["results"][0]["index"] == 0
    (row,) = ledger(config.database)
    assert (row["kind"], row["unit"], row["units"], row["cost"]) == ("rerank", *counts[1:])
    if counts[0] is not None:
        assert row["prompt_tokens"] == counts[0]


async def test_official_client_asks_for_images_texts_and_moderations(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    for name, kind in (("painter", "image"), ("writer", "completion"), ("judge", "moderation")):
        await add(client, admin, provider.base_url, name=name, model_type=kind)
    key = await token(client, admin)
    async with official("openai").AsyncOpenAI(
        api_key=key, base_url=str(client.make_url("/v1")), max_retries=0
    ) as hub:
        respond(provider, IMAGE)
        assert len((await hub.images.generate(**PAINT)).data) == 3
        respond(provider, {"id": "m", "model": "judge", "results": [{"flagged": True}]})
        assert (await hub.moderations.create(model="judge", input="x")).results[0].flagged
        choice = {"index": 0, "text": "hello", "finish_reason": "stop", "logprobs": None}
        respond(provider, {**TEXT, "choices": [choice], "usage": USAGE})
        made = await hub.completions.create(model="writer", prompt=["a", "b"], n=2)
        assert made.choices[0].text == "hello"
    kinds = {row["kind"]: row for row in ledger(config.database)}
    assert set(kinds) == {"image", "text", "moderation"}
    assert (kinds["text"]["prompt_tokens"], kinds["text"]["completion_tokens"]) == (5, 7)


def stream() -> bytes:
    chunks = [
        {**TEXT, "choices": [{"index": 0, "text": "He", "finish_reason": None}]},
        {**TEXT, "choices": [{"index": 0, "text": "llo", "finish_reason": "stop"}]},
        {**TEXT, "choices": [], "usage": USAGE},
    ]
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in chunks) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("asks", [False, True])
async def test_streamed_text_has_the_usage_that_was_requested_however_it_is_split(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config, asks: bool
) -> None:
    await add(client, admin, provider.base_url, name="writer", model_type="completion")
    whole, body = stream(), {"model": "writer", "prompt": "x", "stream": True}
    if asks:
        body["stream_options"] = {"include_usage": True}
    provider.gate.set()
    places = range(1, len(whole), 1 if asks else 7)
    for at in places:
        provider.script = provider.pieces(whole[:at], whole[at:], content_type="text/event-stream")
        response = await client.post("/v1/completions", json=body, headers=admin)
        data = await response.read()
        expected = (
            whole if asks else b"".join(e + b"\n\n" for e in whole.split(b"\n\n")[:-1] if b'"usage"' not in e)
        )
        assert data == expected, at
    assert json.loads(provider.last.body)["stream_options"] == {"include_usage": True}
    rows = ledger(config.database)
    assert len(rows) == len(places)
    assert {(row["kind"], row["prompt_tokens"], row["completion_tokens"]) for row in rows} == {("text", 5, 7)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/images/generations", "image"), ("/v1/embeddings", "embedding"), ("/v1/chat/completions", "chat")],
)
async def test_memory_of_a_whole_response_is_free_when_it_is_sent(
    client: TestClient, admin: Headers, provider: MediaProvider, path: str, kind: str
) -> None:
    """Also where nothing collects what refers to itself."""
    await add(client, admin, provider.base_url, name="m", model_type=kind)
    text = "x" * 1_000_000
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    respond(provider, {"choices": [choice]} if kind == "chat" else {"data": [{"b64_json": text}]})
    body = {"model": "m", "prompt": "x", "input": "x", "messages": [{"role": "user", "content": "x"}]}
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(6):
            response = await client.post(path, json=body, headers=admin | {"Connection": "close"})
            # which keeps nothing itself
            assert response.status == 200 and [len(each) async for each in response.content.iter_any()]
            sizes.append(tracemalloc.get_traced_memory()[0])
        assert sizes[-1] < sizes[0] + 2_000_000, sizes
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("ending", ["refused", "refused by the provider", "cut"])
async def test_memory_of_a_body_is_free_however_its_request_ends(
    client: TestClient, admin: Headers, provider: MediaProvider, ending: str
) -> None:
    await add(client, admin, provider.base_url, name="m", model_type="image")
    await add(client, admin, provider.base_url, name="talker", model_type="chat")
    respond(provider, {"error": {"message": "no"}}, 400)
    event = b'data: {"type": "image_generation.partial_image"}\n\n'
    if ending == "cut":
        provider.gate.set()
        provider.script = provider.pieces(event, b"", content_type="text/event-stream", cut=True)
    model = "talker" if ending == "refused" else "m"
    body = json.dumps({"model": model, "prompt": "x" * 1_000_000, "stream": ending == "cut"})
    headers = admin | {"Connection": "close", "Content-Type": "application/json"}
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(6):
            response = await client.post("/v1/images/generations", data=body, headers=headers)
            await response.read()
            # the provider of the test keeps bodies, too
            provider.received.clear()
            sizes.append(tracemalloc.get_traced_memory()[0])
        assert sizes[-1] < sizes[0] + 3_000_000, sizes
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("stream", [False, True])
async def test_text_costs_about_its_tokens_where_none_are_told(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config, stream: bool
) -> None:
    prices = {"input_price_per_1k": 1, "output_price_per_1k": 1}
    await add(client, admin, provider.base_url, name="old", model_type="completion", **prices)
    choice = {"text": "a word " * 50, "index": 0, "finish_reason": "stop"}
    body = json.dumps(TEXT | {"choices": [choice]}).encode()
    if stream:
        provider.script = provider.respond(b"data: %b\n\ndata: [DONE]\n\n" % body, "text/event-stream")
    else:
        provider.script = provider.respond(body, "application/json")
    request = {"model": "old", "prompt": "ten words " * 5, "stream": stream}
    response = await client.post("/v1/completions", json=request, headers=admin)
    assert response.status == 200 and await response.read()
    (row,) = ledger(config.database)
    assert row["prompt_tokens"] >= 10 and row["completion_tokens"] >= 80, row
    assert (row["usage_source"], row["end_reason"]) == ("estimated", "stop")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"prompt": "x"}),
        ("/v1/rerank", {"query": "q", "documents": ["d"]}),
        ("/v1/moderations", {"input": "x"}),
    ],
)
async def test_model_of_another_type_or_format_is_refused_by_name(
    client: TestClient, admin: Headers, provider: MediaProvider, path: str, body: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, name="talker", model_type="chat")
    response = await client.post(path, json={"model": "talker", **body}, headers=admin)
    assert response.status == 400
    assert "chat" in (await response.json())["error"]["message"]
    assert provider.received == []


def strict(provider: MediaProvider, *refused: str) -> None:
    """Make a provider refuse these fields on the path of completions, and accept anything else."""

    async def run(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if request.path.endswith("/v1/completions"):
            for name in refused:
                if name in body:
                    error = {"message": f"Unrecognized request argument supplied: {name}"}
                    return web.json_response({"error": error}, status=400)
        if body.get("stream"):
            return web.Response(body=stream(), content_type="text/event-stream")
        choice = {"index": 0, "text": "there", "message": {"role": "assistant", "content": "there"}}
        return web.json_response({**TEXT, "choices": [{**choice, "finish_reason": "stop"}], "usage": USAGE})

    provider.script = run


async def test_field_of_a_completion_that_its_provider_refuses_is_left_out_from_then_on(
    client: TestClient, admin: Headers, provider: MediaProvider, config: Config
) -> None:
    await add(client, admin, provider.base_url, name="writer")
    strict(provider, "seed", "user", "temperature")
    body = {"model": "writer", "prompt": "unknown words " * 2_000, "seed": 1, "user": "u", "max_tokens": 9}
    for sent in (3, 4):
        found = await post(client, "/v1/completions", body, admin)
        assert found["choices"][0]["text"] == "there" and len(provider.received) == sent
        assert json.loads(provider.last.body).keys() == {"model", "prompt", "max_tokens"}
    chat = {"model": "writer", "messages": [{"role": "user", "content": "x"}], "seed": 1}
    await post(client, "/v1/chat/completions", chat, admin)
    assert json.loads(provider.last.body)["seed"] == 1, "another path has its own quirks"
    assert [row["prompt_tokens"] for row in ledger(config.database)] == [5] * 3


async def test_streamed_completion_goes_on_without_the_usage_that_its_provider_cannot_tell(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, provider.base_url, name="writer", model_type="completion")
    strict(provider, "stream_options")
    body = {"model": "writer", "prompt": "x", "stream": True}
    for sent in (2, 3):
        response = await client.post("/v1/completions", json=body, headers=admin)
        assert response.status == 200 and b"[DONE]" in await response.read()
        assert len(provider.received) == sent and b"stream_options" not in provider.last.body


@pytest.mark.parametrize("name", ["prompt", "suffix", "echo", "best_of", "n", "stop"])
async def test_refused_field_that_makes_another_completion_is_the_clients_error(
    client: TestClient, admin: Headers, provider: MediaProvider, name: str
) -> None:
    await add(client, admin, provider.base_url, name="writer", model_type="completion")
    strict(provider, name)
    given = {"suffix": "s", "echo": True, "best_of": 2, "n": 2, "stop": ["."]}
    body = {"model": "writer", "prompt": "x", **{key: given[key] for key in given if key == name}}
    response = await client.post("/v1/completions", json=body, headers=admin)
    assert response.status == 400 and len(provider.received) == 1
    assert name in (await response.json())["error"]["message"]


async def test_refused_field_of_an_image_is_the_clients_error(
    client: TestClient, admin: Headers, provider: MediaProvider
) -> None:
    await add(client, admin, provider.base_url, name="painter", model_type="image")
    respond(provider, {"error": {"message": "Unknown parameter: 'quality'.", "param": "quality"}}, 400)
    response = await client.post("/v1/images/generations", json=PAINT, headers=admin)
    assert response.status == 400 and len(provider.received) == 1
