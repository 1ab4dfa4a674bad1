"""Property-based requests to every route: no 500, no traceback, and every error has the documented body.

Bodies are generated from the structs that the route's handler reads, valid ones and broken ones.
"""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import world
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from listening import Server
from msgspec import inspect as kinds
from scripted import Provider
from yarl import URL

from chathub.app import create_app
from chathub.config import Config
from chathub.routes import ADMIN, METRICS, PUBLIC, ROUTES, SESSION, USER, V1, Route

EXAMPLES = settings(
    max_examples=32,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

# existing values, for fields that name an object
KNOWN: dict[str, list[Any]] = {
    "message": ["hi"],
    "model": ["test-model", "gpt-4o-mini", "vectors"],
    "model_provider": ["openai", "p_test_model"],
    "conversation_id": ["of-the-owner", "other", ""],
    "username": ["user", "stranger", "newcomer"],
    "email": ["a@example.com", "user@chathub.com"],
    "images": [[world.PIXEL]],
    "base_url": ["", "http://127.0.0.1:9/v1"],
    "default_base_url": ["http://127.0.0.1:9/v1"],
    "provider_key": ["openai", "new_one"],
}
IDS = [
    *(
        "1",
        "2",
        "3",
        "0",
        "00001",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "99999999999999999999",
        "9" * 500,
        "abc",
        "null",
    ),
    *(
        "%00",
        "%FF",
        "%2e%2e",
        "%2F",
        "%0d%0a",
        "%D9%A1",
        "%F0%9F%98%80",
        "%27",
        "of-the-owner",
        "test-model",
        "%20",
        "a+b",
    ),
]
CALLERS = {
    PUBLIC: ["nobody", "owner"],
    USER: ["owner", "owner", "owner", "admin", "api token", "nobody"],
    SESSION: ["owner", "owner", "admin", "api token"],
    ADMIN: ["admin", "admin", "admin", "admin", "owner"],
    METRICS: ["admin", "owner", "token", "nobody"],
    V1: ["owner", "token", "token", "admin", "nobody"],
}
V1_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "test-model",
        "messages": [
            {"role": "system", "content": "short"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "5"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "max_tokens": 5,
        "stop": ["x"],
        "response_format": {"type": "json_object"},
    },
    "/v1/messages": {
        "model": "test-model",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "short"}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "5"}]},
        ],
        "stream": True,
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["x"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "metadata": {"user_id": "x"},
    },
    "/v1/embeddings": {"model": "vectors", "input": ["hi"], "dimensions": 5, "encoding_format": "float"},
}

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "\0", "\ud83e", "\u202e", "a" * 300, "' OR 1=1 --", "[]", "null", "http://[", "1"]
    ),
)
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 1e308, 1e-320, 10**400]),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def fitting(kind: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values that a wire type mostly accepts."""
    match kind:
        case kinds.UnionType(types=types):
            return st.one_of([fitting(each, name) for each in types])
        case kinds.StrType(max_length=longest, min_length=shortest):
            made = st.text(min_size=shortest or 0, max_size=min(longest or 20, (shortest or 0) + 20))
            known = st.sampled_from(KNOWN[name]) if isinstance(KNOWN.get(name, [0])[0], str) else made
            return st.one_of(known, known, known, made)
        case kinds.IntType(ge=least, le=most):
            return st.integers(least, most) | st.integers(1, 5)
        case kinds.FloatType(ge=least, le=most):
            return st.floats(least, most, allow_nan=False, allow_infinity=False)
        case kinds.BoolType():
            return st.booleans()
        case kinds.LiteralType(values=values):
            return st.sampled_from(values)
        case kinds.ListType(item_type=item, min_length=shortest):
            made_list = st.lists(fitting(item, name), min_size=shortest or 0, max_size=(shortest or 0) + 2)
            return st.sampled_from(KNOWN[name]) | made_list if name == "images" else made_list
        case kinds.StructType(fields=fields):
            made_of = {each.encode_name: fitting(each.type, each.name) for each in fields}
            # without these a chat is valid only with tool results, and a model only with targets
            usual = ("message", "model_provider")
            required = {each.encode_name for each in fields if each.required or each.name in usual}
            plain = {each: made for each, made in made_of.items() if each in required}
            rest = {each: made for each, made in made_of.items() if each not in required}
            return st.fixed_dictionaries(plain) | st.fixed_dictionaries(plain, optional=rest)
        case kinds.DictType():
            return st.dictionaries(texts, anything, max_size=3)
        case kinds.NoneType():
            return st.none()
    return anything


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[Any]) -> Any:
    """A valid body with a random value in one of its fields, or without one."""
    body = json.loads(json.dumps(draw(whole)))
    places: list[tuple[Any, Any]] = []
    waiting = [body]
    while waiting:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        places += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys if isinstance(inner[key], dict | list)]
    if places:
        inner, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            inner[key] = draw(anything)
        else:
            del inner[key]
    return body


def bodies(route: Route) -> st.SearchStrategy[bytes | None]:
    if route.access == V1 and route.method == "POST":
        whole = st.just(V1_BODIES.get(route.path, {}))
    else:
        whole = st.one_of(
            [fitting(kinds.type_info(kind)) for kind in world.structs_of(route)] or [st.just({})]
        )
    odd = st.binary(max_size=50) | st.sampled_from([None, b"", b"{", b"[" * 5000, b'{"a":1}' * 2])
    good, bad = whole.map(_encoded), broken(whole).map(_encoded)
    return st.one_of(good, good, bad, bad, bad, anything.map(_encoded), odd)


def _encoded(value: Any) -> bytes:
    # as text with escapes: half a surrogate pair can be sent in that form
    return json.dumps(value, ensure_ascii=True).encode()


def queries(route: Route) -> st.SearchStrategy[list[tuple[str, str]]]:
    names = sorted({field for kind in world.structs_of(route) for field in kind.__struct_fields__})
    name = st.sampled_from([*names, "user_id", "limit", "page"]) | st.text(max_size=5)
    value = st.one_of(
        st.sampled_from(["", "1", "true", "-1", "9" * 400, "\0", "a,b", "user"]), st.text(max_size=9)
    )
    sane = st.text(max_size=0)
    return st.lists(st.tuples(name, value | sane), max_size=3)


# aiohttp refuses invalid HTTP with its own text
headers = st.fixed_dictionaries(
    {},
    optional={
        "X-Request-ID": st.sampled_from(["mine-1", "x" * 100, "ü", ""]),
        "Origin": st.sampled_from(["http://localhost:3000", "null", "https://evil.example", "\xff"]),
        "Content-Type": st.sampled_from(
            ["application/json", "text/html", "multipart/form-data", ";", "a/b; charset=x"]
        ),
        "Content-Encoding": st.sampled_from(["gzip", "identity", "nonsense"]),
        "Accept": st.sampled_from(["text/html", "*/*;q=0"]),
        "Last-Event-ID": st.sampled_from(["0-0", "5-5", "999999999-1", "x", "1-1-1"]),
        "Idempotency-Key": st.sampled_from(["once", "x" * 300, "ü", "\x85"]),
        "Range": st.just("bytes=0-1,5-"),
        "If-None-Match": st.just("*"),
        "X-Forwarded-For": st.sampled_from(["1.1.1.1", "x", ",,,"]),
        "anthropic-beta": st.sampled_from(["a,b", "\xe9"]),
    },
)


# values that a request needs to be accepted
_LOGINS = ("users", "sessions", "personal_tokens")


class Lab:
    """A server that serves all of the requests, and its log."""

    def __init__(self, runner: asyncio.Runner, there: world.World) -> None:
        self.runner, self.there = runner, there
        self.log: list[logging.LogRecord] = []
        self.statuses: dict[str, set[int]] = defaultdict(set)
        with contextlib.closing(sqlite3.connect(there.database)) as connection:
            self._kept = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in _LOGINS}

    def restore(self) -> None:
        """Undo what ends sessions, delays requests and deactivates API keys, so that the next requests get as
        far as these did.
        """
        with contextlib.closing(sqlite3.connect(self.there.database)) as connection, connection:
            connection.execute("DELETE FROM throttles")
            connection.execute("UPDATE providers SET is_active = 1")
            for table, rows in self._kept.items():
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    database: Path = tmp_path_factory.mktemp("properties") / "chathub.db"
    config = Config(database=database, bcrypt_rounds=4, secret_key=b"a secret of the tests, 32 bytes +")
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()

        async def start() -> world.World:
            provider = await stack.enter_async_context(Provider())
            server = Server(create_app(config))
            await server.start_server(keepalive_timeout=30)
            client = await stack.enter_async_context(TestClient(server))
            return await world.build(client, provider, database)

        lab = Lab(runner, runner.run(start()))
        handler = logging.Handler(logging.WARNING)
        handler.emit = lab.log.append  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)
        try:
            yield lab
        finally:
            logging.getLogger().removeHandler(handler)
            runner.run(stack.aclose())


async def check(lab: Lab, route: Route, request: dict[str, Any]) -> int:
    method = request.pop("method")
    path = URL(request.pop("path"), encoded=True)
    async with asyncio.timeout(30):
        answer = await lab.there.client.request(method, path, allow_redirects=False, **request)
        body = await answer.read()
    told = (method, str(path), request, answer.status, body[:500])
    assert answer.status < 500 or answer.status in (502, 503, 504), told
    for name in ("X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy", "X-Request-ID"):
        assert len(answer.headers.getall(name)) == 1, (name, told)
    if method in ("HEAD", "OPTIONS") and not body:
        return answer.status
    if answer.content_type == "text/event-stream":
        assert answer.status == 200
        for line in body.decode().split("\n"):
            if line.startswith("data: {"):
                json.loads(line[6:])
        return answer.status
    if answer.status == 304:
        assert body == b"" and answer.headers["ETag"], told
        return answer.status
    if answer.status == 200 and (
        route.path.startswith("/api/files/")
        or answer.content_type in ("text/csv", "application/zip")
        or (route.path, answer.content_type) in (("/docs", "text/html"), ("/metrics", "text/plain"))
    ):
        return answer.status
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8", told
    said = msgspec.json.decode(body)
    if answer.status >= 400 and path.path.startswith("/v1/messages"):
        assert said["type"] == "error" and {"type", "message"} <= said["error"].keys(), told
    elif answer.status >= 400 and path.path.startswith("/v1/"):
        assert {"message", "type", "param", "code"} <= said["error"].keys(), told
    elif answer.status >= 400:
        assert said["success"] is False and said["error"] == said["message"] != "", told
        assert any("\u4e00" <= character <= "\u9fff" for character in said["error"]), told
    for word in ("Traceback", "sqlite", "msgspec", "object at 0x", 'File "'):
        assert answer.status < 400 or word not in body.decode(), told
    return answer.status


def requests_of(route: Route) -> st.SearchStrategy[dict[str, Any]]:
    names = world.parameters(route)
    path = st.tuples(*[st.just("OWN") | st.sampled_from(IDS)] * len(names)).map(
        lambda ids: world.path_of(route, dict(zip(names, ids, strict=True)))
    )
    return st.fixed_dictionaries(
        {
            "who": st.sampled_from(CALLERS[route.access]),
            "method": st.sampled_from([route.method] * 15 + ["HEAD", "PATCH", "OPTIONS"]),
            "path": path,
            "data": bodies(route) if route.method in ("POST", "PUT", "PATCH") else st.none(),
            "params": queries(route),
            "headers": headers,
        }
    )


@pytest.mark.parametrize("route", ROUTES, ids=[f"{route.method} {route.path}" for route in ROUTES])
def test_random_request_gets_a_response_of_the_documented_form(lab: Lab, route: Route) -> None:
    @EXAMPLES
    @given(requests_of(route))
    def run(request: dict[str, Any]) -> None:
        caller = lab.there.headers[request.pop("who")]
        query = request.pop("params")
        for name in world.parameters(route):
            own = (
                lab.there.owned["answer_id" if "stream" in route.path else name]
                if name in lab.there.owned
                else 2
            )
            request["path"] = request["path"].replace("OWN", str(own))
        request["path"] = (
            str(URL(request["path"], encoded=True).with_query(query)) if query else request["path"]
        )
        request["headers"] = {"Content-Type": "application/json", **request["headers"], **caller}
        lab.log.clear()
        try:
            status = lab.runner.run(check(lab, route, request))
        except aiohttp.ClientError as error:
            raise AssertionError(f"no answer to {request}") from error
        lab.statuses[f"{route.method} {route.path}"].add(status)
        if caller and (status == 401 or "/users" in route.path or "/auth/" in route.path):
            lab.restore()
        # aiohttp's own text for an invalid body is replaced where ChatHub serves
        told = [record for record in lab.log if record.name != "aiohttp.server"]
        assert not [record for record in told if record.exc_info or record.levelno >= logging.ERROR]

    lab.restore()
    run()


def test_random_requests_were_accepted_as_well_as_refused(lab: Lab) -> None:
    """Otherwise only refusals were tested."""
    if len(lab.statuses) < len(ROUTES):
        pytest.skip("some routes were left out")
    for route in (
        *("POST /api/chat", "POST /api/chat/stream", "POST /v1/chat/completions", "POST /v1/messages"),
        *("POST /api/apikeys", "POST /api/models", "PUT /api/users/profile", "POST /api/tokens"),
    ):
        assert lab.statuses[route] >= {200, 400}, route


def test_server_still_works_after_all_random_requests(lab: Lab) -> None:
    """The server answers, logs in and chats."""

    async def chat() -> None:
        there = lab.there
        lab.restore()
        body = {"message": "hi", "model": "test-model"}
        headers = there.headers["owner"]
        # another administrator restores the model that random requests changed
        response = await there.client.post("/api/chat", json=body, headers=headers)
        assert response.status in (200, 400, 429, 502), await response.text()
        for path in ("/api/health", "/api/models", "/api/conversations", "/api/stats", "/api/users/profile"):
            response = await there.client.get(path, headers=headers)
            assert response.status == 200
            await response.json()

    lab.runner.run(chat())
