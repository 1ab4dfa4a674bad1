"""Repairs the parts of a message in OpenAI's format: base64, and the kind and type that the bytes have."""

import msgspec
from msgspec import Raw, Struct

from chathub.formats import media
from chathub.formats.client_request import PARTS_OF_ONE
from chathub.formats.raw_json import ABSENT, are_same, changed, first_of, items, joined, look, raw, value_of

# the name of a document without one: OpenAI requires it
UNNAMED = "document.pdf"
_NO_TEXT = raw("")
_PDF_URL = f"data:{media.PDF};"
_IMAGE_URLS = tuple(f"data:{kind};" for kind in media.IMAGES)
_FORMATS = {media_type: name for name, media_type in media.AUDIO_FORMATS.items()}


class _Part(Struct):
    type: str = ""
    text: Raw = ABSENT
    image_url: Raw = ABSENT
    input_audio: Raw = ABSENT
    file: Raw = ABSENT


class _Image(Struct):
    url: Raw = ABSENT


class _Audio(Struct):
    data: Raw = ABSENT
    format: str = ""


class _File(Struct):
    file_data: Raw = ABSENT


_part = msgspec.json.Decoder(_Part)
_image = msgspec.json.Decoder(_Image)
_audio = msgspec.json.Decoder(_Audio)
_file = msgspec.json.Decoder(_File)
_text = msgspec.json.Decoder(str)


def repaired_content(value: Raw) -> Raw:
    parts = items(value, PARTS_OF_ONE)
    if parts is None:
        return value
    if not parts:
        return _NO_TEXT
    better = [_repaired_part(each) for each in parts]
    return value if are_same(better, parts) else joined(better)


def _repaired_part(part: Raw) -> Raw:
    found = look(part, _part)
    if found is None:
        return part
    if found.type == "text":
        return changed(part, {"text": _NO_TEXT}) if first_of(found.text) == b"n" else part
    if first_of(found.image_url) == b'"':
        return _image_part(part, part, "image_url", found.image_url)
    if image := look(found.image_url, _image):
        return _image_part(part, found.image_url, "url", image.url)
    if file := look(found.file, _file):
        return _file_part(part, found.file, file.file_data)
    if audio := look(found.input_audio, _audio):
        return _audio_part(part, found.input_audio, audio)
    return part


def _image_part(part: Raw, holder: Raw, name: str, value: Raw) -> Raw:
    """A part with a repaired data URL in one field of its holder; a document in it is no image."""
    url = value_of(value, _text) or ""
    better = data_url(url)
    if better.startswith(_PDF_URL):
        file = {"filename": UNNAMED, "file_data": better}
        return changed(part, {"type": "file", "file": file, "image_url": None})
    if better == url:
        return part
    repaired = changed(holder, {name: better})
    return repaired if holder is part else changed(part, {"image_url": repaired})


def _file_part(part: Raw, file: Raw, value: Raw) -> Raw:
    """A part with a repaired document; an image in it is no document."""
    data = value_of(value, _text) or ""
    better = data_url(data)
    if better.startswith(_IMAGE_URLS):
        return changed(part, {"type": "image_url", "image_url": {"url": better}, "file": None})
    return part if better == data else changed(part, {"file": changed(file, {"file_data": better})})


def _audio_part(part: Raw, recording: Raw, found: _Audio) -> Raw:
    """A recording in strict base64, with the format that its bytes have."""
    text = value_of(found.data, _text) or ""
    data = media.strict_base64(text.partition(";base64,")[2] or text)
    changes = {} if data == text else {"data": data}
    actual = _FORMATS.get(media.type_of_base64(data), found.format)
    if actual != found.format:
        changes["format"] = actual
    return changed(part, {"input_audio": changed(recording, changes)}) if changes else part


def data_url(url: str) -> str:
    """A data URL in strict base64, with the media type that its bytes have."""
    head, mark, data = url.partition(",")
    if url[:5].lower() != "data:" or not head.lower().rstrip().endswith(";base64"):
        return url
    data = media.strict_base64(data)
    actual = media.type_of_base64(data)
    if actual and actual != head[5:].partition(";")[0]:
        head = f"data:{actual};base64"
    return head + mark + data
