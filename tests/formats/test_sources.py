"""Sources of responses in every provider format: decoded with their places in the text, and encoded."""

import json
from typing import Any

import pytest
from test_attachments import chunks_of, delta, gemini_answer, read, sse

from chathub.formats import anthropic, gemini, openai
from chathub.formats.events import Event, Finish, Source, Text, ToolCallDelta
from chathub.formats.openai.encode_stream import encode_body as openai_body
from chathub.formats.sources import moved

A, B = "https://a.example/1", "https://b.example/2"


def sources(events: list[Event]) -> list[Source]:
    found = [event for event in events if isinstance(event, Source)]
    # after the text, before the end
    assert isinstance(events[-1], Finish) and events[-1 - len(found) : -1] == found
    return found


# --- OpenAI's format and its relatives


def citation(url: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    inner = {"url": url, "title": "T", "start_index": start, "end_index": end, **more}
    return {"type": "url_citation", "url_citation": inner}


def test_annotations_have_places_in_code_points() -> None:
    text = "猫🙂坐着。[1] 完"
    annotations = [citation(A, 0, 5), citation(B, 5, 8, content="quoted"), citation(A, 0, 5)]
    expected = [Source("T", A, "", 0, 5), Source("T", B, "quoted", 5, 8)]
    message = {"content": text, "annotations": annotations}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    assert sources(openai.decode_body(json.dumps(body).encode())) == expected
    stream = sse(delta(content=text), delta(annotations=annotations[:1]), delta(annotations=annotations[1:]))
    assert sources(read(openai.Decoder, stream + sse(delta("stop")))) == expected


def test_annotations_without_the_inner_object_and_without_a_place() -> None:
    annotations = [{"type": "url_citation", "url": A, "title": "T"}, citation(B, 0, 0), {"type": "x"}, None]
    stream = sse(delta(content="a"), delta("stop", annotations=annotations))
    assert sources(read(openai.Decoder, stream)) == [Source("T", A), Source("T", B)]


PAGE = {"title": "T", "url": A, "snippet": "quoted", "date": "2026-01-01"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"citations": [A, B]}, [Source("", A), Source("", B)]),
        ({"citations": [A, B], "search_results": [PAGE]}, [Source("T", A, "quoted"), Source("", B)]),
        (
            {"web_search": [{"title": "T", "link": A, "content": "quoted", "refer": "ref_1"}]},
            [Source("T", A, "quoted")],
        ),
        ({"search_info": {"search_results": [{"index": 1, "title": "T", "url": A}]}}, [Source("T", A)]),
        ({"references": [{"title": "T", "url": A, "summary": "quoted"}]}, [Source("T", A, "quoted")]),
        ({"citations": [{"title": "T", "url": A}]}, [Source("T", A)]),
        ({"citations": "none", "search_results": {"a": 1}, "web_search": [1, None]}, []),
        ({"citations": ["javascript:alert(1)", "ftp://x", "https://a b"]}, []),
    ],
)
def test_lists_beside_the_choices_are_sources(fields: dict[str, Any], expected: list[Source]) -> None:
    """Also where every chunk repeats them, and where a chunk has nothing else."""
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], **fields}
    assert sources(openai.decode_body(json.dumps(body).encode())) == expected
    repeated = sse(delta(content="a") | fields, delta(content="b") | fields, delta("stop") | fields)
    assert sources(read(openai.Decoder, repeated)) == expected
    alone = sse(delta(content="a"), {"choices": [], **fields}, delta("stop"))
    assert sources(read(openai.Decoder, alone)) == expected


@pytest.mark.parametrize(
    "message",
    [
        {"context": {"citations": [{"title": "T", "url": A, "content": "quoted", "filepath": "f"}]}},
        {
            "executed_tools": [
                {"search_results": {"results": [{"title": "T", "url": A, "content": "quoted"}]}}
            ]
        },
        {"citations": [{"title": "T", "url": A, "text": "quoted"}]},
    ],
)
def test_lists_in_the_message_are_sources(message: dict[str, Any]) -> None:
    stream = sse(delta(content="a"), delta(**message), delta("stop"))
    assert sources(read(openai.Decoder, stream)) == [Source("T", A, "quoted")]


