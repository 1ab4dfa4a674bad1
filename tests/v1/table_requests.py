"""Rows of the table of formats that are about requests: each sends a feature and looks for it in the bytes
that reached the provider."""

import json
from typing import Any

from table_cells import NONE, Cell, Row, carried, without
from table_contents import audio, cache_markers, images, pdf
from table_programs import PLACE, SCHEMA, Fields
from table_sdks import anthropic

# what a reply must be
CITY: Fields = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CALL = ("call_1", "weather", PLACE)


def system(cell: Cell) -> str:
    cell.ask(over=cell.program.hello(system="be brief"))
    return carried(cell.system == "be brief" and len(cell.turns) == 1)


# tools


def tools(cell: Cell) -> str:
    """A tool, its call, and the result of the call."""
    cell.reply("", calls=[CALL])
    asked = cell.program.tools()
    reply = cell.ask(over=asked)
    is_known = _tools(cell) == [("weather", SCHEMA)]
    cell.reply()
    cell.ask(over=cell.program.results(asked, reply))
    is_called = [call[1:] for call in reply.calls] == [CALL[1:]]
    return carried(is_known and is_called and _results(cell) == [(PLACE, "晴")])


def strict_tools(cell: Cell) -> str:
    """That the arguments of a call must fit the tool's schema."""
    asked = cell.program.tools()
    (tool,) = asked["tools"]
    schema = "input_schema" if cell.client == "anthropic" else "parameters"
    tool.get("function", tool).update({"strict": True, schema: CITY})
    cell.ask(over=asked)
    (tool,) = cell.body["tools"]
    if _tools(cell) != [("weather", CITY)]:
        return carried(False)
    is_strict = tool.get("function", tool).get("strict") is True
    return "as the schema alone" if cell.wire_format == "gemini" else carried(is_strict)


