"""Sources in Anthropic's format: decoded from the citations of text blocks and from search results, encoded
as citations.

Source: Anthropic's API reference ("Citations", "Web search tool", "Search results"). A citation belongs to a
text block, and supports all of its text; its own offsets are those of the document.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from chathub.formats.events import Source
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.sources import SourceList, in_object
from chathub.schemas.json import JsonObject

# blocks of one response of which citations are kept, and citations of one block
_MOST_BLOCKS, _MOST = 4096, 200


class _Cited(Struct):
    """A text block: where it starts in the text, and what it cites."""

    start: int
    end: int | None = None
    citations: list[object] = field(default_factory=list)


class Citations:
    """The sources of one response; ``length`` is the number of code points of its text so far."""

    def __init__(self) -> None:
        self.length = 0
        self._blocks: dict[object, _Cited] = {}
        self._results: list[object] = []

    def start(self, index: object, content: JsonObject) -> None:
        """A block has started; its text has not been counted."""
        kind = as_string(content.get("type"))
        if kind == "text" and len(self._blocks) < _MOST_BLOCKS:
            block = self._blocks[index] = _Cited(self.length)
            citations = content.get("citations")
            block.citations += citations[:_MOST] if isinstance(citations, list) else []
        elif kind in ("web_search_tool_result", "search_result") and len(self._results) < _MOST:
            results = content.get("content")
            self._results += results[:_MOST] if isinstance(results, list) else []

    def grow(self, index: object, delta: JsonObject) -> None:
        """A ``citations_delta`` has come."""
        block = self._blocks.get(index)
        if block is not None and len(block.citations) < _MOST:
            block.citations.append(delta.get("citation"))

    def stop(self, index: object) -> None:
        """A block has stopped."""
        block = self._blocks.get(index)
        if block is not None and block.end is None:
            block.end = self.length

    def all(self) -> list[Source]:
        """All sources."""
        found = SourceList()
        for block in self._blocks.values():
            for citation in block.citations:
                source = in_object(as_object(citation))
                title = source.title or _untitled(as_object(citation))
                end = self.length if block.end is None else block.end
                found.cite(Source(title, source.url, source.quote, block.start, end))
        for result in self._results:
            if as_object(result).get("type") == "web_search_result":
                page = as_object(result)
                found.found(Source(as_string(page.get("title")), as_string(page.get("url"))))
        return found.all()


def _untitled(citation: JsonObject) -> str:
    """The name of a document that the client gave no title."""
    index = citation.get("document_index")
    return f"document {index + 1}" if isinstance(index, int) else ""


# --- for clients


def citation(source: Source) -> JsonObject:
    """A source as a citation of a text block. ``encrypted_index`` means something to Anthropic only."""
    return {
        "type": "web_search_result_location",
        "url": source.url,
        "title": source.title or None,
        "cited_text": source.quote,
        "encrypted_index": "",
    }


def in_one_line(sources: Iterable[Source]) -> str:
    """Sources as a sentence, where no text block is left that could cite them."""
    return "Sources: " + "; ".join(" ".join(filter(None, (each.title, each.url))) for each in sources)


def with_citations(content: list[JsonObject], sources: Sequence[Source]) -> list[JsonObject]:
    """The blocks of a message; each run of text that sources support is a block of its own with their
    citations, and what supports all of the text is cited at its end."""
    texts = [block for block in content if block["type"] == "text"]
    if not sources:
        return content
    if not texts:
        return [*content, {"type": "text", "text": in_one_line(sources)}]
    length = sum(len(block["text"]) for block in texts)
    runs, loose = _runs(sources, length)
    cited: list[JsonObject] = []
    at = 0
    for block in content:
        if block["type"] != "text":
            cited.append(block)
            continue
        text = block["text"]
        cited += _cut(text, at, runs)
        at += len(text)
        if block is texts[-1] and loose:
            cited[-1].setdefault("citations", []).extend(map(citation, loose))
    return cited


Runs = list[tuple[int, int, list[Source]]]


def _runs(sources: Iterable[Source], length: int) -> tuple[Runs, list[Source]]:
    """The runs of text that sources support, in order, and the sources without a place. Runs that overlap
    become one."""
    runs: Runs = []
    loose: list[Source] = []
    for source in sorted(sources, key=lambda each: (each.start or 0, each.end or 0)):
        if source.start is None or source.end is None or source.end > length:
            loose.append(source)
        elif runs and source.start < runs[-1][1]:
            start, end, cited = runs[-1]
            runs[-1] = start, max(end, source.end), [*cited, source]
        else:
            runs.append((source.start, source.end, [source]))
    return runs, loose


def _cut(text: str, at: int, runs: Runs) -> list[JsonObject]:
    """A text block that begins at a code point of the whole text, as blocks with citations."""
    blocks: list[JsonObject] = []
    done = 0
    for start, end, cited in runs:
        first, last = max(start - at, done), min(end - at, len(text))
        if first < last:
            blocks += [_block(text[done:first], []), _block(text[first:last], cited)]
            done = last
    return [block for block in (*blocks, _block(text[done:], [])) if block["text"]]


def _block(text: str, sources: list[Source]) -> JsonObject:
    block: JsonObject = {"type": "text", "text": text}
    return block | {"citations": [citation(source) for source in sources]} if sources else block
