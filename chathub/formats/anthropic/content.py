"""The content of a whole message in Anthropic's format, from the blocks of a reply."""

from typing import Any

from msgspec import Raw

from chathub.formats.anthropic.blocks import Block, BlockSequence, is_object
from chathub.schemas.json import JsonObject


def content_block(block: Block, sequence: BlockSequence) -> JsonObject:
    """A block as it stands in a message."""
    match block.kind:
        case "thinking":
            signature = sequence.signature_of(block)
            return {"type": "thinking", "thinking": block.waiting, "signature": signature}
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": block.data}
        case "text":
            return {"type": "text", "text": block.waiting}
        case _:
            return _tool_use(block, sequence)


def _tool_use(block: Block, sequence: BlockSequence) -> JsonObject:
    arguments: Any = {}
    if block.waiting.strip():
        # invalid arguments are shown: an empty object in their place could be taken for a call
        whole = is_object(block.waiting)
        arguments = Raw(block.waiting.encode()) if whole else {"invalid_json": block.waiting}
    return {"type": "tool_use", "id": sequence.id_of(block), "name": block.name, "input": arguments}
