"""Reasoning in chats: what its provider needs back is kept with the reply and sent with tool results."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, messages_of, read_events
from scripted import Provider
from scripted_formats import add_model_of_format, replying
from thinking_providers import STRICT, strict_script

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
every_provider = pytest.mark.parametrize("kind", STRICT)


async def chat(client: TestClient, headers: Headers, **body: Any) -> tuple[int, Any]:
    asked = {"model": "m", "tools": [TOOL], **body}
    async with client.post("/api/chat", json=asked, headers=headers) as response:
        return response.status, await response.json()


async def called(client: TestClient, headers: Headers, **body: Any) -> tuple[str, list[dict[str, str]]]:
    """A conversation whose last reply calls a tool, and the results to send."""
    status, answer = await chat(client, headers, message="天气？", **body)
    assert status == 200, answer
    (call,) = answer["tool_calls"]
    return answer["conversation_id"], [{"tool_call_id": call["id"], "content": "晴"}]


async def begin(client: TestClient, admin: Headers, provider: Provider, kind: str, **fields: Any) -> None:
    strict = STRICT[kind]
    await add_model_of_format(
        client, admin, provider.base_url, strict.protocol, "m", supports_function_calling=True, **fields
    )
    provider.script = strict_script(provider, strict)


@pytest.mark.parametrize("streams", [True, False])
@every_provider
async def test_state_goes_back_with_the_results_of_tools(
    client: TestClient, admin: Headers, provider: Provider, kind: str, streams: bool
) -> None:
    await begin(client, admin, provider, kind, supports_streaming=streams)
    place, results = await called(client, admin)
    status, answer = await chat(client, admin, conversation_id=place, tool_results=results)
    assert (status, answer.get("response")) == (200, "晴"), answer
    status, answer = await chat(client, admin, conversation_id=place, message="明天？")
    assert (status, answer.get("response")) == (200, "晴"), answer
    # what is shown has no state in it
    shown = await messages_of(client, admin, place)
    assert all("state" not in message for message in shown)
    assert "c2lnbmVk" not in json.dumps(shown)


@every_provider
async def test_state_goes_along_to_another_provider_of_the_same_model(
    client: TestClient, admin: Headers, provider: Provider, kind: str
) -> None:
    await begin(client, admin, provider, kind, upstream_name="theirs")
    protocol, fields = STRICT[kind].protocol, {"upstream_name": "theirs", "supports_function_calling": True}
    await add_model_of_format(client, admin, provider.base_url, protocol, "other", **fields)
    targets = [{"model_name": "m"}, {"model_name": "other", "order": 1}]
    alias = {"model_name": "both", "display_name": "Both", "targets": targets}
    assert (await client.post("/api/models", json=alias, headers=admin)).status == 200
    place, results = await called(client, admin, model="both")
    listed = {row["model_name"]: row["id"] for row in await (await client.get("/api/models")).json()}
    await client.post(f"/api/models/{listed['m']}/toggle", headers=admin)
    status, answer = await chat(client, admin, model="both", conversation_id=place, tool_results=results)
    assert (status, answer.get("response"), answer["model"]) == (200, "晴", "other"), answer


@every_provider
async def test_state_goes_back_when_a_reply_to_results_is_regenerated(
    client: TestClient, admin: Headers, provider: Provider, kind: str
) -> None:
    await begin(client, admin, provider, kind)
    place, results = await called(client, admin)
    _, answer = await chat(client, admin, conversation_id=place, tool_results=results)
    url = f"/api/messages/{answer['message_id']}/regenerate"
    async with client.post(url, json={}, headers=admin) as response:
        events = await read_events(response)
    assert [event["type"] for event in events][-1] == "end", events
    assert "".join(event.get("content", "") for event in events) == "晴"


async def test_state_is_not_sent_to_another_model(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    for kind in ("deepseek", "openrouter", "gemini behind OpenAI's format"):
        async with Provider() as one, Provider() as other:
            name, strict = kind[:4], STRICT[kind]
            await add_model_of_format(
                client, admin, one.base_url, "openai", name, supports_function_calling=True
            )
            one.script = strict_script(one, strict)
            place, results = await called(client, admin, model=name)
            for protocol in ("openai", "anthropic", "gemini"):
                other.script = replying(other, protocol, "晴")
                await add_model_of_format(
                    client,
                    admin,
                    other.base_url,
                    protocol,
                    f"{name}-{protocol}",
                    supports_function_calling=True,
                )
                asked = {"model": f"{name}-{protocol}", "message": "?"}
                if protocol == "openai":
                    asked = {"model": f"{name}-{protocol}", "tool_results": results}
                status, answer = await chat(client, admin, conversation_id=place, **asked)
                assert status == 200, answer
                text = json.dumps(other.last)
                assert "reasoning" not in text and "extra_content" not in text
                # Google's signatures are the same in both of its formats
                assert "c2ln" not in text or protocol == "gemini"


async def test_reasoning_is_learned_to_go_back_to_a_model_that_asks_for_it(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """A turn that another model made: a blank stands for the reasoning that nobody has."""
    async with Provider() as other:
        await add_model_of_format(
            client, admin, other.base_url, "openai", "o", supports_function_calling=True
        )
        other.script = replying(other, "openai", wanted=[("call_1", "weather", {})])
        place, results = await called(client, admin, model="o")
    await begin(client, admin, provider, "kimi")
    sentence = (
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1"
    )
    refused = provider.answer(400, {"error": {"message": sentence}})
    answered = replying(provider, "openai", "晴")

    async def run(request: Any) -> Any:
        asked = provider.last["messages"][1]
        return await (answered if asked.get("reasoning_content") else refused)(request)

    provider.script = run
    status, answer = await chat(client, admin, conversation_id=place, tool_results=results)
    assert (status, answer.get("response")) == (200, "晴"), answer
    assert [body["messages"][1].get("reasoning_content") for body in provider.bodies] == [None, " "]
    await chat(client, admin, conversation_id=place, message="?")
    assert len(provider.bodies) == 3
