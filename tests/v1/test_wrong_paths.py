"""Programs with a wrong base URL are told what is wrong with it, in their own format."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers

CHAT, MESSAGES, MODELS = "/v1/chat/completions", "/v1/messages", "/v1/models"


@pytest.mark.parametrize(
    ("method", "path", "code", "meant"),
    [
        ("POST", "/v1/v1/chat/completions", "base_url_doubled_v1", CHAT),
        ("GET", "/v1/v1/models", "base_url_doubled_v1", MODELS),
        ("POST", "/v1/v1/messages", "base_url_doubled_v1", MESSAGES),
        ("POST", "/v1/chat/completions/v1/chat/completions", "base_url_doubled_v1", CHAT),
        ("POST", "/chat/completions", "base_url_without_v1", CHAT),
        ("POST", "/embeddings", "base_url_without_v1", "/v1/embeddings"),
        ("GET", "/models", "base_url_without_v1", MODELS),
        ("POST", "/messages", "base_url_without_v1", MESSAGES),
        ("POST", "/v1/chat/completions/", "base_url_slash", CHAT),
        ("POST", "/v1//chat/completions", "base_url_slash", CHAT),
        ("POST", "/v1/messages/", "base_url_slash", MESSAGES),
        ("GET", "/v1/models/", "base_url_slash", MODELS),
        ("POST", "/v1/chat/completions/chat/completions", "base_url_wrong", CHAT),
        ("POST", "/api/v1/chat/completions", "base_url_wrong", CHAT),
        ("POST", "/openai/v1/chat/completions", "base_url_wrong", CHAT),
        ("POST", "/responses", "base_url_without_v1", "/v1/responses"),
        ("GET", "/v1/nothing", "unknown_path", MESSAGES),
        ("GET", "/v1", "unknown_path", MODELS),
        ("POST", "/v1/messages/nothing", "unknown_path", MESSAGES),
    ],
)
async def test_wrong_path_names_what_is_wrong_and_the_right_one(
    client: TestClient, admin: Headers, method: str, path: str, code: str, meant: str
) -> None:
    for headers in (admin, {}):
        async with client.request(method, path, headers=headers) as response:
            body: Any = await response.json()
            assert response.status == 404 and response.headers["X-ChatHub-Code"] == code
            error = body["error"]
            assert meant in error["message"] and "model" not in str(error.get("code"))
            if meant == MESSAGES and "messages" in path:
                assert body["type"] == "error" and error["type"] == "not_found_error"
            else:
                assert (error["type"], error["code"]) == ("invalid_request_error", code)


@pytest.mark.parametrize("path", ["/api/nothing", "/api/chat/models", "/nothing", "/api/messages"])
async def test_path_that_is_no_programs_has_the_usual_error(client: TestClient, path: str) -> None:
    async with client.get(path) as response:
        body = await response.json()
        assert response.status == 404 and isinstance(body["error"], str) and body["success"] is False


async def test_very_long_path_is_not_repeated_whole(client: TestClient) -> None:
    async with client.get("/v1/" + "x" * 4000) as response:
        assert response.status == 404 and len(await response.read()) < 1000


async def test_unknown_model_is_still_a_model_that_is_not_found(client: TestClient, admin: Headers) -> None:
    async with client.get("/v1/models/nobody", headers=admin) as response:
        assert (await response.json())["error"]["code"] == "model_not_found"
