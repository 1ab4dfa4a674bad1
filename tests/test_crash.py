"""ChatHub as a killed process: how much text is lost, and what the next start recovers."""

import asyncio
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from api.chats import add_model, messages_of, stream, text_of
from crashes import (
    LOST_SECONDS,
    TEXT,
    Dictation,
    again,
    ask,
    by_question,
    counts,
    follow_until,
    ready,
    rest_of,
    within,
)
from processes import ChatHub
from scripted import Provider, Script, chunk, reply


@pytest.mark.parametrize("seconds", [0.3, 1.6, 3.1])
async def test_kill_in_mid_stream_loses_about_a_second_of_text(
    database: Path, provider: Provider, seconds: float
) -> None:
    dictation = Dictation()
    provider.script = dictation
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "说下去", conversation_id="c") as response:
            start = await follow_until(response, '"content"')
            await asyncio.sleep(seconds)
            # the clock first: text that arrives until the signal is delivered is counted
            killed = time.monotonic()
            hub.kill()
    assert counts(database)[1] == 1

    async with ChatHub(database) as hub:
        assert "1 replies were cut off" in hub.errors
        client, admin = await again(hub)
        question, answer = await messages_of(client, admin, "c")
        assert (question["content"], question["status"]) == ("说下去", "done")
        assert answer["id"] == start["message_id"] and answer["status"] == "interrupted"
        assert answer["reason"] and answer["finish_reason"] == "interrupted"
        assert dictation.text.startswith(answer["content"])
        assert len(answer["content"]) >= dictation.length_at(killed - LOST_SECONDS)
        if seconds > LOST_SECONDS:
            assert answer["content"]
        assert counts(database) == (0, 0)

        if answer["content"]:
            used = answer["usage"]
            assert used["estimated"] and used["prompt_tokens"] > 0 and used["completion_tokens"] > 0
            assert answer["cost"] > 0
            stats = await (await client.get("/api/stats", headers=admin)).json()
            assert stats["tokens_used"] == used["total_tokens"] and stats["today"]["requests"] == 1
            assert stats["total_cost"] == pytest.approx(answer["cost"])

        # a follower that resumes gets the stored text, and the status
        async with client.get(f"/api/chat/stream/{start['message_id']}", headers=admin) as response:
            replayed = await rest_of(response)
        assert [replayed[0]["type"], replayed[-1]["type"]] == ["start", "error"]
        assert text_of(replayed) == answer["content"]
        assert replayed[-1]["status"] == 503 and replayed[-1]["error"] == answer["reason"]
        assert await (await client.get("/api/chat/active", headers=admin)).json() == []

        # the conversation continues, and the model gets the text it had sent
        provider.script = provider.stream(reply("好的"))
        events = await stream(client, admin, "继续", conversation_id="c")
        assert events[-1]["type"] == "end"
        said = [(message["role"], message["content"]) for message in provider.last["messages"]]
        before = [("user", "说下去"), ("assistant", answer["content"])] if answer["content"] else []
        assert said == [*before, ("user", "继续")]
        assert len(await messages_of(client, admin, "c")) == 4


async def test_kill_before_the_first_byte_of_the_provider_keeps_the_user_message(
    database: Path, provider: Provider
) -> None:
    provider.script = provider.hang()
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "在吗？", conversation_id="c") as response:
            start = await follow_until(response, '"start"')
            await within(30, lambda: asyncio.sleep(0, provider.bodies))
            hub.kill()

    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        question, answer = await messages_of(client, admin, "c")
        assert question["content"] == "在吗？"
        assert (answer["id"], answer["content"]) == (start["message_id"], "")
        assert answer["status"] == "interrupted" and answer["reason"]
        assert counts(database) == (0, 0)
        async with client.get(f"/api/chat/stream/{answer['id']}", headers=admin) as response:
            assert [event["type"] for event in await rest_of(response)] == ["start", "error"]
        provider.script = provider.stream(reply("在"))
        await stream(client, admin, "还在吗？", conversation_id="c")
        # an empty reply removes its user message from the context
        assert [message["content"] for message in provider.last["messages"]] == ["还在吗？"]


