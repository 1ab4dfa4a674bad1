"""Claude Code uses tools by way of ChatHub, with providers that are as strict as the real ones."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from claude_code import ClaudeCode
from client import Command, Hub, Outside, Place, Ran
from gateway import Headers, add, post, stats, token
from installed import installed, passes
from scripted import Provider
from scripted_formats import whole
from strict import FINAL, Strict, served
from strict_anthropic import Anthropic, NewerAnthropic
from strict_gemini import Gemini
from strict_openai import DeepSeek, OpenAI

# seconds that a refusal may take above the time of ``--version``: Claude Code tries a request again for
# up to three minutes, and a busy machine needs some seconds for its start
SOON = 20
MODEL = "claude-sonnet-4-5-20250929"
# fields that the count of tokens refuses
COUNT_REFUSES = {"max_tokens", "stream", "temperature", "metadata"}
ASKED = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


class Asking:
    """Claude Code in folders of its own."""

    def __init__(self, folder: Path, base_url: str, outside: Outside) -> None:
        self.place = Place(folder, outside)
        self._program, self._base_url = installed(ClaudeCode()), base_url

    async def ask(self, question: str, model: str, credentials: dict[str, str], patience: float = 60) -> Ran:
        hub = Hub(self._base_url, "", model)
        command = ClaudeCode().asking(question, self._program, hub, self.place.home, credentials)
        return await self.place.run(command, patience)

    async def show_version(self) -> Ran:
        return await self.place.run(Command([str(self._program), "--version"], {}))


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    installed(ClaudeCode())
    async with Outside() as outside:
        yield outside


@pytest.fixture
async def claude(tmp_path: Path, client: TestClient, outside: Outside) -> Asking:
    return Asking(tmp_path / "claude", str(client.make_url("/")).rstrip("/"), outside)


@pytest.mark.parametrize(
    "kind", [OpenAI, DeepSeek, Gemini, Anthropic, NewerAnthropic], ids=lambda kind: kind.__name__
)
async def test_three_tools_are_used_and_the_last_answer_is_printed(
    client: TestClient, admin: Headers, provider: Provider, tmp_path: Path, kind: Callable[[], Strict]
) -> None:
    await passes(ClaudeCode(), kind(), client, admin, provider, tmp_path)
    assert len(provider.bodies) == 4 and (await stats(client, admin))["today"]["requests"] == 4


@pytest.mark.parametrize("kind", [OpenAI, Gemini], ids=lambda kind: kind.__name__)
async def test_the_line_that_changes_with_every_version_stays_out_of_other_formats_prompts(
    client: TestClient, admin: Headers, provider: Provider, claude: Asking, kind: Callable[[], Strict]
) -> None:
    """It would spoil the provider's cache of prompts."""
    strict = kind()
    await add(client, admin, provider.base_url, strict.protocol, strict.model)
    provider.script = served(provider, strict, [], refused=[])
    ran = await claude.ask("hi", strict.model, {"ANTHROPIC_AUTH_TOKEN": await token(client, admin)})
    assert ran.text.strip() == FINAL
    assert "x-anthropic-billing-header" not in str(provider.last)


@pytest.mark.parametrize("protocol", ["anthropic", "gemini", "openai"])
async def test_context_is_counted_and_no_chat_is_sent(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    claude: Asking,
    outside: Outside,
    protocol: str,
) -> None:
    await add(client, admin, provider.base_url, protocol, MODEL)
    provider.script = provider.answer(200, {"input_tokens": 14_567, "totalTokens": 14_567})
    ran = await claude.ask("/context", MODEL, {"ANTHROPIC_AUTH_TOKEN": await token(client, admin)})
    assert ran.code == 0 and "Context Usage" in ran.text
    paths = {body["_path"].rpartition("/")[2].rpartition(":")[2] for body in provider.bodies}
    assert paths == {"anthropic": {"count_tokens"}, "gemini": {"countTokens"}, "openai": set()}[protocol]
    assert all(not COUNT_REFUSES & body.keys() for body in provider.bodies)
    assert (await stats(client, admin))["today"]["requests"] == 0
    assert outside.asked == []


@pytest.mark.parametrize("name", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
async def test_a_wrong_token_is_said_at_once(client: TestClient, claude: Asking, name: str) -> None:
    wrong = "sk-hub-" + "x" * 43
    ran = await refused_at_once(claude, {name: wrong})
    assert "401" in ran.text and await sentence(client, wrong) in ran.text


async def test_a_spent_budget_is_said_at_once(
    client: TestClient, admin: Headers, provider: Provider, claude: Asking
) -> None:
    await add(client, admin, provider.base_url, name=MODEL)
    used = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
    provider.script = provider.answer(200, whole("openai", "ok") | {"usage": used})
    access = await token(client, admin, monthly_limit=500)
    await post(client, "/v1/messages", ASKED, {"Authorization": f"Bearer {access}"})
    ran = await refused_at_once(claude, {"ANTHROPIC_AUTH_TOKEN": access})
    assert "429" in ran.text and await sentence(client, access) in ran.text
    assert len(provider.bodies) == 1


async def refused_at_once(claude: Asking, credentials: dict[str, str]) -> Ran:
    least = (await claude.show_version()).seconds
    ran = await claude.ask("hi", MODEL, credentials, patience=least + SOON)
    assert ran.code == 1
    return ran


async def sentence(client: TestClient, access: str) -> str:
    """What ChatHub says in a refusal."""
    headers = {"Authorization": f"Bearer {access}"}
    async with client.post("/v1/messages", json=ASKED, headers=headers) as response:
        assert response.status in (401, 429)
        return str((await response.json())["error"]["message"])
