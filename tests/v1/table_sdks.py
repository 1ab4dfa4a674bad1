"""Programs with OpenAI's and Anthropic's SDKs. What an SDK reads of a translated reply must be valid by its
own types."""

import json
from typing import Any

from gateway import TOOL, official
from table_programs import SCHEMA, Fields, Program, Refused, Reply

openai, anthropic = official("openai"), official("anthropic")


class OpenAIProgram(Program):
    """OpenAI's SDK at ``POST /v1/chat/completions``."""

    own_format = "openai"

    def __init__(self, base_url: str, key: str) -> None:
        # no TLS is used here, and reading the certificates of all authorities takes 60 ms
        http = openai.DefaultHttpxClient(trust_env=False, verify=False)
        self._sdk = openai.OpenAI(base_url=base_url + "/v1", api_key=key, max_retries=0, http_client=http)

    def hello(self, content: Any = "hi", system: str = "") -> Fields:
        before = [{"role": "system", "content": system}] if system else []
        return {"messages": [*before, {"role": "user", "content": content}]}

    def tools(self) -> Fields:
        function = {"name": "weather", "description": TOOL["description"], "parameters": SCHEMA}
        return {**self.hello(), "tools": [{"type": "function", "function": function}]}

    def results(self, asked: Fields, reply: Reply) -> Fields:
        results = [
            {"role": "tool", "tool_call_id": call_id, "content": "晴"} for call_id, _, _ in reply.calls
        ]
        return {**asked, "messages": [*asked["messages"], reply.turn, *results]}

    def has_field(self, name: str) -> bool:
        return name in openai.types.chat.completion_create_params.CompletionCreateParamsBase.__annotations__

    def close(self) -> None:
        self._sdk.close()

    def send(self, model: str, streams: bool, fields: Fields, is_translated: bool) -> Reply:
        create = self._sdk.chat.completions.create
        try:
            if streams:
                options = {"include_usage": True}
                chunks = list(create(model=model, stream=True, stream_options=options, **fields))
            else:
                chunks = [create(model=model, **fields)]
        except openai.APIStatusError as error:
            raise Refused(error.status_code, str(error.code), error.message) from None
        for each in chunks if is_translated else ():
            type(each).model_validate(each.model_dump())
        if streams:
            return _openai_reply(*_openai_whole(chunks))
        return _openai_reply([choice.message for choice in chunks[0].choices], chunks[0])


def _openai_whole(chunks: list[Any]) -> tuple[list[Any], Any]:
    """The messages of a stream's choices, and an object with its usage and log probabilities."""
    messages: dict[int, Fields] = {}
    logprobs: list[Any] = []
    for chunk in chunks:
        for choice in chunk.choices:
            _merge(
                messages.setdefault(choice.index, {"role": "assistant"}),
                choice.delta.model_dump(exclude_none=True),
            )
            logprobs += [choice] if choice.logprobs else []
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)
    construct = openai.types.chat.ChatCompletionMessage.model_validate
    whole = [construct(messages[index]) for index in sorted(messages)]
    return whole, openai.types.chat.ChatCompletion.model_construct(choices=logprobs, usage=usage)


def _merge(whole: Fields, delta: Fields) -> None:
    """Add a delta: texts grow, and so do the items of a list that have the same index."""
    for name, value in delta.items():
        known = whole.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif isinstance(value, str) and isinstance(known, str) and name not in ("role", "type", "id"):
            whole[name] = known + value
        elif isinstance(value, list):
            items: list[Any] = whole.setdefault(name, [])
            for item in value:
                same = [it for it in items if "index" in item and it.get("index") == item["index"]]
                _merge(same[0], item) if same else items.append(item)
        else:
            whole[name] = value


def _openai_reply(messages: list[Any], completion: Any) -> Reply:
    message, usage = messages[0], completion.usage
    calls = [(it.id, it.function.name, json.loads(it.function.arguments)) for it in message.tool_calls or []]
    more = message.model_extra or {}
    prompt, spent = (usage.prompt_tokens_details, usage.completion_tokens_details) if usage else (None, None)
    return Reply(
        texts=[each.content or "" for each in messages],
        calls=calls,
        sources=[(it.url_citation.url, it.url_citation.title) for it in message.annotations or []],
        files=sum(
            it["image_url"]["url"].startswith("data:image/png;base64,") for it in more.get("images", [])
        ),
        tokens=(prompt and prompt.cached_tokens, spent and spent.reasoning_tokens),
        logprobs=[
            token.token
            for choice in completion.choices
            if choice.logprobs
            for token in choice.logprobs.content
        ],
        turn=message.model_dump(exclude_none=True),
    )


class AnthropicProgram(Program):
    """Anthropic's SDK at ``POST /v1/messages``."""

    own_format = "anthropic"

    def __init__(self, base_url: str, key: str) -> None:
        http = anthropic.DefaultHttpxClient(trust_env=False, verify=False)
        self._sdk = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, http_client=http)

    def hello(self, content: Any = "hi", system: str = "") -> Fields:
        before = {"system": system} if system else {}
        return {"max_tokens": 4000, "messages": [{"role": "user", "content": content}], **before}

    def tools(self) -> Fields:
        tool = {"name": "weather", "description": TOOL["description"], "input_schema": SCHEMA}
        return {**self.hello(), "tools": [tool]}

    def results(self, asked: Fields, reply: Reply) -> Fields:
        results = [
            {"type": "tool_result", "tool_use_id": call_id, "content": "晴"} for call_id, _, _ in reply.calls
        ]
        turns = [{"role": "assistant", "content": reply.turn}, {"role": "user", "content": results}]
        return {**asked, "messages": [*asked["messages"], *turns]}

    def has_field(self, name: str) -> bool:
        return name in anthropic.types.message_create_params.MessageCreateParamsBase.__annotations__

    def close(self) -> None:
        self._sdk.close()

    def send(self, model: str, streams: bool, fields: Fields, is_translated: bool) -> Reply:
        try:
            if streams:
                with self._sdk.messages.stream(model=model, **fields) as stream:
                    message = stream.get_final_message()
            else:
                message = self._sdk.messages.create(model=model, **fields)
        except anthropic.APIStatusError as error:
            code = error.response.headers.get("X-ChatHub-Code", "None")
            raise Refused(error.status_code, code, error.message) from None
        if is_translated:
            anthropic.types.Message.model_validate(message.model_dump())
        return _anthropic_reply(message)


def _anthropic_reply(message: Any) -> Reply:
    texts = [block for block in message.content if block.type == "text"]
    notes = [note for block in texts for note in block.citations or []]
    details = message.usage.output_tokens_details
    return Reply(
        texts=["".join(block.text for block in texts)],
        calls=[(it.id, it.name, it.input) for it in message.content if it.type == "tool_use"],
        sources=[(getattr(note, "url", None) or note.source, note.title or "") for note in notes],
        files=0,
        tokens=(message.usage.cache_read_input_tokens, details and details.thinking_tokens),
        logprobs=[],
        turn=[block.model_dump(exclude_none=True) for block in message.content],
    )
