"""``chathub reconcile``: exports of every shape beside a ledger of real requests to a scripted provider that
keeps its own bill."""

import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import Connect
from exports import (
    BY_KEY,
    CHARGED_AS,
    CHINA,
    KEYS,
    PRICES,
    SHAPES,
    Request,
    anthropic_usage,
    anthropic_usage_csv,
    deepseek_zip,
    openai_costs,
    openai_costs_csv,
    openai_usage,
    openrouter_activity,
    openrouter_requests,
)
from gateway import Headers, add, key_of, post
from processes import ChatHub, run_to_its_end
from reconciling import Command
from scripted import Provider

from chathub.clock import Clock
from chathub.config import Config
from chathub.errors import StartError

NAMES = ("input_price", "cached_price", "cache_write_price", "output_price")
PER_1K = {f"{name}_per_1k": float(price) / 1000 for name, price in zip(NAMES, PRICES.values(), strict=True)}


class Till:
    """The scripted provider's bill, and the hand that sets ChatHub's clock."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.requests: list[Request] = []

    async def charge(self, request: web.Request) -> web.StreamResponse:
        model = (await request.json())["model"]
        number = len(self.requests) + 1
        key = key_of(request.headers)
        # so that no cost has a part of a millionth
        made = Request(self.now, key, model, 2000 * number, 400 * number, 800 * number, 30 + number)
        self.requests.append(made)
        message = {"role": "assistant", "content": "好"}
        told = {
            "prompt_tokens": made.prompt,
            "completion_tokens": made.completion,
            "total_tokens": made.prompt + made.completion,
            "prompt_tokens_details": {"cached_tokens": made.cached, "cache_write_tokens": made.written},
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": told})


@pytest.fixture
def command(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(config, tmp_path, capsys)


@pytest.fixture
def hand() -> Till:
    return Till()


@pytest.fixture
async def client(connect: Connect, config: Config, hand: Till) -> TestClient:
    """A server whose days are China's."""
    zone = ZoneInfo("Asia/Shanghai")
    clock = Clock(seconds=lambda: hand.now.timestamp(), zone=zone)
    return await connect(replace(config, timezone=zone), clock=clock)


@pytest.fixture
async def till(hand: Till, client: TestClient, provider: Provider, admin: Headers) -> Till:
    """Twelve requests around midnight UTC, with two API keys and two models."""
    provider.script = hand.charge
    for model in CHARGED_AS:
        await add(client, admin, provider.base_url, name=model, provider="maker", needs_key=True, **PER_1K)
    for key, label in KEYS.items():
        await post(client, "/api/apikeys", {"model_provider": "maker", "api_key": key, "label": label}, admin)
    began = hand.now
    for hours in (0, 13.5, 14.5):
        hand.now = began + timedelta(hours=hours)
        for label in KEYS.values():
            await use_only(client, admin, label)
            for model in CHARGED_AS:
                body = {"model": model, "messages": [{"role": "user", "content": "你好"}]}
                await post(client, "/v1/chat/completions", body, admin)
    assert len(hand.requests) == 12
    return hand


async def use_only(client: TestClient, admin: Headers, label: str) -> None:
    """Make one of the API keys the only active one."""
    for row in await (await client.get("/api/apikeys", headers=admin)).json():
        if row["is_active"] != (row["label"] == label):
            await post(client, f"/api/apikeys/{row['id']}/toggle", {}, admin)


async def test_bill_that_equals_the_ledger_shows_no_difference_in_any_shape(
    till: Till, command: Command
) -> None:
    cost, prompt = (
        float(sum(each.cost for each in till.requests)),
        sum(each.prompt for each in till.requests),
    )
    for shape, write in SHAPES.items():
        code, report = (ran := command(write(till.requests))).code, ran.json
        assert (code, report["deviation_percent"], report["notes"]) == (0, 0, []), (shape, report)
        assert {row["found_in"] for row in report["rows"]} == {"both"}, (shape, report["rows"])
        assert {row["difference"] for row in report["rows"]} == {0}, (shape, report["rows"])
        assert report["total"]["ledger"]["cost"] == cost, shape
        days = 2
        assert len(report["rows"]) == days * 2 * (2 if shape in BY_KEY else 1), (shape, report["rows"])
        if report["compared"] == "cost":
            assert report["total"]["provider"]["cost"] == cost, shape
        if report["total"]["provider"]["prompt_tokens"] is not None:
            assert report["total"]["provider"]["prompt_tokens"] == prompt, shape
            assert {row["provider"]["prompt_tokens"] for row in report["rows"]} == {
                row["ledger"]["prompt_tokens"] for row in report["rows"]
            }, shape


