"""Anthropic's Messages, as strict as its document: an older model and one with system turns.

Both think, and keep their thoughts to themselves where the client wants that (``display``): such a block
has a signature and no text.
"""

from typing import Any

from scripted import data
from scripted_formats import anthropic
from strict import Body, Refused, Turn, only

FIELDS = {
    "model",
    "messages",
    "max_tokens",
    "system",
    "tools",
    "tool_choice",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "service_tier",
    "container",
    "cache_control",
}
# the fields that a header must allow
BETA = {"context_management": "context-management-2025-06-27"}
MODIFIED = (
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
    "These blocks must remain as they were in the original response."
)
THOUGHTS = ("thinking", "redacted_thinking")


class Anthropic:
    """A model that takes a budget for its thinking, and the system prompt at the top only."""

    protocol = "anthropic"
    model = "claude-sonnet-4-5-20250929"
    paths = ("/v1/messages",)
    kinds = {"enabled", "disabled"}
    fields = FIELDS
    has_system_turns = False

    def check(self, body: Body, headers: Any) -> None:
        allowed = {name for name, beta in BETA.items() if beta in headers.get("anthropic-beta", "")}
        only(self.fields | allowed, body, lambda name: f"{name}: Extra inputs are not permitted")
        if not headers.get("anthropic-version"):
            raise Refused("anthropic-version: header is required")
        self._check_thinking(body)
        self._check_roles(body["messages"])
        _check_results(body["messages"])
        thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
        for place, turn in enumerate(body["messages"]):
            if turn["role"] == "assistant":
                self._check_thoughts(place, _blocks(turn), thinks, _is_hidden(body))

    def _check_thinking(self, body: Body) -> None:
        thinking = body.get("thinking", {"type": "disabled"})
        if thinking["type"] not in self.kinds:
            raise Refused(f"thinking.type: Input should be one of {sorted(self.kinds)}")
        if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")

    def _check_roles(self, turns: list[Body]) -> None:
        before = ""
        for place, turn in enumerate(turns):
            role = turn["role"]
            if role == "system" and not self.has_system_turns:
                raise Refused("role 'system' is not supported on this model")
            if role == "system" and place == 0:
                raise Refused(
                    "messages.0: use the top-level 'system' parameter for the initial system prompt"
                )
            if role not in ("user", "assistant", "system"):
                raise Refused(f"messages.{place}.role: Input should be 'user' or 'assistant'")
            if role == before or (role == "system" and before != "user"):
                raise Refused(f"messages.{place}: a `{role}` message cannot follow a `{before}` message")
            before = role

    def _check_thoughts(self, place: int, blocks: list[Body], thinks: bool, hidden: bool) -> None:
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if not calls or not thinks:
            return
        where = f"messages.{place}.content.0"
        if blocks[0]["type"] not in THOUGHTS:
            raise Refused(
                f"{where}.type: Expected `thinking` or `redacted_thinking`, but found `{blocks[0]['type']}`. "
                "When `thinking` is enabled, a final `assistant` message must start with a thinking block."
            )
        given = thought_before(calls[0], hidden)
        if blocks[0].get("signature") != given.get("signature"):
            raise Refused(f"{where}: Invalid `signature` in `thinking` block")
        if [block for block in blocks if block["type"] in THOUGHTS] != [given]:
            raise Refused(f"{where}: {MODIFIED}")

    def results(self, body: Body) -> list[str]:
        blocks = [block for turn in body["messages"] for block in _blocks(turn)]
        return [str(block.get("content")) for block in blocks if block["type"] == "tool_result"]

    def offered(self, body: Body) -> set[str]:
        return {tool["name"] for tool in body.get("tools", [])}

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        blocks, stop = _said(body, turn)
        start = b"event: message_start\n" + data({"type": "message_start", "message": _head(body, step)})
        return [start, *anthropic(*blocks, stop=stop)[1:]]

    def whole(self, body: Body, step: int, turn: Turn) -> Body:
        blocks, stop = _said(body, turn)
        usage = {"input_tokens": 7, "output_tokens": 3}
        return _head(body, step) | {"content": blocks, "stop_reason": stop, "usage": usage}


class NewerAnthropic(Anthropic):
    """A model that decides how long it thinks, and takes a system turn after one of the user's."""

    model = "claude-opus-4-8"
    kinds = {"adaptive", "disabled"}
    fields = FIELDS | {"output_config"}
    has_system_turns = True


def thought_before(call_id: str, hidden: bool) -> Body:
    """The block of thinking that came with a call; the second one is encrypted."""
    if call_id.endswith("2"):
        return {"type": "redacted_thinking", "data": f"encrypted+{call_id}/=="}
    thought = "" if hidden else f"先想一想 {call_id}：\n再做 🙂 "
    return {"type": "thinking", "thinking": thought, "signature": f"signature+{call_id}/=="}


def _said(body: Body, turn: Turn) -> tuple[list[Body], str]:
    """The blocks of a turn, and why it ends."""
    if isinstance(turn, str):
        return [{"type": "text", "text": turn}], "end_turn"
    call_id, name, given = turn
    use = {"type": "tool_use", "id": call_id, "name": name, "input": given}
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    return [*([thought_before(call_id, _is_hidden(body))] if thinks else []), use], "tool_use"


def _head(body: Body, step: int) -> Body:
    """A message without its content. Claude Code drops the thinking of a model with another name, and joins
    messages that have one id."""
    return {
        "id": f"msg_{step}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }


def _is_hidden(body: Body) -> bool:
    return bool(body.get("thinking", {}).get("display") == "omitted")


def _blocks(turn: Body) -> list[Body]:
    content = turn["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_results(turns: list[Body]) -> None:
    """The results of all calls come in the next turn, before anything else."""
    waiting: set[str] = set()
    for place, turn in enumerate(turns):
        blocks = _blocks(turn)
        for number, block in enumerate(blocks):
            if block["type"] == "text" and not block["text"]:
                raise Refused(f"messages.{place}: text content blocks must be non-empty")
            if block["type"] == "tool_result" and block["tool_use_id"] not in waiting:
                raise Refused(
                    f"messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` "
                    f"blocks: {block['tool_use_id']}. Each `tool_result` block must have a corresponding "
                    "`tool_use` block in the previous message."
                )
        told = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if waiting - told:
            raise Refused(
                f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(sorted(waiting - told))}."
            )
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
