"""OpenAI's Responses, as strict as its document: a model that thinks and wants its reasoning back.

A client without the field ``tools`` offers them in an input item, as Codex does for newer models.
"""

from collections.abc import Iterator
from typing import Any

from scripted import data
from scripted_formats import Call
from strict import Body, Refused, Turn, only
from strict_openai import NAME, OpenAI

FIELDS = {
    "model",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "store",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "top_logprobs",
    "truncation",
    "text",
    "reasoning",
    "include",
    "metadata",
    "client_metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
    "background",
    "previous_response_id",
}
# the fields of each kind of item beside its type, and how its id begins
ITEMS = {
    "message": ({"role", "content", "id", "status", "phase"}, "msg"),
    "reasoning": ({"summary", "content", "encrypted_content", "id", "status"}, "rs"),
    "function_call": ({"call_id", "name", "namespace", "arguments", "id", "status"}, "fc"),
    "function_call_output": ({"call_id", "output", "id", "status"}, "fc"),
    "custom_tool_call": ({"call_id", "name", "namespace", "input", "id", "status"}, "ctc"),
    "custom_tool_call_output": ({"call_id", "output", "id", "status"}, "ctc"),
    "tool_search_call": ({"call_id", "execution", "arguments", "id", "status"}, "tsc"),
    "tool_search_output": ({"call_id", "execution", "tools", "id", "status"}, "tso"),
    "additional_tools": ({"role", "tools", "id"}, "at"),
}
# the fields of each kind of tool beside its type
TOOLS = {
    "function": {"name", "description", "parameters", "strict", "defer_loading"},
    "custom": {"name", "description", "format"},
    "namespace": {"name", "description", "tools"},
    "tool_search": {"execution", "description", "parameters"},
    "web_search": {
        "external_web_access",
        "filters",
        "search_content_types",
        "search_context_size",
        "user_location",
    },
}
CALLS = ("function_call", "custom_tool_call", "tool_search_call")
# the field with the result
RESULTS = {
    "function_call_output": "output",
    "custom_tool_call_output": "output",
    "tool_search_output": "tools",
}
CONTENT = {
    "user": "input_text",
    "developer": "input_text",
    "system": "input_text",
    "assistant": "output_text",
}


class Responses(OpenAI):
    """A provider that has both: chat completions as strict as the other, and Responses."""

    model = "gpt-5.2"
    paths = (*OpenAI.paths, "/v1/responses")

    def check(self, body: Body, headers: Any) -> None:
        if "messages" in body:
            return super().check(body, headers)
        only(FIELDS, body, lambda name: f"Unknown parameter: '{name}'.")
        for place, tool in enumerate(body.get("tools", [])):
            _check_tool(f"tools[{place}]", tool)
        items = _items(body)
        for place, item in enumerate(items):
            _check_item(place, item)
        _check_order(items, "reasoning.encrypted_content" in body.get("include", []))

    def offered(self, body: Body) -> set[str]:
        if "messages" in body:
            return super().offered(body)
        return {tool["name"] for tool in _tools(body)}

    def results(self, body: Body) -> list[str]:
        if "messages" in body:
            return super().results(body)
        return [str(item[RESULTS[item["type"]]]) for item in _items(body) if item["type"] in RESULTS]

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        if "messages" in body:
            return super().stream(body, step, turn)
        whole = self.whole(body, step, turn)
        events: list[Body] = [{"type": "response.created", "response": _begun(whole)}]
        for index, item in enumerate(whole["output"]):
            events += _item_events(index, item)
        events.append({"type": "response.completed", "response": whole})
        return [
            f"event: {event['type']}\n".encode() + data(event | {"sequence_number": number})
            for number, event in enumerate(events)
        ]

    def whole(self, body: Body, step: int, turn: Turn) -> Body:
        if "messages" in body:
            return super().whole(body, step, turn)
        output = [_message(step, turn)] if isinstance(turn, str) else [*_called(body, turn)]
        details = {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 1},
        }
        return {
            "id": f"resp_{step}",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": body["model"],
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": {},
            "tools": body.get("tools", []),
            "tool_choice": body.get("tool_choice", "auto"),
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "top_p": 1.0,
            "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10, **details},
        }


def reasoning_before(call_id: str) -> Body:
    """The item of reasoning that came with a call."""
    return {
        "type": "reasoning",
        "id": f"rs_{call_id}",
        "summary": [{"type": "summary_text", "text": f"**想一想** {call_id} 🙂"}],
        "encrypted_content": f"encrypted+{call_id}/==",
    }


def _items(body: Body) -> list[Body]:
    given = body["input"]
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    # a message needs no type
    return [{"type": "message", **item} for item in given]


def _tools(body: Body) -> Iterator[Body]:
    """All tools that have a name, with their namespace."""
    more = [tool for item in _items(body) for tool in item.get("tools", [])]
    for tool in [*body.get("tools", []), *more]:
        if tool["type"] == "namespace":
            yield from (each | {"namespace": tool["name"]} for each in tool["tools"])
        elif "name" in tool:
            yield tool
        elif tool.get("execution") == "client":
            yield tool | {"name": tool["type"]}


