"""Attachments in responses: images, recordings and files, from base64, data URLs and https addresses.

Providers send them in many forms; each format's folder knows the places, this module the forms. What cannot
be read (an address that is not https, broken base64) becomes an attachment without content, so that the
client learns that something came.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address

from chathub.formats.events import Attachment, Event, Source, Text
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.sources import Insertions
from chathub.formats.urls import hostname
from chathub.schemas import base64
from chathub.schemas.json import JsonObject
from chathub.sentences import sentence
from chathub.text import well_formed

# bytes of the attachments of one reply
MOST_BYTES = 20 * 1024 * 1024
# characters of an address, of a file's name and of a transcript
_ADDRESS, _NAME, _TRANSCRIPT = 2000, 200, 100_000
# the last labels of names in private networks
_PRIVATE = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_UNKNOWN = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+_-]*(; ?[a-z0-9_-]+=[a-z0-9._-]+)*")
_NOT_IN_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\"]")
# the types of content parts
_PARTS = re.compile(r"(output_|input_)?(image|audio|video|file|document)(_url|_generation_call)?")

# how a file begins → its media type; of RIFF files (None) the four characters after the size say it
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"OggS": "audio/ogg",
    b"fLaC": "audio/flac",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"\xff\xf3": "audio/mpeg",
    b"\xff\xf2": "audio/mpeg",
    b"%PDF-": "application/pdf",
}
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}
# where a file's ending is not the form of its media type
_ENDINGS = {"jpeg": "jpg", "mpeg": "mp3", "svg+xml": "svg", "plain": "txt", "octet-stream": "bin"}


def ending_of(media_type: str) -> str:
    """The ending of the name of a file, without a dot."""
    form = media_type.partition(";")[0].partition("/")[2]
    ending = _ENDINGS.get(form, form)
    return ending if ending.isalnum() else "bin"


def from_bytes(data: bytes, media_type: str, name: str = "", transcript: str = "") -> Attachment:
    """An attachment; where its first bytes show another media type, that one counts."""
    kind = _kind_of(data) or _plain(media_type)
    return Attachment(kind, data, name=_short(name), transcript=transcript)


def from_base64(text: str, media_type: str, name: str = "", transcript: str = "") -> Attachment:
    """An attachment from base64, also with line breaks, without padding, or in the alphabet for URLs."""
    try:
        data = base64.decode_loosely(text)
    except ValueError:
        data = b""
    return from_bytes(data, media_type, name, transcript)


def from_url(url: str, media_type: str = "", name: str = "") -> Attachment:
    """An attachment from a data URL, or an https address, which is passed on and not fetched."""
    if url[:5].lower() == "data:":
        head, _, data = url[5:].partition(",")
        declared, *options = head.split(";")
        # a parameter such as the rate of raw audio belongs to the media type
        kind = ";".join([declared, *(each for each in options if "=" in each)])
        if options and options[-1].strip().lower() == "base64":
            return from_base64(data, kind or media_type, name)
        return Attachment(_plain(kind), name=_short(name))
    fit = url if is_public(url) else ""
    return Attachment(_plain(media_type), url=fit, name=_short(name))


def is_public(url: str) -> bool:
    """Whether an address may be given to clients: https, without a password, and of no private network."""
    if not url.startswith("https://") or len(url) > _ADDRESS:
        return False
    try:
        host = hostname(url)
    except ValueError:
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE)


def in_part(part: object) -> Attachment | None:
    """The attachment of a content part, in the forms of OpenAI's APIs, Anthropic's and their relatives:
    ``{"type": "image_url", "image_url": {"url": …}}``, ``{"type": "output_image", "b64_json": …}``,
    ``{"type": "image", "source": {"type": "base64", …}}``, ``{"type": "file", "file": {"file_data": …}}``."""
    value = as_object(part)
    kind = _kind_of_part(value)
    for holder in _holders(value):
        media_type = _first(holder, "media_type", "mime_type", "mimeType") or _guess(holder, kind)
        name = _first({**value, **holder}, "filename", "name", "title")
        if url := _first(holder, "url", "image_url", "audio_url", "file_url", "video_url"):
            return from_url(url, media_type, name)
        if data := _first(holder, "b64_json", "data", "file_data", "base64", "result"):
            if data[:5] == "data:":
                return from_url(data, media_type, name)
            return from_base64(data, media_type, name, _transcript(holder))
    return None


def is_media(part: object) -> bool:
    """Whether a content part is one that ``in_part`` reads."""
    return _PARTS.fullmatch(as_string(as_object(part).get("type"))) is not None


def _kind_of_part(value: JsonObject) -> str:
    match = _PARTS.fullmatch(as_string(value.get("type")))
    return match[2] if match else "image"


def _holders(value: JsonObject) -> Iterator[JsonObject]:
    """The objects of a part that may have the content, the innermost first."""
    for name in ("source", "image_url", "audio_url", "file", "image", "audio", "input_audio", "output_audio"):
        if isinstance(inner := value.get(name), dict):
            yield inner
        elif isinstance(inner, str) and inner[:5].lower() in ("data:", "https"):
            yield {**value, "url": inner}
    yield value


def _guess(holder: JsonObject, kind: str) -> str:
    form = as_string(holder.get("format")) or as_string(holder.get("output_format"))
    # a range where only the kind is known: the bytes say more, if there are bytes
    usual = f"{kind}/*" if kind in ("image", "audio", "video") else _UNKNOWN
    return f"{kind}/{form}" if form and usual != _UNKNOWN else usual


def _transcript(holder: JsonObject) -> str:
    return transcript_of(holder.get("transcript"))


def transcript_of(value: object) -> str:
    """What is said in a recording, of a bounded length."""
    return well_formed(as_string(value)[:_TRANSCRIPT])


def _first(holder: JsonObject, *names: str) -> str:
    return next((text for name in names if (text := as_string(holder.get(name)))), "")


def _kind_of(data: bytes) -> str:
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12], "")
    return next((kind for start, kind in _BEGINNINGS.items() if data.startswith(start)), "")


def _plain(media_type: str) -> str:
    """A media type that may stand in a header."""
    kind = media_type.strip().lower().replace("image/jpg", "image/jpeg")
    if kind.endswith("/*"):
        return kind if kind in ("image/*", "audio/*", "video/*") else _UNKNOWN
    return kind if len(kind) <= 100 and _MEDIA_TYPE.fullmatch(kind) else _UNKNOWN


def _short(name: str) -> str:
    return _NOT_IN_NAME.sub("_", well_formed(name))[:_NAME]


class Base64Pieces:
    """Decodes base64 that arrives in pieces: a piece may have padding of its own, or end inside a group of
    four characters. ``size`` is the number of bytes so far."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._rest = ""
        self.size = 0
        self.is_broken = False

    def add(self, text: str) -> None:
        """Decode a piece as far as possible."""
        text = self._rest + "".join(text.split())
        # what follows padding begins anew
        *padded, open_end = re.split(r"(?<==)(?!=)", text)
        whole = len(open_end) // 4 * 4
        self._rest = open_end[whole:]
        for run in (*padded, open_end[:whole]):
            self._decode(run)

    def close(self) -> bytes:
        """All bytes; empty if something was no base64."""
        self._decode(self._rest)
        return b"" if self.is_broken else b"".join(self._pieces)

    def _decode(self, text: str) -> None:
        try:
            data = base64.decode_loosely(text)
        except ValueError:
            self.is_broken = True
            return
        self._pieces.append(data)
        self.size += len(data)