async def test_model_that_has_another_name_here_is_found_by_what_its_provider_calls_it(
    till: Till, command: Command, client: TestClient, admin: Headers, provider: Provider
) -> None:
    """Two models of ChatHub's are one on the bill."""
    at = provider.base_url
    await add(client, admin, at, name="ours", provider="maker", upstream_name="gpt-7o", **PER_1K)
    body = {"model": "ours", "messages": [{"role": "user", "content": "你好"}]}
    await post(client, "/v1/chat/completions", body, admin)
    for shape, write in SHAPES.items():
        ran = command(write(till.requests))
        assert ran.code == 0 and ran.json["deviation_percent"] == 0, (shape, ran.output)
        assert {row["found_in"] for row in ran.json["rows"]} == {"both"}, (shape, ran.output)


async def test_request_that_the_ledger_lacks_is_shown(till: Till, command: Command) -> None:
    """Another program uses the same API key on a day of its own, and one request more on a day of ours."""
    first = till.requests[0]
    before = first._replace(at=first.at - timedelta(days=1))
    for shape, write in SHAPES.items():
        ran = command(write([*till.requests, first, before]))
        assert ran.code == 1, (shape, ran.output)
        alone = [row for row in ran.json["rows"] if row["found_in"] == "file"]
        assert [row["day"] for row in alone] == [str(before.at.date())], (shape, ran.output)
        more = [row for row in ran.json["rows"] if row["found_in"] == "both" and row["difference"] > 0]
        assert len(more) == 1 and more[0]["day"] == str(first.at.date()), (shape, ran.output)
        assert "gpt-7o" in more[0]["model"]


async def test_request_that_the_bill_lacks_is_shown(till: Till, command: Command) -> None:
    kept = [
        each for each in till.requests if not (each.model == "gpt-7o" and each.at.date() == till.now.date())
    ]
    ran = command(openrouter_requests(kept))
    assert ran.code == 1
    alone = [row for row in ran.json["rows"] if row["found_in"] == "ledger"]
    assert {(row["day"], row["key"], row["model"]) for row in alone} == {
        (str(till.now.date()), label, "gpt-7o = vendor/gpt-7o-2024-08-06") for label in KEYS.values()
    }
    missing = sum(each.cost for each in till.requests) - sum(each.cost for each in kept)
    assert sum(row["difference"] for row in alone) == pytest.approx(-float(missing))
    # a time without that day is equal
    until = str(till.now.date() - timedelta(days=1))
    assert command(openrouter_requests(kept), "--provider", "maker", "--until", until).code == 0


async def test_day_without_any_charge_counts_as_one_of_the_file(till: Till, command: Command) -> None:
    """The last day was used through another account."""
    kept = [each for each in till.requests if each.at.date() != till.now.date()]
    (page,) = json.loads(openai_usage(kept))
    begin = int(till.now.replace(hour=0, minute=0).timestamp())
    page["data"].append({"object": "bucket", "start_time": begin, "end_time": begin + 86400, "results": []})
    report = command(json.dumps(page)).json
    assert report["until"] == str(till.now.date())
    alone = [row for row in report["rows"] if row["found_in"] == "ledger"]
    assert len(alone) == 4 and {row["day"] for row in alone} == {str(till.now.date())}
    assert sum(row["difference"] for row in alone) == -sum(
        each.prompt + each.completion for each in till.requests if each not in kept
    )


