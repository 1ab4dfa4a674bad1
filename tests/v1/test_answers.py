"""Attachments and sources of replies at /v1, with the official clients and providers of every format."""

import io
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add, official, spent, token
from scripted import DONE, Provider, chunk, data, reply, usage
from scripted_formats import anthropic, gemini, openai_calls

openai, sdk = official("openai"), official("anthropic")

PNG = b"\x89PNG\r\n\x1a\n" + b"the tests' own" * 100
URL = f"data:image/png;base64,{b64encode(PNG).decode()}"
A, B = "https://a.example/1", "https://b.example/2"
HELLO: list[Any] = [{"role": "user", "content": "hi"}]
INLINE = {"inlineData": {"mimeType": "image/png", "data": b64encode(PNG).decode()}}
GROUNDING = {
    "groundingChunks": [{"web": {"uri": A, "title": "T"}}, {"web": {"uri": B, "title": "U"}}],
    "groundingSupports": [{"segment": {"endIndex": len("猫🙂".encode())}, "groundingChunkIndices": [0]}],
}
TOLD = f"[image/png, {round(len(PNG) / 1024)} KB: cannot be shown in this format]"
streamed_or_whole = pytest.mark.parametrize("streams", [False, True])


@pytest.fixture
async def asked(client: TestClient, admin: Headers) -> AsyncIterator[Any]:
    """OpenAI's client."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    url, key = str(client.make_url("/v1")), await token(client, admin)
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, http_client=http) as made:
        yield made.chat.completions.create


@pytest.fixture
async def claude(client: TestClient, admin: Headers) -> AsyncIterator[Any]:
    """Anthropic's client: a message, streamed or whole."""
    http = sdk.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    url, key = str(client.make_url("/")), await token(client, admin)
    async with sdk.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, http_client=http) as made:

        async def message(streams: bool) -> Any:
            body: dict[str, Any] = {"model": "m", "max_tokens": 2000, "messages": HELLO}
            if not streams:
                return await made.messages.create(**body)
            async with made.messages.stream(**body) as stream:
                return await stream.get_final_message()

        yield message


def gemini_script(provider: Provider, *parts: Any, **fields: Any) -> Any:
    """A script of Gemini's: the parts, streamed or whole as it is asked."""
    last = {"content": {"parts": []}, "finishReason": "STOP", **fields}
    counts = {"promptTokenCount": 7, "candidatesTokenCount": 3}
    stream = [*gemini(*parts)[:-1], data({"candidates": [last], "usageMetadata": counts})]
    body = {"candidates": [{**last, "content": {"parts": list(parts)}}], "usageMetadata": counts}

    async def run(request: Any) -> Any:
        is_streamed = "stream" in request.path
        script = provider.stream(stream) if is_streamed else provider.answer(200, body)
        return await script(request)

    return run


async def message_of(create: Any, streams: bool) -> dict[str, Any]:
    """The fields of a message that OpenAI's client reads, of a stream those of all deltas."""
    if not streams:
        return (await create(model="m", messages=HELLO)).choices[0].message.model_dump(exclude_none=True)
    found: dict[str, Any] = {"content": ""}
    async for each in await create(model="m", messages=HELLO, stream=True):
        for choice in each.choices:
            fields = choice.delta.model_dump(exclude_none=True)
            found["content"] += fields.pop("content", "")
            found |= fields
    return found


