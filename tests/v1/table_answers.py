"""Rows of the table of formats about replies: the provider sends a feature, whole or streamed, and the client
looks for it in what its SDK reads."""

from typing import Any

from gateway import PIXEL
from scripted import DONE, chunk, data, usage
from scripted_formats import anthropic as anthropic_stream
from scripted_formats import gemini as gemini_stream
from scripted_formats import openai_calls, reply, streamed, whole
from table_cells import Cell, Row, carried, without
from table_programs import PLACE, Fields

CALL = ("call_1", "weather", PLACE)
THOUGHT, SIGNATURE = "想一想", "c2lnbmVk"
TEXT, ADDRESS = "Rain today.", "https://news.example/rain"
SENTENCE = "as a sentence that says what came"


def changed(body: Fields, **more: Any) -> Fields:
    """A whole body of OpenAI's format with more fields of its message."""
    (choice,) = body["choices"]
    return {**body, "choices": [{**choice, "message": {**choice["message"], **more}}]}


# reasoning


def reasoning_round_trip(cell: Cell) -> str:
    """What the provider wants back with the result of a tool call comes back as it was."""
    _think_and_call(cell)
    asked = cell.program.tools()
    reply = cell.ask(over=asked)
    cell.reply()
    cell.ask(over=cell.program.results(asked, reply))
    turn = next(turn for turn in cell.turns if turn["role"] in ("assistant", "model"))
    if cell.wire_format == "openai":
        return carried(turn.get("reasoning_content") == THOUGHT)
    if cell.wire_format == "anthropic":
        block = {"type": "thinking", "thinking": THOUGHT, "signature": "signed"}
        return carried(turn["content"][0] == block)
    call = next(part for part in turn["parts"] if "functionCall" in part)
    return carried(call.get("thoughtSignature") == SIGNATURE)


def _think_and_call(cell: Cell) -> None:
    body = whole(cell.wire_format, "", THOUGHT, [CALL])
    if cell.wire_format == "openai":
        cell.script(body, [chunk(reasoning_content=THOUGHT), *openai_calls(CALL)])
    elif cell.wire_format == "anthropic":
        cell.script(body, streamed("anthropic", "", THOUGHT, [CALL]))
    else:
        parts = body["candidates"][0]["content"]["parts"]
        parts[-1]["thoughtSignature"] = SIGNATURE
        cell.script(body, gemini_stream(*parts))


# sources and files


def citations(cell: Cell) -> str:
    if cell.wire_format == "openai":
        cited = {"start_index": 0, "end_index": 11, "title": "Rain", "url": ADDRESS}
        notes = [{"type": "url_citation", "url_citation": cited}]
        body = changed(whole("openai", TEXT), annotations=notes)
        cell.script(body, [chunk(TEXT), chunk(annotations=notes), *reply()])
    elif cell.wire_format == "anthropic":
        cell.script(*_cited_by_anthropic())
    else:
        cell.script(*_cited_by_gemini())
    answer = cell.ask()
    return carried(answer.texts == [TEXT] and answer.sources == [(ADDRESS, "Rain")])


def _cited_by_anthropic() -> tuple[Fields, list[bytes]]:
    place = {"type": "web_search_result_location", "encrypted_index": "x", "cited_text": "It rains."}
    note = {**place, "url": ADDRESS, "title": "Rain"}
    body = whole("anthropic", TEXT)
    body["content"][0]["citations"] = [note]
    events = anthropic_stream({"type": "text", "text": TEXT})
    delta = {"type": "citations_delta", "citation": note}
    event = {"type": "content_block_delta", "index": 0, "delta": delta}
    events.insert(3, b"event: content_block_delta\n" + data(event))
    return body, events


