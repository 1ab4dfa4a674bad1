"""Counts the tokens of a prompt before it is sent: by its provider where that counts, else by an estimate.

Nothing is generated, reserved or entered into the ledger.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from chathub.billing.token_weights import TokenWeights
from chathub.formats.anthropic.count_tokens import encode_count
from chathub.formats.client_format import ClientFormat, Recall, counts_of_decoded
from chathub.formats.events import Event, Failure
from chathub.formats.failures.table import meaning_of
from chathub.formats.masking import masked
from chathub.formats.messages import Attempt, ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.passed_headers import passed_headers
from chathub.formats.quirks.table import Quirks
from chathub.formats.registry import TokenCounting, format_named
from chathub.formats.stream_decoder import UNREADABLE
from chathub.gateway.failures import error_for, without_secrets
from chathub.gateway.forwarded_request import ForwardedRequest
from chathub.gateway.request import GatewayRequest
from chathub.offload import Offload
from chathub.providers.candidates import Candidate
from chathub.running.key_reports import KeyReports
from chathub.upstream import failover, http
from chathub.upstream.client import Client, Sending, sending_of
from chathub.upstream.failover import Progress, Trial
from chathub.upstream.fetch_media import Fetched

# seconds that a provider may take to count
_SECONDS = 20
# counts of one user that providers do at once; more are estimated
_AT_ONCE = 32
# tokens of a prompt that are believed
_MOST_TOKENS = 1_000_000_000
# failures that are about the request or the model: an estimate would hide them
_TOLD = ("upstream_refused", "content_filter", "model_unavailable", "model_retired")
# statuses of a path that a provider does not have
_NO_PATH = (404, 405, 501)


class TokenCount(NamedTuple):
    """The response to a client that counts tokens, in Anthropic's format, and the provider's headers that are
    passed on."""

    tokens: int
    body: bytes
    is_estimated: bool
    headers: Mapping[str, str]


class TokenCounts:
    """Counts tokens for programs."""

    def __init__(
        self, client: Client, offload: Offload, key_reports: KeyReports, token_weights: TokenWeights
    ) -> None:
        self._client = client
        self._offload = offload
        self._key_reports = key_reports
        self._token_weights = token_weights
        self._running: Counter[int] = Counter()

    async def count(
        self,
        request: GatewayRequest,
        client_format: ClientFormat,
        headers: Mapping[str, str],
        recall: Recall,
    ) -> TokenCount:
        """The tokens of a request for its model; ``headers`` are the client's, in lower case.

        Raises:
            ChatHubError: the provider says that the model or the request is not valid, or the request cannot
                be read.
        """
        candidate = request.candidates.in_order[0]
        exchange = _Exchange(self._client, self._offload, request, candidate, client_format, headers, recall)
        if self._running[request.user_id] < _AT_ONCE:
            self._running[request.user_id] += 1
            try:
                failure = await self._try(exchange, candidate)
            finally:
                self._running[request.user_id] -= 1
                self._running += Counter()
            if exchange.body:
                return TokenCount(exchange.tokens, exchange.body, is_estimated=False, headers=exchange.passed)
            if failure is not None and _is_told(failure):
                raise error_for(failure, candidate, exchange.endpoint)
        counts = await self._offload.run(len(client_format.body), counts_of_decoded, client_format)
        tokens = self._token_weights.expected(candidate.model, counts)
        return TokenCount(tokens, encode_count(tokens), is_estimated=True, headers={})

    async def _try(self, exchange: "_Exchange", candidate: Candidate) -> Failure | None:
        report = self._key_reports.for_request(exchange.user_id, exchange.candidates)

        async def report_key(attempt: Attempt) -> None:
            # a limit of counts says nothing of chats
            if attempt.failure is not None and meaning_of(attempt.failure).failure_class == "invalid_key":
                await report(attempt)

        try:
            async with asyncio.timeout(_SECONDS):
                return await failover.run([candidate], exchange.prepare, report_key)
        except TimeoutError:
            return None


def _is_told(failure: Failure) -> bool:
    """Whether a failure is the client's to know; a provider that does not count has no such path."""
    code = meaning_of(failure).code
    if code == "upstream_refused":
        return failure.status not in _NO_PATH
    return code in _TOLD


class _Progress(Progress):
    """No part of a reply comes."""

    has_output = False

    def reset_attempt(self) -> None:
        pass

    def feed(self, events: list[Event]) -> bool:
        return True


class _Exchange:
    """The attempts of one count; ``body`` is the response of a provider that has counted."""

    def __init__(
        self,
        client: Client,
        offload: Offload,
        request: GatewayRequest,
        candidate: Candidate,
        client_format: ClientFormat,
        headers: Mapping[str, str],
        recall: Recall,
    ) -> None:
        self._client = client
        self._offload = offload
        self._request = request
        self._candidate = candidate
        self._format = client_format
        self._headers = headers
        self._recall = recall
        self.user_id, self.candidates = request.user_id, request.candidates
        self.endpoint: Endpoint | None = None
        self.tokens, self.body = 0, b""
        self.passed: Mapping[str, str] = {}

    async def prepare(self, _: Candidate) -> Trial:
        progress = _Progress()
        progress.excluded_keys = self._request.excluded_keys
        return Trial(progress, partial(self._attempt, progress))

    async def _attempt(self, progress: _Progress, endpoint: Endpoint) -> Failure | None:
        counting = format_named(endpoint.wire_format).count_tokens
        if counting is None or endpoint.local:
            return None
        self.endpoint, model = endpoint, self._candidate.model
        async with self._client.lease(endpoint) as at:
            with self._client.lease_media() as fetched:
                sending = await self._sending(at, fetched)
                sending = sending._replace(encode=partial(_encoded, sending, counting))
                quirks = self._client.quirks.quirks_for(at, model.upstream_name, self.user_id)
                async with self._client.forward(at, sending, quirks, progress.mark_sent) as response:
                    body = await http.whole_body(response, http.LISTING)
                    self.passed = without_secrets(passed_headers(response.headers), [at.api_key])
        tokens = None if isinstance(body, Failure) else counting.decode_count(body)
        if isinstance(body, Failure) or tokens is None or not 0 < tokens <= _MOST_TOKENS:
            return Failure.found(UNREADABLE, kind="empty", status=200)
        is_own = endpoint.wire_format == self._format.wire_format
        self.tokens, self.body = tokens, masked(body, at.api_key) if is_own else encode_count(tokens)
        return None

    async def _sending(self, at: Endpoint, fetched: Fetched) -> Sending:
        """The chat request whose tokens are counted: the client's own body, or translated."""
        if at.wire_format == self._format.wire_format:
            return ForwardedRequest(
                self._format, self._request, self._candidate, self._headers, self._recall, self._offload
            ).sending(at, fetched)
        request = await self._offload.run(len(self._format.body), self._format.decode_request)
        chat_request = ChatRequest(
            at.base_url,
            self._candidate.model.upstream_name,
            list(map(self._recall, request.messages)),
            at.api_key,
            stream=False,
            params=request.params,
            tools=request.tools,
            tool_choice=request.tool_choice,
            caller_id=self.user_id,
        )
        return sending_of(format_named(at.wire_format), chat_request, fetched)


async def _encoded(sending: Sending, counting: TokenCounting, quirks: Quirks) -> UpstreamRequest:
    return counting.count_request(await sending.encode(quirks), sending.model)
