"""Learned quirks: what a provider's refusal teaches about a model, and what it does not."""

import json
import random
import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from msgspec.structs import replace

from chathub.formats import openai
from chathub.formats.events import Failure
from chathub.formats.failures import error_bodies
from chathub.formats.messages import ChatRequest, Endpoint, Message
from chathub.formats.quirks import refusal, refusal_phrases, thinking_lessons
from chathub.formats.quirks.learning import learned
from chathub.formats.quirks.table import Quirks
from chathub.formats.registry import format_named
from chathub.upstream.learned_quirks import LearnedQuirks

DEFAULT = Quirks()
DEVELOPER = [Message("developer", "s"), Message("user", "q")]
SYSTEM = [Message("system", "s"), Message("user", "q")]


def lesson(message: Any, known: Quirks = DEFAULT, status: int = 400, **fields: Any) -> Any:
    """The quirk learned from a refusal, a message or a whole body, of a request that was really built."""
    call = ChatRequest("https://x", "m", fields.pop("messages", SYSTEM), **fields)
    body = message if isinstance(message, dict) else {"error": {"message": message}}
    failure = error_bodies.from_body(status, json.dumps(body).encode(), {})
    return learned(failure, call, known, openai.encode_request(call, known).body)


def relayed(error: Any) -> Any:
    """An error of the provider behind OpenRouter."""
    metadata = {"raw": json.dumps({"error": error}), "provider_name": "OpenAI"}
    return {"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}


TAUGHT: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    ("Unknown field: stream_options", {}, {"stream_options": False}),
    (
        {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]},
        {},
        {"stream_options": False},
    ),
    (
        {"error": {"message": "Unrecognized request argument", "param": "stream_options.include_usage"}},
        {},
        {"stream_options": False},
    ),
    (
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        {"params": {"max_tokens": 5}},
        {"max_tokens_field": "max_completion_tokens"},
    ),
    (
        "this model is not supported MaxTokens, please use MaxCompletionTokens",
        {"params": {"max_tokens": 5}},
        {"max_tokens_field": "max_completion_tokens"},
    ),
    (
        {
            "message": "body.logit_bias: property 'body.logit_bias' is unsupported",
            "param": "validation_error",
            "code": "wrong_api_format",
        },
        {"extra": {"logit_bias": {"1": 2}}},
        {"left_out": ("logit_bias",)},
    ),
    (
        "'stop' : maximum number of items is 4",
        {"params": {"stop": list("abcdef")}},
        {"most_stops": 4},
    ),
    (
        {"code": "…", "error": "Model grok-4 does not support parameter presencePenalty."},
        {"params": {"presence_penalty": 1}},
        {"sends_temperature": False},
    ),
    (
        {"code": "…", "error": "Argument not supported on this model: logitBias"},
        {"extra": {"logit_bias": {"1": 2}}},
        {"left_out": ("logit_bias",)},
    ),
    (
        "Penalty is not enabled for models/gemini-2.5-flash",
        {"params": {"presence_penalty": 1}},
        {"sends_temperature": False},
    ),
    (
        "* GenerateContentRequest.generation_config.seed: seed is not supported",
        {"params": {"seed": 1}},
        {"left_out": ("seed",)},
    ),
    ("[1214] Incorrect role information", {"messages": DEVELOPER}, {"knows_developer": False}),
    ("role param error", {"messages": DEVELOPER}, {"knows_developer": False}),
    (
        "developer is not one of ['system', 'user', 'tool'] - 'messages.[6].role'",
        {"messages": DEVELOPER},
        {"knows_developer": False},
    ),
    ("Unexpected message role.", {"messages": DEVELOPER}, {"knows_developer": False}),
    (
        "'messages.0' : discriminator property 'role' has invalid value",
        {"messages": DEVELOPER},
        {"knows_developer": False},
    ),
    (
        {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Input should be 'system' or 'user'"}]},
        {"messages": DEVELOPER},
        {"knows_developer": False},
    ),
    (
        "Unsupported value: 'temperature' does not support 0.2 with this model. "
        "Only the default (1) value is supported.",
        {"params": {"temperature": 0.2}},
        {"sends_temperature": False},
    ),
    (
        "`temperature` is deprecated for this model.",
        {"params": {"temperature": 1}},
        {"sends_temperature": False},
    ),
    (
        "invalid temperature: only 1 is allowed for this model",
        {"params": {"temperature": 0}},
        {"sends_temperature": False},
    ),
    (
        relayed({"message": "Unsupported parameter: 'temperature' is not supported with this model."}),
        {"params": {"temperature": 1}},
        {"sends_temperature": False},
    ),
    (
        relayed({"message": "Unsupported value: not supported with this model.", "param": "temperature"}),
        {"params": {"temperature": 1}},
        {"sends_temperature": False},
    ),
    (
        {
            "error": {
                "message": "invalid input",
                "details": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}],
            }
        },
        {},
        {"stream_options": False},
    ),
    ("Unsupported parameter: 'top_p'", {"extra": {"top_p": 1}}, {"sends_temperature": False}),
    ("property 'top_k' is unsupported", {"extra": {"top_k": 5}}, {"sends_temperature": False}),
    (
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        {},
        {"system_role": "user"},
    ),
    ("System role not supported", {}, {"system_role": "user"}),
    ("Only user and assistant roles are supported!", {}, {"system_role": "user"}),
    ("Developer instruction is not enabled for models/gemma-3-1b-it", {}, {"system_role": "user"}),
    (
        "parameter.enable_thinking must be set to false for non-streaming calls",
        {"stream": False},
        {"thinking_off_when_not_streaming": True},
    ),
    (
        "enable thinking can not be support when `stream=False`.",
        {"stream": False},
        {"thinking_off_when_not_streaming": True},
    ),
    (
        "This model only support stream mode, please enable the stream parameter to access the model.",
        {"stream": False},
        {"streams_only": True},
    ),
    (
        "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for m",
        {},
        {"default_max_tokens": 4096},
    ),
]


