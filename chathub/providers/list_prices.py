"""Public list prices of late 2025, for models whose provider's list states none: in dollars, by seller. No
model has the price of another seller.

Models that cost more than their tokens (searches, pictures, sounds) are left out, unless they are paid by
units alone. Where a long prompt costs more, the price is that of a usual one.
"""

import re

from chathub.formats.listed_prices import ListedPrices
from chathub.formats.urls import hostname
from chathub.providers.prices import MILLION

# hosts of sellers; another host is of the seller that its provider is named after
_SELLERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "api.deepseek.com": "deepseek",
    "api.moonshot.cn": "moonshot",
    "api.moonshot.ai": "moonshot",
    "open.bigmodel.cn": "zhipu",
    "api.z.ai": "zhipu",
    "dashscope.aliyuncs.com": "alibaba",
    "dashscope-intl.aliyuncs.com": "alibaba",
    "qianfan.baidubce.com": "baidu",
    "ark.cn-beijing.volces.com": "doubao",
    "api.siliconflow.cn": "siliconflow",
    "api.siliconflow.com": "siliconflow",
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.x.ai": "xai",
}
# sellers whose dated names cost what the name without the date costs, if they are not in the table themselves
_DATED = ("openai", "anthropic", "google")
_DATE = re.compile(r"-(\d{4}-\d\d-\d\d|\d{8}|00\d|latest)$")


def _dollars(
    input: float,
    output: float,
    cached: float | None = None,
    cache_write: float | None = None,
    cache_write_1h: float | None = None,
) -> ListedPrices:
    """Prices in dollars per million tokens; None: as the input."""
    return ListedPrices(
        round(input * MILLION),
        round(output * MILLION),
        *(
            None if price is None else round(price * MILLION)
            for price in (cached, cache_write, cache_write_1h)
        ),
    )


def _claude(input: float, output: float) -> ListedPrices:
    """Anthropic's rule: a token read from the cache costs a tenth, one written to it 1.25 times as much, or
    twice if it is kept for an hour."""
    return _dollars(input, output, input / 10, input * 1.25, input * 2)


_P = _dollars
_GPT_5, _GPT_5_MINI, _GPT_5_2 = _P(1.25, 10, 0.125), _P(0.25, 2, 0.025), _P(1.75, 14, 0.175)
_GPT_4_TURBO = _P(10, 30)
_GROK_4_FAST = _P(0.2, 0.5, 0.05)