async def test_tokens_of_the_cache_are_compared_for_themselves(till: Till, command: Command) -> None:
    """The provider read nothing from its cache, and so it charges more for the same tokens."""
    cold = [each._replace(cached=0) for each in till.requests]
    ran = command(anthropic_usage(cold))
    assert ran.code == 1 and {row["difference"] for row in ran.json["rows"]} == {0}
    cached, all_tokens = (
        sum(getattr(each, kind) for each in till.requests for kind in kinds)
        for kinds in (["cached"], ["prompt", "completion"])
    )
    assert ran.json["deviation_percent"] == pytest.approx(2 * cached / all_tokens * 100, abs=0.001)


async def test_table_shows_days_keys_models_and_both_sides(till: Till, command: Command) -> None:
    dear = [*till.requests, till.requests[0]._replace(model="claude-haiku-7-5", completion=100_000)]
    ran = command(openai_costs_csv(dear), "--provider", "maker", "--tolerance", "50", "--rate", "2")
    lines = ran.output.splitlines()
    assert ran.code == 1
    assert lines[0] == "export0: OpenAI costs, in USD, beside the ledger of maker"
    assert "days of UTC; costs of the file are multiplied by 2" in lines[1]
    above, columns = (re.split("  +", line.strip()) for line in lines[3:5])
    assert above == ["provider", "ledger"]
    kinds = ("in", "cached", "written", "out")
    assert columns == ["day", "key", "model", "cost", *kinds, "cost", "difference", "%"]
    assert any(line.startswith("total") for line in lines)
    assert any("key_One" in line and "gpt-7o = gpt-7o-2024-08-06" in line for line in lines)
    assert lines[-1].endswith("more than the tolerance of 50 %")
    for key in KEYS:
        assert key not in ran.output


async def test_model_is_matched_by_what_its_provider_calls_it(
    till: Till, command: Command, client: TestClient, admin: Headers
) -> None:
    listed = await (await client.get("/api/models", headers=admin)).json()
    (model,) = [row for row in listed if row["model_name"] == "gpt-7o"]
    body = {"upstream_name": "mighty-9"}
    async with client.put(f"/api/models/{model['id']}", json=body, headers=admin) as response:
        assert response.status == 200, await response.text()
    renamed = openrouter_requests(till.requests).replace(b"gpt-7o-2024-08-06", b"mighty-9-2026-11-11")
    ran = command(renamed)
    assert ran.code == 0
    assert "gpt-7o = vendor/mighty-9-2026-11-11" in {row["model"] for row in ran.json["rows"]}


async def test_sums_over_all_keys_are_compared_where_no_key_matches(till: Till, command: Command) -> None:
    unknown = openai_usage(till.requests).replace(b'"key_', b'"unknown_')
    ran = command(unknown)
    assert ran.code == 0 and {row["key"] for row in ran.json["rows"]} == {None}
    (note,) = ran.json["notes"]
    assert "the sums over all are compared" in note


async def test_keys_without_a_partner_are_named(till: Till, command: Command) -> None:
    ran = command(openai_usage(till.requests).replace(b"key_Two", b"key_Three"))
    assert ran.code == 1
    assert {(row["key"], row["found_in"]) for row in ran.json["rows"]} == {
        ("key_One", "both"),
        ("key_Three", "file"),
        ("key_Two", "ledger"),
    }
    (note,) = ran.json["notes"]
    assert note.startswith("API keys of the file (key_Three) and of the ledger (key_Two) may be the same")


async def test_usage_and_costs_are_compared_together(till: Till, command: Command) -> None:
    ran = command(openai_usage(till.requests), also=openai_costs(till.requests))
    assert ran.code == 0 and len(ran.json["rows"]) == 4
    for row in ran.json["rows"]:
        assert row["provider"] == row["ledger"]
    with pytest.raises(StartError, match="two providers"):
        command(openai_usage(till.requests), also=openrouter_activity(till.requests))
    with pytest.raises(StartError, match="the same twice"):
        command(openrouter_activity(till.requests), also=openrouter_requests(till.requests))


