"""A program that uses ChatHub's own API."""

import json
from collections.abc import Iterator
from typing import Any

from gateway import TOOL
from table_programs import SCHEMA, Fields, Program, Refused, Reply
from table_sdks import openai


class HubProgram(Program):
    """A program that uses ``POST /api/chat`` and ``/api/chat/stream``."""

    own_format = ""

    def __init__(self, base_url: str, token: str, own_fields: set[str]) -> None:
        self._base_url, self._own_fields = base_url, own_fields
        self._http = openai.DefaultHttpxClient(trust_env=False, verify=False)
        self._headers = {"Authorization": f"Bearer {token}"}

    def hello(self, content: Any = "hi", system: str = "") -> Fields:
        return {"message": content, **({"system_prompt": system} if system else {})}

    def tools(self) -> Fields:
        function = {"name": "weather", "description": TOOL["description"], "parameters": SCHEMA}
        return {**self.hello(), "tools": [{"type": "function", "function": function}]}

    def results(self, asked: Fields, reply: Reply) -> Fields:
        results = [{"tool_call_id": call_id, "content": "晴"} for call_id, _, _ in reply.calls]
        return {"tools": asked["tools"], "conversation_id": reply.turn, "tool_results": results}

    def has_field(self, name: str) -> bool:
        return name in self._own_fields

    def close(self) -> None:
        self._http.close()

    def send(self, model: str, streams: bool, fields: Fields, is_translated: bool) -> Reply:
        url = self._base_url + ("/api/chat/stream" if streams else "/api/chat")
        response = self._http.post(url, json={"model": model, **fields}, headers=self._headers)
        if response.status_code != 200:
            raise _hub_refusal(response.status_code, response.json())
        events = list(_events(response.text)) if streams else []
        end = events[-1] if streams else response.json()
        if end.get("type") == "error":
            raise _hub_refusal(end["status"], end)
        calls = [event for event in events if event["type"] == "tool_call"] if streams else end["tool_calls"]
        files = [event for event in events if event["type"] == "attachment"] if streams else []
        text = "".join(event["content"] for event in events if event["type"] == "content")
        return self._reply(end, text if streams else end["response"], calls, files)

    def _reply(self, end: Fields, text: str, calls: list[Any], files: list[Any]) -> Reply:
        """What the stream or the whole body says, where the conversation says the same."""
        url = f"{self._base_url}/api/conversations/{end['conversation_id']}/messages"
        stored = self._http.get(url, headers=self._headers).json()[-1]
        assert stored["content"] == text
        sources = [(source["url"], source["title"]) for source in end.get("sources", [])]
        assert [(source["url"], source["title"]) for source in stored.get("sources") or []] == sources
        kept = stored.get("attachments") or []
        assert len(files or end.get("attachments") or []) == len(kept)
        return Reply(
            texts=[text],
            calls=[(it["id"], it["name"], json.loads(it["arguments"])) for it in calls],
            sources=sources,
            files=len(kept),
            tokens=(end["usage"]["cached_tokens"], end["usage"]["reasoning_tokens"]),
            logprobs=[],
            turn=end["conversation_id"],
        )


def _events(text: str) -> Iterator[Fields]:
    for line in text.splitlines():
        if line.strip():
            yield json.loads(line.removeprefix("data: "))


def _hub_refusal(status: int, body: Fields) -> Refused:
    return Refused(status, str(body.get("code")), body["error"])
