"""The class of a failure: decided by status and code, never by words that the request itself contained."""

import json
from typing import Any

import pytest

from chathub.formats import failures
from chathub.formats.echoes import repeats, windows
from chathub.formats.events import Failure
from chathub.formats.failure_class import another_may_help, class_of, reason_for
from chathub.formats.messages import Endpoint
from chathub.sentences import Reason


def refusal(status: int, body: Any) -> Failure:
    return failures.from_body(status, json.dumps(body).encode(), {})


def said(status: int, message: str, **fields: Any) -> Failure:
    return refusal(status, {"error": {"message": message, **fields}})


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (said(401, "whatever"), "invalid_key"),
        (said(403, "whatever"), "transient"),
        (said(403, "whatever", code="invalid_api_key"), "invalid_key"),
        (said(400, "whatever", type="authentication_error"), "invalid_key"),
        (
            said(400, "API key not valid. Please pass a valid API key."),
            "invalid_key",
        ),
        (said(400, "API key expired. Please renew the API key."), "invalid_key"),
        (refusal(400, {"code": "invalid-argument", "error": "Incorrect API key provided."}), "invalid_key"),
        (refusal(400, {"message": "无效的密钥"}), "invalid_key"),
        (said(402, "whatever"), "no_credit"),
        (said(429, "whatever", code="insufficient_quota"), "no_credit"),
        (
            refusal(403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
            "no_credit",
        ),
        (said(400, "Your credit balance is too low to access the Anthropic API."), "no_credit"),
        (said(400, "余额不足"), "no_credit"),
        (said(429, "slow down"), "rate_limited"),
        (said(413, "too large"), "invalid_request"),
        (said(422, "no"), "invalid_request"),
        (said(404, "no such model"), "invalid_request"),
        (said(403, "flagged", code="content_filter"), "invalid_request"),
        (said(500, "Incorrect API key provided"), "transient"),
        (said(422, "Incorrect API key provided"), "invalid_request"),
        (Failure("x", kind="unreachable"), "transient"),
        (Failure("x", kind="no_response"), "transient"),
        (Failure("x", kind="empty", status=200), "transient"),
        (Failure("x", kind="timeout"), "timeout"),
        (Failure("x", kind="cut", status=200), "cut"),
        (Failure("overloaded", status=200, code=502), "transient"),
        (Failure("no", status=200, code=401), "invalid_key"),
    ],
)
def test_failure_has_the_expected_class(failure: Failure, expected: str) -> None:
    assert class_of(failure) == expected
    goes_on = expected in ("invalid_key", "no_credit", "rate_limited", "transient")
    assert another_may_help(failure) == goes_on


@pytest.mark.parametrize(
    "words", ["incorrect api key", "Insufficient Balance", "余额不足", "your account is in arrear"]
)
@pytest.mark.parametrize("sentence", ["Unknown parameter: '{}'.", "'{}' is odd", "{} is odd, bad field"])
def test_words_in_mid_sentence_do_not_decide_the_class(words: str, sentence: str) -> None:
    failure = said(400, sentence.format(words), type="invalid_request_error", param=words)
    if sentence.startswith("{}"):
        failure = Failure(failure.message, status=400, echoed=True)
    assert class_of(failure) == "invalid_request"


@pytest.mark.parametrize(
    ("sent", "repeated"),
    [
        ({"incorrect api key - pay": 1}, True),
        ({"tools": [{"name": "INCORRECT  api\tKEY"}]}, True),
        ({"x": "…orrect api key…"}, True),
        ({"x": "incorrect"}, False),
        ({"x": "what is an api key?"}, False),
        ({}, False),
    ],
)
def test_request_contains_a_phrase_if_twelve_characters_are_in_both(sent: Any, repeated: bool) -> None:
    for body in (json.dumps(sent), json.dumps(sent, ensure_ascii=False)):
        assert repeats(body.encode(), windows("Incorrect API key", 12)) == repeated


def test_escaped_and_distant_words_are_found() -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in "incorrect api key")
    for start in (0, 65_500, 65_536, 200_000):
        body = b'{"x":"' + b"." * start + escaped.encode() + b'"}'
        assert repeats(body, windows("Incorrect API key", 12)), start
        assert not repeats(body, ["incorrect api keys"]), start


def test_short_phrase_is_compared_as_a_whole() -> None:
    assert windows("余额不足", 12) == ["余额不足"]
    assert repeats(json.dumps({"stop": "余额不足"}).encode(), windows("余额不足", 12))


def test_failure_of_another_users_api_key_is_reported_in_our_own_words() -> None:
    failure = said(401, "Incorrect API key provided: pay at http://evil.example")
    own, others = Endpoint("https://x", "sk-x"), Endpoint("https://x", "sk-x", is_own=False)
    assert "evil.example" in reason_for(failure, own, []).text("en")
    assert reason_for(failure, others, []) == Reason("key_of_other_refused")
    assert "your mistake" in reason_for(said(400, "your mistake"), others, []).text("zh")
