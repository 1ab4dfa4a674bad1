"""The fields in which providers of OpenAI's format give the state of reasoning, and in which it goes back to
them: DeepSeek's ``reasoning_content``, OpenRouter's ``reasoning_details``, Google's ``extra_content``.

Most providers refuse fields that they do not know. So each field goes only to a model that gave it, or asked
for it in a refusal.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Message, Part, Thought, ToolCall
from chathub.formats.quirks.table import Quirks
from chathub.formats.reasoning.details import Details, by_place, of_family
from chathub.schemas.json import JsonObject

# Google's own word for the signature of a call that another model made
UNSIGNED = "skip_thought_signature_validator"
# the fields of details and signatures that may be long
_LONG = ("text", "summary", "data", "signature")
# the reasoning of a turn that has none, for a provider that requires some
_NO_REASONING = " "


def signature_in(holder: object) -> str:
    """The thought signature in the ``extra_content`` of a message or tool call."""
    extra = as_object(as_object(holder).get("extra_content"))
    return as_string(as_object(extra.get("google")).get("thought_signature"))


def with_signature(signature: str) -> JsonObject:
    """``extra_content`` with a thought signature."""
    return {"google": {"thought_signature": signature}}


def states_of(delta: JsonObject) -> Iterator[JsonObject]:
    """The data of the states in a delta or message that belong to its reasoning."""
    details = delta.get("reasoning_details")
    if isinstance(details, list) and (items := [item for item in details if isinstance(item, dict)]):
        yield {"openrouter": items}
    if as_string(delta.get("reasoning_content")):
        yield {"field": "reasoning_content"}


def has_plain_reasoning(delta: JsonObject) -> bool:
    return bool(as_string(delta.get("reasoning_content")) or as_string(delta.get("reasoning")))


def text_state_of(delta: JsonObject) -> JsonObject:
    """The data of the state that belongs to the text of a delta or message; empty for none."""
    if not (signature := signature_in(delta)):
        return {}
    alone = {} if as_string(delta.get("content")) else {"alone": True}
    return {"gemini": {"signature": signature, **alone}}


def size_of(data: JsonObject) -> int:
    """The characters of a state."""
    items = data.get("openrouter") or [as_object(data.get("gemini"))]
    return sum(1 + sum(len(as_string(item.get(name))) for name in _LONG) for item in items)


def parts_of(message: Any, spoken: Sequence[Part], calls: Sequence[tuple[ToolCall, object]]) -> list[Part]:
    """An assistant message of a client as parts: its reasoning with the states, what it says, and its tool
    calls, each with its ``extra_content``."""
    text = as_string(message.reasoning_content)
    details = by_place(message.reasoning_details, text)
    parts = _details_at(details, (False, 0))
    if text:
        parts.append(Thought(text, {"field": "reasoning_content"}))
    parts += spoken
    if signature := signature_in({"extra_content": message.extra_content}):
        alone = {} if spoken else {"alone": True}
        parts.append(Thought("", {"gemini": {"signature": signature, **alone}}))
    parts += _details_at(details, (True, 0))
    for number, (call, extra) in enumerate(calls, 1):
        if signature := signature_in({"extra_content": extra}):
            parts.append(Thought("", {"gemini": {"signature": signature, "call": 0}}))
        parts.append(call)
        parts += [*_details_at(details, (False, number)), *_details_at(details, (True, number))]
    return parts


def _details_at(details: dict[tuple[bool, int], list[JsonObject]], place: tuple[bool, int]) -> list[Part]:
    return [Thought("", {"openrouter": details[place]})] if place in details else []


def message_fields(message: Message, model: str, quirks: Quirks) -> JsonObject:
    """The fields of an assistant message beside its content and calls, for ``model``."""
    states = [thought.state or {} for thought in message.thoughts if not quirks.drops_state]
    made_it = bool(message.model) and message.model == model
    fields: JsonObject = {}
    text = "".join([thought.text for thought in message.thoughts])
    gave_text = made_it and any("field" in state for state in states)
    if message.tool_calls and _goes(quirks.reasoning_back, gave_text and bool(text)):
        fields["reasoning_content"] = text or _NO_REASONING
    if details := _details_for(states, model, made_it, quirks):
        fields["reasoning_details"] = details
    if _goes(quirks.signatures_back, made_it):
        kept = [
            state["gemini"] for state in states if "call" not in as_object(state.get("gemini", {"call": 0}))
        ]
        if kept and (signature := as_string(as_object(kept[-1]).get("signature"))):
            fields["extra_content"] = with_signature(signature)
    return fields


def call_signatures(message: Message, model: str, quirks: Quirks) -> list[str]:
    """The thought signature of each tool call, empty for none."""
    if quirks.drops_state or not _goes(
        quirks.signatures_back, bool(message.model) and message.model == model
    ):
        return [""] * len(message.tool_calls)
    signatures, waiting = list[str](), ""
    for part in message.parts:
        if isinstance(part, ToolCall):
            signatures.append(waiting)
            waiting = ""
        elif isinstance(part, Thought) and "call" in (state := as_object((part.state or {}).get("gemini"))):
            waiting = as_string(state.get("signature"))
    if signatures and not any(signatures) and quirks.signatures_back == "always":
        signatures[0] = UNSIGNED
    return signatures


def _details_for(states: list[JsonObject], model: str, made_it: bool, quirks: Quirks) -> list[JsonObject]:
    """The reasoning details for a model: all of them if it made them, else those of its family."""
    details = Details()
    for state in states:
        details.add(state.get("openrouter"))
    if made_it and quirks.details_back != "never":
        return details.whole()
    return of_family(details.whole(), model) if quirks.details_back == "always" else []


def _goes(rule: str, is_given: bool) -> bool:
    return rule == "always" or (rule == "given" and is_given)
