"""Answers as the official SDKs give them, in one form: what a program gets."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from gateway import official

openai, anthropic = official("openai"), official("anthropic")

HELLO: list[Any] = [{"role": "user", "content": "hi"}]
# Anthropic's words for the end, in OpenAI's words
ENDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


@dataclass
class Answer:
    """``usage`` has the fields of the recordings' ``usage_normalized``; ``error`` is the exception that
    ended the answer. ``has_plain``: reasoning came besides its details, which repeat it."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    has_plain: bool = field(default=False, compare=False)


async def ask_openai(hub: str, access: str, model: str, *, streams: bool) -> Answer:
    """The first choice of an answer."""
    answer = Answer()
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    made = openai.AsyncOpenAI(base_url=f"{hub}v1", api_key=access, max_retries=0, http_client=http)
    create = made.chat.completions.create
    try:
        async with asyncio.timeout(30), made:
            if streams:
                options = {"include_usage": True}
                chunks = await create(model=model, messages=HELLO, stream=True, stream_options=options)
                async for chunk in chunks:
                    _add_chunk(answer, chunk)
            else:
                _add_completion(answer, await create(model=model, messages=HELLO))
    except openai.APIError as error:
        answer.error = error
    for call in answer.calls:
        with contextlib.suppress(ValueError):
            call["arguments"] = json.loads(call["arguments"] or "{}")
    return answer


def _add_chunk(answer: Answer, chunk: Any) -> None:
    answer.usage = _openai_usage(chunk.usage) or answer.usage
    for choice in chunk.choices:
        if choice.index == 0:
            _add_message(answer, choice.delta)
            answer.finish = choice.finish_reason or answer.finish


def _add_completion(answer: Answer, completion: Any) -> None:
    answer.usage = _openai_usage(completion.usage)
    choice = completion.choices[0]
    _add_message(answer, choice.message)
    answer.finish = choice.finish_reason


def _add_message(answer: Answer, message: Any) -> None:
    """A message or a piece of one, with the fields that providers add to OpenAI's."""
    text, thought = _texts(message.content)
    answer.text += text
    answer.refusal += message.refusal or ""
    fields = message.model_extra or {}
    details = [
        each.get("text") or each.get("summary") or "" for each in fields.get("reasoning_details") or []
    ]
    plain = fields.get("reasoning_content") or fields.get("reasoning") or thought
    answer.has_plain |= bool(plain)
    answer.reasoning += plain or ("" if answer.has_plain else "".join(details))
    for number, call in enumerate(message.tool_calls or []):
        _add_call(answer, getattr(call, "index", number), call)


def _add_call(answer: Answer, index: int | None, call: Any) -> None:
    place = len(answer.calls) if index is None else index
    while len(answer.calls) <= place:
        answer.calls.append({"id": "", "name": "", "arguments": ""})
    known = answer.calls[place]
    known["id"] = known["id"] or call.id or ""
    known["name"] = known["name"] or call.function.name or ""
    known["arguments"] += call.function.arguments or ""


def _texts(content: Any) -> tuple[str, str]:
    """Text and reasoning of a content: a text, or Mistral's list of parts."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(part.get("text", "") for part in content)
    inner = [each for part in content for each in part.get("thinking", [])]
    return text, "".join(each.get("text", "") for each in inner)


def _openai_usage(usage: Any) -> dict[str, Any] | None:
    if usage is None:
        return None
    asked, answered = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "reasoning_tokens": answered and answered.reasoning_tokens,
        "cached_tokens": asked and asked.cached_tokens,
    }


async def ask_anthropic(hub: str, access: str, model: str, *, streams: bool) -> Answer:
    answer, asked = Answer(), {"model": model, "max_tokens": 2000, "messages": HELLO}
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    made = anthropic.AsyncAnthropic(base_url=hub, api_key=access, max_retries=0, http_client=http)
    try:
        async with asyncio.timeout(30), made:
            if not streams:
                _take_message(answer, await made.messages.create(**asked))
                return answer
            async with made.messages.stream(**asked) as stream:
                async for _ in stream:
                    _take_message(answer, stream.current_message_snapshot)
    except anthropic.APIError as error:
        answer.error = error
    return answer


def _take_message(answer: Answer, message: Any) -> None:
    """The message, or what has come of it."""
    blocks = message.content
    answer.text = "".join(block.text for block in blocks if block.type == "text")
    answer.reasoning = "".join(block.thinking for block in blocks if block.type == "thinking")
    answer.calls = [
        {"id": block.id, "name": block.name, "arguments": block.input}
        for block in blocks
        if block.type == "tool_use"
    ]
    answer.finish = ENDS.get(message.stop_reason or "", message.stop_reason)
    answer.usage = _anthropic_usage(message.usage)


def _anthropic_usage(usage: Any) -> dict[str, Any]:
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    prompt = usage.input_tokens + (read or 0) + (written or 0)
    details = getattr(usage, "output_tokens_details", None)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output_tokens,
        "total_tokens": None,
        "reasoning_tokens": details and details.thinking_tokens,
        "cached_tokens": read,
    }


def message_of(error: Any) -> str:
    """The message of an exception's body: the error, in Anthropic's format inside an object."""
    body = error.body.get("error", error.body)
    return str(body["message"])
