"""How likely each token of a text was, as clients of Responses read it: the events have less of it than the
part of a message that they end with."""

import contextlib
from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

_encode = msgspec.json.encode


class _Probability(Struct, gc=False):
    token: str
    logprob: float


class _Token(_Probability, gc=False):
    top_logprobs: list[_Probability] | None = None


class _ProbabilityOfBytes(_Probability, gc=False):
    """Clients require the bytes, which some providers leave out."""

    bytes: list[int] | None = None

    def complete(self) -> None:
        if self.bytes is None:
            self.bytes = [*self.token.encode()]


class _TokenOfBytes(_ProbabilityOfBytes, gc=False):
    top_logprobs: list[_ProbabilityOfBytes] | None = None


_tokens = msgspec.json.Decoder(list[_Token])
_tokens_of_bytes = msgspec.json.Decoder(list[_TokenOfBytes])


class TokenLogprobs:
    """The tokens of a text that grows. Each is encoded when it comes, so that the end of a long text does not
    take long."""

    def __init__(self) -> None:
        self._in_events: list[bytes] = []
        self._in_part: list[bytes] = []

    def add(self, lists: Iterable[Raw]) -> Raw:
        """Add lists of tokens as a provider wrote them, and give all as they are in an event; none of what
        cannot be read."""
        before = len(self._in_events)
        for tokens in lists:
            with contextlib.suppress(msgspec.MsgspecError):
                self._add(_tokens.decode(tokens), _tokens_of_bytes.decode(tokens))
        return _list(self._in_events[before:])

    def _add(self, briefly: list[_Token], wholly: list[_TokenOfBytes]) -> None:
        for token in briefly:
            token.top_logprobs = token.top_logprobs or []
        for whole in wholly:
            whole.top_logprobs = whole.top_logprobs or []
            for each in (whole, *whole.top_logprobs):
                each.complete()
        self._in_events.append(_encode(briefly)[1:-1])
        self._in_part.append(_encode(wholly)[1:-1])

    def in_event(self) -> Raw:
        """All of them as they are in the last event of the text."""
        return _list(self._in_events)

    def in_part(self) -> Raw:
        """All of them as they are in the part of the message."""
        return _list(self._in_part)


def _list(members: list[bytes]) -> Raw:
    return Raw(b"[%b]" % b",".join(filter(None, members)))
