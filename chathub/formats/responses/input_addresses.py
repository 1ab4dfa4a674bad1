"""Images that the input of a forwarded request names by their address."""

import msgspec
from msgspec import Raw, Struct

from chathub.formats import request_parts
from chathub.formats.client_format import Replace
from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE
from chathub.formats.messages import Image
from chathub.formats.raw_json import ABSENT, changed, look, value_of, with_each_raw


class _Item(Struct):
    content: Raw = ABSENT
    output: Raw = ABSENT


class _Part(Struct):
    type: str = ""
    image_url: Raw = ABSENT


_item = msgspec.json.Decoder(_Item)
_part = msgspec.json.Decoder(_Part)
_text = msgspec.json.Decoder(str)


def replace_parts(messages: Raw, replace: Replace) -> Raw:
    """The input with other images in place of those by address. Documents by address are for the provider to
    fetch."""
    # most requests have no image: their items are not taken apart
    if b'"input_image"' not in bytes(messages):
        return messages
    return with_each_raw(messages, lambda item: _replaced_in(item, replace), MESSAGES)


def _replaced_in(item: Raw, replace: Replace) -> Raw:
    found = look(item, _item)
    changes = {}
    for name in ("content", "output") if found else ():
        parts = getattr(found, name)
        better = with_each_raw(parts, lambda part: _replaced(part, replace), PARTS_OF_ONE)
        if better is not parts:
            changes[name] = better
    return changed(item, changes) if changes else item


def _replaced(part: Raw, replace: Replace) -> Raw:
    found = look(part, _part)
    if found is None or found.type != "input_image" or memoryview(found.image_url).nbytes > 8192:
        return part
    url = value_of(found.image_url, _text) or ""
    image = replace(Image(url=url)) if url.startswith(("http:", "https:")) else None
    if not isinstance(image, Image):
        return part
    data = request_parts.base64_of(image.data)
    return changed(part, {"image_url": f"data:{image.media_type};base64,{data}"})
