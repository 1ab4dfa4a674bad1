"""The part of a client of Responses that concerns providers which have them."""

from collections.abc import Mapping

from msgspec import Raw

from chathub.formats.client_format import ClientFormat, Recall
from chathub.formats.events import Failure
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.quirks.table import Quirks
from chathub.formats.responses import forward
from chathub.formats.responses.decode_stream import Decoder, decode_body
from chathub.formats.responses.extras import without_extras
from chathub.formats.responses.failed_event import failed_event
from chathub.formats.responses.input_addresses import replace_parts
from chathub.formats.responses.whole_and_stream import stream_of, whole_of
from chathub.formats.stream_decoder import StreamDecoder


class ForwardedClient(ClientFormat):
    """A request of ``POST /v1/responses`` as it is forwarded, and what its reply is."""

    wire_format = "responses"
    heartbeat = b": keep-alive\n\n"
    last_event = forward.LAST_EVENT
    is_last_event = forward.IS_LAST_EVENT
    message_fields = ("input", "instructions")
    decoder = Decoder
    decode_body = staticmethod(decode_body)
    whole_of = staticmethod(whole_of)
    stream_of = staticmethod(stream_of)
    without_extras = staticmethod(without_extras)
    replace_parts = staticmethod(replace_parts)

    def forwarded(
        self,
        fields: Mapping[str, Raw],
        endpoint: Endpoint,
        model: str,
        headers: Mapping[str, str],
        quirks: Quirks,
        cap: int | None,
        *,
        stream: bool,
    ) -> UpstreamRequest:
        return forward.encode_request(fields, endpoint, model, quirks, cap, stream=stream)

    def described(self, fields: Mapping[str, Raw]) -> ChatRequest:
        return forward.described(fields, stream=self.stream)

    def completed(
        self, fields: Mapping[str, Raw], model: str, quirks: Quirks, recall: Recall
    ) -> Mapping[str, Raw]:
        # clients send the provider's own reasoning back themselves
        return fields

    def failure_event(self, failure: Failure, decoder: StreamDecoder) -> bytes:
        return failed_event(failure, decoder)
