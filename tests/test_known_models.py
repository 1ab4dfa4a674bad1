"""What the names of models say of them, for names that providers really list."""

import pytest

from chathub.providers.known_models import Known, known_of
from chathub.providers.list_prices import list_price

OPENAI, SILICONFLOW = "https://api.openai.com/v1", "https://api.siliconflow.cn/v1"

# chat models: that see images and call tools, that only see, that only call tools, that do neither
SEE_AND_CALL = """
    gpt-5 gpt-5-mini gpt-5-nano gpt-5-2025-08-07 gpt-5.1 gpt-5.1-codex gpt-5.2 gpt-5-pro gpt-4.1
    gpt-4.1-mini gpt-4.1-nano-2025-04-14 gpt-4.5-preview gpt-4o gpt-4o-mini gpt-4o-2024-08-06
    gpt-4o-search-preview gpt-4-turbo gpt-4-turbo-2024-04-09 o1 o1-pro o3 o3-2025-04-16 o4-mini
    o4-mini-deep-research codex-mini-latest claude-opus-4-5-20251101 claude-opus-4-1-20250805
    claude-opus-4-20250514 claude-sonnet-4-5-20250929 claude-sonnet-4-20250514 claude-haiku-4-5
    claude-3-7-sonnet-latest claude-3-5-sonnet-20241022 claude-3-5-haiku-20241022 claude-3-opus-20240229
    claude-3-haiku-20240307 anthropic/claude-3.5-sonnet us.anthropic.claude-sonnet-4-20250514-v1:0
    gemini-3-pro-preview gemini-2.5-pro gemini-2.5-flash gemini-2.5-flash-lite gemini-2.0-flash-001
    gemini-1.5-pro-latest gemini-flash-latest google/gemini-2.5-pro qwen3-vl-plus
    Qwen/Qwen3-VL-235B-A22B-Thinking qwen-vl-max-latest Qwen/Qwen3-Omni-30B-A3B-Instruct
    zai-org/GLM-4.5V glm-4.6v kimi-k2.5 kimi-latest moonshot-v1-128k-vision-preview
    doubao-seed-1-6-250615 doubao-seed-1-6-flash-250828 doubao-1-5-vision-pro-32k-250115
    stepfun-ai/step3 meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8 llama4:scout
    mistral-medium-latest mistral-small-2506 mistral-large-2512 pixtral-large-latest pixtral-12b-2409
    magistral-medium-2509 grok-4-0709 grok-4-fast-non-reasoning grok-4-1-fast-reasoning
    grok-2-vision-1212
    ft:gpt-4o-mini-2024-07-18:mine::9abc us.amazon.nova-pro-v1:0
"""
SEE = """
    gpt-5-chat-latest chatgpt-4o-latest gpt-4-vision-preview gpt-4-1106-vision-preview
    gemini-2.5-flash-image gemini-2.0-flash-preview-image-generation gemini-2.0-flash-thinking-exp-01-21
    gemma-3-27b-it gemma3:12b deepseek-ai/deepseek-vl2 deepseek-ai/DeepSeek-OCR
    Qwen/Qwen2.5-VL-72B-Instruct Pro/Qwen/Qwen2.5-VL-7B-Instruct qwen2.5vl:7b qwen-vl-ocr qvq-max
    Qwen/QVQ-72B-Preview qwen-omni-turbo THUDM/GLM-4.1V-9B-Thinking glm-4v-plus
    moonshotai/Kimi-VL-A3B-Thinking kimi-thinking-preview ernie-4.5-turbo-vl-32k hunyuan-vision
    OpenGVLab/InternVL3-38B llama3.2-vision:11b meta-llama/Llama-3.2-90B-Vision-Instruct
    llama-3.2-11b-vision-preview llava:13b minicpm-v:8b moondream:latest sonar-pro
    microsoft/phi-4-multimodal-instruct command-a-vision-07-2025 step-1v-8k some-lab/Brand-New-VL-8B
    somebody/new-vision-model
"""
CALL = """
    gpt-4 gpt-4-0613 gpt-4-1106-preview gpt-4-0125-preview gpt-3.5-turbo gpt-3.5-turbo-16k o3-mini
    gpt-oss-120b openai/gpt-oss-20b gpt-4o-audio-preview deepseek-chat deepseek-reasoner
    deepseek-ai/DeepSeek-V3 deepseek-ai/DeepSeek-V3.1-Terminus deepseek-ai/DeepSeek-V3.2-Exp
    deepseek/deepseek-r1-0528 qwen-max qwen-plus-2025-07-28 qwen-turbo qwen-flash qwen-long qwen3-max
    qwen3-coder-plus Qwen/Qwen3-Coder-480B-A35B-Instruct Qwen/Qwen3-235B-A22B-Instruct-2507
    Qwen/Qwen3-8B qwen3:32b Qwen/Qwen3-Next-80B-A3B-Instruct Qwen/QwQ-32B Qwen/Qwen2.5-72B-Instruct
    Pro/Qwen/Qwen2.5-7B-Instruct glm-4.6 glm-4.5-air zai-org/GLM-4.5 glm-4-plus glm-4-long
    THUDM/GLM-Z1-9B-0414 kimi-k2-0905-preview kimi-k2-turbo-preview kimi-k2-thinking
    moonshotai/Kimi-K2-Instruct moonshot-v1-32k doubao-1-5-pro-32k-250115 doubao-pro-128k-240628
    ByteDance-Seed/Seed-OSS-36B-Instruct ernie-4.5-turbo-128k ernie-x1-turbo-32k
    baidu/ERNIE-4.5-300B-A47B tencent/Hunyuan-A13B-Instruct hunyuan-turbos-latest MiniMax-M2
    MiniMaxAI/MiniMax-M1-80k llama-3.3-70b-versatile llama-3.1-8b-instant
    meta-llama/Llama-3.3-70B-Instruct-Turbo llama3.1:70b
    accounts/fireworks/models/llama-v3p1-405b-instruct mistral-large-2411 mistral-nemo
    ministral-8b-latest open-mixtral-8x22b codestral-latest devstral-small-2507 magistral-small-2506
    grok-3 grok-3-mini grok-code-fast-1 command-r-plus-08-2024 command-a-03-2025
    nvidia/llama-3.1-nemotron-70b-instruct
"""
NEITHER = """
    o1-mini o1-preview claude-2.1 deepseek-ai/DeepSeek-R1 deepseek-ai/DeepSeek-R1-Distill-Qwen-32B
    deepseek-r1-distill-llama-70b llama3:8b meta-llama/Llama-2-70b-chat-hf gemma-2-9b-it gemma-3-1b-it
    mistral-7b-instruct open-mistral-7b phi-4 01-ai/Yi-1.5-34B-Chat internlm/internlm2_5-7b-chat
    qwen-mt-plus Qwen/Qwen2.5-Math-72B-Instruct wizardlm2:8x22b ernie-speed-128k nobody/has-heard-of-it
"""
OTHERS = {
    "embedding": """
        text-embedding-3-small text-embedding-3-large text-embedding-ada-002 text-embedding-004
        gemini-embedding-001 BAAI/bge-m3 Pro/BAAI/bge-m3 BAAI/bge-large-zh-v1.5
        netease-youdao/bce-embedding-base_v1 Qwen/Qwen3-Embedding-8B text-embedding-v4
        tongyi-embedding-vision-plus embedding-3 doubao-embedding-large-text-250515 mistral-embed
        codestral-embed-2505 nomic-embed-text mxbai-embed-large intfloat/multilingual-e5-large-instruct
        embed-multilingual-v3.0 togethercomputer/m2-bert-80M-8k-retrieval voyage-3-large tao-8k
        jina-clip-v2 jina-colbert-v2 nvidia/nvclip sentence-transformers/paraphrase-multilingual-mpnet-base-v2
        text-search-ada-doc-001
    """,
    "rerank": """
        BAAI/bge-reranker-v2-m3 Pro/BAAI/bge-reranker-v2-m3 netease-youdao/bce-reranker-base_v1
        Qwen/Qwen3-Reranker-4B gte-rerank-v2 rerank-multilingual-v3.0 Salesforce/Llama-Rank-Reranker-v1
        cross-encoder/ms-marco-MiniLM-L-6-v2
    """,
    "image": """
        dall-e-3 gpt-image-1 gpt-image-1-mini chatgpt-image-latest imagen-4.0-generate-001
        black-forest-labs/FLUX.1-schnell Pro/black-forest-labs/FLUX.1-schnell
        black-forest-labs/FLUX.1-dev Kwai-Kolors/Kolors stabilityai/stable-diffusion-3-5-large
        stabilityai/stable-diffusion-xl-base-1.0 Qwen/Qwen-Image Qwen/Qwen-Image-Edit-2509
        qwen-image-plus Tongyi-MAI/Z-Image-Turbo wanx2.1-t2i-turbo cogview-4-250304
        doubao-seedream-4-0-250828 doubao-seededit-3-0-i2i-250628 grok-2-image-1212 irag-1.0
        deepseek-ai/Janus-Pro-7B mistral-ocr-latest stability.sd3-large-v1:0 image-01 step-1x-edit
        playgroundai/playground-v2.5-1024px-aesthetic HiDream-ai/HiDream-I1-Full
    """,
    "audio": """
        whisper-1 whisper-large-v3-turbo distil-whisper-large-v3-en tts-1 tts-1-hd gpt-4o-mini-tts
        gpt-4o-transcribe gpt-4o-realtime-preview gpt-realtime FunAudioLLM/SenseVoiceSmall
        FunAudioLLM/CosyVoice2-0.5B fnlp/MOSS-TTSD-v0.5 IndexTeam/IndexTTS-2 TeleAI/TeleSpeechASR
        fishaudio/fish-speech-1.5 paraformer-v2 qwen3-asr-flash qwen3-tts-flash
        gemini-2.5-flash-preview-tts gemini-2.0-flash-live-001
        gemini-2.5-flash-native-audio-preview-09-2025 playai-tts canopylabs/orpheus-v1-english
        glm-asr-2512 nvidia/parakeet-ctc-1.1b speech-02-hd music-1.5
        facebook/musicgen-large microsoft/speecht5_tts
    """,
    "video": """
        sora-2 sora-2-pro veo-3.0-generate-001 veo-3.1-fast-generate-preview Wan-AI/Wan2.2-T2V-A14B
        Wan-AI/Wan2.2-I2V-A14B wan2.5-t2v-preview Lightricks/LTX-Video tencent/HunyuanVideo cogvideox-3
        doubao-seedance-1-0-pro-250528 doubao-seaweed-241128
    """,
    "moderation": """
        omni-moderation-latest text-moderation-stable mistral-moderation-latest
        meta-llama/llama-guard-4-12b llama-guard-3-8b meta-llama/llama-prompt-guard-2-86m
        Qwen/Qwen3Guard-Gen-8B shieldgemma:9b
    """,
    "completion": "davinci-002 babbage-002 gpt-3.5-turbo-instruct gpt-3.5-turbo-instruct-0914",
}
CHATS = {(True, True): SEE_AND_CALL, (True, False): SEE, (False, True): CALL, (False, False): NEITHER}
OF_CHATS = [(name, *can) for can, names in CHATS.items() for name in names.split()]
OF_OTHERS = [(name, model_type) for model_type, names in OTHERS.items() for name in names.split()]


