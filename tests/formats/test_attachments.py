"""Attachments of responses in every provider format: decoded from each form, byte by byte, and encoded."""

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest

from chathub.formats import anthropic, gemini, openai
from chathub.formats.attachments import Base64Pieces, described, from_base64, from_url, in_words
from chathub.formats.events import Attachment, Event, Failure, Finish, Source, Text, Usage
from chathub.formats.openai.encode_stream import Encoder
from chathub.formats.openai.encode_stream import encode_body as openai_body

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
OGG = b"OggS" + bytes(range(200))
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
IMAGE = Attachment("image/png", PNG)
FAR = "https://cdn.example.com/cat.png?x=1"


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{b64(data)}"


def sse(*objects: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each, ensure_ascii=False).encode() + b"\n\n" for each in objects)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def read(decoder: Any, stream: bytes) -> list[Event]:
    """The events of a stream in one piece, which are the same byte by byte."""
    whole = [*decoder().feed(stream)]
    at_once = decoder()
    whole = [*at_once.feed(stream), *at_once.close()]
    single = decoder()
    bytewise = [event for byte in stream for event in single.feed(bytes([byte]))] + single.close()
    assert bytewise == whole
    return whole


# --- decoded


@pytest.mark.parametrize(
    "image",
    [
        {"type": "image_url", "image_url": {"url": data_url(PNG)}},
        {"type": "image_url", "image_url": data_url(PNG), "index": 0},
        {"image_url": {"url": data_url(PNG, "image/jpeg")}},
        {"type": "image", "b64_json": b64(PNG)},
        {"url": data_url(PNG)},
        data_url(PNG),
    ],
)
def test_images_of_openais_format_are_attachments_after_the_text(image: Any) -> None:
    message = {"role": "assistant", "content": "Here: 猫", "images": [image]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert openai.decode_body(body) == [Text("Here: 猫"), IMAGE, Finish("stop")]
    stream = sse(delta(content="Here: 猫", images=[image]), delta("stop"))
    assert read(openai.Decoder, stream) == [Text("Here: 猫"), IMAGE, Finish("stop")]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": data_url(PNG)}}, IMAGE),
        ({"type": "output_image", "image_url": data_url(PNG)}, IMAGE),
        ({"type": "output_image", "b64_json": b64(PNG), "output_format": "png"}, IMAGE),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(PNG)}}, IMAGE),
        ({"type": "image_url", "image_url": {"url": FAR}}, Attachment("image/*", url=FAR)),
        ({"type": "image_url", "image_url": {"url": "http://cdn.example.com/a.png"}}, Attachment("image/*")),
        (
            {"type": "output_audio", "audio": {"data": b64(OGG), "transcript": "beep"}},
            Attachment("audio/ogg", OGG, transcript="beep"),
        ),
        (
            {"type": "file", "file": {"file_data": data_url(b"a,b", "text/csv"), "filename": "a/b.csv"}},
            Attachment("text/csv", b"a,b", name="a_b.csv"),
        ),
    ],
)
def test_content_parts_are_attachments_in_their_place(part: Any, expected: Attachment) -> None:
    content = [{"type": "text", "text": "before "}, part, {"type": "text", "text": "after"}]
    body = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}).encode()
    events = [Text("before "), expected, Text("after"), Finish("stop")]
    assert openai.decode_body(body) == events
    assert read(openai.Decoder, sse(delta("stop", content=content))) == events


def test_audio_in_pieces_is_one_attachment_at_the_end() -> None:
    """Pieces with padding of their own, and one that is cut inside a group of four characters."""
    padded, rest = b64(OGG[:100]), b64(OGG[100:])
    pieces = [
        {"id": "audio_1", "transcript": "你"},
        {"data": padded[:50]},
        {"data": padded[50:], "transcript": "好"},
        {"data": rest[:7]},
        {"data": rest[7:], "expires_at": 1},
    ]
    stream = sse(*[delta(audio=piece) for piece in pieces], delta("stop"))
    expected = [Attachment("audio/ogg", OGG, transcript="你好"), Finish("stop")]
    assert read(openai.Decoder, stream) == expected
    assert read(openai.Decoder, stream + b"data: [DONE]\n\n") == expected


