"""Codex edits a file and runs a command by way of ChatHub, with providers as strict as the real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from client import Client
from codex import Codex, CodexWithCustomTools, CodexWithToolSearch, CodexWithToolsInInput
from gateway import Headers, stats
from installed import passes
from scripted import Provider
from strict import Body, Strict, Turn
from strict_anthropic import Anthropic, NewerAnthropic
from strict_gemini import Gemini
from strict_openai import DeepSeek, OpenAI
from strict_responses import Responses

PROVIDERS = [OpenAI, Responses, DeepSeek, Anthropic, NewerAnthropic, Gemini]
CODEX = [Codex, CodexWithCustomTools, CodexWithToolsInInput]
RUNS = [(codex, kind) for codex in CODEX for kind in PROVIDERS]
RUNS += [(CodexWithToolSearch, kind) for kind in (OpenAI, Responses, Anthropic, Gemini)]


@pytest.mark.parametrize(("codex", "kind"), RUNS, ids=lambda each: each.__name__)
async def test_file_is_edited_and_command_run(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    tmp_path: Path,
    codex: Callable[[], Client],
    kind: Callable[[], Strict],
) -> None:
    await passes(codex(), kind(), client, admin, provider, tmp_path)
    assert (await stats(client, admin))["today"]["requests"] == 3


class CutsOnce(OpenAI):
    """Its first stream ends within the arguments of a call."""

    streams = 0

    def stream(self, body: Body, step: int, turn: Turn) -> list[bytes]:
        self.streams += 1
        # the head of the call and the first half of its arguments
        return super().stream(body, step, turn)[: 2 if self.streams == 1 else None]


@pytest.mark.parametrize("codex", CODEX, ids=lambda each: each.__name__)
async def test_a_call_that_is_cut_is_not_carried_out(
    client: TestClient, admin: Headers, provider: Provider, tmp_path: Path, codex: Callable[[], Client]
) -> None:
    """It tries again, with the same conversation."""
    await passes(codex(), strict := CutsOnce(), client, admin, provider, tmp_path)
    asked = [body["messages"] for body in provider.bodies if "messages" in body]
    assert strict.streams == 4 and asked[0] == asked[1]
