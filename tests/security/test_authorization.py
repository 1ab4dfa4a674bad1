"""Every route for every kind of caller, and every object for callers who do not own it."""

import asyncio
import shutil
from typing import Any

import msgspec
import pytest
import world
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from chats import Headers, stream, until
from conftest import PreparedDatabase, configured
from scripted import Provider
from world import World

from chathub.config import Config
from chathub.routes import ADMIN, METRICS, PUBLIC, ROUTES, SESSION, USER, V1, Route

IN = "let in"
LOGINS = ("/api/auth/refresh", "/api/auth/logout-all", "/api/auth/sessions")
# which callers are admitted by which access level; the others get the status
MATRIX: dict[str, dict[str, Any]] = {
    PUBLIC: {},
    USER: {"nobody": 401, "gone": 401, "gone token": 401, "token": 403},
    SESSION: {
        **{"nobody": 401, "gone": 401, "gone token": 401},
        **{"token": 403, "api token": 403, "admin's token": 403},
    },
    ADMIN: {
        **{"nobody": 401, "gone": 401, "gone token": 401},
        **{"token": 403, "api token": 403, "admin's token": 403},
        **{"stranger": 403, "demo": 403, "owner": 403},
    },
    V1: {"nobody": 401, "gone": 401, "gone token": 401},
}
# the token of the metrics opens these besides (tests/test_metrics.py)
MATRIX[METRICS] = MATRIX[ADMIN]

# the object of an id in a path: one user's, or one that all users or administrators may see
OWN = ("conversation_id", "message_id", "file_id", "key_id", "token_id", "session_id", "response_id")
SHARED = ("model_id", "provider_id", "user_id", "model", "invite_id", "name")
# ids in a body or a query: tested below, or without access to another user's object
TRIED = {
    "Chat.conversation_id",
    "SavePartial.conversation_id",
    "Stop.conversation_id",
    "Stop.message_id",
    "ConversationChange.head_id",
    "ConversationFilter.user_id",
    "UsageFilter.user_id",
    "UsageFilter.token_id",
    "ToolResult.tool_call_id",
}
HARMLESS = {
    # the page's own number, which is not read
    # for administrators
    "ModelOrder.id",
    "AuditFilter.actor_id",
    # an offset in the reply that the path names, and a name in the caller's own list
    "Resume.last_event_id",
    # names in the caller's own list of models
    "OfferedPage.after_id",
    "OfferedPage.before_id",
    *(f"{name}.client_message_id" for name in ("Options", "Chat", "Regenerate", "EditMessage")),
}
# bodies that are valid, so that the object is looked up
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PUT", "/api/conversations/{conversation_id}"): {"title": "taken"},
    ("PUT", "/api/messages/{message_id}"): {"content": "taken"},
    ("POST", "/api/messages/{message_id}/regenerate"): {},
    ("PUT", "/api/apikeys/{key_id}"): {"api_key": "sk-of-the-stranger-0123456789"},
}


def each(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, prepared_database: PreparedDatabase) -> World:
    config = configured(tmp_path_factory.mktemp("world"))
    shutil.copyfile(prepared_database.database, config.database)
    with asyncio.Runner() as runner:
        return runner.run(world.build_and_close(config))


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
def config(config: Config, built: World, provider: Provider) -> Config:
    """The database is a copy of a prepared one: creating it takes as long as five starts of a server."""
    world.copy(built, config.database, provider)
    return config


@pytest.fixture
def everything(client: TestClient, config: Config, built: World) -> World:
    return World(client, config.database, built.owned, built.headers)


async def call(there: World, route: Route, who: str, ids: dict[str, Any]) -> ClientResponse:
    body = BODIES.get((route.method, route.path), {}) if route.method in ("POST", "PUT") else None
    if ids and route.path == "/api/chat/stream/{message_id}":
        # these have no other response than a stream
        ids = {**ids, "message_id": ids["answer_id"]}
    path, headers = world.path_of(route, ids), there.headers[who]
    return await there.client.request(route.method, path, json=body, headers=headers)


def test_every_id_in_a_request_is_covered_by_the_access_matrix() -> None:
    for route in ROUTES:
        assert route.access in MATRIX, route
        assert set(world.parameters(route)) <= {*OWN, *SHARED}, f"who may see {route.path}?"
    named = {
        f"{kind.__name__}.{field}"
        for kind in world.STRUCTS.values()
        for field in kind.__struct_fields__
        if field == "id" or field.endswith("_id")
    }
    assert named == TRIED | HARMLESS


