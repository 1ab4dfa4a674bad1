"""Encodes requests in Gemini's format.

Sources: Google's API reference ("generateContent", "Function calling", "Structured outputs", "Thought
signatures"). Unknown fields are refused, so only known ones are sent.
"""

import re
from urllib.parse import quote, urlsplit

import msgspec

from chathub.formats import request_parts, urls
from chathub.formats.gemini.model_parts import assistant_parts, content_part
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.media import PDF
from chathub.formats.messages import Audio, ChatRequest, File, Image, Message, UpstreamRequest
from chathub.formats.quirks.table import SAMPLING, Quirks, quirks_of
from chathub.formats.reasoning.effort import gemini_thinking
from chathub.formats.schema_repair import of_object_decoded
from chathub.formats.stand_ins import messages_for
from chathub.schemas.json import JsonObject

_HOST = "generativelanguage.googleapis.com"

# fields that form the reply and that the format has not (``needs``)
LACKED_FIELDS: tuple[str, ...] = ("logprobs", "top_logprobs")
# in place of parallel_tool_calls, for which there is no setting
_ONE_CALL = "Call at most one tool in each reply: wait for its result before you call another."

Part = JsonObject

# in place of a missing message of the user
_STAND_IN = "…"
# the documents and recordings that models read
_TAKEN = (PDF, "audio/", "video/", "image/")

_METHOD = re.compile(r"/(?:models|tunedModels)(?:/[^/]*)?$")
_COLLECTION = re.compile(r"(models|tunedModels)/(.+)")
# what says in a schema that an object has properties
_SHAPES = (
    "properties", "$ref", "anyOf", "oneOf", "allOf", "additionalProperties", "patternProperties", "enum"
)  # fmt: skip
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_RENAMED = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "seed": "seed",
}


def encode_request(chat_request: ChatRequest, quirks: Quirks | None = None) -> UpstreamRequest:
    """The HTTP request to the provider. Raises ``ValueError`` when the base URL is unfit (``urls.origin``).

    The base URL may end in a version, in ``/models/…`` or before either; the path of Google's API in OpenAI's
    format (``/v1beta/openai``) is removed. The API key goes into a header: in the query it would get into
    logs.
    """
    quirks = quirks or quirks_of(urls.hostname(chat_request.base_url), chat_request.model)
    streamed = chat_request.stream or quirks.streams_only
    messages = messages_for(chat_request.messages, "gemini", _is_taken)
    tools = request_parts.tools_for(chat_request.tools, "gemini")
    if tools and chat_request.params.get("parallel_tool_calls") is False:
        messages = [*messages, Message("system", _ONE_CALL)]
    body: JsonObject = {}
    if quirks.system_role == "user" or not request_parts.has_question(messages):
        messages = request_parts.with_instructions_in_user_message(messages)
    elif system := request_parts.instructions(messages):
        body["systemInstruction"] = {"parts": [{"text": system}]}
    body["contents"] = _contents(messages, quirks)
    if config := _generation_config(request_parts.params_of(chat_request), quirks):
        body["generationConfig"] = config
    if tools:
        body["tools"] = _tools(tools)
        # Google's own tools cannot be chosen
        functions = [tool for tool in tools if request_parts.function_of(tool)]
        if config := _calling_config(request_parts.choice_for(chat_request.tool_choice, functions)):
            body["toolConfig"] = {"functionCallingConfig": config}
    url = _url(chat_request.base_url, chat_request.model, streamed)
    sent = headers(chat_request.api_key, quirks, streamed=streamed)
    return UpstreamRequest(url, sent, msgspec.json.encode(body))


def headers(api_key: str, quirks: Quirks, *, streamed: bool) -> dict[str, str]:
    """The headers of a request, with the API key."""
    return request_parts.headers(streamed, x_goog_api_key=api_key.strip())


def _url(base_url: str, model: str, streamed: bool) -> str:
    parts, path = request_parts.split_base(base_url)
    path = path.removesuffix("/chat/completions").removesuffix("/openai")
    path = request_parts.with_version(_METHOD.sub("", path), "/v1beta")
    match = _COLLECTION.fullmatch(model)
    collection, name = match.groups() if match else ("models", model)
    method = "streamGenerateContent" if streamed else "generateContent"
    query = [pair for pair in parts.query.split("&") if pair and not pair.startswith("alt=")]
    query += ["alt=sse"] if streamed else []
    return request_parts.join(parts, f"{path}/{collection}/{quote(name, safe='')}:{method}", "&".join(query))


def models_url(base_url: str) -> str:
    """Where the models are listed. Raises ``ValueError`` (``urls.origin``)."""
    parts = urlsplit(_url(base_url, "m", streamed=False))
    return request_parts.join(parts, parts.path.partition("/models/")[0] + "/models", "pageSize=1000")


