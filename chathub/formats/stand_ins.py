"""Texts in place of parts that a model cannot take, and the parts that a format's provider gets."""

from collections.abc import Callable

from msgspec.structs import replace

from chathub.formats.media import IMAGES, PDF, size_in_words
from chathub.formats.messages import Audio, File, Image, Message, NativeBlock, Part, TextPart, content_of

_NOT_PLAIN = (File, Audio, NativeBlock)


def messages_for(
    messages: list[Message], wire_format: str, is_taken: Callable[[File | Audio], bool]
) -> list[Message]:
    """The messages with the parts that a provider of this format takes. Files and recordings that it does not
    take become texts, and so do blocks of other formats."""
    if all(isinstance(each.content, str) for each in messages):
        return messages
    return [_message_for(each, wire_format, is_taken) for each in messages]


def _message_for(message: Message, wire_format: str, is_taken: Callable[[File | Audio], bool]) -> Message:
    if isinstance(message.content, str) or not any(isinstance(each, _NOT_PLAIN) for each in message.content):
        return message
    parts = [better for each in message.content if (better := _part_for(each, wire_format, is_taken))]
    return replace(message, content=content_of(parts))


def _part_for(part: Part, wire_format: str, is_taken: Callable[[File | Audio], bool]) -> Part | None:
    match part:
        case NativeBlock(name, _, text) if name != wire_format:
            return TextPart(text) if text else None
        case File() if is_taken(part):
            return part
        case File(media_type, data, _, name) if media_type.startswith("text/") and data:
            text = data.decode("utf-8", "replace")
            return TextPart(f"[{name}]\n{text}" if name else text)
        case Audio() if is_taken(part):
            return part
        case File() | Audio():
            return TextPart(stand_in(part))
    return part


def stand_in(part: Image | File | Audio) -> str:
    """What stands in the prompt for a part that the model cannot take."""
    kind, verb = part.media_type or "file", "read"
    if kind == PDF:
        kind = "PDF"
    elif kind in IMAGES:
        kind, verb = "image", "see"
    elif kind.startswith("audio/"):
        kind, verb = "recording", "hear"
    named = " ".join(word for word in (kind, part.name if isinstance(part, File) else "") if word)
    address = "" if isinstance(part, Audio) else part.url
    where = address or size_in_words(len(part.data))
    return f"[{named}, {where}: this model cannot {verb} it]"


def unknown_block(kind: str) -> str:
    """What stands in the prompt for a part of a kind that only another format has."""
    return f"[{kind[:100]}: this model cannot read it]"
