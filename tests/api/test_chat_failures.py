"""Failures of a provider, and what is stored of the reply."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream, text_of
from conftest import sign_in
from scripted import DONE, Provider, chunk, data, reply

from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


# --- failures


@pytest.mark.parametrize(
    ("upstream", "ours"),
    [
        (400, 502),
        (401, 502),
        (402, 502),
        (403, 502),
        (404, 502),
        (500, 502),
        (503, 502),
        (504, 504),
        (429, 429),
    ],
)
async def test_providers_error_keeps_its_message_and_its_401_becomes_502(
    client: TestClient, user: Headers, provider: Provider, upstream: int, ours: int
) -> None:
    provider.script = provider.answer(upstream, {"error": {"message": "no luck"}}, {"Retry-After": "7"})
    status, body, headers = await chat(client, user)
    assert status == ours and "no luck" in body["error"] and "测试商" in body["error"]
    assert headers.get("Retry-After") == "7"
    events = await stream(client, user)
    assert events[-1]["type"] == "error" and events[-1]["status"] == ours


async def test_api_key_in_a_providers_error_is_removed(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    key = "my-very-own-key-0123456789"
    await client.post("/api/apikeys", json={"model_provider": "p_test_model", "api_key": key}, headers=user)
    provider.script = provider.answer(401, {"error": {"message": f"Incorrect key {key}, Bearer {key}"}})
    _, body, _ = await chat(client, user)
    assert provider.headers[-1]["Authorization"] == f"Bearer {key}"
    await client.post("/api/apikeys", json={"model_provider": "p_test_model", "api_key": key}, headers=user)
    events = await stream(client, user)
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert key not in str((body, events, kept)) and "Incorrect" in body["error"]


async def test_unreachable_provider_gets_502(client: TestClient, admin: Headers, user: Headers) -> None:
    await add_model(client, admin, "http://127.0.0.1:9/v1", "nobody")
    status, body, _ = await chat(client, user, model="nobody")
    assert (status, body["error"]) == (502, "无法连接到测试商（127.0.0.1）")


async def test_error_in_mid_stream_keeps_the_text_so_far(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """Defects 15 and 18: the error is JSON, and the text so far is not lost."""
    provider.script = provider.stream([chunk("半句"), data({"error": {"message": "overloaded"}})])
    events = await stream(client, user)
    assert [event["type"] for event in events] == ["start", "content", "error"]
    assert "overloaded" in events[-1]["content"] and events[-1]["status"] == 502
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert (kept[1]["content"], kept[1]["status"]) == ("半句", "error")
    assert kept[1]["usage"]["estimated"] is True and kept[1]["cost"] > 0


async def test_stream_that_is_cut_ends_with_an_error_event(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("半"), chunk("句")], cut=True)
    events = await stream(client, user)
    assert text_of(events) == "半句" and events[-1]["type"] == "error" and "中断" in events[-1]["error"]
    provider.script = provider.stream([chunk("半")])  # a clean end of the body does not end the reply
    assert (await stream(client, user))[-1]["type"] == "error"


@pytest.mark.parametrize("finish", ["stop", "length"])
async def test_an_empty_reply_that_the_model_calls_complete_is_an_error(
    client: TestClient, user: Headers, provider: Provider, finish: str
) -> None:
    """A reply that was cut to nothing (``length``) is what was asked for."""
    provider.script = provider.stream(reply(finish=finish))
    status, body, _ = await chat(client, user)
    assert status == (502 if finish == "stop" else 200), body
    assert len(provider.bodies) == 1
    kept = (await messages_of(client, user, body["conversation_id"]))[1]
    assert kept["status"] == ("error" if finish == "stop" else "done")
    assert (kept["usage"]["prompt_tokens"], kept["usage"]["estimated"]) == (7, False)


async def test_silent_provider_times_out_with_504(
    connect: Connect, config: Config, provider: Provider
) -> None:

    impatient = dataclasses.replace(
        config, idle_seconds=0.3, database=config.database.with_name("impatient.db")
    )
    client = await connect(impatient)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.hang()
    status, body, _ = await chat(client, admin)
    assert status == 504 and "没有响应" in body["error"]
    provider.script = provider.stream([chunk("半句"), DONE], stall_after=1)
    events = await stream(client, admin)
    assert events[-1]["status"] == 504 and text_of(events) == "半句"


async def test_provider_that_refuses_stream_options_never_gets_them_again(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    refusal = provider.answer(422, {"error": {"message": "stream_options: extra inputs are not permitted"}})
    provider.script = provider.one_after_the_other(refusal, provider.stream(reply("好")))
    assert (await chat(client, user))[1]["response"] == "好"
    assert ["stream_options" in body for body in provider.bodies] == [True, False]
    await chat(client, user)
    assert "stream_options" not in provider.last


async def test_other_400_errors_are_not_retried(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.answer(400, {"error": {"message": "model not found"}})
    status, body, _ = await chat(client, user)
    assert status == 502 and "model not found" in body["error"] and len(provider.bodies) == 1


async def test_model_without_streaming_gets_whole_requests(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    """Defect 22."""
    await add_model(client, admin, provider.base_url, "whole", supports_streaming=False)
    message = {"role": "assistant", "content": "整个回答", "reasoning_content": "想"}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    told = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    provider.script = provider.answer(200, {"choices": [choice], "usage": told})
    events = await stream(client, user, model="whole")
    assert (text_of(events), text_of(events, "reasoning")) == ("整个回答", "想")
    assert events[-1]["finish_reason"] == "length" and events[-1]["usage"]["total_tokens"] == 7
    assert provider.last["stream"] is False and "stream_options" not in provider.last


async def test_whole_reply_in_place_of_a_stream_is_decoded(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "整个"}, "finish_reason": "stop"}
    provider.script = provider.answer(200, {"choices": [choice]})
    _, body, _ = await chat(client, user)
    assert body["response"] == "整个" and body["usage"]["estimated"] is True


async def test_end_event_does_not_wait_for_the_end_of_the_providers_body(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好"), stall_after=99)
    async with asyncio.timeout(30):
        events = await stream(client, user)
    assert events[-1]["type"] == "end"


@pytest.mark.parametrize(
    "broken",
    [
        [data({"choices": [{"index": 0, "delta": {}, "error": {"message": "it broke", "code": 502}}]}), DONE],
        [b'error: {"message":"it broke"}\n\n'],
        [chunk(finish="error"), DONE],
        [],
    ],
)
async def test_reply_that_breaks_off_is_recorded_as_cut(
    client: TestClient, user: Headers, provider: Provider, broken: list[bytes]
) -> None:
    provider.script = provider.stream([chunk("半句"), *broken])
    events = await stream(client, user)
    assert text_of(events) == "半句" and events[-1]["type"] == "error"
    assert events[-1]["finish_reason"] == "error"
    async with client.get("/api/usage", headers=user) as response:
        (row,) = (await response.json())["data"]
    assert row["end_reason"] == "cut"


async def test_providers_own_word_for_the_end_is_kept_in_the_ledger_alone(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("好"), chunk(finish="new_word"), DONE])
    assert (await stream(client, user))[-1]["finish_reason"] == "stop"
    async with client.get("/api/usage", headers=user) as response:
        (row,) = (await response.json())["data"]
    assert row["end_reason"] == "new_word"
