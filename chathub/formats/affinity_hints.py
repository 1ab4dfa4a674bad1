"""What the requests of one conversation have in common: a field that names it, else the prompt's head."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.raw_json import ABSENT, first_of, value_of

# fields of a body that name a conversation, or whose conversations they are; the first one counts
_FIELDS = ("prompt_cache_key", "session_id", "metadata", "user")
# headers of coding agents with the name of their session
_HEADERS = ("x-claude-code-session-id", "x-session-id", "session-id", "session_id", "x-session-affinity")
_TOOLS = ("tools", "functions")
_INSTRUCTIONS = ("system", "instructions")
_MESSAGES = ("messages", "input")
# characters of one text that are digested
_MOST_OF_TEXT = 64 * 1024
# texts that are digested: a million tiny ones would take half a minute
_MOST_TEXTS = 10_000
# messages among which the first one of the user is looked for
_MOST_BEFORE = 100
# markers for a provider's cache move from turn to turn; what stood between them and other fields goes too
_MARKER = re.compile(rb'"cache_control"\s*:\s*(?:\{[^{}]*\}|null)')
_BETWEEN = b", \t\r\n"
# begins a line of Claude Code's instructions that differs in each request
_BILLING = "x-anthropic-billing-header:"


class _Metadata(Struct, frozen=True):
    user_id: Any = None


_metadata = msgspec.json.Decoder(_Metadata)
_text = msgspec.json.Decoder(str)
_list = msgspec.json.Decoder(list[Raw])
_any = msgspec.json.Decoder(Any)


def hint_of(fields: Mapping[str, Raw], headers: Mapping[str, str]) -> str:
    """What a client's request has in common with others of its conversation. ``headers`` have names in lower
    case."""
    for name in _FIELDS:
        if name in fields and (text := _text_of(name, fields[name])):
            return f"{name}\0{text}"
    for name in _HEADERS:
        if text := headers.get(name, "").strip():
            return f"header\0{text}"
    return f"head\0{_digest_of_head(fields)}"


def _text_of(name: str, value: Raw) -> str:
    """The text of a field; empty for anything else."""
    if name != "metadata":
        return (value_of(value, _text) or "").strip()
    metadata = value_of(value, _metadata)
    user_id = metadata.user_id if metadata else None
    return user_id.strip() if isinstance(user_id, str) else ""


def _digest_of_head(fields: Mapping[str, Raw]) -> str:
    """The digest of the tools, the instructions and the first message of the user."""
    digest = hashlib.blake2b(digest_size=16)
    for name in _TOOLS:
        if name in fields:
            # as they are written: to decode the tools of a coding agent takes milliseconds
            digest.update(_MARKER.sub(b"", bytes(fields[name])).translate(None, _BETWEEN))
    texts = (text for value in _said_first(fields) for text in _texts(value))
    for text in islice(texts, _MOST_TEXTS):
        # of an image or a document the beginning and the length tell enough
        start = f"{len(text)} {text[:_MOST_OF_TEXT]}"
        digest.update(start.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _said_first(fields: Mapping[str, Raw]) -> Iterator[Any]:
    """The instructions and the messages up to the first one of the user, decoded."""
    for name in _INSTRUCTIONS:
        if system := fields.get(name):
            yield value_of(system, _any)
    said = next((fields[name] for name in _MESSAGES if name in fields), ABSENT)
    if first_of(said) == b'"':
        # the next turn has it as an item
        yield {"role": "user", "content": value_of(said, _text)}
    for raw in (value_of(said, _list) or [])[:_MOST_BEFORE]:
        message = value_of(raw, _any)
        yield message
        role = message.get("role", "") if isinstance(message, dict) else None
        if role == "user" or not isinstance(role, str):
            return


def _texts(value: Any) -> Iterator[str]:
    """The texts in a decoded value, which may be nested deeply. Markers for a provider's cache do not count,
    for they move from turn to turn, nor does whether a text stands alone or in a list of parts."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text.partition("\n")[2] if text.startswith(_BILLING) else text
            case list(parts):
                waiting += reversed(parts)
            case {"type": "text", "text": text}:
                waiting.append(text)
            case dict(fields):
                kept = [part for field in fields.items() if field[0] != "cache_control" for part in field]
                waiting += reversed(kept)
            case other:
                yield str(other)
