"""The meaning of a failure: decided by status and code, never by words that the request itself contained."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from chathub.formats.events import Failure
from chathub.formats.failures import error_bodies
from chathub.formats.failures.echoes import repeats, windows
from chathub.formats.failures.sentences import words_for
from chathub.formats.failures.table import TABLE, meaning_of, telling_phrase
from chathub.formats.messages import Endpoint
from chathub.sentences import Reason
from chathub.sentences.tables import ERRORS


def refusal(status: int, body: Any) -> Failure:
    return error_bodies.from_body(status, json.dumps(body).encode(), {})


def said(status: int, message: str, **fields: Any) -> Failure:
    return refusal(status, {"error": {"message": message, **fields}})


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (said(401, "whatever"), "invalid_key"),
        (said(403, "whatever"), "model_unavailable"),
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
        (said(404, "no such model"), "model_unavailable"),
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
    assert meaning_of(failure).failure_class == expected
    goes_on = expected in ("invalid_key", "no_credit", "model_unavailable", "rate_limited", "transient")
    assert (meaning_of(failure).next_step != "stop") == goes_on


@pytest.mark.parametrize(
    "words", ["incorrect api key", "Insufficient Balance", "余额不足", "your account is in arrear"]
)
@pytest.mark.parametrize("sentence", ["Unknown parameter: '{}'.", "'{}' is odd", "{} is odd, bad field"])
def test_words_in_mid_sentence_do_not_decide_the_class(words: str, sentence: str) -> None:
    failure = said(400, sentence.format(words), type="invalid_request_error", param=words)
    if sentence.startswith("{}"):
        failure = Failure(failure.message, status=400, echoed=True)
    assert meaning_of(failure).failure_class == "invalid_request"


@pytest.mark.parametrize(
    ("message", "phrase"),
    [
        ("gpt-4-and-a-long-name is not a valid model ID", "is not a valid model"),
        ("Model gpt-4-and-a-long-name does not exist", "does not exist"),
        ("Insufficient Balance", "Insufficient Balance"),
        ("The request is odd", ""),
    ],
)
def test_name_in_a_phrase_is_not_sought_in_the_request(message: str, phrase: str) -> None:
    """Every request contains the name of its model."""
    assert telling_phrase(said(400, message)) == telling_phrase(said(200, message)) == phrase


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
    assert "evil.example" in words_for(failure, own, []).text("en")
    assert words_for(failure, others, []) == Reason("upstream_invalid_key")
    assert "your mistake" in words_for(said(400, "your mistake"), others, []).text("zh")


GOOGLE = "type.googleapis.com/google.rpc."
MODEL_QUOTA = {
    "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "quotaDimensions": {"model": "m"},
}
MINUTE_QUOTA = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaDimensions": {"model": "m"}}
PROJECT_QUOTA = {"quotaId": "GenerateRequestsPerMinutePerProject"}


def quota(violation: Any) -> Failure:
    details = [{"@type": f"{GOOGLE}QuotaFailure", "violations": [violation]}]
    return refusal(
        429, {"error": {"message": "You exceeded it.", "status": "RESOURCE_EXHAUSTED", "details": details}}
    )


def relayed(status: int, raw: Any) -> Failure:
    metadata = {"raw": raw if isinstance(raw, str) else json.dumps(raw), "provider_name": "OpenAI"}
    return said(status, "Provider returned error", code=status, metadata=metadata)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        # keys
        (said(401, "no"), "upstream_invalid_key"),
        (said(400, "API key expired. Please renew the API key."), "upstream_invalid_key"),
        (said(400, "odd", details=[{"reason": "API_KEY_INVALID"}]), "upstream_invalid_key"),
        (said(403, "odd", details=[{"reason": "CONSUMER_SUSPENDED"}]), "upstream_invalid_key"),
        (said(403, "Your API key was reported as leaked."), "upstream_invalid_key"),
        (said(400, "This organization has been disabled."), "upstream_invalid_key"),
        (said(400, "API Key not found. Please pass a valid API key."), "upstream_invalid_key"),
        (said(403, "Method doesn't allow unregistered callers (callers without …)"), "upstream_invalid_key"),
        (refusal(403, {"code": "odd", "error": "API key is currently blocked: …"}), "upstream_invalid_key"),
        # credit
        (said(402, "no"), "upstream_no_credit"),
        (said(429, "no", code="insufficient_quota"), "upstream_no_credit"),
        (said(403, "no", code="AccountOverdueError"), "upstream_no_credit"),
        (said(403, "Key limit exceeded (total limit)."), "upstream_no_credit"),
        (
            said(
                400, "You have reached your specified API usage limits. You will regain access on 2027-01-01."
            ),
            "upstream_no_credit",
        ),
        (said(429, "Your team 1f has either used all available credits or …"), "upstream_no_credit"),
        (said(403, "The free tier is over", code="AllocationQuota.FreeTierOnly"), "upstream_model_quota"),
        (quota(MODEL_QUOTA), "upstream_model_quota"),
        (said(429, "the free trial quota for the m model", code="QuotaExceeded"), "upstream_model_quota"),
        (said(429, "Your quota is used up", code="quota_exceeded"), "upstream_no_credit"),
        (said(400, "The prepaid bill is overdue.", code="PrepaidBillOverdue"), "upstream_no_credit"),
        (said(403, "no", code="CommodityNotPurchased"), "upstream_no_credit"),
        (said(403, "no", code="OperationDenied.ServiceOverdue"), "upstream_no_credit"),
        (said(400, "no", code="blocked_api_access"), "upstream_no_credit"),
        (said(403, "Out of call volume quota. Quota will be …", code="403"), "upstream_no_credit"),
        (said(403, "用户额度不足", code="insufficient_user_quota"), "upstream_no_credit"),
        (said(401, "该令牌额度已用尽"), "upstream_no_credit"),
        (said(429, "no", type="insufficient_balance_error"), "upstream_no_credit"),
        (said(429, "Your prepayment credits are depleted. Please …"), "upstream_no_credit"),
        (said(429, "Your project has exceeded its monthly spending cap."), "upstream_no_credit"),
        (said(400, "You're out of extra usage. Add more …"), "upstream_no_credit"),
        (said(429, "套餐已到期", code="1309"), "upstream_no_credit"),
        # the model
        (said(403, "Project `p` does not have access to model `m`"), "model_unavailable"),
        (refusal(403, {"code": 30003, "message": "Model disabled.", "data": None}), "model_unavailable"),
        (
            refusal(400, {"code": 20012, "message": "Model does not exist.", "data": None}),
            "model_unavailable",
        ),
        (said(404, "model: claude-x", type="not_found_error"), "model_unavailable"),
        (relayed(404, {"error": {"message": "gone", "code": "model_not_found"}}), "model_unavailable"),
        (said(400, "Model Not Exist", code="invalid_request_error"), "model_unavailable"),
        (refusal(400, {"code": "InvalidParameter", "message": "Model not exist."}), "model_unavailable"),
        (said(400, "a/b is not a valid model ID", code=400), "model_unavailable"),
        (refusal(400, {"message": "Invalid model: m", "type": "invalid_model"}), "model_unavailable"),
        (said(400, "Unknown model: m", code="unknown_model"), "model_unavailable"),
        (said(429, "当前订阅套餐暂未开放权限", code="1311"), "model_unavailable"),
        (said(400, "The model m is only supported by another path"), "upstream_refused"),
        (said(404, "The model `m` has been deprecated", code="model_not_found"), "model_retired"),
        (said(400, "The model has been decommissioned", code="model_decommissioned"), "model_retired"),
        (said(410, "gone"), "model_retired"),
        (said(401, "key not allowed to access model. Tried m", code="401"), "model_unavailable"),
        (said(401, "该令牌无权使用模型 m"), "model_unavailable"),
        (said(404, "file not found"), "upstream_denied"),
        (said(404, "No endpoints found that support tool use", code=404), "upstream_denied"),
        (said(403, "Forbidden"), "upstream_denied"),
        (refusal(403, "Forbidden"), "upstream_denied"),
        # rates
        (said(429, "slowly"), "upstream_rate_limited"),
        (
            said(429, "Rate limit reached for m in organization org-1 on tokens per min"),
            "upstream_rate_limited",
        ),
        (said(429, "your organization's limit of 5 (model: m)"), "upstream_rate_limited"),
        (said(429, "Your account reached its rate limit"), "upstream_account_limited"),
        (said(429, "request reached max organization concurrency: 1"), "upstream_account_limited"),
        (said(429, "no", code="limit_requests"), "upstream_rate_limited"),
        (said(429, "no", code="AccountRateLimitExceeded"), "upstream_account_limited"),
        (said(429, "no", code="ModelAccountTpmRateLimitExceeded"), "upstream_rate_limited"),
        (quota(MINUTE_QUOTA), "upstream_rate_limited"),
        (quota(PROJECT_QUOTA), "upstream_account_limited"),
        (
            said(
                429,
                "You exceeded your quota. See https://x/error-code#token-limit",
                code="insufficient_quota",
            ),
            "upstream_rate_limited",
        ),
        # the relay's own key and credit are good
        (relayed(429, {"error": {"message": "no", "code": "insufficient_quota"}}), "upstream_rate_limited"),
        (relayed(429, "m is rate-limited, add a key to your account"), "upstream_rate_limited"),
        (relayed(502, {"error": {"message": "no", "code": "invalid_api_key"}}), "upstream_failed"),
        (relayed(401, {"error": {"message": "Incorrect API key provided"}}), "upstream_denied"),
        (relayed(402, {"error": {"message": "Insufficient Balance"}}), "upstream_denied"),
        # filters
        (said(400, "no", innererror={"code": "ResponsibleAIPolicyViolation"}), "content_filter"),
        (said(400, "no", code="DataInspectionFailed"), "content_filter"),
        (said(400, "Content Exists Risk"), "content_filter"),
        (said(400, "Output blocked by content filtering policy"), "content_filter"),
        (said(403, "no", code=403, metadata={"flagged_input": "x", "reasons": ["y"]}), "content_filter"),
        (refusal(403, {"error": "Content violates usage guidelines."}), "content_filter"),
        (relayed(400, {"error": {"message": "no", "code": "content_policy_violation"}}), "content_filter"),
        (Failure("no", status=200, type="content_filter", code="SAFETY"), "content_filter"),
        # what stands before the provider
        (
            error_bodies.from_body(403, b"<!DOCTYPE html><title>Attention Required!</title>", {}),
            "upstream_blocked",
        ),
        (error_bodies.from_body(401, b"<html>401 Authorization Required</html>", {}), "upstream_blocked"),
        (error_bodies.from_body(403, b"error code: 1010", {}), "upstream_blocked"),
        (error_bodies.from_body(200, b"<html>Please log in</html>", {}), "upstream_blocked"),
        (error_bodies.from_body(404, b"404 page not found", {}), "upstream_blocked"),
        (error_bodies.from_body(401, b"Unauthorized", {}), "upstream_invalid_key"),
        # errors inside a 200
        (said(200, "slowly", code=429), "upstream_rate_limited"),
        (said(200, "slowly", code="429"), "upstream_rate_limited"),
        (said(200, "slowly", type="rate_limit_error"), "upstream_rate_limited"),
        (said(200, "slowly", code="rate_limit_exceeded"), "upstream_rate_limited"),
        (said(200, "no", code="insufficient_quota"), "upstream_no_credit"),
        (said(200, "no", status_code=400), "upstream_refused"),
        (said(200, "no", type="invalid_request_error"), "upstream_refused"),
        (said(200, "no", type="authentication_error"), "upstream_invalid_key"),
        (said(200, "no", type="overloaded_error"), "upstream_overloaded"),
        (said(200, "Insufficient Balance"), "upstream_no_credit"),
        (said(200, "Your credit balance is too low", type="invalid_request_error"), "upstream_no_credit"),
        (said(200, "该API访问量过大", code="1305"), "upstream_rate_limited"),
        (said(200, "您的账户已达到速率限制", code="1302"), "upstream_account_limited"),
        (refusal(200, {"code": 50603, "message": "System is really busy."}), "upstream_overloaded"),
        (refusal(200, {"base_resp": {"status_code": 1002, "status_msg": "no"}}), "upstream_rate_limited"),
        (refusal(200, {"base_resp": {"status_code": 1008, "status_msg": "no"}}), "upstream_no_credit"),
        (refusal(200, {"base_resp": {"status_code": 1026, "status_msg": "no"}}), "content_filter"),
        (refusal(200, {"base_resp": {"status_code": 2049, "status_msg": "no"}}), "upstream_invalid_key"),
        (said(200, "no"), "upstream_failed"),
        # the rest
        (said(529, "Overloaded", type="overloaded_error"), "upstream_overloaded"),
        (said(500, "no"), "upstream_failed"),
        (said(400, "temperature: wrong"), "upstream_refused"),
        (Failure("no", status=302), "upstream_refused"),
        (Failure("no", kind="empty", status=200), "upstream_empty"),
        (Failure("no", kind="unreachable"), "upstream_unreachable"),
        (Failure("no", kind="no_response"), "upstream_no_response"),
        (Failure("no", kind="timeout"), "upstream_timeout"),
        (Failure("no", kind="cut"), "upstream_cut"),
        (Failure("no", kind="blank", status=200), "upstream_blank"),
        (Failure("no", kind="busy"), "server_busy"),
    ],
)
def test_failure_is_in_the_expected_row(failure: Failure, code: str) -> None:
    meaning = meaning_of(failure)
    assert meaning.code == code
    assert meaning[1:5] == TABLE[code][:4]
    assert meaning.status in (400, 404, 413, 422, 429, 502, 503, 504)
    assert meaning.chat_status in (400, 429, 502, 503, 504)


@pytest.mark.parametrize(
    ("failure", "status", "chat_status"),
    [
        (said(400, "wrong"), 400, 502),
        (said(409, "locked"), 502, 502),
        (said(413, "large"), 413, 502),
        (said(422, "wrong"), 422, 502),
        (said(200, "slowly", code=429), 429, 429),
        (said(403, "odd"), 502, 502),
        (said(403, "no access to model m", code="model_not_found"), 404, 502),
        (said(404, "odd"), 404, 502),
        (said(402, "odd"), 502, 502),
        (said(400, "Your credit balance is too low to access"), 502, 502),
        (said(429, "odd", code="insufficient_quota"), 429, 429),
        (said(403, "odd", code="content_filter"), 400, 400),
        (said(504, "odd"), 504, 504),
        (said(524, "odd"), 504, 504),
        (said(401, "odd"), 502, 502),
    ],
)
def test_failure_has_the_status_that_helps_its_client(
    failure: Failure, status: int, chat_status: int
) -> None:
    meaning = meaning_of(failure)
    assert (meaning.status, meaning.chat_status) == (status, chat_status)


@pytest.mark.parametrize(
    ("failure", "is_certain"),
    [
        (said(429, "Request too large for m on tokens per min (TPM): Limit 1, Requested 2"), False),
        (said(429, "slowly"), False),
        (said(402, "more credits, or fewer max_tokens", code=402), False),
        (said(402, "no", code="insufficient_quota"), True),
        (said(400, "Your credit balance is too low to access"), True),
        (quota(MINUTE_QUOTA), True),
        (said(404, "no", code="model_not_found"), True),
        (said(404, "file not found"), False),
        (said(404, "No such File object: model"), False),
        (said(404, "model: claude-x", type="not_found_error"), True),
        (said(404, "The model `m` does not exist"), True),
        (said(403, "Project `p` does not have access to model `m`"), True),
        (replace(said(404, "The model `m` does not exist"), echoed=True), False),
        (said(403, "no"), False),
        (said(402, "Insufficient Balance"), True),
        (said(429, "no", code="rate_limit_exceeded", type="requests"), True),
        (said(429, "no", code="rate_limit_exceeded", type="tokens"), False),
        (said(429, "no", code="limit_requests"), True),
        (said(429, "no", code="Throttling.RateQuota"), True),
        (said(429, "no", code="too_many_requests"), False),
        (said(429, "no", type="invalid_request_error"), False),
        (said(401, "no"), True),
        (said(500, "no"), False),
    ],
)
def test_only_what_no_request_can_cause_is_certain(failure: Failure, is_certain: bool) -> None:
    assert meaning_of(failure).is_certain is is_certain


def test_every_row_is_complete_and_has_a_sentence_where_it_is_about_a_key() -> None:
    for code, row in TABLE.items():
        has_rest = row.about != "nothing" and row.failure_class != "invalid_key"
        assert (row.rest is not None) == has_rest, code
        if row.failure_class in ("invalid_key", "no_credit", "rate_limited", "model_unavailable"):
            assert code in ERRORS, code
