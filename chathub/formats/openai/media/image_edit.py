"""Requests for images that are made from others (``POST /v1/images/edits``), as a form or as JSON."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec
from msgspec import Raw, Struct

from chathub.formats import estimates, forwarding
from chathub.formats import loose_json as loose
from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import decode, refuse, whole_number
from chathub.formats.events import Units
from chathub.formats.forms.encode import FormBody
from chathub.formats.forms.form import Form, as_number, is_true
from chathub.formats.openai.media.request import MediaRequest, checked_model
from chathub.formats.openai.media.stream import as_array
from chathub.formats.prompt_counts import PromptCounts
from chathub.formats.text_counts import counts_of_text
from chathub.schemas.json import JsonObject
from chathub.schemas.readable import readable

_MOST_IMAGES = 10
_NAMES = ("model", "n", "size", "quality", "stream", "prompt")
_KNOWN = Known(*_NAMES)
# tokens of an image that is sent, and of one that is made, at most
_SEEN, _MADE = 8_000, 16_000
_IMAGES = ("image", "image[]", "mask", "markup")
_ATTRIBUTE = re.compile(r"[\w.:-]{1,40}", re.ASCII)
# where an attribute is left to the provider
_OPEN = ("", "auto")


class _Head(Struct):
    model: str | None = None
    prompt: str = ""
    n: Any = None
    size: str | None = None
    quality: str | None = None
    stream: bool | None = None
    images: Raw = Raw(b"")


_decode_head = msgspec.json.Decoder(_Head).decode


class ImageEditRequest(MediaRequest):
    """Images count with the size and quality that the provider tells, else with those requested."""

    kind = "image"
    path = "/images/edits"
    model_types = ("image",)
    last_event = b"image_edit.completed"
    is_last_event = re.compile(rb'"type"\s*:\s*"image_\w+\.completed"')

    most: Units

    def __init__(self, source: Form | Mapping[str, Raw], head: _Head, number: int, sent_images: int) -> None:
        self._source = source
        self.model = checked_model(head.model)
        self.streams = bool(head.stream)
        self.expected = number
        self._requested = (head.size or "", head.quality or "")
        self.most = Units("image", number, _chosen(self._requested))
        tokens = estimates.longest(PromptCounts(counts_of_text(head.prompt), messages=1))
        self.most_prompt = tokens + _SEEN * sent_images
        self.most_reply = _MADE * number

    @classmethod
    def of_form(cls, form: Form) -> Self:
        """The request in a form.

        Raises:
            BadRequest: it has no model or no image, or a field is wrong.
        """
        texts = form.texts(*_NAMES)
        number = as_number(texts, "n", _MOST_IMAGES) or 1
        given = form.files(*_IMAGES)
        head = _Head(
            texts.get("model"),
            texts.get("prompt", ""),
            number,
            texts.get("size"),
            texts.get("quality"),
            is_true(texts, "stream"),
        )
        return cls(form, head, number, max(1, len(given)))

    @classmethod
    def of_body(cls, body: bytes) -> Self:
        """The request in JSON, whose images are named by their address or id.

        Raises:
            BadRequest: the body is no such request.
        """
        body = readable(body)
        fields, head = fields_of(body, _KNOWN), decode(_decode_head, body)
        number = 1 if head.n is None else whole_number(head.n)
        if number is None or number > _MOST_IMAGES:
            refuse("n", "field_out_of_range", least=1, most=_MOST_IMAGES)
        return cls(fields, head, number, bytes(head.images).count(b"{"))

    @property
    def sent(self) -> Units:
        return self.most

    def body(self, model: str, *, takes_extras: bool) -> bytes | FormBody:
        if isinstance(self._source, Form):
            return self._source.body(model, takes_extras=takes_extras)
        fields = self._source if takes_extras else forwarding.without_extras(self._source)
        return forwarding.adapted(fields, model)

    def units_of(self, responses: list[JsonObject]) -> Units:
        if not responses:
            return self.most
        images = sum(len(as_array(each.get("data"))) for each in responses)
        told = [loose.as_string(responses[0].get(name)) for name in ("size", "quality")]
        found = [mine if word in _OPEN else word for word, mine in zip(told, self._requested, strict=True)]
        return Units("image", images or len(responses), _chosen(found))


class ImageGenerationRequest(ImageEditRequest):
    """A request for images out of a text alone."""

    path = "/images/generations"
    last_event = b"image_generation.completed"


def _chosen(words: Iterable[str]) -> tuple[str, ...]:
    """The attributes that were not left to the provider, and may have a price."""
    return tuple(word for word in words if word not in _OPEN and _ATTRIBUTE.fullmatch(word))