def test_audio_of_a_whole_body_is_an_attachment_with_its_transcript() -> None:
    audio = {"id": "audio_1", "data": b64(WAV), "transcript": "beep", "expires_at": 1}
    body = {"choices": [{"message": {"content": None, "audio": audio}, "finish_reason": "stop"}]}
    assert openai.decode_body(json.dumps(body).encode()) == [
        Attachment("audio/wav", WAV, transcript="beep"),
        Finish("stop"),
    ]


def test_raw_sound_has_the_type_of_raw_sound() -> None:
    stream = sse(delta(audio={"data": b64(b"\x01\x02\x03\x04")}), delta("stop"))
    assert read(openai.Decoder, stream)[0] == Attachment("audio/pcm", b"\x01\x02\x03\x04")


def test_recording_that_was_cut_off_is_kept_before_the_failure() -> None:
    events = read(openai.Decoder, sse(delta(audio={"data": b64(OGG)})))
    assert events[0] == Attachment("audio/ogg", OGG)
    assert isinstance(events[-1], Failure) and events[-1].kind == "cut"


def gemini_answer(*parts: Any, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, **fields}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": b64(PNG)}}, IMAGE),
        ({"inline_data": {"mime_type": "image/png", "data": b64(PNG)}}, IMAGE),
        (
            {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": b64(b"\x01\x02")}},
            Attachment("audio/l16;codec=pcm;rate=24000", b"\x01\x02"),
        ),
        (
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://storage.example.com/v.mp4"}},
            Attachment("video/mp4", url="https://storage.example.com/v.mp4"),
        ),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://bucket/v.mp4"}}, Attachment("video/mp4")),
    ],
)
def test_parts_of_gemini_are_attachments_in_their_place(part: Any, expected: Attachment) -> None:
    events = [Text("一"), expected, Text("二"), Finish("stop")]
    stream = sse(gemini_answer({"text": "一"}, part), gemini_answer({"text": "二"}, finish="STOP"))
    assert read(gemini.Decoder, stream) == events
    body = json.dumps(gemini_answer({"text": "一"}, part, {"text": "二"}, finish="STOP")).encode()
    assert gemini.decode_body(body) == events


