"""Images in chats: checked and limited, stored once, listed by reference, sent in every provider format,
removed.
"""

import io
import json
import sqlite3
from base64 import b64encode
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, read_events, stream, text_of
from scripted import Provider, reply
from scripted_formats import PROTOCOLS, add_model_of_format, texts

from chathub.app_keys import REQUEST_MEMORY
from chathub.config import Config

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR the tests' own"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00 the tests' own"
GIF = b"GIF89a the tests' own"
OLD_GIF = b"GIF87a the tests' own"
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 the tests' own"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
FAR = "https://images.example.com/cat.png?size=1"
KINDS = {"image/png": PNG, "image/jpeg": JPEG, "image/gif": GIF, "image/webp": WEBP}
MEGABYTE = 1024 * 1024


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True)
    await add_model(client, admin, provider.base_url, "blind", supports_vision=False)


async def chat(client: TestClient, headers: Headers, message: Any = "看图", **body: Any) -> tuple[int, Any]:
    wanted = {"message": message, "model": "test-model", **body}
    async with client.post("/api/chat", **long(wanted, headers)) as response:
        return response.status, await response.json()


def long(body: dict[str, Any], headers: Headers) -> dict[str, Any]:
    """A body of any length, in the form that aiohttp's client requires."""
    raw = io.BytesIO(json.dumps(body).encode())
    return {"data": raw, "headers": headers | {"Content-Type": "application/json"}}


async def conversations(client: TestClient, headers: Headers) -> list[Any]:
    found: list[Any] = await (await client.get("/api/conversations", headers=headers)).json()
    return found


async def again(client: TestClient, user: Headers, message_id: int, **body: Any) -> list[dict[str, Any]]:
    url = f"/api/messages/{message_id}/regenerate"
    async with client.post(url, json=body, headers=user) as response:
        return await read_events(response)


async def edit(client: TestClient, user: Headers, message_id: int, content: Any, **body: Any) -> Any:
    url = f"/api/messages/{message_id}"
    async with client.put(url, json={"content": content, **body}, headers=user) as response:
        return await read_events(response)


