"""How much a model is to think: between the words and budgets of all formats, and what refusals teach."""

import json
from typing import Any

import pytest

from chathub.formats import anthropic, gemini, openai
from chathub.formats.anthropic.client import AnthropicClient
from chathub.formats.events import Failure
from chathub.formats.messages import ChatRequest, Endpoint, Message, TextPart, Thought, ToolCall
from chathub.formats.openai.client import OpenAIClient
from chathub.formats.quirks.learning import learned
from chathub.formats.quirks.table import Quirks
from chathub.formats.reasoning.effort import fitting, lowered
from chathub.formats.registry import format_named

BASES = {
    "openai": "https://relay.example/v1",
    "anthropic": "https://relay.example/anthropic",
    "gemini": "https://relay.example/v1beta",
}
CALLED = [
    Message("user", "q"),
    Message("assistant", [Thought("hm"), TextPart("a"), ToolCall("t", "f", "{}")]),
    Message("tool", "1", tool_call_id="t"),
]


def sent(
    protocol: str,
    model: str = "m",
    quirks: Quirks | None = None,
    messages: list[Message] | None = None,
    base: str = "",
    **params: Any,
) -> dict[str, Any]:
    request = ChatRequest(
        base or BASES[protocol], model, messages or [Message("user", "q")], params=params, stream=True
    )
    return dict(json.loads(format_named(protocol).encode_request(request, quirks).body))


def asked(**fields: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}], **fields}
    return anthropic.decode_request(json.dumps(body).encode()).params


# Anthropic's fields to OpenAI's format

ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 10_000}}
SMALL = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
LARGE = {"thinking": {"type": "enabled", "budget_tokens": 31_999}}
ADAPTIVE = {"thinking": {"type": "adaptive"}}
DISABLED = {"thinking": {"type": "disabled"}}
MAX = {"output_config": {"effort": "max"}}
LARGE32 = {"thinking": {"type": "enabled", "budget_tokens": 32_000}}


