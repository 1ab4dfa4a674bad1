"""Sources of a response: collected from what its provider sends, cleaned and in one form."""

import io
import re
from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from chathub.formats.events import Source
from chathub.formats.loose_json import as_object, as_string
from chathub.text import well_formed

# sources of one response, and the characters of their fields
_MOST = 200
_TITLE, _URL, _QUOTE = 500, 2000, 1000
# a run of bytes: its first one, the one after it, and its text where the provider sends that
Run = tuple[int, int, str]
# a run of code points; None: not known
Place = tuple[int, int] | None

_WEB = re.compile(r"https?://[^\s<>\"\\]+")


class SourceList:
    """The sources of one response in the order they came; each one once.

    A search result without a place in the text counts only where nothing cites its address.
    """

    def __init__(self) -> None:
        self._sources: dict[Source, None] = {}
        self._results: dict[Source, None] = {}

    def cite(self, source: Source) -> None:
        """Add a source that the text cites."""
        if len(self._sources) < _MOST and (clean := _clean(source)):
            self._sources[clean] = None

    def found(self, source: Source) -> None:
        """Add a search result, which the text need not cite."""
        if len(self._results) < _MOST and (clean := _clean(source)):
            self._results[clean] = None

    def all(self) -> list[Source]:
        """The cited sources, then the other search results."""
        known = {source.url for source in self._sources if source.url}
        sources = list(self._sources)
        for result in self._results:
            if result.url not in known:
                known |= {result.url} if result.url else set()
                sources.append(result)
        return sources[:_MOST]


def _clean(source: Source) -> Source | None:
    """A source with fields of a bounded length and a place that can be; None for one without a name."""
    url = source.url.strip()
    url = url if len(url) <= _URL and _WEB.fullmatch(url) else ""
    start, end = source.start, source.end
    if start is None or end is None or not 0 <= start < end:
        start = end = None
    title, quote = _short(source.title, _TITLE), _short(source.quote, _QUOTE)
    return Source(title, well_formed(url), quote, start, end) if url or title else None


def _short(text: str, most: int) -> str:
    return well_formed(text.replace("\0", ""))[:most]


def moved(source: Source, by: int) -> Source:
    """A source whose place is in a text of which the first characters were taken away."""
    if not by or source.start is None or source.end is None:
        return source
    if source.end <= by:
        return replace(source, start=None, end=None)
    return replace(source, start=max(0, source.start - by), end=source.end - by)


class Insertions:
    """Texts of ours in a response, which its provider does not count."""

    def __init__(self) -> None:
        self._inserted: list[tuple[int, int]] = []

    def add(self, at: int, length: int) -> None:
        """A text was inserted; ``at`` counts those inserted before."""
        self._inserted.append((at, length))

    def moved(self, source: Source) -> Source:
        """A source with its place in the text as it is now."""
        start, end = source.start, source.end
        if start is None or end is None:
            return source
        for at, length in self._inserted:
            start += length if start >= at else 0
            end += length if end > at else 0
        return replace(source, start=start, end=end)


def in_list(value: object) -> Iterator[Source]:
    """The sources in a list of addresses or search results, of any provider."""
    for item in value if isinstance(value, list) else []:
        if isinstance(item, str):
            yield Source("", item)
        elif isinstance(item, dict):
            yield in_object(item)


def in_object(value: dict[str, object]) -> Source:
    """A search result, in the fields of Perplexity, Zhipu, Hunyuan, Qianfan, Ark, Azure and Anthropic."""
    inner = as_object(value.get("document")) or as_object(value.get("source")) or value
    url = _first(value, "url", "link", "uri", "source") or _first(inner, "url", "link", "uri")
    title = _first(value, "title", "document_title", "name", "filename") or _first(inner, "title", "name")
    return Source(title, url, _first(value, "cited_text", "snippet", "content", "summary", "text", "quote"))


def _first(value: dict[str, object], *names: str) -> str:
    return next((text for name in names if (text := as_string(value.get(name)))), "")


class TextBytes:
    """The text of a response, to turn offsets in its UTF-8 bytes into code points.

    Of a text of more than a million characters no place is known.
    """

    _MOST_CHARACTERS = 1_000_000

    def __init__(self) -> None:
        # one buffer: a list of very many short texts would take many times as much
        self._text = io.StringIO()
        self._length = 0

    def add(self, text: str) -> None:
        if self._length <= self._MOST_CHARACTERS:
            self._length += self._text.write(text)

    def places(self, runs: Sequence[Run]) -> Iterator[Place]:
        """The code points of each run. Where the offsets do not lead to the run's own text, that is searched
        for."""
        text = self._text.getvalue() if self._length <= self._MOST_CHARACTERS else ""
        points = _code_points(text, {offset for run in runs for offset in run[:2]})
        for start, end, said in runs:
            first, last = points.get(start, -1), points.get(end, -1)
            if 0 <= first < last and (not said or text[first:last] == said):
                yield first, last
            else:
                at = text.find(said) if said else -1
                yield (at, at + len(said)) if at >= 0 else None


def _code_points(text: str, offsets: Collection[int]) -> dict[int, int]:
    """For offsets in the UTF-8 of a text the number of code points before them, in one pass."""
    data, found = text.encode("utf-8", "replace"), dict[int, int]()
    before = count = 0
    for offset in sorted(offsets):
        if 0 <= offset <= len(data):
            count += len(data[before:offset].decode("utf-8", "ignore"))
            found[offset], before = count, offset
    return found
