"""The reasoning items in the input of a request, as a provider that has Responses takes them."""

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import MESSAGES
from chathub.formats.loose_json import as_object
from chathub.formats.quirks.table import Quirks
from chathub.formats.raw_json import ABSENT, changed, first_of, look, value_of, with_each_raw
from chathub.formats.reasoning import seal


class _Item(Struct):
    type: str = ""
    encrypted_content: Raw = ABSENT
    content: Raw = ABSENT


_item = msgspec.json.Decoder(_Item)
_text = msgspec.json.Decoder(str)


def for_provider(input: Raw, quirks: Quirks) -> Raw:
    """The input without the reasoning that the provider could not read: that of other formats, which ChatHub
    has sealed, and items that it would look for among what it has stored. Its own that was sealed is as it
    gave it."""
    # most requests have no reasoning: their input is not taken apart
    if b'"reasoning"' not in bytes(input):
        return input
    return with_each_raw(input, lambda item: _reasoning(item, quirks), MESSAGES)


def _reasoning(item: Raw, quirks: Quirks) -> Raw | None:
    """An item as it is sent; None for one that is not."""
    found = look(item, _item)
    if found is None or found.type != "reasoning":
        return item
    encrypted = value_of(found.encrypted_content, _text) or ""
    if seal.is_sealed(encrypted):
        own = as_object(seal.unseal(encrypted).get("responses"))
        return changed(item, {**own, "content": None}) if own and not quirks.drops_state else None
    if encrypted:
        return None if quirks.drops_state else item
    # servers of open models take the reasoning itself
    is_open = quirks.responses != "offered" and first_of(found.content) == b"["
    return item if is_open else None
