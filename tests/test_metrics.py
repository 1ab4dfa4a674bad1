"""Metrics: who may read them, what is in them, and what is never in them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, stream
from conftest import sign_in
from processes import ChatHub, run_to_its_end
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from scripted import Provider, chunk, reply

from chathub.app_keys import BACKUPS, METRICS, SCRAPES
from chathub.config import Config
from chathub.metrics import state
from chathub.metrics.counts import MOST, OTHER, Counter, Histogram
from chathub.metrics.scrape import Scrapes
from chathub.routes import ROUTES

Connect = Callable[..., Awaitable[TestClient]]
TOKEN = "token-of-the-scraper-0123456789"
SCRAPER = {"Authorization": f"Bearer {TOKEN}"}
WORKS = {"message": "hi", "model": "test-model"}


class Values:
    """The samples of a scrape, found by their name and some of their labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum over the samples that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self.samples if sample.name == name}


async def scrape(client: Any, headers: Headers) -> Values:
    async with client.get("/metrics", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Values(await response.text())


@pytest.fixture
async def hub(connect: Connect, config: Config) -> TestClient:
    return await connect(replace(config, metrics_token=TOKEN.encode()))


# who may


async def test_token_of_the_metrics_opens_them_and_nothing_else(hub: TestClient) -> None:
    await scrape(hub, SCRAPER)
    await scrape(hub, {"Authorization": f"bearer  {TOKEN}"})
    for path in ("/api/stats", "/api/users", "/v1/models", "/api/audit"):
        assert (await hub.get(path, headers=SCRAPER)).status == 401, path


@pytest.mark.parametrize("given", [None, "", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "ü" * 16, "demo-token"])
async def test_no_other_token_opens_the_metrics(hub: TestClient, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": f"Bearer {given}"}
    response = await hub.get("/metrics", headers=headers)
    assert response.status == (403 if given == "demo-token" else 401)
    assert "chathub_" not in await response.text() and (await response.json())["code"]


async def test_administrators_read_the_metrics_and_users_do_not(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    assert (await scrape(client, admin))("chathub_build_info") == 1
    assert (await client.get("/metrics", headers=user)).status == 403
    # without a configured token none opens them
    assert (await client.get("/metrics", headers=SCRAPER)).status == 401


def test_token_of_the_metrics_is_not_shown(config: Config) -> None:
    assert TOKEN not in repr(replace(config, metrics_token=TOKEN.encode()))


WITHOUT_EXTRA = '''
"""ChatHub where the extra [metrics] is not installed."""
import sys
sys.modules["prometheus_client"] = None
import chathub.__main__ as program
sys.exit(program.main())
'''


async def test_without_the_extra_everything_else_works(tmp_path: Path) -> None:
    class Lacking(ChatHub):
        program = tmp_path / "lacking.py"

    Lacking.program.write_text(WITHOUT_EXTRA)
    async with Lacking(tmp_path / "chathub.db") as hub:
        client = await hub.client()
        login = {"username": "admin", "password": "admin123"}
        async with client.post("/api/auth/login", json=login) as response:
            admin = {"Authorization": "Bearer " + (await response.json())["token"]}
        async with client.get("/metrics", headers=admin) as response:
            body = await response.json()
        assert response.status == 501 and body["code"] == "metrics_not_installed"
        assert "prometheus-client" in body["error"]
        async with client.get("/metrics") as response:
            assert response.status == 401
        assert "prometheus" not in hub.errors


def test_library_is_loaded_by_scrapes_only() -> None:
    loaded = "import sys, chathub.commands.serve; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", loaded], check=True)


async def test_start_with_a_token_but_without_the_extra_is_refused(tmp_path: Path) -> None:
    class Lacking(ChatHub):
        program = tmp_path / "lacking.py"

    Lacking.program.write_text(WITHOUT_EXTRA)
    hub = Lacking(tmp_path / "chathub.db", CHATHUB_METRICS_TOKEN=TOKEN)
    hub.launch()
    assert await hub.ended() == 2
    assert (
        "CHATHUB_METRICS_TOKEN: metrics need the extra [metrics]: pip install prometheus-client" in hub.errors
    )
    assert TOKEN not in hub.errors
    hub.reap()


async def test_unusable_token_of_the_metrics_is_refused_and_not_shown(tmp_path: Path) -> None:
    for token, words in (
        ("short-canary", "at least 16 bytes"),
        ("canary with blanks in it", "without blanks"),
    ):
        code, _, said = await run_to_its_end(tmp_path / "chathub.db", CHATHUB_METRICS_TOKEN=token)
        assert code == 2 and "CHATHUB_METRICS_TOKEN" in said and words in said and "canary" not in said


# what is in them


async def test_chat_is_counted_with_its_tokens_cost_and_first_token(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream(reply("你好", prompt=7, completion=3))
    for _ in range(2):
        await stream(client, admin, message="hi")
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]}
    assert (await client.post("/v1/chat/completions", json=body, headers=admin)).status == 200
    found = await scrape(client, admin)
    model = {"provider": "p_test_model", "model": "test-model"}
    assert found("chathub_tokens_total", kind="prompt", **model) == 21
    assert found("chathub_tokens_total", kind="completion", **model) == 9
    assert found("chathub_provider_attempts_total", **model) == 3
    assert found("chathub_first_token_seconds_count", **model) == 3
    assert found("chathub_first_token_seconds_bucket", le="+Inf", **model) == 3
    # as the ledger has it
    stats = await (await client.get("/api/stats", headers=admin)).json()
    assert found("chathub_cost_total", **model) == pytest.approx(stats["total_cost"])
    assert found("chathub_provider_failures_total") == 0 and found("chathub_running_replies") == 0
    assert found("chathub_http_requests_total", route="/api/chat/stream", status="200", method="POST") == 2
    assert found("chathub_http_requests_total", route="/v1/chat/completions", status="200") == 1
    assert found("chathub_database_write_wait_seconds_count") > 3


