"""CORS: what a browser may send to the server from a page of another origin."""

import dataclasses

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect

from chathub.config import VUE_ORIGINS, Config

PAGE = VUE_ORIGINS[0]
# what the official clients of OpenAI and Anthropic send from a browser
OPENAI = (
    "authorization,content-type,openai-organization,openai-project,user-agent,x-stainless-arch,x-stainless-lang,"
    "x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,"
    "x-stainless-runtime-version,x-stainless-timeout,x-stainless-helper-method"
)
ANTHROPIC = (
    "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,content-type,x-api-key,"
    "x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-timeout"
)


pytestmark = pytest.mark.shared


def preflight(headers: str, origin: str = PAGE, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize(("path", "headers"), [("/v1/chat/completions", OPENAI), ("/v1/messages", ANTHROPIC)])
async def test_preflight_allows_the_headers_of_the_official_clients(
    client: TestClient, path: str, headers: str
) -> None:
    response = await client.options(path, headers=preflight(headers))
    assert response.status == 200 and response.headers["Access-Control-Allow-Origin"] == PAGE
    allowed = response.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
    assert set(headers.split(",")) <= set(allowed)


@pytest.mark.parametrize("path", ["/nowhere", "/v1/nothing", "/api/conversations/x/y/z"])
async def test_preflight_of_an_unknown_path_succeeds_so_that_the_page_can_read_the_404(
    client: TestClient, path: str
) -> None:
    response = await client.options(path, headers=preflight("authorization, x-thing"))
    assert response.status == 200 and response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Access-Control-Allow-Methods"] == "POST"
    assert response.headers["Access-Control-Allow-Headers"] == "authorization, x-thing"
    response = await client.post(path, json={}, headers={"Origin": PAGE})
    assert response.status == 404 and response.headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/v1/messages"])
async def test_pages_can_read_the_headers_that_official_clients_read(client: TestClient, path: str) -> None:
    response = await client.post(path, json={}, headers={"Origin": PAGE})
    exposed = {name.strip().lower() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {"request-id", "x-request-id", "retry-after", "x-should-retry", "x-chathub-code"}
    assert exposed >= {"x-ratelimit-remaining-tokens", "anthropic-ratelimit-input-tokens-remaining"}


async def test_preflight_of_a_foreign_origin_is_refused_on_every_path(client: TestClient) -> None:
    for path in ("/nowhere", "/v1/messages"):
        response = await client.options(path, headers=preflight("x-api-key", "https://evil.example"))
        assert response.status in (403, 404)
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "origin", ["app://obsidian.md", "chrome-extension://abcdefghijklmnop", "tauri://localhost"]
)
async def test_origins_of_desktop_programs_and_extensions_can_be_allowed(
    connect: Connect, config: Config, origin: str
) -> None:
    own = dataclasses.replace(config, cors_origins=(origin,), database=config.database.with_name("own.db"))
    client = await connect(own)
    response = await client.options("/v1/messages", headers=preflight("x-api-key", origin))
    assert response.headers["Access-Control-Allow-Origin"] == origin
    response = await client.get("/api/models", headers={"Origin": origin})
    assert response.headers["Access-Control-Allow-Origin"] == origin
