"""Lists of models, in the shapes that providers have for them."""

import json
from typing import Any

import pytest

from chathub.formats.listed_model import ListedModel
from chathub.formats.listed_prices import ListedPrices
from chathub.formats.model_list import models_in

DOLLAR = 1_000_000


def only(body: Any) -> ListedModel:
    """The one model of a list."""
    listed = models_in(json.dumps(body).encode())
    assert listed is not None
    (model,) = listed
    return model


def entry(**fields: Any) -> ListedModel:
    return only({"object": "list", "data": [{"id": "m", "object": "model", **fields}]})


OPENROUTER = {
    "id": "anthropic/claude-sonnet-4.5",
    "canonical_slug": "anthropic/claude-4.5-sonnet-20250929",
    "name": "Anthropic: Claude Sonnet 4.5",
    "created": 1759161676,
    "context_length": 1_000_000,
    "architecture": {
        "modality": "text+image->text",
        "input_modalities": ["text", "image", "file"],
        "output_modalities": ["text"],
    },
    "pricing": {
        "prompt": "0.000003",
        "completion": "0.000015",
        "request": "0",
        "image": "0",
        "input_cache_read": "0.0000003",
        "input_cache_write": "0.00000375",
    },
    "top_provider": {"context_length": 1_000_000, "max_completion_tokens": 64_000, "is_moderated": True},
    "supported_parameters": ["max_tokens", "tools", "tool_choice"],
}
SHAPES: dict[str, tuple[Any, ListedModel]] = {
    "openrouter": (
        {"data": [OPENROUTER]},
        ListedModel(
            "anthropic/claude-sonnet-4.5",
            "chat",
            1_000_000,
            64_000,
            True,
            True,
            ListedPrices(3 * DOLLAR, 15 * DOLLAR, 300_000, 3_750_000, 3_750_000),
        ),
    ),
    "gemini": (
        {
            "models": [
                {
                    "name": "models/gemini-2.5-flash",
                    "displayName": "Gemini 2.5 Flash",
                    "inputTokenLimit": 1_048_576,
                    "outputTokenLimit": 65_536,
                    "supportedGenerationMethods": ["generateContent", "countTokens"],
                }
            ]
        },
        ListedModel("gemini-2.5-flash", None, 1_048_576, 65_536),
    ),
    "anthropic": (
        {
            "data": [
                {
                    "type": "model",
                    "id": "claude-sonnet-4-5-20250929",
                    "display_name": "Claude Sonnet 4.5",
                    "created_at": "2025-09-29T00:00:00Z",
                    "max_input_tokens": 200_000,
                    "max_tokens": 64_000,
                    "capabilities": {"batch": {"supported": True}, "image_input": {"supported": True}},
                }
            ],
            "has_more": False,
        },
        ListedModel("claude-sonnet-4-5-20250929", None, 200_000, 64_000, True),
    ),
    "mistral": (
        {
            "data": [
                {
                    "id": "codestral-2508",
                    "capabilities": {
                        "completion_chat": True,
                        "completion_fim": True,
                        "function_calling": True,
                        "vision": False,
                    },
                    "name": "codestral-2508",
                    "max_context_length": 256_000,
                    "type": "base",
                }
            ]
        },
        ListedModel("codestral-2508", "chat", 256_000, None, False, True),
    ),
    "groq": (
        {
            "data": [
                {
                    "id": "llama-3.3-70b-versatile",
                    "active": True,
                    "context_window": 131_072,
                    "max_completion_tokens": 32_768,
                }
            ]
        },
        ListedModel("llama-3.3-70b-versatile", None, 131_072, 32_768),
    ),
    "together": (
        [
            {
                "id": "deepseek-ai/DeepSeek-V3.1",
                "type": "chat",
                "running": False,
                "context_length": 131_072,
                "pricing": {"hourly": 0, "input": 0.6, "output": 1.7, "base": 0, "finetune": 0},
            }
        ],
        ListedModel("deepseek-ai/DeepSeek-V3.1", "chat", 131_072, prices=ListedPrices(600_000, 1_700_000)),
    ),
    "moonshot": (
        {"data": [{"id": "kimi-latest", "context_length": 131_072, "supports_image_in": True}]},
        ListedModel("kimi-latest", None, 131_072, None, True),
    ),
    "vllm": (
        {
            "data": [
                {"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "root": "Qwen/Qwen3-8B", "max_model_len": 40_960}
            ]
        },
        ListedModel("Qwen/Qwen3-8B", None, 40_960),
    ),
    "lm studio": (
        {
            "data": [
                {
                    "id": "qwen2.5-vl-7b",
                    "type": "vlm",
                    "max_context_length": 32_768,
                    "capabilities": ["tool_use"],
                }
            ]
        },
        ListedModel("qwen2.5-vl-7b", "chat", 32_768, None, True, True),
    ),
    "ollama": (
        {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 2019393189}]},
        ListedModel("llama3.2:latest"),
    ),
    "llama.cpp": (
        {
            "models": [
                {"name": "gemma-3-4b", "model": "gemma-3-4b", "capabilities": ["completion", "multimodal"]}
            ],
            "object": "list",
            "data": [{"id": "gemma-3-4b", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131_072}}],
        },
        ListedModel("gemma-3-4b", None, 131_072, None, True),
    ),
    "siliconflow": (
        {"data": [{"id": "BAAI/bge-m3", "object": "model", "created": 0, "owned_by": ""}]},
        ListedModel("BAAI/bge-m3"),
    ),
    "volcengine": (
        {
            "data": [
                {
                    "id": "doubao-seed-1-8-251228",
                    "domain": "VLM",
                    "features": {"cache": {"prefix_cache": True}, "tools": {"function_calling": True}},
                    "modalities": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
                    "token_limits": {"context_window": 262_144, "max_output_token_length": 65_536},
                },
                {"id": "doubao-pro-32k-240828", "status": "Shutdown"},
            ]
        },
        ListedModel("doubao-seed-1-8-251228", "chat", 262_144, 65_536, True, True),
    ),
    "xai": (
        {
            "models": [
                {
                    "id": "grok-3",
                    "input_modalities": ["text"],
                    "output_modalities": ["text"],
                    "prompt_text_token_price": 30_000,
                    "cached_prompt_text_token_price": 7_500,
                    "completion_text_token_price": 150_000,
                }
            ]
        },
        ListedModel(
            "grok-3",
            "chat",
            supports_vision=False,
            prices=ListedPrices(3 * DOLLAR, 15 * DOLLAR, 750_000),
        ),
    ),
    "deepinfra": (
        {
            "data": [
                {
                    "id": "Qwen/Qwen3-32B",
                    "metadata": {
                        "context_length": 40_960,
                        "max_tokens": 40_960,
                        "pricing": {"input_tokens": 0.1, "output_tokens": 0.28, "cache_read_tokens": 0.02},
                        "tags": ["vision", "prompt_cache"],
                    },
                }
            ]
        },
        ListedModel(
            "Qwen/Qwen3-32B", None, 40_960, 40_960, True, None, ListedPrices(100_000, 280_000, 20_000)
        ),
    ),
    "vercel": (
        {
            "data": [
                {
                    "id": "openai/gpt-4o",
                    "type": "language",
                    "context_window": 128_000,
                    "max_tokens": 16_384,
                    "tags": ["vision"],
                    "pricing": {"input": "0.0000025", "output": "0.00001", "input_cache_read": "0.00000125"},
                }
            ]
        },
        ListedModel(
            "openai/gpt-4o",
            None,
            128_000,
            16_384,
            prices=ListedPrices(2_500_000, 10 * DOLLAR, 1_250_000),
        ),
    ),
    "xinference": (
        {
            "data": [
                {
                    "id": "qwen3",
                    "model_type": "LLM",
                    "model_ability": ["chat", "tools"],
                    "context_length": 40_960,
                }
            ]
        },
        ListedModel("qwen3", "chat", 40_960, supports_tools=True),
    ),
    "azure": (
        {
            "data": [
                {
                    "id": "text-embedding-3-small",
                    "capabilities": {"chat_completion": False, "embeddings": True},
                }
            ]
        },
        ListedModel("text-embedding-3-small", "embedding"),
    ),
    "openai": (
        {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system"}]},
        ListedModel("gpt-4o"),
    ),
}


