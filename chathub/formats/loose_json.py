"""Reads JSON objects of unknown content: every field may be absent, null or of another type.

Nothing here raises; a value of another type counts as absent.
"""

from collections.abc import Iterator, Mapping, Sequence

from chathub.formats.events import Failure, Reasoning, Text, ToolCallDelta, Usage
from chathub.formats.failures import error_bodies
from chathub.schemas.json import JsonObject
from chathub.text import well_formed

# tool calls of one response; further ones are ignored
_MOST_CALLS = 1024
# a higher count is decoded as this one: above it a sum of counts would not fit into 64 bits
_HIGHEST = 10**18
# digits of a count that is a text
_LONGEST_COUNT = 19
# counts of one response, and characters of their names
_MOST_COUNTS = 100
# where counts are: OpenAI's place, and that of its Responses API, which relays pass on
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_REASONING = ("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens")
# … of the tokens that were read from the cache also those of a relay, DeepSeek and Moonshot, and Anthropic's
_CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_tokens_details.cached_read_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
)
# … and those that were written to it: all, those that are kept for five minutes, and those for an hour
ANTHROPIC_WRITES = (
    "cache_creation_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
)
# OpenRouter's, that of OpenAI's Responses, DashScope's, those of three relays, and Anthropic's where a relay
# passes them on
_WRITES = (
    ("prompt_tokens_details.cache_write_tokens", "", ""),
    ("input_tokens_details.cache_write_tokens", "", ""),
    (
        "prompt_tokens_details.cache_creation_tokens",
        "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",
        "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
    ),
    ("prompt_tokens_details.cached_write_tokens", "", ""),
    tuple(f"prompt_tokens_details.{name}" for name in ANTHROPIC_WRITES),
    (
        "prompt_tokens_details.cached_creation_tokens",
        "claude_cache_creation_5_m_tokens",
        "claude_cache_creation_1_h_tokens",
    ),
    ANTHROPIC_WRITES,
)
_ANY_WRITES = frozenset(name for places in _WRITES for name in places)