async def test_kill_keeps_reasoning_and_other_conversations(database: Path, provider: Provider) -> None:
    """Several replies run at once: one sends reasoning, one is finished, one is stopped."""
    dictations = {f"say{i}": Dictation(10 + 10 * i, thinks=15 if i == 1 else 0) for i in range(3)}
    scripts: dict[str, Script] = {**dictations, "short": provider.stream(reply("完")), "stop": Dictation()}
    provider.script = by_question(scripts)
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        await stream(client, admin, "short", conversation_id="short")
        async with await ask(client, admin, "stop", conversation_id="stop") as response:
            await follow_until(response, '"content"')
            await client.post("/api/chat/stop", json={"conversation_id": "stop"}, headers=admin)
            await rest_of(response)
        done = {name: await messages_of(client, admin, name) for name in ("short", "stop")}
        followed = [await ask(client, admin, name, conversation_id=name) for name in dictations]
        for response in followed:
            await follow_until(response, '"type":"')
        await asyncio.sleep(3.2)
        killed = time.monotonic()
        hub.kill()
        for response in followed:
            response.close()

    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        for name, dictation in dictations.items():
            answer = (await messages_of(client, admin, name))[1]
            assert answer["status"] == "interrupted"
            thought = answer["reasoning"] or ""
            assert dictation.thought.startswith(thought) and dictation.text.startswith(answer["content"])
            # text without all of the reasoning before it would have a gap
            assert not answer["content"] or thought == dictation.thought
            kept = len(thought) + len(answer["content"])
            assert kept >= dictation.length_at(killed - LOST_SECONDS) > 0
        assert {name: await messages_of(client, admin, name) for name in done} == done
        assert counts(database) == (0, 0)


async def test_kill_near_the_end_leaves_a_reply_complete_or_interrupted(
    database: Path, provider: Provider
) -> None:
    texts = [TEXT[i : i + 3] for i in range(0, len(TEXT), 3)]
    whole = "".join(texts)
    for number, pause in enumerate([0.0, 0.002, 0.02]):
        provider.script = provider.stream(reply(*texts))
        async with ChatHub(database) as hub:
            client, admin = await (again(hub) if number else ready(hub, provider))
            async with await ask(client, admin, "快", conversation_id=f"c{number}") as response:
                await follow_until(response, whole[:3])
                await asyncio.sleep(pause)
                hub.kill()
        async with ChatHub(database) as hub:
            client, admin = await again(hub)
            question, answer = await messages_of(client, admin, f"c{number}")
            assert question["content"] == "快"
            assert answer["status"] in ("done", "interrupted")
            assert whole.startswith(answer["content"])
            if answer["status"] == "done":
                assert answer["content"] == whole and not answer["usage"]["estimated"]
            assert counts(database) == (0, 0)


async def test_reply_whose_end_event_was_received_survives_a_kill(database: Path, provider: Provider) -> None:
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "你好", conversation_id="c") as response:
            await follow_until(response, '"type":"end"')
            hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        answer = (await messages_of(client, admin, "c"))[1]
        assert (answer["content"], answer["status"]) == ("你好，世界", "done")
        assert "cut off" not in hub.errors


async def test_request_repeated_after_a_kill_gets_the_stored_reply(
    database: Path, provider: Provider
) -> None:
    """The connection was lost with the server: sending the request again must not generate and charge a
    second reply.
    """
    provider.script = dictation = Dictation()
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        once = {"client_message_id": "once", "conversation_id": "c"}
        async with await ask(client, admin, "说下去", **once) as response:
            start = await follow_until(response, '"content"')
            await asyncio.sleep(2.5)
            hub.kill()
    asked = len(provider.bodies)
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        events = await stream(client, admin, "说下去", **once)
        assert events[0]["message_id"] == start["message_id"] and events[-1]["status"] == 503
        assert text_of(events) and dictation.text.startswith(text_of(events))
        assert len(provider.bodies) == asked and len(await messages_of(client, admin, "c")) == 2


