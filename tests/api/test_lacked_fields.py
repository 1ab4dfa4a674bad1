"""Options of a chat that the format of the model's provider lacks: 400 by their name, and nothing is sent."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, stream
from scripted import Provider, reply
from scripted_formats import add_model_of_format, replying

OPTIONS: list[dict[str, Any]] = [{"seed": 7}, {"presence_penalty": 0.5}, {"frequency_penalty": -0.5}]


@pytest.fixture(autouse=True)
async def models(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model_of_format(client, admin, provider.base_url, "anthropic", "claude")
    await add_model(client, admin, provider.base_url, fallback_model="claude")


@pytest.mark.parametrize("option", OPTIONS, ids=str)
async def test_option_that_the_format_lacks_is_refused_by_its_name(
    client: TestClient, user: Headers, provider: Provider, option: dict[str, Any]
) -> None:
    (name,) = option
    status, body, _ = await chat(client, user, model="claude", **option)
    assert (status, body["code"]) == (400, "field_unsupported") and name in body["error"]
    events = await stream(client, user, model="claude", **option)
    assert [event["type"] for event in events] == ["start", "error"]
    assert events[1]["code"] == "field_unsupported" and name in events[1]["error"]
    assert provider.bodies == []


@pytest.mark.parametrize("option", OPTIONS, ids=str)
async def test_fallback_of_a_format_that_lacks_the_option_is_skipped(
    client: TestClient, user: Headers, provider: Provider, option: dict[str, Any]
) -> None:
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    status, body, _ = await chat(client, user, **option)
    assert status == 502 and body["code"] != "field_unsupported"
    assert [body["model"] for body in provider.bodies] == ["test-model"]


async def test_option_kept_from_an_earlier_turn_refuses_no_model(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("一"))
    events = await stream(client, user, seed=7)
    assert provider.last["seed"] == 7
    provider.script = replying(provider, "anthropic", "二", "", [])
    url = f"/api/messages/{events[0]['message_id']}/regenerate"
    async with client.post(url, json={"model": "claude"}, headers=user) as response:
        assert response.status == 200 and "二" in await response.text()
    assert provider.last["model"] == "claude" and "seed" not in provider.last
    async with client.post(url, json={"model": "claude", "seed": 8}, headers=user) as response:
        assert "field_unsupported" in await response.text()