class ToolCalls:
    """Assigns fragments to tool calls, which are numbered from 0 in the order they appear."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._names: list[str] = []
        self._by_index: dict[int, int] = {}

    def take(self, items: object) -> Iterator[tuple[ToolCallDelta, str]]:
        """The fragments, each with the thought signature beside it (Google's ``extra_content``)."""
        for position, item in enumerate(items if isinstance(items, list) else []):
            function = as_object(as_object(item).get("function"))
            call_id = well_formed(as_string(as_object(item).get("id")))
            name = well_formed(as_string(function.get("name")))
            arguments = function.get("arguments")
            if isinstance(arguments, dict):
                arguments = error_bodies.compact(arguments)
            arguments = as_string(arguments)
            extra = as_object(as_object(as_object(item).get("extra_content")).get("google"))
            signature = well_formed(as_string(extra.get("thought_signature")))
            if call_id or name or arguments or signature:
                slot = self._slot(item.get("index"), position, call_id, name)
                if slot is None:
                    continue
                call_id, name = self._once(self._ids, slot, call_id), self._once(self._names, slot, name)
                yield ToolCallDelta(slot, call_id, name, arguments), signature

    def _slot(self, index: object, position: int, call_id: str, name: str) -> int | None:
        if not isinstance(index, int) or isinstance(index, bool):
            if call_id in self._ids:
                return self._ids.index(call_id) if call_id else self._by_index.get(position, 0)
            index = position
        slot = self._by_index.get(index)
        # older Ollama sends each whole call under index 0: another id with a name is another call
        if slot is None or (call_id and name and self._ids[slot] not in ("", call_id)):
            if len(self._ids) == _MOST_CALLS:
                return None
            slot = self._by_index[index] = len(self._ids)
            self._ids.append("")
            self._names.append("")
        return slot

    @staticmethod
    def _once(known: list[str], slot: int, value: str) -> str:
        """``value`` the first time that it is not empty; Hunyuan repeats the id in every fragment."""
        if known[slot]:
            return ""
        known[slot] = value
        return value


def read_usage(counts: Mapping[str, int]) -> Usage:
    """Tokens from the counts of OpenAI-style usage objects. A count that is absent becomes ``None``, not 0;
    of several places the highest counts, for relays fill those that they do not know with zeros.

    The total is the sum only where it is absent or less: xAI's includes the reasoning.
    """
    prompt, completion = _highest(counts, _PROMPT), _highest(counts, _COMPLETION)
    reasoning, cached = _highest(counts, _REASONING), _highest(counts, _CACHED)
    written, for_1h = None, None
    if not counts.keys().isdisjoint(_ANY_WRITES):
        written, for_1h = max(found for places in _WRITES if (found := cache_writes(counts, places)))
    total, in_cache = counts.get("total_tokens"), (cached or 0) + (written or 0)
    if prompt is not None:
        rest = (total or 0) - prompt - (completion or 0)
        # Grok has reported more cached tokens than sent ones: only relays of Anthropic count writes
        is_more = written is not None and in_cache > prompt
        if is_more or _is_beside(in_cache, rest, reasoning or 0):
            prompt += in_cache
        if completion is not None:
            total = max(total or 0, prompt + completion)
    return Usage(prompt, completion, total, reasoning, cached, written, for_1h)


def _is_beside(in_cache: int, rest: int, reasoning: int) -> bool:
    """Whether the tokens of the cache are counted beside the prompt, as Anthropic does: they are the ``rest``
    of the total, with the reasoning or without."""
    return in_cache > 0 and rest != reasoning and rest - in_cache in (0, reasoning)


def _highest(counts: Mapping[str, int], places: Sequence[str]) -> int | None:
    found = [counts[place] for place in places if place in counts]
    return max(found) if found else None


def cache_writes(counts: Mapping[str, int], places: Sequence[str]) -> tuple[int, int] | None:
    """The tokens that were written to the cache, and those of them that are kept for an hour; None where
    none of the places has a count."""
    if counts.keys().isdisjoint(places):
        return None
    total, *parts = (counts.get(place, 0) for place in places)
    written = total if places[0] in counts else sum(parts)
    return written, min(parts[1], written)


def update_counts(counts: dict[str, int], usage: JsonObject) -> None:
    """Take over the counts of a usage object, those of inner objects as ``outer.inner``. A zero or null
    does not replace a count from before: some servers send what they do not know as 0."""
    for name, value in usage.items():
        if type(value) is int and name in counts:
            # some servers send the usage with every chunk
            if value > 0:
                counts[name] = min(value, _HIGHEST)
        else:
            _update(counts, name, value, 2)


def _update(counts: dict[str, int], name: str, value: object, depth: int) -> None:
    if type(value) is dict:
        for inner, count in value.items() if depth else ():
            _update(counts, f"{name}.{inner}", count, depth - 1)
        return
    count = as_count(value)
    if count is None or (not count and name in counts):
        return
    if name in counts or (len(counts) < _MOST_COUNTS and 0 < len(name) < _MOST_COUNTS):
        counts[name] = count


def usage_object(chunk: JsonObject, choice: JsonObject) -> JsonObject:
    for holder in (chunk, as_object(chunk.get("x_groq")), choice):  # the last is Moonshot's place
        if usage := as_object(holder.get("usage")):
            return usage
    return {}


def texts(
    delta: JsonObject, *, with_details: bool = True
) -> Iterator[tuple[type[Text] | type[Reasoning], str]]:
    """The texts of a delta. Some providers send the same reasoning in several fields: the first one counts,
    and those ``with_details`` last."""
    thought = as_string(delta.get("reasoning_content")) or as_string(delta.get("reasoning"))
    details = delta.get("reasoning_details") if with_details else None
    if not thought and isinstance(details, list):
        items = [as_object(item) for item in details]
        thought = "".join(as_string(item.get("text")) or as_string(item.get("summary")) for item in items)
    if thought:
        yield Reasoning, thought
    content = delta.get("content")
    for part in content if isinstance(content, list) else [content]:
        yield from _part(part)


def _part(part: object) -> Iterator[tuple[type[Text] | type[Reasoning], str]]:
    """A string, or one of Mistral's parts: ``{"text": …}``, ``{"thinking": [{"text": …}]}``."""
    thinking = as_object(part).get("thinking")
    for inner in thinking if isinstance(thinking, list) else [thinking]:
        if thought := as_string(inner) or as_string(as_object(inner).get("text")):
            yield Reasoning, thought
    if text := as_string(part) or as_string(as_object(part).get("text")):
        yield Text, text


def refusal(value: object, otherwise: str, kind: str = "refused") -> Failure:
    """The provider's error inside a 200; without a message, a failure of that kind with the code
    ``otherwise``."""
    failure = error_bodies.from_error(value)
    return Failure.found(otherwise, kind=kind, status=200) if failure.message == "HTTP 200" else failure


def first(value: object) -> JsonObject:
    return as_object(value[0]) if isinstance(value, list) and value else {}


def as_object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def as_string(value: object) -> str:
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int | None:
    """A whole number of zero or more, which some servers write as ``12.0`` or ``"12"``."""
    if isinstance(value, str):
        number = int(value) if value.isdecimal() and len(value) <= _LONGEST_COUNT else -1
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else -1
    else:
        number = value if isinstance(value, int) and not isinstance(value, bool) else -1
    return min(number, _HIGHEST) if number >= 0 else None
