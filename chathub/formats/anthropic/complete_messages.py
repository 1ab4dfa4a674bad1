"""Completes the messages of a forwarded request of Anthropic's format: with the results of calls the thinking
before them must go back, and some clients do not send it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats.anthropic.thinking import TYPES, blocks_of
from chathub.formats.client_request import MESSAGES
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Message, NativeBlock, Part, Thought, ToolCall
from chathub.formats.quirks.table import Quirks
from chathub.formats.raw_json import ABSENT, with_each
from chathub.schemas.json import JsonObject

_decode_any = msgspec.json.Decoder(Any).decode


def completed(
    fields: Mapping[str, Raw], model: str, quirks: Quirks, recall: Callable[[Message], Message]
) -> Mapping[str, Raw]:
    """The fields of a body with completed messages; ``recall`` gives a message with the state that was
    remembered of it."""
    messages = fields.get("messages", ABSENT)
    sent = bytes(messages)
    thinking = as_object(_decode_any(fields["thinking"])) if "thinking" in fields else {}
    if b'"tool_use"' not in sent or thinking.get("type") not in ("enabled", "adaptive"):
        return fields
    better = with_each(messages, lambda each: _completed(each, model, quirks, recall), MESSAGES)
    return fields if better is messages else {**fields, "messages": better}


def _completed(sent: Any, model: str, quirks: Quirks, recall: Callable[[Message], Message]) -> Any:
    content = as_object(sent).get("content")
    blocks = content if isinstance(content, list) else []
    if as_object(sent).get("role") != "assistant" or any(_type_of(each) in TYPES for each in blocks):
        return sent
    message = recall(Message("assistant", [_part_of(as_object(block)) for block in blocks]))
    if not message.thoughts:
        return sent
    calls, kept = [block for block in blocks if _type_of(block) == "tool_use"], list[Any]()
    for part in message.parts:
        if isinstance(part, Thought):
            kept += blocks_of(part, quirks, made_it=message.model == model)
        elif isinstance(part, NativeBlock):
            kept.append(part.block)
        else:
            kept.append(calls.pop(0))
    return {**sent, "content": kept}


def _type_of(block: object) -> str:
    return as_string(as_object(block).get("type"))


def _part_of(block: JsonObject) -> Part:
    if block.get("type") != "tool_use":
        return NativeBlock("anthropic", block)
    arguments = msgspec.json.encode(block.get("input")).decode()
    return ToolCall(as_string(block.get("id")), as_string(block.get("name")), arguments)
