"""Errors of providers in every form become one sentence without secrets."""

import json
from datetime import datetime
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chathub.formats.events import Failure
from chathub.formats.failures.error_bodies import from_body, from_error, is_error
from chathub.redaction import scrub
from chathub.text import well_formed


def read(body: Any, status: int = 400, **headers: str) -> Failure:
    return from_body(
        status, json.dumps(body).encode(), {name.replace("_", "-"): headers[name] for name in headers}
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Api key is invalid", "Api key is invalid"),
        ({"error": {"message": "m"}, "message": "not this"}, "m"),
        ({"error": {"message": {"detail": [{"msg": "inner"}]}}}, "inner"),
        ({"error": {"message": {"a": 1}}}, '{"a":1}'),
        ({"error": {"message": None, "reason": "r"}}, '{"message":null,"reason":"r"}'),
        ({"error": {"message": ""}, "message": "outer"}, "outer"),
        ({"error": "plain"}, "plain"),
        ({"error": "", "message": "m"}, "m"),
        ({"error": None, "msg": "m"}, "m"),
        ({"message": {"detail": [{"msg": "first"}, {"msg": "second"}]}}, "first"),
        ({"detail": "d"}, "d"),
        ({"detail": [{"loc": ["body"], "msg": "d"}]}, "d"),
        ({"detail": ["d"]}, "d"),
        ({"errmsg": "e"}, "e"),
        ({"error_code": 336, "error_msg": "e"}, "e"),
        ({"err": "e"}, "e"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"error": {"message": "<!DOCTYPE html><html>502</html>"}}, "HTTP 400"),
        ({"status": "fail"}, 'HTTP 400: {"status": "fail"}'),
        ({}, "HTTP 400"),
        ([], "HTTP 400"),
        (None, "HTTP 400"),
        ("", "HTTP 400"),
        ({"error": {}}, 'HTTP 400: {"error": {}}'),
        ({"message": "a\ud83d"}, "a\ufffd"),
    ],
)
def test_error_message_is_found_in_every_known_place(body: Any, message: str) -> None:
    failure = read(body)
    assert failure.message == message
    assert (failure.status, failure.kind) == (400, "refused")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP 502"),
        (b"\n \n", "HTTP 502"),
        (b"<html><head><title>502 Bad Gateway</title></head></html>", "HTTP 502"),
        (b"\r\n<!DOCTYPE html>\n<p>Cloudflare", "HTTP 502"),
        (b"<?xml version='1.0'?><Error/>", "HTTP 502"),
        (b"<center>nginx</center>", "HTTP 502"),
        (b"\x1f\x8b\x08\x00\xff", "HTTP 502"),
        ("服务不可用".encode("gbk"), "HTTP 502"),
        (b"upstream timed out\n", "HTTP 502: upstream timed out"),
        ("服务不可用".encode(), "HTTP 502: 服务不可用"),
        (b'{"error": {"message": "half', 'HTTP 502: {"error": {"message": "half'),
        (b'\xef\xbb\xbf\n\n{"message": "m"}', "m"),
        (b'{"message": "a\tb"}', "a\tb"),
    ],
)
def test_body_that_is_not_json_is_shown_only_if_readable(body: bytes, message: str) -> None:
    assert from_body(502, body, {}).message == message