_PRICES = {
    "openai": {
        "gpt-5.2": _GPT_5_2,
        "gpt-5.2-chat": _GPT_5_2,
        "gpt-5.2-pro": _P(21, 168),
        "gpt-5.1": _GPT_5,
        "gpt-5.1-chat": _GPT_5,
        "gpt-5.1-codex": _GPT_5,
        "gpt-5.1-codex-max": _GPT_5,
        "gpt-5.1-codex-mini": _GPT_5_MINI,
        "gpt-5": _GPT_5,
        "gpt-5-chat": _GPT_5,
        "gpt-5-codex": _GPT_5,
        "gpt-5-mini": _GPT_5_MINI,
        "gpt-5-nano": _P(0.05, 0.4, 0.005),
        "gpt-5-pro": _P(15, 120),
        "gpt-4.5-preview": _P(75, 150, 37.5),
        "gpt-4.1": _P(2, 8, 0.5),
        "gpt-4.1-mini": _P(0.4, 1.6, 0.1),
        "gpt-4.1-nano": _P(0.1, 0.4, 0.025),
        "gpt-4o": _P(2.5, 10, 1.25),
        "gpt-4o-2024-05-13": _P(5, 15),
        "gpt-4o-mini": _P(0.15, 0.6, 0.075),
        "chatgpt-4o": _P(5, 15),
        "gpt-4-turbo": _GPT_4_TURBO,
        "gpt-4-turbo-preview": _GPT_4_TURBO,
        "gpt-4-0125-preview": _GPT_4_TURBO,
        "gpt-4-1106-preview": _GPT_4_TURBO,
        "gpt-4": _P(30, 60),
        "gpt-4-0613": _P(30, 60),
        "gpt-4-32k": _P(60, 120),
        "gpt-3.5-turbo": _P(0.5, 1.5),
        "gpt-3.5-turbo-0125": _P(0.5, 1.5),
        "gpt-3.5-turbo-1106": _P(1, 2),
        "gpt-3.5-turbo-16k": _P(3, 4),
        "gpt-3.5-turbo-instruct": _P(1.5, 2),
        "o1": _P(15, 60, 7.5),
        "o1-preview": _P(15, 60, 7.5),
        "o1-mini": _P(1.1, 4.4, 0.55),
        "o1-pro": _P(150, 600),
        "o3": _P(2, 8, 0.5),
        "o3-pro": _P(20, 80),
        "o3-mini": _P(1.1, 4.4, 0.55),
        "o4-mini": _P(1.1, 4.4, 0.275),
        "codex-mini": _P(1.5, 6, 0.375),
        "text-embedding-3-small": _P(0.02, 0),
        "text-embedding-3-large": _P(0.13, 0),
        "text-embedding-ada-002": _P(0.1, 0),
        "davinci-002": _P(2, 2),
        "babbage-002": _P(0.4, 0.4),
    },
    "anthropic": {
        "claude-opus-4-5": _claude(5, 25),
        "claude-opus-4-1": _claude(15, 75),
        "claude-opus-4-0": _claude(15, 75),
        "claude-opus-4": _claude(15, 75),
        "claude-sonnet-4-5": _claude(3, 15),
        "claude-sonnet-4-0": _claude(3, 15),
        "claude-sonnet-4": _claude(3, 15),
        "claude-haiku-4-5": _claude(1, 5),
        "claude-3-7-sonnet": _claude(3, 15),
        "claude-3-5-sonnet": _claude(3, 15),
        "claude-3-5-haiku": _claude(0.8, 4),
        "claude-3-opus": _claude(15, 75),
        "claude-3-haiku": _P(0.25, 1.25, 0.03, 0.3, 0.5),
    },
    "google": {
        "gemini-3-pro-preview": _P(2, 12, 0.2),
        "gemini-3-flash-preview": _P(0.5, 3, 0.05),
        "gemini-2.5-pro": _P(1.25, 10, 0.125),
        "gemini-2.5-flash": _P(0.3, 2.5, 0.03),
        "gemini-2.5-flash-preview-09-2025": _P(0.3, 2.5, 0.03),
        "gemini-2.5-flash-lite": _P(0.1, 0.4, 0.01),
        "gemini-2.5-flash-lite-preview-09-2025": _P(0.1, 0.4, 0.01),
        "gemini-2.0-flash": _P(0.1, 0.4, 0.025),
        "gemini-2.0-flash-lite": _P(0.075, 0.3),
        "gemini-embedding-001": _P(0.15, 0),
    },
    "deepseek": {
        "deepseek-chat": _P(0.28, 0.42, 0.028),
        "deepseek-reasoner": _P(0.28, 0.42, 0.028),
    },
    "moonshot": {
        "kimi-k2-0711-preview": _P(0.6, 2.5, 0.15),
        "kimi-k2-0905-preview": _P(0.6, 2.5, 0.15),
        "kimi-k2-thinking": _P(0.6, 2.5, 0.15),
        "kimi-k2-turbo-preview": _P(1.15, 8, 0.15),
        "kimi-k2-thinking-turbo": _P(1.15, 8, 0.15),
        "moonshot-v1-8k": _P(0.2, 2),
        "moonshot-v1-8k-vision-preview": _P(0.2, 2),
        "moonshot-v1-32k": _P(1, 3),
        "moonshot-v1-32k-vision-preview": _P(1, 3),
        "moonshot-v1-128k": _P(2, 5),
        "moonshot-v1-128k-vision-preview": _P(2, 5),
    },
    "zhipu": {
        "glm-4.7": _P(0.6, 2.2, 0.11),
        "glm-4.6": _P(0.6, 2.2, 0.11),
        "glm-4.6v": _P(0.3, 0.9, 0.05),
        "glm-4.5": _P(0.6, 2.2, 0.11),
        "glm-4.5v": _P(0.6, 1.8, 0.11),
        "glm-4.5-x": _P(2.2, 8.9, 0.45),
        "glm-4.5-air": _P(0.2, 1.1, 0.03),
        "glm-4.5-airx": _P(1.1, 4.5, 0.22),
    },
    "alibaba": {
        "qwen-max": _P(1.6, 6.4, 0.32),
        "qwen-plus": _P(0.4, 1.2, 0.08, 0.5),
        "qwen-turbo": _P(0.05, 0.2),
        "qwen-vl-max": _P(0.8, 3.2),
        "qwen-vl-plus": _P(0.21, 0.63),
        "qwq-plus": _P(0.8, 2.4),
    },
    "baidu": {"ernie-4.5-turbo-128k": _P(0.11, 0.45), "ernie-4.5-turbo-32k": _P(0.11, 0.45)},
    "doubao": {"doubao-seed-1-6-250615": _P(0.11, 1.12, 0.022)},
    "siliconflow": {
        "qwen/qwen2.5-72b-instruct": _P(0.59, 0.59),
        "qwen/qwq-32b": _P(0.15, 0.58),
        "deepseek-ai/deepseek-v3": _P(0.25, 1),
        "deepseek-ai/deepseek-r1": _P(0.5, 2.18),
    },
    "groq": {
        "llama-3.1-8b-instant": _P(0.05, 0.08),
        "llama-3.3-70b-versatile": _P(0.59, 0.79),
        "meta-llama/llama-4-maverick-17b-128e-instruct": _P(0.2, 0.6),
        "meta-llama/llama-4-scout-17b-16e-instruct": _P(0.11, 0.34),
        "openai/gpt-oss-120b": _P(0.15, 0.6, 0.075),
        "openai/gpt-oss-20b": _P(0.075, 0.3, 0.0375),
        "moonshotai/kimi-k2-instruct-0905": _P(1, 3, 0.5),
        "qwen/qwen3-32b": _P(0.29, 0.59),
    },
    "mistral": {
        "mistral-large-2411": _P(2, 6),
        "mistral-large-2512": _P(0.5, 1.5),
        "mistral-medium-2505": _P(0.4, 2),
        "mistral-medium-2508": _P(0.4, 2),
        "mistral-small-2506": _P(0.1, 0.3),
        "magistral-medium-2509": _P(2, 5),
        "magistral-small-2509": _P(0.5, 1.5),
        "codestral-2508": _P(0.3, 0.9),
        "devstral-medium-2507": _P(0.4, 2),
        "devstral-small-2507": _P(0.1, 0.3),
        "ministral-3b-2410": _P(0.04, 0.04),
        "ministral-8b-2410": _P(0.1, 0.1),
        "pixtral-large-2411": _P(2, 6),
        "pixtral-12b-2409": _P(0.15, 0.15),
        "open-mistral-nemo": _P(0.15, 0.15),
        "mistral-embed": _P(0.1, 0),
        "codestral-embed": _P(0.15, 0),
    },
    "xai": {
        "grok-4": _P(3, 15, 0.75),
        "grok-4-0709": _P(3, 15, 0.75),
        "grok-4-fast-reasoning": _GROK_4_FAST,
        "grok-4-fast-non-reasoning": _GROK_4_FAST,
        "grok-4-1-fast-reasoning": _GROK_4_FAST,
        "grok-4-1-fast-non-reasoning": _GROK_4_FAST,
        "grok-code-fast-1": _P(0.2, 1.5, 0.02),
        "grok-3": _P(3, 15, 0.75),
        "grok-3-mini": _P(0.3, 0.5, 0.075),
        "grok-2-vision-1212": _P(2, 10),
    },
}