def fetches(part: Image | File, quirks: Quirks) -> bool:
    """Whether a provider fetches an image or document by its address: over https only."""
    return part.url[:6].lower() == "https:" and quirks.takes_addresses


def is_at(host: str, path: str) -> bool:
    """Whether a base URL is Gemini's own API; Google offers OpenAI's format under another path."""
    return host == _HOST and "openai" not in path.split("/")


def _generation_config(params: JsonObject, quirks: Quirks) -> JsonObject:
    config = {
        renamed: params[name]
        for name, renamed in _RENAMED.items()
        if name in params and (quirks.sends_temperature or name not in SAMPLING)
    }
    if (max_tokens := request_parts.max_tokens(params)) is not None:
        config["maxOutputTokens"] = max_tokens
    if stops := request_parts.stops(params):
        config["stopSequences"] = stops[: quirks.most_stops or None]
    response_format = as_object(params.get("response_format"))
    if response_format.get("type") in ("json_object", "json_schema"):
        config["responseMimeType"] = "application/json"
        # not responseSchema: it refuses additionalProperties, which every OpenAI schema has
        if schema := as_object(as_object(response_format.get("json_schema")).get("schema")):
            config["responseJsonSchema"] = schema
    if thinking := gemini_thinking(params, quirks, max_tokens):
        config["thinkingConfig"] = thinking
    return {name: value for name, value in config.items() if name not in quirks.left_out}


def _is_taken(part: File | Audio) -> bool:
    """Whether a document or recording goes out as it is."""
    return bool(getattr(part, "url", "")) or part.media_type.startswith(_TAKEN)


def _tools(tools: list[JsonObject]) -> list[JsonObject]:
    declarations: list[JsonObject] = []
    own: list[JsonObject] = []
    for tool in tools:
        function = request_parts.function_of(tool)
        if not function:  # one of Gemini's own, such as {"googleSearch": {}}
            own.append(tool)
            continue
        declaration = {"name": function["name"]}
        if function.get("description"):
            declaration["description"] = function["description"]
        # a function without parameters must not have an empty object of them
        parameters = as_object(function.get("parameters"))
        if any(parameters.get(name) for name in _SHAPES):
            declaration["parametersJsonSchema"] = of_object_decoded(parameters)
        declarations.append(declaration)
    return [*([{"functionDeclarations": declarations}] if declarations else []), *own]


def _calling_config(tool_choice: object) -> JsonObject:
    if name := request_parts.chosen_function(tool_choice):
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    mode = _MODES.get(as_string(tool_choice))
    return {"mode": mode} if mode else {}


def _contents(messages: list[Message], quirks: Quirks) -> list[JsonObject]:
    """Neighbouring messages of the same role become one; tool results stay separate, for there must be as
    many of them as there were calls."""
    contents: list[JsonObject] = []
    names: dict[str, str] = {}
    own_ids: set[str] = set()
    last = ""
    for message in _in_order_of_calls(messages):
        if message.role in request_parts.INSTRUCTIONS:
            continue
        if message.role == "assistant":
            names |= {call.id: call.name for call in message.tool_calls}
            parts = assistant_parts(message, own_ids, quirks)
        elif message.role == "tool":
            parts = _tool_parts(message, names, own_ids)
        else:
            parts = _parts(message)
        if parts and message.role == last:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
            last = message.role
    if not contents or contents[0]["role"] == "model":  # a call must follow a message of the user
        contents.insert(0, {"role": "user", "parts": [{"text": _STAND_IN}]})
    return contents


def _in_order_of_calls(messages: list[Message]) -> list[Message]:
    """The messages with tool results in the order of their calls: without ids only the order says which is
    whose."""
    ordered: list[Message] = []
    places: dict[str, int] = {}
    results: list[Message] = []
    for message in messages:
        if message.role == "tool":
            results.append(message)
            continue
        ordered += sorted(results, key=lambda each: places.get(each.tool_call_id, len(places)))
        results = []
        if calls := message.tool_calls:
            places = {call.id: place for place, call in enumerate(calls)}
        ordered.append(message)
    return ordered + sorted(results, key=lambda each: places.get(each.tool_call_id, len(places)))


def _parts(message: Message) -> list[Part]:
    return [each for part in message.parts for each in content_part(part)]


def _tool_parts(message: Message, names: dict[str, str], own_ids: set[str]) -> list[Part]:
    text = message.text
    value = request_parts.json_in(text)
    response = value if isinstance(value, dict) else {"output": text}
    call_id = message.tool_call_id
    result: Part = {"name": names.get(call_id, "tool"), "response": response}
    if call_id in own_ids:
        result = {"id": call_id, **result}
    shown = [part for part in _parts(message) if "text" not in part]
    return [{"functionResponse": result}, *shown]
