"""The provider's own bill equals ChatHub's ledger, whatever happened to the attempts."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model
from conftest import Connect
from scripted import DONE, Provider, chunk, data, usage

from chathub.app_keys import CATALOG, TOKEN_WEIGHTS
from chathub.formats.estimates import estimate
from chathub.formats.messages import Message
from chathub.formats.prompt_counts import PromptCounts, counts_of_messages

_SCENARIOS = 300
# millionths per 1,000 tokens
_PRICES = {"dear": (2500, 10_000), "cheap": (150, 600)}
_WORDS = ("你好，", "世界。", "Hello, ", "world. ", "Grüße ", "一二三四五六七八九十")


class Biller:
    """A provider with its own bill: it charges the last usage that it reported, or an estimate; a reply that
    failed before its first word is free.
    """

    def __init__(
        self, provider: Provider, chance: random.Random, expected: Callable[[str, PromptCounts], int]
    ) -> None:
        self._expected = expected
        self._provider = provider
        self._chance = chance
        self.tokens: Counter[str] = Counter()
        self.cost = 0
        self.attempts = 0
        self.went: Counter[str] = Counter()
        self.behaviour = "good"
        self.sent = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.attempts += 1
        body = self._provider.last
        behaviour = self.behaviour
        if body["model"] == "dear" and behaviour in ("fails over", "refuses once"):
            if behaviour == "refuses once":
                self.behaviour = "good"
            return web.json_response({"error": {"message": "overloaded"}}, status=500)
        if behaviour == "refuses":
            return web.json_response({"error": {"message": "no"}}, status=400)
        words = [self._chance.choice(_WORDS) for _ in range(self._chance.randint(1, 12))]
        prompt, thinking = self._chance.randint(1, 5000), self._chance.randint(0, 50)
        if not body.get("stream"):
            self._charge(body["model"], prompt, len(words) + thinking)
            return web.json_response(_whole("".join(words), prompt, len(words) + thinking))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if behaviour == "fails at once":
            await response.write(usage(prompt, 0) + data({"error": {"message": "overloaded"}}))
            return response
        reports = behaviour != "reports nothing"
        for number, word in enumerate(words, 1):
            # some report the usage so far in every chunk; the last one counts
            told = usage(prompt, number + thinking) if reports else b""
            await response.write(chunk(word) + told)
        if reports:
            self._charge(body["model"], prompt, len(words) + thinking)
        else:
            messages = [Message(each["role"], each["content"]) for each in body["messages"]]
            asked = self._expected(body["model"], counts_of_messages(messages))
            self._charge(body["model"], asked, estimate("".join(words)))
        self.sent.set()
        if behaviour == "stalls":
            await self._provider.gate.wait()
        elif behaviour == "fails late":
            await response.write(data({"error": {"message": "overloaded"}}))
        elif behaviour == "cuts":
            assert request.transport is not None
            request.transport.close()
        else:
            await response.write(chunk(finish="stop") + DONE)
        return response

    def _charge(self, model: str, prompt: int, completion: int) -> None:
        self.tokens[model] += prompt + completion
        prices = _PRICES[model]
        # each reply is rounded to the nearest millionth
        self.cost += (prompt * prices[0] + completion * prices[1] + 500) // 1000


def _whole(text: str, prompt: int, completion: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    told = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"choices": [choice], "usage": told | {"total_tokens": prompt + completion}}


class Asker:
    """Sends requests in every way that clients have, and may disconnect or stop once all expected text has
    arrived.
    """

    def __init__(
        self, client: TestClient, user: Headers, biller: Biller, provider: Provider, chance: random.Random
    ) -> None:
        self._client = client
        self._user = user
        self._biller = biller
        self._gate = provider.gate
        self._chance = chance

    async def ask(self, way: str, model: str) -> None:
        path = {"chat": "/api/chat", "program": "/v1/chat/completions", "anthropic": "/v1/messages"}
        if way == "program" or way == "anthropic":
            content = [{"role": "user", "content": "你好"}]
            body: dict[str, Any] = {"model": model, "messages": content, "max_tokens": 50}
            body["stream"] = self._biller.behaviour != "refuses" and self._chance.random() < 0.8
        else:
            body = {"model": model, "message": "你好"}
        async with self._client.post(path[way], json=body, headers=self._user) as response:
            await response.read()

    async def stream(self, model: str, then: str) -> None:
        """``then``: read on, disconnect, disconnect with on_disconnect=stop, or stop."""
        body = {"model": model, "message": "你好", "on_disconnect": "stop" if then == "leave" else "continue"}
        async with self._client.post("/api/chat/stream", json=body, headers=self._user) as response:
            if then == "read":
                await response.read()
                return
            start = json.loads((await response.content.readline())[6:])
            await self._biller.sent.wait()
            # the server has read everything by now, or the sums would differ
            await asyncio.sleep(0.02)
            if then == "stop":
                wanted = {"message_id": start["message_id"]}
                await self._client.post("/api/chat/stop", json=wanted, headers=self._user)
            elif then == "go away":
                self._gate.set()
            response.close()


@pytest.mark.timeout(240)
async def test_ledger_of_hundreds_of_random_turns_equals_the_providers_bill(
    connect: Connect, provider: Provider
) -> None:
    chance = random.Random(20261122)
    client = await connect()
    admin, user = [await _sign_in(client, name) for name in ("admin", "user")]
    for name, (prompt_price, answer_price) in _PRICES.items():
        fields = {"input_price_per_1k": prompt_price / 1e6, "output_price_per_1k": answer_price / 1e6}
        fallback = {"fallback_model": "cheap"} if name == "dear" else {}
        await add_model(client, admin, provider.base_url, name, **fields, **fallback)
    await client.put("/api/users/2", json={"usage_limit": 10**12}, headers=admin)
    assert client.app is not None
    catalog, weights = client.app[CATALOG], client.app[TOKEN_WEIGHTS]
    biller = Biller(provider, chance, lambda name, counts: weights.expected(catalog.get(name), counts))
    provider.script = biller.answer
    ways = ("chat", "program", "anthropic", "read", "leave", "go away", "stop")
    for _ in range(_SCENARIOS):
        way, model = chance.choice(ways), chance.choice(list(_PRICES))
        stays = way in ("chat", "program", "anthropic", "read")
        endings = ("good", "reports nothing", "refuses", "refuses once", "fails at once", "fails late")
        biller.behaviour = chance.choice((*endings, "cuts", "fails over") if stays else ("stalls",))
        provider.gate.clear()
        biller.sent.clear()
        biller.went[f"{way}: {biller.behaviour}"] += 1
        asker = Asker(client, user, biller, provider, chance)
        await (asker.ask(way, model) if way in ("chat", "program", "anthropic") else asker.stream(model, way))
        await _quiet(client, user)
    assert len(biller.went) > 25, biller.went
    await _compare(client, user, biller, provider)


async def _sign_in(client: TestClient, name: str) -> Headers:
    named = {"username": name, "password": f"{name}123"}
    async with client.post("/api/auth/login", json=named) as response:
        return {"Authorization": "Bearer " + (await response.json())["token"]}


async def _quiet(client: TestClient, user: Headers) -> None:
    """Wait until everything is settled: no reservation is left."""
    async with asyncio.timeout(30):
        while True:
            stats = await (await client.get("/api/stats", headers=user)).json()
            if stats["budgets"][0]["reserved"] == 0:
                return
            await asyncio.sleep(0.005)


async def _compare(client: TestClient, user: Headers, biller: Biller, provider: Provider) -> None:
    by_model = (await (await client.get("/api/usage?group_by=model", headers=user)).json())["data"]
    assert {row["name"]: row["total_tokens"] for row in by_model} == dict(biller.tokens)
    assert round(sum(row["cost"] for row in by_model) * 1e6) == biller.cost
    assert sum(row["attempts"] for row in by_model) == biller.attempts == len(provider.bodies)
    (day,) = (await (await client.get("/api/usage?group_by=day", headers=user)).json())["data"]
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["tokens_used"] == day["total_tokens"] == sum(biller.tokens.values())
    assert round(stats["total_cost"] * 1e6) == round(day["cost"] * 1e6) == biller.cost
    assert stats["this_month"]["requests"] == day["requests"]
