"""Tools that a provider runs itself, in chats: their price is in no budget."""

import json

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers
from scripted import Provider
from scripted_formats import add_model_of_format, whole

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("cost_limit", "allows", "sends"), [(5, False, False), (5, True, True), (None, False, True)]
)
async def test_tools_of_the_provider_are_not_for_a_user_with_a_cost_limit(
    client: TestClient,
    admin: Headers,
    user: Headers,
    provider: Provider,
    cost_limit: int | None,
    allows: bool,
    sends: bool,
) -> None:
    await add_model_of_format(
        client,
        admin,
        provider.base_url,
        "anthropic",
        "m",
        supports_function_calling=True,
        allow_extras=allows,
    )
    provider.script = provider.answer(200, whole("anthropic", "ok"))
    limits = {"usage_limit": 10**9, "cost_limit": cost_limit}
    assert (await client.put("/api/users/2", json=limits, headers=admin)).status == 200
    asked = {"model": "m", "message": "hi", "tools": [LOOK, SEARCH]}
    async with client.post("/api/chat", json=asked, headers=user) as response:
        assert response.status == 200, await response.text()
    # beside the reply a title may be asked for
    (tools,) = [body["tools"] for body in provider.bodies if body.get("tools")]
    assert ("web_search" in json.dumps(tools)) is sends and "look" in json.dumps(tools)