def test_number_and_length_of_sources_are_limited() -> None:
    many = [
        {"title": "t" * 9_000, "url": f"https://a.example/{n}", "snippet": "s" * 9_000} for n in range(999)
    ]
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "search_results": many}
    found = sources(openai.decode_body(json.dumps(body).encode()))
    assert len(found) == 200 and len(found[0].title) == 500 and len(found[0].quote) == 1000


# --- Gemini


def web(title: str, uri: str) -> dict[str, Any]:
    return {"web": {"title": title, "uri": uri}}


def support(start: int, end: int, *chunks: int, text: str = "") -> dict[str, Any]:
    segment = {"startIndex": start, "endIndex": end, "text": text}
    return {"segment": {k: v for k, v in segment.items() if v}, "groundingChunkIndices": list(chunks)}


def test_groundings_bytes_become_code_points() -> None:
    text = "猫🙂坐着。Cats sit."
    first = len("猫🙂坐着。".encode())
    grounding = {
        "groundingChunks": [web("A", A), web("B", B), web("C", "https://c.example/")],
        "groundingSupports": [support(0, first, 0), support(first, first + 9, 0, 1)],
    }
    expected = [
        Source("A", A, "", 0, 5),
        Source("A", A, "", 5, 14),
        Source("B", B, "", 5, 14),
        Source("C", "https://c.example/"),
    ]
    whole = gemini_answer({"text": text}, finish="STOP", groundingMetadata=grounding)
    assert sources(gemini.decode_body(json.dumps(whole).encode())) == expected
    stream = sse(
        gemini_answer({"text": text[:3]}),
        gemini_answer({"text": text[3:]}, groundingMetadata={"groundingChunks": [web("A", A)]}),
        gemini_answer({"text": ""}, finish="STOP", groundingMetadata=grounding),
    )
    assert sources(read(gemini.Decoder, stream)) == expected


def test_offsets_that_miss_their_text_are_searched_for() -> None:
    grounding = {
        "groundingChunks": [web("A", A)],
        "groundingSupports": [support(90, 99, 0, text="坐着"), support(1, 2, 0, text="狗")],
    }
    stream = sse(gemini_answer({"text": "猫坐着。"}, finish="STOP", groundingMetadata=grounding))
    assert sources(read(gemini.Decoder, stream)) == [Source("A", A, "", 1, 3), Source("A", A)]


def test_citations_of_gemini_are_sources() -> None:
    cited = {"citationSources": [{"endIndex": 3, "uri": A, "license": "mit"}, {"startIndex": 3, "uri": B}]}
    stream = sse(gemini_answer({"text": "猫坐"}, finish="STOP", citationMetadata=cited))
    assert sources(read(gemini.Decoder, stream)) == [Source("", A, "", 0, 1), Source("", B)]


@pytest.mark.parametrize(
    "grounding",
    [[], {"groundingChunks": 1, "groundingSupports": [1]}, {"groundingSupports": [support(0, 9, 7, -1)]}],
)
def test_strange_grounding_is_no_source(grounding: Any) -> None:
    stream = sse(gemini_answer({"text": "a"}, finish="STOP", groundingMetadata=grounding))
    assert sources(read(gemini.Decoder, stream)) == []


# --- Anthropic

WEB = {
    "type": "web_search_result_location",
    "url": A,
    "title": "T",
    "encrypted_index": "e",
    "cited_text": "quoted",
}
CHARACTERS = {
    "type": "char_location",
    "cited_text": "said",
    "document_index": 0,
    "document_title": "Report",
    "start_char_index": 3,
    "end_char_index": 7,
}
PAGE_OF_PDF = {"type": "page_location", "cited_text": "said", "document_index": 1, "document_title": None}
RESULTS = {
    "type": "web_search_tool_result",
    "tool_use_id": "s1",
    "content": [
        {"type": "web_search_result", "url": A, "title": "T", "encrypted_content": "x"},
        {"type": "web_search_result", "url": B, "title": "U", "encrypted_content": "x"},
    ],
}
CITED = [
    Source("T", A, "quoted", 2, 5),
    Source("Report", "", "said", 2, 5),
    Source("document 2", "", "said", 5, 6),
    Source("U", B),
]