def test_the_table_is_large() -> None:
    assert len({name for name, *_ in OF_CHATS + OF_OTHERS}) == len(OF_CHATS) + len(OF_OTHERS) >= 290


@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_names_say_what_a_model_is(change: type[str]) -> None:
    wrong = [row for row in OF_CHATS if known_of(change(row[0]))[:3] != ("chat", *row[1:])]
    wrong += [row for row in OF_OTHERS if known_of(change(row[0])) != Known(row[1])]
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "window", "longest"),
    [
        ("gpt-4o-2024-08-06", 128_000, 16_384),
        ("gpt-4", 8192, 4096),
        ("gpt-4-32k-0613", 32_768, 4096),
        ("gpt-4.1-mini", 1_047_576, 32_768),
        ("gpt-5-mini", 400_000, 128_000),
        ("claude-opus-4-1", 200_000, 32_000),
        ("claude-opus-4-5", 200_000, 64_000),
        ("claude-3-5-haiku-latest", 200_000, 8192),
        ("claude-3-haiku-20240307", 200_000, 4096),
        ("gemini-2.5-pro", 1_048_576, 65_536),
        ("deepseek-reasoner", 131_072, 65_536),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 131_072, 16_384),
        ("moonshot-v1-8k", 8192, 4096),
        ("moonshot-v1-128k", 131_072, 8192),
        ("kimi-k2-0711-preview", 131_072, 16_384),
        ("kimi-k2-0905-preview", 262_144, 32_768),
        ("llama-2-70b", 4096, 4096),
        ("nobody/has-heard-of-it", None, None),
    ],
)
def test_first_family_that_fits_gives_the_lengths(name: str, window: int | None, longest: int | None) -> None:
    assert known_of(name)[3:] == (window, longest)


