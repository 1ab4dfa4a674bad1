"""Gemini's generateContent, as strict as its document: a model that wants its thought signatures back."""

from typing import Any

from scripted_formats import gemini
from strict import Body, Refused, Turn, only

FIELDS = {
    "contents",
    "tools",
    "toolConfig",
    "safetySettings",
    "systemInstruction",
    "generationConfig",
    "cachedContent",
}
SETTINGS = {
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "responseLogprobs",
    "logprobs",
    "thinkingConfig",
}
THINKING = {"includeThoughts", "thinkingBudget", "thinkingLevel"}
# what a schema in ``parameters`` may say; ``parametersJsonSchema`` may say more
SCHEMA = {
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
}
DATA = {"text", "inlineData", "functionCall", "functionResponse", "fileData"}


def unknown(place: str) -> Any:
    return lambda name: (
        f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."
    )


class Gemini:
    protocol = "gemini"
    model = "gemini-3-pro-preview"
    paths = (":generateContent", ":streamGenerateContent")

    def check(self, body: Body, headers: Any) -> None:
        only(FIELDS, body, unknown(""))
        settings = body.get("generationConfig", {})
        only(SETTINGS, settings, unknown("generation_config"))
        thinking = settings.get("thinkingConfig", {})
        only(THINKING, thinking, unknown("generation_config.thinking_config"))
        if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
            raise Refused("You can only set only one of thinking budget and thinking level.")
        for tool in body.get("tools", []):
            for place, function in enumerate(tool["functionDeclarations"]):
                _check_function(place, function)
        for place, content in enumerate(body["contents"]):
            _check_content(place, content)
        _check_order(body["contents"])

    def results(self, body: Body) -> list[str]:
        parts = [part for content in body["contents"] for part in content["parts"]]
        return [str(part["functionResponse"]) for part in parts if "functionResponse" in part]

    def offered(self, body: Body) -> set[str]:
        tools = body.get("tools", [])
        return {function["name"] for tool in tools for function in tool["functionDeclarations"]}

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        # each answer has an id of its own
        return [response.replace(b'"r1"', b'"r%d"' % step) for response in gemini(*_said(step, turn))]

    def whole(self, body: Body, step: int, turn: Turn) -> Body:
        content = {"role": "model", "parts": _said(step, turn)}
        return {
            "candidates": [{"content": content, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
            "responseId": f"r{step}",
        }


def _said(step: int, turn: Turn) -> list[Body]:
    """The parts of a turn."""
    thought = {"text": f"**第 {step} 步** 想一想 ", "thought": True}
    if isinstance(turn, str):
        return [thought, {"text": turn}, {"text": "", "thoughtSignature": "signature+end/=="}]
    _, name, given = turn
    used = {"functionCall": {"name": name, "args": given}, "thoughtSignature": signature_of(name)}
    return [thought, used]


def signature_of(name: str) -> str:
    return f"signature+{name}/=="


def _check_function(place: int, function: Body) -> None:
    where = f"tools[0].function_declarations[{place}]"
    only({"name", "description", "parameters", "parametersJsonSchema", "response"}, function, unknown(where))
    if "parameters" in function:
        _check_schema(f"{where}.parameters", function["parameters"])


def _check_schema(where: str, schema: Body) -> None:
    only(SCHEMA, schema, unknown(where))
    for name, each in schema.get("properties", {}).items():
        _check_schema(f"{where}.properties[{name}]", each)
    if "items" in schema:
        _check_schema(f"{where}.items", schema["items"])


def _check_content(place: int, content: Body) -> None:
    if content.get("role") not in ("user", "model"):
        raise Refused("Please use a valid role: user, model.")
    if not content["parts"]:
        raise Refused(f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty.")
    for number, part in enumerate(content["parts"]):
        where = f"contents[{place}].parts[{number}]"
        only(DATA | {"thought", "thoughtSignature"}, part, unknown(where))
        if len(DATA & set(part)) != 1:
            raise Refused(f"* {where}.data: required oneof field 'data' must have one initialized field")


def _check_order(contents: list[Body]) -> None:
    """Calls follow the user's turn or results, have a signature, and get as many results at once."""
    waiting: list[str] = []
    for place, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        told = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        if told != waiting:
            raise Refused(
                "Please ensure that the number of function response parts is equal to the number of function "
                "call parts of the function call turn."
            )
        waiting = [part["functionCall"]["name"] for part in calls]
        if calls and (place == 0 or contents[place - 1]["role"] != "user"):
            raise Refused(
                "Please ensure that function call turn comes immediately after a user turn or after a "
                "function response turn."
            )
        if calls and calls[0].get("thoughtSignature") != signature_of(waiting[0]):
            raise Refused(
                "Function call is missing a thought_signature in functionCall parts. This is required for "
                "tools to work correctly, and missing thought_signature may lead to degraded model "
                f"performance. Additional data, function call `default_api:{waiting[0]}` , position "
                f"{place + 1}."
            )
