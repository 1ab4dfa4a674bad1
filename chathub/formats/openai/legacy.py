"""Functions, the older form of tools in OpenAI's format: as tools in requests, as functions in replies.

Source: OpenAI's API reference, the deprecated fields ``functions`` and ``function_call``. A request that is
forwarded keeps them.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import MESSAGES, TOOLS, decode, refuse
from chathub.formats.loose_json import as_object, first
from chathub.formats.openai.pair_calls import with_results
from chathub.formats.openai.repair import repaired
from chathub.formats.raw_json import ABSENT, changed, first_of, is_null, items, joined, look, raw
from chathub.schemas.json import JsonObject

_OWN = ("functions", "function_call")


class _Message(Struct):
    role: str = ""
    name: str | None = None
    function_call: Raw = ABSENT


class _Choice(Struct):
    name: str


_message = msgspec.json.Decoder(_Message)
_choice = msgspec.json.Decoder(_Choice | str)
_decode_object = msgspec.json.Decoder(JsonObject).decode


def is_legacy(fields: Mapping[str, Raw]) -> bool:
    """Whether the client knows functions and no tools: it expects ``function_call`` in the reply."""
    return not is_null(fields.get("functions", ABSENT)) and is_null(fields.get("tools", ABSENT))


def current(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields with tools in place of functions, also in the messages.

    Raises:
        BadRequest: functions that are not valid.
    """
    better = dict(fields)
    if "messages" in fields:
        better["messages"] = _messages(fields["messages"])
    if is_legacy(fields):
        functions = items(fields["functions"], TOOLS)
        if functions is None:
            refuse("functions", "list_too_long", most=TOOLS)
        better["tools"] = joined([raw({"type": "function", "function": each}) for each in functions])
        # of functions a reply calls one at most
        better["parallel_tool_calls"] = raw(False)
        if not is_null(choice := fields.get("function_call", ABSENT)):
            better["tool_choice"] = _tool_choice(choice)
        better = repaired(better)
    return {name: value for name, value in better.items() if name not in _OWN}


def _tool_choice(choice: Raw) -> Raw:
    chosen = decode(_choice.decode, choice, "function_call")
    return choice if isinstance(chosen, str) else raw({"type": "function", "function": {"name": chosen.name}})


def _messages(value: Raw) -> Raw:
    """The messages with tool calls and their results. A result belongs to the call before it."""
    messages = items(value, MESSAGES)
    if messages is None:
        return value
    better: list[Raw] = []
    call_id = ""
    found_any = False
    for number, message in enumerate(messages):
        found = look(message, _message)
        if found is not None and first_of(found.function_call) == b"{":
            call_id = f"call_{number}"
            call = {"id": call_id, "type": "function", "function": found.function_call}
            message = changed(message, {"function_call": None, "tool_calls": [call]})
        elif found is not None and found.role == "function":
            message = changed(
                message, {"role": "tool", "tool_call_id": call_id or f"call_{number}", "name": None}
            )
        else:
            better.append(message)
            continue
        found_any = True
        better.append(message)
    return joined(with_results(better)) if found_any else value


def with_function_call(payload: bytes) -> bytes:
    """A chunk or a whole reply for such a client: ``function_call`` in place of ``tool_calls``."""
    if b'"tool_calls"' not in payload:
        return payload
    reply = _decode_object(payload)
    for choice in reply.get("choices") or []:
        for name in ("delta", "message"):
            if isinstance(spoken := as_object(choice).get(name), dict):
                _rewrite(spoken)
        if choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "function_call"
    return msgspec.json.encode(reply)


def _rewrite(spoken: dict[str, Any]) -> None:
    call = first(spoken.pop("tool_calls", None))
    if call and call.get("index", 0) == 0:
        spoken["function_call"] = as_object(call.get("function"))