def select(config: Config, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(config.database)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def files(config: Config) -> list[bytes]:
    """The contents of all stored images, in the order of their creation."""
    return [row[0] for row in select(config, "SELECT data FROM files ORDER BY created_at, rowid")]


def sent(provider: Provider) -> list[list[str]]:
    """The URLs of the images in each message of the newest request, in OpenAI's format."""
    return [
        [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
        if isinstance(message["content"], list)
        else []
        for message in provider.last["messages"]
    ]


# --- accepted images


@pytest.mark.parametrize("media_type", KINDS)
async def test_image_is_sent_to_the_provider_unchanged(
    client: TestClient, user: Headers, provider: Provider, media_type: str
) -> None:
    url = data_url(KINDS[media_type], media_type)
    status, body = await chat(client, user, images=[url])
    assert status == 200 and body["response"] == "你好，世界"
    assert provider.last["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "看图"}, {"type": "image_url", "image_url": {"url": url}}],
        }
    ]


async def test_image_url_is_sent_to_the_provider_as_a_url(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    events = await stream(client, user, images=[FAR])
    assert text_of(events) == "你好，世界" and sent(provider) == [[FAR]]
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert kept[0]["images"] == [{"url": FAR}] and kept[1]["images"] == []
    assert files(config) == []


async def test_openai_content_parts_become_text_and_images(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    parts = [
        {"type": "text", "text": "这是"},
        {"type": "image_url", "image_url": {"url": data_url(PNG), "detail": "low"}},
        {"type": "text", "text": "什么？"},
        {"type": "image_url", "image_url": FAR},
    ]
    jpeg = data_url(JPEG, "image/jpeg")
    status, body = await chat(client, user, parts, images=[jpeg])
    assert status == 200 and sent(provider) == [[data_url(PNG), FAR, jpeg]]
    kept = await messages_of(client, user, body["conversation_id"])
    assert kept[0]["content"] == "这是\n什么？" and len(kept[0]["images"]) == 3


async def test_image_without_text_is_a_valid_message(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    status, _ = await chat(client, user, "", images=[data_url(PNG)])
    assert status == 200 and sent(provider) == [[data_url(PNG)]]
    assert [part["type"] for part in provider.last["messages"][0]["content"]] == ["image_url"]
    assert (await chat(client, user, [{"type": "image_url", "image_url": {"url": FAR}}]))[0] == 200


async def test_content_parts_without_text_or_image_get_400(client: TestClient, user: Headers) -> None:
    for message in ([], [{"type": "text", "text": " "}]):
        assert (await chat(client, user, message))[0] == 400
    assert (await chat(client, user, [{"type": "video_url", "video_url": FAR}]))[0] == 400
    assert await conversations(client, user) == []


UPSTREAM = {
    "openai": {
        "path": "/v1/chat/completions",
        "stored": {"type": "image_url", "image_url": {"url": data_url(PNG)}},
        "far": {"type": "image_url", "image_url": {"url": FAR}},
    },
    "anthropic": {
        "path": "/v1/messages",
        "stored": {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": b64encode(PNG).decode()},
        },
        "far": {"type": "image", "source": {"type": "url", "url": FAR}},
    },
    "gemini": {
        "path": "/v1/models/seer:streamGenerateContent",
        "stored": {"inlineData": {"mimeType": "image/png", "data": b64encode(PNG).decode()}},
        "far": {"fileData": {"fileUri": FAR}},
    },
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_every_provider_format_gets_images_in_its_own_way_also_in_the_next_turn(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add_model_of_format(client, admin, provider.base_url, protocol, "seer", supports_vision=True)
    provider.script = provider.stream(texts(protocol, "一只猫"))
    status, body = await chat(client, user, model="seer", images=[data_url(PNG), FAR])
    assert status == 200 and body["response"] == "一只猫"
    wanted = UPSTREAM[protocol]
    for question in ("看图", "再看"):
        assert provider.last["_path"] == wanted["path"]
        said = provider.unmarked["contents" if protocol == "gemini" else "messages"][0]
        parts = said["parts" if protocol == "gemini" else "content"]
        assert said["role"] == "user" and len(parts) == 3
        assert wanted["stored"] in parts and wanted["far"] in parts
        assert [part["text"] for part in parts if "text" in part] == ["看图"]
        if question == "看图":
            await chat(client, user, "再看", model="seer", conversation_id=body["conversation_id"])


# --- refused images


@pytest.mark.parametrize(
    "url",
    [
        data_url(SVG, "image/svg+xml"),
        data_url(SVG, "image/png"),
        data_url(JPEG, "image/png"),
        data_url(PNG, "image/jpeg"),
        data_url(b"plain text", "image/gif"),
        data_url(b"RIFF\x24\x00\x00\x00WAVEfmt a sound", "image/webp"),
        data_url(b"", "image/png"),
        data_url(PNG, "text/html"),
        data_url(PNG, "image/bmp"),
        data_url(PNG, "image/png;charset=utf-8"),
        data_url(PNG)[:-2] + "!!",
        data_url(PNG)[:-4] + "!!!!" + data_url(PNG)[-4:],
        data_url(PNG).replace(";base64", ""),
        "data:image/png;base64,====",
        "data:image/png;base64," + b64encode(PNG).decode()[:5],
        b64encode(PNG).decode(),
        FAR.replace("https", "http"),
        "ftp://images.example.com/cat.png",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https://name:password@images.example.com/cat.png",
        "https://images.example.com/a cat.png",
        "https://images.example.com/" + "x" * 2000,
        "/api/files/1",
        "",
    ],
    ids=lambda url: url[:40],
)
async def test_invalid_image_gets_400_and_stores_nothing(
    client: TestClient, user: Headers, provider: Provider, config: Config, url: str
) -> None:
    bodies = [
        {"message": "看图", "images": [data_url(PNG), url]},
        {"message": [{"type": "text", "text": "看图"}, {"type": "image_url", "image_url": {"url": url}}]},
    ]
    for body in bodies:
        for path in ("/api/chat", "/api/chat/stream"):
            response = await client.post(path, json={"model": "test-model", **body}, headers=user)
            said = await response.json()
            assert response.status == 400 and said["error"] == said["message"] != ""
    assert await conversations(client, user) == [] and files(config) == [] and provider.bodies == []


@pytest.mark.parametrize("images", ["x", [5], [{"url": FAR}], {"0": FAR}, [None]])
async def test_images_field_of_a_wrong_type_gets_400(client: TestClient, user: Headers, images: Any) -> None:
    status, body = await chat(client, user, images=images)
    assert status == 400 and "images" in body["error"]


async def test_eight_images_are_accepted_and_nine_are_refused(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    eight = [data_url(PNG + bytes([number])) for number in range(8)]
    assert (await chat(client, user, images=eight))[0] == 200 and sent(provider) == [eight]
    status, body = await chat(client, user, images=[*eight, FAR])
    assert status == 400 and "8" in body["error"]
    parts = [{"type": "text", "text": "看图"}, {"type": "image_url", "image_url": FAR}]
    assert (await chat(client, user, parts, images=eight))[0] == 400
    assert len(provider.bodies) == 1


async def test_image_of_five_megabytes_is_accepted_and_a_larger_one_refused(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    whole = PNG + bytes(5 * MEGABYTE - len(PNG))
    assert (await chat(client, user, images=[data_url(whole)]))[0] == 200
    assert files(config) == [whole] and sent(provider) == [[data_url(whole)]]
    status, body = await chat(client, user, images=[data_url(whole + bytes(1024))])
    assert status == 400 and "5 MiB" in body["error"]
    assert files(config) == [whole]


async def test_body_of_20_megabytes_is_accepted_and_one_of_30_refused(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    urls = [data_url(PNG + bytes([number]) * (4 * MEGABYTE)) for number in range(6)]
    assert 20 * MEGABYTE < sum(map(len, urls[:4])) < 22 * MEGABYTE
    assert (await chat(client, user, images=urls[:4]))[0] == 200
    assert len(files(config)) == 4 and len(sent(provider)[0]) == 4
    for path in ("/api/chat", "/api/chat/stream"):
        body = {"message": "看图", "model": "test-model", "images": urls}
        response = await client.post(path, **long(body, user))
        said = await response.json()
        assert response.status == 413 and said["success"] is False
    assert len(files(config)) == 4 and len(await conversations(client, user)) == 1
    question = (await conversations(client, user))[0]["conversation_id"]
    kept = await messages_of(client, user, question)
    body = {"content": "x", "images": urls}
    response = await client.put(f"/api/messages/{kept[0]['id']}", **long(body, user))
    assert response.status == 413


async def test_model_without_vision_refuses_images(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    parts = [{"type": "text", "text": "看图"}, {"type": "image_url", "image_url": {"url": data_url(PNG)}}]
    for body in ({"images": [FAR]}, {"message": parts}):
        status, said = await chat(client, user, **{"message": "看图", "model": "blind", **body})
        assert status == 400 and "blind" in said["error"] and "图片" in said["error"]
    assert await conversations(client, user) == []
    events = await stream(client, user, "看图", model="blind", images=[data_url(PNG)])
    assert [event["type"] for event in events] == ["start", "error"]
    assert events[1]["status"] == 400 and "图片" in events[1]["content"]
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert [message["status"] for message in kept] == ["done", "error"]
    assert (kept[0]["images"], kept[0]["incomplete"]) == ([], True) and provider.bodies == []


# --- storage


async def test_same_image_is_stored_once_per_owner(
    client: TestClient, user: Headers, admin: Headers, config: Config
) -> None:
    _, first = await chat(client, user, images=[data_url(PNG), data_url(PNG), data_url(GIF, "image/gif")])
    await chat(client, user, images=[data_url(PNG)], conversation_id=first["conversation_id"])
    await chat(client, user, images=[data_url(PNG)])
    assert sorted(files(config)) == sorted([PNG, GIF])
    kept = await messages_of(client, user, first["conversation_id"])
    ids = [image["id"] for message in kept for image in message["images"]]
    assert ids[0] == ids[1] == ids[3] != ids[2]
    _, other = await chat(client, admin, images=[data_url(PNG)])
    assert sorted(files(config)) == sorted([PNG, PNG, GIF])
    (image,) = (await messages_of(client, admin, other["conversation_id"]))[0]["images"]
    assert image["id"] not in ids


async def test_image_data_is_outside_the_message_row_and_listings(
    client: TestClient, user: Headers, config: Config
) -> None:
    image = PNG + bytes(100_000)
    _, body = await chat(client, user, images=[data_url(image)])
    for row in select(config, "SELECT * FROM messages"):
        assert all(len(value) < 10_000 for value in row if isinstance(value, str | bytes))
    url = f"/api/conversations/{body['conversation_id']}/messages"
    response = await client.get(url, headers=user)
    assert len(await response.read()) < 10_000
    (image,) = (await response.json())[0]["images"]
    assert image == {"id": image["id"], "url": f"/api/files/{image['id']}", "media_type": "image/png"}


async def test_images_are_listed_in_the_given_order(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    urls = [data_url(GIF, "image/gif"), FAR, data_url(PNG), data_url(WEBP, "image/webp")]
    _, body = await chat(client, user, images=urls)
    kept = await messages_of(client, user, body["conversation_id"])
    kinds = [image.get("media_type") for image in kept[0]["images"]]
    assert kinds == ["image/gif", None, "image/png", "image/webp"]
    await chat(client, user, "再看", conversation_id=body["conversation_id"])
    assert sent(provider)[0] == urls


# --- access


@pytest.mark.parametrize("media_type", KINDS)
async def test_owner_can_fetch_the_image_unchanged(
    client: TestClient, user: Headers, media_type: str
) -> None:
    _, body = await chat(client, user, images=[data_url(KINDS[media_type], media_type)])
    (image,) = (await messages_of(client, user, body["conversation_id"]))[0]["images"]
    response = await client.get(image["url"], headers=user)
    assert response.status == 200 and await response.read() == KINDS[media_type]
    assert response.headers["Content-Type"] == media_type == image["media_type"]


async def test_image_response_is_sandboxed_and_not_cached_by_shared_caches(
    client: TestClient, user: Headers
) -> None:
    _, body = await chat(client, user, images=[data_url(PNG)])
    (image,) = (await messages_of(client, user, body["conversation_id"]))[0]["images"]
    response = await client.get(image["url"], headers=user)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"].startswith("private")


async def test_image_of_another_user_is_not_found(client: TestClient, user: Headers, admin: Headers) -> None:
    for owner, other in ((user, admin), (admin, user)):
        _, body = await chat(client, owner, images=[data_url(PNG)])
        (image,) = (await messages_of(client, owner, body["conversation_id"]))[0]["images"]
        response = await client.get(image["url"], headers=other)
        assert response.status == 404 and PNG not in await response.read()
        assert (await client.get(image["url"])).status == 401
        assert (await client.get(image["url"], headers=owner)).status == 200
    for unknown in ("x", "0", "..%2f..", image["id"] + "x", image["id"].swapcase()):
        assert (await client.get(f"/api/files/{unknown}", headers=user)).status == 404


async def test_image_id_cannot_be_derived_from_its_content(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    names = []
    for headers in (user, admin):
        _, body = await chat(client, headers, images=[data_url(PNG)])
        (image,) = (await messages_of(client, headers, body["conversation_id"]))[0]["images"]
        names.append(image["id"])
    assert names[0] != names[1] and all(len(name) >= 16 for name in names)


# --- images in later turns


async def test_later_turn_sends_images_to_a_model_with_vision_and_omits_them_otherwise(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    _, body = await chat(client, user, images=[data_url(PNG), FAR])
    place = {"conversation_id": body["conversation_id"]}
    assert (await chat(client, user, "再看", **place))[0] == 200
    assert sent(provider) == [[data_url(PNG), FAR], [], []]
    assert (await chat(client, user, "不看", model="blind", **place))[0] == 200
    assert provider.last["messages"][0] == {"role": "user", "content": "看图"}
    assert sent(provider) == [[], [], [], [], []]
    await chat(client, user, "又看", **place)
    assert sent(provider)[0] == [data_url(PNG), FAR]


async def test_fallback_model_without_vision_gets_the_history_without_images(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "first", supports_vision=True, fallback_model="blind")
    _, body = await chat(client, user, model="first", images=[data_url(PNG)])
    busy = provider.answer(503, {"error": {"message": "busy"}})
    provider.script = provider.one_after_the_other(busy, provider.stream(reply("好")))
    _, second = await chat(client, user, "再看", model="first", conversation_id=body["conversation_id"])
    assert second["model"] == "blind" and sent(provider) == [[], [], []]
    assert len(provider.bodies) == 3


async def test_history_includes_at_most_20_megabytes_of_images_newest_first(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    """Many messages may show one image, and it is in memory and sent once for each of them."""
    ids = await shown_again_and_again(client, user, config)
    assert (await chat(client, user, conversation_id="c"))[0] == 200
    assert [len(urls) for urls in sent(provider)[::2]] == [0, 2, 2, 0]
    # a regeneration includes fewer images of the history, by those of its own message
    assert (await again(client, user, ids[2]))[-1]["type"] == "end"
    assert [len(urls) for urls in sent(provider)[::2]] == [0, 2, 2]


async def test_images_of_the_history_count_as_body_memory(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    await shown_again_and_again(client, user, config)
    others = client.app[REQUEST_MEMORY].of(2)  # type: ignore[union-attr]
    others.grow(30 * MEGABYTE)
    events = await stream(client, user, conversation_id="c")
    assert events[-1]["status"] == 503 and "图片过多" in events[-1]["error"] and events[-1]["retry_after"]
    assert len(provider.bodies) == 3
    assert (await stream(client, user, conversation_id="other"))[-1]["type"] == "end"
    others.release()
    assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"
    assert client.app[REQUEST_MEMORY].used == 0  # type: ignore[union-attr]


async def shown_again_and_again(client: TestClient, user: Headers, config: Config) -> list[int]:
    """A conversation whose user messages show one image of 5 MB once, twice and twice; returns their ids."""
    image = data_url(PNG.ljust(5 * MEGABYTE, b"."))
    answers = [await chat(client, user, conversation_id="c", images=[image])]
    answers += [await chat(client, user, conversation_id="c") for _ in range(2)]
    assert [status for status, _ in answers] == [200] * 3
    (first, *later) = [row[0] for row in select(config, "SELECT id FROM messages WHERE role = 'user'")]
    with closing(sqlite3.connect(config.database)) as connection, connection:
        for message_id in later:
            for position in range(2):
                connection.execute(
                    "INSERT INTO message_images (message_id, position, file_id, url)"
                    " SELECT ?, ?, file_id, url FROM message_images"
                    " WHERE message_id = ? AND position = 0",
                    (message_id, position, first),
                )
    return [first, *later]


async def test_regeneration_sends_the_same_images(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    _, body = await chat(client, user, images=[data_url(PNG), FAR])
    provider.script = provider.stream(reply("另一个"))
    events = await again(client, user, body["message_id"])
    assert text_of(events) == "另一个" and sent(provider) == [[data_url(PNG), FAR]]
    kept = await messages_of(client, user, body["conversation_id"])
    assert len(kept[0]["images"]) == 2 and len(kept[1]["sibling_ids"]) == 2 and files(config) == [PNG]
    events = await again(client, user, body["message_id"], model="blind")
    assert events[-1]["type"] == "error" and events[-1]["status"] == 400 and "图片" in events[-1]["error"]


async def test_edited_message_keeps_its_images_unless_others_are_given(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    _, body = await chat(client, user, images=[data_url(PNG), FAR])
    place = body["conversation_id"]
    question = (await messages_of(client, user, place))[0]
    await edit(client, user, question["id"], "换句话")
    assert sent(provider) == [[data_url(PNG), FAR]]
    kept = await messages_of(client, user, place)
    assert kept[0]["content"] == "换句话" and kept[0]["images"] == question["images"]
    assert kept[0]["sibling_ids"] == [question["id"], kept[0]["id"]]
    await edit(client, user, question["id"], "另一张", images=[data_url(GIF, "image/gif")])
    assert sent(provider) == [[data_url(GIF, "image/gif")]]
    await edit(client, user, question["id"], "不要图", images=[])
    assert sent(provider) == [[]] and (await messages_of(client, user, place))[0]["images"] == []
    parts = [{"type": "text", "text": "看"}, {"type": "image_url", "image_url": {"url": FAR}}]
    await edit(client, user, question["id"], parts)
    assert sent(provider) == [[FAR]] and sorted(files(config)) == sorted([PNG, GIF])


# --- removal


async def test_image_is_removed_with_the_last_message_that_shows_it(
    client: TestClient, user: Headers, admin: Headers, config: Config
) -> None:
    _, first = await chat(client, user, images=[data_url(PNG), data_url(GIF, "image/gif")])
    _, second = await chat(client, user, images=[data_url(PNG)])
    await chat(client, admin, images=[data_url(GIF, "image/gif")])
    (question, _) = await messages_of(client, user, first["conversation_id"])
    png, gif = (image["url"] for image in question["images"])
    response = await client.delete(f"/api/messages/{question['id']}", headers=user)
    assert response.status == 200
    assert (await client.get(gif, headers=user)).status == 404
    assert (await client.get(png, headers=user)).status == 200
    assert sorted(files(config)) == sorted([PNG, GIF]), "the administrator's own stays"
    response = await client.delete(f"/api/conversations/{second['conversation_id']}", headers=user)
    assert response.status == 200 and files(config) == [GIF]
    assert (await client.get(png, headers=user)).status == 404


async def test_image_of_an_edited_message_survives_deletion_of_the_old_branch(
    client: TestClient, user: Headers, config: Config
) -> None:
    _, body = await chat(client, user, images=[data_url(PNG)])
    question = (await messages_of(client, user, body["conversation_id"]))[0]
    await edit(client, user, question["id"], "换句话")
    await client.delete(f"/api/messages/{question['id']}", headers=user)
    assert files(config) == [PNG]
    (kept, _) = await messages_of(client, user, body["conversation_id"])
    assert (await client.get(kept["images"][0]["url"], headers=user)).status == 200
    await client.delete(f"/api/messages/{kept['id']}", headers=user)
    assert files(config) == [] and select(config, "SELECT * FROM message_images") == []


async def test_deleting_a_reply_keeps_the_image_of_the_user_message(
    client: TestClient, user: Headers, config: Config
) -> None:
    _, body = await chat(client, user, images=[data_url(PNG)])
    await client.delete(f"/api/messages/{body['message_id']}", headers=user)
    assert files(config) == [PNG]


async def test_removed_image_can_be_uploaded_again(client: TestClient, user: Headers, config: Config) -> None:
    _, body = await chat(client, user, images=[data_url(PNG)])
    await client.delete(f"/api/conversations/{body['conversation_id']}", headers=user)
    assert files(config) == []
    _, body = await chat(client, user, images=[data_url(PNG)])
    (image,) = (await messages_of(client, user, body["conversation_id"]))[0]["images"]
    assert await (await client.get(image["url"], headers=user)).read() == PNG


# --- the order of parts


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_parts_are_sent_in_their_order_now_and_as_history(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add_model_of_format(client, admin, provider.base_url, protocol, "seeing", supports_vision=True)
    provider.script = provider.stream(texts(protocol, "ok"))
    first, second = data_url(PNG), data_url(GIF, "image/gif")
    parts = [
        {"type": "text", "text": "before 你"},
        {"type": "image_url", "image_url": {"url": first}},
        {"type": "text", "text": "\nafter"},
        {"type": "image_url", "image_url": {"url": second}},
    ]
    wanted: dict[str, Any] = {"model": "seeing", "conversation_id": "parts"}
    for message in (parts, "and?"):
        body = {"message": message, **wanted}
        async with client.post("/api/chat/stream", json=body, headers=user) as response:
            assert text_of(await read_events(response)) == "ok"
    for body in provider.bodies:
        content = body.get("messages", body.get("contents"))[0]
        kinds = [part.get("text") or "image" for part in content.get("content", content.get("parts"))]
        assert kinds == ["before 你", "image", "\nafter", "image"]
    shown = (await messages_of(client, user, "parts"))[0]
    assert shown["content"] == "before 你\n\nafter"
    assert [image.get("at") for image in shown["images"]] == [8, None]