@pytest.mark.parametrize("provider", SHAPES)
def test_lists_tell_what_they_say(provider: str) -> None:
    body, model = SHAPES[provider]
    assert only(body) == model


@pytest.mark.parametrize(
    ("fields", "model_type"),
    [
        ({"type": "rerank"}, "rerank"),
        ({"type": "transcribe"}, "audio"),
        ({"type": "embeddings"}, "embedding"),
        ({"type": "image"}, "image"),
        ({"type": "model"}, None),
        ({"architecture": {"output_modalities": ["image"]}}, "image"),
        ({"architecture": {"output_modalities": ["image", "text"]}}, "chat"),
        ({"architecture": {"output_modalities": ["embeddings"]}}, "embedding"),
        ({"supportedGenerationMethods": ["embedContent"]}, "embedding"),
        ({"supportedGenerationMethods": ["predict"]}, "image"),
        ({"supportedGenerationMethods": ["predictLongRunning"]}, "video"),
        ({"supportedGenerationMethods": ["bidiGenerateContent"]}, "audio"),
        ({"capabilities": {"completion_chat": False, "moderation": True}}, "moderation"),
        ({"capabilities": {"completion_chat": False, "ocr": True}}, "image"),
        ({"capabilities": {"audio_transcription": True}}, "audio"),
        ({"capabilities": ["embed"]}, "embedding"),
        ({"domain": "Embedding"}, "embedding"),
    ],
)
def test_types_are_read_in_the_words_of_the_list(fields: dict[str, Any], model_type: str | None) -> None:
    assert entry(**fields).model_type == model_type


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        10**9,
        10**30,
        1e300,
        True,
        "",
        "many",
        "9" * 50,
        "1e999999999",
        "-1",
        None,
        [4096],
        {"a": 1},
    ],
)
def test_absurd_lengths_are_not_known(value: Any) -> None:
    model = entry(context_length=value, max_completion_tokens=value, top_provider={"context_length": value})
    assert (model.context_window, model.max_tokens) == (None, None)


