"""Exports of usage and cost as the providers write them, after their public descriptions, from one bill."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

KEYS = {"sk-one-of-the-bills-aaaa1111": "key_One", "sk-two-of-the-bills-bbbb2222": "key_Two"}
# what the provider calls the models, and its website
CHARGED_AS = {"gpt-7o": "gpt-7o-2024-08-06", "claude-haiku-7-5": "claude-haiku-7-5-20251001"}
DISPLAYED_AS = {"gpt-7o": "GPT-7o", "claude-haiku-7-5": "Claude Haiku 7.5"}
# for a million tokens
PRICES = {"fresh": "2.5", "cached": "0.25", "written": "3.125", "completion": "10"}
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


def deepseek_amounts(bill: list[Request]) -> bytes:
    header = "user_id,start_time_iso,end_time_iso,model,api_key_name,api_key,type,price,amount"
    rows: list[tuple[object, ...]] = []
    for each in bill:
        begin = each.at.astimezone(CHINA).replace(hour=0, minute=0)
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
