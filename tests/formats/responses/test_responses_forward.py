"""Requests of Responses as they go to a provider that has them, and what says that it has not."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from chathub.errors import BadRequest
from chathub.formats.client_format import addressed_parts
from chathub.formats.events import Failure
from chathub.formats.failures import error_bodies
from chathub.formats.messages import Endpoint, Image
from chathub.formats.quirks.table import Quirks
from chathub.formats.reasoning import seal
from chathub.formats.responses import forward
from chathub.formats.responses.decode_stream import decode_body
from chathub.formats.responses.extras import without_extras
from chathub.formats.responses.input_addresses import replace_parts
from chathub.formats.responses.lacking import lack_in
from chathub.upstream.learned_responses import LearnedResponses

ENDPOINT = Endpoint("https://relay.example/v1", "sk-1")
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SEARCH, LOOK = {"type": "web_search"}, {"type": "function", "name": "look", "parameters": {}}


def fields(**body: Any) -> dict[str, Raw]:
    return msgspec.json.decode(json.dumps(body), type=dict[str, Raw])


def sent(
    quirks: Quirks | None = None, cap: int | None = None, *, stream: bool = False, **body: Any
) -> dict[str, Any]:
    quirks = quirks or Quirks()
    request = forward.encode_request(fields(**body), ENDPOINT, "real", quirks, cap, stream=stream)
    assert request.url == "https://relay.example/v1/responses"
    assert request.headers["Authorization"] == "Bearer sk-1" and request.streamed == stream
    decoded: dict[str, Any] = json.loads(request.body)
    return decoded


def test_body_is_sent_unchanged_but_for_the_model_and_what_is_stored_here() -> None:
    body = {"model": "m", "input": [USER], "instructions": "x", "new": {"a": [1]}, "temperature": 0.5}
    stored = {"store": True, "previous_response_id": "resp_1", "background": True, "conversation": "c"}
    assert sent(**body, **stored) == body | {"model": "real", "store": False}
    assert sent(**body, stream=True, stream_options={"include_obfuscation": False}) == body | {
        "model": "real",
        "store": False,
        "stream": True,
        "stream_options": {"include_obfuscation": False},
    }
    assert sent(model="m", input="hi", stream_options={}) == {"model": "real", "input": "hi", "store": False}


def test_body_begins_as_that_of_the_turn_before() -> None:
    def begin(text: str) -> bytes:
        body = fields(model="m", input=[USER, text], instructions="x", tools=[LOOK])
        return forward.encode_request(body, ENDPOINT, "m", Quirks(), None, stream=False).body

    short, long = begin("a"), begin("a" * 100_000)
    assert long.startswith(short[:-4])


def test_cap_is_the_length_and_quirks_leave_fields_out() -> None:
    quirks = Quirks(sends_temperature=False, left_out=("store", "include"), encrypts_reasoning=True)
    body = {"input": "hi", "max_output_tokens": 900, "temperature": 1, "top_p": 1, "include": ["x"]}
    assert sent(quirks, 50, **body) == {"model": "real", "input": "hi", "max_output_tokens": 50}


def test_model_that_encrypts_its_reasoning_is_asked_for_it() -> None:
    quirks = Quirks(encrypts_reasoning=True)
    assert sent(quirks, input="hi")["include"] == ["reasoning.encrypted_content"]
    listed = ["message.output_text.logprobs"]
    assert sent(quirks, input="hi", include=listed)["include"] == [*listed, "reasoning.encrypted_content"]
    assert "include" not in sent(input="hi")


OPEN = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "x"}],
}
SUMMARY = {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "x"}]}
THEIRS = {"type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": "gAAAA"}
OURS = THEIRS | {"encrypted_content": seal.seal({"anthropic": {"signature": "x"}})}
KEPT = THEIRS | {"encrypted_content": seal.seal({"responses": {"id": "rs_9", "encrypted_content": "gB"}})}


def test_only_reasoning_that_the_provider_can_read_is_sent() -> None:
    body = {"input": [OPEN, SUMMARY, THEIRS, OURS, KEPT, USER]}
    kept = THEIRS | {"id": "rs_9", "encrypted_content": "gB"}
    assert sent(**body)["input"] == [OPEN, THEIRS, kept, USER]
    assert sent(Quirks(responses="offered"), **body)["input"] == [THEIRS, kept, USER]
    assert sent(Quirks(drops_state=True), **body)["input"] == [OPEN, USER]


def test_tools_of_the_provider_are_extras() -> None:
    body = fields(
        tools=[LOOK, SEARCH, {"type": "mcp"}, {"type": "custom", "name": "c"}, {"type": "image_generation"}],
        tool_choice={"type": "web_search"},
        service_tier="priority",
        prompt={"id": "pmpt_1"},
        input="hi",
    )
    kept = {name: json.loads(bytes(value)) for name, value in without_extras(body).items()}
    assert kept == {"tools": [LOOK, {"type": "custom", "name": "c"}], "input": "hi"}
    for choice in ("auto", {"type": "function", "name": "look"}, {"type": "allowed_tools", "tools": [LOOK]}):
        assert "tool_choice" in without_extras(fields(tool_choice=choice))
    allowed = {"type": "allowed_tools", "tools": [LOOK, SEARCH]}
    assert "tool_choice" not in without_extras(fields(tool_choice=allowed))


def test_tools_of_the_provider_are_extras_wherever_they_are_offered() -> None:
    def holding(*tools: Any) -> list[Any]:
        space = {"type": "namespace", "name": "n", "tools": [*tools]}
        return [space, {"type": "namespace", "name": "n", "tools": [space]}]

    kinds = ("additional_tools", "tool_search_output", "new")
    given = [{"type": kind, "tools": [LOOK, SEARCH, *holding(SEARCH, LOOK)]} for kind in kinds]
    own = [{"type": kind, "tools": [LOOK, *holding(LOOK)]} for kind in kinds]
    kept = without_extras(fields(input=[USER, *given], tools=holding(LOOK, SEARCH)))
    assert json.loads(bytes(kept["input"])) == [USER, *own]
    assert json.loads(bytes(kept["tools"])) == holding(LOOK)
    escaped = b'[{"type":"additional_tools","t\\u006fols":[{"type":"web_search"}]}]'
    assert json.loads(bytes(without_extras({"input": Raw(escaped)})["input"]))[0]["tools"] == []
    for tools in (SEARCH, "web_search", [[SEARCH]]):
        assert json.loads(bytes(without_extras(fields(tools=tools))["tools"])) == []
    more = {"type": "additional_tools", "tools": [SEARCH] * 1001}
    for place, body in {"tools": fields(tools=[SEARCH] * 1001), "input": fields(input=[more])}.items():
        with pytest.raises(BadRequest) as refused:
            without_extras(body)
        assert refused.value.details == {"param": place}
    with pytest.raises(BadRequest):
        without_extras(fields(input=[USER] * 10_000 + [given[0]]))
    unchanged = fields(input=[USER, own[0]], tools=[LOOK])
    assert without_extras(unchanged) == unchanged


def test_images_by_address_are_found_and_replaced() -> None:
    image = {"type": "input_image", "image_url": "https://a.example/x.png", "detail": "low"}
    inline = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    output = {"type": "function_call_output", "call_id": "1", "output": [image]}
    body = fields(input=[{"role": "user", "content": [image, inline]}, output, USER])["input"]
    found = Image(url="https://a.example/x.png")
    assert addressed_parts(body, replace_parts) == [found]
    replaced = json.loads(bytes(replace_parts(body, {found: Image("image/png", b"abc")}.get)))
    changed = image | {"image_url": "data:image/png;base64,YWJj"}
    assert replaced == [{"role": "user", "content": [changed, inline]}, output | {"output": [changed]}, USER]
    (message,) = forward.described({"input": body}, stream=True).messages
    assert message.parts == [found]


def refused(status: int, body: Any) -> Failure:
    text = body if isinstance(body, str) else json.dumps(body)
    return error_bodies.from_body(status, text.encode(), {})


def said(status: int, message: str) -> Failure:
    return refused(status, {"error": {"message": message}})


@pytest.mark.parametrize(
    ("failure", "lack"),
    [
        (refused(404, ""), "path"),
        (refused(404, "404 page not found"), "path"),
        (refused(404, "<html><body><pre>Cannot POST /v1/responses</pre></body></html>"), "path"),
        (refused(404, {"detail": "Not Found"}), "path"),
        (said(404, "Invalid URL (POST /v1/responses)"), "path"),
        (said(404, "Unknown request URL: POST /x."), "path"),
        (refused(404, {"error": {"code": 404, "message": "File Not Found"}}), "path"),
        (refused(404, {"message": "no Route matched with those values"}), "path"),
        (refused(404, {"status": 404, "error": "Not Found", "path": "/v1/responses"}), "path"),
        (refused(403, {"message": "Missing Authentication Token"}), "path"),
        (refused(405, {"detail": "Method Not Allowed"}), "path"),
        (refused(501, "nope"), "path"),
        (said(400, "Unsupported endpoint /responses"), "path"),
        (refused(500, {"code": 500, "msg": "404 NOT_FOUND", "success": False}), "path"),
        (said(400, "The model gpt-x is not supported with the Responses API."), "model"),
        (said(404, "This model is only supported in v1/chat/completions"), "model"),
        (said(500, "not implemented (request id: 1)"), "model"),
        (said(404, "The model `m` does not exist"), "perhaps"),
        (said(401, "Invalid API key"), "perhaps"),
        (said(400, "you must provide a messages parameter"), ""),
        (said(400, "messages is required"), "perhaps"),
        (refused(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}), "perhaps"),
        (said(404, "The model m cannot be used with the Responses API."), "model"),
        (said(403, "no"), "perhaps"),
        (said(400, "'input' is too long"), ""),
        (said(429, "Slow down"), ""),
        (said(500, "it broke"), ""),
        (Failure("Connection refused", kind="unreachable"), ""),
    ],
)
def test_what_a_refusal_says_about_the_provider(failure: Failure, lack: str) -> None:
    assert lack_in(failure) == lack


@pytest.mark.parametrize(
    ("body", "lack"),
    [
        (b'{"error":"Unexpected endpoint or method. (POST /v1/responses)"}', "path"),
        (b'{"object":"chat.completion","choices":[{"message":{"content":"hi"}}]}', "path"),
        (b'{"ok":true}', "perhaps"),
        (b"OK", "perhaps"),
        (b'{"error":{"message":"it broke"}}', ""),
    ],
)
def test_what_a_body_that_is_no_response_says(body: bytes, lack: str) -> None:
    assert [lack_in(each) for each in decode_body(body) if isinstance(each, Failure)] == [lack]


def test_lessons_count_for_the_base_url_or_for_one_user_and_end_after_a_day() -> None:
    now = 0.0
    learned = LearnedResponses(lambda: now)
    other = Endpoint("https://relay.example/v1/", "sk-2")
    learned.learn_missing(ENDPOINT, "m", 1, "path")
    assert learned.having(other, "n", 2) == "missing"
    assert learned.having(Endpoint("https://relay.example/v2"), "m", 1) == "unknown"
    now = 86_400.0
    assert learned.having(other, "n", 2) == "unknown"
    learned.learn_missing(ENDPOINT, "m", 1, "perhaps")
    assert learned.having(other, "m", 1) == "missing"
    assert learned.having(other, "m", 2) == learned.having(other, "n", 1) == "unknown"
    learned.learn_offered(ENDPOINT, "m", 1)
    assert learned.having(other, "m", 1) == learned.having(other, "n", 2) == "offered"


def test_known_provider_loses_it_for_one_user_only_and_others_never_have_it() -> None:
    learned = LearnedResponses()
    official = Endpoint("https://api.openai.com/v1")
    learned.learn_missing(official, "m", 1, "path")
    assert [learned.having(official, *key) for key in (("m", 1), ("m", 2))] == ["missing", "offered"]
    for endpoint in (
        Endpoint("https://api.deepseek.com"),
        Endpoint("", local=True),
        Endpoint("https://relay.example", wire_format="anthropic"),
    ):
        assert learned.having(endpoint, "m", 1) == "missing"


def test_what_is_remembered_is_bounded() -> None:
    learned = LearnedResponses()
    for number in range(1500):
        learned.learn_missing(Endpoint(f"https://a{number}.example/v1"), "m", 1, "path")
    assert len(learned) == 1000
    assert learned.having(Endpoint("https://a0.example/v1"), "m", 1) == "unknown"
    assert learned.having(Endpoint("https://a1499.example/v1"), "m", 1) == "missing"
