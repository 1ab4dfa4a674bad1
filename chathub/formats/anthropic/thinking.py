"""Thinking in Anthropic's format: how it is requested, and its blocks in requests.

A thinking block goes back byte for byte with its signature. A signature that ChatHub sealed for a client
holds the state of another provider, and never goes to one of this format.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats.client_request import MESSAGES, whole_number
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Part, Thought
from chathub.formats.quirks.table import Quirks
from chathub.formats.raw_json import ABSENT, items, raw, with_each
from chathub.formats.reasoning.details import blocks_in
from chathub.formats.reasoning.effort import fitting, nearest, requested, smaller_thinking
from chathub.formats.reasoning.seal import MARK, is_sealed, unseal
from chathub.schemas.json import JsonObject

_decode_any = msgspec.json.Decoder(Any).decode
TYPES = ("thinking", "redacted_thinking")


class Settings(msgspec.Struct, frozen=True):
    """The settings of a request: ``thinking`` and ``output_config`` (empty for none), ``max_tokens``."""

    thinking: JsonObject
    output_config: JsonObject
    max_tokens: int


def settings(params: JsonObject, quirks: Quirks, max_tokens: int | None, *, may_think: bool) -> Settings:
    """How a request's thinking is set; ``max_tokens`` None: the client set no length. Without ``may_think``
    a model that must begin each turn with thinking does not think."""
    effort, thinking = requested(params), as_object(params.get("thinking"))
    length = quirks.default_max_tokens if max_tokens is None else max_tokens
    word = nearest(effort.word, quirks.adaptive_efforts) if effort.word else ""
    if not effort.thinks:
        off = thinking or ({"type": "disabled"} if effort.thinks is False and quirks.thinks_unasked else {})
        return Settings(off, {}, length)
    if not thinking and "effort" in params:  # the effort alone, of a client of this format
        return Settings({}, {"effort": word} if word else {}, length)
    if quirks.thinks_adaptively:
        word = word or (nearest(effort.as_word, quirks.adaptive_efforts) if effort.as_word else "")
        shown = {name: value for name, value in thinking.items() if name == "display"}
        return Settings({"type": "adaptive", **shown}, {"effort": word} if word else {}, length)
    if thinking.get("type") == "adaptive" and not quirks.refuses_adaptive:
        return Settings(thinking, {"effort": word} if word else {}, length)
    config = {"effort": word} if word and "effort" in params else {}
    budget = effort.as_budget()
    if max_tokens is None:
        length += budget  # the budget is part of the length and must be less
    elif effort.budget is None:
        budget = fitting(budget, length)
    if not budget or not may_think:
        return Settings({}, config, length)
    return Settings({**thinking, "type": "enabled", "budget_tokens": budget}, config, length)


def blocks_of(thought: Thought, quirks: Quirks, *, made_it: bool) -> Iterable[JsonObject]:
    """The blocks of a thought for a provider of this format; none for one that it did not sign."""
    state = thought.state or {}
    own = as_object(state.get("anthropic"))
    if quirks.drops_state:
        return
    if data := as_string(own.get("data")):
        yield {"type": "redacted_thinking", "data": data}
    elif signature := as_string(own.get("signature")):
        yield {"type": "thinking", "thinking": thought.text, "signature": signature}
    elif thought.text and (quirks.reasoning_back == "always" or ("anthropic" in state and made_it)):
        yield {"type": "thinking", "thinking": thought.text, "signature": ""}
    yield from blocks_in(state.get("openrouter"))


# --- a client's blocks


def decode_thinking(text: str, signature: str) -> tuple[list[Part], str]:
    """A client's thinking block as thoughts, and the model that made it, if ChatHub sealed its name."""
    if not is_sealed(signature):
        return [Thought(text, {"anthropic": {"signature": signature}} if signature else None)], ""
    sealed = unseal(signature)
    states = sealed.get("states")
    others = [each for each in map(as_object, states if isinstance(states, list) else []) if each]
    thoughts: list[Part] = [
        Thought("", each) for each in others if "field" not in each and "anthropic" not in each
    ]
    if text:
        own = next((each for each in others if "field" in each), None)
        thoughts.insert(0, Thought(text, own))
    return thoughts, as_string(sealed.get("model"))


