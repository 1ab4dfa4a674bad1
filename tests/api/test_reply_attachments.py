"""Attachments of replies: sent where they come, stored before, listed, served, resumed, limited, removed."""

import asyncio
import hashlib
import json
import sqlite3
from base64 import b64encode
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import (
    Event,
    Headers,
    active,
    add_model,
    chat,
    held,
    messages_of,
    opened,
    parse,
    read_events,
    resumable,
    resume,
    stream,
    text_of,
)
from scripted import DONE, Provider, Script, chunk, data, reply, usage
from scripted_formats import add_model_of_format, gemini, texts

from chathub.app_keys import REPLIES
from chathub.config import Config

PNG = b"\x89PNG\r\n\x1a\n" + b"the tests' own"
GIF = b"GIF89a the tests' own"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
FAR = "https://cdn.example.com/cat.png"
MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


def image(content: bytes, media_type: str = "image/png") -> bytes:
    url = f"data:{media_type};base64,{b64encode(content).decode()}"
    return chunk(images=[{"type": "image_url", "image_url": {"url": url}}])


def at_address(url: str) -> bytes:
    return chunk(images=[{"type": "image_url", "image_url": {"url": url}}])


def pictures() -> list[bytes]:
    """A stream with images before, in and after its text."""
    return [
        chunk(reasoning_content="想"),
        image(GIF, "image/gif"),
        chunk("猫🙂"),
        image(PNG),
        *(chunk("坐"), chunk("着。"), image(PNG)),
        *(chunk(finish="stop"), usage(7, 3), DONE),
    ]


def order(events: list[dict[str, Any]]) -> list[str]:
    """The events without start and end: the text of a run, the media types of attachments."""
    shown: list[str] = []
    for event in events[1:-1]:
        if event["type"] == "attachment":
            shown.append(event["media_type"])
        elif shown and "/" not in shown[-1] and event["type"] == "content":
            shown[-1] += event["content"]
        elif event["type"] == "content":
            shown.append(event["content"])
    return shown


IN_ORDER = ["image/gif", "猫🙂", "image/png", "坐着。", "image/png"]


def attachments_in(events: list[Event]) -> list[dict[str, Any]]:
    return [event for _, event in events if event["type"] == "attachment"]


def rows(config: Config, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(config.database)) as db:
        return db.execute(statement).fetchall()


async def fetched(client: TestClient, headers: Headers, url: str) -> tuple[int, bytes, Any]:
    async with client.get(url, headers=headers) as response:
        return response.status, await response.read(), response.headers


# --- where they are shown