@each(list(ROUTES))
async def test_each_route_admits_exactly_the_callers_of_its_access_level(
    everything: World, route: Route
) -> None:
    refused = MATRIX[route.access]
    # refused callers first: the requests of admitted callers may change rows
    for who in sorted(everything.headers, key=lambda who: who not in refused):
        before = everything.rows()
        response = await call(everything, route, who, {})
        expected = refused.get(who, IN)
        if who == "demo" and route.path.startswith(LOGINS):
            # the demo token has no session that could be refreshed or ended
            expected = 403
        if expected == IN:
            assert response.status not in (401, 403) and response.status < 500, (who, await response.text())
        else:
            assert (await world.refusal(response))[0] == expected, who
            assert everything.rows() == before, who


@each([route for route in ROUTES if set(world.parameters(route)) & set(OWN)])
async def test_object_of_another_user_gets_the_same_response_as_a_missing_one(
    everything: World, route: Route
) -> None:
    """Otherwise one could find out which objects exist. An administrator may read conversations, and nothing
    else.
    """
    before = everything.rows()
    reads = route.path == "/api/conversations/{conversation_id}/messages"
    callers = ["stranger", *([] if reads else ["admin"])]
    callers += [] if route.path.startswith(LOGINS) else ["demo"]
    callers += [] if route.access == SESSION else ["api token", "admin's token"]
    for who in callers:
        theirs = await world.refusal(await call(everything, route, who, everything.owned))
        nobodys = await world.refusal(await call(everything, route, who, {}))
        assert theirs == nobodys and theirs[0] == 404, who
    assert everything.rows() == before
    # and the same request succeeds for its owner, or the refusals would prove nothing
    response = await call(everything, route, "owner", everything.owned)
    assert response.status == 200, await response.text()


@pytest.mark.parametrize("who", ["stranger", "demo", "admin", "api token", "admin's token"])
async def test_id_of_another_users_object_in_body_or_query_is_refused(
    everything: World, provider: Provider, who: str
) -> None:
    client, mine, owned = everything.client, everything.headers[who], everything.owned
    await stream(client, mine, conversation_id=f"of-{who}".replace(" ", "-").replace("'", ""))
    asked, before = len(provider.bodies), everything.rows()
    place = f"/api/conversations/of-{who}".replace(" ", "-").replace("'", "")
    nowhere = {"conversation_id": "nowhere", "message_id": 999999}
    requests_by_id: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        ("POST", "/api/chat/stop", {"message_id": owned["answer_id"]}, {"message_id": 999999}),
        ("POST", "/api/chat/stop", *({"conversation_id": it["conversation_id"]} for it in (owned, nowhere))),
        (
            "POST",
            "/api/chat/save-partial",
            {"conversation_id": owned["conversation_id"], "content": "taken over"},
            {"conversation_id": "nowhere", "content": "taken over"},
        ),
        ("PUT", place, {"head_id": owned["answer_id"]}, {"head_id": 999999}),
    ]
    for method, path, theirs, nobodys in requests_by_id:
        answers = [
            await world.refusal(await client.request(method, path, json=body, headers=mine))
            for body in (theirs, nobodys)
        ]
        assert answers[0] == answers[1] and answers[0][0] == 404, path
    # a free id begins a conversation, an id in use belongs to its owner only
    for path in ("/api/chat", "/api/chat/stream"):
        body = {"message": "mine now", "model": "test-model", "conversation_id": owned["conversation_id"]}
        response = await client.post(path, json=body, headers=mine)
        assert (await world.refusal(response)) == (404, "对话不存在")
        body |= {"tool_results": [{"tool_call_id": "call_1", "content": "x"}]}
        del body["message"]
        response = await client.post(path, json=body, headers=mine)
        assert (await world.refusal(response)) == (404, "对话不存在")
    assert everything.rows() == before and len(provider.bodies) == asked


@pytest.mark.parametrize("who", ["stranger", "demo", "api token", "admin's token"])
async def test_lists_show_only_the_callers_own_objects_whatever_the_query(
    everything: World, who: str
) -> None:
    client, mine, owned = everything.client, everything.headers[who], everything.owned
    for user_id in (owned["user_id"], 999999):
        response = await client.get(f"/api/conversations?user_id={user_id}", headers=mine)
        assert (await world.refusal(response))[0] == 403
        for query in (
            f"user_id={user_id}",
            f"user_id={user_id}&format=csv",
            f"user_id={user_id}&group_by=user",
        ):
            response = await client.get(f"/api/usage?{query}", headers=mine)
            assert (await world.refusal(response))[0] == 403
    for query in ("", f"?token_id={owned['token_id']}", "?group_by=user", "?model=test-model"):
        assert (await (await client.get(f"/api/usage{query}", headers=mine)).json())["data"] == []
    for path in ("/api/conversations", "/api/apikeys", "/api/chat/active"):
        response = await client.get(f"{path}?user_id=", headers=mine)
        assert await response.json() == [], path
    stats = [
        await (await client.get(f"/api/stats{query}", headers=mine)).json()
        for query in ("", f"?user_id={owned['user_id']}", "?user_id=1")
    ]
    assert stats[0] == stats[1] == stats[2] and stats[0]["total_messages"] == 0


