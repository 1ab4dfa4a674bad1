"""Requests side by side use no more than 1.3 times a limit, whatever their prompts are made of."""

import asyncio
import random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import Headers, add, stats
from scripted import Provider
from texts_to_count import KINDS, text_of
from tokenizer import count_tokens

REQUESTS, LIMIT = 40, 20_000


def prompt(chance: random.Random, focus: str) -> list[str]:
    """Texts of some kinds, most of them of one: what is alike in all requests is not averaged away."""
    kinds = [focus if chance.random() < 0.8 else chance.choice(KINDS) for _ in range(chance.randint(1, 4))]
    return [text_of(kind, chance.choice((20, 200, 900)), chance) for kind in kinds]


def request_for(way: str, chance: random.Random, focus: str) -> dict[str, Any]:
    texts, images = prompt(chance, focus), chance.choice((0, 0, 1, 3)) if focus != "images" else 4
    if way == "/api/chat":
        return {"model": "m", "message": "\n".join(texts), "max_tokens": 10}
    address = f"https://images.example/{chance.random()}.png"
    shown = {
        "/v1/chat/completions": {"type": "image_url", "image_url": {"url": address}},
        "/v1/messages": {"type": "image", "source": {"type": "url", "url": address}},
    }[way]
    content = [*({"type": "text", "text": text} for text in texts), *[shown] * images]
    body: dict[str, Any] = {
        "model": "m",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": content}],
    }
    if chance.random() < 0.3:
        schema = {"type": "object", "properties": {"text": {"type": "string", "description": texts[0]}}}
        tool = {"name": "f", "description": texts[-1]}
        openai = {"type": "function", "function": tool | {"parameters": schema}}
        body["tools"] = [openai if way == "/v1/chat/completions" else tool | {"input_schema": schema}]
    return body


def charged(body: dict[str, Any]) -> int:
    """What the provider charges: the tokens of all texts, and 1,500 for an image."""
    tokens = count_tokens(body.get("tools")) + 4
    for message in body["messages"]:
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        tokens += 4 + sum(count_tokens(part["text"]) if "text" in part else 1500 for part in parts)
    return tokens


def whole(way: str, prompt: int) -> dict[str, Any]:
    if way == "/v1/messages":
        content = [{"type": "text", "text": "ok"}]
        told = {"input_tokens": prompt, "output_tokens": 10}
        return {
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": "end_turn",
            "usage": told,
        }
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}
    told = {"prompt_tokens": prompt, "completion_tokens": 10, "total_tokens": prompt + 10}
    return {"choices": [choice], "usage": told}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
@pytest.mark.parametrize(
    "focus", ["natural", "images", "hieroglyphs", "any han", "base64", "digits", "combining"]
)
async def test_mixtures_side_by_side_never_use_more_than_1_3_times_the_limit(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, way: str, focus: str
) -> None:
    chance = random.Random(f"{way} {focus}")
    await add(client, admin, provider.base_url, "anthropic" if way == "/v1/messages" else "openai")
    response = await client.put("/api/users/2", json={"usage_limit": LIMIT}, headers=admin)
    assert response.status == 200
    waiting: list[int] = []

    async def charge(request: web.Request) -> web.StreamResponse:
        waiting.append(charged(provider.last))
        mine = waiting[-1]
        await provider.gate.wait()
        return web.json_response(whole(way, mine))

    provider.script = charge
    bodies = [request_for(way, chance, focus if focus in KINDS else "natural") for _ in range(REQUESTS)]
    tasks = [asyncio.create_task(client.post(way, json=body, headers=user)) for body in bodies]
    async with asyncio.timeout(120):
        while sum(task.done() for task in tasks) + len(waiting) < REQUESTS:
            await asyncio.sleep(0.02)
    provider.gate.set()
    statuses = [(await task).status for task in tasks]
    assert statuses.count(200) == len(waiting) > 0 and set(statuses) <= {200, 429}
    used = (await stats(client, user))["monthly_usage"]
    assert sum(waiting) + 10 * len(waiting) == used <= 1.3 * LIMIT
    # the limit is not reserved for nothing either, where tokens are a known kind of text
    assert used > LIMIT / 8 or len(waiting) == REQUESTS