def test_very_long_message_is_cut() -> None:
    assert len(read({"message": "长" * 10_000}).message) == 2000
    assert len(from_body(500, b"x" * 10_000, {}).message) == 2000


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"error": {"message": "m", "type": "t", "code": "c"}}, "t", "c"),
        ({"error": {"message": "m", "code": 402}}, None, 402),
        ({"error": {"message": "m", "status": "RESOURCE_EXHAUSTED", "code": 429}}, "RESOURCE_EXHAUSTED", 429),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "overloaded_error", None),
        ({"code": "invalid-argument", "error": "m"}, None, "invalid-argument"),
        ({"code": 20012, "message": "m", "data": None}, None, 20012),
        ({"error": {"message": "m", "code": True, "type": 5}}, None, None),
        ({"error": {"message": "m", "code": None}, "code": 7}, None, 7),
        ({"error": {"message": "m", "code": 10**30}}, None, None),
        ({"error_code": 336, "error_msg": "m"}, None, 336),
    ],
)
def test_type_and_code_are_taken_from_beside_the_message(
    body: Any, kind: str | None, code: str | int | None
) -> None:
    failure = read(body)
    assert (failure.message, failure.type, failure.code) == ("m", kind, code)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "20"}, 20),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after_ms": "0", "retry_after": "1"}, 1),
        ({"retry_after_ms": "0"}, 0),
        ({"retry_after": "-5"}, 0),
        ({"retry_after": "1e9"}, 86400),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "Thu, 01 Jan 1970 00:01:40 GMT", "date": "Thu, 01 Jan 1970 00:01:10 GMT"}, 30),
        ({"retry_after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 0),
        ({"retry_after": "Thu, 01 Jan 99999 00:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert read({"message": "m"}, 429, **headers).retry_after == seconds


def test_retry_after_date_is_converted_to_seconds() -> None:
    wait = from_body(503, b"", {"Retry-After": formatdate(usegmt=True, timeval=4102444800)}).retry_after
    assert wait == 86400


def test_retry_delay_of_gemini_is_read_from_the_body_and_a_header_overrides_it() -> None:
    body = {"error": {"message": "m", "details": [1, {"x": 2}, {"retryDelay": "48.5s"}]}}
    assert read(body).retry_after == from_error(body).retry_after == 48.5
    assert read(body, retry_after="3").retry_after == 3
    assert read({"error": {"message": "m", "details": [{"retryDelay": "99999999s"}]}}).retry_after == 86400


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"raw": '{"error":{"message":"busy","param":"temperature"}}'}, "Provider returned error: busy"),
        ({"raw": {"error": {"message": "busy"}}}, "Provider returned error: busy"),
        ({"raw": '{"errors":[{"message":"busy","code":3043}]}'}, "Provider returned error: busy"),
        ({"raw": "m is busy"}, "Provider returned error: m is busy"),
        ({"previous_errors": [{"code": 429, "message": "slow"}, {"code": 502, "message": "down"}]},
         "Provider returned error: down"),
        ({"raw": {"retryable": True}}, "Provider returned error"),
        ({"raw": "<html>Bad Gateway</html>"}, "Provider returned error"),
        ({"raw": ""}, "Provider returned error"),
        ({"raw": None, "previous_errors": "x"}, "Provider returned error"),
        ("odd", "Provider returned error"),
    ],
)  # fmt: skip
def test_reason_of_the_provider_behind_a_relay_is_read(metadata: Any, told: str) -> None:
    failure = from_error({"error": {"message": "Provider returned error", "metadata": metadata}})
    assert (failure.message, failure.told) == ("Provider returned error", told)
    assert failure.is_relayed == (told != failure.message)


def test_field_that_a_relayed_error_names_is_known() -> None:
    raw = json.dumps({"error": {"message": "no", "param": "temperature", "code": "unsupported_value"}})
    failure = from_error({"error": {"message": "Provider returned error", "metadata": {"raw": raw}}})
    assert failure.fields == ("temperature",)
    assert failure.cause is not None and failure.cause.code == "unsupported_value"


DIMENSIONS = {"model": "m", "location": "global"}


@pytest.mark.parametrize(
    ("error", "told", "words", "fields"),
    [
        (
            {"message": "invalid input error", "details": [{"loc": ["body", "tools"], "msg": "no list"}]},
            "invalid input error: tools: no list",
            (),
            ("tools",),
        ),
        (
            {"message": "m", "details": [{"code": "Bad", "target": "messages", "message": "too many"}]},
            "m: messages: too many",
            ("Bad",),
            ("messages",),
        ),
        (
            {
                "message": "filtered",
                "code": "content_filter",
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"hate": {"filtered": True}, "violence": {"filtered": False}},
                },
            },
            "filtered: ResponsibleAIPolicyViolation (hate)",
            ("ResponsibleAIPolicyViolation",),
            (),
        ),
        (
            {"message": "not valid", "details": [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]},
            "not valid: API_KEY_INVALID",
            ("API_KEY_INVALID",),
            (),
        ),
        (
            {"message": "m", "details": [{"fieldViolations": [{"field": "a.seed", "description": "n"}]}]},
            "m: a.seed: n",
            (),
            ("a",),
        ),
        (
            {"message": "m", "details": [{"violations": [{"quotaId": "D", "quotaDimensions": DIMENSIONS}]}]},
            "m: D",
            ("D", "quotaDimensions.model"),
            (),
        ),
        ({"message": "m", "details": [7, {"reason": 5, "violations": {}}], "innererror": []}, "m", (), ()),
    ],
)  # fmt: skip
def test_details_of_an_error_are_read(error: Any, told: str, words: Any, fields: Any) -> None:
    failure = from_error({"error": error}, 400)
    assert (failure.told, failure.words, failure.fields) == (told, words, fields)