@pytest.mark.parametrize(
    ("base", "model", "fields", "expected"),
    [
        ("", "m", SMALL, {"reasoning_effort": "low"}),
        ("", "m", ENABLED, {"reasoning_effort": "medium"}),
        ("", "m", LARGE, {"reasoning_effort": "high"}),
        ("", "m", ADAPTIVE, {"reasoning_effort": "medium"}),
        ("", "m", ADAPTIVE | MAX, {"reasoning_effort": "high"}),
        ("", "m", {"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ("", "m", DISABLED, {}),
        ("https://api.openai.com/v1", "gpt-5.2", MAX, {"reasoning_effort": "xhigh"}),
        ("https://api.openai.com/v1", "gpt-5.2", DISABLED, {"reasoning_effort": "none"}),
        ("https://api.openai.com/v1", "o3", DISABLED, {}),
        (
            "https://api.deepseek.com",
            "m",
            ENABLED,
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        ),
        ("https://api.deepseek.com", "m", DISABLED, {"thinking": {"type": "disabled"}}),
        ("https://api.moonshot.cn/v1", "m", ENABLED, {"thinking": {"type": "enabled"}}),
        ("https://open.bigmodel.cn/api/paas/v4", "m", ADAPTIVE, {"thinking": {"type": "enabled"}}),
        (
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "qwen-plus",
            ENABLED,
            {"enable_thinking": True, "thinking_budget": 10_000},
        ),
        ("https://api.siliconflow.cn/v1", "m", DISABLED, {"enable_thinking": False}),
        ("https://openrouter.ai/api/v1", "m", ENABLED, {"reasoning": {"max_tokens": 10_000}}),
        ("https://openrouter.ai/api/v1", "m", ADAPTIVE | MAX, {"reasoning": {"effort": "xhigh"}}),
        ("https://openrouter.ai/api/v1", "m", ADAPTIVE, {"reasoning": {"enabled": True}}),
        ("https://openrouter.ai/api/v1", "m", DISABLED, {"reasoning": {"enabled": False}}),
        ("https://api.mistral.ai/v1", "m", ENABLED, {}),
    ],
)
def test_thinking_becomes_the_field_that_the_provider_knows(
    base: str, model: str, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = sent("openai", model, base=base, **asked(**fields))
    known = ("thinking", "reasoning_effort", "enable_thinking", "thinking_budget", "reasoning", "effort")
    assert {name: body[name] for name in known if name in body} == expected


def test_the_effort_of_openais_clients_is_not_changed_for_openais_format() -> None:
    for word in ("none", "minimal", "xhigh", "odd"):
        assert sent("openai", reasoning_effort=word)["reasoning_effort"] == word


# to Anthropic


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "low"},
            ({"type": "enabled", "budget_tokens": 4096}, None),
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "xhigh"},
            ({"type": "enabled", "budget_tokens": 32_000}, None),
        ),
        ("claude-sonnet-4-5", {"reasoning_effort": "none"}, (None, None)),
        ("claude-sonnet-4-5", {"reasoning_effort": "odd"}, (None, None)),
        ("claude-opus-4-6", {"reasoning_effort": "high"}, ({"type": "adaptive"}, {"effort": "high"})),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, ({"type": "adaptive"}, {"effort": "high"})),
        ("claude-opus-4-7", {"reasoning_effort": "xhigh"}, ({"type": "adaptive"}, {"effort": "xhigh"})),
        ("claude-opus-4-7", {"reasoning_effort": "minimal"}, ({"type": "adaptive"}, {"effort": "low"})),
        ("claude-opus-4-7", ENABLED, ({"type": "adaptive"}, {"effort": "medium"})),
        ("claude-opus-5", {"reasoning_effort": "none"}, ({"type": "disabled"}, None)),
        ("claude-sonnet-4-5", ADAPTIVE, ({"type": "adaptive"}, None)),
        ("claude-opus-4-5", {"effort": "low"}, (None, {"effort": "low"})),
    ],
)
def test_effort_becomes_anthropics_settings(model: str, params: dict[str, Any], expected: Any) -> None:
    body = sent("anthropic", model, **params)
    assert (body.get("thinking"), body.get("output_config")) == expected
    thinks = (body.get("thinking") or {}).get("budget_tokens", 0)
    assert body["max_tokens"] > thinks


@pytest.mark.parametrize(
    ("max_tokens", "budget"), [(1000, None), (2000, None), (2048, 1024), (4096, 3072), (100_000, 24_000)]
)
def test_budget_of_an_effort_fits_in_the_requested_length(max_tokens: int, budget: int | None) -> None:
    body = sent("anthropic", "claude-sonnet-4-5", reasoning_effort="high", max_tokens=max_tokens)
    assert body["max_tokens"] == max_tokens
    assert (body.get("thinking") or {}).get("budget_tokens") == budget


def test_a_lower_limit_lowers_the_budget() -> None:
    for most in (*range(1, 3000, 7), 16_000, 31_000, 32_000):
        params = lowered({"max_tokens": 32_000, **LARGE}, most)
        thinking = params.get("thinking")
        assert params["max_tokens"] == most
        if thinking is None:
            assert fitting(31_999, most) == 0 and most < 2048
        else:
            assert 1024 <= thinking["budget_tokens"] < most
    # nothing was lowered
    assert lowered({"max_tokens": 32_000, **LARGE}, 32_000)["thinking"] == LARGE["thinking"]
    assert lowered({"max_tokens": 9000, **ADAPTIVE}, 10)["thinking"] == ADAPTIVE["thinking"]


BUDGETS: list[dict[str, Any]] = [
    {"thinking": {"type": "enabled", "budget_tokens": 20_000}},
    {"reasoning": {"max_tokens": 20_000, "exclude": True}},
    {"enable_thinking": True, "thinking_budget": 20_000},
]
OFF: list[dict[str, Any]] = [
    {"thinking": {"type": "disabled"}},
    {"reasoning": {"enabled": False}},
    {"enable_thinking": False},
]