async def test_attachments_are_events_between_the_texts_where_they_came(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(pictures())
    events = await stream(client, user, conversation_id="c")
    assert order(events) == IN_ORDER and events[-1]["type"] == "end"
    gif, png, again = [event for event in events if event["type"] == "attachment"]
    assert set(gif) == {"type", "id", "media_type", "name", "size", "url"}
    assert gif["url"] == f"/api/files/{gif['id']}" and gif["size"] == len(GIF)
    assert png["id"] == again["id"] != gif["id"] and png["name"] == "image-2.png"
    for event, content in ((gif, GIF), (png, PNG)):
        status, body, headers = await fetched(client, user, event["url"])
        assert (status, body) == (200, content) and headers["Content-Type"] == event["media_type"]
        assert "Content-Disposition" not in headers
    (answer,) = (await messages_of(client, user, "c"))[1:]
    expected = [{**event, "at": at} for event, at in zip((gif, png, again), (0, 2, 5), strict=True)]
    assert answer["attachments"] == expected and answer["content"] == "猫🙂坐着。" and answer["images"] == []


async def test_whole_reply_has_its_attachments(client: TestClient, user: Headers, provider: Provider) -> None:
    provider.script = provider.stream(pictures())
    status, body, _ = await chat(client, user)
    assert status == 200 and body["response"] == "猫🙂坐着。"
    kept = await messages_of(client, user, body["conversation_id"])
    assert body["attachments"] == kept[1]["attachments"] and len(body["attachments"]) == 3
    provider.script = provider.stream(reply("a"))
    assert (await chat(client, user))[1]["attachments"] == []


async def test_reply_of_an_attachment_alone_is_a_whole_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([image(PNG), chunk(finish="stop"), usage(7, 3), DONE])
    events = await stream(client, user, conversation_id="c")
    assert [event["type"] for event in events] == ["start", "attachment", "end"]
    assert events[-1]["usage"]["completion_tokens"] == 3
    body = {"choices": [{"message": {"content": None, "images": [FAR]}, "finish_reason": "stop"}]}
    provider.script = provider.answer(200, body)
    status, answer, _ = await chat(client, user)
    assert status == 200 and answer["response"] == "" and len(answer["attachments"]) == 1


async def test_recording_has_its_transcript(client: TestClient, user: Headers, provider: Provider) -> None:
    sound = b"OggS the tests' own"
    pieces = [b64encode(sound).decode()[:6], b64encode(sound).decode()[6:]]
    provider.script = provider.stream(
        [*(chunk(audio={"data": piece, "transcript": "哔"}) for piece in pieces), *reply()]
    )
    (attachment,) = (await chat(client, user))[1]["attachments"]
    assert (attachment["media_type"], attachment["transcript"]) == ("audio/ogg", "哔哔")
    assert (await fetched(client, user, attachment["url"]))[1] == sound


async def test_address_of_the_providers_is_kept_as_it_is(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.stream(
        [chunk("a"), at_address(FAR), at_address("https://10.0.0.1/x"), *reply("b")]
    )
    events = await stream(client, user, conversation_id="c")
    (event,) = [event for event in events if event["type"] == "attachment"]
    assert (event["id"], event["size"], event["url"]) == (None, None, FAR)
    assert "无法读取" in text_of(events) and "10.0.0.1" not in str(events)
    assert rows(config, "SELECT 1 FROM files") == []
    assert (await messages_of(client, user, "c"))[1]["attachments"] == [{**event, "at": 1}]


# --- resumed


async def test_resumed_reply_has_all_attachments_again_from_every_cursor(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(pictures(), pause=0.005)
    events = await resumable(client, user)
    message_id, whole = events[0][1]["message_id"], "猫🙂坐着。"
    ids = [event_id for event_id, _ in events]
    assert len(set(ids)) > 3
    for last in [None, *ids]:
        again = await resume(client, user, message_id, last)
        content = int(last.partition("-")[0]) if last else 0
        assert attachments_in(again) == attachments_in(events)
        assert text_of([event for _, event in again]) == whole[content:]
        # an attachment does not move the cursor
        at = content
        for event_id, event in again:
            at += len(event["content"]) if event["type"] == "content" else 0
            assert event_id.startswith(f"{at}-")
        missed = [place for place in (0, 2, 5) if place < content]
        assert [event["type"] for _, event in again[1 : 1 + len(missed)]] == ["attachment"] * len(missed)


async def test_resumed_running_reply_has_the_attachments_so_far_at_once(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    parts = pictures()
    provider.script = provider.stream(parts, stall_after=4)
    body = {"message": "hi", "model": "test-model", "resumable": True}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        while b"image/png" not in (line := await response.content.readline()):
            assert line
    (running,) = await active(client, user)
    url = f"/api/chat/stream/{running['message_id']}"
    async with client.get(url, headers=user | {"Last-Event-ID": "2-1"}) as response:
        seen = b""
        async with asyncio.timeout(30):
            while seen.count(b'"attachment"') < 2:
                seen += await response.content.readline()
        provider.gate.set()
        seen += await response.read()
    again = parse(seen.decode())
    assert [event["media_type"] for event in attachments_in(again)] == ["image/gif", "image/png", "image/png"]
    assert order([event for _, event in again])[2:] == ["坐着。", "image/png"]


async def test_follower_that_comes_late_gets_attachments_in_their_places(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(pictures())
    start = (await stream(client, user))[0]
    again = await resume(client, user, start["message_id"])
    assert order([event for _, event in again]) == IN_ORDER


# --- stored


async def test_attachment_is_stored_before_its_event_is_sent(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.stream([chunk("前"), image(PNG), chunk("后"), *reply()], stall_after=3)
    response = await opened(client, user, "attachment")
    assert [row[0] for row in rows(config, "SELECT data FROM files")] == [PNG]
    assert rows(config, "SELECT text FROM message_parts") == [("前",)]
    provider.gate.set()
    await response.read()


async def test_text_after_an_attachment_waits_until_it_is_stored(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.stream([chunk("前"), image(PNG), *reply("后")], stall_after=1)
    response = await opened(client, user)
    with held(config.database):
        provider.gate.set()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await response.content.readline()
                await response.content.readline()
    rest = [json.loads(line[6:]) for line in (await response.text()).split("\n") if line.startswith("data")]
    assert [event["type"] for event in rest] == ["attachment", "content", "end"]


async def test_attachment_that_cannot_be_stored_is_a_sentence(
    client: TestClient, user: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is low: the reply goes on, and its sources keep their places."""
    from chathub.errors import DiskLow

    def refuse(**_: Any) -> None:
        raise DiskLow("磁盘空间不足")

    cited = {"url": FAR, "title": "T", "start_index": 1, "end_index": 2}
    annotation = {"type": "url_citation", "url_citation": cited}
    provider.script = provider.stream(
        [chunk("前"), image(PNG), chunk("后", annotations=[annotation]), *reply()]
    )
    async with client.post(
        "/api/chat/stream", json={"message": "hi", "model": "test-model"}, headers=user
    ) as response:
        keeper = client.app[REPLIES]._runner._attachment_keeper
        monkeypatch.setattr(keeper._admission, "check", refuse)
        events = await read_events(response)
    text = text_of(events)
    assert text == "前\n［image/png, 1 KB：服务器暂时无法保存］\n后"
    (source,) = events[-1]["sources"]
    assert text[source["start"] : source["end"]] == "后"


@pytest.mark.parametrize("sizes", [(9, 9, 4, 1), (21, 1)])
async def test_attachments_above_twenty_mebibytes_are_sentences_and_the_reply_goes_on(
    client: TestClient, user: Headers, provider: Provider, config: Config, sizes: tuple[int, ...]
) -> None:
    contents = [PNG + bytes([number]) * (size * MEGABYTE) for number, size in enumerate(sizes)]
    provider.script = provider.stream([*map(image, contents), *reply("完")])
    events = await stream(client, user, conversation_id="c")
    stored = [event["size"] for event in events if event["type"] == "attachment"]
    fitting = [len(content) for content, size in zip(contents, sizes, strict=True) if size not in (4, 21)]
    assert stored == fitting and events[-1]["type"] == "end"
    text = text_of(events)
    assert text.count("一条回复的附件至多 20 MiB，未保存］") == 1 and text.endswith("完")
    assert sum(row[0] for row in rows(config, "SELECT length(data) FROM files")) == sum(fitting)


async def test_same_content_is_stored_once_for_its_owner(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, config: Config
) -> None:
    for headers in (user, user, admin):
        provider.script = provider.stream([image(PNG), image(PNG), *reply("a")])
        await stream(client, headers)
    found = rows(config, "SELECT user_id, digest FROM files")
    assert len(found) == 2 and {row[1] for row in found} == {hashlib.sha256(PNG).hexdigest()}


async def test_files_of_others_are_not_served(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([image(PNG), *reply("a")])
    (event,) = [each for each in await stream(client, user) if each["type"] == "attachment"]
    assert (await fetched(client, admin, event["url"]))[0] == 404
    assert (await fetched(client, {}, event["url"]))[0] == 401


@pytest.mark.parametrize(("content", "media_type"), [(SVG, "image/svg+xml"), (b"<html>", "text/html")])
async def test_active_content_is_only_downloaded(
    client: TestClient, user: Headers, provider: Provider, content: bytes, media_type: str
) -> None:
    provider.script = provider.stream([image(content, media_type), *reply("a")])
    (event,) = [each for each in await stream(client, user) if each["type"] == "attachment"]
    status, body, headers = await fetched(client, user, event["url"])
    assert (status, body) == (200, content) and event["media_type"] == media_type
    assert headers["Content-Disposition"] == f'attachment; filename="{event["name"]}"'
    assert headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in headers["Content-Security-Policy"]


# --- removed


async def test_deleting_the_message_frees_its_files(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    """A file stays as long as another message shows it."""
    for conversation in ("c", "d"):
        provider.script = provider.stream([image(PNG), *reply("a")])
        events = await stream(client, user, conversation_id=conversation)
    url = next(event["url"] for event in events if event["type"] == "attachment")
    (_, answer) = await messages_of(client, user, "c")
    assert (await client.delete(f"/api/messages/{answer['id']}", headers=user)).status == 200
    assert (await fetched(client, user, url))[0] == 200
    assert (await client.delete("/api/conversations/d", headers=user)).status == 200
    assert (await fetched(client, user, url))[0] == 404
    async with asyncio.timeout(30):
        while rows(config, "SELECT 1 FROM files UNION ALL SELECT 1 FROM message_attachments"):
            await asyncio.sleep(0.02)


async def test_stopped_reply_keeps_its_attachments(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([image(PNG), *reply("a")], stall_after=1)
    response = await opened(client, user, "attachment", conversation_id="c")
    assert (await client.post("/api/chat/stop", json={"conversation_id": "c"}, headers=user)).status == 200
    await response.read()
    answer = (await messages_of(client, user, "c"))[1]
    assert answer["status"] == "stopped" and len(answer["attachments"]) == 1


async def test_repeated_request_gets_the_reply_of_attachments_that_was_interrupted(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    """It had output: the provider is not called again."""
    provider.script = provider.stream([image(PNG)], cut=True)
    first = await stream(client, user, client_message_id="once")
    assert first[-1]["type"] == "error"
    again = await stream(client, user, client_message_id="once")
    assert again[0]["message_id"] == first[0]["message_id"] and len(provider.bodies) == 1
    assert [event["type"] for event in again] == ["start", "attachment", "error"]


# --- sent back


async def test_images_of_replies_go_back_to_gemini(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    await add_model_of_format(client, admin, provider.base_url, "gemini", "draw", supports_vision=True)
    inline = {"mimeType": "image/png", "data": b64encode(PNG).decode()}
    signed = {"inlineData": inline, "thoughtSignature": "of the image"}
    text = {"text": "看", "thoughtSignature": "of the text"}
    provider.script = provider.stream(gemini(text, signed, {"text": "好"}))
    await stream(client, user, "画猫", model="draw", conversation_id="c")
    provider.script = provider.stream(texts("gemini", "ok"))
    await stream(client, user, "改成红色", model="draw", conversation_id="c")
    parts = [content["parts"] for content in provider.last["contents"]]
    assert parts == [
        [{"text": "画猫"}],
        [text, signed, {"text": "好"}],
        [{"text": "改成红色"}],
    ]


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_images_of_replies_are_left_out_where_the_format_takes_none(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, protocol: str
) -> None:
    """The turn stays in the history, and roles alternate."""
    await add_model_of_format(client, admin, provider.base_url, protocol, "see", supports_vision=True)
    provider.script = provider.stream([image(PNG), chunk(finish="stop"), DONE])
    await stream(client, user, "画猫", conversation_id="c")
    provider.script = provider.stream(texts(protocol, "ok"))
    await stream(client, user, "再画", model="see", conversation_id="c")
    said = [(message["role"], message["content"]) for message in provider.unmarked["messages"]]
    assert said == [("user", "画猫"), ("assistant", "[image/png]"), ("user", "再画")]


# --- sources


async def test_sources_are_in_the_end_the_whole_reply_and_the_list(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    cited = {"url": FAR, "title": "T", "start_index": 0, "end_index": 2, "content": "q"}
    annotations = [{"type": "url_citation", "url_citation": cited}]
    beyond = {"type": "url_citation", "url_citation": cited | {"end_index": 999}}
    script: Script = provider.stream([chunk("猫🙂坐", annotations=[*annotations, beyond]), *reply()])
    expected = [
        {"title": "T", "url": FAR, "quote": "q", "start": 0, "end": 2},
        {"title": "T", "url": FAR, "quote": "q"},
    ]
    provider.script = script
    events = await stream(client, user, conversation_id="c")
    assert events[-1]["sources"] == expected
    assert (await messages_of(client, user, "c"))[1]["sources"] == expected
    assert (await chat(client, user))[1]["sources"] == expected
    again = await resume(client, user, events[0]["message_id"])
    assert again[-1][1]["sources"] == expected
    provider.script = provider.stream(reply("a"))
    assert (await stream(client, user))[-1]["sources"] == []


async def test_sources_of_a_reply_with_think_tags_keep_their_places(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    said = "<think>想想</think>\n猫坐着。"
    start = said.index("猫")
    cited = {"url": FAR, "title": "T", "start_index": start, "end_index": start + 2}
    annotation = {"type": "url_citation", "url_citation": cited}
    provider.script = provider.stream([*map(chunk, said), chunk(annotations=[annotation]), *reply()])
    events = await stream(client, user)
    (source,) = events[-1]["sources"]
    assert text_of(events)[source["start"] : source["end"]] == "猫坐"


async def test_failed_attempt_leaves_no_sources(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "other")
    provider.script = provider.stream([data({"choices": [], "citations": [FAR]}), data({"error": "no"})])
    events = await stream(client, user)
    assert events[-1]["type"] == "error" and all(not event.get("attachments") for event in events)


async def test_api_key_in_a_source_is_masked(client: TestClient, admin: Headers, provider: Provider) -> None:
    key = "sk-of-the-attachment-tests-0123456789"
    body = {"model_provider": "p_test_model", "api_key": key}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    cited = {"url": f"{FAR}?key={key}", "title": key}
    parts = [
        at_address(f"{FAR}?key={key}"),
        chunk("a", annotations=[{"type": "url_citation", "url_citation": cited}]),
    ]
    provider.script = provider.stream([*parts, *reply()])
    events = await stream(client, admin, conversation_id="c")
    assert key not in str((events, await messages_of(client, admin, "c")))
    assert events[-1]["sources"][0]["title"] == "***"


async def test_failed_round_of_saving_does_not_save_text_twice_that_an_attachment_stored(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.stream([chunk("前"), image(PNG), chunk("后"), *reply()], stall_after=3)
    response = await opened(client, user, "后", conversation_id="c")
    replies = client.app[REPLIES]
    (running,) = replies.of_user(2)
    saves = running.reply.text.saves
    # an earlier round fails only now
    running.reply.text.save_again(saves - 1)
    await replies._saver.save([running.reply])
    assert rows(config, "SELECT text FROM message_parts ORDER BY sequence") == [("前",), ("后",)]
    provider.gate.set()
    await response.read()
    assert (await messages_of(client, user, "c"))[1]["content"] == "前后"