@pytest.mark.parametrize(("message", "fields", "change"), TAUGHT)
def test_refusal_that_names_a_quirk_teaches_it_once(
    message: Any, fields: dict[str, Any], change: dict[str, Any]
) -> None:
    for status in (400, 422):
        assert lesson(message, status=status, **fields) == Quirks(**change)
    for status in (401, 403, 404, 429, 500):
        assert lesson(message, status=status, **fields) is None
    after = Quirks(**change)
    if "thinking_off_when_not_streaming" in change:
        after = lesson(message, after, **fields)
        assert after == Quirks(streams_only=True)
    assert lesson(message, after, **fields) is None


# every word of every phrase that is looked for, in any order
WORDS = sorted(
    {
        word
        for module in (refusal, refusal_phrases, thinking_lessons)
        for pattern in vars(module).values()
        if isinstance(pattern, re.Pattern)
        for word in re.findall(r"[^\W\d]+", re.sub(r"\\[a-zA-Z]", " ", pattern.pattern))
    }
)
LONG = " ".join(random.Random(7).choices(WORDS, k=40_000))


@pytest.mark.parametrize(("message", "fields", "change"), TAUGHT)
def test_long_prompt_with_the_words_of_all_refusals_hinders_no_lesson(
    message: Any, fields: dict[str, Any], change: dict[str, Any]
) -> None:
    messages = [*fields.get("messages", SYSTEM), Message("user", LONG)]
    tools = [tool("unknown", LONG), tool("unsupported", LONG)]
    assert lesson(message, **{**fields, "messages": messages, "tools": tools}) == Quirks(**change)


# how a provider may quote what it was sent, in a sentence that says nothing itself
QUOTING = ["{}", "'{}' is bad.", "Bad: {}", "Bad: {}. Try again", "body: {{'content': \"{}\"}}", "Of {} no"]


def attacks(sentence: str) -> Iterator[tuple[list[str], str]]:
    """What an attacker's messages say, and what a provider makes of it."""
    yield [sentence], sentence
    yield [sentence.upper()], sentence.lower()
    yield ["\n\t".join(sentence.split(" "))], sentence
    yield [f"\n {sentence} "], sentence
    yield [f"Please say: {sentence} That is all"], f"Please say: {sentence}"
    yield [f"{sentence} And then write a poem about it"], f"{sentence} And the…"
    longer = f"Please repeat the following: {sentence} That is all, and many thanks"
    joints = cycle(("", " ", "\n", "', '", ""))
    for at in range(len("Please repeat the following: "), len(longer) - 24, 3):
        yield [longer[:at], longer[at:]], next(joints).join((longer[:at], longer[at:]))


WRITTEN = [(message, fields) for message, fields, _ in TAUGHT if isinstance(message, str)]


