"""What the name of a model says of it: a table for what a provider's list does not tell. As of late 2025."""

import re
from typing import NamedTuple

# the types of models, and parts of the names of such; the first part that is in a name counts
_TYPES = {
    "rerank": ("rerank", "ms-marco"),
    "moderation": ("moderation", "llama-guard", "prompt-guard", "shieldgemma", "qwen3guard"),
    "embedding": (
        *("embed", "bge-", "gte-", "-e5-", "e5-large", "m3e-", "tao-8k", "minilm", "mpnet", "m2-bert"),
        *("voyage-", "jina-clip", "colbert", "nvclip", "text-search-", "text-similarity-"),
    ),
    "audio": (
        *(
            "transcribe",
            "realtime",
            "-live-",
            "native-audio",
            "tts",
            "-asr",
            "whisper",
            "parakeet",
        ),
        *("cosyvoice", "sensevoice", "telespeech", "fish-speech", "speecht5", "speech-0", "paraformer"),
        *("sambert", "sovits", "orpheus", "kokoro", "lyria", "musicgen", "music-"),
    ),
    "video": (
        *("-i2v", "-t2v", "-ti2v", "sora-", "veo-", "cogvideo", "hunyuanvideo", "ltx-video"),
        *("seedance", "seaweed", "kling", "vidu", "hailuo"),
    ),
    "image": (
        *("dall-e", "gpt-image", "flux", "kolors", "stable-diffusion", "sdxl", "sd3", "imagen-"),
        *("qwen-image", "z-image", "glm-image", "hunyuan-image", "hunyuanimage", "-2-image", "image-0"),
        *("grok-imagine", "seedream", "seededit", "cogview", "wanx", "-t2i", "irag", "janus", "ideogram"),
        *("recraft", "playground-v", "hidream", "step-1x", "mistral-ocr"),
    ),
    "completion": ("davinci", "babbage", "turbo-instruct"),
}


class Known(NamedTuple):
    """What is known of a model. Lengths are tokens; None: not known."""

    model_type: str = "chat"
    sees: bool = False
    calls_tools: bool = False
    context_window: int | None = None
    max_tokens: int | None = None


class _Family(NamedTuple):
    """Models whose name begins like this (a regular expression). ``can``: ``v`` sees images, ``t`` calls
    tools. Lengths are tokens."""

    beginning: str
    can: str = ""
    window: int | None = None
    longest_reply: int | None = None


