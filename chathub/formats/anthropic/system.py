"""The instructions of a request in Anthropic's format."""

from chathub.formats.cache_points import marked
from chathub.formats.messages import CachePoint, Message, TextPart
from chathub.formats.request_parts import INSTRUCTIONS
from chathub.schemas.json import JsonObject


def system_blocks(messages: list[Message]) -> list[JsonObject]:
    """The texts of all system messages as one block, or as several that end where the client marked them for
    the cache; none if they are blank."""
    blocks: list[JsonObject] = []
    text = ""
    for message in messages:
        if message.role not in INSTRUCTIONS or not message.text.strip():
            continue
        glue = "\n\n"
        for part in message.parts:
            if isinstance(part, TextPart) and part.text:
                text = f"{text}{glue}{part.text}" if text else part.text
                glue = "\n"
            elif isinstance(part, CachePoint) and text.strip():
                blocks.append(marked({"type": "text", "text": text}, part))
                text = ""
    return [*blocks, {"type": "text", "text": text}] if text.strip() else blocks
