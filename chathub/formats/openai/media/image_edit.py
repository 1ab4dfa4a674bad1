"""Requests for images, out of a text or of others (``POST /v1/images/edits``), as a form or as JSON.

Sources: OpenAI's API reference, "Images"; SiliconFlow's has other names for the number and the size, and for
the list in the response; Ark's makes groups of images.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec
from msgspec import Raw, Struct

from chathub.formats import estimates, forwarding
from chathub.formats import loose_json as loose
from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import count_items, decode, number_in_range
from chathub.formats.events import Units
from chathub.formats.forms.encode import FormBody
from chathub.formats.forms.form import Form, as_number, is_true
from chathub.formats.openai.media.request import MediaRequest, checked_model
from chathub.formats.openai.media.stream import as_array
from chathub.formats.prompt_counts import PromptCounts
from chathub.formats.text_counts import counts_of_text
from chathub.schemas.json import JsonObject
from chathub.schemas.readable import readable

# images that are made, those of a group, and those that are sent
_MOST_IMAGES, _MOST_OF_GROUP, _MOST_SENT = 10, 15, 100
# the fields that say how many images are made, and how large
_NUMBERS, _SIZES = ("n", "batch_size"), ("image_size", "size")
_GROUP, _GROUP_OPTIONS = "sequential_image_generation", "sequential_image_generation_options"
# the fields with images, in JSON
_SENT = ("image", "images")
_NAMES = ("model", *_NUMBERS, *_SIZES, "quality", "stream", "prompt")
_KNOWN = Known(*_NAMES, *_SENT, _GROUP, _GROUP_OPTIONS, long=("prompt", *_SENT, "mask"))
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
    batch_size: Any = None
    size: str | None = None
    image_size: str | None = None
    quality: str | None = None
    stream: bool | None = None
    sequential_image_generation: Any = None
    sequential_image_generation_options: Any = None


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
        self._requested = (head.image_size or head.size or "", head.quality or "")
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
        number = max(as_number(texts, name, _MOST_IMAGES) or 1 for name in _NUMBERS)
        given = form.files(*_IMAGES)
        head = _Head(
            model=texts.get("model"),
            prompt=texts.get("prompt", ""),
            size=texts.get("size"),
            image_size=texts.get("image_size"),
            quality=texts.get("quality"),
            stream=is_true(texts, "stream"),
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
        number = max(number_in_range(name, getattr(head, name), _MOST_IMAGES) for name in _NUMBERS)
        if head.sequential_image_generation not in (None, "disabled"):
            options = loose.as_object(head.sequential_image_generation_options)
            given = options.get("max_images", _MOST_OF_GROUP)
            number = max(number, number_in_range(f"{_GROUP_OPTIONS}.max_images", given, _MOST_OF_GROUP))
        sent = sum(_sent(fields[name], name) for name in _SENT if name in fields)
        return cls(fields, head, number, sent)

    def body(self, model: str, *, takes_extras: bool) -> bytes | FormBody:
        if isinstance(self._source, Form):
            return self._source.body(model, takes_extras=takes_extras)
        fields = self._source if takes_extras else forwarding.without_extras(self._source)
        return forwarding.adapted(fields, model)

    def units_of(self, responses: list[JsonObject]) -> Units:
        if not responses:
            return self.most
        told = [loose.as_string(responses[0].get(name)) for name in ("size", "quality")]
        found = [mine if word in _OPEN else word for word, mine in zip(told, self._requested, strict=True)]
        return Units("image", self._made(responses), _chosen(found))

    def _made(self, responses: list[JsonObject]) -> int:
        """How many images were made: as it is told, else those in the lists, else one for each event."""
        usage = loose.as_object(responses[-1].get("usage"))
        if (told := loose.as_count(usage.get("generated_images"))) is not None:
            return told
        made = 0
        for response in responses:
            lists = [found for name in ("data", "images") if isinstance(found := response.get(name), list)]
            if lists:
                made += sum(1 for image in as_array(lists[0]) if not image.get("error"))
            else:
                made += 1 if response.get("type") else self.most.count
        return made


class ImageGenerationRequest(ImageEditRequest):
    """A request for images out of a text alone."""

    path = "/images/generations"
    last_event = b"image_generation.completed"


def _sent(raw: Raw, name: str) -> int:
    """The images in a field: one, or a list of them."""
    is_list = bytes(memoryview(raw)[:1]) == b"["
    return count_items(raw, _MOST_SENT, name) if is_list else int(bytes(memoryview(raw)[:5]) != b"null")


def _chosen(words: Iterable[str]) -> tuple[str, ...]:
    """The attributes that were not left to the provider, and may have a price."""
    return tuple(word for word in words if word not in _OPEN and _ATTRIBUTE.fullmatch(word))
