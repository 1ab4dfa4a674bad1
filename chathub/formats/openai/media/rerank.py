"""Requests that rank documents by a query (``POST /v1/rerank``), as Jina, Cohere and SiliconFlow have it."""

import msgspec
from msgspec import Raw, Struct

from chathub.formats import loose_json as loose
from chathub.formats.body_fields import Known, fields_of
from chathub.formats.client_request import count_items, decode
from chathub.formats.events import Units, Usage
from chathub.formats.openai.media.request import JsonRequest, checked_model
from chathub.schemas.json import JsonObject
from chathub.schemas.readable import readable

_KNOWN = Known("model", "query", "documents", "top_n")
_MOST_DOCUMENTS = 10_000
# documents of one search, and tokens from which on a document counts as two
_DOCUMENTS, _TOKENS = 100, 500


class _Head(Struct):
    model: str | None = None
    documents: Raw = Raw(b"[]")


_decode_head = msgspec.json.Decoder(_Head).decode


class RerankRequest(JsonRequest):
    """Searches are those that the provider tells, else one for each hundred documents."""

    kind = "rerank"
    path = "/rerank"
    model_types = ("rerank",)
    streams = False

    def __init__(self, body: bytes) -> None:
        body = readable(body)
        self._fields, head = fields_of(body, _KNOWN), decode(_decode_head, body)
        self.model = checked_model(head.model)
        self._count_prompt(body)
        number = max(1, count_items(head.documents, _MOST_DOCUMENTS, "documents"))
        self._searches = Units("search", -(-number // _DOCUMENTS))
        self.most = Units("search", -(-(number + self.most_prompt // _TOKENS) // _DOCUMENTS))

    @property
    def sent(self) -> Units:
        return self._searches

    def units_of(self, responses: list[JsonObject]) -> Units:
        for response in responses:
            billed = loose.as_object(loose.as_object(response.get("meta")).get("billed_units"))
            if told := loose.as_count(billed.get("search_units")):
                return Units("search", told)
        return self._searches

    def usage_in(self, response: JsonObject) -> Usage:
        meta = loose.as_object(response.get("meta"))
        for found in (response.get("usage"), meta.get("billed_units"), meta.get("tokens")):
            counts: dict[str, int] = {}
            loose.update_counts(counts, loose.as_object(found))
            told = loose.read_usage(counts)
            tokens = told.prompt_tokens or counts.get("total_tokens")
            if tokens is not None:
                output = told.completion_tokens or 0
                return Usage(tokens, output, tokens + output)
        return Usage()
