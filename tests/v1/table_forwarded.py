"""The column of the table of formats about a provider that has Responses: what a client sends arrives as it
is, and so does what the provider sends."""

from typing import Any

from gateway import PIXEL
from scripted_responses import Item, message, reasoning, stream, whole
from table_cells import Cell, Row, carried, without
from table_contents import file_in, images_in, sound_in
from table_programs import PLACE, Fields
from table_requests import CITY

CALL = ("call_1", "weather", PLACE)
ADDRESS = "https://news.example/rain"
LOGPROBS = "message.output_text.logprobs"

MARKED = {"type": "input_text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit"}}


def _sends(*requests: Fields) -> Row:
    """A row about fields of a request."""

    def row(cell: Cell) -> str:
        return carried(all(_arrives(cell, {**cell.program.hello(), **fields}) for fields in requests))

    return row


def _arrives(cell: Cell, fields: Fields) -> bool:
    cell.ask(over=fields)
    return {name: cell.body.get(name) for name in fields} == fields


def _content(*parts: Fields) -> Row:
    """A row about the parts of a message."""
    return lambda cell: carried(_arrives(cell, cell.program.hello([*parts])))


def tools(cell: Cell) -> str:
    """A tool, its call, and the result of the call."""
    return carried(_calls(cell, cell.program.tools(), [CALL]))


def strict_tools(cell: Cell) -> str:
    asked = cell.program.tools()
    asked["tools"][0].update({"strict": True, "parameters": CITY})
    return carried(_arrives(cell, asked))


def parallel(cell: Cell) -> str:
    asked = {**cell.program.tools(), "parallel_tool_calls": False}
    return carried(_calls(cell, asked, [CALL, ("call_2", "weather", PLACE)]))


def _calls(cell: Cell, asked: Fields, calls: list[Any]) -> bool:
    cell.reply("", calls=calls)
    if not _arrives(cell, asked):
        return False
    reply = cell.ask(over=asked)
    cell.reply()
    results = cell.program.results(asked, reply)
    return reply.calls == calls and _arrives(cell, results)


def tool_choice(cell: Cell) -> str:
    choices: list[Any] = ["auto", "required", "none", {"type": "function", "name": "weather"}]
    asked = cell.program.tools()
    return carried(all(_arrives(cell, {**asked, "tool_choice": choice}) for choice in choices))


def structured_output(cell: Cell) -> str:
    cell.reply('{"city": "北京"}')
    wanted = {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}
    return carried(_arrives(cell, {**cell.program.hello(), "text": {"format": wanted}}))


def reasoning_round_trip(cell: Cell) -> str:
    """What the provider has encrypted comes back as it was."""
    thought = reasoning("想一想", "theirs")
    _replies(cell, thought, message("好"))
    asked = cell.program.hello()
    reply = cell.ask(over=asked)
    cell.ask(over=cell.program.results(asked, reply))
    return carried(cell.body["input"][1] == thought)


def citations(cell: Cell) -> str:
    note = {"type": "url_citation", "start_index": 0, "end_index": 4, "title": "Rain", "url": ADDRESS}
    _replies(cell, message("Rain today.", annotations=[note]))
    return carried(cell.ask().sources == [(ADDRESS, "Rain")])


def logprobs(cell: Cell) -> str:
    token = {"token": "好", "logprob": -0.5, "bytes": [1], "top_logprobs": []}
    _replies(cell, message("好", logprobs=[token]))
    answer = cell.ask(top_logprobs=1, include=[LOGPROBS])
    return carried(
        cell.body["top_logprobs"] == 1 and LOGPROBS in cell.body["include"] and answer.logprobs == ["好"]
    )


def usage_details(cell: Cell) -> str:
    response = whole([message("好")], cached=4, thought=2)
    cell.script(response, stream(response))
    return carried(cell.ask().tokens == (4, 2))


def attachments(cell: Cell) -> str:
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PIXEL}
    _replies(cell, image, message("好"))
    return carried(cell.ask().files == 1)


def _replies(cell: Cell, *output: Item) -> None:
    response = whole([*output])
    cell.script(response, stream(response))


def _lacks(*names: str) -> Row:
    return lambda cell: without(cell, *names)


FORWARDED: dict[str, Row] = {
    "system": _sends({"instructions": "be brief"}),
    "images": _content(*images_in("responses")),
    "PDF": _content(file_in("responses")),
    "audio": _content(sound_in()),
    "cache markers": _content(MARKED),
    "tools": tools,
    "strict tools": strict_tools,
    "parallel": parallel,
    "tool choice": tool_choice,
    "structured output": structured_output,
    "JSON without a schema": _sends({"text": {"format": {"type": "json_object"}}}),
    "reasoning effort": _sends({"reasoning": {"effort": "low"}}),
    "reasoning round trip": reasoning_round_trip,
    "citations": citations,
    "n": _lacks("n"),
    "logprobs": logprobs,
    "stop": _lacks("stop", "stop_sequences"),
    "seed": _lacks("seed"),
    "penalties": _lacks("presence_penalty", "frequency_penalty"),
    "usage details": usage_details,
    "attachments": attachments,
}