def test_pictures_of_geminis_thoughts_are_no_attachments() -> None:
    part = {"thought": True, "inlineData": {"mimeType": "image/png", "data": b64(PNG)}}
    assert read(gemini.Decoder, sse(gemini_answer(part, {"text": "a"}, finish="STOP"))) == [
        Text("a"),
        Finish("stop"),
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(PNG)}}, IMAGE),
        ({"type": "image", "source": {"type": "url", "url": FAR}}, Attachment("image/*", url=FAR)),
        (
            {"type": "document", "title": "a.pdf", "source": {"type": "base64", "data": b64(b"%PDF-1")}},
            Attachment("application/pdf", b"%PDF-1", name="a.pdf"),
        ),
    ],
)
def test_blocks_of_anthropics_format_are_attachments(block: Any, expected: Attachment) -> None:
    message = {"type": "message", "content": [block], "stop_reason": "end_turn"}
    assert anthropic.decode_body(json.dumps(message).encode()) == [expected, Finish("stop")]
    stream = sse(
        {"type": "message_start", "message": {"content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )
    assert read(anthropic.Decoder, stream) == [expected, Finish("stop")]


# --- base64 and media types


@pytest.mark.parametrize(
    "text",
    [
        b64(PNG),
        b64(PNG).rstrip("="),
        urlsafe_b64encode(PNG).decode(),
        "\r\n".join([b64(PNG)[:76], b64(PNG)[76:]]),
    ],
)
def test_base64_is_read_in_every_spelling(text: str) -> None:
    assert from_base64(text, "image/png") == IMAGE


def test_broken_base64_is_an_attachment_without_content() -> None:
    assert from_base64("no base64!", "image/png") == Attachment("image/png")
    pieces = Base64Pieces()
    pieces.add("!!!!")
    assert pieces.close() == b""


@pytest.mark.parametrize(
    ("declared", "data", "expected"),
    [
        ("image/jpeg", PNG, "image/png"),
        ("IMAGE/JPG", b"x", "image/jpeg"),
        ("text/html", b"<html>", "text/html"),
        ("image/png\r\nX: y", b"x", "application/octet-stream"),
        ("image/*", b"x", "image/*"),
        ("", b"x", "application/octet-stream"),
    ],
)
def test_first_bytes_decide_the_media_type(declared: str, data: bytes, expected: str) -> None:
    assert from_base64(b64(data), declared).media_type == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/x",
        "https://u:p@a.example/x",
        "https://",
        "javascript:alert(1)",
        "https://a b/",
        "file:///x",
    ]
    + ["https://127.0.0.1/x", "https://[::1]/", "https://10.1.2.3/", "https://localhost/"]
    + ["https://db.internal/", "https://a.example/" + "x" * 2000],
)
def test_address_that_is_not_https_and_public_is_not_kept(url: str) -> None:
    assert from_url(url, "image/png") == Attachment("image/png")


# --- for clients


def chunks_of(events: list[Event]) -> list[dict[str, Any]]:
    encoder = Encoder("m", "chatcmpl-1", 1, include_usage=False)
    payloads = [*encoder.feed(events), *encoder.end()]
    return [json.loads(payload)["choices"][0]["delta"] for payload in payloads if payload != b"[DONE]"]


SPREADSHEET = Attachment("text/csv", b"a,b" * 1000, name="a.csv")


def test_openai_clients_get_images_recordings_and_sentences() -> None:
    sound = Attachment("audio/ogg", OGG, transcript="beep")
    events: list[Event] = [Text("a"), IMAGE, sound, SPREADSHEET, Finish("stop")]
    first, image, audio, sentence, _ = chunks_of(events)
    assert first["content"] == "a"
    assert image["images"] == [{"type": "image_url", "image_url": {"url": data_url(PNG)}, "index": 0}]
    assert audio["audio"]["data"] == b64(OGG) and audio["audio"]["transcript"] == "beep"
    assert sentence["content"] == "[text/csv, 3 KB: cannot be shown in this format]"
    message = json.loads(openai_body(events, "m", "chatcmpl-1", 1))["choices"][0]["message"]
    assert message["content"] == "a[text/csv, 3 KB: cannot be shown in this format]"
    assert message["images"] == image["images"] and message["audio"] == audio["audio"]


def test_openai_message_of_an_image_alone_has_no_content() -> None:
    message = json.loads(openai_body([IMAGE, Finish("stop")], "m", "chatcmpl-1", 1))["choices"][0]["message"]
    assert message["content"] is None and len(message["images"]) == 1


def test_anthropic_clients_are_told_what_came() -> None:
    events: list[Event] = [Text("猫"), IMAGE, Text("。"), Source("T", "https://a.example", start=0, end=1)]
    events += [Usage(1, 1), Finish("stop")]
    told = "[image/png, 1 KB: cannot be shown in this format]"
    content = json.loads(anthropic.encode_body(events, "m", "msg_1"))["content"]
    assert "".join(block["text"] for block in content) == f"猫{told}。"
    assert [block.get("citations") is not None for block in content] == [True, False]
    encoder = anthropic.Encoder("m", "msg_1")
    sent = b"".join(payload for _, payload in [*encoder.feed(events), *encoder.end()])
    assert told.encode() in sent


def test_unreadable_attachment_is_told_as_such() -> None:
    assert in_words(Attachment("image/png")) == Text("[image/png: cannot be read]")
    assert described(Attachment("", url=FAR)) == f"file at {FAR}"