def test_the_next_place_counts_where_a_length_is_absurd() -> None:
    model = entry(context_length=0, max_model_len="32768", top_provider=7)
    assert model.context_window == 32_768


@pytest.mark.parametrize(
    "pricing",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0", "completion": "0"},
        {"prompt": "0.000001"},
        {"prompt": "0.000001", "completion": "lots"},
        {"prompt": "0.000001", "completion": "NaN"},
        {"prompt": "1e-999999999", "completion": "1e999999999"},
        {"prompt": True, "completion": False},
        {"prompt": 10**400, "completion": 10**400},
        # dollars per million tokens where per token was meant, and the other way round
        {"prompt": "2.5", "completion": "10"},
        {"input": 0.0000025, "output": 0.00001},
        {"input": 0, "output": 0, "hourly": 3},
        # paid also by the request
        {"prompt": "0.000001", "completion": "0.000001", "request": "0.005"},
        "free",
        [],
    ],
)
def test_absurd_prices_and_prices_in_part_are_none(pricing: Any) -> None:
    body = json.dumps({"data": [{"id": "m", "pricing": pricing}]}).encode()
    listed = models_in(body)
    # Python's json writes larger numbers than msgspec reads
    assert listed is None or [model.prices for model in listed] == [None]


def test_two_zeros_are_the_price_of_a_model_that_is_named_free() -> None:
    pricing = {"prompt": "0", "completion": "0"}
    body = {"data": [{"id": "qwen/qwen3:free", "pricing": pricing}]}
    assert only(body).prices == ListedPrices(0, 0)


def test_reading_the_cache_is_never_dearer_than_the_input() -> None:
    model = entry(pricing={"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.000009"})
    assert model.prices == ListedPrices(DOLLAR, 2 * DOLLAR)


def test_entries_that_are_no_models_are_left_out() -> None:
    body = {
        "data": [7, None, "m", [], {}, {"id": 3}, {"id": ""}, {"id": "off", "active": False}, {"id": "on"}]
    }
    assert only(body) == ListedModel("on")


