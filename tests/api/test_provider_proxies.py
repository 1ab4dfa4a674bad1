"""Section 3 of the API document: the proxy of a provider, whose password goes in and never comes out."""

import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from accounts import done, sentence
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in

from chathub.app_keys import CATALOG, VAULT
from chathub.commands.doctor import doctor
from chathub.config import Config
from chathub.errors import BadRequest
from chathub.providers.chat_model import provider_as_model
from chathub.sentences import Language

Headers = dict[str, str]

PASSWORD = "canary-Of:the/proxy"
ENCODED = "canary-Of%3Athe%2Fproxy"
URL = f"http://anna:{ENCODED}@proxy.example.com:8080"
SHOWN = "http://anna:***@proxy.example.com:8080"
ROW = {"provider_key": "far", "display_name": "Far", "default_base_url": "https://far.example.com/v1"}


async def create(client: TestClient, admin: Headers, **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = (
        await done(await client.post("/api/providers", json={**ROW, **fields}, headers=admin))
    )["data"]
    return row


async def change(client: TestClient, admin: Headers, **fields: Any) -> Any:
    """The proxy that is shown after a change of the provider."""
    provider_id = (await listed(client, admin))["id"]
    path = f"/api/providers/{provider_id}"
    changed = (await done(await client.put(path, json=fields, headers=admin)))["data"]
    got = (await done(await client.get(path, headers=admin)))["data"]
    assert changed == got == await listed(client, admin)
    return got["proxy_url"]


async def listed(client: TestClient, headers: Headers, key: str = "far") -> dict[str, Any]:
    rows = (await done(await client.get("/api/providers?all=true", headers=headers)))["data"]
    found: dict[str, Any] = next(row for row in rows if row["provider_key"] == key)
    return found


def used(client: TestClient, key: str = "far") -> str | None:
    """The proxy as a request to the provider gets it."""
    catalog, vault = client.app[CATALOG], client.app[VAULT]
    (row,) = [row for row in catalog.providers() if row.slug == key]
    return provider_as_model(row).proxy_url(vault)


def stored(config: Config) -> tuple[Any, Any]:
    with closing(sqlite3.connect(config.database)) as connection:
        statement = "SELECT proxy_url, proxy_secret FROM providers WHERE provider_key = 'far'"
        row: tuple[Any, Any] = connection.execute(statement).fetchone()
    return row


async def test_proxy_is_the_configurations_unless_it_is_set(client: TestClient, admin: Headers) -> None:
    assert (await listed(client, admin, "openai"))["proxy_url"] is None and used(client, "openai") is None
    assert (await create(client, admin))["proxy_url"] is None and used(client) is None
    assert await change(client, admin, proxy_url="") == "" == used(client)
    assert await change(client, admin, sort_order=5) == ""
    assert await change(client, admin, proxy_url=None) is None and used(client) is None


async def test_url_is_used_whole_and_shown_without_its_password(client: TestClient, admin: Headers) -> None:
    assert (await create(client, admin, proxy_url=f" {URL}/ "))["proxy_url"] == SHOWN
    assert used(client) == URL
    assert await change(client, admin, proxy_url="socks5h://Proxy.example.com") == used(client)
    assert used(client) == "socks5h://proxy.example.com:1080"
    assert (
        await change(client, admin, proxy_url="https://token@[2001:db8::0]") == "https://***@[2001:db8::]:443"
    )
    assert used(client) == "https://token@[2001:db8::]:443"


async def test_shown_url_and_absent_field_keep_the_password(
    client: TestClient, admin: Headers, config: Config
) -> None:
    await create(client, admin, proxy_url=URL)
    before = stored(config)
    assert await change(client, admin, display_name="Farther", proxy_url=SHOWN) == SHOWN
    assert await change(client, admin, default_base_url="https://elsewhere.example.com/v1") == SHOWN
    assert stored(config) == before and used(client) == URL
    assert await change(client, admin, proxy_url=URL.replace(ENCODED, "other")) == SHOWN
    assert used(client) == URL.replace(ENCODED, "other")


@pytest.mark.parametrize(
    "text",
    [
        SHOWN.replace("proxy.example", "evil.example"),
        SHOWN.replace("8080", "8081"),
        SHOWN.replace("http", "socks5"),
        SHOWN.replace("anna", "bob"),
        "http://***@proxy.example.com:8080",
    ],
)
async def test_password_is_not_kept_for_another_address(
    client: TestClient, admin: Headers, config: Config, text: str
) -> None:
    row = await create(client, admin, proxy_url=URL)
    before = stored(config)
    path = f"/api/providers/{row['id']}"
    response = await client.put(path, json={"proxy_url": text, "sort_order": 9}, headers=admin)
    assert "proxy_url" in await sentence(response, 400)
    assert stored(config) == before and await listed(client, admin) == row
    other = {**ROW, "provider_key": "two", "proxy_url": SHOWN}
    await sentence(await client.post("/api/providers", json=other, headers=admin), 400)


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_other_value_gets_400_that_does_not_repeat_it(
    connect: Connect, config: Config, language: Language
) -> None:
    client = await connect(replace(config, language=language))
    admin = await sign_in(client, "admin", "admin123")
    row = await create(client, admin, proxy_url=URL)
    word, other_word = ("字段 proxy_url", "Field") if language == "zh" else ("Field proxy_url", "字段")
    for value, code in (
        (f"ftp://u:{ENCODED}@proxy", "proxy_url_invalid"),
        (f"u:{ENCODED}@proxy", "proxy_url_invalid"),
        (f"http://u:{ENCODED}@", "proxy_url_invalid"),
        (f"http://u:{ENCODED}@proxy/path", "proxy_url_invalid"),
        (f"http://u:{ENCODED}@proxy?q", "proxy_url_invalid"),
        (f"http://u:{ENCODED}@proxy#f", "proxy_url_invalid"),
        (f"http://u:{ENCODED} @proxy", "proxy_url_invalid"),
        (f"http://u:{ENCODED}\x1f@proxy", "proxy_url_invalid"),
        (f"http://u:{ENCODED}%00@proxy", "proxy_url_invalid"),
        (f"http://u:{PASSWORD}@proxy", "proxy_url_invalid"),
        (f"http://u:{ENCODED}@proxy:65536", "proxy_url_invalid"),
        (" ", "proxy_url_invalid"),
        (f"http://u:{ENCODED}\x00@proxy", "field_has_nul"),
        (f"http://u:{ENCODED}@{'x' * 2000}", "field_too_long"),
        ([f"http://u:{ENCODED}@proxy"], "field_wrong_type"),
        ({ENCODED: ENCODED}, "field_wrong_type"),
        (0, "field_wrong_type"),
        (False, "field_wrong_type"),
    ):
        for method, path, body in (
            ("POST", "/api/providers", {**ROW, "provider_key": "never"}),
            ("PUT", f"/api/providers/{row['id']}", {"sort_order": 9}),
        ):
            response = await client.request(method, path, json={**body, "proxy_url": value}, headers=admin)
            text = await sentence(response, 400)
            assert (await response.json())["code"] == code, value
            assert word in text and other_word not in text and "canary" not in await response.text(), value
    rows = (await done(await client.get("/api/providers?all=true", headers=admin)))["data"]
    assert "never" not in {each["provider_key"] for each in rows} and row in rows


async def test_only_administrators_set_and_see_a_proxy(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    row = await create(client, admin, proxy_url=URL)
    body = {"name": "t", "opens_api": True}
    token = (await (await client.post("/api/tokens", json=body, headers=admin)).json())["token"]
    for headers in (user, {"Authorization": f"Bearer {token}"}):
        for path in (
            "/api/providers",
            "/api/providers?all=true",
            f"/api/providers/{row['id']}",
            "/api/models",
        ):
            text = await (await client.get(path, headers=headers)).text()
            assert "proxy" not in text, path
        response = await client.put(f"/api/providers/{row['id']}", json={"proxy_url": ""}, headers=headers)
        await sentence(response, 403)
        new = {**ROW, "provider_key": "mine", "proxy_url": URL}
        await sentence(await client.post("/api/providers", json=new, headers=headers), 403)
    key = {
        "model_provider": "far",
        "api_key": "sk-of-the-user-0123456789",
        "base_url": "https://x.example.com/v1",
    }
    saved = await client.post("/api/apikeys", json={**key, "proxy_url": URL}, headers=user)
    assert saved.status == 200 and "proxy" not in await saved.text()
    assert used(client) == URL


async def test_database_log_and_audit_have_no_password(
    client: TestClient, admin: Headers, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    await create(client, admin, proxy_url=URL)
    await change(client, admin, proxy_url=URL.replace(ENCODED, "canary-two"))
    await change(client, admin, proxy_url="")
    await change(client, admin, proxy_url=URL)
    assert await change(client, admin, proxy_url=SHOWN) == SHOWN
    entries = (await (await client.get("/api/audit", headers=admin)).json())["data"]
    told = [entry["details"] for entry in entries if entry["event"].startswith("provider.")]
    assert [(each.get("proxy_url"), each.get("proxy_entered")) for each in told] == [
        (["", SHOWN], True),
        ([SHOWN, ""], None),
        (None, True),
        (SHOWN, None),
    ]
    assert {PASSWORD, ENCODED, URL} <= set(client.app[VAULT].known())
    with closing(sqlite3.connect(config.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        dump = "\n".join(connection.iterdump())
    files = b"".join(path.read_bytes() for path in config.database.parent.iterdir() if path.is_file())
    row = next(each for each in client.app[CATALOG].providers() if each.slug == "far")
    model = provider_as_model(row)
    for secret in ("canary", PASSWORD.encode().hex(), PASSWORD, ENCODED):
        assert secret not in dump and secret not in str(entries) and secret not in caplog.text
        assert secret.encode() not in files and secret not in repr((row, model))
    assert SHOWN in dump


async def test_deleted_provider_is_restored_with_its_proxy(client: TestClient, admin: Headers) -> None:
    row = await create(client, admin, proxy_url=URL)
    for given, shown in (({}, SHOWN), ({"proxy_url": SHOWN}, SHOWN), ({"proxy_url": ""}, "")):
        await done(await client.delete(f"/api/providers/{row['id']}", headers=admin))
        restored = await create(client, admin, **given)
        assert (restored["id"], restored["proxy_url"]) == (row["id"], shown)


async def test_built_in_models_provider_has_no_proxy(
    client: TestClient, admin: Headers, config: Config
) -> None:
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE providers SET provider_key = 'local' WHERE provider_key = 'ollama'")
    row = await listed(client, admin, "local")
    response = await client.put(f"/api/providers/{row['id']}", json={"proxy_url": URL}, headers=admin)
    assert (await done(response))["data"]["proxy_url"] is None and used(client, "local") is None


async def test_proxy_that_was_changed_in_the_database_is_not_used(
    client: TestClient, admin: Headers, config: Config
) -> None:
    await create(client, admin, proxy_url=URL)
    await create(client, admin, provider_key="two", proxy_url=URL)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        far = "WHERE provider_key = 'far'"
        connection.execute(f"UPDATE providers SET proxy_url = replace(proxy_url, 'proxy.', 'evil.') {far}")
        copied = f"(SELECT proxy_secret FROM providers {far})"
        connection.execute(f"UPDATE providers SET proxy_secret = {copied} WHERE provider_key = 'two'")
    await client.app[CATALOG].reload()
    for key in ("far", "two"):
        with pytest.raises(BadRequest) as caught:
            used(client, key)
        assert caught.value.reason.code == "proxy_url_unreadable"


@pytest.mark.parametrize("login", ["", f"anna:{ENCODED}@"])
async def test_proxy_of_socks_without_its_extra_is_kept_but_not_set(
    client: TestClient,
    admin: Headers,
    config: Config,
    login: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"socks5://{login}127.0.0.1:9"
    row = await create(client, admin, proxy_url=url, needs_key=False)
    # an installation without it, as find_spec and import see it
    monkeypatch.setitem(sys.modules, "python_socks", None)
    assert await change(client, admin, display_name="Farther", proxy_url=row["proxy_url"]) == row["proxy_url"]
    assert used(client) == url
    path = f"/api/providers/{row['id']}"
    response = await client.put(path, json={"proxy_url": "socks5://other:9"}, headers=admin)
    assert "pip install python-socks" in await sentence(response, 400)
    response = await client.get(f"{path}/models", headers=admin)
    assert "pip install python-socks" in await sentence(response, 502)
    assert doctor(lambda: config) == 1
    told = capsys.readouterr().out
    assert "problem proxies: the proxy of provider far is a proxy of SOCKS" in told