async def test_cost_beyond_the_amounts_is_part_of_the_bill(till: Till, command: Command) -> None:
    """DeepSeek's wallets tell more than the amounts: the difference is a line without an API key."""
    more = till.requests[0]._replace(prompt=1000, cached=0, written=0, completion=0)
    archive = io.BytesIO(deepseek_zip(till.requests))
    dearer = zipfile.ZipFile(io.BytesIO(deepseek_zip([*till.requests, more]))).read("cost-2026-8.csv")
    amounts = zipfile.ZipFile(archive).read("amount-2026-8.csv")
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as packed:
        packed.writestr("costs.csv", dearer)
        packed.writestr("amounts.csv", amounts)
    ran = command(archive.getvalue())
    assert ran.json["currency"] == "CNY"
    (line,) = [row for row in ran.json["rows"] if row["found_in"] == "file"]
    assert (line["key"], line["model"], line["difference"]) == ("-", "gpt-7o", 0.0025)


async def test_days_follow_the_file_and_the_named_time_zone(till: Till, command: Command) -> None:
    hourly = ("--provider", "maker", "--json", "--timezone", "Asia/Shanghai")
    ran = command(openrouter_requests(till.requests), *hourly)
    assert ran.code == 0 and ran.json["timezone"] == "Asia/Shanghai"
    china = {str(each.at.astimezone(CHINA).date()) for each in till.requests}
    assert {row["day"] for row in ran.json["rows"]} == china
    with pytest.raises(StartError, match="line 2 is no day of the time zone Asia/Shanghai"):
        command(anthropic_usage_csv(till.requests), *hourly)


async def test_provider_of_the_same_name_is_the_default(till: Till, command: Command) -> None:
    ran = command(openai_usage(till.requests), "--json")
    assert ran.code == 1 and ran.json["providers"] == ["openai"]
    assert {row["found_in"] for row in ran.json["rows"]} == {"file"}
    with pytest.raises(StartError, match="no provider 'nobody' here.*--provider.*maker"):
        command(openai_usage(till.requests), "--provider", "nobody")


async def test_provider_that_is_named_twice_counts_once(till: Till, command: Command) -> None:
    ran = command(openrouter_activity(till.requests), *("--provider", "maker") * 2, "--json")
    assert ran.code == 0 and ran.json["providers"] == ["maker"]


async def test_estimates_and_failures_of_the_ledger_are_told(
    till: Till, command: Command, client: TestClient, provider: Provider, admin: Headers
) -> None:
    message = {"role": "assistant", "content": "没有用量"}
    body = {"model": "gpt-7o", "messages": [{"role": "user", "content": "你好"}]}

    async def silent(_: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    provider.script = silent
    await post(client, "/v1/chat/completions", body, admin)

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=400)

    provider.script = refuse
    async with client.post("/v1/chat/completions", json=body, headers=admin) as response:
        assert response.status == 400
    report = command(openai_usage(till.requests), "--provider", "maker", "--tolerance", "5", "--json").json
    assert report["estimated"]["requests"] == 1 and report["estimated"]["cost"] > 0
    assert report["notes"] == ["attempts in the ledger that used nothing, which a provider may charge: 1"]
    assert (
        "estimated in the ledger: 1 request,"
        in command(openai_usage(till.requests), "--provider", "maker").output
    )


async def test_command_runs_beside_the_server_and_ends_with_its_codes(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "activity.json"
    file.write_bytes(openrouter_activity([Request(datetime.now(UTC), "", "gpt-7o", 1, 0, 0, 1)]))
    async with ChatHub(database):
        assert (await run_to_its_end(database, "reconcile", str(file)))[0] == 1
        later = ("--since", "2030-01-01", "--until", "2030-01-02")
        code, output, errors = await run_to_its_end(database, "reconcile", str(file), *later)
        assert (code, errors) == (0, ""), output
        file.write_bytes(b"a,b\n1,2\n")
        code, output, errors = await run_to_its_end(database, "reconcile", str(file))
        assert (code, output) == (2, "") and "is none of the exports that are known" in errors