def size_text(size: int) -> str:
    """A size for people: ``12 KB``, ``1.5 MB``."""
    if size < 1024 * 1024:
        return f"{max(1, round(size / 1024))} KB"
    return f"{size / 1024 / 1024:.1f} MB".replace(".0", "")


def described(attachment: Attachment) -> str:
    """An attachment in a few words: its media type, and its size or address."""
    kind = attachment.media_type or "file"
    if attachment.url:
        return f"{kind} at {attachment.url}"
    return f"{kind}, {size_text(len(attachment.data))}" if attachment.data else kind


def worded(events: Iterable[Event], keeps: Callable[[Attachment], bool]) -> list[Event]:
    """The events of a whole reply with a sentence in place of each attachment that ``keeps`` refuses; sources
    keep their places in the text."""
    out: list[Event] = []
    insertions, length = Insertions(), 0
    for event in events:
        if isinstance(event, Attachment) and not keeps(event):
            event = in_words(event)
            insertions.add(length, len(event.text))
        if isinstance(event, Text):
            length += len(event.text)
        out.append(insertions.moved(event) if isinstance(event, Source) else event)
    return out


def in_words(attachment: Attachment, code: str = "attachment_unsupported") -> Text:
    """An attachment as a sentence for programs, which says what came, and what was said in it."""
    if not attachment.data and not attachment.url:
        code = "attachment_unreadable"
    told = sentence(code, "en", {"what": described(attachment), "most": MOST_BYTES})
    return Text(f"{told} {attachment.transcript}".rstrip())
