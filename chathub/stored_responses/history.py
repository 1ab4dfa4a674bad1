"""What a response continues: the input and the output of the responses before it."""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from chathub.database.transaction import Transaction
from chathub.errors import TooLarge
from chathub.formats.raw_json import ABSENT, changed, value_of
from chathub.formats.responses.references import items_of
from chathub.stored_responses.log import ended_response
from chathub.stored_responses.request import unpacked_items

# bytes of a history: it must fit into a body
_LARGEST = 32 * 1024 * 1024
# the kinds of items whose ids name them for what stores them, which is not the provider
_OURS = ("message", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output")


class _Item(msgspec.Struct):
    type: str = "message"
    encrypted_content: Raw = ABSENT


_item = msgspec.json.Decoder(_Item)
_text = msgspec.json.Decoder(str)


def load(tx: Transaction, response_id: int) -> list[Raw]:
    """The items of a chain up to and with a response.

    Raises:
        TooLarge: together they are larger than a body may be.
    """
    found: list[Raw] = []
    size = 0
    for link in tx.all(tx.q.responses.list_chain, response_id=response_id):
        for item in [*unpacked_items(link.input), *items_of(ended_response(tx, link.id))]:
            size += memoryview(item).nbytes
            found += _sent_back(item)
        if size > _LARGEST:
            raise TooLarge("body_too_large", most=_LARGEST)
    return found


def _sent_back(item: Raw) -> Iterator[Raw]:
    """An item as a provider that stores nothing takes it. Reasoning without its state says nothing to it, nor
    does what is no item."""
    known = value_of(item, _item)
    if known is None:
        return
    encrypted = value_of(known.encrypted_content, _text)
    if known.type in _OURS:
        yield changed(item, {"id": None, "status": None})
    elif known.type != "reasoning" or encrypted:
        yield item