def _message(step: int, text: str) -> Body:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": f"msg_{step}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _called(body: Body, call: Call) -> Iterator[Body]:
    """The items of a call: reasoning, and the kind of call that the tool wants."""
    call_id, name, arguments = call
    (tool,) = (tool for tool in _tools(body) if tool["name"] == name)
    yield reasoning_before(call_id)
    head = {"call_id": call_id, "name": name, "status": "completed"}
    if "namespace" in tool:
        head["namespace"] = tool["namespace"]
    if tool["type"] == "tool_search":
        del head["name"]
        head |= {"execution": "client", "arguments": arguments}
        yield {"type": "tool_search_call", "id": f"tsc_{call_id}", **head}
    elif tool["type"] == "custom":
        yield {"type": "custom_tool_call", "id": f"ctc_{call_id}", **head, "input": arguments["input"]}
    else:
        text = data(arguments)[6:-2].decode()
        yield {"type": "function_call", "id": f"fc_{call_id}", **head, "arguments": text}


def _begun(whole: Body) -> Body:
    return whole | {"status": "in_progress", "output": [], "usage": None}


def _item_events(index: int, item: Body) -> Iterator[Body]:
    """An item starts empty, grows and is done, as OpenAI sends it."""
    at = {"output_index": index, "item_id": item["id"]}
    start: Body = {"status": "in_progress"} if "status" in item else {}
    start |= {
        name: type(item[name])() for name in ("content", "summary", "arguments", "input") if name in item
    }
    yield {"type": "response.output_item.added", "output_index": index, "item": item | start}
    if item["type"] == "message":
        yield from _text_events(at, "content", "response.content_part", "response.output_text", item)
    elif item["type"] == "reasoning":
        named = "response.reasoning_summary_part", "response.reasoning_summary_text"
        yield from _text_events(at, "summary", *named, item)
    elif item["type"] != "tool_search_call":
        custom = item["type"] == "custom_tool_call"
        name = "input" if custom else "arguments"
        of = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        for piece in _halves(item[name]):
            yield {"type": f"{of}.delta", **at, "delta": piece}
        yield {"type": f"{of}.done", **at, name: item[name], **({} if custom else {"name": item["name"]})}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _text_events(at: Body, name: str, of_part: str, of_text: str, item: Body) -> Iterator[Body]:
    part = item[name][0]
    at = at | {f"{name}_index": 0}
    yield {"type": f"{of_part}.added", **at, "part": part | {"text": ""}}
    more: Body = {"logprobs": []} if name == "content" else {}
    for piece in _halves(part["text"]):
        yield {"type": f"{of_text}.delta", **at, "delta": piece, **more}
    yield {"type": f"{of_text}.done", **at, "text": part["text"], **more}
    yield {"type": f"{of_part}.done", **at, "part": part}


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _check_tool(where: str, tool: Body) -> None:
    if tool["type"] not in TOOLS:
        raise Refused(f"Invalid value: '{tool['type']}'. Supported values are: {sorted(TOOLS)}.")
    only({"type"} | TOOLS[tool["type"]], tool, lambda name: f"Unknown parameter: '{where}.{name}'.")
    if not NAME.fullmatch(tool.get("name", "x")):
        raise Refused(f"Invalid '{where}.name': string does not match pattern.")
    for place, each in enumerate(tool.get("tools", [])):
        _check_tool(f"{where}.tools[{place}]", each)
    schema = tool.get("parameters") or {"type": "object", "properties": {}}
    if schema.get("type") != "object" or "properties" not in schema:
        raise Refused(f"Invalid schema for function '{tool['name']}': object schema missing properties.")
    if tool.get("strict") and schema.get("additionalProperties") is not False:
        raise Refused(f"Invalid schema for function '{tool['name']}': 'additionalProperties' must be false.")


def _check_item(place: int, item: Body) -> None:
    where = f"input[{place}]"
    if item["type"] not in ITEMS:
        raise Refused(f"Invalid value: '{item['type']}'. Supported values are: {sorted(ITEMS)}.")
    fields, prefix = ITEMS[item["type"]]
    only({"type"} | fields, item, lambda name: f"Unknown parameter: '{where}.{name}'.")
    if not (item.get("id") or prefix).startswith(prefix):
        raise Refused(f"Invalid '{where}.id': '{item['id']}'. Expected an ID that begins with '{prefix}'.")
    for number, tool in enumerate(item.get("tools", [])):
        _check_tool(f"{where}.tools[{number}]", tool)
    if item["type"] == "message" and not isinstance(item["content"], str):
        wanted = {CONTENT[item["role"]], "input_image" if item["role"] == "user" else "refusal"}
        for number, part in enumerate(item["content"]):
            if part["type"] not in wanted:
                raise Refused(f"Invalid value: '{where}.content[{number}].type': '{part['type']}'.")


def _check_order(items: list[Body], keeps: bool) -> None:
    """Every call has its result and every result its call; reasoning comes back before its call."""
    waiting: list[str] = []
    for place, item in enumerate(items):
        if item["type"] in CALLS:
            waiting.append(item["call_id"])
            before = items[place - 1] if place else {}
            given = reasoning_before(item["call_id"])
            # an item needs no id, as long as what is encrypted comes back
            if keeps and before.get("encrypted_content") != given["encrypted_content"]:
                raise Refused(
                    f"Item '{item.get('id')}' of type '{item['type']}' was provided without its required "
                    f"'reasoning' item: '{given['id']}'."
                )
        elif item["type"] in RESULTS:
            if item["call_id"] not in waiting:
                raise Refused(f"No tool call found for function call output with call_id {item['call_id']}.")
            waiting.remove(item["call_id"])
    if waiting:
        raise Refused(f"No tool output found for function call {waiting[0]}.")
