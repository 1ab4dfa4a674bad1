"""Markers for a provider's cache of prompts in OpenAI's format: an extension of some relays and providers.

Sources: OpenRouter ("Prompt caching") and Alibaba Cloud Model Studio ("Context cache"): a part that is a text
may have the field ``cache_control``, up to four parts in a request. Results of tools may not.
"""

from msgspec.structs import replace

from chathub.formats.cache_points import FIELD
from chathub.formats.messages import CachePoint, ChatRequest, Message, Part, TextPart, content_of
from chathub.formats.quirks.table import Quirks
from chathub.formats.request_parts import INSTRUCTIONS, function_of

_MOST = 4


def with_marks(chat_request: ChatRequest, quirks: Quirks) -> list[Message]:
    """The messages with a ``CachePoint`` behind each text that is marked for the provider: the client's own
    markers, else those that ChatHub sets, or none where the provider does not take them."""
    messages = chat_request.messages
    if not takes_marks(quirks):
        return list(map(_unmarked, messages))
    if quirks.marks_cache and not _has_marks(chat_request):
        messages = _marked(messages)
    return _at_texts(messages) if any(each.of_kind(CachePoint) for each in messages) else messages


def takes_marks(quirks: Quirks) -> bool:
    return quirks.takes_marks and FIELD not in quirks.left_out


def _has_marks(chat_request: ChatRequest) -> bool:
    tools = chat_request.tools
    return (
        FIELD in chat_request.extra
        or any(message.of_kind(CachePoint) for message in chat_request.messages)
        or any(tool.get(FIELD) or function_of(tool).get(FIELD) for tool in tools)
    )


def _unmarked(message: Message) -> Message:
    if not message.of_kind(CachePoint):
        return message
    parts = [part for part in message.parts if not isinstance(part, CachePoint)]
    return replace(message, content=content_of(parts))


def _marked(messages: list[Message]) -> list[Message]:
    """The messages with ChatHub's own markers: behind the instructions and the two newest texts."""
    texts = [number for number, message in enumerate(messages) if _may_be_marked(message)]
    first = [number for number in texts if messages[number].role in INSTRUCTIONS][-1:]
    chosen = {*first, *[number for number in texts if messages[number].role not in INSTRUCTIONS][-2:]}
    return [
        replace(message, content=[*message.parts, CachePoint()]) if number in chosen else message
        for number, message in enumerate(messages)
    ]


def _may_be_marked(message: Message) -> bool:
    return message.role != "tool" and bool(message.text)


def _at_texts(messages: list[Message]) -> list[Message]:
    """The messages with the last four markers, each behind the last text before it that may be marked."""
    placed, waiting, better = 0, list[CachePoint](), list[Message]()
    for message in reversed(messages):
        parts: list[Part] = []
        for part in reversed(message.parts):
            if isinstance(part, CachePoint):
                waiting = [part]
                continue
            if waiting and placed < _MOST and _may_be_marked(message) and isinstance(part, TextPart):
                parts += waiting
                placed, waiting = placed + 1, []
            parts.append(part)
        better.append(message if parts == message.parts[::-1] else replace(message, content=parts[::-1]))
    return better[::-1]