@pytest.mark.parametrize(
    ("message", "moment"),
    [
        ("You will regain access on 2027-01-01 at 00:00 UTC.", "2027-01-01T00:00:00+00:00"),
        ("regain access on 2027-01-01", "2027-01-01T00:00:00+00:00"),
        ("reset at 2027-01-31T20:22:09Z", "2027-01-31T20:22:09+00:00"),
        ("reset at 2027-01-31 20:22:09 +08:00", "2027-01-31T20:22:09+08:00"),
        ("您的限额将在 2027-01-31 20:22:09 重置", "2027-01-31T20:22:09+08:00"),
        ("额度将于2027年1月31日重置", "2027-01-31T00:00:00+08:00"),
        ("renews on 2027/01/31", "2027-01-31T00:00:00+00:00"),
        ("on 2027-13-41", None),
        ("soon", None),
    ],
)
def test_renewal_of_a_quota_is_read(message: str, moment: str | None) -> None:
    expected = None if moment is None else datetime.fromisoformat(moment).timestamp()
    assert from_error({"error": {"message": message}}, 429).regains_at == expected


def test_form_of_a_body_is_known() -> None:
    assert from_body(403, b'{"error": "no"}', {}).form == "json"
    assert from_body(403, b"", {}).form == from_body(403, b"no", {}).form == "text"
    assert from_body(403, b"\n<html>", {}).form == "page"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": "m", "choices": [{}]}, True),
        ({"error": None, "choices": []}, False),
        ({"object": "error", "message": {"a": 1}}, True),
        ({"code": "InvalidParameter", "message": "m"}, True),
        ({"message": "m", "choices": [{}]}, False),
        ({"usage": {}}, False),
        ({}, False),
    ],
)
def test_error_object_is_distinguished_from_a_reply(obj: dict[str, Any], expected: bool) -> None:
    assert is_error(obj) is expected


def test_given_secrets_are_masked_longest_first() -> None:
    assert scrub("a topsecret-2 and topsecret", ["topsecret", "topsecret-2", "", " ", "a"]) == "a *** and ***"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Incorrect API key provided: sk-proj-abc*****xyz. See", "Incorrect API key provided: *** See"),
        ("bad sk_live_1234567", "bad ***"),
        ("Bearer 0a1b2c3d4e.f5a6 was refused", "*** was refused"),
        ("key=AIzaSyA1234567890 is bad", "key=*** is bad"),
        ('{"api_key":"0123456789abcdef0123"}', '{"api_key":"***"}'),
        ("token: 0123456789abcdef0123 expired", "token: *** expired"),
        ("api key is 0123456789abcdef0123", "api key is ***"),
        ("密钥：0123456789abcdef0123", "密钥：***"),
        ("Your api key: ****-key is invalid", "Your api key: ****-key is invalid"),
        ("Missing Bearer token", "Missing Bearer token"),
        ("The API key authentication_error", "The API key authentication_error"),
        ("maximum token 1000", "maximum token 1000"),
        ("a risk-based-decision1", "a risk-based-decision1"),
        ("a\r\n\tb\x00c\u2028d", "a b c d"),
        ("  ", ""),
    ],
)
def test_text_in_the_form_of_an_api_key_is_masked_and_nothing_else(text: str, scrubbed: str) -> None:
    assert scrub(text, []) == scrubbed


def test_masked_text_is_short() -> None:
    assert scrub("字" * 301, []) == "字" * 299 + "…"
    assert scrub("字" * 300, []) == "字" * 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "detail",
                    "msg",
                    "code",
                    "type",
                    "details",
                    "retryDelay",
                    "metadata",
                    "raw",
                    "previous_errors",
                    "violations",
                    "innererror",
                    "loc",
                    "err",
                    "choices",
                    "object",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.integers(100, 599), st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_random_body_is_decoded_without_an_exception(status: int, body: bytes) -> None:
    failure = from_body(status, body, {"retry-after": body.decode("latin-1")})
    assert failure.message.strip() and len(failure.message) <= 2000 and failure.status == status
    f"{failure}".encode()


@settings(deadline=None)
@given(JSON)
def test_random_error_object_is_decoded_without_an_exception(value: Any) -> None:
    for failure in (from_error(value), from_error({"error": value})):
        assert failure.message.strip()
        assert type(failure.code) in (int, str, type(None)) and type(failure.type) in (str, type(None))


def test_deeply_nested_body_is_treated_as_text() -> None:
    assert from_body(500, b"[" * 200_000, {}).message.startswith("HTTP 500")
    assert from_body(500, b'{"error":' * 100_000, {}).message.startswith("HTTP 500")


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec=None), max_size=10))
def test_repaired_text_is_valid_unicode_and_valid_text_unchanged(text: str) -> None:
    mended = well_formed(text)
    mended.encode()
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert mended == text


SECRET = st.text(alphabet="abcXYZ0189", min_size=4, max_size=8)


@settings(deadline=None)
@given(st.text(alphabet="abcXYZ0189 \n:=", max_size=400), st.lists(SECRET, max_size=3))
def test_masked_text_contains_no_secret(text: str, secrets: list[str]) -> None:
    result = scrub(text + "".join(secrets), secrets)
    assert len(result) <= 300 and "\n" not in result
    assert not any(secret in result for secret in secrets)
