"""Sources in OpenAI's format: decoded from annotations and lists of search results, encoded as annotations.

Sources: OpenAI's API reference ("Web search", ``annotations``), the documentation of OpenRouter
(``annotations`` with ``content``), Perplexity and xAI (``citations``, ``search_results``), Zhipu
(``web_search``), Hunyuan (``search_info``), Qianfan (``search_results``), Ark (``references``), Azure ("On
your data", ``context``), Groq (``executed_tools``).
"""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from chathub.formats.events import Source
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.sources import SourceList, in_list, in_object
from chathub.schemas.json import JsonObject

# lists of search results or addresses, those with titles first
LISTS = ("search_results", "web_search", "references", "citations")
# annotations of one response that are read
_MOST = 1000


class Citations:
    """The sources of one response.

    Some providers repeat their lists in every chunk, so the last list of each name counts; it is decoded at
    the end.
    """

    def __init__(self) -> None:
        self._annotations: list[object] = []
        self._lists: dict[str, object] = {}

    def keep(self, name: str, raw: Raw) -> None:
        """Keep a list that was not decoded."""
        if len(raw) > 4:  # more than null or []
            self._lists[name] = bytes(raw)

    def take(self, value: JsonObject, choice: JsonObject, delta: JsonObject) -> None:
        """Take what a chunk or a whole body has, in all places where providers put it."""
        annotations = delta.get("annotations")
        if isinstance(annotations, list) and len(self._annotations) < _MOST:
            self._annotations += annotations
        for holder in (as_object(delta.get("context")), delta, choice, value):
            for name in LISTS:
                if holder.get(name):
                    self._lists[name] = holder[name]
        if found := as_object(value.get("search_info")).get("search_results"):
            self._lists["search_results"] = found
        tools = delta.get("executed_tools")
        for tool in tools if isinstance(tools, list) else []:
            if found := as_object(as_object(tool).get("search_results")).get("results"):
                self._lists["executed_tools"] = found

    def all(self) -> list[Source]:
        """All sources; empty afterwards."""
        if not self._annotations and not self._lists:
            return []
        found = SourceList()
        for annotation in self._annotations[:_MOST]:
            if source := _of_annotation(as_object(annotation)):
                found.cite(source)
        for name in (*LISTS, "executed_tools"):
            for source in in_list(_decoded(self._lists.get(name))):
                found.found(source)
        self._annotations, self._lists = [], {}
        return found.all()


def _decoded(value: object) -> object:
    try:
        return msgspec.json.decode(value) if isinstance(value, bytes) else value
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _of_annotation(annotation: JsonObject) -> Source | None:
    """The source of an annotation; some relays leave out the inner object."""
    kind = as_string(annotation.get("type"))
    inner = as_object(annotation.get(kind)) or annotation
    source = in_object(inner)
    start, end = inner.get("start_index"), inner.get("end_index")
    if not isinstance(start, int) or not isinstance(end, int):
        start = end = None
    return Source(source.title, source.url, source.quote, start, end)


# --- for clients


def annotations(sources: Iterable[Source]) -> list[JsonObject]:
    """The sources as ``annotations``; one without a place has the offsets 0, as OpenRouter sends them."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": source.url,
                "title": source.title,
                "start_index": source.start or 0,
                "end_index": source.end or 0,
                **({"content": source.quote} if source.quote else {}),
            },
        }
        for source in sources
    ]
