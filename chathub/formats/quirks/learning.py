"""Learns quirks from refusals.

A refusal may repeat any text of the request. So it teaches a quirk only if it names a field of the request
(by ``param``, by ``loc``, or as a whole word of the provider's own sentence) or contains a phrase of a small
table, and if these words are no echo of the request. It is a quirk only once the changed request was
accepted: only then may it be remembered.
"""

from collections.abc import Callable

from msgspec.structs import replace

from chathub.formats.cache_points import FIELD
from chathub.formats.events import Failure
from chathub.formats.messages import Audio, ChatRequest, File, Image
from chathub.formats.quirks import refusal_phrases as phrases
from chathub.formats.quirks import thinking_lessons
from chathub.formats.quirks.refusal import PROMPTS, REFUSED, UNKNOWN, Refusal, spellings
from chathub.formats.quirks.table import SAMPLING, Quirks

# fields without which the reply would be another than the client asked for: their refusal is the client's
_ESSENTIAL = PROMPTS | frozenset(
    {
        *("model", "stream", "stream_options", "n", "logprobs", "top_logprobs"),
        *("max_tokens", "max_completion_tokens", "maxOutputTokens"),
        *("tool_choice", "toolConfig", "function_call", "mcp_servers", "container"),
        *("output_format", "modalities", "audio", "prediction", "responseMimeType", "generationConfig"),
        *("suffix", "echo", "best_of"),
        *("thinkingConfig", "enable_thinking", "stop", "stop_sequences", "stopSequences"),
        *("web_search_options", "plugins", "models"),
    }
)
_STOPS = ("stop", "stop_sequences", "stopSequences")
_MOST_STOPS = 4


def learned(failure: Failure, chat_request: ChatRequest, known: Quirks, sent: bytes) -> Quirks | None:
    """The quirks with which to send a request again after ``failure`` of the body ``sent``: ``known`` with
    one change, or ``None`` if no change avoids the failure.

    Only for a 400 or 422, and only if the refused field was sent: so the attempts come to an end.
    """
    if failure.status not in (400, 422):
        return None
    refusal = Refusal(failure, sent)
    for rule in _RULES:
        changed = rule(refusal, chat_request, known)
        if changed is not None:
            return changed
    return None


