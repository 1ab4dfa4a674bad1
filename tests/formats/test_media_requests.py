"""Requests for media: what is read of them, and what their responses say was used."""

import asyncio
import json
import tracemalloc
from typing import Any

import pytest
from audio_files import recording

from chathub.errors import BadRequest
from chathub.formats.events import Event, Failure, Finish, Units, Usage
from chathub.formats.forms.decode import Part
from chathub.formats.forms.encode import Extent
from chathub.formats.forms.form import Field, Form
from chathub.formats.openai.media.completion import CompletionRequest
from chathub.formats.openai.media.image_edit import ImageEditRequest, ImageGenerationRequest
from chathub.formats.openai.media.request import MediaRequest
from chathub.formats.openai.media.rerank import RerankRequest
from chathub.formats.openai.media.speech import SpeechRequest
from chathub.formats.openai.media.transcription import TranscriptionRequest


def form(files: dict[str, bytes], **texts: str) -> Form:
    kept, fields = b"", []
    for name, text in texts.items():
        fields.append(Field(Part(name, None, ""), Extent(0, 0), text.encode()))
    for name, data in files.items():
        fields.append(Field(Part(name, f"{name}.bin", ""), Extent(len(kept), len(data))))
        kept += data

    async def read(start: int, size: int) -> bytes:
        return kept[start : start + size]

    return Form(fields, read)


def transcription(data: bytes = b"", **texts: str) -> TranscriptionRequest:
    made = TranscriptionRequest.of(form({"file": data or recording("pcm.wav")}, model="m", **texts))
    return asyncio.run(made)


def stream(*values: Any) -> bytes:
    return b"".join([b"data: %b\n\n" % json.dumps(value).encode() for value in values])


def streamed(request: MediaRequest, data: bytes) -> list[Event]:
    decoder = request.decoder(1_000_000)
    return decoder.feed(data) + decoder.close()


def units_in(events: list[Event]) -> Units:
    (found,) = [event for event in events if isinstance(event, Units)]
    return found


# --- speech


@pytest.mark.parametrize(("text", "count"), [("", 0), ("abc", 3), ("你好👋", 3), ("e\u0301", 2)])
def test_speech_counts_code_points(text: str, count: int) -> None:
    request = SpeechRequest(json.dumps({"model": "m", "input": text}).encode())
    assert request.sent == request.most == Units("character", count)
    assert request.is_binary and not request.streams


def test_speech_without_units_in_its_events_counts_its_characters() -> None:
    request = SpeechRequest(b'{"model": "m", "input": "abc", "stream_format": "sse"}')
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    events = streamed(
        request,
        stream(
            {"type": "speech.audio.delta", "audio": "aGk="}, {"type": "speech.audio.done", "usage": usage}
        ),
    )
    assert units_in(events) == Units("character", 3)
    assert Usage(1, 2, 3) in events and Finish("stop") in events


# --- transcripts


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        ({"text": "x", "usage": {"type": "duration", "seconds": 7}}, 7),
        ({"text": "x", "usage": {"type": "duration", "seconds": 6.02}}, 7),
        ({"text": "x", "duration": 8.5}, 9),
        ({"text": "x", "duration": "8.470000267028809"}, 9),
        ({"text": "x", "duration": "long"}, 2),
        ({"text": "x", "duration": -1, "usage": {"seconds": None}}, 2),
        ({"text": "x", "duration": 1e300}, 600),
        ({"text": "x", "duration": 10**400}, 2),
        ({"text": "x", "duration": "1e999"}, 2),
        ({"text": "x", "duration": float("nan")}, 2),
        ({"text": "x"}, 2),
    ],
)
def test_seconds_are_those_of_the_provider_else_those_of_the_file(response: Any, seconds: int) -> None:
    """The file has 1.5 seconds. A provider may charge for a minute, but is not believed any number."""
    events = transcription().decode_body(json.dumps(response).encode())
    assert events == [Usage(completion_tokens=0), Units("second", seconds)]


def test_a_text_tells_no_seconds() -> None:
    request = transcription(response_format="srt")
    assert request.decode_body(b"1\n00:00:00,000 --> ...") == [Usage(completion_tokens=0), Units("second", 2)]


def test_an_unknown_file_is_reserved_longer_than_it_is_counted() -> None:
    request = transcription(b"#!AMR\n" + bytes(39_994))
    assert (request.sent, request.most) == (Units("second", 10), Units("second", 20))


