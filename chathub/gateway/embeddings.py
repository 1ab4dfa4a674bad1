"""Embeddings for programs, forwarded to providers of OpenAI's format: no other format has embeddings."""

from functools import partial

from chathub.formats import estimates, forwarding, openai
from chathub.formats.events import Failure
from chathub.formats.messages import Endpoint, UpstreamRequest
from chathub.formats.passed_headers import passed_headers
from chathub.formats.prompt_counts import counts_of_body, counts_of_unreadable
from chathub.gateway.failures import without_secrets
from chathub.gateway.forwarded_request import forwardable
from chathub.gateway.piping import without_key
from chathub.gateway.request import GatewayRequest
from chathub.gateway.sink import Sink
from chathub.gateway.usage_meter import UsageMeter
from chathub.providers.candidates import Candidate
from chathub.schemas.readable import readable
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed, Client
from chathub.upstream.failover import Trial


class EmbeddingRequest:
    """A request of ``POST /v1/embeddings``: its fields, its model, and its tokens, about and at most.

    Raises:
        BadRequest: the body is not valid.
    """

    def __init__(self, body: bytes) -> None:
        body = readable(body)
        self.fields = openai.decode_fields(body)
        self.model = openai.decode_head(body).model
        given = openai.count_token_ids(self.fields)
        counts = counts_of_body(body) or counts_of_unreadable(body)
        self.tokens = estimates.expected(counts) if given is None else given
        self.longest = estimates.longest(counts) if given is None else given


class EmbeddingExchange:
    """The attempts of one request for embeddings; ``body`` is the response, ``candidate`` the one that was
    tried last."""

    def __init__(
        self,
        client: Client,
        gateway_request: GatewayRequest,
        candidate: Candidate,
        request: EmbeddingRequest,
        sink: Sink,
    ) -> None:
        self._sink = sink
        self._client = client
        self._gateway_request = gateway_request
        self._request = request
        self.candidate = candidate
        self.body = b""

    async def prepare(self, candidate: Candidate) -> Trial:
        self.candidate, meter = candidate, UsageMeter(self._request.tokens, 1)
        self._gateway_request.add_meter(meter, candidate.model)
        return Trial(meter, partial(self._attempt, meter))

    async def _attempt(self, meter: UsageMeter, endpoint: Endpoint) -> Failure | None:
        async with self._client.lease(endpoint) as leased:
            fields = forwardable(self._gateway_request, self.candidate, self._request.fields)
            body = forwarding.adapted(fields, self.candidate.model.upstream_name)
            url, headers = openai.embeddings_url(leased.base_url), forwarding.headers_for(leased)
            request = UpstreamRequest(url, headers, body)
            async with self._client.raw(leased, request, meter.mark_sent) as response:
                self._sink.headers = without_secrets(passed_headers(response.headers), [leased.api_key])
                data = await http.whole_body(response, http.LARGE_BOUNDS.body, self._gateway_request.memory)
                if isinstance(data, Failure):
                    return data
                usage = openai.decode_embedding_usage(data)
                if isinstance(usage, Failure):
                    raise AttemptFailed(usage)
        meter.feed([usage])
        self.body = without_key(data, meter)
        return None