@streamed_or_whole
async def test_openai_client_gets_images_of_another_format(
    client: TestClient, admin: Headers, provider: Provider, asked: Any, streams: bool
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    provider.script = gemini_script(provider, {"text": "猫🙂"}, INLINE, groundingMetadata=GROUNDING)
    message = await message_of(asked, streams)
    assert message["content"] == "猫🙂"
    assert message["images"] == [{"type": "image_url", "image_url": {"url": URL}, "index": 0}]
    cited = [each["url_citation"] for each in message["annotations"]]
    assert [(each["url"], each["start_index"], each["end_index"]) for each in cited] == [(A, 0, 2), (B, 0, 0)]
    assert (await spent(client, admin, 1))["tokens_used"] == 10


@streamed_or_whole
async def test_openai_client_gets_an_image_alone(
    client: TestClient, admin: Headers, provider: Provider, asked: Any, streams: bool
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    provider.script = gemini_script(provider, INLINE)
    message = await message_of(asked, streams)
    assert not message.get("content") and len(message["images"]) == 1


async def test_openai_client_gets_citations_of_anthropics(
    client: TestClient, admin: Headers, provider: Provider, asked: Any
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    location = {"type": "web_search_result_location", "url": A, "title": "T", "cited_text": "q"}
    text = {"type": "text", "text": "坐着", "citations": [{**location, "encrypted_index": "e"}]}
    content = [{"type": "text", "text": "猫🙂"}, text]
    body = {"type": "message", "content": content, "stop_reason": "end_turn"}
    provider.script = provider.answer(200, body)
    (annotation,) = (await asked(model="m", messages=HELLO)).choices[0].message.annotations
    cited = annotation.url_citation
    assert (cited.url, cited.title, cited.start_index, cited.end_index) == (A, "T", 2, 4)


@streamed_or_whole
async def test_anthropic_client_gets_citations_and_is_told_of_images(
    client: TestClient, admin: Headers, provider: Provider, claude: Any, streams: bool
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    provider.script = gemini_script(provider, {"text": "猫🙂"}, INLINE, groundingMetadata=GROUNDING)
    content = (await claude(streams)).content
    assert "".join(block.text for block in content) == f"猫🙂{TOLD}"
    urls = [[each.url for each in block.citations or []] for block in content]
    # a stream can cite at the end of its text only
    assert urls == [[A, B]] if streams else [[A], [B]]


@streamed_or_whole
async def test_anthropic_client_gets_annotations_of_openais_format(
    client: TestClient, admin: Headers, provider: Provider, claude: Any, streams: bool
) -> None:
    await add(client, admin, provider.base_url, "openai")
    cited = {"url": A, "title": "T", "start_index": 0, "end_index": 1, "content": "q"}
    annotations = [{"type": "url_citation", "url_citation": cited}]
    message = {"content": "猫坐", "annotations": annotations}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    stream = [chunk("猫坐"), chunk(annotations=annotations), *reply()]
    provider.script = provider.stream(stream) if streams else provider.answer(200, body)
    content = (await claude(streams)).content
    (citation,) = content[0].citations
    assert (citation.type, citation.url, citation.cited_text) == ("web_search_result_location", A, "q")
    assert [block.text for block in content] == (["猫坐"] if streams else ["猫", "坐"])


async def test_sources_beside_tool_calls_are_a_sentence_for_anthropic_clients(
    client: TestClient, admin: Headers, provider: Provider, claude: Any
) -> None:
    await add(client, admin, provider.base_url, "openai")
    last = openai_calls(("c1", "f", {}))
    provider.script = provider.stream([data({"choices": [], "citations": [A]}), *last])
    message = await claude(True)
    assert [block.type for block in message.content] == ["tool_use", "text"]
    assert message.content[1].text == f"Sources: {A}" and message.stop_reason == "tool_use"


@pytest.mark.parametrize("streams", [False, True])
async def test_attachments_above_twenty_mebibytes_are_sentences(
    client: TestClient, admin: Headers, provider: Provider, streams: bool
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    large = b64encode(PNG + bytes(11 * 512 * 1024)).decode()
    parts = [{"inlineData": {"mimeType": "image/png", "data": large}}] * 4
    provider.script = gemini_script(provider, *parts, {"text": "完"})
    body = {"model": "m", "messages": HELLO, "stream": streams}
    async with client.post("/v1/chat/completions", json=body, headers=admin) as response:
        assert response.status == 200
        text = await response.text()
    assert text.count(large) == 3 and "完" in text
    assert text.count("a reply has at most 20 MB of attachments") == 1


async def test_forwarded_images_pass_as_they_are(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "openai")
    stream = [chunk(images=[{"type": "image_url", "image_url": {"url": URL}}]), chunk(finish="stop")]
    provider.script = provider.stream([*stream, usage(7, 3), DONE])
    body = {"model": "m", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    async with client.post("/v1/chat/completions", json=body, headers=admin) as response:
        assert await response.read() == b"".join([*stream, usage(7, 3), DONE])
    assert (await spent(client, admin, 1))["tokens_used"] == 10


async def test_citations_of_anthropics_pass_to_its_clients_as_they_are(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    location = {"type": "web_search_result_location", "url": A, "title": "T", "cited_text": "q"}
    delta = {"type": "citations_delta", "citation": location | {"encrypted_index": "e"}}
    events = anthropic({"type": "text", "text": "a"})
    cited = data({"type": "content_block_delta", "index": 0, "delta": delta})
    stream = [*events[:3], b"event: content_block_delta\n" + cited, *events[3:]]
    provider.script = provider.stream(stream)
    body = io.BytesIO(json.dumps({"model": "m", "max_tokens": 9, "messages": HELLO, "stream": True}).encode())
    headers = admin | {"Content-Type": "application/json"}
    async with client.post("/v1/messages", data=body, headers=headers) as response:
        assert await response.read() == b"".join(stream)
