"""Run clients in a tool loop through ChatHub, against strict providers of every format, and print a table.

``make clients``, or ``python tests/clients/run.py [--installed] [--only NAME] [--provider NAME]``. Clients
are installed first, unless ``--installed`` is given. Each has folders of its own, and a proxy that notes each
request to another host and refuses it. It ends with 1 where a client failed; a signal ends what it started.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "api"), str(TESTS / "v1")]

import installing  # noqa: E402
from aider import Aider  # noqa: E402
from claude_code import ClaudeCode  # noqa: E402
from client import Client, Hub, Outside, Place, tool_loop  # noqa: E402
from codex import (  # noqa: E402
    Codex,
    CodexWithCustomTools,
    CodexWithToolSearch,
    CodexWithToolsInInput,
)
from gateway import Headers, add, post, token  # noqa: E402
from libraries import LIBRARIES  # noqa: E402
from llm_tool import Llm, LlmWithResponses  # noqa: E402
from opencode import Opencode, OpencodeWithResponses  # noqa: E402
from processes import ChatHub  # noqa: E402
from scripted import Provider  # noqa: E402
from strict import Strict  # noqa: E402
from strict_anthropic import Anthropic, NewerAnthropic  # noqa: E402
from strict_gemini import Gemini  # noqa: E402
from strict_openai import DeepSeek, OpenAI  # noqa: E402
from strict_responses import Responses  # noqa: E402

CLIENTS: list[Client] = [
    Codex(),
    CodexWithCustomTools(),
    CodexWithToolsInInput(),
    CodexWithToolSearch(),
    ClaudeCode(),
    Opencode(),
    OpencodeWithResponses(),
    *LIBRARIES,
    Llm(),
    LlmWithResponses(),
    Aider(),
]
PROVIDERS: dict[str, Callable[[], Strict]] = {
    "openai": OpenAI,
    "responses": Responses,
    "deepseek": DeepSeek,
    "anthropic": Anthropic,
    "anthropic-new": NewerAnthropic,
    "gemini": Gemini,
}


class Plan(NamedTuple):
    clients: list[Client]
    providers: list[str]
    # why a runtime is not installed
    reasons: dict[str, str]


class Row(NamedTuple):
    """What came of a client: by provider, nothing where all went well."""

    client: Client
    version: str
    found: dict[str, str]


class Line(NamedTuple):
    """A ChatHub with one provider behind it, for all clients."""

    strict: Strict
    provider: Provider
    base_url: str
    token: str


async def run(plan: Plan, folder: Path) -> list[Row]:
    """Run each client with each provider; a signal ends it, and what it has started before."""
    numbers: list[int] = []
    running = asyncio.ensure_future(_run(plan, folder))

    def end(number: int) -> None:
        numbers.append(number)
        running.cancel()

    for number in installing.caught():
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await running
    except asyncio.CancelledError:
        sys.exit(128 + numbers[0])


async def _run(plan: Plan, folder: Path) -> list[Row]:
    rows = []
    async with AsyncExitStack() as stack:
        lines = {name: await _line(stack, PROVIDERS[name](), folder / name) for name in plan.providers}
        for client in plan.clients:
            version = installing.version(client.runtime, client.package)
            reason = plan.reasons.get(client.runtime, "not installed")
            found = dict.fromkeys(plan.providers, "" if version else reason)
            for name, line in lines.items() if version else ():
                found[name] = await _tried(client, line, folder / client.name / name)
                print(f"{client.name} {version}, {name}: {found[name] or 'pass'}", flush=True)
            rows.append(Row(client, version, found))
    return rows


async def _line(stack: AsyncExitStack, strict: Strict, folder: Path) -> Line:
    """Start both, and add the model under all names that clients use."""
    folder.mkdir()
    provider = await stack.enter_async_context(Provider())
    hub = await stack.enter_async_context(ChatHub(folder / "chathub.db"))
    session: Any = await hub.client()
    login = {"username": "admin", "password": "admin123"}
    admin: Headers = {}
    admin["Authorization"] = "Bearer " + (await post(session, "/api/auth/login", login, {}))["token"]
    for name in {strict.model, *(client.model for client in CLIENTS if client.model)}:
        await add(session, admin, provider.base_url, strict.protocol, name, upstream_name=strict.model)
    return Line(strict, provider, hub.base_url, await token(session, admin))


async def _tried(client: Client, line: Line, folder: Path) -> str:
    """Run a client once; returns what failed."""
    hub = Hub(line.base_url, line.token, client.model or line.strict.model)
    program = installing.program(client.runtime, client.program)
    line.provider.bodies.clear()
    try:
        async with Outside() as outside:
            place = Place(folder, outside)
            return await tool_loop(client, program, line.strict, line.provider, hub, place)
    except TimeoutError:
        return "it has not come to an end"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def table(rows: list[Row], providers: list[str]) -> str:
    """The table in Markdown, and under it what failed."""
    lines = [f"| client | version | {' | '.join(providers)} |", "| --- " * (len(providers) + 2) + "|"]
    notes: list[str] = []
    for row in rows:
        cells = []
        for name in providers:
            if (found := row.found[name]) and found not in notes:
                notes.append(found)
            cells.append(f"failed ({notes.index(found) + 1})" if found else "pass")
        lines.append(f"| {row.client.name} | {row.version or 'not installed'} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"({number}) {note}" for number, note in enumerate(notes, 1))])


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--installed", action="store_true", help="install nothing")
    flags.add_argument("--only", action="append", default=[], help="the name of a client begins so")
    flags.add_argument("--provider", action="append", choices=PROVIDERS, default=[])
    given = flags.parse_args()
    installing.end_tidily()
    reasons = {} if given.installed else installing.install([])
    chosen = [each for each in CLIENTS if each.name.startswith(tuple(given.only) or "")]
    plan = Plan(chosen, given.provider or list(PROVIDERS), reasons)
    with tempfile.TemporaryDirectory(prefix="chathub-clients-") as folder:
        rows = asyncio.run(run(plan, Path(folder)))
    print("\n" + table(rows, plan.providers))
    return 1 if any(any(row.found.values()) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
