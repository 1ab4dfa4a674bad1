"""``chathub reconcile``: exports of every shape, written after the providers' public descriptions, beside a
ledger of real requests to a scripted provider that keeps its own bill."""

import csv
import io
import json
import re
import zipfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import Headers, add, key_of, post
from processes import ChatHub, run_to_its_end
from scripted import Provider

from chathub.clock import Clock
from chathub.commands.reconcile import add_reconcile_flags, reconcile
from chathub.config import Config
from chathub.errors import StartError

KEYS = {"sk-one-of-the-bills-aaaa1111": "key_One", "sk-two-of-the-bills-bbbb2222": "key_Two"}
# what the provider calls the models, and its website
CHARGED_AS = {"gpt-7o": "gpt-7o-2024-08-06", "claude-haiku-7-5": "claude-haiku-7-5-20251001"}
DISPLAYED_AS = {"gpt-7o": "GPT-7o", "claude-haiku-7-5": "Claude Haiku 7.5"}
# for a million tokens
PRICES = {"fresh": "2.5", "cached": "2.5", "written": "2.5", "completion": "10"}
CHINA = timezone(timedelta(hours=8))


class Request(NamedTuple):
    """One request on the provider's bill."""

    at: datetime
    key: str
    model: str
    prompt: int
    cached: int
    written: int
    completion: int

    @property
    def fresh(self) -> int:
        """The tokens that were neither read from the cache nor written to it."""
        return self.prompt - self.cached - self.written

    @property
    def cost(self) -> Decimal:
        return sum((tokens * price for tokens, price in self.parts.values()), Decimal(0))

    @property
    def parts(self) -> dict[str, tuple[int, Decimal]]:
        """The number and the price of each kind of tokens."""
        return {kind: (getattr(self, kind), Decimal(price) / 1_000_000) for kind, price in PRICES.items()}


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
    names = ("input_price", "cached_price", "cache_write_price", "output_price")
    prices = {
        f"{name}_per_1k": float(price) / 1000 for name, price in zip(names, PRICES.values(), strict=True)
    }
    for model in CHARGED_AS:
        await add(client, admin, provider.base_url, name=model, provider="maker", needs_key=True, **prices)
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


# --- exports as the providers write them

Write = Callable[[list[Request]], bytes]


def table(header: str, rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return text.getvalue().encode()


def days_of(bill: list[Request]) -> Iterator[tuple[datetime, list[Request]]]:
    for day in sorted({each.at.date() for each in bill}):
        yield (
            datetime(day.year, day.month, day.day, tzinfo=UTC),
            [each for each in bill if each.at.date() == day],
        )


def openai_usage(bill: list[Request]) -> bytes:
    pages = []
    for day, requests in days_of(bill):
        results = [
            {
                "object": "organization.usage.completions.result",
                "input_tokens": each.prompt,
                "output_tokens": each.completion,
                "input_cached_tokens": each.cached,
                "input_cache_write_tokens": each.written,
                "num_model_requests": 1,
                "project_id": None,
                "api_key_id": KEYS[each.key],
                "model": CHARGED_AS[each.model],
            }
            for each in requests
        ]
        begin = int(day.timestamp())
        bucket = {"object": "bucket", "start_time": begin, "end_time": begin + 86400, "results": results}
        empty = {
            "object": "bucket",
            "start_time": begin - 9 * 86400,
            "end_time": begin - 8 * 86400,
            "results": [],
        }
        pages.append({"object": "page", "data": [empty, bucket], "has_more": False, "next_page": None})
    return json.dumps(pages).encode()


def openai_usage_csv(bill: list[Request]) -> bytes:
    header = (
        "start_time,end_time,start_time_iso,end_time_iso,num_model_requests,api_key_id,model,input_tokens"
    )
    rows: list[list[object]] = []
    for day, requests in days_of(bill):
        times = [int(day.timestamp()), int(day.timestamp()) + 86400, day.isoformat(), ""]
        rows += [
            [
                *times,
                "1.0",
                KEYS[each.key],
                CHARGED_AS[each.model],
                f"{each.prompt}.0",
                f"{each.completion}.0",
                f"{each.cached}.0",
            ]
            for each in requests
        ]
        rows.append([times[0] - 86400 * 9, times[1] - 86400 * 9, "", "", "", "", "", "", "", ""])
    return table(header + ",output_tokens,input_cached_tokens", rows)


def openai_costs(bill: list[Request]) -> bytes:
    data = []
    for day, requests in days_of(bill):
        results: list[dict[str, Any]] = []
        for each in requests:
            tokens, price = each.parts["completion"]
            output = tokens * price
            for item, value in (("input", each.cost - output), ("output", output)):
                line = f"{CHARGED_AS[each.model]}, {item}"
                results.append({"amount": {"value": float(value), "currency": "usd"}, "line_item": line})
        results.append({"amount": None, "line_item": None})
        data.append(
            {"start_time": int(day.timestamp()), "end_time": int(day.timestamp()) + 86400, "results": results}
        )
    return json.dumps({"object": "page", "data": data, "has_more": False}).encode()


def openai_costs_csv(bill: list[Request]) -> bytes:
    header = (
        "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,api_key_id"
    )
    rows: list[list[object]] = []
    for day, requests in days_of(bill):
        times = [int(day.timestamp()), int(day.timestamp()) + 86400, day.isoformat(), ""]
        rows += [
            [*times, f"{each.cost:.20f}", "usd", f"{CHARGED_AS[each.model]}, input_tokens", KEYS[each.key]]
            for each in requests
        ]
        rows.append([*times, "", "", "", ""])
    return table(header, rows)


def anthropic_usage(bill: list[Request]) -> bytes:
    data = []
    for day, requests in days_of(bill):
        results = [
            {
                "uncached_input_tokens": each.fresh,
                "cache_creation": {
                    "ephemeral_1h_input_tokens": 100,
                    "ephemeral_5m_input_tokens": each.written - 100,
                },
                "cache_read_input_tokens": each.cached,
                "output_tokens": each.completion,
                "server_tool_use": {"web_search_requests": 0},
                "api_key_id": KEYS[each.key],
                "model": CHARGED_AS[each.model],
            }
            for each in requests
        ]
        times = [f"{moment:%Y-%m-%dT00:00:00Z}" for moment in (day, day + timedelta(days=1))]
        data.append({"starting_at": times[0], "ending_at": times[1], "results": results})
    return json.dumps({"data": data, "has_more": False, "next_page": None}).encode()


def anthropic_usage_csv(bill: list[Request]) -> bytes:
    header = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count,inference_geo,speed"
    )
    named = ("Default", "standard", "≤ 200k")
    return table(
        header,
        [
            (each.at.date(), CHARGED_AS[each.model], KEYS[each.key], *named)
            + (each.fresh, each.written - 100, 100, each.cached, each.completion, 0, "global", "")
            for each in bill
        ],
    )


