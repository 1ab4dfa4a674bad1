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
from strict import Strict
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