@pytest.mark.parametrize("quoting", QUOTING)
@pytest.mark.parametrize(("sentence", "fields"), WRITTEN)
def test_refusal_that_an_attacker_wrote_into_the_prompt_teaches_no_quirk(
    sentence: str, fields: dict[str, Any], quoting: str
) -> None:
    """Also where the provider names one of the fields itself."""
    named = [name for name in (*fields.get("params", {}), *fields.get("extra", {})) if name != "max_tokens"]
    for texts, echo in attacks(sentence):
        messages = [*fields.get("messages", SYSTEM), *(Message("user", text) for text in texts)]
        for param in (None, *named):
            body = {"error": {"message": quoting.format(echo), "param": param}}
            assert lesson(body, **{**fields, "messages": messages}) is None, (texts, body)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("The model `m` does not exist", {"params": {"temperature": 1, "max_tokens": 5}}),
        ("stream_options is not allowed", {"stream": False}),
        ("Extra inputs are not permitted", {}),
        ("Extra inputs are not permitted", {"stream": False}),
        ("temperature must be between 0 and 2", {"params": {"temperature": 3}}),
        ("'temperature' is not supported", {"params": {}}),
        ("'my_temperature' is not supported", {"params": {"temperature": 1}}),
        ("'messages[0].role' does not support 'system'", {"messages": [Message("user", "q")]}),
        ("Unsupported content type in system message", {"messages": [Message("user", "q")]}),
        ("max_tokens: 9000 > 4096, which is the maximum", {"params": {"max_tokens": 9000}}),
        ("max_tokens: 9000 > 20000", {}),
        ("max_tokens is too large: 9000", {"params": {"max_tokens": 9000}}),
        ("This model only supports streaming", {"stream": True}),
        ("enable_thinking must be set to false for non-streaming calls", {"stream": True}),
        ("This model's maximum context length is 4097 tokens", {"params": {"max_tokens": 5}}),
    ],
)
def test_callers_mistake_teaches_no_quirk(message: str, fields: dict[str, Any]) -> None:
    assert lesson(message, **fields) is None


def tool(name: str, description: str = "") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description}}


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("Invalid schema for function 'stream_options': not supported", {"tools": [tool("stream_options")]}),
        ("Invalid schema for function 'include_usage'", {"tools": [tool("include_usage")]}),
        (
            "Invalid schema for function 'temperature': this is unsupported",
            {"tools": [tool("temperature")], "params": {"temperature": 1}},
        ),
        (
            "temperature: unsupported tool name",
            {"tools": [tool("temperature")], "params": {"temperature": 1}},
        ),
        (
            "Unsupported description: 'set the temperature of the room, please'",
            {"tools": [tool("f", "set the temperature of the room, please")], "params": {"temperature": 1}},
        ),
        (
            "Unsupported description: 'temperature of the room'",
            {"tools": [tool("f", "temperature of the room")], "params": {"temperature": 1}},
        ),
        (
            "Unsupported description: 'set the temperature'",
            {"tools": [tool("f", "set the temperature")], "params": {"temperature": 1}},
        ),
        (
            "'temperature': this value is odd, 'unsupported and deprecated'",
            {"params": {"temperature": 1, "stop": "unsupported and deprecated"}},
        ),
        (
            "Bad stop word: only supports stream",
            {"stream": False, "params": {"stop": "only supports stream"}},
        ),
        ("Bad stop word: System role not supported", {"params": {"stop": "System  role\nnot supported"}}),
        (
            "Unknown parameter: 'the temperature is unsupported'",
            {"params": {"temperature": 1}, "extra": {"the temperature is unsupported": 1}},
        ),
        (
            "Mind the temperature. A bad text: so unknown",
            {"messages": [Message("user", " So  unknown\n")], "params": {"temperature": 1}},
        ),
        (
            "Mind the temperature. Bad is 'unknown'.",
            {"messages": [Message("user", "a long text, with unknown words")], "params": {"temperature": 1}},
        ),
        (
            "Unsupported description: 'a temperature'",
            {"tools": [tool("f", "a temperature")], "params": {"temperature": 1}},
        ),
        ("max_tokens: 9 > 1 in your text", {"messages": [Message("user", "say max_tokens: 9 > 1")]}),
    ],
)
def test_refusal_that_quotes_the_request_teaches_no_quirk(message: str, fields: dict[str, Any]) -> None:
    assert lesson(message, **fields) is None


def test_named_parameter_outranks_the_words_of_the_message() -> None:
    body = {"error": {"message": "'temperature' is not supported in a schema", "param": "tools[0].function"}}
    assert lesson(body, params={"temperature": 1}, tools=[tool("f")]) is None


def test_refusal_of_the_clients_own_stream_options_teaches_no_quirk() -> None:
    message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    assert lesson(message, extra={"stream_options": {"include_usage": True}}) is None


def test_quirk_learned_from_another_starting_point_is_adapted() -> None:
    renamed = Quirks(max_tokens_field="max_completion_tokens")
    refusal = "Unrecognized request argument supplied: max_completion_tokens"
    assert lesson(refusal, renamed, params={"max_tokens": 5}) == DEFAULT
    developer = Quirks(system_role="developer")
    refusal = "Unsupported value: role 'developer' is not supported"
    assert lesson(refusal, developer) == DEFAULT
    told = Quirks(thinking_off_when_not_streaming=True)
    refusal = "The value of the enable_thinking parameter is restricted to True."
    assert lesson(refusal, told, stream=False) == Quirks(streams_only=True)
    thoughts = Quirks(includes_thoughts=True)
    assert lesson("Thinking is not enabled for models/gemini-x", thoughts) == DEFAULT


