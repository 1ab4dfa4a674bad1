"""Aliases: models that stand for others; how administrators keep them, and chats with them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accounts import sentence
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream, text_of
from scripted import Provider, Script, chunk, reply

from chathub.app_keys import CATALOG, DB
from chathub.providers.local_provider import offer_local_model
from chathub.upstream.local_model.weights import Weights

ALIAS = {"model_name": "smart", "display_name": "Smart"}


async def models(client: TestClient, **query: str) -> dict[str, dict[str, Any]]:
    listed = await (await client.get("/api/models", params=query)).json()
    return {model["model_name"]: model for model in listed}


async def create(client: TestClient, admin: Headers, *targets: Any, **fields: Any) -> dict[str, Any]:
    """An alias with targets: names, or whole entries."""
    wanted = [{"model_name": each} if isinstance(each, str) else each for each in targets]
    body = {**ALIAS, "targets": wanted, **fields}
    response = await client.post("/api/models", json=body, headers=admin)
    assert response.status == 200, await response.text()
    made: dict[str, Any] = (await response.json())["model"]
    return made


async def put(client: TestClient, admin: Headers, model: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = await client.put(f"/api/models/{model['id']}", json=fields, headers=admin)
    assert response.status == 200, await response.text()
    changed: dict[str, Any] = (await response.json())["model"]
    return changed


async def usage(client: TestClient, headers: Headers, **filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]]
    found = (await (await client.get("/api/usage", params=filters, headers=headers)).json())["data"]
    return found


def by_model(provider: Provider, **scripts: Script) -> None:
    async def run(request: web.Request) -> web.StreamResponse:
        return await scripts[provider.last["model"]](request)

    provider.script = run


# --- the table


async def test_alias_is_listed_with_its_targets_and_the_least_that_they_can(
    client: TestClient, admin: Headers
) -> None:
    targets = [
        {"model_name": "gpt-4o-mini", "weight": 3, "order": 1},
        {"model_name": "deepseek-chat", "weight": 1, "order": 0},
    ]
    made = await create(client, admin, *targets, input_price_per_1k=99, max_tokens=5, description="both")
    listed = await models(client)
    assert listed["smart"] == made
    assert made["targets"] == targets and made["model_provider"] == "alias"
    one, other = listed["gpt-4o-mini"], listed["deepseek-chat"]
    assert made["supports_vision"] is False and made["supports_function_calling"] is True
    for name in ("max_tokens", "context_window"):
        assert made[name] == min(one[name], other[name])
    for name in ("input_price_per_1k", "output_price_per_1k"):
        assert made[name] == max(one[name], other[name])
    assert (made["description"], made["upstream_name"]) == ("both", None)
    assert set(await models(client, provider="alias")) == {"smart"}
    assert "smart" in await models(client, active_only="true", type="chat")


async def test_whole_record_that_is_sent_back_keeps_the_targets(client: TestClient, admin: Headers) -> None:
    made = await create(client, admin, "gpt-5", {"model_name": "gpt-4.1", "order": 2})
    for record in (
        {**made, "description": "edited"},
        {**made, "description": "edited", "targets": None},
        {name: value for name, value in made.items() if name not in ("targets", "model_provider")}
        | {"description": "edited"},
    ):
        changed = await put(client, admin, made, **record)
        assert changed == {**made, "description": "edited", "updated_at": changed["updated_at"]}
    # and a model with a provider keeps that
    plain = (await models(client))["gpt-4.1"]
    same = await put(client, admin, plain, **plain)
    assert same == {**plain, "updated_at": same["updated_at"]}


async def test_model_becomes_an_alias_and_a_model_again(client: TestClient, admin: Headers) -> None:
    before = (await models(client))["gpt-4.1"]
    targets = [{"model_name": "gpt-5"}]
    changed = await put(client, admin, before, targets=targets)
    assert changed["model_provider"] == "alias" and [t["model_name"] for t in changed["targets"]] == ["gpt-5"]
    again = await put(client, admin, before, **before)
    assert again == {**before, "updated_at": again["updated_at"]}


async def test_renamed_target_stays_a_target_and_one_in_use_is_not_deleted(
    client: TestClient, admin: Headers
) -> None:
    made = await create(client, admin, "gpt-5")
    target = (await models(client))["gpt-5"]
    await put(client, admin, target, model_name="gpt-five")
    assert (await models(client))["smart"]["targets"][0]["model_name"] == "gpt-five"
    path = f"/api/models/{target['id']}"
    assert "smart" in await sentence(await client.delete(path, headers=admin), 409)
    assert (await client.delete(f"/api/models/{made['id']}", headers=admin)).status == 200
    assert (await client.delete(path, headers=admin)).status == 200


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"targets": [{"model_name": "nobody"}]}, "nobody"),
        ({"targets": [{"model_name": "smart"}]}, "smart"),
        ({"targets": [{"model_name": "other"}]}, "other"),
        ({"targets": [{"model_name": "gpt-5"}, {"model_name": "gpt-5"}]}, "gpt-5"),
        ({"targets": [{"model_name": "gpt-5"}, {"model_name": "vectors"}]}, "vectors"),
        ({"targets": [{"model_name": "gpt-5"}], "model_provider": "openai"}, "model_provider"),
        ({"targets": []}, "smart"),
        ({"targets": [], "model_provider": "alias"}, "smart"),
        ({"targets": "gpt-5"}, "targets"),
        ({"targets": ["gpt-5"]}, "targets"),
        ({"targets": [{"weight": 1}]}, "model_name"),
        *(
            ({"targets": [{"model_name": "gpt-5", "weight": weight}]}, "weight")
            for weight in (0, -1, 1.5, "1")
        ),
        ({"targets": [{"model_name": "gpt-5", "order": "first"}]}, "order"),
        ({"model_provider": None}, "model_provider"),
    ],
)
async def test_wrong_targets_are_refused_and_change_nothing(
    client: TestClient, admin: Headers, fields: dict[str, Any], word: str
) -> None:
    vectors = {"model_name": "vectors", "display_name": "V", "model_provider": "openai"}
    await client.post("/api/models", json={**vectors, "model_type": "embedding"}, headers=admin)
    await create(client, admin, "gpt-5", model_name="other")
    made = await create(client, admin, "gpt-5")
    before = await models(client)
    path = f"/api/models/{made['id']}"
    body = {"description": "changed", **fields}
    assert word in await sentence(await client.put(path, json=body, headers=admin), 400)
    new = {"model_name": "new", "display_name": "N", **fields}
    refused = await sentence(await client.post("/api/models", json=new, headers=admin), 400)
    assert any(each in refused for each in (word, "new", "model_provider"))
    assert await models(client) == before


async def test_target_cannot_become_an_alias_and_alias_is_no_name_for_a_provider(
    client: TestClient, admin: Headers
) -> None:
    await create(client, admin, "gpt-5")
    path = f"/api/models/{(await models(client))['gpt-5']['id']}"
    body = {"targets": [{"model_name": "gpt-4.1"}]}
    assert "smart" in await sentence(await client.put(path, json=body, headers=admin), 409)
    new = {"provider_key": "alias", "display_name": "A", "default_base_url": "https://example.com/v1"}
    await sentence(await client.post("/api/providers", json=new, headers=admin), 400)


async def test_changes_of_targets_are_in_the_audit(client: TestClient, admin: Headers) -> None:
    made = await create(client, admin, "gpt-5")
    await put(client, admin, made, targets=[{"model_name": "gpt-5", "weight": 2}])
    entries = (await (await client.get("/api/audit", headers=admin)).json())["data"]
    details = [entry["details"] for entry in entries if entry["event"].startswith("model.")]
    one, two = ([{"model_name": "gpt-5", "weight": weight, "order": 0}] for weight in (1, 2))
    assert details[0]["targets"] == [one, two] and details[1]["targets"] == one


# --- chats


async def test_chat_keeps_the_alias_and_its_messages_name_who_replied(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "one", upstream_name="one-2025")
    await create(client, admin, "one")
    events = await stream(client, user, model="smart")
    assert events[0]["model"] == "smart" and events[-1]["model"] == "one"
    # 7 and 3 tokens at the target's prices
    assert provider.last["model"] == "one-2025" and events[-1]["cost"] == pytest.approx(0.000048)
    public_id = events[0]["conversation_id"]
    (conversation,) = await (await client.get("/api/conversations", headers=user)).json()
    assert conversation["model"] == "smart"
    kept = await messages_of(client, user, public_id)
    assert kept[1]["model"] == "one"
    path = f"/api/messages/{kept[1]['id']}/regenerate"
    async with client.post(path, json={}, headers=user) as response:
        again = (await response.read()).decode()
    assert '"model":"smart"' in again.split("\n")[0]
    rows = await usage(client, user)
    assert [(row["model"], row["requested_model"], row["provider"]) for row in rows] == [
        ("one", "smart", "p_one")
    ] * 2
    for name in ("smart", "one"):
        assert await usage(client, user, model=name) == rows
        (total,) = await usage(client, user, model=name, group_by="model")
        assert (total["name"], total["requests"]) == ("one", 2)
        (day,) = await usage(client, user, model=name, group_by="day")
        assert day["requests"] == 2
    table = await (await client.get("/api/usage", params={"format": "csv"}, headers=user)).text()
    assert "requested_model" in table.split("\r\n")[0] and "smart" in table.split("\r\n")[1]


async def test_message_of_an_alias_names_its_target_while_it_is_written(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "one")
    await create(client, admin, "one")
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    wanted = {"message": "你好", "model": "smart"}
    async with client.post("/api/chat/stream", json=wanted, headers=user) as response:
        first = await response.content.readline()
        assert b'"model":"smart"' in first
        (conversation,) = await (await client.get("/api/conversations", headers=user)).json()
        kept = await messages_of(client, user, conversation["conversation_id"])
        assert (kept[-1]["status"], kept[-1]["model"]) == ("streaming", "one")
        (running,) = await (await client.get("/api/chat/active", headers=user)).json()
        assert running["model"] == "smart"
        provider.gate.set()
        await response.read()


async def test_higher_orders_and_fallbacks_come_after_all_of_the_lower_ones(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    for name in ("a", "b", "c", "own", "alias-behind", "last"):
        fallback = {"a": "own", "own": "last"}.get(name, "")
        await add_model(client, admin, provider.base_url, name, fallback_model=fallback)
    await create(client, admin, "alias-behind", model_name="behind")
    targets = [{"model_name": "c", "order": 5}, {"model_name": "a"}, {"model_name": "b", "order": 1}]
    await create(client, admin, *targets, fallback_model="behind")
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    events = await stream(client, admin, model="smart")
    assert events[-1]["type"] == "error"
    tried = [body["model"] for body in provider.bodies]
    assert tried == ["a", "b", "c", "alias-behind", "own", "last"]
    rows = await usage(client, admin, model="smart")
    assert {row["requested_model"] for row in rows} == {"smart"} and len(rows) == 6


async def test_alias_as_a_fallback_model_is_resolved(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "one")
    await create(client, admin, "one")
    await add_model(client, admin, provider.base_url, "first", fallback_model="smart")
    by_model(
        provider,
        first=provider.answer(503, {"error": {"message": "busy"}}),
        one=provider.stream(reply("from one")),
    )
    events = await stream(client, admin, model="first")
    assert (text_of(events), events[-1]["model"]) == ("from one", "one")
    assert {row["model"]: row["requested_model"] for row in await usage(client, admin)} == {
        "one": "first",
        "first": "",
    }


async def test_target_that_cannot_take_the_request_is_skipped(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "plain")
    await add_model(client, admin, provider.base_url, "able", supports_function_calling=True)
    await create(client, admin, "plain", {"model_name": "able", "order": 1})
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    status, body, _ = await chat(client, admin, model="smart", tools=tools)
    assert (status, body["model"]) == (200, "able")
    await create(client, admin, "plain", model_name="both-plain", fallback_model="able")
    status, body, _ = await chat(client, admin, model="both-plain", tools=tools)
    assert (status, body["code"]) == (400, "model_without_tools") and "plain" in body["error"]


async def test_alias_without_a_usable_target_gets_the_error_of_the_first(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    made = await create(client, admin, "gpt-5", {"model_name": "deepseek-chat", "order": 1})
    status, body, _ = await chat(client, admin, model="smart")
    assert (status, body["code"]) == (400, "api_key_missing") and "OpenAI" in body["error"]
    for target in made["targets"]:
        row = (await models(client))[target["model_name"]]
        await put(client, admin, row, is_active=False)
    status, body, _ = await chat(client, admin, model="smart")
    assert (status, body["code"]) == (400, "model_disabled") and "gpt-5" in body["error"]
    assert "smart" not in await models(client, active_only="true")
    await add_model(client, admin, provider.base_url, "one")
    await put(client, admin, made, fallback_model="one", is_active=False)
    status, body, _ = await chat(client, admin, model="smart")
    assert (status, body["code"]) == (400, "model_disabled") and "smart" in body["error"]


async def test_wildcard_matches_what_is_not_listed_the_most_specific_first(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    for name in ("any", "opus", "claude-listed"):
        await add_model(client, admin, provider.base_url, name)
    await create(client, admin, "any", model_name="claude-*")
    await create(client, admin, "opus", model_name="Claude-opus-*-x")
    await create(client, admin, "any", model_name="*")
    for asked, called in {
        "claude-listed": "claude-listed",
        "claude-3-haiku": "any",
        "CLAUDE-OPUS-4-X": "opus",
        "claude-opus-4": "any",
        "claude-*": "any",
        "whatever": "any",
        "gpt-4o-2024-08-06": "any",
    }.items():
        events = await stream(client, user, model=asked)
        assert provider.last["model"] == called, asked
        assert events[0]["model"] == asked and events[-1]["model"] == called
    (row,) = await usage(client, user, model="claude-3-haiku")
    assert (row["model"], row["requested_model"]) == ("any", "claude-3-haiku")
    # a listed name is never shadowed, also where it cannot be used
    row = (await models(client))["claude-listed"]
    await put(client, admin, row, is_active=False)
    status, body, _ = await chat(client, user, model="claude-listed")
    assert (status, body["code"]) == (400, "model_disabled")


async def test_failed_target_comes_after_the_others_of_its_order(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """As an API key does after a transient failure."""
    keyed = {"provider_key": "keyed", "display_name": "K", "default_base_url": provider.base_url}
    await client.post("/api/providers", json=keyed, headers=admin)
    key = {"model_provider": "keyed", "api_key": "sk-of-the-tests-aaaa1111"}
    await client.post("/api/apikeys", json=key, headers=admin)
    new = {"model_name": "shaky", "display_name": "S", "model_provider": "keyed"}
    await client.post("/api/models", json=new, headers=admin)
    await add_model(client, admin, provider.base_url, "steady")
    await create(client, admin, {"model_name": "shaky", "weight": 1000}, "steady")
    by_model(
        provider,
        shaky=provider.answer(503, {"error": {"message": "busy"}}),
        steady=provider.stream([*reply("ok")]),
    )
    for _ in range(8):
        events = await stream(client, admin, model="smart")
        assert events[-1]["model"] == "steady"
    assert [body["model"] for body in provider.bodies].count("shaky") <= 1


async def test_targets_of_one_order_are_chosen_by_weight(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "heavy")
    await add_model(client, admin, provider.base_url, "light")
    await create(client, admin, {"model_name": "heavy", "weight": 3}, "light")
    provider.script = provider.stream([chunk("x"), *reply()])
    for number in range(60):
        await stream(client, admin, f"question {number}", model="smart")
    called = [body["model"] for body in provider.bodies]
    # three of four: these bounds are five standard deviations away
    assert 28 < called.count("heavy") < 60


async def test_conversation_stays_with_its_target_and_where_a_failure_has_moved_it(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    names = ("a", "b", "c")
    for name in names:
        await add_model(client, admin, provider.base_url, name)
    await create(client, admin, *names)
    good, bad = provider.stream(reply("好")), provider.answer(503, {"error": {"message": "busy"}})
    by_model(provider, a=good, b=good, c=good)

    async def turn(conversation_id: str) -> str:
        events = await stream(client, admin, model="smart", conversation_id=conversation_id)
        return str(events[-1]["model"])

    conversations = [f"c{number}" for number in range(12)]
    first = {each: await turn(each) for each in conversations}
    assert set(first.values()) == set(names)
    for _ in range(2):
        assert {each: await turn(each) for each in conversations} == first
    by_model(provider, a=bad, b=good, c=good)
    moved = {each: await turn(each) for each in conversations}
    assert "a" not in moved.values()
    assert {each: moved[each] for each in moved if first[each] != "a"} == {
        each: first[each] for each in first if first[each] != "a"
    }
    by_model(provider, a=good, b=good, c=good)
    assert {each: await turn(each) for each in conversations} == moved


async def test_built_in_model_can_be_a_target_and_leaves_the_alias_with_it(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """The server has none here: its attempt fails, and the next target replies."""
    assert client.app is not None
    db = client.app[DB]
    weights = Weights("tiny", Path("tiny.gguf"), "Tiny")
    await db.write(offer_local_model, weights, "zh", 1)
    await client.app[CATALOG].reload()
    await add_model(client, admin, provider.base_url, "one")
    await create(client, admin, "tiny", {"model_name": "one", "order": 1})
    events = await stream(client, admin, model="smart")
    assert events[-1]["model"] == "one"
    assert [row["model"] for row in await usage(client, admin)] == ["one", "tiny"]
    # the server starts with another built-in model
    await db.write(offer_local_model, replace(weights, name="other"), "zh", 1)
    await client.app[CATALOG].reload()
    assert [t["model_name"] for t in (await models(client))["smart"]["targets"]] == ["one"]
