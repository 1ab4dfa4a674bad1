"""Providers that ask for three tools and then answer, and refuse what the real ones refuse.

One of them is a ``Strict``: ``complaint`` says in the real provider's words what is wrong with a request,
``results`` reads the tools' results in it, and ``turn`` is the next turn as a stream.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from scripted import Provider, Script
from scripted_formats import Call, refusal

# requests after which a client that does not come to an end is refused
ENOUGH = 12
FINAL = "三步都做完了"
Body = dict[str, Any]


class Refused(Exception):
    """A refusal of the provider, in its own words."""


class Strict(Protocol):
    protocol: str
    model: str

    def check(self, body: Body, headers: Any) -> None:
        """Raise ``Refused`` for a request that the real provider refuses."""

    def results(self, body: Body) -> list[str]:
        """The results of tools in the request, the oldest first."""

    def turn(self, body: Body, step: int, call: Call | None) -> list[bytes]:
        """The turn of a step as a stream: with this call, or without one the last."""


def steps(workplace: Path) -> list[Call]:
    """Three tool calls of Claude Code: they count, read and write in its workplace."""
    note, out = str(workplace / "note.txt"), str(workplace / "out.txt")
    return [
        ("call_1", "Bash", {"command": "wc -c < note.txt", "description": "Count the bytes"}),
        ("call_2", "Read", {"file_path": note}),
        ("call_3", "Write", {"file_path": out, "content": "写好了 <&>\n"}),
    ]


def served(provider: Provider, strict: Strict, wanted: list[Call], refused: list[str]) -> Script:
    """Respond to each request with the turn that follows the results in it, or refuse it."""

    async def run(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        try:
            if len(provider.bodies) > ENOUGH:
                raise Refused("the client asks the same again and again")
            strict.check(body, request.headers)
        except Refused as error:
            refused.append(str(error))
            word = {"gemini": "INVALID_ARGUMENT"}.get(strict.protocol, "invalid_request_error")
            return await provider.answer(400, refusal(strict.protocol, 400, str(error), word))(request)
        step = len(strict.results(body))
        call = wanted[step] if step < len(wanted) else None
        return await provider.stream(strict.turn(body, step, call))(request)

    return run


def only(known: set[str], found: Body, complaint: Callable[[str], str]) -> None:
    """Refuse the first field that is not known."""
    for name in found:
        if name not in known:
            raise Refused(complaint(name))
