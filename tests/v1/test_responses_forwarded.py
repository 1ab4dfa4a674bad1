"""Requests of Responses at providers that have them, that have not, and of which it is not known."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import PIXEL, Headers, add, by_key, key_states, official, post, sent, spent, token
from scripted import Provider, Script, data, reply
from scripted_formats import whole as whole_of

from chathub.config import Config
from chathub.formats.events import Text
from chathub.formats.responses.whole_and_stream import stream_of
from chathub.gateway.usage_meter import EventQueue
from chathub.routes import ROUTES

openai = official("openai")

if not any(route.path == "/v1/responses" for route in ROUTES):
    pytest.skip("there is no route of Responses", allow_module_level=True)

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "input": "hi"}
PRICES = {"input_price_per_1k": 1.0, "output_price_per_1k": 2.0, "cached_price_per_1k": 0.1}
KEY = "sk-of-the-tests-cccc3333"
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 130,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "你好", "annotations": []}],
}
Scripts = dict[str, Script]


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    """A response as the provider sends it, with a field that nobody knows."""
    made = {"id": "resp_theirs", "object": "response", "created_at": 1, "model": "m-2026", "status": status}
    return made | {"output": [MESSAGE], "usage": USAGE, "tools": [], "new_field": {"a": [1.50]}} | more


def events(*last: dict[str, Any]) -> list[bytes]:
    """A stream of Responses."""
    at = {"output_index": 0, "item_id": "msg_1"}
    made: list[dict[str, Any]] = [
        {"type": "response.created", "response": response("in_progress", output=[], usage=None)},
        {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE | {"content": []}},
        {"type": "response.output_text.delta", **at, "content_index": 0, "delta": "你"},
        {"type": "response.output_text.delta", **at, "content_index": 0, "delta": "好", "obfuscation": "x"},
        {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
        *(last or ({"type": "response.completed", "response": response()},)),
    ]
    return [
        b"event: %b\n" % each["type"].encode() + data({**each, "sequence_number": number})
        for number, each in enumerate(made)
    ]


def by_path(scripts: Scripts) -> Script:
    """Choose the response by the path."""

    async def run(request: web.Request) -> web.StreamResponse:
        return await scripts[request.path](request)

    return run


def paths(provider: Provider) -> list[str]:
    return [body["_path"] for body in provider.bodies]


async def ask(client: TestClient, headers: Headers, *, status: int = 200, **body: Any) -> Any:
    """The body of a response, or the events of a stream."""
    async with asyncio.timeout(30):
        async with client.post(RESPONSES, json=ASKED | body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
    return read(text) if body.get("stream") and status == 200 else json.loads(text)


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"')]


def text_of(answer: Any) -> str:
    """The text of a whole response, or of a stream."""
    if isinstance(answer, list):
        return "".join(each["delta"] for each in answer if each["type"] == "response.output_text.delta")
    parts = [part for item in answer["output"] for part in item.get("content", [])]
    return "".join(part.get("text", "") for part in parts)


async def rows(client: TestClient, admin: Headers, requests: int) -> list[dict[str, Any]]:
    """The entries of the ledger, the newest first."""
    await spent(client, admin, requests)
    async with client.get("/api/usage?limit=50", headers=admin) as answer:
        found: list[dict[str, Any]] = (await answer.json())["data"]
    return found


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "usage_source", "cost", "end_reason")
    return tuple(row[name] for name in names)


# 60 fresh tokens at 1, 40 cached ones at 0.1 and 30 of output at 2 per thousand
FORWARDED = (100, 30, 40, "reported", 0.124, "stop")
# the reply of Chat Completions in ``scripted_formats``: 7 tokens and 3
TRANSLATED = (7, 3, 0, "reported", 0.013, "stop")


# --- forwarded


@pytest.mark.parametrize("stream", [True, False])
async def test_provider_that_has_responses_gets_the_request_and_its_bytes_are_the_reply(
    client: TestClient, admin: Headers, provider: Provider, stream: bool
) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    provider.script = provider.stream(events()) if stream else provider.answer(200, response())
    body = ASKED | {"stream": stream, "instructions": "x", "new": [1.50], "store": False, "metadata": {}}
    async with client.post(RESPONSES, json=body, headers=admin) as answer:
        got = await answer.read()
    assert answer.status == 200 and got == (
        b"".join(events()) if stream else json.dumps(response(), ensure_ascii=False).encode()
    )
    wanted = {name: value for name, value in body.items() if name != "stream" or stream}
    assert sent(provider) == wanted and paths(provider) == [RESPONSES]
    assert [told(row) for row in await rows(client, admin, 1)] == [FORWARDED]


@pytest.mark.parametrize("stream", [True, False])
async def test_client_gets_what_it_requested_from_a_provider_that_sends_the_other(
    client: TestClient, admin: Headers, provider: Provider, stream: bool
) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    provider.script = provider.answer(200, response()) if stream else provider.stream(events())
    answer = await ask(client, admin, stream=stream)
    assert text_of(answer) == "你好"
    whole = answer[-1]["response"] if stream else answer
    assert whole == response()
    assert [told(row) for row in await rows(client, admin, 1)] == [FORWARDED]


@pytest.mark.parametrize("cut", [False, True])
async def test_official_client_accumulates_a_forwarded_stream(
    client: TestClient, admin: Headers, provider: Provider, cut: bool
) -> None:
    await add(client, admin, provider.base_url)
    whole = response(parallel_tool_calls=True, tool_choice="auto", incomplete_details=None)
    stream = stream_of(json.dumps(whole).encode())
    provider.script = provider.stream([stream.rpartition(b"event:")[0] if cut else stream], cut=cut)
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    base, access = str(client.make_url("/v1")), await token(client, admin)
    async with (
        openai.AsyncOpenAI(base_url=base, api_key=access, max_retries=0, http_client=http) as made_by_openai,
        made_by_openai.responses.stream(model="m", input="hi") as made,
    ):
        kinds = [event.type async for event in made]
        assert kinds[-1] == ("response.failed" if cut else "response.completed")
        if not cut:
            assert (await made.get_final_response()).output_text == "你好"


async def test_api_key_in_a_forwarded_stream_is_masked(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, needs_key=True)
    await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": KEY, "label": "k"}, admin)
    last = {"type": "response.completed", "response": response(echo=KEY)}
    provider.script = provider.stream(events(last))
    answer = await ask(client, admin, stream=True)
    assert answer[-1]["type"] == "response.completed" and KEY not in json.dumps(answer)


async def test_stream_that_is_cut_ends_with_a_failed_response_and_is_recorded_as_cut(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    provider.script = provider.stream(events()[:4], cut=True)
    answer = await ask(client, admin, stream=True)
    assert text_of(answer) == "你好" and answer[-1]["type"] == "response.failed"
    assert [each["sequence_number"] for each in answer] == list(range(len(answer)))
    assert answer[-1]["response"]["id"] == "resp_theirs" and answer[-1]["response"]["error"]["message"]
    (row,) = await rows(client, admin, 1)
    assert (row["end_reason"], row["usage_source"]) == ("cut", "estimated") and row["cost"] > 0


async def test_client_gets_whole_events_wherever_a_stream_ends(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    stream = b"".join(events())
    begun = stream.index(b"output_text.delta")
    for length in range(stream.index(b"\n\n", begun) + 2, len(stream), 29):
        provider.script = provider.stream([stream[:length]])
        answer = await ask(client, admin, stream=True)
        assert [each["type"] for each in answer].index("response.failed") == len(answer) - 1, length
        assert [each["sequence_number"] for each in answer] == list(range(len(answer))), length


@pytest.mark.parametrize("follows", ["at once", "later", "never"])
async def test_error_in_a_forwarded_stream_is_followed_by_one_failed_response(
    client: TestClient, admin: Headers, provider: Provider, follows: str
) -> None:
    await add(client, admin, provider.base_url)
    error = {"type": "error", "error": {"type": "server_error", "code": None, "message": "it broke"}}
    failed = {"type": "response.failed", "response": response("failed", output=[], error=error["error"])}
    *begun, last = events(error, failed)
    parts = {"at once": [begun[-1] + last], "later": [begun[-1], last], "never": [begun[-1]]}
    pause = 0.2 if follows == "later" else 0
    provider.script = provider.stream([b"".join(begun[:-1]), *parts[follows]], pause=pause)
    answer = await ask(client, admin, stream=True)
    assert [each["type"] for each in answer[-2:]] == ["error", "response.failed"]
    assert len([each for each in answer if each["type"] == "response.failed"]) == 1
    assert answer[-1]["response"]["id"] == "resp_theirs"
    (row,) = await rows(client, admin, 1)
    assert (row["end_reason"], row["usage_source"]) == (
        "cut",
        "estimated" if follows == "never" else "reported",
    )


_BROKEN: dict[str, Any] = {"code": "server_error", "message": "it broke"}


@pytest.mark.parametrize(
    "last",
    [
        [b"data: {unreadable}\n\n", data({"type": "response.completed", "response": response()})],
        [data({"type": "error", **_BROKEN}), data({"type": "response.done", "response": response()})],
        [data({"type": "response.completed", "response": response("failed", error=_BROKEN)})],
        [data({"type": "response.incomplete", "response": response("incomplete", error=_BROKEN)})],
        [data({"type": "response.cancelled", "response": response("cancelled", error=_BROKEN)})],
    ],
)
async def test_failed_stream_that_says_it_is_whole_ends_with_one_failed_response(
    client: TestClient, admin: Headers, provider: Provider, last: list[bytes]
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.stream([*events()[:-1], *last])
    answer = await ask(client, admin, stream=True)
    ends = ("completed", "incomplete", "cancelled", "done", "failed")
    assert [each["type"] for each in answer if each["type"].partition(".")[2] in ends] == ["response.failed"]
    assert answer[-1]["response"]["id"] == "resp_theirs"
    (row,) = await rows(client, admin, 1)
    assert row["end_reason"] == "cut"


@pytest.mark.parametrize("begun", [True, False])
async def test_usage_of_a_response_that_failed_counts(
    client: TestClient, admin: Headers, provider: Provider, begun: bool
) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    error = {"code": "invalid_prompt", "message": "flagged"}
    failed = {"type": "response.failed", "response": response("failed", output=[], error=error)}
    stream = events(failed) if begun else [events()[0], data(failed)]
    provider.script = provider.stream(stream)
    if begun:
        answer = await ask(client, admin, stream=True)
        assert [each["type"] for each in answer[-2:]] == ["response.output_item.done", "response.failed"]
    else:
        refused = await ask(client, admin, stream=True, status=400)
        assert refused["error"]["code"] == "content_filter"
    (row,) = await rows(client, admin, 1)
    assert told(row)[:5] == FORWARDED[:5] and row["end_reason"] == ("cut" if begun else "refused")


async def test_usage_that_comes_after_the_client_left_is_charged(
    connect: Connect, config: Config, logins: dict[str, Headers], provider: Provider
) -> None:
    client, admin = await connect(replace(config, usage_seconds=30)), logins["admin"]
    await add(client, admin, provider.base_url, **PRICES)
    provider.script = provider.stream(events(), stall_after=4)
    async with client.post(RESPONSES, json=ASKED | {"stream": True}, headers=admin) as answer:
        assert b"output_text.delta" in await answer.content.readany()
    provider.gate.set()
    assert [told(row) for row in await rows(client, admin, 1)] == [(*FORWARDED[:5], "disconnected")]


async def test_incomplete_response_is_whole(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    details = {"incomplete_details": {"reason": "max_output_tokens"}}
    last = {"type": "response.incomplete", "response": response("incomplete", **details)}
    provider.script = provider.stream(events(last))
    answer = await ask(client, admin, stream=True)
    assert answer[-1]["type"] == "response.incomplete"
    (row,) = await rows(client, admin, 1)
    assert told(row) == (*FORWARDED[:5], "length")


async def test_length_is_capped_by_what_the_budget_leaves(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.answer(200, response())
    await client.put("/api/users/2", json={"usage_limit": 1000}, headers=admin)
    made = {"Authorization": f"Bearer {await token(client, user)}"}
    await ask(client, made, max_output_tokens=100_000)
    assert sent(provider)["max_output_tokens"] < 1000


@pytest.mark.parametrize("allows", [True, False])
async def test_tools_of_the_provider_are_not_for_a_limited_caller(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, allows: bool
) -> None:
    await add(client, admin, provider.base_url, allow_extras=allows)
    provider.script = provider.answer(200, response())
    made = {"Authorization": f"Bearer {await token(client, user, allowed_models=['m'])}"}
    look = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    extras = {"service_tier": "priority", "tool_choice": {"type": "web_search"}}
    await ask(client, made, tools=[look, {"type": "web_search"}, {"type": "image_generation"}], **extras)
    body = sent(provider)
    assert [tool["type"] for tool in body["tools"]] == (
        ["function", "web_search", "image_generation"] if allows else ["function"]
    )
    assert ("service_tier" in body, "tool_choice" in body) == (allows, allows)
    # also those that the input brings
    brought = {"type": "additional_tools", "role": "developer", "tools": [look, {"type": "web_search"}]}
    await ask(client, made, input=[brought, {"role": "user", "content": "hi"}])
    kinds = [tool["type"] for tool in sent(provider)["input"][0]["tools"]]
    assert kinds == (["function", "web_search"] if allows else ["function"])
    too_many = [{"type": "web_search"}] * 1001
    answer = await ask(client, made, tools=too_many, status=200 if allows else 400)
    assert allows or answer["error"]["param"] == "tools"


async def test_refused_field_is_left_out_and_that_is_remembered(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    error = {"message": "Unsupported parameter: 'truncation'", "param": "truncation"}
    provider.script = provider.one_after_the_other(
        provider.answer(400, {"error": error}), provider.answer(200, response())
    )
    for _ in range(2):
        await ask(client, admin, truncation="auto")
    assert ["truncation" in body for body in provider.bodies] == [True, False, False]
    assert paths(provider) == [RESPONSES] * 3


async def test_form_of_the_output_stays_where_the_rest_of_the_text_is_refused(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    form = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}

    async def strict(request: web.Request) -> web.StreamResponse:
        if "verbosity" in (await request.json()).get("text", {}):
            error = {"message": "Unknown parameter: 'text.verbosity'.", "param": "text.verbosity"}
            return await provider.answer(400, {"error": error})(request)
        return await provider.answer(200, response())(request)

    provider.script = strict
    for wanted in ({"format": form}, {"format": {"type": "text"}}, {}):
        await ask(client, admin, **ASKED, text={**wanted, "verbosity": "low"})
        last = provider.last
        assert last.get("text") == ({"format": form} if wanted.get("format") == form else None)
    assert len(provider.bodies) == 4


async def test_images_by_address_go_to_the_provider_as_they_are(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.answer(200, response())
    parts = [
        {"type": "input_image", "image_url": "https://a.example/x.png"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    ]
    asked = [{"role": "user", "content": parts}]
    await ask(client, admin, input=asked)
    assert sent(provider)["input"] == asked


# --- missing


def page(provider: Provider, status: int, text: str) -> Script:
    return provider.answer(status, text.encode(), {"Content-Type": "text/html"})


MISSING: dict[str, Callable[[Provider], Script]] = {
    "nothing": lambda provider: provider.answer(404, b""),
    "plain text": lambda provider: provider.answer(404, b"404 page not found"),
    "web page": lambda provider: page(provider, 404, "<html><pre>Cannot POST /v1/responses</pre></html>"),
    "page of 200": lambda provider: page(provider, 200, "<html>Welcome</html>"),
    "FastAPI": lambda provider: provider.answer(404, {"detail": "Not Found"}),
    "method": lambda provider: provider.answer(405, {"detail": "Method Not Allowed"}),
    "not implemented": lambda provider: provider.answer(501, {"error": {"message": "no"}}),
    "LM Studio": lambda provider: provider.answer(
        200, {"error": "Unexpected endpoint or method. (POST /v1/responses)"}
    ),
    "unknown URL": lambda provider: provider.answer(400, {"error": {"message": "Unknown URL: /responses"}}),
    "other reply": lambda provider: provider.answer(200, {"object": "chat.completion", "choices": []}),
    "other stream": lambda provider: provider.stream(reply("hi")[:1]),
    "no response": lambda provider: provider.answer(200, {"ok": True}),
    "unauthorized": lambda provider: provider.answer(401, {"error": {"message": "no"}}),
    "this model": lambda provider: provider.answer(
        400, {"error": {"message": "m is not supported with the Responses API"}}
    ),
}


def chat_of(provider: Provider) -> Script:
    """Streams of Chat Completions or whole replies, as requested."""

    async def run(request: web.Request) -> web.StreamResponse:
        streams = json.loads(await request.read()).get("stream")
        whole = provider.answer(200, whole_of("openai", "hello"))
        return await (provider.stream(reply("hello")) if streams else whole)(request)

    return run


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", MISSING)
async def test_provider_without_responses_gets_the_request_translated_and_that_is_remembered(
    client: TestClient, admin: Headers, provider: Provider, how: str, stream: bool
) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    provider.script = by_path({RESPONSES: MISSING[how](provider), CHAT: chat_of(provider)})
    for _ in range(2):
        assert text_of(await ask(client, admin, stream=stream)) == "hello"
    assert paths(provider) == [RESPONSES, CHAT, CHAT]
    assert [told(row) for row in await rows(client, admin, 2)] == [TRANSLATED] * 2


async def test_nothing_is_remembered_while_the_translated_request_is_refused_too(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    missing = {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}
    provider.script = provider.answer(404, missing)
    for _ in range(2):
        refused = await ask(client, admin, status=404)
        assert refused["error"]["code"] == "model_not_found"
    assert paths(provider) == [RESPONSES, CHAT] * 2
    provider.script = by_path({RESPONSES: provider.answer(200, response()), CHAT: chat_of(provider)})
    assert text_of(await ask(client, admin)) == "你好"
    # once it has been successful, a model that does not exist is not asked for twice
    provider.script = provider.answer(404, missing)
    await ask(client, admin, status=404)
    assert paths(provider)[4:] == [RESPONSES, RESPONSES]


async def test_lack_that_may_have_another_reason_counts_for_its_user_only(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    refusing = provider.answer(403, {"error": {"message": "not for you"}})
    provider.script = by_path({RESPONSES: refusing, CHAT: chat_of(provider)})
    assert text_of(await ask(client, admin)) == "hello"
    provider.script = by_path({RESPONSES: provider.answer(200, response()), CHAT: chat_of(provider)})
    assert [text_of(await ask(client, who)) for who in (admin, user)] == ["hello", "你好"]


async def test_usage_that_a_useless_reply_has_told_is_an_entry_of_its_own(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, **PRICES)
    provider.script = by_path(
        {RESPONSES: provider.answer(200, whole_of("openai", "useless")), CHAT: chat_of(provider)}
    )
    assert text_of(await ask(client, admin)) == "hello"
    last, first = await rows(client, admin, 2)
    assert told(last) == TRANSLATED and told(first) == (*TRANSLATED[:5], "refused")


async def test_request_that_cannot_be_translated_is_refused_by_name(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = by_path({RESPONSES: MISSING["FastAPI"](provider), CHAT: chat_of(provider)})
    refused = await ask(client, admin, status=400, input=[{"role": "robot", "content": "x"}])
    assert refused["error"]["message"] and paths(provider) == [RESPONSES]


@pytest.mark.parametrize("having", [True, False])
async def test_model_that_cannot_stream_replies_as_a_stream_all_the_same(
    client: TestClient, admin: Headers, provider: Provider, having: bool
) -> None:
    await add(client, admin, provider.base_url, supports_streaming=False)
    script = provider.answer(200, response()) if having else MISSING["FastAPI"](provider)
    provider.script = by_path({RESPONSES: script, CHAT: chat_of(provider)})
    answer = await ask(client, admin, stream=True)
    assert text_of(answer) == ("你好" if having else "hello")
    assert answer[-1]["type"] == "response.completed"
    assert not any(body.get("stream") for body in provider.bodies)


def test_forwarded_events_do_not_wait_in_memory() -> None:
    queue = EventQueue(0, 1000)
    queue.is_forwarded = True
    queue.feed([Text("hi")] * 100)
    assert queue.has_output and not queue.has_events and queue.take_rest() == []


# --- failover


async def test_next_key_is_tried_where_the_first_fails_and_each_decides_for_itself(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, needs_key=True)
    for label, priority in (("one", 10), ("two", 0)):
        key = {"model_provider": "upstream", "api_key": f"sk-{label}-of-the-tests", "label": label}
        await post(client, "/api/apikeys", key | {"priority": priority}, admin)
    overloaded = provider.answer(503, {"error": {"message": "busy"}})
    provider.script = by_key(
        {"sk-one-of-the-tests": overloaded, "sk-two-of-the-tests": provider.stream(events())}
    )
    assert text_of(await ask(client, admin, stream=True)) == "你好"
    assert paths(provider) == [RESPONSES] * 2
    states = await key_states(client, admin)
    assert [states[label]["failure_count"] for label in ("one", "two")] == [1, 0]


@pytest.mark.parametrize("stream", [True, False])
async def test_target_of_another_format_takes_over_from_one_that_has_responses(
    client: TestClient, admin: Headers, provider: Provider, stream: bool
) -> None:
    async with Provider() as other:
        await add(client, admin, provider.base_url, name="one", provider="one", fallback_model="two")
        await add(client, admin, other.base_url, "anthropic", name="two", provider="two")
        provider.script = provider.answer(500, {"error": {"message": "it broke"}})
        other.script = other.answer(200, whole_of("anthropic", "other"))
        assert text_of(await ask(client, admin, model="one", stream=stream)) == "other"
        assert paths(provider) == [RESPONSES] and paths(other) == ["/v1/messages"]
