"""Writes a client's request in OpenAI's format anew: with a provider's quirks, and all its fields."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE
from chathub.formats.forwarding import plain
from chathub.formats.messages import Audio, ChatRequest, File, Message, Part
from chathub.formats.openai.encode_request import left_out
from chathub.formats.own_tools import with_own_tools
from chathub.formats.plain_fields import OPENAI
from chathub.formats.quirks.table import SAMPLING, Quirks
from chathub.formats.raw_json import ABSENT, changed, first_of, items, look, raw, value_of, with_each_raw
from chathub.formats.reasoning.effort import smaller_budgets
from chathub.formats.stand_ins import unknown_block

_OLD, _NEW = "max_tokens", "max_completion_tokens"
# bytes of a field that is read to learn from a refusal
_SHORT = 64 * 1024


class _Message(Struct):
    role: str = ""
    content: Raw = ABSENT


class _File(Struct):
    filename: str | None = None


class _Part(Struct):
    type: str = ""
    file: _File | None = None


_message = msgspec.json.Decoder(_Message)
_part = msgspec.json.Decoder(_Part)
_any = msgspec.json.Decoder(Any)
_texts = msgspec.json.Decoder(list[str])
_THINKING = ("thinking", "reasoning", "thinking_budget")
_ROLES = frozenset({"system", "developer"})


def with_quirks(fields: Mapping[str, Raw], quirks: Quirks, *, stream: bool) -> dict[str, Raw]:
    """The fields as a provider with these quirks takes them."""
    better = {name: value for name, value in fields.items() if name not in left_out(quirks)}
    refused, other = (_OLD, _NEW) if quirks.max_tokens_field == _NEW else (_NEW, _OLD)
    if refused in fields and (refused == _OLD or refused in quirks.left_out):
        better.setdefault(other, fields[refused])
        better.pop(refused, None)
    if not quirks.sends_temperature:
        better = {name: value for name, value in better.items() if name not in SAMPLING}
    if quirks.most_stops and first_of(stop := better.get("stop", ABSENT)) == b"[":
        words = value_of(stop, _texts) or []
        if len(words) > quirks.most_stops:
            better["stop"] = raw(words[: quirks.most_stops])
    if quirks.thinking_off_when_not_streaming and not stream:
        better.setdefault("enable_thinking", raw(False))
    changes_messages = (
        quirks.system_role != "user" and quirks.knows_developer and quirks.takes_files and quirks.takes_audio
    )
    return better if changes_messages else _with_messages(better, quirks)


def without_extras(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The fields that cost nothing but their tokens, with the tools that the client runs.

    Raises:
        BadRequest: there are too many tools to be looked at.
    """
    return with_own_tools(plain(fields, OPENAI))


def with_length(
    fields: Mapping[str, Raw], names: Iterable[str], asked: int | None, most: int
) -> dict[str, Raw]:
    """The fields with ``most`` tokens as the length, under these names, and with budgets for thinking that
    fit in it if it is less than was asked for."""
    better = {**fields, **dict.fromkeys(names, raw(most))}
    if asked is not None and asked <= most:
        return better
    sent = {name: value_of(fields[name], _any) for name in _THINKING if name in fields}
    smaller = smaller_budgets(sent, most)
    if smaller == sent:
        return better
    kept = {name: value for name, value in better.items() if name not in sent or name in smaller}
    return {**kept, **{name: raw(value) for name, value in smaller.items() if value != sent.get(name)}}


def _with_messages(fields: dict[str, Raw], quirks: Quirks) -> dict[str, Raw]:
    messages = fields.get("messages", ABSENT)
    better = with_each_raw(messages, lambda each: _for_provider(each, quirks), MESSAGES)
    return fields if better is messages else {**fields, "messages": better}


def _for_provider(message: Raw, quirks: Quirks) -> Raw:
    found = look(message, _message)
    if found is None:
        return message
    changes: dict[str, Any] = {}
    if quirks.system_role == "user" and found.role in _ROLES:
        changes["role"] = "user"
    elif found.role == "developer" and not quirks.knows_developer:
        changes["role"] = "system"
    content = with_each_raw(found.content, lambda part: _part_for(part, quirks), PARTS_OF_ONE)
    if content is not found.content:
        changes["content"] = content
    return changed(message, changes) if changes else message


def _part_for(part: Raw, quirks: Quirks) -> Raw:
    found = look(part, _part)
    if found and found.type == "file" and not quirks.takes_files:
        named = found.file.filename if found.file else ""
        return raw({"type": "text", "text": unknown_block(f"file {named}".strip())})
    if found and found.type == "input_audio" and not quirks.takes_audio:
        return raw({"type": "text", "text": unknown_block("recording")})
    return part


def described(fields: Mapping[str, Raw], *, stream: bool) -> ChatRequest:
    """What a request holds, as far as refusals teach quirks: its short fields, the roles of its messages, and
    which of them have documents or recordings."""
    short = {
        name: value_of(value, _any)
        for name, value in fields.items()
        if name != "messages" and memoryview(value).nbytes <= _SHORT
    }
    messages = [look(each, _message) for each in items(fields.get("messages", ABSENT), MESSAGES) or []]
    return ChatRequest(
        "",
        "",
        [Message(each.role, _media(each.content)) for each in messages if each],
        stream=stream,
        extra=short,
    )


def _media(content: Raw) -> list[Part]:
    kinds = {found.type for each in items(content, PARTS_OF_ONE) or [] if (found := look(each, _part))}
    documents: list[Part] = [File()] if "file" in kinds else []
    return [*documents, Audio("", b"")] if "input_audio" in kinds else documents