# the memory of quirks

AT = Endpoint("https://api.example/v1")
PLAIN = Quirks()
WITHOUT = Quirks(sends_temperature=False)


def test_learned_quirk_applies_to_its_user_until_a_second_user_confirms_it() -> None:
    quirks = LearnedQuirks()
    quirks.learn(AT, "m", 1, PLAIN, WITHOUT)
    assert quirks.quirks_for(AT, "m", 1) == WITHOUT and quirks.quirks_for(AT, "m", 2) == PLAIN
    quirks.learn(AT, "m", 1, PLAIN, WITHOUT)
    assert quirks.quirks_for(AT, "m", 2) == PLAIN, "the same user twice is one witness"
    quirks.learn(AT, "m", 3, PLAIN, WITHOUT)
    assert quirks.quirks_for(AT, "m", 2) == WITHOUT
    assert quirks.quirks_for(AT, "other", 2) == PLAIN
    assert quirks.quirks_for(Endpoint("https://other.example/v1"), "m", 2) == PLAIN


def test_learned_quirk_applies_to_everybody_after_a_day() -> None:
    now = [0.0]
    quirks = LearnedQuirks(lambda: now[0])
    quirks.learn(AT, "m", 1, PLAIN, WITHOUT)
    now[0] = 86_399
    assert quirks.quirks_for(AT, "m", 2) == PLAIN
    now[0] = 86_401
    assert quirks.quirks_for(AT, "m", 2) == WITHOUT


def test_different_quirk_of_one_user_does_not_change_that_of_others() -> None:
    quirks = LearnedQuirks()
    for user in (1, 2):
        quirks.learn(AT, "m", user, PLAIN, Quirks(default_max_tokens=4096))
    quirks.learn(AT, "m", 3, PLAIN, Quirks(default_max_tokens=1))
    assert quirks.quirks_for(AT, "m", 4).default_max_tokens == 4096
    assert quirks.quirks_for(AT, "m", 3).default_max_tokens == 1


def test_number_of_learned_quirks_is_limited() -> None:
    quirks = LearnedQuirks()
    for number in range(1, 1_500):
        quirks.learn(AT, f"m{number}", 1, PLAIN, WITHOUT)
        quirks.learn(AT, "m1499", 1, PLAIN, Quirks(default_max_tokens=number))
    assert quirks.quirks_for(AT, "m1", 1) == PLAIN
    assert len(quirks._lessons) == 1000 and max(map(len, quirks._lessons.values())) <= 17


# strict tools

STRICT = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}


def strict_lesson(protocol: str, message: str, known: Quirks = DEFAULT, tool: Any = STRICT) -> Any:
    call = ChatRequest("https://x", "m", SYSTEM, tools=[tool])
    body = format_named(protocol).encode_request(call, known).body
    return learned(Failure(message, status=400), call, known, body)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "message",
    [
        "tools.0.custom.strict: Extra inputs are not permitted",
        "tools.0.strict: Extra inputs are not permitted",
        "This model does not support strict tools.",
        "Unknown field 'strict' in tools[0]",
        "unrecognized parameter: tools[0].function.strict",
        "strict mode is not supported for this model",
    ],
)
def test_strict_that_a_provider_does_not_know_is_not_sent_again(protocol: str, message: str) -> None:
    changed = strict_lesson(protocol, message)
    assert changed == replace(DEFAULT, takes_strict=False)
    call = ChatRequest("https://x", "m", SYSTEM, tools=[STRICT])
    assert b"strict" not in format_named(protocol).encode_request(call, changed).body
    assert strict_lesson(protocol, message, changed) is None


@pytest.mark.parametrize(
    "message",
    [
        "The compiled grammar is too large, which would cause performance issues.",
        "Too many strict tools (21). The maximum number of strict tools supported is 20.",
        "tools.0.custom: For 'integer' type, properties maximum, minimum are not supported",
        "Schemas contains too many optional parameters (30)",
        "Schema is too complex for compilation.",
        "Invalid schema for function 'f': In context=(), 'required' must be an array of every key",
    ],
)
def test_strict_that_these_schemas_do_not_allow_is_left_out_of_this_request(message: str) -> None:
    changed = strict_lesson("anthropic", message)
    assert changed == strict_lesson("openai", message) == replace(DEFAULT, drops_strict=True)
    quirks, endpoint = LearnedQuirks(), Endpoint("https://x.example")
    quirks.learn(endpoint, "m", 1, DEFAULT, changed)
    assert quirks.quirks_for(endpoint, "m", 1) == DEFAULT


def test_refusal_teaches_nothing_of_strict_where_it_was_not_sent() -> None:
    plain = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert strict_lesson("anthropic", "The compiled grammar is too large", tool=plain) is None
