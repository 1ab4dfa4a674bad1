"""The bill of a provider with a cache equals ChatHub's ledger to the millionth, in every format."""

import json
import random
from collections import Counter
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, read_events
from conftest import Connect, sign_in
from gateway import token
from scripted import DONE, Provider, chunk, data, usage
from scripted_formats import PROTOCOLS

_CONVERSATIONS = 300
# input, cached, cache_write, cache_write_1h and output in millionths per million tokens
_PRICES = {
    "dear": (2_999_999, 299_999, 3_749_999, 5_999_999, 14_999_999),
    "cheap": (123, 13, None, None, 457),
}
_KINDS = ("input", "cached", "cache_write", "cache_write_1h", "output")
# whose words a provider of OpenAI's format uses
_WORDS = ("openrouter", "dashscope", "relay", "deepseek", "openai")


class Used(NamedTuple):
    """Tokens of one reply: of the prompt those that have nothing to do with the cache, were read from it,
    written for five minutes, and for an hour."""

    new: int
    read: int
    written: int
    for_1h: int
    completion: int

    @property
    def prompt(self) -> int:
        return self.new + self.read + self.written + self.for_1h


class CachingProvider:
    """A provider of every format with a cache and a bill of its own. The prompts of a conversation grow, and
    what was sent before is read from the cache unless it has expired."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._sent = 0
        self.cost = self.savings = 0
        self.counted: Counter[str] = Counter()
        self.is_for_program = False
        self.tokens: Counter[str] = Counter()
        self.went: Counter[str] = Counter()
        self.fails_over = False
        self.words = "openai"
        self.last = Used(0, 0, 0, 0, 0)

    def begin(self) -> None:
        self._sent = 0
        self.words = self._chance.choice(_WORDS)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        name = body.get("model") or request.path.rpartition("/")[2].partition(":")[0]
        model, _, protocol = name.partition("-")
        if model == "dear" and self.fails_over:
            return web.json_response({"error": {"message": "overloaded"}}, status=500)
        used = self._use(protocol)
        self._charge(model, used)
        streams = body.get("stream") or "stream" in request.path
        if not streams:
            return web.json_response(_whole(protocol, used, self.words))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(_streamed(protocol, used, self.words)))
        return response

    def _use(self, protocol: str) -> Used:
        more, completion = self._chance.randint(1, 3000), self._chance.randint(1, 900)
        read = self._sent if self._chance.random() < 0.8 else 0
        rest = self._sent - read + more
        self._sent += more
        marked = self._chance.randint(0, rest)
        for_1h = self._chance.randint(0, marked) if self._chance.random() < 0.5 else 0
        if protocol == "gemini" or (protocol == "openai" and self.words in ("deepseek", "openai")):
            marked = for_1h = 0
        elif protocol == "openai" and self.words == "openrouter":
            for_1h = 0
        self.went[f"{protocol}: {'hit' if read else 'miss'}, {'written' if marked else 'unwritten'}"] += 1
        self.last = Used(rest - marked, read, marked - for_1h, for_1h, completion)
        return self.last

    def _charge(self, model: str, used: Used) -> None:
        whole, *rest = _PRICES[model]
        prices = [whole, *(whole if price is None else price for price in rest)]
        cost = _rounded(sum(count * price for count, price in zip(used, prices, strict=True)))
        self.cost += cost
        self.savings += _rounded(used.prompt * prices[0] + used.completion * prices[-1]) - cost
        tenth = floor(Fraction(used.read, 10) + Fraction(1, 2))
        counted = used.prompt - used.read + tenth + used.completion
        self.counted.update(all=counted, programs=counted if self.is_for_program else 0)
        self.tokens.update(
            requests=1,
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            cached_tokens=used.read,
            cache_write_tokens=used.written + used.for_1h,
        )


def _rounded(exact: int) -> int:
    return floor(Fraction(exact, 10**6) + Fraction(1, 2))


def _usage(protocol: str, used: Used, words: str) -> dict[str, Any]:
    if protocol == "gemini":
        told = {"promptTokenCount": used.prompt, "candidatesTokenCount": used.completion}
        return told | ({"cachedContentTokenCount": used.read} if used.read else {})
    parts = {"ephemeral_5m_input_tokens": used.written, "ephemeral_1h_input_tokens": used.for_1h}
    writes = {"cache_creation_input_tokens": used.written + used.for_1h, "cache_creation": parts}
    if protocol == "anthropic":
        told = {"input_tokens": used.new, "output_tokens": used.completion}
        return told | writes | {"cache_read_input_tokens": used.read}
    told = {"prompt_tokens": used.prompt, "completion_tokens": used.completion}
    match words:
        case "openrouter":
            details = {"cached_tokens": used.read, "cache_write_tokens": used.written}
            return told | {"prompt_tokens_details": details, "cost": 0.001}
        case "dashscope":
            return told | {"prompt_tokens_details": {"cached_tokens": used.read, **writes}}
        case "relay":
            return told | writes | {"cache_read_input_tokens": used.read}
        case "deepseek":
            missed = used.prompt - used.read
            return told | {"prompt_cache_hit_tokens": used.read, "prompt_cache_miss_tokens": missed}
    return told | {"prompt_tokens_details": {"cached_tokens": used.read}}


def _whole(protocol: str, used: Used, words: str) -> dict[str, Any]:
    told = _usage(protocol, used, words)
    if protocol == "anthropic":
        message = {"id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "end_turn"}
        return message | {"content": [{"type": "text", "text": "好"}], "usage": told}
    if protocol == "gemini":
        content = {"role": "model", "parts": [{"text": "好"}]}
        return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": told}
    message = {"role": "assistant", "content": "好"}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": told}


def _streamed(protocol: str, used: Used, words: str) -> list[bytes]:
    if protocol == "openai":
        return [chunk("好"), chunk(finish="stop"), usage(0, 0, **_usage(protocol, used, words)), DONE]
    if protocol == "gemini":
        return [data(_whole(protocol, used, words))]
    told = _usage(protocol, used, words)
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"usage": told | {"output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "好"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": used.completion},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\n".encode() + data(event) for event in events]


class Asker(NamedTuple):
    """A user with a page, and a program with its access token."""

    client: TestClient
    user: Headers
    program: Headers
    caching: CachingProvider
    chance: random.Random

    async def converse(self, turns: int) -> None:
        """A conversation of so many turns, each of them whole or streamed."""
        way = self.chance.choice(("/api/chat", "/v1/chat/completions", "/v1/messages"))
        model = f"{self.chance.choice(list(_PRICES))}-{self.chance.choice(PROTOCOLS)}"
        conversation: dict[str, Any] = {}
        self.caching.begin()
        self.caching.is_for_program = way != "/api/chat"
        for _ in range(turns):
            self.caching.fails_over, streams = self.chance.random() < 0.2, self.chance.random() < 0.5
            if way == "/api/chat":
                body = {"model": model, "message": "你好", **conversation}
                told = await _chat(self.client, self.user, body, streams=streams)
                conversation = {"conversation_id": told["conversation_id"]}
                _check_page(told, self.caching.last)
            else:
                await self._complete(way, model, streams=streams)

    async def _complete(self, way: str, model: str, *, streams: bool) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "你好"}], "max_tokens": 900}
        async with self.client.post(way, json=body | {"stream": streams}, headers=self.program) as response:
            assert response.status == 200, await response.text()
            answer = await response.read()
        if not streams:
            _check_program(way, json.loads(answer)["usage"], self.caching.last)


async def _chat(client: TestClient, user: Headers, body: dict[str, Any], *, streams: bool) -> dict[str, Any]:
    path = "/api/chat/stream" if streams else "/api/chat"
    async with client.post(path, json=body, headers=user) as response:
        return (await read_events(response))[-1] if streams else dict(await response.json())


def _check_page(told: dict[str, Any], used: Used) -> None:
    shown = [told["usage"][name] for name in ("prompt_tokens", "cached_tokens", "cache_write_tokens")]
    assert shown == [used.prompt, used.read, used.written + used.for_1h] and not told["usage"]["estimated"]


def _check_program(way: str, told: dict[str, Any], used: Used) -> None:
    """The usage of a whole reply in the client's format, forwarded or translated."""
    if way == "/v1/messages":
        assert told["input_tokens"] == used.new
        assert told.get("cache_read_input_tokens", 0) == used.read
        assert told.get("cache_creation_input_tokens", 0) == used.written + used.for_1h
        assert told.get("cache_creation", {}).get("ephemeral_1h_input_tokens", 0) == used.for_1h
    else:
        assert told["prompt_tokens"] == used.prompt