async def test_repeated_kills_keep_messages_and_usage_consistent(database: Path, provider: Provider) -> None:
    """Each start recovers once what the one before left."""
    dictation = Dictation()
    provider.script = dictation
    kept: list[dict[str, Any]] = []
    for number in range(3):
        async with ChatHub(database) as hub:
            client, admin = await (again(hub) if number else ready(hub, provider))
            if number:
                kept = await messages_of(client, admin, "c")
            async with await ask(client, admin, f"第{number}次", conversation_id="c") as response:
                await follow_until(response, '"content"')
                await asyncio.sleep(1.5)
                hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        messages = await messages_of(client, admin, "c")
        # a reply that was recovered once is not changed again
        assert messages[: len(kept)] == kept and len(messages) == 6
        assert {message["status"] for message in messages[1::2]} == {"interrupted"}
        stats = await (await client.get("/api/stats", headers=admin)).json()
        used = [message["usage"]["total_tokens"] for message in messages[1::2] if message["usage"]]
        assert stats["tokens_used"] == sum(used) and stats["today"]["requests"] == len(used)


async def test_text_of_a_fallback_model_before_a_kill_is_charged_at_its_own_price(
    database: Path, provider: Provider
) -> None:
    provider.script = Dictation()
    async with Provider() as broken:
        broken.script = broken.answer(500, {"error": {"message": "down"}})
        async with ChatHub(database) as hub:
            client, admin = await ready(hub, provider)
            dear = {"input_price_per_1k": 1000, "output_price_per_1k": 1000, "fallback_model": "test-model"}
            await add_model(client, admin, broken.base_url, "first-model", **dear)
            wanted = {"model": "first-model", "conversation_id": "c"}
            async with await ask(client, admin, "说下去", **wanted) as response:
                start = await follow_until(response, '"content"')
                await asyncio.sleep(LOST_SECONDS)
                hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        answer = (await messages_of(client, admin, "c"))[1]
        used = answer["usage"]
        assert answer["model"] == "test-model" and used["completion_tokens"] > 0
        cost = used["prompt_tokens"] * 0.0025 / 1000 + used["completion_tokens"] * 0.01 / 1000
        assert answer["cost"] == pytest.approx(cost, abs=2e-6)
        # its stream still begins with the model that was requested
        async with client.get(f"/api/chat/stream/{answer['id']}", headers=admin) as response:
            replayed = await rest_of(response)
        assert replayed[0] == start and replayed[-1]["model"] == "test-model"


async def test_text_before_a_kill_counts_for_the_access_token_of_the_turn(
    database: Path, provider: Provider
) -> None:
    provider.script = Dictation()
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        wanted = {"name": "program", "opens_api": True, "monthly_limit": 100_000}
        async with client.post("/api/tokens", json=wanted, headers=admin) as made:
            program = {"Authorization": "Bearer " + (await made.json())["token"]}
        async with await ask(client, program, "说下去", conversation_id="c") as response:
            await follow_until(response, '"content"')
            await asyncio.sleep(LOST_SECONDS)
            hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        answer = (await messages_of(client, admin, "c"))[1]
        async with client.get("/api/tokens", headers=admin) as response:
            (token,) = await response.json()
        assert token["monthly_usage"] == answer["usage"]["total_tokens"] > 0


async def test_kill_after_an_attachment_was_shown_loses_neither_it_nor_the_text_before(
    database: Path, provider: Provider
) -> None:
    image = b"\x89PNG\r\n\x1a\n the tests' own"
    url = f"data:image/png;base64,{b64encode(image).decode()}"
    shown = chunk(images=[{"type": "image_url", "image_url": {"url": url}}])
    provider.script = provider.stream([chunk("猫🙂"), shown, chunk("坐")], stall_after=2)
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with await ask(client, admin, "画猫", conversation_id="c") as response:
            start = await follow_until(response, '"attachment"')
            hub.kill()

    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        _, answer = await messages_of(client, admin, "c")
        assert (answer["status"], answer["content"]) == ("interrupted", "猫🙂")
        (attachment,) = answer["attachments"]
        assert attachment["at"] == 2
        async with client.get(attachment["url"], headers=admin) as response:
            assert await response.read() == image
        async with client.get(f"/api/chat/stream/{start['message_id']}", headers=admin) as response:
            events = await rest_of(response)
        assert [event["type"] for event in events] == ["start", "content", "attachment", "error"]


