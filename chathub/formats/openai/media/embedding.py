"""Requests for vectors (``POST /v1/embeddings``). No other format than OpenAI's has them."""

from msgspec import Raw

from chathub.errors import BadRequest
from chathub.formats.events import Event
from chathub.formats.openai.decode_embeddings import decode_embedding_usage, only_token_ids
from chathub.formats.openai.decode_request import decode_fields, decode_head
from chathub.formats.openai.media.request import JsonRequest
from chathub.schemas.readable import readable


class EmbeddingRequest(JsonRequest):
    """A client may have split its texts into tokens itself."""

    kind = "embedding"
    path = "/embeddings"
    model_types = ("embedding",)
    streams = False
    # vectors of different models cannot be compared
    falls_back = False

    def __init__(self, body: bytes) -> None:
        body = readable(body)
        self._fields = decode_fields(body)
        self.model = decode_head(body).model
        given = only_token_ids(self._fields.get("input", Raw(b"")))
        self._count_prompt(body, given)

    @property
    def unsupported(self) -> BadRequest:
        return BadRequest("embeddings_unsupported", model=self.model)

    def decode_body(self, body: bytes) -> list[Event]:
        return [decode_embedding_usage(body)]