def anthropic_cost(bill: list[Request]) -> bytes:
    data = []
    for day, requests in days_of(bill):
        results = [
            {
                "amount": str(each.cost * 100),
                "currency": "USD",
                "cost_type": "tokens",
                "description": f"{DISPLAYED_AS[each.model]} Usage",
                "model": CHARGED_AS[each.model],
            }
            for each in requests
        ]
        data.append({"starting_at": f"{day:%Y-%m-%dT00:00:00Z}", "results": results})
    return json.dumps({"data": data, "has_more": False}).encode()


def anthropic_cost_csv(bill: list[Request]) -> bytes:
    header = "usage_date_utc,model,workspace,api_key,usage_type,token_type,cost_usd,list_price_usd,api_key_id"
    return table(
        header,
        [
            (
                each.at.date(),
                DISPLAYED_AS[each.model],
                "Default",
                KEYS[each.key],
                "message",
                "output",
                each.cost,
                9,
                "apikey_1",
            )
            for each in bill
        ],
    )


def openrouter_activity(bill: list[Request]) -> bytes:
    data = [
        {
            "date": str(each.at.date()),
            "model": f"vendor/{each.model}",
            "model_permaslug": f"vendor/{CHARGED_AS[each.model]}",
            "endpoint_id": "e",
            "provider_name": "V",
            "usage": float(each.cost),
            "byok_usage_inference": 5,
            "requests": 1,
            "prompt_tokens": each.prompt,
            "completion_tokens": each.completion,
            "reasoning_tokens": 3,
        }
        for each in bill
    ]
    return json.dumps({"data": data}).encode()


def openrouter_activity_csv(bill: list[Request]) -> bytes:
    header = "Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens"
    rows = [
        (
            f"{each.at.date()} 00:00:00",
            f"vendor/{each.model}",
            each.cost,
            5,
            1,
            f"{each.prompt:,}",
            each.completion,
            3,
        )
        for each in bill
    ]
    return table(header, rows)


def openrouter_requests(bill: list[Request]) -> bytes:
    header = (
        "generation_id,created_at,cost_total,cost_web_search,cost_cache,byok_usage_inference,tokens_prompt,"
        "tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name,variant,api_key_name"
    )
    rows = [
        (
            f"gen-{number}",
            each.at.isoformat(),
            each.cost,
            0,
            0,
            0,
            each.prompt,
            each.completion,
            2,
            each.cached,
        )
        + (f"vendor/{CHARGED_AS[each.model]}", "V", "standard", KEYS[each.key])
        for number, each in enumerate(bill)
    ]
    return table(header, rows)