def test_replies_are_never_longer_than_the_window() -> None:
    for name, *_ in OF_CHATS:
        known = known_of(name)
        assert (known.max_tokens or 0) <= (known.context_window or 0), name


@pytest.mark.parametrize(
    ("name", "slug", "base_url", "dollars"),
    [
        ("gpt-4o", "openai", OPENAI, (2.5, 10, 1.25, None, None)),
        ("gpt-4o-2024-08-06", "openai", OPENAI, (2.5, 10, 1.25, None, None)),
        ("gpt-4o-2024-05-13", "openai", OPENAI, (5, 15, None, None, None)),
        ("GPT-4o", "mine", OPENAI, (2.5, 10, 1.25, None, None)),
        ("gpt-5-pro", "openai", OPENAI, (15, 120, None, None, None)),
        ("claude-3-5-haiku-latest", "anthropic", "https://api.anthropic.com", (0.8, 4, 0.08, 1, 1.6)),
        ("claude-sonnet-4-20250514", "anthropic", "https://api.anthropic.com", (3, 15, 0.3, 3.75, 6)),
        ("deepseek-ai/DeepSeek-V3", "siliconflow", SILICONFLOW, (0.25, 1, None, None, None)),
        ("text-embedding-3-small", "openai", OPENAI, (0.02, 0, None, None, None)),
        # an address that is nobody's: the provider's name counts
        ("deepseek-chat", "deepseek", "http://10.0.0.7:8080/v1", (0.28, 0.42, 0.028, None, None)),
    ],
)
def test_list_prices_are_those_of_the_seller(
    name: str, slug: str, base_url: str, dollars: tuple[float | None, ...]
) -> None:
    assert list_price(name, slug, base_url) == tuple(
        None if price is None else round(price * 1_000_000) for price in dollars
    )


@pytest.mark.parametrize(
    ("name", "slug", "base_url"),
    [
        # another seller's models, and sellers that are not known
        ("gpt-4o", "relay", "https://relay.example.com/v1"),
        ("gpt-4o", "openai", "https://openrouter.ai/api/v1"),
        ("deepseek-chat", "siliconflow", SILICONFLOW),
        ("deepseek-ai/DeepSeek-V3", "together", "https://api.together.xyz/v1"),
        ("deepseek-ai/DeepSeek-V3", "deepseek", "https://api.deepseek.com/v1"),
        ("claude-sonnet-4-5", "google", "https://generativelanguage.googleapis.com/v1beta"),
        # other models of a family
        ("gpt-5-turbo", "openai", OPENAI),
        ("gpt-4o-realtime-preview", "openai", OPENAI),
        ("claude-opus-9", "anthropic", "https://api.anthropic.com"),
        ("qwen-plus-2025-07-28", "alibaba", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ("gpt-4o", "relay", "no address"),
    ],
)
def test_a_model_has_no_price_of_another_seller_or_another_model(name: str, slug: str, base_url: str) -> None:
    assert list_price(name, slug, base_url) is None
