"""The table of what providers and models want otherwise, and what a refusal teaches."""

from typing import Any

import pytest

from chathub.upstream.dialects import anthropic, dialect, gemini, openai
from chathub.upstream.dialects.capabilities import Capabilities, learned, of, protocol_of
from chathub.upstream.types import ChatCall, Failure, Message

DASHSCOPE = "dashscope.aliyuncs.com"
DEFAULT = Capabilities()


def test_what_the_table_does_not_name_is_ordinary() -> None:
    assert of("api.deepseek.com", "deepseek-chat") == DEFAULT
    assert of("api.mistral.ai.evil.example", "m") == of("evilmistral.ai", "m") == DEFAULT
    assert of("openrouter.ai", "openai/o3") == of("openrouter.ai", "o3") == DEFAULT


@pytest.mark.parametrize(
    ("host", "model", "expected"),
    [
        ("mistral.ai", "m", {"stream_options": False}),
        ("api.mistral.ai", "m", {"stream_options": False}),
        ("api.perplexity.ai", "sonar", {"stream_options": False}),
        ("x.openai.azure.com", "gpt-4o", {"key_header": "api-key"}),
        ("x.services.ai.azure.com", "grok", {"key_header": "api-key"}),
        ("api.openai.com", "gpt-4o", {}),
        ("api.openai.com", "o10", {}),
        ("api.openai.com", "gpt-50", {}),
        ("api.openai.com", "o3", {"max_tokens_field": "max_completion_tokens", "sends_temperature": False}),
        (
            "api.openai.com",
            "gpt-5",
            {"max_tokens_field": "max_completion_tokens", "sends_temperature": False},
        ),
        ("api.openai.com", "gpt-5.2", {"max_tokens_field": "max_completion_tokens"}),
        ("api.openai.com", "gpt-5-chat-latest", {"max_tokens_field": "max_completion_tokens"}),
        (
            "x.openai.azure.com",
            "o1-mini",
            {
                "key_header": "api-key",
                "max_tokens_field": "max_completion_tokens",
                "sends_temperature": False,
                "system_role": "user",
            },
        ),
        (DASHSCOPE, "qwen-plus", {}),
        (DASHSCOPE, "qwen3-32b", {"thinking_off_when_not_streaming": True}),
        ("dashscope-intl.aliyuncs.com", "qwen3-235b-a22b", {"thinking_off_when_not_streaming": True}),
        ("api-inference.modelscope.cn", "Qwen/Qwen3-8B", {"thinking_off_when_not_streaming": True}),
        (DASHSCOPE, "qwen3-235b-a22b-instruct-2507", {}),
        (DASHSCOPE, "qwen3-235b-a22b-thinking-2507", {"streams_only": True}),
        (DASHSCOPE, "qwq-plus", {"streams_only": True}),
        (DASHSCOPE, "qwen3-omni-flash", {"streams_only": True}),
        ("api.siliconflow.cn", "Qwen/QwQ-32B", {}),
        ("api.anthropic.com", "claude-3-opus-20240229", {"default_max_tokens": 4096}),
        ("api.anthropic.com", "claude-3-5-haiku-latest", {}),
        ("api.anthropic.com", "claude-3-7-sonnet-latest", {"default_max_tokens": 32000}),
        ("relay.example", "anthropic/claude-sonnet-4-5", {"default_max_tokens": 32000}),
        ("api.anthropic.com", "claude-haiku-4-5-20251001", {"default_max_tokens": 32000}),
        ("api.anthropic.com", "claude-opus-4-20250514", {"default_max_tokens": 32000}),
        ("api.anthropic.com", "claude-opus-4-7", {"default_max_tokens": 32000, "sends_temperature": False}),
        ("api.anthropic.com", "claude-sonnet-5", {"default_max_tokens": 32000, "sends_temperature": False}),
        ("g.example", "gemini-2.0-flash", {}),
        ("g.example", "gemini-2.5-flash", {"includes_thoughts": True}),
        ("g.example", "gemini-2.5-flash-preview-tts", {}),
        ("g.example", "gemini-3-pro-preview", {"includes_thoughts": True, "signs_calls": True}),
        ("g.example", "gemini-flash-latest", {"includes_thoughts": True, "signs_calls": True}),
        ("generativelanguage.googleapis.com", "gemma-3-4b-it", {"system_role": "user"}),
    ],
)
def test_the_rows_are_merged(host: str, model: str, expected: dict[str, Any]) -> None:
    # OpenAI itself refuses what it does not know
    own = host == "api.openai.com" or host.endswith(("openai.azure.com", "services.ai.azure.com"))
    assert of(host, model) == Capabilities(**({"takes_extensions": False} if own else {}), **expected)