@pytest.mark.parametrize("who", ["stranger", "demo", "admin", "api token", "admin's token"])
async def test_running_reply_is_visible_to_its_owner_only(
    everything: World, provider: Provider, who: str
) -> None:
    client, mine, owner = everything.client, everything.headers[who], everything.headers["owner"]
    world.running(provider)
    async with client.post(
        "/api/chat/stream",
        json={"message": "长的", "model": "test-model", "conversation_id": "live"},
        headers=owner,
    ) as response:
        start = msgspec.json.decode((await response.content.readline())[6:])
        message_id = start["message_id"]
        tries: list[tuple[str, str, dict[str, Any] | None, int]] = [
            ("GET", f"/api/chat/stream/{message_id}", None, 404),
            ("POST", "/api/chat/stop", {"message_id": message_id}, 404),
            ("POST", "/api/chat/stop", {"conversation_id": "live"}, 404),
            ("POST", "/api/chat", {"message": "x", "model": "test-model", "conversation_id": "live"}, 404),
            ("DELETE", "/api/conversations/live", None, 404),
            ("DELETE", f"/api/messages/{message_id}", None, 404),
            ("POST", f"/api/messages/{message_id}/regenerate", {}, 404),
            ("POST", "/api/chat/save-partial", {"conversation_id": "live", "content": "x" * 99}, 404),
        ]
        for method, path, body, status in tries:
            answer = await client.request(method, path, json=body, headers=mine)
            assert (await world.refusal(answer))[0] == status, path
        active = await (await client.get("/api/chat/active", headers=mine)).json()
        assert active == [] and provider.closed == 0
        provider.gate.set()
        rest = (await response.read()).decode()
    assert "后半" in rest and '"type":"end"' in rest


async def test_requests_of_others_do_not_block_a_conversation_for_its_owner(
    everything: World, provider: Provider
) -> None:
    """Another user who knows its id could otherwise lock the owner out by repeated requests."""
    client, owner = everything.client, everything.headers["owner"]
    stranger = everything.headers["stranger"]
    flood: list[Any] = []
    for number in range(40):
        body = {"message": "x", "model": "test-model", "conversation_id": "of-the-owner"}
        if number % 2:
            flood.append(client.post("/api/chat", json=body, headers=stranger))
        else:
            flood.append(client.delete("/api/conversations/of-the-owner", headers=stranger))
    running = [asyncio.ensure_future(request) for request in flood]
    asked = client.post(
        "/api/chat",
        json={"message": "我的", "model": "test-model", "conversation_id": "of-the-owner"},
        headers=owner,
    )
    response = await asked
    assert response.status == 200, await response.text()
    for answer in await asyncio.gather(*running):
        # the stranger's own requests may conflict with each other
        assert (await world.refusal(answer))[0] in (404, 409)


async def test_api_keys_of_users_are_used_for_their_owner_only(
    everything: World, provider: Provider, admin: Headers
) -> None:
    """A user's own API key serves no other user's request, on any path to the model."""
    client = everything.client
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (openai,) = [row for row in listed if row["provider_key"] == "openai"]
    response = await client.put(
        f"/api/providers/{openai['id']}", json={"default_base_url": provider.base_url}, headers=admin
    )
    assert response.status == 200
    body = {"model_provider": "openai", "api_key": world.OWNERS_KEY}
    assert (await client.post("/api/apikeys", json=body, headers=everything.headers["owner"])).status == 200
    question: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "message": "x",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 5,
        "input": "x",
    }
    asked = len(provider.bodies)
    for who in ("stranger", "demo", "admin", "api token", "admin's token"):
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/embeddings"):
            response = await client.post(path, json=question, headers=everything.headers[who])
            assert (await world.refusal(response))[0] == 400, (who, path)
    assert len(provider.bodies) == asked
    response = await client.post("/api/chat", json=question, headers=everything.headers["owner"])
    assert response.status == 200
    await until(lambda: provider.headers[-1]["Authorization"] == f"Bearer {world.OWNERS_KEY}")