def forwarded(client: Any, body: dict[str, Any], cap: int | None, quirks: Quirks | None = None) -> Any:
    """The body of a forwarded request whose length is capped."""
    whole = {"model": "m", "messages": [{"role": "user", "content": "q"}], **body}
    made = client(json.dumps(whole).encode())
    at = Endpoint("https://x.example/v1", wire_format=made.wire_format)
    sent = made.forwarded(made.fields, at, "m", {}, quirks or Quirks(), cap, stream=False)
    return json.loads(sent.body)


@pytest.mark.parametrize(("fields", "off"), [*zip(BUDGETS, OFF, strict=True)], ids=str)
def test_a_lower_limit_lowers_the_budgets_of_forwarded_bodies(
    fields: dict[str, Any], off: dict[str, Any]
) -> None:
    for asked in ({"max_tokens": 32_000}, {"max_completion_tokens": 32_000}, {}):
        lowered_body = forwarded(OpenAIClient, {**fields, **asked}, 16_000)
        (name,) = asked or {"max_tokens": 0}
        assert lowered_body[name] == 16_000 and "12000" in str(lowered_body)
        assert {**forwarded(OpenAIClient, {**fields, **asked}, 1500), **off} == forwarded(
            OpenAIClient, {**fields, **asked}, 1500
        )
        assert "20000" not in str(forwarded(OpenAIClient, {**fields, **asked}, 1500))


@pytest.mark.parametrize("fields", BUDGETS, ids=str)
def test_budgets_of_forwarded_bodies_stay_where_they_fit(fields: dict[str, Any]) -> None:
    for asked, cap in ((32_000, None), (32_000, 32_000), (64_000, 40_000), (10_000, 10_000)):
        body = forwarded(OpenAIClient, {**fields, "max_tokens": asked}, cap)
        assert {name: body[name] for name in fields} == fields
    small = {"enable_thinking": True, "thinking_budget": 100}
    body = forwarded(OpenAIClient, {**small, "max_tokens": 9000}, 3000)
    assert body["thinking_budget"] == 100 and body["enable_thinking"] is True


def test_fields_for_thinking_of_any_type_are_left_to_the_provider() -> None:
    odd = {"thinking": "yes", "reasoning": {"max_tokens": "9"}, "thinking_budget": True, "max_tokens": 9000}
    body = forwarded(OpenAIClient, odd, 10)
    assert body == {**body, **odd, "max_tokens": 10}


