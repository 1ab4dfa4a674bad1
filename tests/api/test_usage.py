"""The ledger: one row per attempt, filtered and summed, and never changed."""

import csv
import dataclasses
import io
import sqlite3
from contextlib import closing
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, opened, read_events, stream, until
from conftest import Connect, sign_in
from scripted import DONE, Provider, chunk, data, reply, usage

from chathub.app_keys import REPLIES, RUNNING
from chathub.billing.usage_table import _cell
from chathub.clock import Clock
from chathub.config import Config


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def rows(client: TestClient, headers: Headers, **filters: Any) -> list[dict[str, Any]]:
    response = await client.get("/api/usage", params=filters, headers=headers)
    body = await response.json()
    assert response.status == 200, body
    found: list[dict[str, Any]] = body["data"]
    return found


# --- the fields of a row


async def test_attempt_is_a_ledger_row_with_every_field(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    wanted = {"name": "t", "opens_api": True}
    made = await (await client.post("/api/tokens", json=wanted, headers=user)).json()
    program = {"Authorization": f"Bearer {made['token']}"}
    key = {"model_provider": "p_test_model", "api_key": "sk-some-key-of-the-tests"}
    saved = await (await client.post("/api/apikeys", json=key, headers=admin)).json()
    told = usage(
        100,
        50,
        completion_tokens_details={"reasoning_tokens": 20},
        prompt_tokens_details={"cached_tokens": 64},
    )
    parts = [chunk(reasoning_content="嗯"), chunk("好"), chunk(finish="length"), told, b"data: [DONE]\n\n"]
    provider.script = provider.stream(parts, pause=0.02)
    events = await stream(client, program)
    (row,) = await rows(client, user)
    assert row.pop("at")[:10] == row.pop("day")
    assert 0 <= row.pop("first_token_ms") < row["duration_ms"]
    assert 80 <= row.pop("duration_ms") < 5000
    assert row == {
        "id": 1,
        "kind": "chat",
        "user_id": 2,
        "username": "user",
        "token_id": made["data"]["id"],
        "key_id": saved["apikey"]["id"],
        "provider": "p_test_model",
        "model": "test-model",
        "conversation_id": events[0]["conversation_id"],
        "message_id": events[0]["message_id"],
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "reasoning_tokens": 20,
        "cached_tokens": 64,
        "cache_write_tokens": 0,
        "cache_write_1h_tokens": 0,
        "counted_tokens": 92,
        "usage_source": "reported",
        "cost": 0.00075,
        "cached_savings": 0.0,
        "end_reason": "length",
        "http_status": 0,
        "requested_model": "",
        "unit": "",
        "units": 0,
        "price_per_unit": 0.0,
        "input_price_per_1k": 0.0025,
        "output_price_per_1k": 0.01,
        "cached_price_per_1k": 0.0025,
        "cache_write_price_per_1k": 0.0025,
        "cache_write_1h_price_per_1k": 0.0025,
    }


async def test_failed_attempt_before_failover_is_a_row_without_cost(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, name="second")
    listed = await (await client.get("/api/models", headers=admin)).json()
    (first,) = [m["id"] for m in listed if m["model_name"] == "test-model"]
    await client.put(f"/api/models/{first}", json={"fallback_model": "second"}, headers=admin)
    provider.script = provider.one_after_the_other(
        provider.answer(503, {"error": {"message": "busy"}}), provider.stream(reply("好"))
    )
    assert (await chat(client, user))[0] == 200
    answered, failed = await rows(client, user)
    assert (failed["model"], failed["end_reason"], failed["http_status"]) == ("test-model", "refused", 503)
    assert (failed["usage_source"], failed["cost"], failed["first_token_ms"]) == ("", 0.0, None)
    assert (answered["model"], answered["end_reason"], answered["prompt_tokens"]) == ("second", "stop", 7)
    assert failed["message_id"] == answered["message_id"]


async def test_ledger_row_keeps_the_price_of_its_time(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await chat(client, user)
    listed = await (await client.get("/api/models", headers=admin)).json()
    (first,) = [m["id"] for m in listed if m["model_name"] == "test-model"]
    await client.put(f"/api/models/{first}", json={"input_price_per_1k": 1}, headers=admin)
    await chat(client, user)
    assert [row["input_price_per_1k"] for row in await rows(client, user)] == [1.0, 0.0025]
    assert [row["cost"] for row in await rows(client, user)] == [0.00703, 0.000048]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (usage(5, 1) + usage(9, 2), (9, 2, "reported")),
        (usage(0, 0), (0, 0, "reported")),
        (data({"choices": [], "usage": {"completion_tokens": 4}}), (6, 4, "mixed")),
        (b"", (6, 1, "estimated")),
    ],
    ids=["the last word counts", "an explicit zero", "half of it", "none"],
)
async def test_ledger_row_has_the_usage_that_the_provider_reported(
    client: TestClient, user: Headers, provider: Provider, last: bytes, expected: tuple[int, int, str]
) -> None:
    provider.script = provider.stream([chunk("好"), chunk(finish="stop"), last, b"data: [DONE]\n\n"])
    await chat(client, user)
    (row,) = await rows(client, user)
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == expected