def decode_redacted(data: str) -> Part:
    return Thought("", {"anthropic": {"data": data}})


# --- forwarded requests


def forwarded(fields: Mapping[str, Raw], cap: int | None, *, drops_state: bool = False) -> dict[str, Raw]:
    """The fields of a forwarded body, with a budget for thinking within ``cap`` (None: the length stays), and
    without the blocks that ChatHub sealed. ``drops_state``: without any thinking, for a signature of it was
    refused."""
    changed = dict(fields)
    thinking = sent = as_object(_decode_any(fields["thinking"])) if "thinking" in fields else {}
    if cap is not None:
        asked = _decode_any(fields["max_tokens"]) if "max_tokens" in fields else None
        changed["max_tokens"] = Raw(b"%d" % cap)
        if not isinstance(asked, int) or cap < asked:
            thinking = smaller_thinking(thinking, cap)
    if drops_state or MARK.encode() in bytes(fields.get("messages", b"")):
        is_unwanted = _is_thinking if drops_state else _is_ours
        messages = with_each(fields["messages"], partial(_without, is_unwanted), MESSAGES)
        changed["messages"] = messages
        if thinking.get("type") == "enabled" and not may_think(_last_two(messages)):
            thinking = {}
    if thinking != sent:
        del changed["thinking"]
        if thinking:
            changed["thinking"] = Raw(msgspec.json.encode(thinking))
    return changed


def converted(fields: Mapping[str, Raw], quirks: Quirks) -> dict[str, Raw]:
    """The fields of a forwarded body, with thinking as the model takes it: with a budget, or adaptive."""
    thinking = as_object(_decode_any(fields["thinking"])) if "thinking" in fields else {}
    takes = {
        "enabled": not quirks.thinks_adaptively or quirks.takes_budget,
        "adaptive": not quirks.refuses_adaptive,
    }
    if takes.get(as_string(thinking.get("type")), True):
        return dict(fields)
    config = as_object(_decode_any(fields.get("output_config", b"{}")))
    params = {"thinking": thinking, **{name: config[name] for name in ("effort",) if name in config}}
    length = whole_number(_decode_any(fields.get("max_tokens", b"null")))
    can_think = may_think(_last_two(fields.get("messages", ABSENT)))
    made = settings(params, quirks, length, may_think=can_think)
    others = {name: value for name, value in config.items() if name != "effort"}
    changes = {
        "thinking": made.thinking,
        "output_config": {**others, **made.output_config},
        "max_tokens": made.max_tokens,
    }
    kept = {name: value for name, value in fields.items() if name not in changes}
    return kept | {name: raw(value) for name, value in changes.items() if value}


def _last_two(messages: Raw) -> list[Any]:
    return [_decode_any(each) for each in (items(messages, MESSAGES) or [])[-2:]]


def _without(is_unwanted: Callable[[object], bool], message: Any) -> Any:
    """A message without some of its blocks; None if nothing is left."""
    content = as_object(message).get("content")
    if not isinstance(content, list):
        return message
    kept = [each for each in content if not is_unwanted(each)]
    return {**message, "content": kept} if kept else None


def _is_thinking(block: object) -> bool:
    return as_object(block).get("type") in TYPES


def _is_ours(block: object) -> bool:
    own = as_object(block)
    return own.get("type") == "thinking" and is_sealed(as_string(own.get("signature")))


def may_think(messages: list[Any]) -> bool:
    """Whether thinking with a budget may be requested. It is refused if the last message is the results of
    tool calls that were made without thinking, or by another model."""
    kinds = [_kind_of(each) for each in messages[-2:]]
    return kinds[-1:] != ["tool_result"] or "thinking" in kinds[0]


def _kind_of(message: object) -> str:
    """The type of a message's first block."""
    content = as_object(message).get("content")
    if not isinstance(content, list):
        return "text"
    return as_string(as_object(content[0]).get("type")) if content else "text"
