"""What goes upstream begins as the request before: each turn's messages are a prefix, byte for byte, of the
next turn's, in every provider format. Otherwise no provider finds the prompt in its cache.
"""

import json
import random
import re
from typing import Any

import msgspec
import pytest
from sent_bodies import CLIENTS, GIF, OWN_TOOL, PNG, TOOL, every_provider

from chathub.chat import context
from chathub.database.rows.messages import ContextMessage
from chathub.formats.estimates import expected
from chathub.formats.events import Reasoning, State, Text, ToolCallDelta
from chathub.formats.messages import ChatRequest, Image, Message, ToolCall, user_message
from chathub.formats.quirks.table import Quirks, quirks_of
from chathub.formats.reasoning.recorder import Recorder
from chathub.formats.registry import PROVIDER_FORMATS

MODELS = {"openai": "gpt-5.1", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-pro-preview"}
MARKER = re.compile(rb',"cache_control":\{"type":"ephemeral"(,"ttl":"1h")?\}')
WORDS = ("一", "word", "…", '"', "\n", "🙂", "{}", "long " * 30)
SIGNED = {
    "openai": {"field": "reasoning_content"},
    "anthropic": {"anthropic": {"signature": "c2ln"}},
    "gemini": {"gemini": {"signature": "c2ln", "call": 0, "own_id": True}},
}
MARK = {"cache_control": {"type": "ephemeral"}}


def prompt_of(body: bytes) -> tuple[bytes, bytes]:
    """What comes before the messages of a body in the prompt, and the messages without their end."""
    fields = msgspec.json.decode(MARKER.sub(b"", body), type=dict[str, msgspec.Raw])
    messages = bytes(fields.get("messages") or fields["contents"])
    assert messages.endswith(b"]")
    before = [bytes(fields.get(name, b"")) for name in ("tools", "system", "systemInstruction")]
    return b"".join(before), messages[:-1]


def words(chance: random.Random) -> str:
    return " ".join(["w", *chance.choices(WORDS, k=chance.randint(0, 4))])


# --- chats of /api


class Chat:
    """A conversation as it is stored, and what is sent for it."""

    def __init__(self, chance: random.Random, protocol: str) -> None:
        self.chance = chance
        self.protocol = protocol
        self.rows: list[ContextMessage] = []
        self.images: dict[int, list[Image]] = {}
        self.sent: list[bytes] = []

    def turn(self, *, fails: bool = False) -> None:
        text, shown = words(self.chance), self._images() if self.chance.random() < 0.3 else []
        self.send([user_message(text, shown)])
        if shown:
            self.images[len(self.rows)] = shown
        self._add("user", text, image_count=len(shown))
        while not fails and self.chance.random() < 0.4:
            calls = [ToolCall(f"call_{self.chance.randint(0, 2)}", "f", '{"x":1}')]
            calls += [ToolCall("second", "g")] * self.chance.randint(0, 1)
            self._reply(calls)
            results = [Message("tool", words(self.chance), tool_call_id=call.id) for call in calls]
            self.send(results)
            for result in results:
                self._add("tool", result.text, tool_call_id=result.tool_call_id)
        if fails:
            self._add("assistant", "half", status="error")
        else:
            self._reply([])

    def send(self, prompt: list[Message], window: int = 1_000_000) -> None:
        """Keep the body that is sent for a prompt."""
        messages = context.build(
            self.rows,
            prompt,
            self.images,
            system_prompt="Be brief.",
            window=window,
            reply_room=10,
            tokens_of=expected,
        )
        chat_request = ChatRequest("https://x.example", MODELS[self.protocol], messages, tools=[TOOL])
        self.sent.append(PROVIDER_FORMATS[self.protocol].encode_request(chat_request).body)

    def _images(self) -> list[Image]:
        kinds = [("image/png", PNG), ("image/gif", GIF)]
        return [
            Image(kind, data.encode()) for kind, data in self.chance.sample(kinds, self.chance.randint(1, 2))
        ]

    def _reply(self, calls: list[ToolCall]) -> None:
        text, recorder = "" if calls and self.chance.random() < 0.5 else words(self.chance), Recorder()
        thinks = self.chance.random() < 0.5
        if thinks:
            recorder.add(Reasoning("hm"))
            if "call" not in SIGNED[self.protocol].get("gemini", {}) or calls:
                recorder.add(State(SIGNED[self.protocol]))
        recorder.add(Text(text))
        for index, call in enumerate(calls):
            recorder.add(ToolCallDelta(index, call.id, call.name, call.arguments))
        state = recorder.state(MODELS[self.protocol], "hm" if thinks else "")
        kept = {"tool_calls": json.dumps(msgspec.to_builtins(calls)) if calls else ""}
        if self.chance.random() < 0.2:
            # of some replies the images are read again, of others a text stands for them
            kept["attachments"] = json.dumps([{"media_type": "image/png", "transcript": "", "stored": 1}])
            if self.chance.random() < 0.5:
                self.images[len(self.rows)] = [Image("image/png", PNG.encode(), at=len(text))]
        self._add("assistant", text, state=json.dumps(state) if state else "", **kept)

    def _add(self, role: str, text: str, status: str = "done", **more: Any) -> None:
        plain = {"tool_calls": "", "tool_call_id": "", "state": "", "image_count": 0}
        row_id = len(self.rows)
        self.rows.append(
            ContextMessage(**{"id": row_id, "role": role, "content": text, "status": status, **plain, **more})
        )


@every_provider
def test_each_turn_of_a_chat_begins_as_the_turn_before(protocol: str) -> None:
    for seed in range(60):
        chat = Chat(random.Random(seed), protocol)
        for _ in range(chat.chance.randint(2, 6)):
            chat.turn()
        for before, after in zip(chat.sent, chat.sent[1:], strict=False):
            (head, messages), (next_head, next_messages) = prompt_of(before), prompt_of(after)
            assert next_head == head and next_messages.startswith(messages), seed


@every_provider
def test_a_turn_that_failed_leaves_nothing_in_the_next(protocol: str) -> None:
    for seed in range(20):
        chat = Chat(random.Random(seed), protocol)
        chat.turn()
        before = chat.sent[-1]
        chat.turn(fails=True)
        chat.turn()
        assert prompt_of(chat.sent[-1])[1].startswith(prompt_of(before)[1]), seed


@every_provider
def test_a_long_chat_begins_anew_seldom(protocol: str) -> None:
    chance = random.Random(5)
    chat = Chat(chance, protocol)
    begins_anew, previous = 0, b""
    for number in range(200):
        chat.sent.clear()
        chat.send([Message("user", f"question {number} " + "x" * 300)], window=4000)
        messages = prompt_of(chat.sent[0])[1]
        begins_anew += not messages.startswith(previous)
        previous = messages
        chat._add("user", f"question {number} " + "x" * 300)
        chat._add("assistant", f"answer {number} " + "x" * 300)
    # some twenty turns fit
    assert 0 < begins_anew < 200 / 4


# --- translated requests


class Program:
    """A client of ``/v1`` that sends its whole conversation each time, with markers that move if it ``marks``
    the newest message."""

    def __init__(self, chance: random.Random, client: str, marks: bool) -> None:
        self.chance = chance
        self.client = client
        self.marks = marks
        self.messages: list[dict[str, Any]] = []
        self.count = 0

    def ask(self) -> None:
        """Add what the user or a tool says next."""
        last = self.messages[-1] if self.messages else {}
        calls = [
            block
            for block in last.get("content") or []
            if isinstance(block, dict) and block["type"] == "tool_use"
        ]
        if ids := [call["id"] for call in last.get("tool_calls", calls)]:
            self._results(ids)
        elif self.chance.random() < 0.7:
            self.messages.append({"role": "user", "content": words(self.chance)})
        else:
            self.messages.append(
                {"role": "user", "content": [{"type": "text", "text": words(self.chance)}, self._image()]}
            )

    def _image(self) -> dict[str, Any]:
        if self.client == "openai":
            return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}

    def _results(self, ids: list[str]) -> None:
        if self.client == "openai":
            self.messages += [
                {"role": "tool", "tool_call_id": each, "content": words(self.chance)} for each in ids
            ]
            return
        inner = [
            {"type": "text", "text": words(self.chance)},
            *([self._image()] if self.chance.random() < 0.3 else []),
        ]
        self.messages.append(
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": each,
                        "content": inner,
                        "is_error": self.chance.random() < 0.2,
                    }
                    for each in ids
                ],
            }
        )

    def reply(self) -> None:
        """Add a reply, in the client's format."""
        ids = []
        for _ in range(self.chance.choice((0, 0, 1, 2))):
            self.count += 1
            ids.append(f"call.{self.count % 3}:{self.count}")
        if self.client == "openai":
            calls = [
                {"id": each, "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
                for each in ids
            ]
            self.messages.append(
                {
                    "role": "assistant",
                    "content": words(self.chance),
                    **({"tool_calls": calls} if calls else {}),
                }
            )
            return
        thinking = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}] * (
            self.chance.random() < 0.5
        )
        text = {"type": "text", "text": words(self.chance)}
        uses = [{"type": "tool_use", "id": each, "name": "f", "input": {"a": 1}} for each in ids]
        self.messages.append({"role": "assistant", "content": [*thinking, text, *uses]})

    def body(self) -> bytes:
        messages = [dict(each) for each in self.messages]
        if self.marks and isinstance(content := messages[-1]["content"], str):
            messages[-1]["content"] = [{"type": "text", "text": content, **MARK}]
        elif self.marks:
            messages[-1]["content"] = [*content[:-1], {**content[-1], **MARK}]
        system = {"role": "system", "content": "Be brief."}
        if self.client == "openai":
            return json.dumps({"model": "m", "messages": [system, *messages], "tools": [TOOL]}).encode()
        own = {"max_tokens": 9, "system": "Be brief.", "tools": [OWN_TOOL]}
        return json.dumps({"model": "m", "messages": messages, **own}).encode()


def translated(client: str, protocol: str, body: bytes, quirks: Quirks | None) -> bytes:
    request = CLIENTS[client](body).decode_request()
    chat_request = ChatRequest(
        "https://x.example", MODELS[protocol], request.messages, tools=request.tools, extra=request.extra
    )
    return bytes(PROVIDER_FORMATS[protocol].encode_request(chat_request, quirks).body)


RELAYS = [None, quirks_of("relay.example", "claude-x"), quirks_of("openrouter.ai", "anthropic/claude-x")]


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
def test_each_translated_request_begins_as_the_one_before(protocol: str, client: str) -> None:
    for seed in range(60):
        chance, previous = random.Random(seed), (b"", b"")
        program = Program(chance, client, marks=chance.random() < 0.5)
        quirks = chance.choice(RELAYS) if protocol == "openai" else None
        for number in range(chance.randint(2, 8)):
            program.ask()
            head, messages = prompt_of(translated(client, protocol, program.body(), quirks))
            assert number == 0 or (head == previous[0] and messages.startswith(previous[1])), seed
            previous = head, messages
            program.reply()
