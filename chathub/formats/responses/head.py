"""What every ``response`` object says beside its output: its id, and the fields of the request."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.raw_json import ABSENT, first_of, is_readable, on_one_line
from chathub.schemas.json import JsonObject

_TEXT, _OBJECT, _LIST, _FLAG, _NUMBER = b'"', b"{", b"[", b"tf", b"-0123456789"
_NULL = Raw(b"null")

# the fields of the request that are given back: how their value begins, and the value of a request that lacks
# them
_FIELDS: Mapping[str, tuple[bytes, Raw]] = {
    "background": (_FLAG, Raw(b"false")),
    "instructions": (_TEXT, _NULL),
    "max_output_tokens": (_NUMBER, _NULL),
    "max_tool_calls": (_NUMBER, _NULL),
    "parallel_tool_calls": (_FLAG, Raw(b"true")),
    "previous_response_id": (_TEXT, _NULL),
    "prompt_cache_key": (_TEXT, _NULL),
    "prompt_cache_retention": (_TEXT, _NULL),
    "reasoning": (_OBJECT, Raw(b'{"effort":null,"summary":null}')),
    "safety_identifier": (_TEXT, _NULL),
    "service_tier": (_TEXT, _NULL),
    "store": (_FLAG, Raw(b"false")),
    "temperature": (_NUMBER, _NULL),
    "text": (_OBJECT, Raw(b'{"format":{"type":"text"}}')),
    "tool_choice": (_TEXT + _OBJECT, Raw(b'"auto"')),
    "tools": (_LIST, Raw(b"[]")),
    "top_logprobs": (_NUMBER, _NULL),
    "top_p": (_NUMBER, _NULL),
    "truncation": (_TEXT, Raw(b'"disabled"')),
    "user": (_TEXT, _NULL),
    "metadata": (_OBJECT, Raw(b"{}")),
}


class ResponseHead(Struct, frozen=True):
    """The id of a response, when it was created (Unix seconds), and the fields of its request as they are
    given back."""

    id: str
    created: int
    fields: Mapping[str, Raw]

    @classmethod
    def of(cls, fields: Mapping[str, Raw], id: str, created: int) -> "ResponseHead":
        """The head for a request; a value of a wrong type, or that cannot be read, counts as
        absent."""
        given = {}
        for name, (beginnings, absent) in _FIELDS.items():
            value = fields.get(name, ABSENT)
            is_given = (first := first_of(value)) and first in beginnings and is_readable(value)
            given[name] = on_one_line(value) if is_given else absent
        return cls(id, created, given)

    def response(
        self,
        model: str,
        status: str,
        output: Sequence[Raw] = (),
        *,
        usage: JsonObject | None = None,
        error: JsonObject | None = None,
        incomplete: str | None = None,
    ) -> Raw:
        """The whole object. ``incomplete`` is the reason for which the output ends early."""
        response: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": error,
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "model": model,
            "output": output,
            **self.fields,
            "usage": usage,
        }
        return Raw(msgspec.json.encode(response))