def parallel(cell: Cell) -> str:
    """Two calls in one reply with both results, and, where the client's format can say it, that only one call
    is allowed."""
    cell.reply("", calls=[CALL, ("call_2", "weather", {"place": "上海"})])
    asked = cell.program.tools()
    reply = cell.ask(over=asked)
    cell.reply()
    cell.ask(over=cell.program.results(asked, reply))
    if _results(cell) != [(PLACE, "晴"), ({"place": "上海"}, "晴")]:
        return carried(False)
    if cell.client == "anthropic":
        asked["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    elif cell.program.has_field("parallel_tool_calls"):
        asked["parallel_tool_calls"] = False
    else:
        return carried(True)
    cell.provider.bodies.clear()
    cell.ask(over=asked)
    if cell.wire_format == "openai":
        return carried(cell.body.get("parallel_tool_calls") is False)
    if cell.wire_format == "anthropic":
        return carried(cell.body["tool_choice"].get("disable_parallel_tool_use") is True)
    return "as an instruction" if "one" in cell.system else carried(False)


def _tools(cell: Cell) -> list[tuple[str, Any]]:
    if cell.wire_format == "openai":
        return [(it["function"]["name"], it["function"]["parameters"]) for it in cell.body["tools"]]
    if cell.wire_format == "anthropic":
        return [(it["name"], it["input_schema"]) for it in cell.body["tools"]]
    return [(it["name"], it["parametersJsonSchema"]) for it in cell.body["tools"][0]["functionDeclarations"]]


def _results(cell: Cell) -> list[tuple[Any, str]]:
    """The arguments of the calls and their results, as they reached the provider."""
    if cell.wire_format == "openai":
        results = {turn["tool_call_id"]: turn["content"] for turn in cell.turns if turn["role"] == "tool"}
        calls = [call for turn in cell.turns for call in turn.get("tool_calls", [])]
        return [(json.loads(call["function"]["arguments"]), results[call["id"]]) for call in calls]
    parts = [part for number in range(len(cell.turns)) for part in cell.parts(number)]
    if cell.wire_format == "anthropic":
        results = {it["tool_use_id"]: it["content"] for it in parts if it["type"] == "tool_result"}
        return [(it["input"], results[it["id"]]) for it in parts if it["type"] == "tool_use"]
    calls = [part["functionCall"]["args"] for part in parts if "functionCall" in part]
    outputs = [part["functionResponse"]["response"]["output"] for part in parts if "functionResponse" in part]
    return list(zip(calls, outputs, strict=True))


def tool_choice(cell: Cell) -> str:
    named: Fields = {"type": "function", "function": {"name": "weather"}}
    if cell.client == "responses":
        named = {"type": "function", "name": "weather"}
    given: list[Any] = ["auto", "required", "none", named]
    if cell.client == "anthropic":
        given = [{"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "weather"}]
    found = []
    for choice in given:
        cell.ask(over=cell.program.tools(), tool_choice=choice)
        found.append(_choice(cell))
    return carried(found == ["auto", "required", "none", "weather"])


def _choice(cell: Cell) -> str:
    if cell.wire_format == "gemini":
        chosen = cell.body["toolConfig"]["functionCallingConfig"]
        word = {"AUTO": "auto", "ANY": "required", "NONE": "none"}[chosen["mode"]]
        return "".join(chosen.get("allowedFunctionNames", [word]))
    choice = cell.body["tool_choice"]
    if cell.wire_format == "anthropic":
        word = {"any": "required"}.get(choice["type"], choice["type"])
        return str(choice.get("name", word))
    return str(choice if isinstance(choice, str) else choice["function"]["name"])


# the form of the reply


def structured_output(cell: Cell) -> str:
    if cell.client == "anthropic":
        cell.ask(output_config={"format": {"type": "json_schema", "schema": CITY}})
    elif cell.client == "responses":
        cell.reply('{"city": "北京"}')
        cell.ask(text={"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}})
    else:
        wanted = {"name": "city", "schema": CITY, "strict": True}
        cell.ask(response_format={"type": "json_schema", "json_schema": wanted})
    if cell.wire_format == "openai":
        return carried(_schema(cell.body) == CITY)
    if cell.wire_format == "anthropic":
        wanted = {"type": "json_schema", "schema": CITY}
        return carried(cell.body.get("output_config", {}).get("format") == wanted)
    is_json = cell.config.get("responseMimeType") == "application/json"
    return carried(is_json and cell.config.get("responseJsonSchema") == CITY)


def _schema(body: Fields) -> Any:
    """The schema in a body of OpenAI's format."""
    return body.get("response_format", {}).get("json_schema", {}).get("schema")


def json_mode(cell: Cell) -> str:
    """JSON without a schema."""
    if cell.client == "anthropic":
        kind = anthropic.types.JSONOutputFormatParam.__annotations__["type"]
        assert "json_schema" in str(kind) and "json_object" not in str(kind)
        return NONE
    wanted = {"type": "json_object"}
    cell.ask(**{"text": {"format": wanted}} if cell.client == "responses" else {"response_format": wanted})
    if cell.wire_format == "openai":
        return carried(cell.body["response_format"] == {"type": "json_object"})
    if cell.wire_format == "gemini":
        return carried(cell.config.get("responseMimeType") == "application/json")
    return "as an instruction" if "JSON" in cell.system else carried(False)


# parameters


def effort(cell: Cell) -> str:
    if cell.client == "anthropic":
        cell.ask(thinking={"type": "enabled", "budget_tokens": 2048})
        is_thinking = _thinks(cell)
        cell.ask(output_config={"effort": "low"})
        return carried(is_thinking and _effort(cell) == "low")
    if cell.client == "responses":
        cell.ask(reasoning={"effort": "low"})
        return carried(_effort(cell) == "low")
    if not cell.program.has_field("reasoning_effort"):
        return without(cell, "reasoning_effort", "thinking", "reasoning")
    cell.ask(reasoning_effort="low")
    return carried(_effort(cell) == "low")


def _thinks(cell: Cell) -> bool:
    if cell.wire_format == "openai":
        return "thinking" not in cell.body and "reasoning_effort" in cell.body
    if cell.wire_format == "anthropic":
        return cell.body["thinking"]["type"] in ("enabled", "adaptive")
    thinking = cell.config.get("thinkingConfig", {})
    return "thinkingBudget" in thinking or "thinkingLevel" in thinking


def _effort(cell: Cell) -> str:
    if cell.wire_format == "openai":
        return str(cell.body.get("reasoning_effort"))
    if cell.wire_format == "anthropic":
        return str(cell.body.get("output_config", {}).get("effort"))
    return str(cell.config.get("thinkingConfig", {}).get("thinkingLevel")).lower()


def stop(cell: Cell) -> str:
    if cell.client == "responses":
        return without(cell, "stop", "stop_sequences")
    cell.ask(**{"stop_sequences" if cell.client == "anthropic" else "stop": ["END", "FIN"]})
    name = {"openai": "stop", "anthropic": "stop_sequences", "gemini": "stopSequences"}[cell.wire_format]
    return carried(cell.config.get(name) == ["END", "FIN"])


def seed(cell: Cell) -> str:
    if cell.client in ("anthropic", "responses"):
        return without(cell, "seed")
    cell.ask(seed=7)
    return carried(cell.config.get("seed") == 7)


def penalties(cell: Cell) -> str:
    if cell.client in ("anthropic", "responses"):
        return without(cell, "presence_penalty", "frequency_penalty")
    cell.ask(presence_penalty=0.5, frequency_penalty=-0.25)
    names = ("presence_penalty", "frequency_penalty")
    if cell.wire_format == "gemini":
        names = ("presencePenalty", "frequencyPenalty")
    return carried([cell.config.get(name) for name in names] == [0.5, -0.25])


REQUESTS: dict[str, Row] = {
    "system": system,
    "images": images,
    "PDF": pdf,
    "audio": audio,
    "cache markers": cache_markers,
    "tools": tools,
    "strict tools": strict_tools,
    "parallel": parallel,
    "tool choice": tool_choice,
    "structured output": structured_output,
    "JSON without a schema": json_mode,
    "reasoning effort": effort,
    "stop": stop,
    "seed": seed,
    "penalties": penalties,
}