# a price that changes during a day makes two rows of a type: what is written to no other cache
DEEPSEEK_TYPES = {
    "fresh": "input_cache_miss_tokens",
    "cached": "input_cache_hit_tokens",
    "written": "input_cache_miss_tokens",
    "completion": "output_tokens",
}


def deepseek_amounts(bill: list[Request], *, zone: timezone = CHINA) -> bytes:
    header = "user_id,start_time_iso,end_time_iso,model,api_key_name,api_key,type,price,amount"
    rows: list[tuple[object, ...]] = []
    for each in bill:
        begin = each.at.astimezone(zone).replace(hour=0, minute=0)
        times = (begin.isoformat(), (begin + timedelta(days=1)).isoformat())
        named = ("u", *times, each.model, "prod", f"{each.key[:7]}{'*' * 20}{each.key[-3:]}")
        rows += [
            (*named, DEEPSEEK_TYPES[kind], price, tokens) for kind, (tokens, price) in each.parts.items()
        ]
        rows.append((*named, "request_count", "", 1))
    return b"\xef\xbb\xbf" + table(header, rows)


def deepseek_zip(bill: list[Request]) -> bytes:
    """The money was taken from two wallets."""
    header = "user_id,start_time_iso,end_time_iso,model,wallet_type,cost,currency"
    rows = []
    for each in bill:
        begin = each.at.astimezone(CHINA).replace(hour=0, minute=0)
        times = (begin.isoformat(), (begin + timedelta(days=1)).isoformat())
        rows += [("u", *times, each.model, wallet, each.cost / 2, "CNY") for wallet in ("Paid", "Granted")]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("amount-2026-8.csv", deepseek_amounts(bill))
        packed.writestr("cost-2026-8.csv", table(header, rows))
    return archive.getvalue()


def deepseek_older(bill: list[Request]) -> bytes:
    header = "user_id,utc_date,model,wallet_type,cost,currency"
    return table(header, [("u", f"{each.at:%Y%m%d}", each.model, "Paid", each.cost, "CNY") for each in bill])


SILICONFLOW_ITEMS = {
    "fresh": "input-tokens",
    "cached": "cached-input-tokens",
    "written": "input-tokens",
    "completion": "output-tokens",
}


def siliconflow_bill(bill: list[Request]) -> bytes:
    header = (
        "计费周期,费用流水ID,费用发生时间,计费项,计费项原始用量,资源包抵扣用量,资源包抵扣后余量,"
        "用量单位,计费项单价,计费金额"
    )
    rows: list[tuple[object, ...]] = []
    for each in bill:
        time = f"{each.at.astimezone(CHINA):%Y-%m-%d %H:%M}"
        for kind, (tokens, price) in each.parts.items():
            used = Decimal(tokens) / 1000
            item = f"{each.model}.online.{SILICONFLOW_ITEMS[kind]}"
            cost = tokens * price
            rows.append((time, "B", time, item, used, 0, used, "K tokens", price * 1000, round(cost, 4)))
    return table(header, rows).decode().encode("utf-16")


SHAPES: dict[str, Write] = {
    "OpenAI usage": openai_usage,
    "OpenAI usage as CSV": openai_usage_csv,
    "OpenAI costs": openai_costs,
    "OpenAI costs as CSV": openai_costs_csv,
    "Anthropic usage": anthropic_usage,
    "Anthropic usage as CSV": anthropic_usage_csv,
    "Anthropic cost": anthropic_cost,
    "Anthropic cost as CSV": anthropic_cost_csv,
    "OpenRouter activity": openrouter_activity,
    "OpenRouter activity as CSV": openrouter_activity_csv,
    "OpenRouter requests": openrouter_requests,
    "DeepSeek amounts": deepseek_amounts,
    "DeepSeek archive": deepseek_zip,
    "DeepSeek costs by UTC day": deepseek_older,
    "SiliconFlow bill": siliconflow_bill,
}
BY_KEY = {
    "OpenAI usage",
    "OpenAI usage as CSV",
    "OpenAI costs as CSV",
    "Anthropic usage",
    "Anthropic usage as CSV",
    "Anthropic cost as CSV",
    "OpenRouter requests",
    "DeepSeek amounts",
    "DeepSeek archive",
}


class Ran(NamedTuple):
    code: int
    output: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output)
        return found


