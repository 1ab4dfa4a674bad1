"""The log: each line names its request, contains no secret and cannot imitate another line."""

import io
import json
import logging
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from chats import add_model
from hypothesis import given
from hypothesis.strategies import text as texts
from processes import ChatHub, run_to_its_end
from scripted import Provider

from chathub.log import REQUEST, Formatter, Handler, JsonFormatter
from chathub.security.vault import Binding, Vault

KEY = "canary/of+the=log"
SECRETS = [
    "Authorization: Bearer abc/def+ghi==",
    "{'authorization': 'Bearer abc/def+ghi=='}",
    "<CIMultiDictProxy('Host': 'a', 'Authorization': 'abc/def+ghi==')>",
    "b'x-api-key: abc/def+ghi=='",
    "x-goog-api-key=abc/def+ghi==",
    '{"x-api-key":"abc/def+ghi=="}',
    "Bearer abc/def+ghi==4",
    "the key 'abc0123456789/def+ghi' is wrong",
    "sk-hub-abc/def+ghi==".replace("/def+ghi==", "defghi0123456789"),
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def_ghi",
]


class Log:
    """A separate log with our formatter."""

    def __init__(self, lines: Formatter | None = None) -> None:
        self.out = io.StringIO()
        self.handler = Handler(self.out)
        self.lines = lines or Formatter()
        self.handler.setFormatter(self.lines)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.handler)

    @property
    def text(self) -> str:
        return self.out.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    yield Log()


@pytest.fixture
def json_log() -> Iterator[Log]:
    yield Log(JsonFormatter())


def fail() -> None:
    try:
        raise ValueError(f"the inner one knows {KEY}")
    except ValueError as error:
        raise RuntimeError(f"so does\nthe outer one: {KEY}") from error


def test_api_key_in_use_is_masked_in_messages_and_tracebacks(log: Log) -> None:
    vault = Vault(b"a secret of the tests, 32 bytes +")
    binding = Binding(1, 1, 1, "https://a.example.com:443")
    log.lines.secrets = Vault(b"a secret of the tests, 32 bytes +").known
    log.logger.error("not known yet: %s", KEY)
    assert KEY in log.text
    opener = Vault(b"a secret of the tests, 32 bytes +")
    opener.open(vault.seal(KEY, binding), binding)
    for knowing in (vault, opener):
        log.lines.secrets = knowing.known
        log.out.truncate(0)
        record = log.logger.makeRecord("test", logging.ERROR, "f", 1, "said %r", (KEY,), None)
        try:
            fail()
        except RuntimeError as error:
            record.exc_info = (type(error), error, error.__traceback__)
        record.stack_info = f"Stack: {KEY}"
        log.logger.handle(record)
        assert KEY not in log.text and KEY not in str(record.exc_text)
        assert "said '***'" in log.text and "the inner one knows ***" in log.text


def test_number_of_api_keys_known_to_the_log_is_limited() -> None:
    vault = Vault(b"a secret of the tests, 32 bytes +")
    for number in range(2000):
        vault.seal(f"key {number}", Binding(number, 1, 1, "https://a.example.com:443"))
    assert len(vault.known()) == 1000 and "key 1999" in vault.known()


@pytest.mark.parametrize("text", SECRETS)
def test_text_in_the_form_of_a_secret_is_masked(log: Log, text: str) -> None:
    log.logger.warning("sent %s on", text)
    assert "abc" not in log.text and "ghi" not in log.text and "***" in log.text


def test_ordinary_words_are_not_masked(log: Log) -> None:
    said = "key 12 of provider openai: HTTP 401, token bucket empty; no authorization given, risk-free"
    log.logger.info(said)
    assert said in log.text


def test_log_entry_cannot_imitate_a_second_line(log: Log) -> None:
    log.logger.error("error at %s", "/a\n2026-01-01 00:00:00,000 INFO chathub: all is well\x1b[2J\u2028x")
    assert log.text.count("\n") == 1 and "\x1b" not in log.text and "\u2028" not in log.text
    try:
        fail()
    except RuntimeError:
        log.logger.exception("failed")
    assert all(line.startswith((" ", "20")) or not line for line in log.text.split("\n"))
    assert "\nthe outer one" not in log.text


def test_log_line_names_its_request(log: Log) -> None:
    log.logger.info("nobody asked")
    token = REQUEST.set("request-7")
    log.logger.info("asked")
    REQUEST.reset(token)
    first, second = log.text.splitlines()
    assert "[-]" in first and "[request-7]" in second


@pytest.mark.parametrize("text", SECRETS)
def test_text_in_the_form_of_a_secret_is_masked_in_json(json_log: Log, text: str) -> None:
    json_log.logger.warning("sent %s on", text)
    assert "abc" not in json_log.text and "ghi" not in json_log.text and "***" in json_log.text


