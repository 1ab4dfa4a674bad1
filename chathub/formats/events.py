"""What a provider says, as events: text, reasoning, tool calls, usage, the end, or a failure."""

from typing import Any

from msgspec import Struct

_PER_FRAGMENT = 50


class Text(Struct, frozen=True, gc=False):
    """Some more of the answer."""

    text: str


class Reasoning(Struct, frozen=True, gc=False):
    """Some more of the model's thinking aloud."""

    text: str


class ToolCallDelta(Struct, frozen=True, gc=False):
    """A fragment of the tool call ``index``: ``id`` and ``name`` come once (empty when they do not
    come in this fragment), ``arguments`` is to be appended to what came before."""

    index: int
    id: str
    name: str
    arguments: str

    @property
    def size(self) -> int:
        """The characters that it counts for: its text, and what each fragment costs besides."""
        return len(self.id) + len(self.name) + len(self.arguments) + _PER_FRAGMENT


class Usage(Struct, frozen=True, gc=False):
    """Tokens as the provider counts them; the last one of a stream wins. ``None``: not told."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


class State(Struct, frozen=True):
    """What the dialect needs back to continue after this answer (signatures of its thinking), as plain
    JSON values under the dialect's name: ``{"anthropic": …}``. Comes at most once, at the end."""

    data: dict[str, Any]


class Finish(Struct, frozen=True, gc=False):
    """Why the model stopped, in OpenAI's words where they fit (``stop``, ``length``, ``tool_calls``,
    ``content_filter``), else in the provider's own."""

    reason: str


class Failure(Struct, frozen=True):
    """The provider refused, failed or broke off.

    ``status`` is the HTTP status of the answer (200 for an error inside a stream, 0 when there was
    none), ``retry_after`` seconds. ``kind`` is one of

    - ``refused``: the provider said so;
    - ``empty``: it answered with nothing at all;
    - ``unreachable``: nothing was sent;
    - ``busy``: nothing was sent, because we have no descriptor left to connect with;
    - ``no_response``: a stream's head did not come in time;
    - ``timeout``: a whole answer did not come in time, or a stream stalled;
    - ``cut``: the connection ended, or the answer became too large, before it was whole; or what came
      cannot be read: the provider may have done its work.

    ``fields`` are the top-level fields of the request that the refusal points at (``param``, ``loc``);
    ``echoed``: the sentence begins with a phrase that the request itself holds.
    """

    message: str
    kind: str = "refused"
    status: int = 0
    type: str | None = None
    code: str | int | None = None
    retry_after: float | None = None
    fields: tuple[str, ...] = ()
    echoed: bool = False

    @property
    def timed_out(self) -> bool:
        return self.kind in ("timeout", "no_response")


Event = Text | Reasoning | ToolCallDelta | Usage | State | Finish | Failure
