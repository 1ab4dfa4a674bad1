"""Prompts are found in the provider's cache: conversations over five API keys, at a scripted provider that
keeps a cache for each key.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, chat
from conftest import Connect
from gateway import add, key_of, post, token
from scripted import Provider, Script, without_markers
from scripted_formats import PROTOCOLS, replying

from chathub.accounts.caller import Caller
from chathub.app_keys import RESOLVER
from chathub.clock import Clock
from chathub.config import Config

KEYS = [f"sk-key-{number}-of-the-tests-{number}{number}{number}{number}" for number in range(5)]
WEIGHTS = [1, 2, 3, 4, 10]
SYSTEM = "You are brief. " * 50
# blocks before a marker among which Anthropic looks for an earlier one
LOOKBACK = 20

Piece = tuple[str, bool]


class CachingProvider(Provider):
    """Keeps prompts for each API key, as far as they are marked in Anthropic's format, else as a whole.

    ``served`` are the keys of all requests; ``shares`` say for each request how much of the prompt of the
    request before was read from the cache.
    """

    def __init__(self) -> None:
        super().__init__()
        self.protocol = "openai"
        self.limited: set[str] = set()
        self.served: list[str] = []
        self.shares: list[float] = []
        self._caches: dict[str, set[str]] = {key: set() for key in KEYS}
        self._last = 0
        self.script = self._respond

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        key = key_of(request.headers)
        if key in self.limited:
            return web.json_response(
                {"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "2"}
            )
        self.served.append(key)
        self._count(self._caches[key], pieces(self.last, self.protocol))
        script: Script = replying(self, self.protocol, f"answer {len(self.served)} " + "word " * 30)
        return await script(request)

    def _count(self, cache: set[str], prompt: list[Piece]) -> None:
        prefixes, whole = [], ""
        for text, _ in prompt:
            whole += text
            prefixes.append(whole)
        ends = [number for number, (_, is_marked) in enumerate(prompt) if is_marked]
        looked = {place for end in ends for place in range(max(0, end - LOOKBACK), end + 1)}
        read = max((len(prefixes[place]) for place in looked if prefixes[place] in cache), default=0)
        if self._last:
            self.shares.append(read / self._last)
        cache.update(prefixes[end] for end in ends)
        self._last = len(whole)


def pieces(body: dict[str, Any], protocol: str) -> list[Piece]:
    """The prompt of a request in pieces, in the provider's order; each with whether it ends a prefix that is
    kept."""
    found: list[Piece] = []
    for name in ("tools", "system", "systemInstruction"):
        value = body.get(name) or []
        found += list(_pieces(name, value if isinstance(value, list) else [value], protocol))
    for message in body["contents" if protocol == "gemini" else "messages"]:
        content = message.get("parts") or message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        found += list(_pieces(message["role"], blocks, protocol))
    return found


def _pieces(name: str, blocks: list[Any], protocol: str) -> Iterator[Piece]:
    for block in blocks:
        is_marked = protocol != "anthropic" or "cache_control" in block
        yield f"{name} {json.dumps(without_markers(block))}", is_marked


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
async def client(connect: Connect, hand: Hand) -> TestClient:
    return await connect(clock=Clock(seconds=hand))


@pytest.fixture
async def provider() -> AsyncIterator[CachingProvider]:
    async with CachingProvider() as provider:
        yield provider


async def add_keys(
    client: TestClient, admin: Headers, provider: CachingProvider, protocol: str, weights: list[int] = WEIGHTS
) -> None:
    """The model ``m`` with five shared API keys."""
    provider.protocol = protocol
    await add(client, admin, provider.base_url, protocol, needs_key=True)
    for number, (key, weight) in enumerate(zip(KEYS, weights, strict=True)):
        body = {"model_provider": "upstream", "api_key": key, "label": f"{number}", "weight": weight}
        await post(client, "/api/apikeys", body, admin)


class Program:
    """A client of ``/v1`` that sends its whole conversation each time, or a chat of ``/api``."""

    def __init__(self, client: TestClient, kind: str, headers: Headers) -> None:
        self.client, self.kind, self.headers = client, kind, headers
        self.messages: list[dict[str, Any]] = []

    async def turn(self, **more: Any) -> None:
        text = f"question {len(self.messages)} " + "word " * 30
        if self.kind == "chat":
            fields = {"model": "m", "conversation_id": "c1", "system_prompt": SYSTEM}
            status, body, _ = await chat(self.client, self.headers, text, **fields)
            assert status == 200, body
            self.messages.append({})
            return
        self.messages.append({"role": "user", "content": text})
        if self.kind == "openai":
            asked = [{"role": "system", "content": SYSTEM}, *self.messages]
            found = await post(
                self.client, "/v1/chat/completions", {"model": "m", "messages": asked, **more}, self.headers
            )
            self.messages.append({"role": "assistant", "content": found["choices"][0]["message"]["content"]})
            return
        fields = {"model": "m", "max_tokens": 99, "system": SYSTEM, "messages": self.messages, **more}
        found = await post(self.client, "/v1/messages", fields, self.headers)
        self.messages.append({"role": "assistant", "content": found["content"][0]["text"]})


async def program(client: TestClient, kind: str, headers: Headers) -> Program:
    if kind == "chat":
        return Program(client, kind, headers)
    return Program(client, kind, {"Authorization": f"Bearer {await token(client, headers)}"})


# who asks, and the format of the provider; forwarded requests to Anthropic have no markers but their own
CONVERSATIONS = [
    *[("chat", protocol) for protocol in PROTOCOLS],
    *[("openai", protocol) for protocol in PROTOCOLS],
    *[("anthropic", protocol) for protocol in PROTOCOLS if protocol != "anthropic"],
]


@pytest.mark.parametrize(("kind", "protocol"), CONVERSATIONS)
async def test_twenty_turns_over_five_keys_are_read_from_the_cache_of_one(
    client: TestClient, admin: Headers, user: Headers, provider: CachingProvider, kind: str, protocol: str
) -> None:
    await add_keys(client, admin, provider, protocol)
    conversation = await program(client, kind, user)
    for _ in range(20):
        await conversation.turn()
    assert len(provider.served) == 20 and len(set(provider.served)) == 1
    assert len(provider.shares) == 19 and min(provider.shares) >= 0.99


@pytest.mark.parametrize("kind", ["chat", "openai"])
async def test_conversation_stays_with_the_key_that_took_it_over(
    client: TestClient, admin: Headers, user: Headers, provider: CachingProvider, hand: Hand, kind: str
) -> None:
    await add_keys(client, admin, provider, "openai")
    conversation = await program(client, kind, user)
    for _ in range(3):
        await conversation.turn()
    (first,) = set(provider.served)
    provider.limited = {first}
    await conversation.turn()
    second = provider.served[-1]
    provider.limited = set()
    for _ in range(3):
        # the first key's pause is over
        hand.seconds += 3600
        await conversation.turn()
    assert first != second and set(provider.served[3:]) == {second}
    assert min(provider.shares[3:]) >= 0.99
    # and goes on from there
    provider.limited = {second}
    await conversation.turn()
    provider.limited = set()
    third = provider.served[-1]
    hand.seconds += 3600
    await conversation.turn()
    assert third != second and provider.served[-1] == third


async def test_conversation_has_the_same_key_after_a_restart(
    connect: Connect, admin: Headers, user: Headers, client: TestClient, provider: CachingProvider
) -> None:
    await add_keys(client, admin, provider, "openai")
    await (await program(client, "chat", user)).turn()
    await client.close()
    again = await connect()
    await (await program(again, "chat", user)).turn()
    assert len(provider.served) == 2 and len(set(provider.served)) == 1


NAMED = [{"prompt_cache_key": "x"}, {"session_id": "x"}, {"metadata": {"user_id": "x"}}, {"user": "x"}]


@pytest.mark.parametrize("named", NAMED, ids=lambda it: next(iter(it)))
async def test_requests_that_name_one_conversation_go_to_one_key(
    client: TestClient, admin: Headers, user: Headers, provider: CachingProvider, named: dict[str, Any]
) -> None:
    await add_keys(client, admin, provider, "openai", [1] * 5)
    asked = await program(client, "openai", user)
    for number in range(12):
        asked.messages = [{"role": "user", "content": f"other beginning {number}"}]
        await asked.turn(**named)
    assert len(set(provider.served)) == 1
    provider.served.clear()
    for number in range(12):
        asked.messages = [{"role": "user", "content": f"other beginning {number}"}]
        await asked.turn()
    assert len(set(provider.served)) > 1


async def test_new_conversations_are_shared_by_weight_also_after_a_restart(
    connect: Connect, admin: Headers, client: TestClient, provider: CachingProvider, config: Config
) -> None:
    await add_keys(client, admin, provider, "openai")
    before = _first_keys(client)
    await client.close()
    assert _first_keys(await connect()) == before
    counts = Counter(before)
    expected = {key: 10_000 * weight / sum(WEIGHTS) for key, weight in zip(KEYS, WEIGHTS, strict=True)}
    chi_square = sum((counts[key] - expected[key]) ** 2 / expected[key] for key in KEYS)
    # four degrees of freedom: 23.5 is exceeded once in ten thousand times
    assert chi_square < 23.5, counts


def _first_keys(client: TestClient) -> list[str]:
    """The key that each of 10,000 new conversations would be sent to first."""
    assert client.app is not None
    resolver, caller = client.app[RESOLVER], Caller(2, "user", "user")
    resolved = (resolver.resolve(caller, "m", hint=f"conversation {number}") for number in range(10_000))
    return [candidates.in_order[0].endpoints[0].api_key for candidates in resolved]


async def test_other_users_have_other_keys(
    client: TestClient, admin: Headers, provider: CachingProvider
) -> None:
    """The same prompt of two users: neither decides where the other's goes."""
    await add_keys(client, admin, provider, "openai", [1] * 5)
    assert client.app is not None
    resolver = client.app[RESOLVER]
    first = [
        resolver.resolve(Caller(number, "u", "user"), "m", hint="same").in_order[0].endpoints[0].key_id
        for number in range(50)
    ]
    assert len(set(first)) == 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_chats_longer_than_what_is_read_of_them_begin_as_before(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol, context_window=6000, max_tokens=500)
    # the provider reports few tokens for long texts: by tokens all of the chat would fit
    provider.script = replying(provider, protocol, "answer word " * 30)
    sent, more = list[Any](), {}
    for number in range(60):
        status, body, _ = await chat(client, user, f"{number} " + "lorem ipsum " * 40, model="m", **more)
        assert status == 200, body
        more = {"conversation_id": body["conversation_id"]}
        sent.append(provider.unmarked.get("messages") or provider.unmarked["contents"])
    assert len(sent[-1]) < len(sent) * 2 - 1
    stayed = [later[: len(before)] == before for before, later in zip(sent, sent[1:], strict=False)]
    assert stayed.count(False) <= 10