def test_an_entry_that_cannot_be_read_is_left_out() -> None:
    assert models_in(b'{"data": [{"id": "a", "created": 1e400}, {"id": "m"}]}') == [ListedModel("m")]


def test_names_are_sorted_and_each_is_there_once() -> None:
    body = json.dumps({"data": [{"id": "b"}, {"id": "a"}, {"id": "b", "context_length": 9}]}).encode()
    assert models_in(body) == [ListedModel("a"), ListedModel("b", context_window=9)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'"a"',
        b"7",
        b'{"data": 7}',
        b'{"data": {"id": "m"}}',
        b'{"data": ["\xff"]}',
        b'{"data":[' + b"[" * 100_000,
        # four megabytes of small things
        b'{"data":[' + b"1," * 2_000_000 + b"1]}",
        b'{"data":[' + b"{}," * 1_300_000 + b"{}]}",
    ],
    ids=range(10),
)
def test_what_is_no_list_of_models_is_told_at_once(body: bytes) -> None:
    assert models_in(body) is None


def test_a_list_without_models_is_empty() -> None:
    for body in (b'{"object":"list","data":null}', b'{"data":[]}', b"[]", b"{}"):
        assert models_in(body) == []


def test_an_immense_entry_is_left_out() -> None:
    body = {"data": [{"id": "big", "description": "x" * 70_000}, {"id": "m"}]}
    assert only(body) == ListedModel("m")


# prices of units, in millionths for a million


@pytest.mark.parametrize(
    ("item", "model_type", "units"),
    [
        ({"type": "image", "pricing": {"image": "0.04"}}, "image", {"image": 40_000 * DOLLAR}),
        (
            {
                "type": "image",
                "pricing": {
                    "image_dimension_quality_pricing": [
                        {"size": "default", "cost": "0.05"},
                        {"size": "1024x1024", "quality": "high", "cost": "0.1"},
                        {"size": "4K", "cost": "nothing"},
                    ]
                },
            },
            "image",
            {"image": 50_000 * DOLLAR, "image/1024x1024/high": 100_000 * DOLLAR},
        ),
        (
            {"type": "speech", "pricing": {"input": "0.1", "speech_input_character_cost": "0.000015"}},
            "audio",
            {"character": 15 * DOLLAR},
        ),
        (
            {"type": "transcription", "pricing": {"transcription_duration_cost_per_second": "0.0001"}},
            "audio",
            {"second": 100 * DOLLAR},
        ),
        (
            {"metadata": {"tags": ["image-gen"], "pricing": {"per_image_unit": 0.0005}}},
            "image",
            {"image": 500 * DOLLAR},
        ),
        (
            {"metadata": {"tags": ["tts"], "pricing": {"input_characters": 7}}},
            "audio",
            {"character": 7 * DOLLAR},
        ),
        # xAI
        ({"image_price": 200_000_000}, "image", {"image": 20_000 * DOLLAR}),
    ],
)
def test_prices_of_units_are_read(item: dict[str, Any], model_type: str, units: dict[str, int]) -> None:
    model = entry(**item)
    assert (model.model_type, model.units) == (model_type, units)


@pytest.mark.parametrize(
    "pricing",
    [
        {},
        {"image": "0"},
        {"image": "-1"},
        {"image": 10**9},
        {"image": True},
        {"image": {}},
        {"image": "1e999999999"},
        # of an image in a prompt
        {"prompt": "0.000001", "completion": "0.000002", "image": "0.004"},
        # a style that is no size or quality may cost more
        {"image": "0.04", "image_dimension_quality_pricing": [{"style": "vector", "cost": "0.08"}]},
        {"image_dimension_quality_pricing": [7, None]},
        {"image_dimension_quality_pricing": {"cost": "0.1"}},
        {"image_dimension_quality_pricing": [{"size": ["x"], "cost": []}]},
    ],
)
def test_other_prices_are_none_of_units(pricing: Any) -> None:
    model = entry(type="image", pricing=pricing)
    assert model.units is None
