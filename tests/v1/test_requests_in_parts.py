"""Requests of programs as the scripted provider receives them: what refusals teach, what is fetched, and the
older form of tools in replies.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gateway import PIXEL, TOOL, Headers, add
from scripted import Provider, Script
from scripted_formats import calls, whole

from chathub.config import Config
from chathub.formats import anthropic as anthropic_format
from chathub.upstream import fetch_media

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
PDF = b64encode(b"%PDF-1.4 the tests' own").decode()
DOCUMENT = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
    "title": "a.pdf",
}


def refusing(provider: Provider, protocol: str, refused: Any, status: int, body: Any) -> Script:
    """Refuse every request for which ``refused`` is true."""

    async def run(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if refused(asked):
            return await provider.answer(status, body)(request)
        return await provider.answer(200, whole(protocol, "ok"))(request)

    return run


async def posted(client: TestClient, who: Headers, path: str, body: Any) -> Any:
    async with client.post(path, json=body, headers=who) as response:
        found = await response.json()
        assert response.status == 200, found
        return found


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


# --- what refusals teach

FIELDS = [
    ("seed", 400, error("property 'seed' is unsupported")),
    ("user", 400, error("Unrecognized request argument supplied: user")),
    ("logit_bias", 400, error("Unknown parameter: 'logit_bias'.", param="logit_bias")),
    ("metadata", 422, {"detail": [{"loc": ["body", "metadata"], "msg": "Extra inputs are not permitted"}]}),
    ("store", 400, error('Invalid JSON payload received. Unknown name "store": Cannot find field.')),
    ("verbosity", 400, error("Unsupported parameter(s): `verbosity`")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "status", "body"), FIELDS, ids=lambda each: each if isinstance(each, str) else ""
)
async def test_field_that_a_provider_refuses_is_left_out_and_remembered(
    client: TestClient, admin: Headers, provider: Provider, name: str, status: int, body: Any
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = refusing(provider, "openai", lambda asked: name in asked, status, body)
    for _ in range(2):
        await posted(client, admin, CHAT, ASKED | {name: {"a": 1}, "x_other": 1})
    assert [name in each for each in provider.bodies] == [True, False, False]
    assert all(each["x_other"] == 1 for each in provider.bodies)


@pytest.mark.parametrize("name", ["response_format", "logprobs", "tools"])
async def test_field_that_shapes_the_reply_is_not_left_out(
    client: TestClient, admin: Headers, provider: Provider, name: str
) -> None:
    await add(client, admin, provider.base_url)
    value: Any = {
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }[name]
    body = error(f"property '{name}' is unsupported")
    provider.script = refusing(provider, "openai", lambda asked: name in asked, 400, body)
    async with client.post(CHAT, json=ASKED | {name: value}, headers=admin) as response:
        assert response.status == 400 and name in (await response.text())
    assert len(provider.bodies) == 1


@pytest.mark.parametrize(
    ("sent_name", "known_name"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
async def test_forwarded_length_is_renamed_after_a_refusal(
    client: TestClient, admin: Headers, provider: Provider, sent_name: str, known_name: str
) -> None:
    await add(client, admin, provider.base_url)
    hint = f" Use '{known_name}' instead." if known_name == "max_completion_tokens" else ""
    body = error(
        f"Unsupported parameter: '{sent_name}' is not supported with this model.{hint}", param=sent_name
    )
    provider.script = refusing(provider, "openai", lambda asked: sent_name in asked, 400, body)
    for _ in range(2):
        await posted(client, admin, CHAT, {"model": "m", "messages": ASKED["messages"], sent_name: 100})
    assert [each.get(known_name) for each in provider.bodies] == [None, 100, 100]


async def test_forwarded_temperature_and_role_are_adapted_after_refusals(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)

    async def strict(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if "temperature" in asked:
            body = error("Unsupported value: 'temperature' does not support 0.2 with this model.")
            return await provider.answer(400, body)(request)
        if any(each["role"] == "developer" for each in asked["messages"]):
            body = error("messages[0].role: unknown variant `developer`, expected one of `system`, `user`")
            return await provider.answer(400, body)(request)
        return await provider.answer(200, whole("openai", "ok"))(request)

    provider.script = strict
    messages = [{"role": "developer", "content": "s"}, *ASKED["messages"]]
    await posted(client, admin, CHAT, ASKED | {"messages": messages, "temperature": 0.2})
    assert [each["role"] for each in provider.last["messages"]] == ["system", "user"]
    assert "temperature" not in provider.last


@pytest.mark.parametrize(("path", "name"), [(CHAT, "stop"), (MESSAGES, "stop_sequences")])
async def test_first_four_stop_sequences_are_sent_after_a_refusal(
    client: TestClient, admin: Headers, provider: Provider, path: str, name: str
) -> None:
    await add(client, admin, provider.base_url)
    body = error("Invalid 'stop': array too long. Expected an array with maximum length 4.", param="stop")
    provider.script = refusing(provider, "openai", lambda asked: len(asked["stop"]) > 4, 400, body)
    await posted(client, admin, path, ASKED | {name: list("abcdef")})
    assert provider.last["stop"] == list("abcd")


REFUSALS_OF_FILES = [
    "messages[0]: unknown variant `file`, expected `text`",
    "Invalid value: 'file'. Supported values are: 'text', 'image_url'.",
    "This model does not support file inputs.",
]


@pytest.mark.parametrize("message", REFUSALS_OF_FILES)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_model_that_refuses_documents_gets_a_text(
    client: TestClient, admin: Headers, provider: Provider, path: str, message: str
) -> None:
    await add(client, admin, provider.base_url)
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    part = file if path == CHAT else DOCUMENT
    provider.script = refusing(
        provider, "openai", lambda asked: "file_data" in json.dumps(asked), 400, error(message)
    )
    for _ in range(2):
        messages = [{"role": "user", "content": [part, {"type": "text", "text": "what is it?"}]}]
        await posted(client, admin, path, ASKED | {"messages": messages})
    text = json.dumps(provider.last)
    assert "a.pdf" in text and "this model cannot read it" in text and "what is it?" in text
    assert len(provider.bodies) == 3, "what was learned is remembered"


# --- the older form of tools


@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
@pytest.mark.parametrize("streams", [False, True])
async def test_client_of_functions_gets_a_function_call(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.stream(calls(protocol, ("c1", "weather", {"place": "北京"})))
    function = {"name": TOOL["name"], "parameters": TOOL["schema"]}
    body = ASKED | {"functions": [function], "stream": streams}
    async with client.post(CHAT, json=body, headers=admin) as response:
        text = await response.text()
        assert response.status == 200, text
    if streams:
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        choices = [event["choices"][0] for event in events if event["choices"]]
        fragments = [choice["delta"].get("function_call") or {} for choice in choices]
        name = "".join(each.get("name") or "" for each in fragments)
        arguments = "".join(each.get("arguments") or "" for each in fragments)
        finish = choices[-1]["finish_reason"]
    else:
        (choice,) = json.loads(text)["choices"]
        call, finish = choice["message"]["function_call"], choice["finish_reason"]
        name, arguments = call["name"], call["arguments"]
        assert "tool_calls" not in choice["message"]
    assert (name, json.loads(arguments), finish) == ("weather", {"place": "北京"}, "function_call")


# --- media by address


class Files:
    """A server with files, which counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        app = web.Application()
        app.router.add_get("/{name:.*}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.fetched.append(name)
        if name == "moved":
            return web.Response(status=302, headers={"Location": "/a.pdf"})
        if name == "inside":
            return web.Response(status=302, headers={"Location": "http://[::1]:1/secret"})
        if name == "large":
            return web.Response(body=b"%PDF-" + b"x" * (11 * 1024 * 1024))
        if name == "page":
            return web.Response(text="<html>", content_type="text/html")
        if name == "a.png":
            return web.Response(body=b64decode(PIXEL))
        if name == "a.pdf":
            return web.Response(body=b"%PDF-1.4 the tests' own")
        return web.Response(status=404)


@pytest.fixture
async def files() -> Any:
    found = Files()
    await found.server.start_server()
    yield found
    await found.server.close()


@pytest.fixture
def config(config: Config) -> Config:
    """The file server's address counts as public; that of ::1 does not."""
    return replace(config, upstream_allow_networks=(ip_network("127.0.0.1/32"),))


def by_address(url: str) -> dict[str, Any]:
    block = {"type": "document", "source": {"type": "url", "url": url}, "title": "a.pdf"}
    return ASKED | {"messages": [{"role": "user", "content": [block, {"type": "text", "text": "?"}]}]}


@pytest.mark.parametrize("name", ["a.pdf", "moved"])
async def test_document_by_address_is_fetched_for_a_format_that_does_not(
    client: TestClient, admin: Headers, provider: Provider, files: Files, name: str
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.answer(200, whole("openai", "ok"))
    await posted(client, admin, MESSAGES, by_address(str(files.server.make_url(f"/{name}"))))
    part = provider.last["messages"][0]["content"][0]
    assert part["file"] == {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}


@pytest.mark.parametrize("name", ["large", "inside", "missing"])
async def test_document_that_cannot_be_fetched_is_refused_with_a_sentence(
    client: TestClient, admin: Headers, provider: Provider, files: Files, name: str
) -> None:
    await add(client, admin, provider.base_url)
    url = str(files.server.make_url(f"/{name}"))
    async with client.post(MESSAGES, json=by_address(url), headers=admin) as response:
        told = (await response.json())["error"]["message"]
        assert response.status == 400 and url in told, told
    assert provider.bodies == []


async def test_private_address_is_not_fetched(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    for url in ("http://[::1]:9/a.pdf", "http://169.254.169.254/latest", "http://user:pw@127.0.0.1/a"):
        async with client.post(MESSAGES, json=by_address(url), headers=admin) as response:
            assert response.status == 400, await response.text()
    assert provider.bodies == []


async def test_addresses_are_handed_on_where_the_provider_fetches(
    client: TestClient, admin: Headers, provider: Provider, files: Files
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    provider.script = provider.answer(200, whole("gemini", "ok"))
    await posted(client, admin, MESSAGES, by_address("https://files.example/a.pdf"))
    assert provider.last["contents"][0]["parts"][0] == {
        "fileData": {"fileUri": "https://files.example/a.pdf"}
    }
    image = {"type": "image", "source": {"type": "url", "url": "http://images.example/a.png"}}
    await add(client, admin, provider.base_url, name="o", provider="other")
    provider.script = provider.answer(200, whole("openai", "ok"))
    body = ASKED | {"model": "o", "messages": [{"role": "user", "content": [image]}]}
    await posted(client, admin, MESSAGES, body)
    assert provider.last["messages"][0]["content"][0]["image_url"] == {"url": "http://images.example/a.png"}
    assert files.fetched == []


async def test_address_that_is_no_image_is_refused_where_an_image_is_expected(
    client: TestClient, admin: Headers, provider: Provider, files: Files
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    image = {"type": "image_url", "image_url": {"url": str(files.server.make_url("/page"))}}
    body = ASKED | {"messages": [{"role": "user", "content": [image]}]}
    async with client.post(CHAT, json=body, headers=admin) as response:
        assert response.status == 400 and "no PNG, JPEG, GIF or WebP" in await response.text()
    assert provider.bodies == []


async def test_image_that_a_provider_could_not_fetch_is_fetched_for_it(
    client: TestClient, admin: Headers, provider: Provider, files: Files
) -> None:
    await add(client, admin, provider.base_url)
    url = str(files.server.make_url("/a.png"))
    message = "Failed to download image from the given URL."
    provider.script = refusing(
        provider, "openai", lambda asked: url in json.dumps(asked), 400, error(message)
    )
    image = {"type": "image", "source": {"type": "url", "url": url}}
    await posted(client, admin, MESSAGES, ASKED | {"messages": [{"role": "user", "content": [image]}]})
    assert provider.last["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


async def test_address_that_anthropic_does_not_fetch_is_fetched_for_a_forwarded_request(
    client: TestClient, admin: Headers, provider: Provider, files: Files
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = provider.answer(200, whole("anthropic", "ok"))
    kept = {"cache_control": {"type": "ephemeral"}}
    url = str(files.server.make_url("/a.png"))
    image = {"type": "image", "source": {"type": "url", "url": url}, **kept}
    own = {"type": "image", "source": {"type": "url", "url": "https://images.example/a.png"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image, own]}
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    document = by_address(str(files.server.make_url("/a.pdf")))["messages"][0]["content"][0]
    messages = [
        {"role": "user", "content": [image, document, {"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    await posted(client, admin, MESSAGES, ASKED | {"messages": messages})
    sent = provider.last["messages"]
    fetched = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert sent[0]["content"][0] == {"type": "image", "source": fetched, **kept}
    assert sent[0]["content"][1] == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": "a.pdf",
    }
    assert sent[2]["content"][0]["content"] == [{"type": "image", "source": fetched, **kept}, own]
    assert sorted(files.fetched) == ["a.pdf", "a.png"]


async def test_address_that_cannot_be_fetched_for_a_forwarded_request_is_refused_with_a_sentence(
    client: TestClient, admin: Headers, provider: Provider, files: Files
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    for url in (str(files.server.make_url("/missing")), "http://[::1]:9/a.pdf"):
        async with client.post(MESSAGES, json=by_address(url), headers=admin) as response:
            told = (await response.json())["error"]["message"]
            assert response.status == 400 and url in told, told
    assert provider.bodies == []


async def test_address_that_a_provider_could_not_fetch_is_fetched_for_a_forwarded_request(
    client: TestClient, admin: Headers, provider: Provider, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    url = str(files.server.make_url("/a.png"))
    # as if it were one over https
    monkeypatch.setattr(anthropic_format, "fetches", lambda part, quirks: quirks.takes_addresses)
    provider.script = refusing(
        provider,
        "anthropic",
        lambda asked: url in json.dumps(asked),
        400,
        error("Unable to download the file."),
    )
    image = {"type": "image", "source": {"type": "url", "url": url}}
    await posted(client, admin, MESSAGES, ASKED | {"messages": [{"role": "user", "content": [image]}]})
    assert provider.last["messages"][0]["content"][0]["source"]["data"] == PIXEL


async def test_what_is_fetched_at_once_is_bounded(
    client: TestClient, admin: Headers, provider: Provider, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_media, "MOST_BYTES_HELD", 10)
    await add(client, admin, provider.base_url)
    body = by_address(str(files.server.make_url("/a.pdf")))
    async with client.post(MESSAGES, json=body, headers=admin) as response:
        assert response.status == 503 and "Retry-After" in response.headers
    monkeypatch.setattr(fetch_media, "MOST_BYTES_HELD", 30)
    provider.script = provider.answer(200, whole("openai", "ok"))
    for _ in range(3):
        await posted(client, admin, MESSAGES, body)