def test_json_line_has_the_documented_fields_and_no_secret(json_log: Log) -> None:
    key = f'{KEY} "quoted"'
    json_log.lines.secrets = lambda: [key]
    token = REQUEST.set("request-7")
    try:
        raise ValueError(f"the inner one knows {key}")
    except ValueError:
        json_log.logger.exception("密钥 %s\n2026-01-01 00:00:00,000 INFO chathub: all is well", key)
    REQUEST.reset(token)
    json_log.logger.info("nobody asked")
    first, second = json_log.objects
    assert (first["level"], first["logger"], first["request"]) == ("ERROR", "test", "request-7")
    assert first["message"] == "密钥 ***\n2026-01-01 00:00:00,000 INFO chathub: all is well"
    assert "Traceback" in first["exception"] and "the inner one knows ***" in first["exception"]
    assert set(first) == {"time", "level", "logger", "request", "message", "exception"}
    assert second["request"] is None and set(second) == set(first) - {"exception"}
    written = datetime.fromisoformat(second["time"])
    assert second["time"].endswith("Z") and abs((datetime.now(UTC) - written).total_seconds()) < 60
    assert KEY not in json_log.text and "quoted" not in json_log.text


@given(texts())
def test_any_text_becomes_one_line_of_json_without_control_characters(text: str) -> None:
    log = Log(JsonFormatter())
    log.logger.info("%s", text)
    (line,) = log.text.split("\n")[:-1]
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", line)
    said = msgspec.json.decode(line)["message"]
    assert said == text or "***" in said or any("\ud800" <= letter <= "\udfff" for letter in text)


def test_json_line_that_cannot_be_written_becomes_a_short_one_in_json(json_log: Log) -> None:
    json_log.logger.error("%d " + KEY, KEY)
    (line,) = json_log.objects
    assert line["logger"] == "chathub.log" and line["message"].endswith("could not be written: TypeError")
    assert KEY not in json_log.text


async def test_log_of_a_server_is_json_where_configured_and_its_first_line_stays(tmp_path: Path) -> None:
    async with ChatHub(tmp_path / "chathub.db", CHATHUB_LOG="json") as hub:
        assert hub.output.startswith("ChatHub listens on http://127.0.0.1:")
        hub.signal(signal.SIGTERM)
        await hub.ended()
        lines = [json.loads(line) for line in hub.errors.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


async def test_unknown_form_of_the_log_is_refused(tmp_path: Path) -> None:
    code, _, said = await run_to_its_end(tmp_path / "chathub.db", CHATHUB_LOG="xml")
    assert code == 2 and "CHATHUB_LOG: must be text or json" in said


LEAK = '''
"""ChatHub with a mistake in it: an exception that tells the key of a provider, in a request and in a task."""
import asyncio, sys
from aiohttp import web
import chathub.__main__ as program
import chathub.commands.serve as serving
from chathub.app_keys import CALLER, RESOLVER

def leaking(create):
    async def fail(request):
        candidates = request.app[RESOLVER].resolve(request[CALLER], "test-model")
        async def work():
            raise RuntimeError(f"in a task: {candidates.in_order[0].endpoints[0].api_key}")
        task = asyncio.create_task(work())
        await asyncio.wait([task])
        del task
        key = candidates.in_order[0].endpoints[0].api_key
        raise RuntimeError(f"in the request: {key} {dict(request.headers)}")

    def make(config, **options):
        app = create(config, **options)
        app.router.add_get("/api/fail", fail)
        return app

    return make

serving.create_app = leaking(serving.create_app)
sys.exit(program.main())
'''


async def test_unexpected_error_is_logged_with_place_and_request_but_without_api_keys(
    tmp_path: Path, provider: Provider
) -> None:
    class Leaking(ChatHub):
        program = tmp_path / "leak.py"

    Leaking.program.write_text(LEAK)
    async with Leaking(tmp_path / "chathub.db") as hub:
        client = await hub.client()
        login = await client.post("/api/auth/login", json={"username": "admin", "password": "admin123"})
        token = (await login.json())["token"]
        admin = {"Authorization": f"Bearer {token}"}
        await add_model(client, admin, provider.base_url)
        body = {"model_provider": "p_test_model", "api_key": KEY}
        assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
        for number in range(2):
            response = await client.get("/api/fail", headers={**admin, "X-Request-ID": f"leak-{number}"})
            assert response.status == 500 and KEY not in await response.text()
        await provider.__aexit__()
        question = {"message": "hi", "model": "test-model"}
        response = await client.post("/api/chat", json=question, headers={**admin, "X-Request-ID": "asked-1"})
        assert response.status == 502
        said = hub.errors
    lines = [line for line in said.split("\n") if line.startswith("20")]
    for number in range(2):
        (line,) = [line for line in lines if f"[leak-{number}]" in line and "/api/fail" in line]
        assert "chathub" in line
    assert "in the request: ***" in said and "in a task: ***" in said
    assert "leak.py" in said and "Traceback" in said
    assert KEY not in said and token not in said
    # lines of tasks that the request started still name it
    assert any("[asked-1]" in line and "upstream not reached" in line for line in lines)
