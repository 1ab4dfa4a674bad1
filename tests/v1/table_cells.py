"""A cell of the table of formats: one program, one provider format, and what becomes of a feature."""

from collections.abc import Callable
from typing import Any, NamedTuple

import scripted_responses
from scripted import Provider, Script, without_markers
from scripted_formats import Call, replying, requests_stream
from table_programs import Fields, Program, Refused, Reply

# a real model of each format, for what depends on its generation
MODELS = {"openai": "gpt-5.1", "anthropic": "claude-opus-4-8", "gemini": "gemini-3-pro-preview"}
# one whose provider has Responses too: the word for that is no format of a provider
OWN = "responses"
ALL = MODELS | {OWN: "gpt-5.2"}
CARRIED, LOST, NONE = "carried", "lost", "—"


class Cell(NamedTuple):
    """``client`` is a key of the programs, ``wire_format`` the provider's; the request is streamed or not."""

    program: Program
    client: str
    wire_format: str
    provider: Provider
    streams: bool

    def reply(self, text: str = "好", thought: str = "", calls: list[Call] | None = None) -> None:
        """Let the provider reply so."""
        if self.wire_format == OWN:
            response = scripted_responses.whole(scripted_responses.items(text, calls or []))
            self.script(response, scripted_responses.stream(response))
        else:
            self.provider.script = replying(self.provider, self.wire_format, text, thought, calls or [])

    def script(self, whole: dict[str, Any], events: list[bytes]) -> None:
        """Let the provider send this body, or these events."""
        self.provider.script = _scripted(self.provider, whole, events)

    def ask(self, *, over: Fields | None = None, **more: Any) -> Reply:
        """Send a request, ``over`` or a message, with more fields."""
        fields = {**(over or self.program.hello()), **more}
        is_translated = self.program.own_format != ("openai" if self.wire_format == OWN else self.wire_format)
        return self.program.send(ALL[self.wire_format], self.streams, fields, is_translated)

    @property
    def body(self) -> dict[str, Any]:
        """The newest body that reached the provider."""
        return self.provider.last

    @property
    def config(self) -> dict[str, Any]:
        """Where the parameters of the newest body are."""
        found: dict[str, Any] = (
            self.body.get("generationConfig", {}) if self.wire_format == "gemini" else self.body
        )
        return found

    @property
    def system(self) -> str:
        """The instructions that reached the provider."""
        if self.wire_format == "openai":
            return "\n".join(
                it["content"] for it in self.body["messages"] if it["role"] in ("system", "developer")
            )
        if self.wire_format == "anthropic":
            system = self.body.get("system", "")
            return system if isinstance(system, str) else "\n".join(block["text"] for block in system)
        parts = self.body.get("systemInstruction", {}).get("parts", [])
        return "\n".join(part["text"] for part in parts)

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The messages that reached the provider, without instructions."""
        turns = self.body["contents" if self.wire_format == "gemini" else "messages"]
        return [turn for turn in turns if turn["role"] not in ("system", "developer")]

    def parts(self, number: int = -1, *, keeps_markers: bool = False) -> list[dict[str, Any]]:
        """The parts of one of these messages."""
        turn = self.turns[number] if keeps_markers else without_markers(self.turns[number])
        content = turn["parts" if self.wire_format == "gemini" else "content"]
        return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _scripted(provider: Provider, whole: dict[str, Any], events: list[bytes]) -> Script:
    async def run(request: Any) -> Any:
        streams = requests_stream(await request.json(), request.path)
        return await (provider.stream(events) if streams else provider.answer(200, whole))(request)

    return run


Row = Callable[[Cell], str]


def outcome(row: Row, cell: Cell, field: str) -> str:
    """What becomes of the row's feature: ``carried``, ``as …``, ``refused `code```, ``—`` or ``lost``.

    A refusal is one only if its sentence names the field, and if nothing was sent to the provider.
    """
    cell.provider.bodies.clear()
    cell.reply()
    try:
        return row(cell)
    except Refused as refused:
        assert refused.status == 400 and field in refused.sentence and not cell.provider.bodies, refused
        return f"refused `{refused.code}`"


def carried(is_true: object) -> str:
    return CARRIED if is_true else LOST


def without(cell: Cell, *names: str) -> str:
    """The client's format has no field for the feature."""
    assert not any(map(cell.program.has_field, names))
    return NONE
