"""The content of a whole message in Anthropic's format, from the blocks of a reply."""

from typing import Any

from msgspec import Raw

from chathub.formats.anthropic.blocks import Block, BlockSequence, is_object
from chathub.schemas.json import JsonObject


def content_of(sequence: BlockSequence, thoughts: list[dict[str, str]]) -> list[JsonObject]:
    """The blocks, with the signed thinking in its order: Anthropic refuses thinking that was moved."""
    content: list[JsonObject] = []
    place = 0
    for block in sequence.blocks:
        if block.kind == "thinking":
            while thoughts and not thoughts[0].get("thinking"):  # thinking without text
                content.append(thoughts.pop(0))
            signature = thoughts.pop(0)["signature"] if thoughts else ""
            content.append({"type": "thinking", "thinking": block.waiting, "signature": signature})
            place = len(content)
        elif block.kind == "text":
            content.append({"type": "text", "text": block.waiting})
        else:
            content.append(_tool_use(block, sequence))
    return [*content[:place], *thoughts, *content[place:]]


def _tool_use(block: Block, sequence: BlockSequence) -> JsonObject:
    arguments: Any = {}
    if block.waiting.strip():
        # invalid arguments are shown: an empty object in their place could be taken for a call
        whole = is_object(block.waiting)
        arguments = Raw(block.waiting.encode()) if whole else {"invalid_json": block.waiting}
    return {"type": "tool_use", "id": sequence.id_of(block), "name": block.name, "input": arguments}