@pytest.mark.timeout(240)
async def test_cost_of_random_cached_conversations_equals_the_providers_bill(
    connect: Connect, provider: Provider
) -> None:
    chance = random.Random(20261128)
    client = await connect()
    admin, user = [await sign_in(client, name, f"{name}123") for name in ("admin", "user")]
    for protocol in PROTOCOLS:
        for model, prices in reversed(_PRICES.items()):
            fields: dict[str, Any] = {
                f"{kind}_price_per_1k": None if price is None else price / 10**9
                for kind, price in zip(_KINDS, prices, strict=True)
            }
            if model == "dear":
                fields["fallback_model"] = f"cheap-{protocol}"
            await add_model(
                client, admin, provider.base_url, f"{model}-{protocol}", context_window=200_000, **fields
            )
            listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
            (row,) = [row for row in listed if row["provider_key"] == f"p_{model}_{protocol}"]
            await client.put(f"/api/providers/{row['id']}", json={"protocol": protocol}, headers=admin)
    await client.put("/api/users/2", json={"usage_limit": 10**12}, headers=admin)
    caching = CachingProvider(chance)
    provider.script = caching.answer
    program = {"Authorization": f"Bearer {await token(client, user)}"}
    asker = Asker(client, user, program, caching, chance)
    for _ in range(_CONVERSATIONS):
        await asker.converse(turns=chance.randint(1, 3))
    assert len(caching.went) == 8, caching.went
    rows = (await (await client.get("/api/usage?group_by=model", headers=user)).json())["data"]
    for name, expected in caching.tokens.items():
        assert sum(row[name] for row in rows) == expected, name
    for name, expected in (("cost", caching.cost), ("cached_savings", caching.savings)):
        assert sum(round(row[name] * 10**6) for row in rows) == expected, name
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["monthly_usage"] == caching.counted["all"] < stats["tokens_used"]
    assert stats["budgets"][0]["used"] == caching.counted["all"]
    (listed,) = await (await client.get("/api/tokens", headers=user)).json()
    assert listed["monthly_usage"] == caching.counted["programs"]
    assert round(stats["cached_savings"] * 10**6) == caching.savings
    single = (await (await client.get("/api/usage?limit=1000", headers=user)).json())["data"]
    assert sum(round(row["cost"] * 10**6) for row in single) == caching.cost
    assert {row["usage_source"] for row in single} == {"", "reported"}
