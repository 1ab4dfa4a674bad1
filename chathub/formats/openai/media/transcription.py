"""Requests for a transcript or a translation of a recording, whose seconds count."""

import math
import re

from chathub.formats import loose_json as fields
from chathub.formats.audio.length import Length, length_of
from chathub.formats.events import Units
from chathub.formats.forms.encode import FormBody
from chathub.formats.forms.form import Form, is_true
from chathub.formats.openai.media.request import MediaRequest, checked_model
from chathub.schemas.json import JsonObject

# tokens of a second of a recording, and of what is said in it, at most
_HEARD, _SAID = 20, 10
_TEXT_FORMATS = ("text", "srt", "vtt")


class TranscriptionRequest(MediaRequest):
    """Seconds are those that the provider reports, else those of the file."""

    kind = "transcription"
    path = "/audio/transcriptions"
    model_types = ("audio",)
    # a minute
    least = 60
    last_event = b"transcript.text.done"
    is_last_event = re.compile(rb'"type"\s*:\s*"transcript\.text\.done"')

    def __init__(self, form: Form, length: Length) -> None:
        texts = form.texts("model", "stream", "response_format")
        self.model = checked_model(texts.get("model"))
        self.streams = is_true(texts, "stream")
        self.is_text = texts.get("response_format") in _TEXT_FORMATS
        self._form, self._length = form, length
        self.most = Units("second", math.ceil(length.most))
        self.most_prompt, self.most_reply = _HEARD * self.most.count, _SAID * self.most.count

    @classmethod
    async def of(cls, form: Form) -> "TranscriptionRequest":
        """The request in a form.

        Raises:
            BadRequest: it has no model, or not one file.
        """
        form.texts("model")
        file = form.file("file")
        length = await length_of(file.extent.size, lambda start, size: form.read_in(file.extent, start, size))
        return cls(form, length)

    @property
    def sent(self) -> Units:
        return Units("second", math.ceil(self._length.seconds))

    def body(self, model: str, *, takes_extras: bool) -> FormBody:
        return self._form.body(model, takes_extras=takes_extras)

    def units_of(self, responses: list[JsonObject]) -> Units:
        for response in responses:
            usage = fields.as_object(response.get("usage"))
            for told in (usage.get("seconds"), response.get("duration")):
                if (seconds := _seconds(told)) is not None:
                    return Units("second", math.ceil(seconds))
        return self.sent


class TranslationRequest(TranscriptionRequest):
    path = "/audio/translations"


def _seconds(told: object) -> float | None:
    """Seconds as a provider tells them: a number, or its text."""
    try:
        seconds = float(told) if isinstance(told, int | float | str) and not isinstance(told, bool) else -1.0
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