async def test_failed_attempts_are_counted_by_their_class(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    provider.script = provider.answer(400, {"error": {"message": "max_tokens is too large"}})
    assert (await client.post("/api/chat", json=WORKS, headers=admin)).status == 502
    provider.script = provider.answer(
        401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}
    )
    assert (await client.post("/api/chat", json=WORKS, headers=admin)).status == 502
    found = await scrape(client, admin)
    assert found("chathub_provider_attempts_total", provider="p_test_model") == 2
    for name in ("invalid_request", "invalid_key"):
        assert found("chathub_provider_failures_total", provider="p_test_model", **{"class": name}) == 1
    assert found("chathub_provider_failures_total") == 2


async def test_health_of_api_keys_is_counted_by_provider(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, needs_key=True)
    for headers in (admin, user):
        body = {"model_provider": "p_test_model", "api_key": "sk-canary-of-the-metrics-0123456789"}
        assert (await client.post("/api/apikeys", json=body, headers=headers)).status == 200
    keys = {"provider": "p_test_model"}
    found = await scrape(client, admin)
    assert found("chathub_api_keys", state="usable", **keys) == found("chathub_api_keys") == 2
    provider.script = provider.answer(
        401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}
    )
    await client.post("/api/chat", json=WORKS, headers=user)
    found = await scrape(client, admin)
    assert found("chathub_api_keys", state="broken", **keys) >= 1
    assert found.labels("chathub_api_keys", "state") == {
        *("usable", "deprioritised", "cooling", "broken", "disabled"),
    }
    assert "canary" not in found.text


async def test_refusal_of_a_budget_is_counted(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    me = (await (await client.get("/api/users/profile", headers=user)).json())["user"]["id"]
    limited = await client.put(f"/api/users/{me}", json={"usage_limit": 1}, headers=admin)
    assert limited.status == 200, await limited.text()
    assert (await scrape(client, admin))("chathub_budget_refusals_total", budget="tokens") == 0
    assert (await client.post("/api/chat", json=WORKS, headers=user)).status == 429
    assert (await stream(client, user, message="hi"))[-1]["status"] == 429
    program = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]}
    assert (await client.post("/v1/chat/completions", json=program, headers=user)).status == 429
    assert (await scrape(client, admin))("chathub_budget_refusals_total", budget="tokens") == 3


async def test_running_replies_are_those_of_this_moment(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("你")], stall_after=1)
    async with client.post("/api/chat/stream", json=WORKS, headers=admin) as response:
        await response.content.readuntil(b'"content"')
        assert (await scrape(client, admin))("chathub_running_replies") == 1
        provider.gate.set()
        await response.read()
    assert (await scrape(client, admin))("chathub_running_replies") == 0


async def test_every_metric_follows_the_conventions_of_prometheus(client: TestClient, admin: Headers) -> None:
    found = await scrape(client, admin)
    await client.get("/api/health")
    ours = [family for family in found.families if family.name.startswith("chathub_")]
    assert len(ours) > 20
    for family in ours:
        assert family.documentation.endswith("."), family.name
        if family.type == "counter":
            assert f"# TYPE {family.name}_total counter" in found.text
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
    assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections"} <= {
        family.name for family in found.families
    }
    counters = {sample.name: sample.value for sample in found.samples if sample.name.endswith("_total")}
    later = await scrape(client, admin)
    assert all(later(name) >= found(name) for name in counters)