async def test_kill_leaves_an_estimate_of_every_request_that_was_sent(
    database: Path, provider: Provider
) -> None:
    """Also of requests of programs, of which nothing but the reservation is stored, and of chats without
    text."""
    provider.script = provider.hang()
    hello = {"model": "test-model", "max_tokens": 500, "messages": [{"role": "user", "content": "hello"}]}
    requests = [
        ("/v1/chat/completions", hello | {"stream": True}),
        ("/v1/chat/completions", hello),
        ("/v1/messages", hello | {"stream": True}),
        ("/v1/embeddings", {"model": "vectors", "input": "hello"}),
        ("/v1/images/generations", {"model": "painter", "prompt": "hello", "n": 3, "size": "512x512"}),
        ("/api/chat/stream", {"model": "test-model", "message": "hello", "max_tokens": 500}),
    ]
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        vectors = {"model_name": "vectors", "display_name": "v", "model_type": "embedding"}
        await client.post("/api/models", json=vectors | {"model_provider": "p_test_model"}, headers=admin)
        painter = {"model_name": "painter", "display_name": "p", "model_type": "image"}
        units = {"image": 1, "image/512x512": 0.04}
        await client.post(
            "/api/models", json=painter | {"model_provider": "p_test_model", "units": units}, headers=admin
        )
        sent = [asyncio.create_task(client.post(path, json=body, headers=admin)) for path, body in requests]
        async with asyncio.timeout(30):
            while len(provider.bodies) < len(requests):
                await asyncio.sleep(0.02)
        await asyncio.sleep(LOST_SECONDS)
        hub.kill()
        await asyncio.gather(*sent, return_exceptions=True)
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        async with client.get("/api/usage", headers=admin) as response:
            rows = (await response.json())["data"]
        assert sorted(row["kind"] for row in rows) == [
            "chat",
            "completion",
            "completion",
            "completion",
            "embedding",
            "image",
        ]
        for row in rows:
            assert (row["usage_source"], row["end_reason"]) == ("estimated", "interrupted")
            assert row["provider"] == "p_test_model"
            if row["kind"] == "image":
                assert (row["unit"], row["units"], row["cost"]) == ("image/512x512", 3, 0.12)
                continue
            assert row["prompt_tokens"] > 0
            # by time: 200 tokens a second, at most what was reserved
            least, most = (0, 0) if row["kind"] == "embedding" else (100, 500)
            assert least <= row["completion_tokens"] <= most
        async with client.get("/api/stats", headers=admin) as response:
            told = await response.json()
        assert told["tokens_used"] == sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    # a second start finds nothing left
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        async with client.get("/api/usage", headers=admin) as response:
            assert len((await response.json())["data"]) == len(rows)


async def test_version_of_a_model_is_charged_at_its_price_after_a_kill(
    database: Path, provider: Provider
) -> None:
    """It is not in the table itself, and may even be disabled by now."""
    provider.script = provider.hang()
    version = {"model": "gpt-5-2025-08-07", "max_tokens": 500}
    requests = [
        ("/v1/chat/completions", version | {"messages": [{"role": "user", "content": "hello"}]}),
        ("/api/chat", version | {"message": "hello"}),
    ]
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with client.get("/api/providers", headers=admin) as response:
            ids = {each["provider_key"]: each["id"] for each in (await response.json())["data"]}
        elsewhere = {"default_base_url": provider.base_url, "needs_key": False}
        await client.put(f"/api/providers/{ids['openai']}", json=elsewhere, headers=admin)
        painter = {"model_name": "painter", "display_name": "p", "model_type": "image"}
        units = {"image": 1, "image/512x512": 0.04}
        await client.post(
            "/api/models", json=painter | {"model_provider": "p_test_model", "units": units}, headers=admin
        )
        sent = [asyncio.create_task(client.post(path, json=body, headers=admin)) for path, body in requests]
        async with asyncio.timeout(30):
            while len(provider.bodies) < len(requests):
                await asyncio.sleep(0.02)
        async with client.get("/api/models", headers=admin) as response:
            (model,) = [each for each in await response.json() if each["model_name"] == "gpt-5"]
        await client.put(f"/api/models/{model['id']}", json={"is_active": False}, headers=admin)
        hub.kill()
        await asyncio.gather(*sent, return_exceptions=True)
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        async with client.get("/api/usage", headers=admin) as response:
            rows = (await response.json())["data"]
    assert sorted((row["kind"], row["model"], row["provider"]) for row in rows) == [
        ("chat", version["model"], "openai"),
        ("completion", version["model"], "openai"),
    ]
    for row in rows:
        assert row["input_price_per_1k"] == model["input_price_per_1k"] > 0 and row["cost"] > 0
