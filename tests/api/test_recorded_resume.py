"""Disconnect and resume after every event of recorded streams, while the reply is generated."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, active, add_model
from scripted import Provider

from chathub.formats import openai
from chathub.formats.events import Reasoning, Text

sys.path.insert(0, str(Path(__file__).parent.parent / "formats"))
from recordings import Recording, parameters, recordings  # noqa: E402


def _is_wide(recording: Recording) -> bool:
    """Whether a text contains Chinese, or a character above U+FFFF (two UTF-16 units)."""
    text = str(recording.expected["content"]) + str(recording.expected["reasoning"])
    return any("\u4e00" <= character <= "\u9fff" or character > "\uffff" for character in text)


RECORDINGS = [recording for recording in recordings(".sse") if _is_wide(recording)]


class Prompter:
    """A script that sends a recorded stream in parts, each when the test says so.

    A part ends with an event that brings text (white space may be held back until the next text is known),
    the last part with the recording.
    """

    def __init__(self, recording: Recording) -> None:
        self.bits = list(_bits(recording.body))
        self.lengths: list[int] = []
        self._turn = asyncio.Semaphore(0)

    def prompt(self) -> None:
        self._turn.release()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for bit in self.bits:
            await self._turn.acquire()
            await response.write(bit)
        await response.write_eof()
        return response


def _bits(body: bytes) -> Iterator[bytes]:
    decoder, bit = openai.Decoder(), b""
    for line in body.splitlines(keepends=True):
        bit += line
        said = [event.text for event in decoder.feed(line) if isinstance(event, Text | Reasoning)]
        if "".join(said).strip():
            yield bit
            bit = b""
    yield bit


class Wanderer:
    """A client that disconnects after every event, and resumes for the next."""

    def __init__(self, client: TestClient, headers: Headers) -> None:
        self.texts = {"content": "", "reasoning": ""}
        self.visits = 0
        self.over = False
        self._client, self._headers = client, headers
        self._message_id = 0
        self._last = ""

    async def visit(self, prompter: Prompter) -> None:
        self.visits += 1
        async with await self._come() as response:
            prompted = False
            while not self.over:
                event = await self._event(response)
                if event["type"] in self.texts:
                    self.texts[event["type"]] += event["content"]
                    break
                self._message_id = event["message_id"] if event["type"] == "start" else self._message_id
                self.over = event["type"] in ("end", "error")
                if event["type"] == "start" and not prompted:
                    prompter.prompt()
                    prompted = True
            response.close()

    async def _come(self) -> Any:
        if self.visits == 1:
            body = {"message": "hi", "model": "test-model", "resumable": True}
            return await self._client.post("/api/chat/stream", json=body, headers=self._headers)
        headers = self._headers | {"Last-Event-ID": self._last}
        return await self._client.get(f"/api/chat/stream/{self._message_id}", headers=headers)

    async def _event(self, response: Any) -> dict[str, Any]:
        while True:
            line = (await response.content.readline()).decode()
            assert line, "the stream ended without a last event"
            if line.startswith("id: "):
                self._last = line[4:].strip()
            elif line.startswith("data: "):
                event: dict[str, Any] = json.loads(line[6:])
                return event


@pytest.mark.parametrize("recording", parameters(RECORDINGS))
async def test_resuming_after_every_event_of_a_running_reply_gives_the_same_text(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, recording: Recording
) -> None:
    await add_model(client, admin, provider.base_url)
    provider.script = prompter = Prompter(recording)
    wanderer = Wanderer(client, user)
    async with asyncio.timeout(30):
        while not wanderer.over:
            await wanderer.visit(prompter)
            assert wanderer.over or await active(client, user)
    expected = {kind: recording.expected[kind] or "" for kind in ("content", "reasoning")}
    assert wanderer.texts == expected
    # one connection for each event with text, and one for the end
    assert wanderer.visits >= len(prompter.bits) and len(provider.bodies) == 1
