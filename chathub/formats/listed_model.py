"""One entry of a provider's list of models, in any of the known shapes.

An entry is another program's data: what is absent, of another type or out of all proportion is not known.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct

from chathub.formats.listed_prices import ListedPrices, number_of, read_prices, value_at
from chathub.formats.listed_units import read_units
from chathub.formats.loose_json import as_object, as_string
from chathub.schemas.json import JsonObject

_MOST_TOKENS = 100_000_000
_WINDOW = (
    "context_length",
    "context_window",
    "max_context_length",
    "max_model_len",
    "inputTokenLimit",
    "max_input_tokens",
    "context_size",
    "token_limits.context_window",
    "metadata.context_length",
    "top_provider.context_length",
    "meta.n_ctx_train",
)
_LONGEST_REPLY = (
    "top_provider.max_completion_tokens",
    "max_completion_tokens",
    "outputTokenLimit",
    "max_output_tokens",
    "token_limits.max_output_token_length",
    "metadata.max_tokens",
    "max_tokens",
)
_VISION = (
    "vision",
    "image_input",
    "multimodal",
    "supports_image_in",
    "supports_image_input",
    "supports_vision",
)
_TOOLS = ("function_calling", "tools", "tool_use", "tool_call", "supports_tools", "supports_function_calling")
# the words that lists have for types
_TYPES = {
    "chat": "chat",
    "llm": "chat",
    "vlm": "chat",
    "embedding": "embedding",
    "embeddings": "embedding",
    "embed": "embedding",
    "rerank": "rerank",
    "reranker": "rerank",
    "reranking": "rerank",
    "image": "image",
    "imagegeneration": "image",
    "audio": "audio",
    "speech": "audio",
    "transcribe": "audio",
    "transcription": "audio",
    "moderation": "moderation",
    "video": "video",
    "videogeneration": "video",
}
# the same for what a model can do
_TYPES_BY_ABILITY = {
    "chat_completion": "chat",
    "completion_chat": "chat",
    "embed": "embedding",
    "embedding": "embedding",
    "embeddings": "embedding",
    "rerank": "rerank",
    "moderation": "moderation",
    "audio_speech": "audio",
    "audio_transcription": "audio",
    "tts": "audio",
    "stt": "audio",
    "ocr": "image",
    "image_gen": "image",
}
# Gemini's methods, for a model that is not asked with generateContent
_METHODS = {
    "embedContent": "embedding",
    "predictLongRunning": "video",
    "predict": "image",
    "bidiGenerateContent": "audio",
}


class ListedModel(Struct, frozen=True):
    """A model in a provider's own list. None is what the list does not say; lengths are tokens. ``units`` are
    prices as ``read_units`` gives them."""

    name: str
    model_type: str | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    supports_vision: bool | None = None
    supports_tools: bool | None = None
    prices: ListedPrices | None = None
    units: dict[str, int] | None = None


def read_model(item: JsonObject) -> ListedModel | None:
    """The model of one entry; None for an entry without a name, or of a model that is switched off."""
    name = as_string(item.get("id")) or as_string(item.get("name")).removeprefix("models/")
    if not name or item.get("active") is False or as_string(item.get("status")).lower() == "shutdown":
        return None
    abilities = _abilities(item)
    return ListedModel(
        name,
        model_type=_model_type(item, abilities),
        context_window=_first_count(item, _WINDOW),
        max_tokens=_first_count(item, _LONGEST_REPLY),
        supports_vision=_sees(item, abilities),
        supports_tools=_calls_tools(item, abilities),
        prices=read_prices(item, is_free=name.lower().endswith((":free", "-free"))),
        units=read_units(item),
    )


def _model_type(item: JsonObject, abilities: dict[str, bool]) -> str | None:
    for field in ("type", "model_type", "domain"):
        if known := _TYPES.get(as_string(item.get(field)).lower()):
            return known
    if outputs := _modalities(item, "output_modalities"):
        # a model that writes text can be chatted with, whatever else it gives
        return "chat" if "text" in outputs else _first_type(_TYPES, outputs)
    methods = _texts(item.get("supportedGenerationMethods"))
    if methods and "generateContent" not in methods:
        return _first_type(_METHODS, methods)
    if item.get("image_price"):
        return "image"
    return _first_type(_TYPES_BY_ABILITY, [name for name, has in abilities.items() if has])


def _first_type(types: dict[str, str], words: Collection[str]) -> str | None:
    """The type of the first word of ``types`` that is in ``words``."""
    return next((model_type for word, model_type in types.items() if word in words), None)


def _sees(item: JsonObject, abilities: dict[str, bool]) -> bool | None:
    if inputs := _modalities(item, "input_modalities"):
        return "image" in inputs
    if as_string(item.get("type")) == "vlm":
        return True
    return _first_ability(abilities, _VISION)


def _calls_tools(item: JsonObject, abilities: dict[str, bool]) -> bool | None:
    if parameters := _texts(item.get("supported_parameters")):
        return "tools" in parameters
    return _first_ability(abilities, _TOOLS)


def _first_ability(abilities: dict[str, bool], names: Iterable[str]) -> bool | None:
    return next((abilities[name] for name in names if name in abilities), None)


def _modalities(item: JsonObject, name: str) -> list[str]:
    places = (item, as_object(item.get("architecture")), as_object(item.get("modalities")))
    return next((texts for place in places if (texts := _texts(place.get(name)))), [])


def _abilities(item: JsonObject) -> dict[str, bool]:
    """What a model can and cannot do, by the provider's words: flags of the entry, of an object (``true`` or
    ``{"supported": true}``), or the words of a list."""
    found = {name: value for name, value in item.items() if isinstance(value, bool)}
    tags = as_object(item.get("metadata")).get("tags")
    for value in (item.get("capabilities"), item.get("features"), item.get("model_ability"), tags):
        found |= {text.replace("-", "_"): True for text in _texts(value)}
        for name, each in as_object(value).items():
            flags = [each, *(as_object(each).get(flag) for flag in ("supported", "function_calling"))]
            if (flag := next((flag for flag in flags if isinstance(flag, bool)), None)) is not None:
                found[name] = flag
    return found


def _first_count(item: JsonObject, places: Iterable[str]) -> int | None:
    counts = (number_of(value_at(item, place)) for place in places)
    return next((int(count) for count in counts if count is not None and 1 <= count <= _MOST_TOKENS), None)


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