def test_tokens_of_a_transcript_are_reported() -> None:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
    usage |= {"input_token_details": {"text_tokens": 0, "audio_tokens": 14}}  # type: ignore[dict-item]
    body = {"text": "x", "usage": usage}
    assert transcription().decode_body(json.dumps(body).encode())[0] == Usage(14, 45, 59)
    events = streamed(
        transcription(stream="true"),
        stream(
            {"type": "transcript.text.delta", "delta": "x"},
            {"type": "transcript.text.segment", "text": "x", "speaker": "A"},
            {"type": "transcript.text.done", "text": "x", "usage": usage},
        ),
    )
    assert Usage(14, 45, 59) in events and units_in(events) == Units("second", 2)


@pytest.mark.parametrize(("word", "streams"), [("true", True), ("TRUE", True), ("on", True), ("0", False)])
def test_a_stream_is_requested_in_the_words_that_servers_read(word: str, streams: bool) -> None:
    assert transcription(stream=word).streams is streams


def test_a_silent_recording_is_a_whole_transcript() -> None:
    events = streamed(transcription(stream="true"), stream({"type": "transcript.text.done", "text": ""}))
    assert not [event for event in events if isinstance(event, Failure)]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (stream({"error": {"message": "no"}}), "refused"),
        (stream({"type": "transcript.text.delta", "delta": "x"}), "cut"),
        (
            stream(
                {"type": "transcript.text.delta", "delta": "x"}, {"type": "error", "error": {"message": "no"}}
            ),
            "cut",
        ),
    ],
)
def test_a_stream_without_its_end_is_a_failure(data: bytes, kind: str) -> None:
    failures = [event for event in streamed(transcription(), data) if isinstance(event, Failure)]
    assert [failure.kind for failure in failures] == [kind]


@pytest.mark.parametrize(
    "body", [b'{"error": {"message": "no"}}', b'{"object": "error", "message": "no"}', b"{"]
)
def test_an_error_in_a_200_is_a_failure(body: bytes) -> None:
    (failure,) = transcription().decode_body(body)
    assert isinstance(failure, Failure)


# --- texts and ranks


@pytest.mark.parametrize(
    ("prompt", "number"),
    [("x", 1), ([], 1), ([1, 22, 333], 1), (["x", "y"], 2), ([[1, 2], [3]], 2), (None, 1)],
)
def test_each_prompt_of_a_list_gets_its_replies(prompt: Any, number: int) -> None:
    body = {"model": "m", "prompt": prompt, "n": 3, "best_of": 4}
    assert CompletionRequest(json.dumps(body).encode()).choices == number * 4


@pytest.mark.parametrize(("kind", "field"), [(CompletionRequest, "prompt"), (RerankRequest, "documents")])
@pytest.mark.parametrize("item", [b"[]", b'{"a":{}}', b'""'])
def test_a_list_of_very_many_items_is_refused_and_not_built(
    kind: type[MediaRequest], field: str, item: bytes
) -> None:
    body = b'{"model":"m","query":"q","%b":[%b1]}' % (field.encode(), (item + b",") * 500_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest) as caught:
            kind(body)  # type: ignore[call-arg]
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body) + 4_000_000
    finally:
        tracemalloc.stop()
    assert (caught.value.reason.code, caught.value.details) == ("list_too_long", {"param": field})


