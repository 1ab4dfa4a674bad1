"""The provider formats by name: the only list of them."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from chathub.formats import anthropic, gemini, openai, urls
from chathub.formats.events import Event
from chathub.formats.messages import ChatRequest, File, Image, UpstreamRequest
from chathub.formats.quirks.table import Quirks
from chathub.formats.stream_decoder import StreamDecoder


class TokenCounting(Protocol):
    """How providers of a format count the tokens of a prompt that is not sent."""

    def count_request(self, sent: UpstreamRequest, model: str) -> UpstreamRequest:
        """The request that counts the tokens of a chat request to ``model``."""

    def decode_count(self, body: bytes) -> int | None:
        """The tokens in a response; None if there are none."""


class ProviderFormat(Protocol):
    """The provider's side of a format, as each vendor's package has it. Functions of a base URL raise
    ``ValueError`` where it is unfit (``urls.origin``)."""

    # fields of OpenAI's that form the reply and that this format has not (``needs``)
    LACKED_FIELDS: tuple[str, ...]

    # None: providers of the format do not count
    @property
    def count_tokens(self) -> TokenCounting | None: ...

    def encode_request(self, chat_request: ChatRequest, quirks: Quirks | None = None) -> UpstreamRequest:
        """The HTTP request for ``chat_request``; without ``quirks`` they are looked up."""

    def headers(self, api_key: str, quirks: Quirks, *, streamed: bool) -> dict[str, str]:
        """The headers of every request, with the API key."""

    def fetches(self, part: Image | File, quirks: Quirks) -> bool:
        """Whether providers fetch an image or document by its address; if not, ChatHub does."""

    def Decoder(self, limit: int = ...) -> StreamDecoder:
        """A decoder of one stream, whose events have at most ``limit`` bytes."""

    def decode_body(self, body: bytes) -> list[Event]:
        """The events of a 2xx response that was not streamed."""

    def models_url(self, base_url: str) -> str:
        """Where a GET lists the models that the provider offers."""

    def is_at(self, host: str, path: str) -> bool:
        """Whether a base URL with this host and path leads to this format."""


# adding a format is one folder, its package in setup.cfg, and one line here; the first one is the default
PROVIDER_FORMATS: Mapping[str, ProviderFormat] = {
    "openai": openai,
    "anthropic": anthropic,
    "gemini": gemini,
}
# those that take images from the assistant; to the others its images are not sent
TAKE_OWN_IMAGES = frozenset({"gemini"})
DEFAULT_FORMAT = next(iter(PROVIDER_FORMATS))


def format_named(wire_format: str) -> ProviderFormat:
    """The provider's side of a format.

    Raises:
        KeyError: no format has this name.
    """
    return PROVIDER_FORMATS[wire_format]


def wire_format_of(base_url: str) -> str:
    """The name of the format to which ``base_url`` leads, also for what is no URL.

    The path decides before the host: Anthropic and Google also offer OpenAI's format, and other providers
    offer Anthropic's.
    """
    try:
        host, path = urls.hostname(base_url), urlsplit(base_url.strip()).path.rstrip("/")
    except ValueError:
        return DEFAULT_FORMAT
    leads_to = (name for name, wire_format in PROVIDER_FORMATS.items() if wire_format.is_at(host, path))
    return next(leads_to, DEFAULT_FORMAT)