_CHARACTERS = {"tts-1": 15, "tts-1-hd": 30}
_HOURS = {"whisper-large-v3": 0.111, "whisper-large-v3-turbo": 0.04}
# dollars for one unit
_UNITS: dict[str, dict[str, dict[str, float]]] = {
    "openai": {
        "dall-e-2": {"image": 0.02, "image/512x512": 0.018, "image/256x256": 0.016},
        "dall-e-3": {
            "image": 0.04,
            "image/1024x1792": 0.08,
            "image/1792x1024": 0.08,
            "image/hd": 0.08,
            "image/1024x1792/hd": 0.12,
            "image/1792x1024/hd": 0.12,
        },
        "whisper-1": {"second": 0.006 / 60},
        **{name: {"character": dollars / MILLION} for name, dollars in _CHARACTERS.items()},
    },
    "groq": {name: {"second": dollars / 3600} for name, dollars in _HOURS.items()},
}


def list_price(name: str, provider_slug: str, base_url: str) -> ListedPrices | None:
    """The list price of a model at a provider; None if it is not known."""
    seller = _seller(provider_slug, base_url)
    prices = _PRICES.get(seller, {})
    name = name.lower()
    if name in prices or seller not in _DATED:
        return prices.get(name)
    return prices.get(_DATE.sub("", name))


def list_units(name: str, provider_slug: str, base_url: str) -> dict[str, int]:
    """The list prices for a million units of a model at a provider, in millionths."""
    units = _UNITS.get(_seller(provider_slug, base_url), {}).get(name.lower(), {})
    return {key: round(dollars * MILLION * MILLION) for key, dollars in units.items()}


def _seller(provider_slug: str, base_url: str) -> str:
    return _SELLERS.get(_host_of(base_url), provider_slug)


def _host_of(base_url: str) -> str:
    try:
        return hostname(base_url)
    except ValueError:
        return ""