@pytest.mark.parametrize(
    ("base", "protocol"),
    [
        ("https://api.anthropic.com", "anthropic"),
        ("https://API.Anthropic.com./v1/", "anthropic"),
        ("https://api.anthropic.com/v1/messages", "anthropic"),
        ("https://api.anthropic.com/v1/chat/completions", "openai"),
        ("https://api.deepseek.com/anthropic", "anthropic"),
        ("https://relay.example/v1/messages", "anthropic"),
        ("https://open.bigmodel.cn/api/anthropic/", "anthropic"),
        ("https://generativelanguage.googleapis.com", "gemini"),
        ("https://generativelanguage.googleapis.com/v1beta", "gemini"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "openai"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", "openai"),
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com.evil.example/v1", "openai"),
        ("http://localhost:11434", "openai"),
        ("not a url", "openai"),
        ("", "openai"),
    ],
)
def test_the_protocol_is_seen_from_the_base_url(base: str, protocol: str) -> None:
    assert protocol_of(base) == protocol


def test_each_protocol_has_its_dialect() -> None:
    assert [dialect(name) for name in ("openai", "anthropic", "gemini")] == [openai, anthropic, gemini]
    with pytest.raises(ValueError):
        dialect("smtp")


def test_what_is_given_counts_before_what_the_table_says() -> None:
    call = ChatCall("https://api.mistral.ai/v1", "m", [Message("user", "q")])
    assert b"stream_options" not in openai.build(call).body
    assert b"stream_options" in openai.build(call, Capabilities()).body


SYSTEM = [Message("system", "s"), Message("user", "q")]
EXTRA = "Extra inputs are not permitted"


def lesson(message: str, known: Capabilities = DEFAULT, status: int = 400, **fields: Any) -> Any:
    call = ChatCall("https://x", "m", fields.pop("messages", SYSTEM), **fields)
    return learned(Failure(message, status=status), call, known)


@pytest.mark.parametrize(
    ("message", "fields", "change"),
    [
        ("Unknown field: stream_options", {}, {"stream_options": False}),
        (EXTRA, {}, {"stream_options": False}),
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            {"params": {"max_tokens": 5}},
            {"max_tokens_field": "max_completion_tokens"},
        ),
        (
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.",
            {"params": {"temperature": 0.2}},
            {"sends_temperature": False},
        ),
        (
            "`temperature` is deprecated for this model.",
            {"params": {"temperature": 1}},
            {"sends_temperature": False},
        ),
        (
            "invalid temperature: only 1 is allowed for this model",
            {"params": {"temperature": 0}},
            {"sends_temperature": False},
        ),
        ("Unsupported parameter: 'top_p'", {"extra": {"top_p": 1}}, {"sends_temperature": False}),
        (
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            {},
            {"system_role": "user"},
        ),
        ("System role not supported", {}, {"system_role": "user"}),
        ("Only user and assistant roles are supported!", {}, {"system_role": "user"}),
        ("Developer instruction is not enabled for models/gemma-3-1b-it", {}, {"system_role": "user"}),
        (
            "parameter.enable_thinking must be set to false for non-streaming calls",
            {"stream": False},
            {"thinking_off_when_not_streaming": True},
        ),
        (
            "enable thinking can not be support when `stream=False`.",
            {"stream": False},
            {"thinking_off_when_not_streaming": True},
        ),
        (
            "This model only support stream mode, please enable the stream parameter to access the model.",
            {"stream": False},
            {"streams_only": True},
        ),
        (
            "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for m",
            {},
            {"default_max_tokens": 4096},
        ),
    ],
)
def test_a_refusal_that_names_a_quirk_teaches_it_once(
    message: str, fields: dict[str, Any], change: dict[str, Any]
) -> None:
    for status in (400, 422):
        assert lesson(message, status=status, **fields) == Capabilities(**change)
    for status in (0, 200, 401, 403, 404, 429, 500):
        assert lesson(message, status=status, **fields) is None
    after = Capabilities(**change)
    if "thinking_off_when_not_streaming" in change:
        after = lesson(message, after, **fields)
        assert after == Capabilities(streams_only=True)
    assert lesson(message, after, **fields) is None


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("The model `m` does not exist", {"params": {"temperature": 1, "max_tokens": 5}}),
        ("stream_options is not allowed", {"stream": False}),
        (EXTRA, {"stream": False}),
        ("temperature must be between 0 and 2", {"params": {"temperature": 3}}),
        ("'temperature' is not supported", {"params": {}}),
        ("'messages[0].role' does not support 'system'", {"messages": [Message("user", "q")]}),
        ("Unsupported content type in system message", {"messages": [Message("user", "q")]}),
        ("max_tokens: 9000 > 4096, which is the maximum", {"params": {"max_tokens": 9000}}),
        ("max_tokens: 9000 > 20000", {}),
        ("max_tokens is too large: 9000", {"params": {"max_tokens": 9000}}),
        ("This model only supports streaming", {"stream": True}),
        ("enable_thinking must be set to false for non-streaming calls", {"stream": True}),
        ("This model's maximum context length is 4097 tokens", {"params": {"max_tokens": 5}}),
    ],
)
def test_what_the_caller_did_wrong_teaches_nothing(message: str, fields: dict[str, Any]) -> None:
    assert lesson(message, **fields) is None


def test_some_lessons_start_elsewhere() -> None:
    renamed = Capabilities(max_tokens_field="max_completion_tokens")
    refusal = "Unrecognized request argument supplied: max_completion_tokens"
    assert lesson(refusal, renamed, params={"max_tokens": 5}) == DEFAULT
    developer = Capabilities(system_role="developer")
    refusal = "Unsupported value: role 'developer' is not supported"
    assert lesson(refusal, developer) == DEFAULT
    told = Capabilities(thinking_off_when_not_streaming=True)
    refusal = "The value of the enable_thinking parameter is restricted to True."
    assert lesson(refusal, told, stream=False) == Capabilities(streams_only=True)
    thoughts = Capabilities(includes_thoughts=True)
    assert lesson("Thinking is not enabled for models/gemini-x", thoughts) == DEFAULT