@pytest.mark.parametrize(
    ("quirks", "fields", "expected"),
    [
        (Quirks(thinks_adaptively=True), ENABLED, ADAPTIVE | {"output_config": {"effort": "medium"}}),
        (Quirks(thinks_adaptively=True), ENABLED | MAX, ADAPTIVE | MAX),
        (Quirks(thinks_adaptively=True, adaptive_efforts=()), ENABLED | MAX, ADAPTIVE),
        (Quirks(thinks_adaptively=True, takes_budget=True), ENABLED, ENABLED),
        (Quirks(), ENABLED, ENABLED),
        (Quirks(), ADAPTIVE | MAX, ADAPTIVE | MAX),
        (Quirks(refuses_adaptive=True), ADAPTIVE, ENABLED),
        (Quirks(refuses_adaptive=True, adaptive_efforts=()), ADAPTIVE | MAX, LARGE32),
        (Quirks(refuses_adaptive=True), ENABLED, ENABLED),
        (Quirks(refuses_adaptive=True), DISABLED, DISABLED),
        (Quirks(thinks_adaptively=True), MAX, MAX),
    ],
)
def test_forwarded_thinking_is_written_as_the_model_takes_it(
    quirks: Quirks, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = forwarded(AnthropicClient, {"max_tokens": 64_000, **fields}, None, quirks)
    sent = {name: body[name] for name in ("thinking", "output_config") if name in body}
    assert sent == expected and body["max_tokens"] == 64_000


def test_converted_thinking_keeps_the_other_settings_of_the_output() -> None:
    format_ = {"type": "json_schema", "schema": {"type": "object"}}
    fields = {"max_tokens": 64_000, **ENABLED, "output_config": {"format": format_}}
    body = forwarded(AnthropicClient, fields, None, Quirks(thinks_adaptively=True))
    assert body["output_config"] == {"format": format_, "effort": "medium"}
    # too short to think with a budget
    body = forwarded(AnthropicClient, {"max_tokens": 1000, **ADAPTIVE}, None, Quirks(refuses_adaptive=True))
    assert "thinking" not in body


# to Gemini


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        ("gemini-2.5-flash", {"reasoning_effort": "low"}, {"includeThoughts": True, "thinkingBudget": 4096}),
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", LARGE, {"includeThoughts": True, "thinkingBudget": 24_576}),
        ("gemini-2.5-flash", LARGE | {"max_tokens": 1000}, {"includeThoughts": True, "thinkingBudget": 750}),
        ("gemini-2.5-flash", {}, {"includeThoughts": True}),
        (
            "gemini-3-flash",
            {"reasoning_effort": "minimal"},
            {"includeThoughts": True, "thinkingLevel": "minimal"},
        ),
        ("gemini-3-pro", {"reasoning_effort": "medium"}, {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3-pro", LARGE, {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-3-pro", DISABLED, {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3-flash", ADAPTIVE | {"effort": "low"}, {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-2.0-flash", {"reasoning_effort": "high"}, None),
    ],
)
def test_effort_becomes_geminis_setting(model: str, params: dict[str, Any], expected: Any) -> None:
    body = sent("gemini", model, **params)
    assert body.get("generationConfig", {}).get("thinkingConfig") == expected


# refusals


def lesson(protocol: str, message: str, known: Quirks | None = None, **params: Any) -> dict[str, Any] | None:
    """The quirk that a refusal teaches."""
    known = known or Quirks()
    request = ChatRequest(BASES[protocol], "m", CALLED, params=params, stream=True)
    body = format_named(protocol).encode_request(request, known).body
    found = learned(Failure(message, status=400), request, known, body)
    if found is None:
        return None
    return {
        name: getattr(found, name)
        for name in found.__struct_fields__
        if getattr(found, name) != getattr(known, name)
    }


@pytest.mark.parametrize(
    "sentence",
    [
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
        "Missing `reasoning_content` field in the assistant message at message index 1.",
        "messages[1]: reasoning_content is required when thinking is enabled",
        "Missing required field: messages.1.reasoning_content",
    ],
)
def test_a_model_that_asks_for_its_reasoning_gets_it(sentence: str) -> None:
    assert lesson("openai", sentence) == {"reasoning_back": "always"}
    plain = ChatRequest(BASES["openai"], "m", [Message("user", "q")])
    body = openai.encode_request(plain).body
    assert learned(Failure(sentence, status=400), plain, Quirks(), body) is None
    message = sent("openai", quirks=Quirks(reasoning_back="always"), messages=CALLED)["messages"][1]
    assert message["reasoning_content"] == "hm"


@pytest.mark.parametrize(
    ("sentence", "fields"),
    [
        ("property 'reasoning_content' is unsupported", ()),
        ("Extra inputs are not permitted", ("messages",)),
        ("Unknown name \"reasoning_content\" at 'messages[1]': Cannot find field.", ()),
        ("Please remove the reasoning_content from your messages to reduce network traffic", ()),
    ],
)
def test_a_model_that_refuses_its_reasoning_gets_none(sentence: str, fields: tuple[str, ...]) -> None:
    known = Quirks(reasoning_back="always")
    request = ChatRequest(BASES["openai"], "m", CALLED, stream=True)
    body = openai.encode_request(request, known).body
    found = learned(Failure(sentence, status=422, fields=fields), request, known, body)
    assert found is not None and found.reasoning_back == "never"
    assert b"reasoning_content" not in openai.encode_request(request, found).body


def test_a_missing_thought_signature_is_learned() -> None:
    sentence = "Function call is missing a thought_signature in functionCall parts."
    expected = {"signs_calls": True, "signatures_back": "always"}
    assert lesson("openai", sentence) == lesson("gemini", sentence) == expected
    (call,) = sent("openai", quirks=Quirks(signatures_back="always"), messages=CALLED)["messages"][1][
        "tool_calls"
    ]
    unsigned = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert call["extra_content"] == unsigned


@pytest.mark.parametrize(
    "sentence",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "Corrupted thought signature.",
        "The encrypted content could not be verified.",
    ],
)
def test_a_refused_signature_is_left_out_of_that_request_only(sentence: str) -> None:
    assert lesson("anthropic", sentence) == {"drops_state": True}