def _stream_options(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    # a client that sent the field itself gets the refusal
    added = known.stream_options and "stream_options" not in chat_request.extra
    return replace(known, stream_options=False) if added and refusal.names("stream_options") else None


def _limit(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    sent = {**chat_request.extra, **chat_request.params}
    if all(sent.get(name) is None for name in ("max_tokens", "max_completion_tokens")):
        largest = refusal.says(phrases.TOO_MANY)
        smaller = largest is not None and 0 < int(largest[1]) < known.default_max_tokens
        return replace(known, default_max_tokens=int(largest[1])) if largest and smaller else None
    old, new = "max_tokens", "max_completion_tokens"
    wants_new = refusal.names(old) and refusal.mentions(new)
    wants_new |= bool(refusal.says(phrases.OLD_LENGTH) and refusal.says(phrases.NEW_LENGTH))
    if known.max_tokens_field == old and wants_new and old in refusal.fields:
        return replace(known, max_tokens_field="max_completion_tokens")
    unknown = refusal.says(REFUSED) or refusal.says(UNKNOWN)
    if known.max_tokens_field == old and refusal.names(new) and not refusal.mentions(old) and unknown:
        # of a forwarded request: the client's own name
        return _leaving_out(new, known)
    if known.max_tokens_field == new and refusal.names(new) and not refusal.mentions(old) and unknown:
        return replace(known, max_tokens_field="max_tokens")
    return None


def _thinking(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if known.includes_thoughts and refusal.says(phrases.NO_THOUGHTS):
        return replace(known, includes_thoughts=False)
    if chat_request.stream or known.streams_only or not refusal.says(phrases.THINKING_ON):
        return None
    if known.thinking_off_when_not_streaming:  # switched off already, and refused again
        return replace(known, thinking_off_when_not_streaming=False, streams_only=True)
    return replace(known, thinking_off_when_not_streaming=True)


def _streaming(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if chat_request.stream or known.streams_only or not refusal.says(phrases.STREAM_ONLY):
        return None
    return replace(known, thinking_off_when_not_streaming=False, streams_only=True)


def _sampling(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    sent = {**chat_request.extra, **chat_request.params}
    named = any(sent.get(name) is not None and refusal.names(name) for name in SAMPLING)
    penalized = any(sent.get(name) is not None for name in ("presence_penalty", "frequency_penalty"))
    named |= penalized and refusal.says(phrases.PENALTY) is not None
    if named and known.sends_temperature and refusal.says(REFUSED):
        return replace(known, sends_temperature=False)
    return None


def _role(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    instructed = any(each.role in ("system", "developer") for each in chat_request.messages)
    if not instructed or known.system_role == "user" or not refusal.says(phrases.ROLE):
        return None
    return replace(known, system_role="system" if known.system_role == "developer" else "user")


def _developer(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    instructed = any(each.role == "developer" for each in chat_request.messages)
    if not instructed or not known.knows_developer or not refusal.says(phrases.DEVELOPER):
        return None
    return replace(known, knows_developer=False)


def _stops(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    named = any(refusal.names(name) for name in _STOPS)
    stop = {**chat_request.extra, **chat_request.params}.get("stop")
    count = len(stop) if isinstance(stop, list) else 0
    if (
        not named
        or count <= _MOST_STOPS
        or known.most_stops == _MOST_STOPS
        or not refusal.says(phrases.TOO_LONG_LIST)
    ):
        return None
    return replace(known, most_stops=_MOST_STOPS)


def _strict(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    """That calls must fit their schemas: not known to the provider, or not possible with these schemas."""
    if not refusal.has("strict") or not known.takes_strict or known.drops_strict:
        return None
    if refusal.says(phrases.STRICT_REFUSED):
        return replace(known, takes_strict=False)
    return replace(known, drops_strict=True) if refusal.says(phrases.STRICT_IMPOSSIBLE) else None


def _cache_points(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    """A provider that does not know markers for the cache keeps its prompts there without them, or not."""
    is_refused = refusal.has(FIELD) and refusal.says(phrases.CACHE_POINT_REFUSED)
    return _leaving_out(FIELD, known) if is_refused else None


def _media(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    """A model that takes no documents or recordings gets a text in their place."""
    kinds = {type(part) for message in chat_request.messages for part in message.parts}
    by_address = any(
        isinstance(part, Image | File) and part.url
        for message in chat_request.messages
        for part in message.parts
    )
    if by_address and known.takes_addresses and refusal.says(phrases.ADDRESS_REFUSED):
        return replace(known, takes_addresses=False)
    if File in kinds and known.takes_files and refusal.says(phrases.FILE_REFUSED):
        return replace(known, takes_files=False)
    if Audio in kinds and known.takes_audio and refusal.says(phrases.AUDIO_REFUSED):
        return replace(known, takes_audio=False)
    return None


def _left_out(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if not refusal.says(phrases.FIELD_REFUSED) or refusal.says(phrases.VALUE_REFUSED):
        return None
    for name in refusal.fields:
        if name.isidentifier() and name not in _ESSENTIAL and _is_named(refusal, name):
            return _leaving_out(name, known)
    return None


def _is_named(refusal: Refusal, name: str) -> bool:
    if refusal.names(name):
        return True
    return not refusal.points_anywhere and refusal.says(phrases.naming(spellings(name))) is not None


def _leaving_out(name: str, known: Quirks) -> Quirks | None:
    if name in known.left_out:
        return None
    return replace(known, left_out=tuple(sorted({*known.left_out, name})))


_Rule = Callable[[Refusal, ChatRequest, Quirks], Quirks | None]
_RULES: tuple[_Rule, ...] = (
    _stream_options,
    _limit,
    _thinking,
    thinking_lessons.state,
    thinking_lessons.effort,
    _streaming,
    _sampling,
    _developer,
    _role,
    _stops,
    _strict,
    _cache_points,
    _media,
    _left_out,
)
