"""A program with OpenAI's SDK at ``POST /v1/responses``. What the SDK reads of a reply must be valid by its
own types, and its accumulator must accept the stream."""

import json
from typing import Any

from gateway import TOOL
from table_programs import SCHEMA, Fields, Program, Refused, Reply
from table_sdks import openai


class ResponsesProgram(Program):
    """It sends the items of a reply back as it got them."""

    own_format = ""

    def __init__(self, base_url: str, key: str) -> None:
        http = openai.DefaultHttpxClient(trust_env=False, verify=False)
        self._sdk = openai.OpenAI(base_url=base_url + "/v1", api_key=key, max_retries=0, http_client=http)

    def hello(self, content: Any = "hi", system: str = "") -> Fields:
        before = {"instructions": system} if system else {}
        return {"input": [{"role": "user", "content": content}], **before}

    def tools(self) -> Fields:
        tool = {"type": "function", "name": "weather", "description": TOOL["description"]}
        return {**self.hello(), "tools": [{**tool, "parameters": SCHEMA, "strict": False}]}

    def results(self, asked: Fields, reply: Reply) -> Fields:
        results = [
            {"type": "function_call_output", "call_id": call_id, "output": "晴"}
            for call_id, _, _ in reply.calls
        ]
        return {**asked, "input": [*asked["input"], *reply.turn, *results]}

    def has_field(self, name: str) -> bool:
        types = openai.types.responses.response_create_params
        return name in types.ResponseCreateParamsBase.__annotations__

    def close(self) -> None:
        self._sdk.close()

    def send(self, model: str, streams: bool, fields: Fields, is_translated: bool) -> Reply:
        try:
            if streams:
                with self._sdk.responses.stream(model=model, **fields) as stream:
                    for event in stream:
                        _check(event)
                    response = stream.get_final_response()
            else:
                response = self._sdk.responses.create(model=model, **fields)
        except openai.APIStatusError as error:
            raise Refused(error.status_code, str(error.code), error.message) from None
        _check(response)
        return _reply(response)


def _check(value: Any) -> None:
    """A value is what the SDK's type of it says; the SDK itself does not check that."""
    fields = value.model_dump(exclude_unset=True, by_alias=True, warnings=False)
    kind = type(value)
    if kind.__module__.startswith("openai.lib.") or "[" in kind.__name__ or "Parsed" in kind.__name__:
        # what the SDK has added
        kind = openai.types.responses.Response if "output" in fields else kind
        _drop_parsed(fields)
    kind.model_validate(fields)


def _drop_parsed(value: Any) -> None:
    if isinstance(value, dict):
        value.pop("parsed", None)
        value.pop("parsed_arguments", None)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _drop_parsed(each)


def _reply(response: Any) -> Reply:
    messages = [item for item in response.output if item.type == "message"]
    parts = [part for message in messages for part in message.content]
    calls = [item for item in response.output if item.type == "function_call"]
    images = [item for item in response.output if item.type == "image_generation_call"]
    usage = response.usage
    turn = [item.model_dump(exclude_none=True, exclude_unset=True) for item in response.output]
    _drop_parsed(turn)
    return Reply(
        texts=["".join(part.text for part in parts)],
        calls=[(item.call_id, item.name, json.loads(item.arguments)) for item in calls],
        sources=[(note.url, note.title) for part in parts for note in part.annotations],
        files=sum(bool(item.result) for item in images),
        tokens=(usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens),
        logprobs=[each.token for part in parts for each in part.logprobs or []],
        turn=turn,
    )
