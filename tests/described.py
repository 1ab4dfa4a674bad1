"""Compares every response of a server in the tests' process with the API's description: ``openapi.json``.

``watch`` puts a middleware around the handlers; ``problems`` is what differed. A field that the description
does not have is a difference, too, although clients have to expect new ones.
"""

import asyncio
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
from aiohttp import web

from chathub import app as chathub_app
from chathub.app_keys import ACCESS
from chathub.handlers.http import Handler

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"
# what was sent is kept up to so many bytes; a longer response is not compared
_MOST = 1024 * 1024
_SENT, _ENDED = web.ResponseKey("sent", bytearray), web.ResponseKey("ended", bool)
_EVENT = re.compile(rb"^data: ?(.*)$", re.MULTILINE)

problems: list[str] = []


def watch() -> None:
    """Compare the responses of all applications that are made from now on."""
    chathub_app._MIDDLEWARES = (_compared, *chathub_app._MIDDLEWARES)  # type: ignore[assignment]
    write, write_eof = web.StreamResponse.write, web.StreamResponse.write_eof

    async def kept(self: web.StreamResponse, data: Any) -> None:
        sent = self.setdefault(_SENT, bytearray())
        if len(sent) <= _MOST:
            sent += data
        await write(self, data)

    async def ended(self: web.StreamResponse, data: bytes = b"") -> None:
        await write_eof(self, data)
        self[_ENDED] = True

    web.StreamResponse.write = kept  # type: ignore[method-assign]
    web.StreamResponse.write_eof = ended  # type: ignore[method-assign]


@web.middleware
async def _compared(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    # preflights, and routes that a test has added
    if request.method == "OPTIONS" or not _is_ours(request):
        return response
    resource = request.match_info.route.resource
    path = resource.canonical if resource else request.path
    place = f"{request.method} {path} → {response.status}"
    found = [f"{place}: {problem}" for problem in compare(request, response)]
    problems.extend(found)
    if found and (log := os.environ.get("CHATHUB_DESCRIBED_LOG")):
        await asyncio.to_thread(_append, Path(log), found)
    return response


def _is_ours(request: web.Request) -> bool:
    match = request.match_info
    return match.http_exception is not None or match.handler in request.app[ACCESS]


def _append(log: Path, found: list[str]) -> None:
    with log.open("a") as file:
        file.writelines(f"{problem}\n" for problem in found)


def compare(request: web.Request, response: web.StreamResponse) -> list[str]:
    """What a response has that its operation does not describe."""
    if request.match_info.http_exception is not None:
        if response.status < 400:
            # a page
            return []
        schema: Any = {"anyOf": [_ref(name) for name in ("Error", "OpenAIError", "AnthropicError")]}
        return _differences(schema, _body(response))
    resource = request.match_info.route.resource
    operation = (
        _document()["paths"].get(resource.canonical if resource else "", {}).get(request.method.lower())
    )
    if operation is None:
        return ["no such operation"]
    told = operation["responses"].get(str(response.status))
    if told is None:
        return [f"no such status; {_body(response)[:300]!r}"]
    told = _resolved(told)
    if response.status >= 400 and (code := _code(response)) not in _codes(told):
        return [f"no such code: {code}"]
    media_type = response.headers.get("Content-Type", "").partition(";")[0]
    content = told.get("content", {})
    if request.method == "HEAD" or response.status == 304 or (not content and response.status == 200):
        return []
    if (described := content.get(media_type, content.get("*/*"))) is None:
        return [f"no such content: {media_type}"]
    body = _body(response)
    # what a provider sends is forwarded, also if nobody can read it
    reads = {"is_forwarded": request.path.startswith("/v1/") and response.status == 200}
    if media_type == "application/json":
        if len(body) > _MOST or not _is_whole(response):
            return []
        return _differences(described["schema"], body, **reads)
    if media_type == "text/event-stream":
        return _different_events(described["x-item-schema"], body, **reads)
    return []


def _different_events(schema: Any, body: bytes, is_forwarded: bool) -> list[str]:
    events = [event for event in _EVENT.findall(body[: body.rfind(b"\n\n") + 1]) if event != b"[DONE]"]
    return [problem for event in events for problem in _differences(schema, event, is_forwarded)][:3]


def _differences(schema: Any, body: bytes, is_forwarded: bool = False) -> list[str]:
    try:
        value = json.loads(body)
    except ValueError:
        return [] if is_forwarded else [f"no JSON: {body[:200]!r}"]
    validator = _validator(json.dumps(schema))
    if validator.is_valid(value):
        return []
    error = next(iter(validator.iter_errors(value)))
    path = ".".join(map(str, error.instance_path))
    return [f"{path or 'the body'}: {error.message[:300]}"]


def _code(response: web.StreamResponse) -> str:
    code = response.headers.get("X-ChatHub-Code")
    return code if code is not None else json.loads(_body(response))["code"]


def _codes(told: Any) -> set[str]:
    more = _resolved(told["x-more-codes"]) if "x-more-codes" in told else {}
    return {*told["x-codes"], *more.get("x-codes", ())}


def _body(response: web.StreamResponse) -> bytes:
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        return response.body
    return bytes(response.get(_SENT, b""))


def _is_whole(response: web.StreamResponse) -> bool:
    return isinstance(response, web.Response) or bool(response.get(_ENDED))


@cache
def _document() -> Any:
    return json.loads(FILE.read_text("utf-8"))


def _ref(name: str) -> Any:
    return {"$ref": f"#/components/schemas/{name}"}


def _resolved(told: Any) -> Any:
    return _document()["components"]["responses"][told["$ref"].rpartition("/")[2]] if "$ref" in told else told


@cache
def _validator(schema: str) -> Any:
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": {"schemas": _strict()}})


@cache
def _strict() -> Any:
    """The schemas, with which an unknown field is an error."""
    return {
        name: {"additionalProperties": False, **schema} if "properties" in schema else schema
        for name, schema in _document()["components"]["schemas"].items()
    }