def test_citations_of_a_whole_message_support_their_blocks() -> None:
    content = [
        RESULTS,
        {"type": "text", "text": "猫："},
        {"type": "text", "text": "坐着。", "citations": [WEB, CHARACTERS]},
        {"type": "text", "text": "完", "citations": [PAGE_OF_PDF]},
        {"type": "text", "text": "。", "citations": None},
    ]
    message = {"type": "message", "content": content, "stop_reason": "end_turn"}
    assert sources(anthropic.decode_body(json.dumps(message).encode())) == CITED


def test_citations_in_deltas_support_their_blocks() -> None:
    def block(index: int, text: str, *citations: Any) -> list[dict[str, Any]]:
        deltas = [{"type": "text_delta", "text": character} for character in text]
        deltas[1:1] = [{"type": "citations_delta", "citation": each} for each in citations]
        return [
            {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
            *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    stream = sse(
        {"type": "message_start", "message": {"content": []}},
        {"type": "content_block_start", "index": 0, "content_block": RESULTS},
        {"type": "content_block_stop", "index": 0},
        *block(1, "猫："),
        *block(2, "坐着。", WEB, CHARACTERS),
        *block(3, "完", PAGE_OF_PDF),
        *block(4, "。"),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )
    assert sources(read(anthropic.Decoder, stream)) == CITED


# --- for clients


def test_openai_clients_get_annotations() -> None:
    events: list[Event] = [Text("猫坐着。"), Source("T", A, "q", 0, 4), Source("U", B), Finish("stop")]
    expected = [
        citation(A, 0, 4, content="q"),
        {
            "type": "url_citation",
            "url_citation": {"url": B, "title": "U", "start_index": 0, "end_index": 0},
        },
    ]
    assert chunks_of(events)[1]["annotations"] == expected
    message = json.loads(openai_body(events, "m", "chatcmpl-1", 1))["choices"][0]["message"]
    assert message["annotations"] == expected and message["content"] == "猫坐着。"
    # what ChatHub sends is what it reads
    assert sources(openai.decode_body(openai_body(events, "m", "chatcmpl-1", 1))) == events[1:3]


def anthropic_content(events: list[Event]) -> list[dict[str, Any]]:
    return json.loads(anthropic.encode_body(events, "m", "msg_1"))["content"]


def test_anthropic_clients_get_citations_of_the_cited_text() -> None:
    placed: list[Event] = [Source("T", A, "q", 1, 3), Source("U", B, "", 2, 4), Source("V", B)]
    content = anthropic_content([Text("猫坐着。完"), *placed, Finish("stop")])
    assert [block["text"] for block in content] == ["猫", "坐着。", "完"]
    assert [[each["url"] for each in block.get("citations", [])] for block in content] == [[], [A, B], [B]]
    assert content[1]["citations"][0] == WEB | {"encrypted_index": "", "cited_text": "q"}


def test_anthropic_streams_cite_at_the_end_of_the_text() -> None:
    encoder = anthropic.Encoder("m", "msg_1")
    events = [*encoder.feed([Text("猫"), Source("T", A, "q", 0, 1)]), *encoder.end()]
    names = [name for name, _ in events]
    deltas = [json.loads(payload)["delta"] for name, payload in events if name == "content_block_delta"]
    assert [each["type"] for each in deltas] == ["text_delta", "citations_delta"]
    assert deltas[1]["citation"]["url"] == A and names.index("content_block_stop") == 5


def test_sources_that_no_text_can_cite_are_a_sentence_for_anthropic_clients() -> None:
    call = ToolCallDelta(0, "c", "f", "{}")
    encoder = anthropic.Encoder("m", "msg_1")
    events = [*encoder.feed([Text("猫"), call, Source("T", A)]), *encoder.end()]
    sent = b"".join(payload for _, payload in events)
    assert f"Sources: T {A}".encode() in sent and b"citations_delta" not in sent
    assert anthropic_content([call, Source("T", A), Finish("tool_calls")])[-1]["text"] == f"Sources: T {A}"


def test_places_move_with_a_text_whose_beginning_was_taken_away() -> None:
    assert moved(Source("T", A, "", 10, 12), 9) == Source("T", A, "", 1, 3)
    assert moved(Source("T", A, "", 5, 12), 9) == Source("T", A, "", 0, 3)
    assert moved(Source("T", A, "", 5, 9), 9) == Source("T", A)
