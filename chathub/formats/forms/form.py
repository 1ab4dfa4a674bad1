"""A form that has come whole: its fields, with the short texts at hand and everything else kept elsewhere."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from chathub.formats.client_request import refuse
from chathub.formats.forms.decode import Part
from chathub.formats.forms.encode import Extent, FormBody, Read, encode_form
from chathub.formats.forwarding import is_extra

# bytes of a text that is kept in memory, and of all texts together
LONGEST_TEXT, LONGEST_TEXTS = 128 * 1024, 512 * 1024
# what servers take for true, in lower case
_TRUE = ("true", "1", "t", "yes", "y", "on")


class Field(NamedTuple):
    """A part with the place of its bytes; ``text`` are those bytes, if it is a short text."""

    part: Part
    extent: Extent
    text: bytes | None = None


class Form(Struct, frozen=True):
    """The fields of a form in their order. ``known`` are the names of those that ChatHub reads, each of which
    comes once: of two, the provider might read the other one."""

    fields: list[Field]
    read: Read

    def texts(self, *known: str) -> Mapping[str, str]:
        """The texts of the known fields that are there.

        Raises:
            BadRequest: one comes twice, is a file, or is not short.
        """
        found: dict[str, str] = {}
        folded = {name.casefold(): name for name in known}
        for part, _, text in self.fields:
            meant = folded.get(part.name.casefold())
            if meant is None:
                continue
            if part.name != meant:
                refuse(part.name, "field_case_differs", meant=meant)
            if meant in found:
                refuse(meant, "field_repeated")
            if text is None:
                refuse(meant, "field_invalid")
            found[meant] = text.decode("utf-8", "replace").strip()
        return found

    def file(self, name: str) -> Field:
        """The only file in this field.

        Raises:
            BadRequest: there is none, or more than one: the provider might read another one.
        """
        found = [field for field in self.fields if field.part.name.casefold() == name.casefold()]
        for field in found:
            if field.part.name != name:
                refuse(field.part.name, "field_case_differs", meant=name)
        if len(found) > 1:
            refuse(name, "field_repeated")
        return self.files(name)[0]

    def files(self, *names: str) -> list[Field]:
        """The files in these fields.

        Raises:
            BadRequest: there is none.
        """
        found = [
            field for field in self.fields if field.part.name in names and field.part.filename is not None
        ]
        if not found:
            refuse(names[0], "field_required")
        return found

    async def read_in(self, extent: Extent, start: int, size: int) -> bytes:
        """Some bytes of a file, fewer at its end."""
        size = min(size, extent.size - start)
        return await self.read(extent.start + start, size) if size > 0 else b""

    def body(self, model: str, *, takes_extras: bool) -> FormBody:
        """The form as it goes to a provider, with the name that the model has there."""
        fields: list[tuple[Part, bytes | Extent]] = []
        for part, extent, text in self.fields:
            if part.name == "model":
                text = model.encode()
            if takes_extras or not is_extra(part.name.partition("[")[0]):
                fields.append((part, extent if text is None else text))
        return encode_form(fields, self.read)


def is_true(texts: Mapping[str, str], name: str) -> bool:
    """Whether a text means yes. A server that takes it for no sends no stream, which is read as well."""
    return texts.get(name, "").casefold() in _TRUE


def as_number(texts: Mapping[str, str], name: str, most: int) -> int | None:
    """A text that is a whole number from 1 to ``most``; None where it is not there.

    Raises:
        BadRequest: it is anything else.
    """
    text = texts.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= most and len(text) < 9):
        refuse(name, "field_out_of_range", least=1, most=most)
    return int(text)
