"""Recognizable secrets through the whole life of a server: each is found only where it belongs."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from conftest import sign_in
from processes import ChatHub
from scripted import DONE, Provider, Script, chunk, data, reply

SECRET = "canary-of-the-master-secret-" + "q" * 32
SHARED, OWN = "sk-canary-of-the-shared-key-0123456789", "AIzaCanaryOfTheOwnKey0123456789abcdefg"
ADMIN, PASSWORD, WRONG = "canary-admin-password", "canary-users-password", "canary-wrong-password"
PROXY = "canary-password-of-the-proxy"


class Witness:
    """A client that keeps every byte of every response."""

    def __init__(self, session: aiohttp.ClientSession, seen: list[bytes]) -> None:
        self._session, self._seen = session, seen

    async def __call__(self, method: str, path: str, headers: Any = None, **options: Any) -> Any:
        async with self._session.request(method, path, headers=headers, **options) as response:
            body = await response.read()
            self._seen += [body, str(response.raw_headers).encode()]
            return json.loads(body) if response.content_type == "application/json" else body


def repeating(provider: Provider) -> list[Script]:
    """A provider that repeats the API key it was sent in every way: in errors, events, half way, as text."""

    def saying(make: Callable[[str], Script]) -> Script:
        async def run(request: web.Request) -> web.StreamResponse:
            return await make(request.headers["Authorization"].removeprefix("Bearer "))(request)

        return run

    def words(key: str) -> str:
        return f"Incorrect API key provided: {key}. Authorization: Bearer {key}"

    def error(key: str) -> dict[str, Any]:
        return {"error": {"message": words(key), "code": key, "type": key}}

    return [
        saying(lambda key: provider.answer(401, error(key))),
        saying(lambda key: provider.answer(403, words(key).encode())),
        saying(lambda key: provider.answer(429, error(key), {"Retry-After": "0", "X-Key": key})),
        saying(lambda key: provider.answer(500, f"<html>{words(key)}</html>".encode())),
        saying(lambda key: provider.answer(302, b"", {"Location": f"http://127.0.0.1:9/?key={key}"})),
        saying(lambda key: provider.stream([data(error(key))])),
        saying(lambda key: provider.stream([chunk("half"), data(error(key))])),
        saying(lambda key: provider.stream([chunk("half"), data({"error": words(key)})], cut=True)),
        saying(lambda key: provider.answer(200, error(key))),
        saying(lambda key: provider.answer(200, words(key).encode())),
    ]


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"message": "hi"}),
    ("/api/chat/stream", {"message": "hi"}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}),
]


async def set_up(ask: Witness, provider: Provider, admin: Any) -> None:
    provider_body = {"display_name": "测试商", "default_base_url": provider.base_url, "provider_key": "odd"}
    await ask("POST", "/api/providers", admin, json=provider_body)
    model = {"display_name": "M", "model_provider": "odd"}
    await ask("POST", "/api/models", admin, json={**model, "model_name": "test-model"})
    await ask("PUT", "/api/providers/1", admin, json={"proxy_url": f"http://anna:{PROXY}@proxy.invalid:3128"})
    user = {"username": "canary", "email": "c@example.com", "password": PASSWORD}
    await ask("POST", "/api/auth/register", json=user)


async def save(ask: Witness, admin: Any, user: Any, key_of: dict[str, int]) -> None:
    for name, headers, key in (("shared", admin, SHARED), ("own", user, OWN)):
        saved = await ask("POST", "/api/apikeys", headers, json={"model_provider": "odd", "api_key": key})
        key_of[name] = saved["apikey"]["id"]


async def live(ask: Witness, provider: Provider, admin: Any, user: Any) -> None:
    """Every way in which an API key is used, with every way in which a provider repeats it."""
    keys: dict[str, int] = {}
    for script in [provider.stream(reply("好")), *repeating(provider)]:
        provider.script = script
        for path, body in QUESTIONS:
            # saved again: an API key that failed cools down for a while
            await save(ask, admin, user, keys)
            await ask("POST", path, user, json={"model": "test-model", **body})
        for key, headers in ((keys["shared"], admin), (keys["own"], user)):
            await ask("POST", f"/api/apikeys/{key}/test", headers)
        for path in ("/api/apikeys", "/api/conversations", "/api/stats", "/api/users/profile", "/api/tokens"):
            await ask("GET", path, user)
            await ask("GET", path, admin)
    for conversation in await ask("GET", "/api/conversations", user):
        await ask("GET", f"/api/conversations/{conversation['conversation_id']}/messages", user)
    bad = [
        {"api_key": f"{OWN} {OWN}"},
        {"api_key": [OWN]},
        {"base_url": f"http://{OWN}@x/"},
        {"priority": OWN},
    ]
    for change in bad:
        await ask("PUT", f"/api/apikeys/{keys['own']}", user, json=change)
    for credentials in (
        {"username": "canary", "password": WRONG},
        {"username": PASSWORD, "password": WRONG},
    ):
        await ask("POST", "/api/auth/login", json=credentials)
    await ask("PUT", "/api/users/profile", user, json={"password": PASSWORD, "current_password": WRONG})
    for url in (f"anna:{PROXY}@proxy.invalid", f"http://anna:{PROXY}@", f"http://anna:{PROXY}@x/", [PROXY]):
        await ask("PUT", "/api/providers/1", admin, json={"proxy_url": url})
    for headers in (admin, user):
        await ask("GET", "/api/providers", headers)
    for path in ("/api/users", "/api/audit", "/api/usage", "/api/auth/sessions", "/api/providers/99/models"):
        await ask("GET", path, admin)


@pytest.mark.timeout(120)
async def test_no_secret_is_found_in_responses_logs_or_files(tmp_path: Path, provider: Provider) -> None:
    database, seen, lines = tmp_path / "chathub.db", [], []
    environment = {
        "CHATHUB_SECRET_KEY": SECRET,
        "CHATHUB_ENV": "production",
        "CHATHUB_REGISTRATION": "open",
        "CHATHUB_ADMIN_PASSWORD": ADMIN,
    }
    tokens: list[str] = []
    hubs = []
    for life in ("crash", "end"):
        hub = ChatHub(database, **environment)
        hubs.append(hub)
        async with hub:
            session = await hub.client()
            ask = Witness(session, seen)
            admin = await sign_in(session, "admin", ADMIN)  # type: ignore[arg-type]
            if life == "crash":
                await set_up(ask, provider, admin)
            user = await sign_in(session, "canary", PASSWORD)  # type: ignore[arg-type]
            async with session.post(
                "/api/tokens", json={"name": "t", "opens_api": True}, headers=user
            ) as made:
                token = (await made.json())["token"]
            tokens += [token, admin["Authorization"][7:], user["Authorization"][7:]]
            await live(ask, provider, admin, {"Authorization": f"Bearer {token}"} if life == "end" else user)
            lines.append(hub.command_line())
            # the server ends while a reply runs
            provider.script = provider.stream([chunk("half"), DONE], stall_after=1)
            await save(ask, admin, user, {})
            body = {"message": "hi", "model": "test-model"}
            asking = asyncio.ensure_future(session.post("/api/chat/stream", json=body, headers=user))
            async with asyncio.timeout(30):
                await (await asking).content.readline()
            if life == "crash":
                hub.kill()
            else:
                hub.signal(signal.SIGTERM)
                await hub.ended()
    used = {header["Authorization"].removeprefix("Bearer ") for header in provider.headers}
    assert used == {SHARED, OWN}, "the provider did receive its keys"
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert any(name.endswith(".db") for name in files) and any(name.endswith(".stderr") for name in files)
    canaries = [SECRET, SHARED, OWN, ADMIN, PASSWORD, WRONG, PROXY, *tokens]
    for canary in canaries:
        for name, content in files.items():
            assert canary.encode() not in content, (canary, name)
        assert [answer for answer in seen if canary.encode() in answer] == [], canary
        assert not any(canary in line for line in lines), canary
    # the search finds what should be there: the mask of an API key in a listing, and the user's name
    assert any(b"http://anna:***@proxy.invalid:3128" in answer for answer in seen)
    assert any(b"AIza\xe2\x80\xa6defg" in answer for answer in seen) and b"canary" in files["chathub.db"]
