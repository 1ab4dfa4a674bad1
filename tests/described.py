"""Compares every response of a server in the tests' process with the API's description: ``openapi.json``.

``watch`` puts a middleware around the handlers; ``problems`` is what differed. A field that the description
does not have is a difference, too, although clients have to expect new ones.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
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

_ANY_ERROR = {
    "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Error", "OpenAIError", "AnthropicError")]
}

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
    path = resource.canonical if resource else ""
    is_whole = isinstance(response, web.Response) or bool(response.get(_ENDED))
    answer = Answer(request.method, path, response.status, response.headers, _body(response), is_whole)
    found = compare(answer)
    _note(f"{request.method} {path or request.path} → {response.status}", found)
    return response


def _note(place: str, found: list[str]) -> None:
    problems.extend(f"{place}: {problem}" for problem in found)


def _is_ours(request: web.Request) -> bool:
    match = request.match_info
    return match.http_exception is not None or match.handler in request.app[ACCESS]


class Answer(NamedTuple):
    """A response: ``path`` is the description's, empty where there is no such path. ``body`` may be only the
    beginning of it, unless it ``is_whole``."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True


def compare(answer: Answer) -> list[str]:
    """What a response has that its operation does not describe."""
    if not answer.path:
        # a page is no part of the API
        return _differences(_ANY_ERROR, answer.body) if answer.status >= 400 else []
    operation = _document()["paths"].get(answer.path, {}).get(answer.method.lower())
    if operation is None:
        return ["no such operation"]
    told = operation["responses"].get(str(answer.status))
    if told is None:
        return [f"no such status; {answer.body[:300]!r}"]
    told = _resolved(told)
    if answer.status >= 400 and answer.method != "HEAD" and (code := _code(answer)) not in _codes(told):
        return [f"no such code: {code}"]
    content = told.get("content", {})
    if answer.method == "HEAD" or answer.status == 304 or (not content and answer.status == 200):
        return []
    media_type = answer.headers.get("Content-Type", "").partition(";")[0]
    if (described := content.get(media_type, content.get("*/*"))) is None:
        return [f"no such content: {media_type}"]
    # what a provider sends is forwarded, also if nobody can read it
    is_forwarded = answer.path.startswith("/v1/") and answer.status == 200
    if media_type == "application/json" and len(answer.body) <= _MOST and answer.is_whole:
        return _differences(described["schema"], answer.body, is_forwarded)
    if media_type == "text/event-stream":
        return _different_events(described["x-item-schema"], answer.body, is_forwarded)
    return []


class ComparedResponse(aiohttp.ClientResponse):
    """A response to a client of a server in another process, compared when it is read."""

    async def read(self) -> bytes:
        is_new, body = self._body is None, await super().read()
        if is_new and self.method != "OPTIONS":
            path = self.url.raw_path
            answer = Answer(self.method, _path_of(path), self.status, self.headers, body)
            _note(f"{self.method} {path} → {self.status}", compare(answer))
        return body


def _path_of(path: str) -> str:
    """The description's path that a request's path is one of; the most literal one, or nothing."""
    paths = sorted(_document()["paths"], key=lambda it: it.count("{"))
    return next((it for it in paths if re.fullmatch(_pattern(it), path)), "")


def _pattern(path: str) -> str:
    # names of models may have slashes
    return re.sub(r"\\\{\w+\\\}", ".+" if path.startswith("/v1/models/") else "[^/]+", re.escape(path))


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


def _code(answer: Answer) -> str:
    code = answer.headers.get("X-ChatHub-Code")
    return code if code is not None else json.loads(answer.body)["code"]


def _codes(told: Any) -> set[str]:
    more = _resolved(told["x-more-codes"]) if "x-more-codes" in told else {}
    return {*told["x-codes"], *more.get("x-codes", ())}


def _body(response: web.StreamResponse) -> bytes:
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        return response.body
    return bytes(response.get(_SENT, b""))


@cache
def _document() -> Any:
    return json.loads(FILE.read_text("utf-8"))


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
