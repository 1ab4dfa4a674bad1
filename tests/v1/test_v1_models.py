"""``/v1/models``: what programs are offered, in OpenAI's format and in Anthropic's."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add, official, token, unused_address

openai_sdk, anthropic_sdk = official("openai"), official("anthropic")

NAMES = ["c1", "c2", "Qwen/Qwen3-8B", "org/sub/x:free"]
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def models(client: TestClient, admin: Headers) -> list[str]:
    """Models that all can use, one for vectors first, and one that nobody has a key for."""
    await add(client, admin, unused_address(), name="vectors", model_type="embedding", sort_order=-9)
    for place, name in enumerate(NAMES):
        lengths = {"context_window": 32_768, "max_tokens": 2048} if name == "c1" else {}
        await add(client, admin, unused_address(), name=name, sort_order=place, **lengths)
    await add(client, admin, unused_address(), name="locked", provider="locked", needs_key=True)
    await add(client, admin, unused_address(), name="pictures", provider="locked", model_type="image")
    return NAMES


@pytest.fixture
async def key(client: TestClient, user: Headers, models: list[str]) -> str:
    return await token(client, user)


@pytest.fixture
async def openai(client: TestClient, key: str) -> AsyncIterator[Any]:
    http = openai_sdk.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    base_url = str(client.make_url("/v1"))
    async with openai_sdk.AsyncOpenAI(
        base_url=base_url, api_key=key, max_retries=0, http_client=http
    ) as made:
        yield made


@pytest.fixture
async def anthropic(client: TestClient, key: str) -> AsyncIterator[Any]:
    http = anthropic_sdk.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    base_url = str(client.make_url("/"))
    made = anthropic_sdk.AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0, http_client=http)
    async with made:
        yield made


async def listed(
    client: TestClient, key: str, headers: Headers | None = None, **query: str
) -> dict[str, Any]:
    bearer = {"Authorization": f"Bearer {key}", **(headers or {})}
    response = await client.get("/v1/models", params=query, headers=bearer)
    assert response.status == 200, await response.text()
    body: dict[str, Any] = await response.json()
    return body


# OpenAI's format


async def test_models_that_the_caller_can_use_are_listed_those_for_chats_first(openai: Any) -> None:
    page = await openai.models.list()
    assert [each.id for each in page.data] == [*NAMES, "vectors"]
    first, last = (page.data[at].model_dump(exclude_unset=True) for at in (0, -1))
    assert first == {
        "id": "c1",
        "object": "model",
        "created": first["created"],
        "owned_by": "upstream",
        "name": "c1",
        "context_window": 32_768,
        "max_output_tokens": 2048,
    }
    assert abs(first["created"] - datetime.now(UTC).timestamp()) < 600
    assert (last["context_window"], last["max_output_tokens"]) == (None, None)


async def test_all_lists_the_rest_too(client: TestClient, key: str) -> None:
    shown = [row["id"] for row in (await listed(client, key, all="true"))["data"]]
    assert set(shown) >= {*NAMES, "vectors", "pictures", "locked", "gpt-5"}
    assert shown.index("locked") < shown.index("vectors") and shown.index("gpt-5") < shown.index("pictures")
    assert {row["id"] for row in (await listed(client, key, all="false"))["data"]} == {*NAMES, "vectors"}


async def test_own_api_key_adds_models(client: TestClient, key: str, user: Headers, admin: Headers) -> None:
    body = {"model_provider": "locked", "api_key": "sk-of-the-lists-0123456789"}
    assert (await client.post("/api/apikeys", json=body, headers=user)).status == 200
    assert "locked" in {row["id"] for row in (await listed(client, key))["data"]}
    other = await token(client, admin)
    assert "locked" not in {row["id"] for row in (await listed(client, other))["data"]}


@pytest.mark.parametrize("headers", [{}, VERSION])
async def test_access_token_lists_and_reads_only_its_models(
    client: TestClient, user: Headers, models: list[str], headers: Headers
) -> None:
    key = await token(client, user, allowed_models=["c2", "locked"])
    assert [row["id"] for row in (await listed(client, key, headers))["data"]] == ["c2"]
    assert [row["id"] for row in (await listed(client, key, headers, all="1"))["data"]] == ["locked", "c2"]
    bearer = {"Authorization": f"Bearer {key}", **headers}
    for name, status in (("c2", 200), ("locked", 200), ("c1", 404), ("nobody", 404)):
        assert (await client.get(f"/v1/models/{name}", headers=bearer)).status == status


async def test_inactive_models_are_nowhere(client: TestClient, key: str, admin: Headers) -> None:
    rows = await (await client.get("/api/models", headers=admin)).json()
    ids = {row["model_name"]: row["id"] for row in rows}
    await client.post(f"/api/models/{ids['c1']}/toggle", headers=admin)
    for query in ({}, {"all": "true"}):
        assert "c1" not in {row["id"] for row in (await listed(client, key, **query))["data"]}
    bearer = {"Authorization": f"Bearer {key}"}
    assert (await client.get("/v1/models/c1", headers=bearer)).status == 404


async def test_model_is_read_by_its_name_also_with_slashes(openai: Any) -> None:
    for name in (*NAMES, "vectors", "locked"):
        assert (await openai.models.retrieve(name)).id == name
    with pytest.raises(openai_sdk.NotFoundError) as caught:
        await openai.models.retrieve("nobody/knows")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("headers", [{}, VERSION])
async def test_aliases_are_listed_and_wildcards_are_not(
    client: TestClient, key: str, admin: Headers, headers: Headers
) -> None:
    for name in ("mine", "mine-*"):
        body = {"model_name": name, "display_name": name, "targets": [{"model_name": "c1"}], "sort_order": -1}
        assert (await client.post("/api/models", json=body, headers=admin)).status == 200
    for query in ({}, {"all": "true"}):
        found = [row["id"] for row in (await listed(client, key, headers, **query))["data"]]
        assert "mine" in found and "mine-*" not in found
    bearer = {"Authorization": f"Bearer {key}", **headers}
    row = await (await client.get("/v1/models/mine", headers=bearer)).json()
    assert (row["context_window"], row["max_output_tokens"]) == (32_768, 2048)
    assert row.get("owned_by", "alias") == "alias"


async def test_every_name_that_can_be_requested_can_be_read(
    client: TestClient, key: str, user: Headers, admin: Headers, openai: Any
) -> None:
    body = {"model_name": "mine-*", "display_name": "Mine", "targets": [{"model_name": "c1"}]}
    assert (await client.post("/api/models", json=body, headers=admin)).status == 200
    matched = await openai.models.retrieve("mine-2026/x")
    assert (matched.id, matched.name, matched.context_window) == ("mine-2026/x", "Mine", 32_768)
    assert (await openai.models.retrieve("C1")).id == "c1"
    # one of a well-known family, and a version of a listed model
    for name in ("claude-opus-4-5-99", "gpt-4o-2024-08-06"):
        known = await openai.models.retrieve(name)
        assert (known.id, known.owned_by) == (name, "anthropic" if name.startswith("claude") else "openai")
        assert known.context_window >= 128_000
    bound = {"Authorization": f"Bearer {await token(client, user, allowed_models=['mine-*', 'mine-2'])}"}
    for name, status in (("mine-1", 200), ("mine-2", 200), ("gpt-4o-2024-08-06", 404), ("c1", 404)):
        assert (await client.get(f"/v1/models/{name}", headers=bound)).status == status, name
    rows = await (await client.get("/api/models", headers=admin)).json()
    (model_id,) = [row["id"] for row in rows if row["model_name"] == "mine-*"]
    await client.post(f"/api/models/{model_id}/toggle", headers=admin)
    assert (await client.get("/v1/models/mine-1", headers=bound)).status == 404


# Anthropic's format


async def test_anthropics_client_reads_all_pages(anthropic: Any) -> None:
    found = [each async for each in anthropic.models.list(limit=2)]
    assert [each.id for each in found] == [*NAMES, "vectors"]
    assert all(each.type == "model" and each.display_name == each.id for each in found)
    assert abs((found[0].created_at - datetime.now(UTC)).total_seconds()) < 600
    assert (found[0].max_input_tokens, found[0].max_tokens) == (32_768, 2048)
    backwards = [each.id async for each in anthropic.models.list(limit=2, before_id="vectors")]
    assert backwards == ["Qwen/Qwen3-8B", "org/sub/x:free", "c1", "c2"]


async def test_anthropics_client_reads_a_model_by_its_name(anthropic: Any) -> None:
    for name in (*NAMES, "locked"):
        assert (await anthropic.models.retrieve(name)).display_name == name
    with pytest.raises(anthropic_sdk.NotFoundError) as caught:
        await anthropic.models.retrieve("nobody/knows")
    assert caught.value.body["type"] == "error" and caught.value.body["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({}, [*NAMES, "vectors"], False),
        ({"limit": "5"}, [*NAMES, "vectors"], False),
        ({"limit": "4"}, NAMES, True),
        ({"limit": "2", "after_id": "c2"}, NAMES[2:], True),
        ({"limit": "3", "after_id": "c2"}, [*NAMES[2:], "vectors"], False),
        ({"after_id": "vectors"}, [], False),
        ({"limit": "2", "before_id": "vectors"}, NAMES[2:], True),
        ({"limit": "2", "before_id": "Qwen/Qwen3-8B"}, NAMES[:2], False),
        ({"before_id": "c1"}, [], False),
        ({"limit": "1000", "before_id": "vectors"}, NAMES, False),
        ({"all": "true", "limit": "1", "after_id": "org/sub/x:free"}, ["gpt-5"], True),
    ],
)
async def test_pages_are_cut_as_anthropic_documents(
    client: TestClient, key: str, query: dict[str, str], ids: list[str], has_more: bool
) -> None:
    body = await listed(client, key, VERSION, **query)
    if query.get("all"):
        # the seeded models follow
        assert len(body["data"]) == 1 and body["has_more"] and body["first_id"] == body["last_id"]
        return
    assert [row["id"] for row in body["data"]] == ids
    assert body["has_more"] is has_more
    ends = (ids[0], ids[-1]) if ids else (None, None)
    assert (body["first_id"], body["last_id"]) == ends


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "many"},
        {"after_id": "nobody"},
        {"before_id": "locked"},
        {"after_id": "c1", "before_id": "c2"},
        {"all": "perhaps"},
    ],
)
async def test_wrong_pages_get_400_in_anthropics_format(
    client: TestClient, key: str, query: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {key}", **VERSION}
    response = await client.get("/v1/models", params=query, headers=headers)
    assert response.status == 400
    body = await response.json()
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"


async def test_headers_choose_the_format(client: TestClient, key: str) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    for headers, is_anthropic in (
        (bearer, False),
        ({**bearer, **VERSION}, True),
        ({"x-api-key": key}, True),
        ({**VERSION, "x-api-key": key}, True),
    ):
        for path in ("/v1/models", "/v1/models/c1"):
            body = await (await client.get(path, headers=headers)).json()
            first = body["data"][0] if "data" in body else body
            assert ("type" in first, "object" in first) == (is_anthropic, not is_anthropic)
        assert ("has_more" in await (await client.get("/v1/models", headers=headers)).json()) is is_anthropic
    # pages are Anthropic's alone
    assert len((await listed(client, key, limit="1"))["data"]) == len(NAMES) + 1


@pytest.mark.parametrize(
    ("path", "headers", "status", "kind"),
    [
        ("/v1/models", VERSION, 401, "authentication_error"),
        ("/v1/models", {"x-api-key": "sk-hub-wrong"}, 401, "authentication_error"),
        ("/v1/models/c1", VERSION, 401, "authentication_error"),
        ("/v1/models/", VERSION, 404, "not_found_error"),
    ],
)
async def test_errors_are_in_the_format_of_the_headers(
    client: TestClient, path: str, headers: Headers, status: int, kind: str
) -> None:
    response = await client.get(path, headers=headers)
    assert response.status == status
    body = await response.json()
    assert body["type"] == "error" and body["error"]["type"] == kind
    assert "param" in (await (await client.get(path)).json())["error"]
