"""OpenAI's chat completions and DeepSeek's, as strict as their documents."""

import json
import re
from typing import Any

from scripted import chunk, reply
from scripted_formats import openai_calls, whole
from strict import Body, Refused, Turn, only

COMMON = {
    "model",
    "messages",
    "max_tokens",
    "response_format",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
}
TURN = {"role", "content", "name"}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class OpenAI:
    protocol = "openai"
    model = "gpt-5.2"
    paths: tuple[str, ...] = ("/v1/chat/completions",)
    fields = COMMON | {
        "max_completion_tokens",
        "parallel_tool_calls",
        "n",
        "seed",
        "user",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
        "verbosity",
    }
    roles = {"system", "developer", "user", "assistant", "tool"}
    efforts = {"none", "minimal", "low", "medium", "high", "xhigh"}

    def check(self, body: Body, headers: Any) -> None:
        only(self.fields, body, lambda name: f"Unrecognized request argument supplied: {name}")
        self._check_common(body)

    def _check_common(self, body: Body) -> None:
        effort = body.get("reasoning_effort", "low")
        if effort not in self.efforts:
            raise Refused(f"Invalid value: '{effort}'. Supported values are: {sorted(self.efforts)}.")
        for place, turn in enumerate(body["messages"]):
            self._check_turn(place, turn)
        _check_order(body["messages"])
        for place, tool in enumerate(body.get("tools", [])):
            _check_tool(place, tool)

    def _check_turn(self, place: int, turn: Body) -> None:
        if turn["role"] not in self.roles:
            raise Refused(f"messages[{place}].role: unknown variant `{turn['role']}`")
        more = {"assistant": {"tool_calls", "refusal"}, "tool": {"tool_call_id"}}.get(turn["role"], set())
        only(TURN | more, turn, lambda name: f"Unknown parameter: 'messages[{place}].{name}'.")
        _check_content(place, turn)

    def offered(self, body: Body) -> set[str]:
        return {tool["function"]["name"] for tool in body.get("tools", [])}

    def results(self, body: Body) -> list[str]:
        return [str(turn["content"]) for turn in body["messages"] if turn["role"] == "tool"]

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        return reply(turn) if isinstance(turn, str) else openai_calls(turn)

    def whole(self, body: Body, step: int, turn: Turn) -> Body:
        if isinstance(turn, str):
            return whole("openai", turn)
        return whole("openai", wanted=[turn])


class DeepSeek(OpenAI):
    """A model that thinks: its reasoning comes back with a turn that has calls, and with no other turn."""

    model = "deepseek-v4-pro"
    fields = COMMON | {"thinking"}
    roles = {"system", "user", "assistant", "tool"}
    efforts = {"low", "medium", "high", "xhigh", "max"}

    def check(self, body: Body, headers: Any) -> None:
        wrong = "Failed to deserialize the JSON body into the target type: "
        only(self.fields, body, lambda name: f"{wrong}unknown field `{name}`")
        thinking = body.get("thinking", {"type": "enabled"})
        if thinking not in ({"type": "enabled"}, {"type": "disabled"}):
            raise Refused(f"{wrong}thinking: {json.dumps(thinking)}, expected type `enabled` or `disabled`")
        self._check_common(body)

    def _check_turn(self, place: int, turn: Body) -> None:
        thought = turn.get("reasoning_content")
        super()._check_turn(place, {name: turn[name] for name in turn if name != "reasoning_content"})
        if turn.get("tool_calls") and thought != thought_before(turn["tool_calls"][0]["id"]):
            raise Refused("The `reasoning_content` in the thinking mode must be passed back to the API.")
        if not turn.get("tool_calls") and "reasoning_content" in turn:
            raise Refused(f"messages[{place}]: `reasoning_content` is not allowed in the input messages")

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        thought = _thought(turn)
        pieces = [chunk(reasoning_content=piece) for piece in (thought[:4], thought[4:])]
        return [*pieces, *super().stream(body, step, turn)]

    def whole(self, body: Body, step: int, turn: Turn) -> Body:
        if isinstance(turn, str):
            return whole("openai", turn, _thought(turn))
        return whole("openai", thought=_thought(turn), wanted=[turn])


def thought_before(call_id: str) -> str:
    """The reasoning that came with a call."""
    return f"先想一想 {call_id}：\n再做 🙂 "


def _thought(turn: Turn) -> str:
    return "都好了。" if isinstance(turn, str) else thought_before(turn[0])


def _check_content(place: int, turn: Body) -> None:
    content = turn.get("content")
    parts = content if isinstance(content, list) else []
    for part in parts:
        if part.get("type") not in ("text", "image_url") or set(part) != {"type", part["type"]}:
            raise Refused(f"Invalid value: messages[{place}].content: {json.dumps(part)[:200]}")
    if content is None and not turn.get("tool_calls"):
        raise Refused(
            f"Invalid value for 'content': expected a string, got null. ('messages[{place}].content')"
        )
    if turn["role"] != "user" and any(part["type"] != "text" for part in parts):
        raise Refused("Image URLs are only allowed for messages with role 'user'")


def _check_order(turns: list[Body]) -> None:
    """Every call is followed by its result at once, and every result follows its call."""
    waiting: list[str] = []
    for place, turn in enumerate(turns):
        if turn["role"] == "tool":
            if turn["tool_call_id"] not in waiting:
                raise Refused(
                    f"Invalid parameter: messages[{place}] with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'."
                )
            waiting.remove(turn["tool_call_id"])
        elif waiting:
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {waiting}"
            )
        for call in turn.get("tool_calls", []):
            _check_arguments(place, call["function"]["arguments"])
            waiting.append(call["id"])


def _check_arguments(place: int, text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise Refused(f"messages[{place}].tool_calls: arguments: {error}") from None


def _check_tool(place: int, tool: Body) -> None:
    function = tool["function"]
    where = f"tools[{place}].function"
    only({"type", "function"}, tool, lambda name: f"Unknown parameter: 'tools[{place}].{name}'.")
    only(
        {"name", "description", "parameters", "strict"},
        function,
        lambda name: f"Unknown parameter: '{where}.{name}'.",
    )
    if not NAME.fullmatch(function["name"]):
        raise Refused(f"Invalid '{where}.name': string does not match pattern.")
    if not isinstance(function.get("description", ""), str):
        raise Refused(f"Invalid type for '{where}.description': expected a string.")
    schema = function.get("parameters", {"type": "object", "properties": {}})
    if schema.get("type") != "object" or "properties" not in schema:
        raise Refused(f"Invalid schema for function '{function['name']}': object schema missing properties.")
