"""Completes the messages of a forwarded request of OpenAI's format: the reasoning that a model needs back and
the client did not send is added, fields that the provider refuses are left out."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from msgspec import Raw

from chathub.formats.client_request import MESSAGES
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Message, ToolCall
from chathub.formats.openai import state_fields
from chathub.formats.quirks.table import Quirks
from chathub.formats.raw_json import ABSENT, with_each
from chathub.schemas.json import JsonObject

_FIELDS = ("reasoning_content", "reasoning_details", "extra_content")


def completed(
    fields: Mapping[str, Raw], model: str, quirks: Quirks, recall: Callable[[Message], Message]
) -> Mapping[str, Raw]:
    """The fields of a body with completed messages; ``recall`` gives a message with the state that was
    remembered of it."""
    messages = fields.get("messages", ABSENT)
    sent = bytes(messages)
    names = [name.encode() for name in _FIELDS]
    if b'"tool_calls"' not in sent and not any(name in sent for name in names):
        return fields
    better = with_each(messages, lambda each: _completed(each, model, quirks, recall), MESSAGES)
    return fields if better is messages else {**fields, "messages": better}


def _completed(sent: Any, model: str, quirks: Quirks, recall: Callable[[Message], Message]) -> Any:
    """A message as it was sent, unless something is to be added or left out."""
    if as_object(sent).get("role") != "assistant":
        return sent
    calls = sent.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    message = recall(_message_of(sent, calls)) if calls else Message("assistant", "")
    is_others = message.model not in ("", model)
    kept = {
        name: value
        for name, value in sent.items()
        if not (name in _FIELDS and is_others) and not _is_refused(name, quirks, bool(calls))
    }
    for name, value in state_fields.message_fields(message, model, quirks).items():
        kept[name] = kept.get(name) or value
    if calls:
        signatures = state_fields.call_signatures(message, model, quirks)
        kept["tool_calls"] = [
            _signed(call, signature, quirks) for call, signature in zip(calls, signatures, strict=True)
        ]
    return kept


def _is_refused(name: str, quirks: Quirks, has_calls: bool) -> bool:
    match name:
        case "reasoning_content":
            # where it must go back with calls, it may be refused without
            return quirks.reasoning_back == "never" or (quirks.reasoning_back == "always" and not has_calls)
        case "reasoning_details":
            return quirks.details_back == "never" or quirks.drops_state
        case "extra_content":
            return quirks.signatures_back == "never" or quirks.drops_state
    return False


def _signed(call: Any, signature: str, quirks: Quirks) -> Any:
    if not isinstance(call, dict):
        return call
    kept = {name: value for name, value in call.items() if not _is_refused(name, quirks, has_calls=True)}
    if signature and not state_fields.signature_in(kept):
        kept["extra_content"] = state_fields.with_signature(signature)
    return kept


def _message_of(sent: JsonObject, calls: list[Any]) -> Message:
    """A message with its reasoning and its calls."""
    holder = SimpleNamespace(**{name: sent.get(name) for name in _FIELDS})
    made = []
    for call in map(as_object, calls):
        function = as_object(call.get("function"))
        name, arguments = as_string(function.get("name")), as_string(function.get("arguments"))
        made.append((ToolCall(as_string(call.get("id")), name, arguments), call.get("extra_content")))
    return Message("assistant", state_fields.parts_of(holder, [], made))