async def test_titles_gateway_requests_embeddings_and_api_key_tests_are_in_the_ledger(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    embedding = {"model_type": "embedding"}
    await add_model(client, admin, provider.base_url, name="vectors", **embedding)
    provider.script = provider.stream(reply("题目", prompt=20, completion=2))
    await stream(client, user, auto_title=True)
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    await (await client.post("/v1/chat/completions", json=body, headers=user)).read()
    vectors = {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    provider.script = provider.answer(200, vectors)
    await client.post("/v1/embeddings", json={"model": "vectors", "input": "x"}, headers=user)
    kinds = {row["kind"]: row["prompt_tokens"] for row in await rows(client, user)}
    assert kinds == {"chat": 20, "title": 20, "completion": 20, "embedding": 3}
    key = {"model_provider": "p_test_model", "api_key": "sk-some-key-of-the-tests"}
    saved = await (await client.post("/api/apikeys", json=key, headers=user)).json()
    provider.script = provider.one_after_the_other(
        provider.answer(404, {}), provider.answer(200, {"choices": [{"message": {"content": "h"}}]})
    )
    await client.post(f"/api/apikeys/{saved['apikey']['id']}/test", headers=user)
    newest = (await rows(client, user))[0]
    assert (newest["kind"], newest["key_id"]) == ("probe", saved["apikey"]["id"])


@pytest.mark.parametrize("told", [10**9, 2**62, 2**63, 10**30])
async def test_impossible_reported_usage_is_clamped_and_marked(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, told: int
) -> None:
    await add_model(client, admin, provider.base_url, name="vectors", model_type="embedding")
    vectors = {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": told, "total_tokens": told}}
    provider.script = provider.answer(200, vectors)
    await client.post("/v1/embeddings", json={"model": "vectors", "input": "x"}, headers=user)
    provider.script = provider.stream([chunk("好"), usage(told, told), b"data: [DONE]\n\n"])
    await chat(client, user)
    assert [row["usage_source"] for row in await rows(client, user)] == ["clamped", "clamped"]
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["tokens_used"] == 3 * 10 * 32_768


@pytest.mark.parametrize("told", [-1_000_000_000, -(2**62), -(10**30)])
async def test_impossible_reported_usage_is_replaced_by_an_estimate(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, told: int
) -> None:
    await add_model(client, admin, provider.base_url, name="vectors", model_type="embedding")
    vectors = {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": told, "total_tokens": told}}
    provider.script = provider.answer(200, vectors)
    await client.post("/v1/embeddings", json={"model": "vectors", "input": "x"}, headers=user)
    provider.script = provider.stream([chunk("好"), usage(told, told), b"data: [DONE]\n\n"])
    await chat(client, user)
    assert [row["usage_source"] for row in await rows(client, user)] == ["estimated", "mixed"]
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert 0 < stats["tokens_used"] < 100 and stats["budgets"][0]["reserved"] == 0


# --- stopped replies


@pytest.mark.parametrize("had_finished", [False, True])
async def test_stop_is_answered_at_once_and_usage_is_read_on_only_after_the_finish_reason(
    client: TestClient, user: Headers, provider: Provider, had_finished: bool
) -> None:
    client.app[RUNNING].usage_seconds = 30  # type: ignore[index]
    begun = [chunk("好"), chunk(finish="stop")] if had_finished else [chunk("好")]
    provider.script = provider.stream([*begun, usage(70, 9), DONE], stall_after=len(begun))
    response = await opened(client, user, "好", conversation_id="c")
    (running,) = client.app[REPLIES].of_user(2)  # type: ignore[index]
    await until(lambda: running.reply.has_finish or not had_finished)
    stopped = await client.post("/api/chat/stop", json={"conversation_id": "c"}, headers=user)
    assert stopped.status == 200
    # the provider stalls: nothing but the stop could have ended it
    await until(lambda: provider.closed == (not had_finished))
    provider.gate.set()
    end = (await read_events(response))[-1]
    assert (end["type"], end["finish_reason"]) == ("end", "stopped")
    (row,) = await rows(client, user)
    source = "reported" if had_finished else "estimated"
    assert (row["usage_source"], row["end_reason"]) == (source, "stopped")
    assert not had_finished or (row["prompt_tokens"], row["completion_tokens"]) == (70, 9)


# --- reading the ledger


async def test_users_read_their_own_usage_and_administrators_all(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    await chat(client, user)
    await chat(client, admin)
    assert {row["username"] for row in await rows(client, admin)} == {"user", "admin"}
    assert {row["username"] for row in await rows(client, user)} == {"user"}
    assert [row["username"] for row in await rows(client, admin, user_id=2)] == ["user"]
    response = await client.get("/api/usage?user_id=1", headers=user)
    assert response.status == 403
    made = await (
        await client.post("/api/tokens", json={"name": "t", "opens_api": True}, headers=admin)
    ).json()
    program = {"Authorization": f"Bearer {made['token']}"}
    assert {row["username"] for row in await rows(client, program)} == {"admin"}
    assert (await client.get("/api/usage?user_id=2", headers=program)).status == 403


async def test_usage_can_be_paged_filtered_and_summed(
    connect: Connect, config: Config, provider: Provider
) -> None:
    seconds, zone = [1_706_715_000.0], ZoneInfo("Asia/Shanghai")
    database = config.database.with_name("days.db")
    client = await connect(
        dataclasses.replace(config, database=database, timezone=zone),
        clock=Clock(seconds=lambda: seconds[0], zone=zone),
    )
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    await add_model(client, admin, provider.base_url, name="other")
    for headers, model in ((user, "test-model"), (user, "other"), (admin, "other")):
        await chat(client, headers, model=model)
    # half an hour before midnight in Shanghai
    seconds[0] += 3600
    provider.script = provider.answer(400, {})
    await chat(client, user)
    page = await (await client.get("/api/usage?limit=3", headers=admin)).json()
    assert [row["id"] for row in page["data"]] == [4, 3, 2]
    rest = await rows(client, admin, before=page["next_before"], limit=3)
    assert [row["id"] for row in rest] == [1]
    for filters, ids in (
        ({"model": "other"}, [3, 2]),
        ({"provider": "p_test_model"}, [4, 1]),
        ({"since": "2024-02-01"}, [4]),
        ({"until": "2024-01-31"}, [3, 2, 1]),
        ({"since": "2024-01-31", "until": "2024-01-31", "user_id": 2}, [2, 1]),
        ({"token_id": 5}, []),
    ):
        assert [row["id"] for row in await rows(client, admin, **filters)] == ids, filters
    days = await rows(client, admin, group_by="day")
    assert [(row["name"], row["requests"], row["attempts"]) for row in days] == [
        ("2024-02-01", 0, 1),
        ("2024-01-31", 3, 3),
    ]
    by_user = await rows(client, admin, group_by="user")
    assert {row["name"]: row["total_tokens"] for row in by_user} == {"user": 20, "admin": 10}
    by_model = await rows(client, user, group_by="model")
    assert {row["name"]: row["attempts"] for row in by_model} == {"test-model": 2, "other": 1}
    for name, day in (("since", "2024-13-01"), ("until", "2023-02-29"), ("until", "0000-01-01")):
        refused = await client.get(f"/api/usage?{name}={day}", headers=admin)
        assert refused.status == 400 and name in (await refused.json())["error"]
    for wrong in ("since=yesterday", "group_by=moon", "limit=0", "limit=1001", "format=xml", "user_id=x"):
        assert (await client.get(f"/api/usage?{wrong}", headers=admin)).status == 400, wrong


async def test_export_has_every_row_and_no_formula_and_is_audited(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {"model_name": "=cmd()", "display_name": "x", "model_provider": "p_test_model"}
    assert (await client.post("/api/models", json=odd, headers=admin)).status == 200
    for number in range(5):
        await chat(client, user, model="=cmd()" if number == 2 else "test-model")
    empty = await client.get("/api/usage?format=csv&user_id=3", headers=admin)
    assert (await empty.read()).decode("utf-8-sig").startswith("id,at,day,kind,user_id,username,")
    # pages of two
    monkeypatch.setattr("chathub.billing.usage_table._PAGE", 2)
    response = await client.get("/api/usage?format=csv", headers=admin)
    assert response.content_type == "text/csv" and "attachment" in response.headers["Content-Disposition"]
    text = (await response.read()).decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in table] == ["5", "4", "3", "2", "1"]
    assert table[2]["model"] == "'=cmd()" and table[0]["cost"] == "4.8e-05"
    sums = await client.get("/api/usage?format=csv&group_by=model", headers=user)
    assert len(list(csv.DictReader(io.StringIO((await sums.read()).decode("utf-8-sig"))))) == 2
    audit = await (await client.get("/api/audit?event=usage.exported", headers=admin)).json()
    assert [entry["actor"]["username"] for entry in audit["data"]] == ["user", "admin", "admin"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r"])
def test_spreadsheet_formula_is_exported_as_text(first: str) -> None:
    assert _cell(f"{first}1+1") == f"'{first}1+1"


async def test_ledger_rows_outlive_conversations_and_cannot_be_changed(
    client: TestClient, user: Headers, config: Config
) -> None:
    _, body, _ = await chat(client, user)
    before = await rows(client, user)
    await client.delete(f"/api/conversations/{body['conversation_id']}", headers=user)
    assert await rows(client, user) == before
    with closing(sqlite3.connect(config.database)) as connection:
        for statement in (
            "UPDATE ledger SET cost = 0",
            "DELETE FROM ledger",
            "INSERT OR REPLACE INTO ledger SELECT * FROM ledger WHERE id = 1",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
                connection.execute(statement)
