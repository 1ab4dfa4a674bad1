"""What a prompt is made of, for the estimates of its tokens: texts by class of characters, tools, media."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from chathub.formats import request_parts
from chathub.formats.media import PDF
from chathub.formats.messages import (
    Audio,
    CachePoint,
    File,
    Image,
    Message,
    NativeBlock,
    Part,
    TextPart,
    Thought,
    ToolCall,
)
from chathub.formats.text_counts import NOTHING, Counts, counts_of_json, counts_of_text
from chathub.schemas.json import JsonObject


class Media(NamedTuple):
    """The tokens of images, documents and recordings: about, and at most. Providers count them by sizes that
    ChatHub does not read."""

    expected: int = 0
    longest: int = 0

    def plus(self, other: "Media") -> "Media":
        return Media(self.expected + other.expected, self.longest + other.longest)

    def times(self, number: int) -> "Media":
        return Media(self.expected * number, self.longest * number)


# between 85 and 1,600, by the image's size
IMAGE = Media(1000, 1500)
# ten pages
_DOCUMENT_BY_ADDRESS = Media(5000, 15_000)
# bytes of a document or recording for each of its tokens, about and at least
_BYTES_PER_TOKEN, _FEWEST_BYTES = 100, 40
_PAGE, _PAGE_OF_PDF = re.compile(rb"/Type\s*/Page\b"), Media(1500, 3000)
# media of documents that are sent to models as their text
_TEXTS = ("text/", "application/json", "application/xml", "application/x-yaml", "application/javascript")
# blocks of one format only that name something of unknown size
_BY_ADDRESS = frozenset(
    {"video_url", "audio_url", "document_url", "file", "input_file", "container_upload", "document", "image"}
)


class PromptCounts(NamedTuple):
    """What a prompt is made of; ``schemas`` are the descriptions of tools and of the response format, which
    providers rewrite. ``is_added_to``: with tools of its own the provider adds texts that ChatHub never sees.
    """

    text: Counts = NOTHING
    schemas: Counts = NOTHING
    messages: int = 0
    media: Media = Media()
    is_added_to: bool = False

    def plus(self, other: "PromptCounts") -> "PromptCounts":
        return PromptCounts(
            self.text.plus(other.text),
            self.schemas.plus(other.schemas),
            self.messages + other.messages,
            self.media.plus(other.media),
            self.is_added_to or other.is_added_to,
        )


def counts_of_messages(messages: Iterable[Message]) -> PromptCounts:
    """The counts of messages."""
    texts: list[str] = []
    media, number = Media(), 0
    for message in messages:
        number += 1
        if isinstance(message.content, str):
            texts.append(message.content)
            continue
        for part in message.content:
            text, size = _texts_and_media(part)
            texts += text
            media = media.plus(size)
    return PromptCounts(counts_of_text("\n".join(texts)), messages=number, media=media)


def counts_of_prompt(
    messages: Iterable[Message], tools: list[JsonObject], response_format: Any = None
) -> PromptCounts:
    """The counts of a prompt, with the descriptions of the tools and of the response format."""
    counts = counts_of_messages(messages)
    if not tools and not response_format:
        return counts
    described = [*tools, response_format] if response_format else tools
    return counts._replace(
        schemas=counts_of_json(msgspec.json.encode(described)),
        is_added_to=not all(map(request_parts.function_of, tools)),
    )


def _texts_and_media(part: Part) -> tuple[list[str], Media]:
    match part:
        case TextPart(text):
            return [text], Media()
        case Thought(text, state):
            # what a provider wants back of its reasoning is about as long as the reasoning
            return [text, " " * len(str(state)) if state else ""], Media()
        case ToolCall(_, name, arguments):
            return [name, arguments], Media()
        case NativeBlock(_, block):
            size = _DOCUMENT_BY_ADDRESS if block.get("type") in _BY_ADDRESS else Media()
            return [msgspec.json.encode(block).decode()], size
        case File(media_type, data, url) if data and not url and media_type.startswith(_TEXTS):
            return [data.decode("utf-8", "replace")], Media()
        case File(media_type, data):
            return [], _media_of(media_type, data)
        case Audio(media_type, data):
            return [], _media_of(media_type, data)
        case Image():
            return [], IMAGE
        case CachePoint():
            return [], Media()


def _media_of(media_type: str, data: bytes) -> Media:
    """The tokens of a document or recording."""
    if not data:
        return _DOCUMENT_BY_ADDRESS
    by_size = Media(
        IMAGE.expected + len(data) // _BYTES_PER_TOKEN,
        IMAGE.longest + len(data) // (_BYTES_PER_TOKEN if media_type.endswith("wav") else _FEWEST_BYTES),
    )
    pages = len(_PAGE.findall(data)) if media_type == PDF else 0
    if not pages:
        return by_size
    each = _PAGE_OF_PDF
    return Media(max(by_size.expected, pages * each.expected), max(by_size.longest, pages * each.longest))


# --- a body that is not decoded

# what names images, documents and recordings in a body, whose size its bytes do not tell
_MEDIA = re.compile(rb'"(?:image|document|input_(?!text")|file"|file_id|file_data|video|audio_url)')
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
# what holds a provider's own state: encrypted reasoning and search results
_STATES = (b'thinking"', b'"encrypted_content"')
_STATE = re.compile(rb'"(?:signature|encrypted_content|data)"\s*:\s*"[^"\\]*"')


def counts_of_body(body: bytes) -> PromptCounts | None:
    """The counts of a body that is only forwarded, by its JSON: some more than its content; None if it may
    hold media or hides words in escapes, so that it must be decoded."""
    if _MEDIA.search(body) or _ESCAPED_LETTER.search(body):
        return None
    states = 0
    if any(word in body for word in _STATES):
        found = [len(each) for each in _STATE.findall(body)]
        states, body = sum(found), _STATE.sub(b"", body)
    counts = counts_of_json(body)
    light = min(counts.marks, _marks_of_json(body))
    return PromptCounts(counts._replace(plain=counts.plain + states + light, marks=counts.marks - light))


def _marks_of_json(body: bytes) -> float:
    """The punctuation of JSON that is surely none of its texts: two quotation marks around each text and one
    mark after it, and half of the backslashes within, which escape quotation marks, line ends or backslashes.
    They count like letters.
    """
    escaped = body.count(b'\\"')
    return 1.5 * (body.count(b'"') - escaped) + (body.count(b"\\") + escaped) / 2


def counts_of_unreadable(body: bytes) -> PromptCounts:
    """The counts of a body that cannot be decoded: all of it as text, each word of media as an image."""
    return PromptCounts(counts_of_json(body), media=IMAGE.times(len(_MEDIA.findall(body))))
