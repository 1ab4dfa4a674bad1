"""The table of quirks, and the registry of provider formats."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from chathub import formats
from chathub.formats import anthropic, gemini, openai
from chathub.formats.messages import ChatRequest, Message
from chathub.formats.quirks.table import Quirks, quirks_of
from chathub.formats.registry import PROVIDER_FORMATS, format_named, wire_format_of

DASHSCOPE = "dashscope.aliyuncs.com"
DEFAULT = Quirks()


def test_unlisted_provider_or_model_has_no_quirks() -> None:
    assert quirks_of("relay.example", "deepseek-chat") == DEFAULT
    assert quirks_of("api.mistral.ai.evil.example", "m") == quirks_of("evilmistral.ai", "m") == DEFAULT
    assert quirks_of("openrouter.ai", "openai/o3") == quirks_of("openrouter.ai", "o3")
    assert quirks_of("openrouter.ai", "o3").max_tokens_field == "max_tokens"


OF_THINKING = (
    "reasoning_back",
    "signatures_back",
    "details_back",
    "thinking_field",
    "efforts",
    "thinks_adaptively",
    "adaptive_efforts",
    "thinks_unasked",
    "thinking_by",
    "levels",
)
OF_RESPONSES = ("responses", "encrypts_reasoning")


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
        (DASHSCOPE, "qwen3-omni-flash", {"streams_only": True, "gives_media": True}),
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
        ("g.example", "gemini-2.5-flash-preview-tts", {"gives_media": True}),
        ("api.openai.com", "gpt-4o-audio-preview", {"gives_media": True}),
        ("g.example", "gemini-3-pro-preview", {"includes_thoughts": True, "signs_calls": True}),
        ("g.example", "gemini-flash-latest", {"includes_thoughts": True, "signs_calls": True}),
        ("generativelanguage.googleapis.com", "gemma-3-4b-it", {"system_role": "user"}),
    ],
)
def test_matching_rows_are_merged(host: str, model: str, expected: dict[str, Any]) -> None:
    # OpenAI itself refuses unknown fields
    own = host == "api.openai.com" or host.endswith(("openai.azure.com", "services.ai.azure.com"))
    usual: dict[str, Any] = {"takes_extensions": False, "most_stops": 4} if own else {}
    usual |= {"takes_cache_key": True} if host == "api.openai.com" else {}
    usual |= {"takes_marks": True} if host.endswith("aliyuncs.com") or "claude" in model else {}
    if host == "generativelanguage.googleapis.com":
        usual = {"most_stops": 5}
    others = {*OF_THINKING, *OF_RESPONSES}
    found, wanted = asdict(quirks_of(host, model)), asdict(Quirks(**usual, **expected))
    assert all(found[name] == wanted[name] for name in found if name not in others)


@pytest.mark.parametrize(
    ("host", "model", "having", "encrypts"),
    [
        ("api.openai.com", "gpt-4o", "offered", False),
        ("api.openai.com", "gpt-5.2-codex", "offered", True),
        ("api.openai.com", "codex-mini-latest", "offered", True),
        ("api.openai.com", "gpt-5-chat-latest", "offered", False),
        ("x.openai.azure.com", "o4-mini", "offered", True),
        ("api.x.ai", "grok-4-0709", "offered", True),
        ("api.x.ai", "grok-4-fast-non-reasoning", "offered", False),
        ("openrouter.ai", "openai/gpt-5", "offered", True),
        ("openrouter.ai", "deepseek/deepseek-r1", "offered", False),
        ("api.groq.com", "openai/gpt-oss-120b", "offered", False),
        ("api.deepseek.com", "deepseek-chat", "missing", False),
        ("api.moonshot.cn", "kimi-k2", "missing", False),
        ("api.siliconflow.cn", "m", "missing", False),
        ("open.bigmodel.cn", "glm-5", "missing", False),
        ("relay.example", "gpt-5", "unknown", False),
    ],
)
def test_who_has_responses(host: str, model: str, having: str, encrypts: bool) -> None:
    found = quirks_of(host, model)
    assert (found.responses, found.encrypts_reasoning) == (having, encrypts)


@pytest.mark.parametrize(
    ("host", "model", "expected"),
    [
        ("relay.example", "m", {}),
        ("api.mistral.ai", "m", {"thinking_field": ""}),
        ("api.openai.com", "o3", {}),
        ("api.openai.com", "gpt-5-mini", {"efforts": ("minimal", "low", "medium", "high")}),
        ("api.openai.com", "gpt-5.1", {"efforts": ("none", "low", "medium", "high")}),
        ("api.openai.com", "gpt-5.2", {"efforts": ("none", "low", "medium", "high", "xhigh")}),
        (DASHSCOPE, "qwen-plus", {"thinking_field": "enable_thinking"}),
        ("api.siliconflow.cn", "m", {"thinking_field": "enable_thinking"}),
        (
            "api.deepseek.com",
            "m",
            {"thinking_field": "thinking", "efforts": ("high", "max"), "reasoning_back": "always"},
        ),
        (
            "api.moonshot.cn",
            "m",
            {"thinking_field": "thinking", "efforts": (), "reasoning_back": "always"},
        ),
        (
            "ark.cn-beijing.volces.com",
            "m",
            {"thinking_field": "thinking", "efforts": ("minimal", "low", "medium", "high")},
        ),
        (
            "openrouter.ai",
            "m",
            {
                "thinking_field": "reasoning",
                "efforts": ("minimal", "low", "medium", "high", "xhigh"),
                "details_back": "always",
            },
        ),
        ("relay.example", "claude-sonnet-4-5", {}),
        ("relay.example", "claude-opus-4-6", {"thinks_adaptively": True}),
        (
            "relay.example",
            "claude-opus-4-7",
            {"thinks_adaptively": True, "adaptive_efforts": ("low", "medium", "high", "xhigh", "max")},
        ),
        (
            "relay.example",
            "claude-opus-5",
            {
                "thinks_adaptively": True,
                "adaptive_efforts": ("low", "medium", "high", "xhigh", "max"),
                "thinks_unasked": True,
            },
        ),
        ("relay.example", "gemini-2.5-pro", {"thinking_by": "budget"}),
        ("relay.example", "gemini-3-flash-preview", {"thinking_by": "level"}),
        ("relay.example", "gemini-3-pro-preview", {"thinking_by": "level", "levels": ("low", "high")}),
        (
            "generativelanguage.googleapis.com",
            "gemini-3-flash-preview",
            {"thinking_by": "level", "signatures_back": "always"},
        ),
    ],
)
def test_how_models_think_is_in_the_table(host: str, model: str, expected: dict[str, Any]) -> None:
    found, usual = asdict(quirks_of(host, model)), asdict(Quirks(**expected))
    assert {name: found[name] for name in OF_THINKING} == {name: usual[name] for name in OF_THINKING}


@pytest.mark.parametrize(
    ("base", "wire_format"),
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
def test_wire_format_is_derived_from_the_base_url(base: str, wire_format: str) -> None:
    assert wire_format_of(base) == wire_format


def test_each_wire_format_has_its_module() -> None:
    assert [format_named(name) for name in ("openai", "anthropic", "gemini")] == [
        openai,
        anthropic,
        gemini,
    ]
    with pytest.raises(KeyError):
        format_named("smtp")


def test_every_folder_that_encodes_requests_is_registered() -> None:
    folders = {path.parent.name for path in Path(formats.__file__).parent.glob("*/encode_request.py")}
    assert folders == set(PROVIDER_FORMATS)


@pytest.mark.parametrize(
    ("wire_format", "base", "url"),
    [
        ("openai", "https://api.deepseek.com", "https://api.deepseek.com/v1/models"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/models?limit=1000"),
        ("anthropic", "https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1/models?limit=1000"),
        ("gemini", "https://google.example", "https://google.example/v1beta/models?pageSize=1000"),
        ("gemini", "https://google.example/v1beta/openai/", "https://google.example/v1beta/models?pageSize=1000"),
    ],
)  # fmt: skip
def test_each_format_says_where_models_are_listed(wire_format: str, base: str, url: str) -> None:
    assert format_named(wire_format).models_url(base) == url


def test_given_quirks_override_the_table() -> None:
    call = ChatRequest("https://api.mistral.ai/v1", "m", [Message("user", "q")])
    assert b"stream_options" not in openai.encode_request(call).body
    assert b"stream_options" in openai.encode_request(call, Quirks()).body