@pytest.mark.parametrize("documents", [b'"x"', b"null", b"{}"])
def test_documents_that_are_no_list_are_refused(documents: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        RerankRequest(b'{"model":"m","query":"q","documents":%b}' % documents)
    assert caught.value.details == {"param": "documents"}


# --- images


def edit(**texts: str) -> ImageEditRequest:
    return ImageEditRequest.of_form(form({"image[]": b"1", "mask": b"2"}, model="m", **texts))


@pytest.mark.parametrize(
    ("texts", "response", "units"),
    [
        ({}, {"data": [{"url": "x"}]}, Units("image", 1)),
        ({"n": "3"}, {"data": [{"b64_json": "x"}] * 2}, Units("image", 2)),
        ({"n": "3"}, {"data": []}, Units("image", 0)),
        ({"n": "3"}, {"created": 1}, Units("image", 3)),
        ({"n": "3"}, {"data": [{"url": "x"}, {"error": {"code": "x"}}]}, Units("image", 1)),
        ({"n": "3"}, {"data": [{"url": "x"}] * 900}, Units("image", 30)),
        (
            {"batch_size": "2", "image_size": "1x1", "size": "2x2"},
            {"images": [{"url": "x"}] * 2, "seed": 1},
            Units("image", 2, ("1x1",)),
        ),
        ({}, {"data": [{"url": "x"}], "usage": {"generated_images": 4}}, Units("image", 4)),
        ({"size": "1024x1024", "quality": "high"}, {"data": [{}]}, Units("image", 1, ("1024x1024", "high"))),
        ({"size": "auto", "quality": "auto"}, {"data": [{}]}, Units("image", 1)),
        ({"size": "1x1/low", "quality": "x" * 41}, {"data": [{}], "size": "a b"}, Units("image", 1)),
        (
            {"size": "auto", "quality": "low"},
            {"data": [{}], "size": "1536x1024"},
            Units("image", 1, ("1536x1024", "low")),
        ),
        (
            {"quality": "low"},
            {"data": [{}], "size": "1x1", "quality": "high"},
            Units("image", 1, ("1x1", "high")),
        ),
    ],
)
def test_images_count_as_they_were_made(texts: dict[str, str], response: Any, units: Units) -> None:
    assert units_in(edit(**texts).decode_body(json.dumps(response).encode())) == units


def test_images_of_megabytes_are_counted_without_being_built() -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    body = json.dumps({"data": [{"b64_json": "a" * 3_000_000}] * 2, "usage": usage, "size": "1x1"}).encode()
    assert edit(n="2").decode_body(body) == [Usage(5, 7, 12), Units("image", 2, ("1x1",))]


def test_a_stream_of_images_ends_with_the_last_of_them() -> None:
    request = edit(n="2", stream="true")
    done = {"type": "image_edit.completed", "b64_json": "x", "size": "1x1", "quality": "low"}
    decoder = request.decoder(1_000_000)
    decoder.feed(stream({"type": "image_edit.partial_image", "b64_json": "x"}, done))
    assert not decoder.done
    events = decoder.feed(stream(done))
    assert decoder.done and units_in(events) == Units("image", 2, ("1x1", "low"))


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 1),
        ({"n": 2, "batch_size": None}, 2),
        ({"n": 2, "batch_size": 4}, 4),
        ({"sequential_image_generation": "disabled"}, 1),
        ({"sequential_image_generation": "auto"}, 15),
        (
            {
                "sequential_image_generation": "auto",
                "sequential_image_generation_options": {"max_images": 3},
            },
            3,
        ),
    ],
)
def test_as_many_images_are_reserved_as_may_be_made(fields: dict[str, Any], most: int) -> None:
    request = ImageGenerationRequest.of_body(json.dumps({"model": "m", "prompt": "p"} | fields).encode())
    assert request.most.count == most


@pytest.mark.parametrize(
    "fields",
    [
        {"Batch_Size": 4},
        {"batch_size": 11},
        {"batch_size": "2"},
        {"Image_size": "1x1"},
        {"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 16}},
        {"image": ["x"] * 101},
    ],
)
def test_other_names_of_numbers_are_checked_too(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        ImageGenerationRequest.of_body(json.dumps({"model": "m", "prompt": "p"} | fields).encode())


@pytest.mark.parametrize("sent", [{"image": "x"}, {"images": [{"image_url": "x"}]}, {"image": ["x", "x"]}])
def test_images_in_a_body_may_have_megabytes_and_count(sent: dict[str, Any]) -> None:
    picture = "data:image/png;base64," + "a" * 2_000_000
    body = json.dumps({"model": "m", "prompt": "p"} | sent).replace('"x"', f'"{picture}"').encode()
    request = ImageEditRequest.of_body(body)
    number = body.count(picture.encode())
    assert 8_000 * number <= request.most_prompt < 8_000 * number + 1_000
    sent_body = request.body("other", takes_extras=False)
    assert isinstance(sent_body, bytes) and sent_body.count(picture.encode()) == number


@pytest.mark.parametrize("number", ["0", "11", "-1", "1.5", "many", "99999999999999999999"])
def test_wrong_numbers_of_images_are_refused(number: str) -> None:
    with pytest.raises(BadRequest):
        edit(n=number)
    body = json.dumps({"model": "m", "prompt": "p", "n": number}).encode()
    with pytest.raises(BadRequest):
        ImageEditRequest.of_body(body)
