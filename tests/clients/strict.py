"""Providers that go through a conversation turn by turn, and refuse what the real ones refuse.

One of them is a ``Strict``. Its conversation is a list of turns: each is a tool call, or a text; after them
comes the text ``FINAL``.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiohttp import web
from scripted import Provider, Script
from scripted_formats import Call, refusal, requests_stream

# requests after which a client that does not come to an end is refused
ENOUGH = 12
FINAL = "三步都做完了"
Body = dict[str, Any]
Turn = Call | str


class Refused(Exception):
    """A refusal of the provider, in its own words."""


class Strict(Protocol):
    protocol: str
    model: str
    # the paths that it has; others are not found
    paths: tuple[str, ...]

    def check(self, body: Body, headers: Any) -> None:
        """Raise ``Refused`` for a request that the real provider refuses."""

    def offered(self, body: Body) -> set[str]:
        """The names of the tools in the request."""

    def results(self, body: Body) -> list[str]:
        """The results of tools in the request, the oldest first."""

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        """The turn of a step as a stream."""

    def whole(self, body: Body, step: int, turn: Turn) -> Body:
        """The turn of a step in one piece."""


def served(provider: Provider, strict: Strict, turns: Sequence[Turn], refused: list[str]) -> Script:
    """Respond to each request with the turn that follows those in it, or refuse it."""

    async def run(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith(strict.paths):
            return web.json_response({"error": {"message": f"Not found: {request.path}"}}, status=404)
        body = await request.json()
        try:
            if len(provider.bodies) > ENOUGH:
                raise Refused("the client asks the same again and again")
            strict.check(body, request.headers)
            step, turn = _next(strict, body, turns)
        except Refused as error:
            refused.append(str(error))
            word = {"gemini": "INVALID_ARGUMENT"}.get(strict.protocol, "invalid_request_error")
            return await provider.answer(400, refusal(strict.protocol, 400, str(error), word))(request)
        if requests_stream(body, request.path):
            return await provider.stream(strict.stream(body, step, turn))(request)
        return await provider.answer(200, strict.whole(body, step, turn))(request)

    return run


def _next(strict: Strict, body: Body, turns: Sequence[Turn]) -> tuple[int, Turn]:
    """The turn that follows those in the request, and its number."""
    dumped = json.dumps(body, ensure_ascii=False)
    said = [
        turn
        for turn in turns
        if isinstance(turn, str) and json.dumps(turn, ensure_ascii=False)[1:-1] in dumped
    ]
    step = len(strict.results(body)) + len(said)
    offered = strict.offered(body)
    turn = turns[step] if step < len(turns) else FINAL
    if isinstance(turn, str):
        return step, turn
    if not offered:
        # a request beside the conversation, such as for its title
        return step, FINAL
    call_id, name, arguments = turn
    # ChatHub puts a namespace before the name
    named = [each for each in offered if each == name or each.endswith(f"__{name}")]
    if not named:
        raise Refused(f"the client offers no tool {name}, but {sorted(offered)}")
    return step, (call_id, named[0], arguments)


def only(known: set[str], found: Body, complaint: Callable[[str], str]) -> None:
    """Refuse the first field that is not known."""
    for name in found:
        if name not in known:
            raise Refused(complaint(name))