@pytest.mark.parametrize(
    ("protocol", "sentence", "params", "known", "expected"),
    [
        ("openai", "property 'reasoning_effort' is unsupported", ENABLED, Quirks(), {"thinking_field": ""}),
        (
            "openai",
            "Unrecognized request argument supplied: reasoning_effort",
            ENABLED,
            Quirks(),
            {"thinking_field": ""},
        ),
        (
            "openai",
            "Unsupported value: 'reasoning_effort' does not support 'medium' with this model."
            " Supported values are: 'low' and 'high'.",
            ENABLED,
            Quirks(),
            {"efforts": ("low", "high")},
        ),
        (
            "openai",
            "`reasoning_effort` must be one of `none` or `default`",
            ENABLED,
            Quirks(),
            {"efforts": ("none",)},
        ),
        (
            "openai",
            "enable_thinking is not supported by this model",
            ENABLED,
            Quirks(thinking_field="enable_thinking"),
            {"thinking_field": ""},
        ),
        (
            "openai",
            "property 'reasoning_effort' is unsupported",
            {"reasoning_effort": "low"},
            Quirks(),
            {"left_out": ("reasoning_effort",)},
        ),
        (
            "anthropic",
            '"thinking.type.enabled" is not supported for this model.'
            ' Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
            {"reasoning_effort": "low"},
            Quirks(),
            {"thinks_adaptively": True},
        ),
        (
            "anthropic",
            "adaptive thinking is not supported on this model",
            {"reasoning_effort": "low"},
            Quirks(thinks_adaptively=True),
            {"thinks_adaptively": False, "refuses_adaptive": True},
        ),
        (
            "anthropic",
            "thinking: Input tag 'adaptive' found using 'type' does not match any of the expected tags:"
            " 'disabled', 'enabled'",
            ADAPTIVE,
            Quirks(),
            {"refuses_adaptive": True},
        ),
        (
            "anthropic",
            "This model does not support the effort parameter.",
            {"reasoning_effort": "low"},
            Quirks(thinks_adaptively=True),
            {"adaptive_efforts": ()},
        ),
        (
            "gemini",
            "Thinking level is not supported for this model.",
            {"reasoning_effort": "low"},
            Quirks(thinking_by="level"),
            {"thinking_by": "budget"},
        ),
        (
            "gemini",
            "Thinking level MINIMAL is not supported for this model.",
            {"reasoning_effort": "minimal"},
            Quirks(thinking_by="level"),
            {"levels": ("low", "medium", "high")},
        ),
        (
            "gemini",
            "Budget 0 is invalid. This model only works in thinking mode.",
            {"reasoning_effort": "none"},
            Quirks(thinking_by="budget"),
            {"thinking_by": ""},
        ),
    ],
)
def test_refusals_teach_how_a_model_is_asked_to_think(
    protocol: str, sentence: str, params: dict[str, Any], known: Quirks, expected: Any
) -> None:
    # results without thinking before them would switch it off
    request = ChatRequest(BASES[protocol], "m", [Message("user", "q")], params=params, stream=True)
    body = format_named(protocol).encode_request(request, known).body
    found = learned(Failure(sentence, status=400), request, known, body)
    assert found is not None
    changed = {name: getattr(found, name) for name in found.__struct_fields__}
    assert {name: value for name, value in changed.items() if value != getattr(known, name)} == expected


def test_gemini_without_thoughts_has_no_config() -> None:
    assert "generationConfig" not in json.loads(
        gemini.encode_request(ChatRequest(BASES["gemini"], "gemini-2.0-flash", [Message("user", "q")])).body
    )
