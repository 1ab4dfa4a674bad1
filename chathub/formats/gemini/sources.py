"""Sources in Gemini's format: web pages that an answer is grounded in, and citations.

Source: Google's API reference ("Grounding with Google Search", ``GroundingMetadata``, ``CitationMetadata``).
Offsets are bytes of the text; zero is left out.
"""

import msgspec
from msgspec import Raw

from chathub.formats.events import Source
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.sources import Run, SourceList, TextBytes
from chathub.schemas.json import JsonObject

# supports and citations that are read
_MOST = 1000


class Grounding:
    """The sources of one response. Each response of a stream has all of them so far, so the last ones
    count; ``text`` is the text so far."""

    def __init__(self) -> None:
        self.text = TextBytes()
        self._grounding: object = None
        self._citations: object = None

    def keep(self, grounding: Raw, citations: Raw) -> None:
        """Keep metadata that was not decoded."""
        if len(grounding) > 4:  # more than null or {}
            self._grounding = bytes(grounding)
        if len(citations) > 4:
            self._citations = bytes(citations)

    def take(self, candidate: JsonObject) -> None:
        """Take the metadata of a candidate."""
        self._grounding = candidate.get("groundingMetadata") or self._grounding
        self._citations = candidate.get("citationMetadata") or self._citations

    def all(self) -> list[Source]:
        """All sources."""
        found = SourceList()
        grounding, citations = _decoded(self._grounding), _decoded(self._citations)
        cited: list[tuple[Source, Run]] = [*_supported(grounding), *_cited(citations)][:_MOST]
        places = self.text.places([run for _, run in cited])
        for (source, _), place in zip(cited, places, strict=True):
            start, end = place or (None, None)
            found.cite(Source(source.title, source.url, source.quote, start, end))
        for page in _pages(grounding):
            found.found(page)
        return found.all()


def _decoded(value: object) -> JsonObject:
    try:
        return as_object(msgspec.json.decode(value) if isinstance(value, bytes) else value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def _pages(grounding: JsonObject) -> list[Source]:
    return [_page(as_object(chunk)) for chunk in _list(grounding.get("groundingChunks"))]


def _page(chunk: JsonObject) -> Source:
    holder = as_object(chunk.get("web") or chunk.get("retrievedContext") or chunk.get("maps"))
    title, url = as_string(holder.get("title")), as_string(holder.get("uri"))
    return Source(title, url, as_string(holder.get("text")))


def _supported(grounding: JsonObject) -> list[tuple[Source, Run]]:
    """Each page with each run of text that it supports."""
    pages, found = _pages(grounding), []
    for support in _list(grounding.get("groundingSupports")):
        segment = as_object(as_object(support).get("segment"))
        for index in _list(as_object(support).get("groundingChunkIndices")):
            if isinstance(index, int) and 0 <= index < len(pages):
                found.append((pages[index], _run(segment, as_string(segment.get("text")))))
    return found


def _cited(citations: JsonObject) -> list[tuple[Source, Run]]:
    items = _list(citations.get("citationSources") or citations.get("citations"))
    return [(_citation(as_object(item)), _run(as_object(item))) for item in items]


def _citation(item: JsonObject) -> Source:
    return Source(as_string(item.get("title")), as_string(item.get("uri")))


def _run(value: JsonObject, said: str = "") -> Run:
    start, end = value.get("startIndex"), value.get("endIndex")
    return start if isinstance(start, int) else 0, end if isinstance(end, int) else 0, said


def _list(value: object) -> list[object]:
    return value[:_MOST] if isinstance(value, list) else []