async def test_two_servers_in_a_process_count_apart(
    connect: Connect, config: Config, first_start_config: Config
) -> None:
    servers = (replace(each, metrics_token=TOKEN.encode()) for each in (config, first_start_config))
    first, second = [await connect(each) for each in servers]
    await first.get("/api/health")
    assert (await scrape(first, SCRAPER))("chathub_http_requests_total", route="/api/health") == 1
    assert (await scrape(second, SCRAPER))("chathub_http_requests_total", route="/api/health") == 0
    assert not [family for family in REGISTRY.collect() if family.name.startswith("chathub")]


# what is never in them


@pytest.mark.timeout(120)
async def test_no_name_text_or_key_is_in_metrics_or_in_a_log_of_json(
    tmp_path: Path, provider: Provider
) -> None:
    environment = {"CHATHUB_METRICS_TOKEN": TOKEN, "CHATHUB_LOG": "json", "CHATHUB_REGISTRATION": "open"}
    prompt, said = "canary-of-the-prompt", "canary-of-the-reply"
    key, own = "sk-canary-of-a-key-0123456789", "AIzaCanaryOfTheOwnKey0123456789"
    person = {"username": "canaryname", "email": "canary@mail.example", "password": "canary-password"}
    async with ChatHub(tmp_path / "chathub.db", **environment) as hub:
        client: Any = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        await add_model(client, admin, provider.base_url, needs_key=True)
        assert (await client.post("/api/auth/register", json=person)).status == 200
        user = await sign_in(client, person["username"], person["password"])
        for headers, value in ((admin, key), (user, own)):
            body = {"model_provider": "p_test_model", "api_key": value, "label": "canary-label"}
            assert (await client.post("/api/apikeys", json=body, headers=headers)).status == 200
        error = {"error": {"message": f"{key} {own} {prompt}", "code": own, "type": key}}
        scripts = [
            provider.stream(reply(said)),
            provider.answer(500, error),
            provider.answer(429, error),
            provider.stream([chunk(said)], cut=True),
            provider.answer(401, error),
        ]
        program = {"model": "test-model", "messages": [{"role": "user", "content": prompt}]}
        for script in scripts:
            provider.script = script
            for headers in (admin, user):
                await client.post("/api/chat", json={**WORKS, "message": prompt}, headers=headers)
                await client.post("/v1/chat/completions", json=program, headers=headers)
                await client.post(
                    "/v1/chat/completions", json={**program, "model": "canary"}, headers=headers
                )
        await provider.__aexit__()
        await client.post("/api/chat", json={**WORKS, "message": prompt}, headers=admin)
        await client.get(f"/api/canary-path?key={key}", headers=user)
        found = await scrape(client, SCRAPER)
        assert found("chathub_provider_failures_total") > 3 and found("chathub_tokens_total") > 0
        hub.signal(signal.SIGTERM)
        await hub.ended()
        lines = hub.errors
    assert [json.loads(line) for line in lines.splitlines()], "something is logged"
    for canary in ("canary", own, key, TOKEN, user["Authorization"].removeprefix("Bearer ")):
        assert canary.lower() not in found.text.lower(), canary
    for canary in (prompt, said, key, own, person["password"], person["email"], TOKEN):
        assert canary not in lines, canary
    # names are in the audit, not in the log
    assert person["username"] not in lines


# what a client cannot do to them