# the first that fits counts
_FAMILIES = (
    # OpenAI
    _Family(r"gpt-[5-9](\.\d)?-chat", "v", 128_000, 16_384),
    _Family(r"gpt-[5-9](\.\d)?-pro", "vt", 400_000, 272_000),
    _Family(r"gpt-[5-9]", "vt", 400_000, 128_000),
    _Family(r"gpt-4\.1", "vt", 1_047_576, 32_768),
    _Family(r"gpt-4\.5", "vt", 128_000, 16_384),
    _Family(r"(gpt-4o(-mini)?-audio|gpt-audio)", "t", 128_000, 16_384),
    _Family(r"gpt-4o-2024-05-13", "vt", 128_000, 4096),
    _Family(r"chatgpt-4o", "v", 128_000, 16_384),
    _Family(r"gpt-4o", "vt", 128_000, 16_384),
    _Family(r"gpt-4-(1106-)?vision", "v", 128_000, 4096),
    _Family(r"gpt-4-(turbo-preview|1106|0125)", "t", 128_000, 4096),
    _Family(r"gpt-4-turbo", "vt", 128_000, 4096),
    _Family(r"gpt-4-32k", "t", 32_768, 4096),
    _Family(r"gpt-4(-0\d+)?$", "t", 8192, 4096),
    _Family(r"gpt-(3\.5|35)", "t", 16_385, 4096),
    _Family(r"gpt-oss-safeguard", "", 131_072, 65_536),
    _Family(r"gpt-oss", "t", 131_072, 32_768),
    _Family(r"o1-(mini|preview)", "", 128_000, 65_536),
    _Family(r"o3-mini", "t", 200_000, 100_000),
    _Family(r"(o1|o3|o4|codex-mini)(-|$)", "vt", 200_000, 100_000),
    # Anthropic
    _Family(r"claude-(opus-4(-[01])?|4-opus)(-2\d+.*)?$", "vt", 200_000, 32_000),
    _Family(r"claude-3[.-]7", "vt", 200_000, 64_000),
    _Family(r"claude-3[.-]5", "vt", 200_000, 8192),
    _Family(r"claude-3", "vt", 200_000, 4096),
    _Family(r"claude-2\.1", "", 200_000, 4096),
    _Family(r"claude-(2|instant)", "", 100_000, 4096),
    _Family(r"claude", "vt", 200_000, 64_000),
    # Google
    _Family(r"gemini-2\.5-flash-image", "v", 32_768, 32_768),
    _Family(r"gemini-3-pro-image", "v", 65_536, 32_768),
    _Family(r"gemini-2\.0-flash-(preview-|exp-)?image", "v", 32_768, 8192),
    _Family(r"gemini-(2\.5|[3-9]|pro-latest|flash|omni)", "vt", 1_048_576, 65_536),
    _Family(r"gemini-2\.0-flash-thinking", "v", 1_048_576, 65_536),
    _Family(r"gemini-2\.0", "vt", 1_048_576, 8192),
    _Family(r"gemini-1\.5-pro", "vt", 2_097_152, 8192),
    _Family(r"(gemini-(1\.5|exp)|learnlm)", "vt", 1_048_576, 8192),
    _Family(r"gemma-?3n", "", 32_768, 8192),
    _Family(r"gemma-?3[-:]1b", "", 32_768, 8192),
    _Family(r"gemma-?3", "v", 131_072, 8192),
    _Family(r"gemma", "", 8192, 4096),
    # DeepSeek
    _Family(r"deepseek-chat", "t", 131_072, 8192),
    _Family(r"deepseek-reasoner", "t", 131_072, 65_536),
    _Family(r"deepseek-(vl|ocr)", "v", 8192, 4096),
    _Family(r"deepseek-r1-(0528-qwen3|distill)", "", 131_072, 16_384),
    _Family(r"deepseek-r1-0528", "t", 131_072, 32_768),
    _Family(r"deepseek-r1", "", 65_536, 16_384),
    _Family(r"deepseek-v3[.-][12]", "t", 131_072, 32_768),
    _Family(r"deepseek-(v[4-9]|flash|pro)", "t", 131_072, 32_768),
    _Family(r"deepseek-(v3|v2|coder-v2)", "t", 65_536, 8192),
    _Family(r"deepseek-coder", "", 16_384, 4096),
    # Qwen
    _Family(r"qwen3-vl", "vt", 262_144, 32_768),
    _Family(r"qwen-vl-ocr", "v", 34_096, 4096),
    _Family(r"qwen-vl-(max|plus)", "vt", 131_072, 8192),
    _Family(r"(qwen2\.5-?vl|qwen2-vl|qwen-vl)", "v", 32_768, 8192),
    _Family(r"qvq", "v", 131_072, 16_384),
    _Family(r"qwen3-omni", "vt", 65_536, 16_384),
    _Family(r"qwen(2\.5|2)?-omni", "v", 32_768, 2048),
    _Family(r"qwen3-coder-(plus|flash)", "t", 1_000_000, 65_536),
    _Family(r"qwen3-(max|coder)", "t", 262_144, 65_536),
    _Family(r"qwen3-(next|.*-2507)", "t", 262_144, 32_768),
    _Family(r"qwen(3\.[5-9]|[4-9])", "vt", 262_144, 32_768),
    _Family(r"qwen3", "t", 131_072, 16_384),
    _Family(r"qwen-max", "t", 32_768, 8192),
    _Family(r"qwen-plus", "t", 131_072, 32_768),
    _Family(r"qwen-turbo", "t", 131_072, 16_384),
    _Family(r"qwen-flash", "t", 1_000_000, 32_768),
    _Family(r"qwen-coder", "t", 131_072, 8192),
    _Family(r"qwen-long", "t", 10_000_000, 8192),
    _Family(r"qwen-mt", "", 16_384, 8192),
    _Family(r"qwq", "t", 131_072, 32_768),
    _Family(r"qwen(2\.5|2)?-math", "", 4096, 3072),
    _Family(r"qwen2\.5-.*-1m", "t", 1_000_000, 8192),
    _Family(r"qwen2", "t", 32_768, 8192),
    _Family(r"qwen", "", 32_768, 4096),
    # Zhipu
    _Family(r"glm-(4\.6|5|5\.\d)v", "vt", 131_072, 32_768),
    _Family(r"glm-4\.5v", "vt", 65_536, 16_384),
    _Family(r"glm-4\.1v", "v", 65_536, 16_384),
    _Family(r"glm-(4v|ocr)", "v", 8192, 4096),
    _Family(r"glm-(4\.[67]|5)", "t", 204_800, 131_072),
    _Family(r"glm-4\.5", "t", 131_072, 98_304),
    _Family(r"glm-z1", "t", 32_768, 16_384),
    _Family(r"glm-4-long", "t", 1_048_576, 4096),
    _Family(r"glm-4(-9b-chat|-32b)", "t", 32_768, 8192),
    _Family(r"glm-4", "t", 131_072, 4096),
    # Moonshot
    _Family(r"kimi-k(2[.-][5-9]|[3-9])", "vt", 262_144, 32_768),
    _Family(r"kimi-k2-0711", "t", 131_072, 16_384),
    _Family(r"kimi-k2-(0905|turbo|thinking|instruct-0905)", "t", 262_144, 32_768),
    _Family(r"kimi-k2", "t", 131_072, 16_384),
    _Family(r"kimi-(thinking-preview|vl)", "v", 131_072, 16_384),
    _Family(r"kimi-latest", "vt", 131_072, 16_384),
    _Family(r"kimi", "t", 131_072, 16_384),
    _Family(r"moonshot-v1-8k-vision", "vt", 8192, 4096),
    _Family(r"moonshot-v1-32k-vision", "vt", 32_768, 8192),
    _Family(r"moonshot-v1-128k-vision", "vt", 131_072, 8192),
    _Family(r"moonshot-v1-8k", "t", 8192, 4096),
    _Family(r"moonshot-v1-32k", "t", 32_768, 8192),
    _Family(r"moonshot-v1", "t", 131_072, 8192),
    # Doubao
    _Family(r"doubao-seed", "vt", 262_144, 32_768),
    _Family(r"doubao-1[.-]5-(vision|thinking-vision|ui)", "vt", 131_072, 16_384),
    _Family(r"doubao-1[.-]5-thinking", "t", 131_072, 16_384),
    _Family(r"doubao-1[.-]5-pro-256k", "t", 262_144, 12_288),
    _Family(r"doubao-1[.-]5", "t", 32_768, 12_288),
    _Family(r"doubao-vision", "v", 32_768, 4096),
    _Family(r"doubao-(pro|lite)-256k", "t", 262_144, 4096),
    _Family(r"doubao-(pro|lite)-128k", "t", 131_072, 4096),
    _Family(r"doubao-(pro|lite)-4k", "t", 4096, 4096),
    _Family(r"doubao", "t", 32_768, 4096),
    _Family(r"seed-oss", "t", 262_144, 32_768),
    # Baidu
    _Family(r"ernie-(5|4\.5-turbo-vl|4\.5-vl|4\.5-8k)", "v", 32_768, 12_288),
    _Family(r"ernie-4\.5-turbo-128k", "t", 131_072, 12_288),
    _Family(r"ernie-4\.5-turbo", "t", 32_768, 12_288),
    _Family(r"ernie-4\.5", "t", 131_072, 12_288),
    _Family(r"ernie-x1", "t", 32_768, 16_384),
    _Family(r"ernie-.*-128k", "", 131_072, 4096),
    _Family(r"ernie-.*-8k", "", 8192, 2048),
    # Tencent, MiniMax, Step, Xiaomi, Meituan, iFlytek, InternLM, Yi, Baichuan
    _Family(r"hunyuan-(vision|t1-vision|turbos-vision)", "v", 32_768, 8192),
    _Family(r"hunyuan-(t1|turbos|a13b)", "t", 32_768, 16_384),
    _Family(r"hunyuan-(large|standard|turbo|functioncall)", "t", 32_768, 4096),
    _Family(r"minimax-m[2-9]", "t", 204_800, 131_072),
    _Family(r"minimax-(m1|text-01)", "t", 1_000_000, 40_000),
    _Family(r"step-?3", "vt", 65_536, 16_384),
    _Family(r"step-(1v|1o|r1-v)", "v", 32_768, 8192),
    _Family(r"mimo-vl", "v", 32_768, 8192),
    _Family(r"(mimo|longcat|ling|ring)-", "t", 131_072, 16_384),
    _Family(r"internvl", "v", 32_768, 8192),
    _Family(r"(internlm|yi|baichuan)", "", 32_768, 4096),
    # Meta
    _Family(r"(meta-)?llama-?4", "vt", 131_072, 8192),
    _Family(r"(meta-)?llama-?(3[.-]2|v3p2)-((11|90)b-)?vision", "v", 131_072, 8192),
    _Family(r"(meta-)?llama-?(3[.-][123]|v3p[123])", "t", 131_072, 8192),
    _Family(r"(meta-)?llama-?3", "", 8192, 4096),
    _Family(r"(meta-)?llama-?2", "", 4096, 4096),
    _Family(r"codellama", "", 16_384, 4096),
    # Mistral
    _Family(r"(mistral-large-(2512|2[6-9]|3)|ministral.*-2512)", "vt", 262_144, 16_384),
    _Family(r"pixtral", "vt", 131_072, 16_384),
    _Family(r"mistral-medium-(2505|2508|2[6-9]|3|latest)", "vt", 131_072, 16_384),
    _Family(r"mistral-small-?(2503|2506|2[6-9]|3\.[12]|latest)", "vt", 131_072, 16_384),
    _Family(r"magistral-(small|medium)-(2509|latest)", "vt", 131_072, 40_960),
    _Family(r"magistral", "t", 40_960, 40_960),
    _Family(r"(devstral|ministral|mistral-large|(open-)?mistral-nemo)", "t", 131_072, 16_384),
    _Family(r"codestral", "t", 262_144, 16_384),
    _Family(r"(open-)?mixtral-8x22b", "t", 65_536, 8192),
    _Family(r"(voxtral|mistral-small|mistral-saba|(open-)?mixtral)", "t", 32_768, 8192),
    _Family(r"(open-)?mistral", "", 32_768, 8192),
    # xAI
    _Family(r"grok-4(-1|\.1)?-fast", "vt", 2_000_000, 32_768),
    _Family(r"grok-code", "t", 256_000, 32_768),
    _Family(r"grok-[4-9]", "vt", 256_000, 32_768),
    _Family(r"grok-(2-)?vision", "vt", 32_768, 8192),
    _Family(r"grok", "t", 131_072, 32_768),
    # Cohere, Perplexity, Microsoft, NVIDIA, IBM, Amazon and small models that see
    _Family(r"command-a-vision", "v", 131_072, 8192),
    _Family(r"command-a", "t", 256_000, 8192),
    _Family(r"command-r", "t", 131_072, 4096),
    _Family(r"sonar-(pro|reasoning-pro)", "v", 200_000, 8192),
    _Family(r"sonar", "v", 128_000, 8192),
    _Family(r"phi-(4-multimodal|3(\.5)?-vision)", "v", 131_072, 4096),
    _Family(r"phi-4-mini", "t", 131_072, 4096),
    _Family(r"phi-?4", "", 16_384, 4096),
    _Family(r".*nemotron.*-vl", "v", 131_072, 8192),
    _Family(r"nova-(lite|pro|premier)", "vt", 300_000, 5120),
    _Family(r"nova-micro", "t", 128_000, 5120),
    _Family(r"(.*nemotron|granite-?[34])", "t", 131_072, 8192),
    _Family(r"(llava|bakllava|minicpm-v|moondream|cogvlm|smolvlm|molmo|ovis|aya-vision)", "v", 8192, 4096),
    # whoever makes them
    _Family(r".*(vision|[-.\d_]vl\b|multimodal|[-_]omni\b)", "v"),
)
# before the name: the vendor, at Bedrock; OpenAI's mark of a model that somebody has tuned
_PREFIX = r"^(([a-z]{2,6}\.)?(anthropic|meta|mistral|amazon|cohere|deepseek|openai|qwen)\.|ft:)"


def known_of(name: str) -> Known:
    """What the name of a model says of it."""
    name = re.sub(_PREFIX, "", name.rpartition("/")[2].lower())
    types = (model_type for model_type, parts in _TYPES.items() if any(part in name for part in parts))
    model_type = next(types, "chat")
    if model_type != "chat":
        return Known(model_type)
    family = next((family for family in _FAMILIES if re.match(family.beginning, name)), None)
    if family is None:
        return Known()
    return Known("chat", "v" in family.can, "t" in family.can, family.window, family.longest_reply)