def _cited_by_gemini() -> tuple[Fields, list[bytes]]:
    segment = {"startIndex": 0, "endIndex": 11, "text": TEXT}
    grounding = {
        "groundingChunks": [{"web": {"uri": ADDRESS, "title": "Rain"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }
    body = whole("gemini", TEXT)
    body["candidates"][0]["groundingMetadata"] = grounding
    return body, [data({**body, "usageMetadata": {}}), *gemini_stream()]


def attachments(cell: Cell) -> str:
    """An image in the reply."""
    if cell.wire_format == "openai":
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        body = changed(whole("openai", TEXT), images=[image])
        cell.script(body, [chunk(TEXT), chunk(images=[image]), *reply()])
    elif cell.wire_format == "anthropic":
        cell.script(*_shown_by_anthropic())
    else:
        part = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
        body = whole("gemini", TEXT)
        body["candidates"][0]["content"]["parts"].append(part)
        cell.script(body, gemini_stream({"text": TEXT}, part))
    answer = cell.ask()
    (said,) = answer.texts
    if said == TEXT:
        return carried(answer.files == 1)
    return SENTENCE if said.startswith(TEXT) and "image" in said[len(TEXT) :] else carried(False)


def _shown_by_anthropic() -> tuple[Fields, list[bytes]]:
    """A block that Anthropic's own models do not send, but others of its format do."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    block = {"type": "image", "source": source}
    body = whole("anthropic", TEXT)
    body["content"].append(block)
    events = anthropic_stream({"type": "text", "text": TEXT})
    start = {"type": "content_block_start", "index": 1, "content_block": block}
    stop = {"type": "content_block_stop", "index": 1}
    added = [f"event: {event['type']}\n".encode() + data(event) for event in (start, stop)]
    return body, [*events[:-2], *added, *events[-2:]]


# counts


def usage_details(cell: Cell) -> str:
    """The tokens read from a cache and those of reasoning."""
    body = whole(cell.wire_format, TEXT)
    if cell.wire_format == "openai":
        told = {
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        body["usage"] |= told
        cell.script(body, [chunk(TEXT), chunk(finish="stop"), usage(7, 3, **told), DONE])
    elif cell.wire_format == "anthropic":
        more = {"cache_read_input_tokens": 4, "output_tokens_details": {"thinking_tokens": 2}}
        body["usage"] = {"input_tokens": 3, "output_tokens": 3, **more}
        events = anthropic_stream({"type": "text", "text": TEXT})
        ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": body["usage"]}
        cell.script(body, [*events[:-2], b"event: message_delta\n" + data(ending), events[-1]])
    else:
        told = {"promptTokenCount": 7, "cachedContentTokenCount": 4}
        body["usageMetadata"] = {**told, "candidatesTokenCount": 1, "thoughtsTokenCount": 2}
        cell.script(body, [data(body)])
    return carried(cell.ask().tokens == (4, 2))


# several replies, and how likely each token was


def choices(cell: Cell) -> str:
    if cell.client != "openai":
        return without(cell, "n", "candidate_count")
    if cell.wire_format == "openai":
        body = whole("openai", "one")
        (choice,) = body["choices"]
        body["choices"].append({**choice, "index": 1, "message": {"role": "assistant", "content": "two"}})
        cell.script(body, [_nth(0, "one"), _nth(1, "two"), _nth(1, "", "stop"), *reply()])
    texts = cell.ask(n=2).texts
    return carried(cell.body.get("n") == 2 and texts == ["one", "two"])


def _nth(index: int, text: str, finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return data({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


def logprobs(cell: Cell) -> str:
    if cell.client not in ("openai", "responses"):
        return without(cell, "logprobs", "top_logprobs")
    if cell.wire_format == "openai":
        token: Fields = {"token": "好", "logprob": -0.5, "bytes": None, "top_logprobs": []}
        told = {"logprobs": {"content": [token], "refusal": None}}
        body = whole("openai", "好")
        body["choices"][0] |= told
        event = {"index": 0, "delta": {"content": "好"}, "finish_reason": None, **told}
        head = {"id": "c1", "object": "chat.completion.chunk", "model": "m"}
        cell.script(body, [data({**head, "choices": [event]}), *reply()])
    if cell.client == "responses":
        answer = cell.ask(top_logprobs=1, include=["message.output_text.logprobs"])
    else:
        answer = cell.ask(logprobs=True, top_logprobs=1)
    wanted = [cell.body.get(name) for name in ("logprobs", "top_logprobs")]
    return carried(wanted == [True, 1] and answer.logprobs == ["好"])


ANSWERS: dict[str, Row] = {
    "reasoning round trip": reasoning_round_trip,
    "citations": citations,
    "n": choices,
    "logprobs": logprobs,
    "usage details": usage_details,
    "attachments": attachments,
}