async def test_names_that_clients_invent_make_no_series(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    wildcard = {
        "model_name": "wild/*",
        "display_name": "W",
        "is_alias": True,
        "targets": [{"model_name": "test-model"}],
    }
    await client.post("/api/models", json=wildcard, headers=admin)
    providers = await (await client.get("/api/providers", headers=admin)).json()
    openai = next(row for row in providers["data"] if row["provider_key"] == "openai")
    change = {"default_base_url": provider.base_url}
    assert (await client.put(f"/api/providers/{openai['id']}", json=change, headers=admin)).status == 200
    key = {"model_provider": "openai", "api_key": "sk-of-the-metrics-0123456789"}
    assert (await client.post("/api/apikeys", json=key, headers=admin)).status == 200
    provider.script = provider.stream(reply("好"))
    for number in range(5):
        for name in (f"gpt-4-canary-{number}", f"wild/canary-{number}"):
            await client.post("/api/chat", json={"message": "hi", "model": name}, headers=admin)
        await client.request("PROPFIND", "/api/health")
        await client.get(f"/canary/{number}")
        await client.get(f"/api/conversations/canary-{number}/messages", headers=admin)
    found = await scrape(client, admin)
    assert "canary" not in found.text.lower()
    assert found("chathub_provider_attempts_total", provider="openai", model="unlisted") == 5
    assert found.labels("chathub_provider_attempts_total", "model") <= {"unlisted", "test-model"}
    assert found("chathub_http_requests_total", method="other") == 5
    assert found("chathub_http_requests_total", route="none", method="GET", status="404") == 5
    named = "/api/conversations/{conversation_id}/messages"
    assert found("chathub_http_requests_total", route=named) == 5


def test_number_of_series_is_limited() -> None:
    counter, histogram = Counter("c", "", ("a", "b")), Histogram("h", "", (1,), ("a",))
    for number in range(MOST + 100):
        counter.add((str(number), "x"))
        histogram.observe(number, (str(number),))
    assert len(counter.values) == len(histogram.cells) == MOST + 1
    assert counter.values[OTHER, OTHER] == 100 and sum(histogram.cells[OTHER,][:-1]) == 100
    counter.add(("1", "x"))
    assert counter.values["1", "x"] == 2


async def test_strangers_do_not_hide_errors_behind_what_they_are_refused(
    connect: Connect, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    origins = ("http://localhost:5173",)
    client = await connect(replace(config, metrics_token=TOKEN.encode(), cors_origins=origins))
    refused: list[Headers] = [{}, {"Content-Encoding": "gzip"}, {"Host": "other.example"}]
    for route in ROUTES:
        asked = {"Access-Control-Request-Method": route.method}
        preflights = [{"Origin": origin, **asked} for origin in (*origins, "http://other.example")]
        for headers in (*refused, *preflights):
            for method in dict.fromkeys((route.method, "OPTIONS")):
                path = route.path.replace("{", "").replace("}", "")
                async with client.request(method, path, data=b"x", headers=headers) as response:
                    assert response.status < 500
    app = client.app
    assert app is not None
    with monkeypatch.context() as patched:
        patched.delattr(app[BACKUPS], "last")
        assert (await client.get("/api/health")).status == 500
    found = await scrape(client, SCRAPER)
    assert found("chathub_http_requests_total", route="/api/health", status="500") == 1
    assert OTHER not in found.labels("chathub_http_requests_total", "status")


async def test_scrapes_at_the_same_time_share_one(
    client: TestClient, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make, gate = [], Scrapes._make, asyncio.Event()

    async def counted(scrapes: Scrapes) -> Any:
        made.append(scrapes)
        await gate.wait()
        return await make(scrapes)

    monkeypatch.setattr(Scrapes, "_make", counted)
    asking = [asyncio.create_task(scrape(client, admin)) for _ in range(20)]
    app = client.app
    assert app is not None
    while not made:
        await asyncio.sleep(0)
    # one scraper leaves, and the others get their text
    asking.pop().cancel()
    while app[METRICS].requests.values.get(("GET", "/metrics", "499"), 0) < 1:
        await asyncio.sleep(0.01)
    gate.set()
    assert len({found.text for found in await asyncio.gather(*asking)}) == len(made) == 1
    assert app[SCRAPES]


async def test_disk_that_hangs_leaves_only_its_figures_out(
    client: TestClient, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, began = threading.Event(), []

    def hang(place: Any) -> Any:
        began.append(place)
        gate.wait()
        raise OSError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(state, "_LONGEST", 0.05)
        patched.setattr(os, "statvfs", hang)
        for _ in range(3):
            found = await scrape(client, admin)
            assert "chathub_disk_free_bytes" not in found.text and found("chathub_database_writable") == 1
    assert len(began) == 1, "one thread waits for the disk, not one for each scrape"
    gate.set()
    while "chathub_disk_free_bytes" not in (await scrape(client, admin)).text:
        await asyncio.sleep(0.01)


async def test_what_hangs_in_database_and_disk_is_waited_for_once(
    client: TestClient, admin: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, count, measure = asyncio.Event(), state.StateReader._keys, state.StateReader._sizes

    async def keys(reader: state.StateReader) -> Any:
        await begun.wait()
        return await count(reader)

    async def sizes(reader: state.StateReader) -> Any:
        begun.set()
        return await measure(reader)

    monkeypatch.setattr(state.StateReader, "_keys", keys)
    monkeypatch.setattr(state.StateReader, "_sizes", sizes)
    await add_model(client, admin, provider.base_url, needs_key=True)
    body = {"model_provider": "p_test_model", "api_key": "sk-of-the-metrics-0123456789"}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    found = await scrape(client, admin)
    assert found("chathub_api_keys", state="usable") == 1 and "chathub_disk_free_bytes" in found.text
