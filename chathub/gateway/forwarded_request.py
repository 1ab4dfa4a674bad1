"""A client's body as it goes to a candidate of the client's own format: written anew for each endpoint."""

from collections.abc import Mapping
from functools import partial

from msgspec import Raw, Struct

from chathub.billing.caps import gateway_cap
from chathub.formats.client_format import ClientFormat, Recall
from chathub.formats.messages import ChatRequest, Endpoint, File, Image, Message, UpstreamRequest
from chathub.formats.quirks.table import Quirks
from chathub.formats.registry import format_named
from chathub.gateway.request import GatewayRequest
from chathub.offload import Offload
from chathub.providers.candidates import Candidate
from chathub.upstream.client import Sending, filled
from chathub.upstream.fetch_media import Fetched


class ForwardedRequest(Struct, frozen=True):
    """``headers`` are the client's, in lower case; ``recall`` gives reasoning that it did not send back."""

    client_format: ClientFormat
    request: GatewayRequest
    candidate: Candidate
    headers: Mapping[str, str]
    recall: Recall
    offload: Offload

    def sending(self, endpoint: Endpoint, fetched: Fetched) -> Sending:
        """The request for an endpoint; ``fetched`` has what is fetched for it."""
        return Sending(
            self.candidate.model.upstream_name,
            self.request.user_id,
            partial(self._encode, endpoint, fetched),
            lambda: self.client_format.described(self._forwardable()),
        )

    def _forwardable(self) -> Mapping[str, Raw]:
        fields = self.client_format.fields
        return fields if self._takes_extras else self.client_format.without_extras(fields)

    @property
    def _takes_extras(self) -> bool:
        return self.request.takes_extras(self.candidate.model)

    async def _encode(self, endpoint: Endpoint, fetched: Fetched, quirks: Quirks) -> UpstreamRequest:
        size = len(self.client_format.body)
        fields = await self.offload.run(size, self._forwardable)
        if parts := await self.offload.run(size, self.client_format.parts_by_address, fields):
            asked = ChatRequest("", "", [Message("user", parts)])
            fetches = partial(format_named(endpoint.wire_format).fetches, quirks=quirks)
            whole = (await filled(fetched, asked, fetches)).messages[0].parts
            found = {
                part: new
                for part, new in zip(parts, whole, strict=True)
                if isinstance(new, Image | File) and new.data
            }
            if found:
                fields = await self.offload.run(size, self.client_format.with_replaced, fields, found)
        return await self.offload.run(size, self._written, fields, endpoint, quirks)

    def _written(self, fields: Mapping[str, Raw], endpoint: Endpoint, quirks: Quirks) -> UpstreamRequest:
        model = self.candidate.model
        cap = gateway_cap(self.client_format.max_tokens, self.request.reply_cap, model.max_tokens)
        stream = quirks.streams_only or (self.client_format.stream and model.supports_streaming)
        fields = self.client_format.completed(fields, model.upstream_name, quirks, self.recall)
        headers = self.headers if self._takes_extras else self.client_format.without_dearer(self.headers)
        return self.client_format.forwarded(
            fields, endpoint, model.upstream_name, headers, quirks, cap, stream=stream
        )
