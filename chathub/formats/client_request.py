"""A client's request, decoded from any format, and the checks that all formats share.

Every error names the field in ``details["param"]``.
"""

from collections.abc import Callable, Iterator, Sized
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from chathub.errors import BadRequest
from chathub.formats.messages import Message
from chathub.schemas.bounds import has_more
from chathub.schemas.json import JsonObject
from chathub.schemas.problems import field_name, problem_of
from chathub.sentences import Param, Reason

MESSAGES = 10_000
# parts, blocks and tool calls: of one list, and of all messages together
PARTS_OF_ONE = 1_000
PARTS = 20_000
TOOLS = 1_000
# values in blocks that only one format knows
VALUES = 200_000
STOPS = 16
NAME_LENGTH = 200
# characters of JSON, decoded for some formats into objects up to thirty times as large
ARGUMENTS = 2 * 1024 * 1024
T = TypeVar("T")

# bytes of a message that can have few parts only
_SMALL = 64 * 1024


class Head(Struct, frozen=True):
    """The fields of a body that ChatHub must know if the body is forwarded unchanged.

    ``max_tokens`` is the requested length of one reply, from ``length_fields`` of the body; ``choices`` the
    number of replies; ``include_usage``: the stream is to contain the usage; ``has_stream_options``: the
    client sends that field itself; ``requests_media``: the reply may contain images or audio.
    """

    model: str
    stream: bool
    include_usage: bool = False
    max_tokens: int | None = None
    length_fields: tuple[str, ...] = ()
    choices: int = 1
    has_stream_options: bool = False
    requests_media: bool = False


class ClientRequest(Struct, frozen=True, kw_only=True):
    """A client's chat request; ``params``, ``tools``, ``tool_choice`` and ``extra`` are as in
    ``ChatRequest``."""

    model: str
    messages: list[Message]
    params: JsonObject = field(default_factory=dict)
    tools: list[JsonObject] = field(default_factory=list)
    tool_choice: Any = None
    stream: bool = False
    extra: JsonObject = field(default_factory=dict)


def whole_number(value: Any) -> int | None:
    """A positive whole number from a field of any type; providers accept ``20.0`` as well."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return int(value) if known and value == value // 1 and value < 10**12 else None


def number_in_range(param: str, value: Any, most: int) -> int:
    """A number from 1 to ``most``; 1 where there is none. Any other value is refused, for a provider may read
    it as a number.

    Raises:
        BadRequest: it is none of these.
    """
    number = 1 if value is None else whole_number(value)
    if number is None or number > most:
        refuse(param, "field_out_of_range", least=1, most=most)
    return number


def refuse(param: str, code: str, **params: Param) -> NoReturn:
    """Refuse a request for one of its fields.

    Raises:
        BadRequest: always; ``param`` is the field, as in ``messages[0].content``.
    """
    reason = Reason(code, {"where": field_name(param), "field": param, **params})
    raise BadRequest.of(reason, details={"param": param})


def decode(decoder: Callable[[bytes | Raw], T], data: bytes | Raw, place: str = "") -> T:
    """Decode JSON with a msgspec decoder; ``place`` is the position of ``data`` in the body.

    Raises:
        BadRequest: malformed JSON, or a field that does not fit.
    """
    try:
        return decoder(data)
    except msgspec.ValidationError as error:
        field, reason = problem_of(error, decoder.__self__.type, place)  # type: ignore[attr-defined]
        raise BadRequest.of(reason, details={"param": field} if field else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("json_invalid") from None


_decode_any = msgspec.json.Decoder(Any).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode


class _Lists(Struct):
    """The fields of messages and blocks that may be lists."""

    content: Raw | UnsetType = UNSET
    tool_calls: Raw | UnsetType = UNSET
    output: Raw | UnsetType = UNSET
    summary: Raw | UnsetType = UNSET


_decode_lists = msgspec.json.Decoder(_Lists).decode

_decode_object = msgspec.json.Decoder(JsonObject).decode


def fields_besides(fields: dict[str, Raw], known: tuple[str, ...]) -> JsonObject:
    """The fields that are not ``known``, unchanged."""
    return {name: decode(_decode_any, raw, name) for name, raw in fields.items() if name not in known}


def messages_of(raw: Raw, decoder: Callable[[bytes | Raw], T], field: str = "messages") -> Iterator[T]:
    """The messages of a body, decoded one by one: a single call for all of them would stop every thread.
    ``field`` is the field that they are in.

    Raises:
        BadRequest: no list, an empty one, too many, or an invalid message.
    """
    if has_more(raw, MESSAGES):
        refuse(field, "list_too_long", most=MESSAGES)
    items = decode(_decode_items, raw, field)
    if not items:
        refuse(field, "list_empty")
    for number, item in enumerate(items):
        _check_lists(item, f"{field}[{number}]")
        yield decode(decoder, item, f"{field}[{number}]")


def count_items(raw: Raw, most: int, field: str) -> int:
    """How many items a list has, without building them.

    Raises:
        BadRequest: no list, or too many.
    """
    if has_more(raw, most):
        refuse(field, "list_too_long", most=most)
    return len(decode(_decode_items, raw, field))


def _check_lists(item: Raw, place: str, levels: int = 2) -> None:
    """Check the lists in a large message, and in its blocks, before they are decoded."""
    if memoryview(item).nbytes <= _SMALL or bytes(memoryview(item)[:1]) != b"{":
        return
    lists = decode(_decode_lists, item, place)
    for name in lists.__struct_fields__:
        inner = getattr(lists, name)
        if inner is UNSET or bytes(memoryview(inner)[:1]) != b"[":
            continue
        if has_more(inner, PARTS_OF_ONE):
            refuse(f"{place}.{name}", "list_too_long", most=PARTS_OF_ONE)
        for number, part in enumerate(decode(_decode_items, inner) if levels > 1 else []):
            _check_lists(part, f"{place}.{name}[{number}]", levels - 1)


class Parts:
    """Counts the parts, blocks and tool calls of one request's messages, which are in ``field``."""

    def __init__(self, field: str = "messages") -> None:
        self._field = field
        self._count = 0
        self._values = 0

    def add(self, *contents: Sized | str | None) -> None:
        """Count the items of each list; a text counts nothing.

        Raises:
            BadRequest: there are too many to be encoded in every format.
        """
        self._count += sum(len(each) for each in contents if each and not isinstance(each, str))
        if self._count > PARTS:
            refuse(self._field, "too_many_parts", most=PARTS)

    def add_values(self, raw: Raw) -> None:
        """Count the values of a block of an unknown kind, before they become objects.

        Raises:
            BadRequest: there are too many.
        """
        text = bytes(raw)
        self._values += sum(text.count(mark) for mark in (b",", b"[", b"{"))
        if self._values > VALUES:
            refuse(self._field, "too_many_values")


def check_arguments(messages: list[Message], field: str = "messages") -> None:
    """Check the size of the arguments of all tool calls together: they are decoded for a provider.

    Raises:
        BadRequest: they are too large.
    """
    size = sum(len(call.arguments) for message in messages for call in message.tool_calls)
    if size > ARGUMENTS:
        refuse(field, "arguments_too_large", most=ARGUMENTS)


def object_text(raw: Raw, place: str) -> str:
    """The text of a JSON object as the client wrote it: encoding it again could change its numbers."""
    if memoryview(raw).nbytes > ARGUMENTS:
        refuse(place, "field_too_many_bytes", most=ARGUMENTS)
    decode(_decode_object, raw, place)
    return bytes(raw).decode()