class Command:
    """``chathub reconcile`` in this process, on a file that a test writes."""

    def __init__(self, config: Config, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._folder = folder
        self._capsys = capsys

    def __call__(self, content: bytes | str, *flags: str, also: bytes = b"") -> Ran:
        """Compare with the provider ``maker``, as JSON unless the flags say otherwise."""
        files = []
        for number, part in enumerate([content, also][: 2 if also else 1]):
            # the name tells nothing
            files.append(self._folder / f"export{number}")
            files[-1].write_bytes(part if isinstance(part, bytes) else part.encode())
        parser = ArgumentParser()
        add_reconcile_flags(parser)
        arguments = parser.parse_args([*map(str, files), *(flags or ("--provider", "maker", "--json"))])
        self._capsys.readouterr()
        code = reconcile(self._config, arguments)
        return Ran(code, self._capsys.readouterr().out)


@pytest.fixture
def command(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(config, tmp_path, capsys)


# --- against a ledger


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


async def test_sums_over_all_keys_are_compared_where_no_key_matches(till: Till, command: Command) -> None:
    unknown = openai_usage(till.requests).replace(b'"key_', b'"unknown_')
    ran = command(unknown)
    assert ran.code == 0 and {row["key"] for row in ran.json["rows"]} == {None}
    (note,) = ran.json["notes"]
    assert "the sums over all are compared" in note


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


# --- files that are wrong

ACTIVITY = "Date,Slug,Usage,Requests,Prompt Tokens,Completion Tokens\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "export0 is empty"),
        (" \n\n", "export0 has no rows"),
        ("hello", "none of the exports that are known"),
        ("[]", "export0 has no rows"),
        (ACTIVITY, "there is no charge in the file"),
        ('{"data": [{"date": ', "export0, line 1: this is no JSON"),
        ('{"data": [{"date": NaN}]}', "numbers that JSON does not know"),
        ('{"data": [1]}', r"export0.data\[0\] is no object"),
        (ACTIVITY + "2026-08-01,a/b,many,1,1,1\n", "export0, line 2: usage is no number"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1,1\n2026-08-01,a/b,1,1,-3,1\n", "line 3: prompt tokens is no count"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1.5,1\n", "line 2: prompt tokens is no count"),
        (ACTIVITY + "2026-08-01,a/b,1e30,1,1,1\n", "line 2: usage is too large"),
        (ACTIVITY + "yesterday,a/b,1,1,1,1\n", "line 2: date is no time"),
        (ACTIVITY + "0001-01-01,a/b,1,1,1,1\n", "line 2: date is no time of this century"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1,1,9\n", "line 2 has more cells"),
        (ACTIVITY + '2026-08-01,"' + "x" * 200_000 + '",1,1,1,1\n', "export0 is no CSV file"),
        (b"PK\x03\x04 and then nothing", "none of the exports|no rows"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_file_that_is_no_export_is_refused_with_its_place(
    content: str | bytes, sentence: str, command: Command
) -> None:
    with pytest.raises(StartError, match=sentence):
        command(content)


def test_wrong_cell_is_not_repeated_in_the_error(command: Command) -> None:
    """A shifted column may hold an API key."""
    with pytest.raises(StartError) as raised:
        command(ACTIVITY + "2026-08-01,a/b,sk-secret-1234567890abcdef,1,1,1\n")
    assert "secret" not in str(raised.value)


def test_archive_that_would_unpack_to_too_much_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chathub.reconcile.files._MOST_BYTES", 5000)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("amount.csv", b"0" * 6000)
    assert len(archive.getvalue()) < 5000
    with pytest.raises(StartError, match="export0/amount.csv is larger than"):
        command(archive.getvalue())


def test_more_rows_than_the_bound_are_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chathub.reconcile.files._MOST_ROWS", 3)
    with pytest.raises(StartError, match="export0 has more than 3 rows"):
        command(ACTIVITY + "2026-08-01,a/b,1,1,1,1\n" * 4)


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8-sig", ","), ("utf-16", "\t"), ("utf-16-le", ","), ("gb18030", ","), ("utf-8", ";")],
)
def test_encodings_separators_and_signs_of_money_are_read(
    encoding: str, delimiter: str, command: Command
) -> None:
    """A spreadsheet saves as it likes: ``¥1,234.50`` is written with the marks of the country."""
    money = "¥1.234,50" if delimiter == ";" else '"¥1,234.50"'
    rows = [
        ["费用发生时间", "计费项", "计费金额"],
        ["2026/8/1 23:59", "模型/甲.online.output-tokens", money],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    report = command(text.encode(encoding), "--provider", "siliconflow", "--json").json
    (row,) = report["rows"]
    assert (row["day"], row["model"], row["provider"]["cost"]) == ("2026-08-01", "模型/甲", 1234.5)
    assert (report["currency"], report["timezone"]) == ("CNY", "UTC+08:00")
