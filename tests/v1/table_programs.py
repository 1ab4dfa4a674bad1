"""The clients of the table of formats. All make the same kinds of requests and give their replies in one
shape, so that a row of the table is written once."""

from typing import Any, NamedTuple, Protocol

from gateway import TOOL

Fields = dict[str, Any]
# the name and the arguments of the call that the scripted providers make
PLACE = {"place": "北京"}
SCHEMA = TOOL["schema"]


class Refused(Exception):
    """A request that ended with an error: its status, ChatHub's code, and the sentence."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(f"{status} {code}: {sentence}")
        self.status, self.code, self.sentence = status, code, sentence


class Reply(NamedTuple):
    """A reply as the client reads it.

    ``texts`` are those of all choices; ``calls`` have an id, a name and arguments; ``sources`` have an
    address and a title; ``files`` is the number of images that came as data; ``tokens`` are the cached ones
    and those of reasoning; ``logprobs`` are tokens. ``turn`` is what the client sends back before the tools'
    results.
    """

    texts: list[str]
    calls: list[tuple[str, str, Any]]
    sources: list[tuple[str, str]]
    files: int
    tokens: tuple[int | None, int | None]
    logprobs: list[str]
    turn: Any


class Program(Protocol):
    """A client; ``own_format`` is the provider format whose bytes are forwarded to it."""

    own_format: str

    def hello(self, content: Any = "hi", system: str = "") -> Fields:
        """A request with one message."""

    def tools(self) -> Fields:
        """A request with one message and the tool ``weather``."""

    def results(self, asked: Fields, reply: Reply) -> Fields:
        """The next request, with the result ``晴`` of each call."""

    def send(self, model: str, streams: bool, fields: Fields, is_translated: bool) -> Reply:
        """Send a request and read the reply, which is checked by the SDK's types if it is translated.

        Raises:
            Refused: an error came instead.
        """

    def has_field(self, name: str) -> bool:
        """Whether the client's format has such a field of a request."""

    def close(self) -> None: ...
