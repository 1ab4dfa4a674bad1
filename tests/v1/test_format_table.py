"""The table of formats is true, in both languages: each cell is tried at the server, whole and streamed."""

import asyncio
from collections.abc import Iterator
from threading import Thread

import pytest
from conftest import PreparedDatabase
from documented import codes, endpoints, table
from gateway import add, token
from scripted import Provider
from scripted_formats import replying
from shared import SharedServer
from table_answers import ANSWERS
from table_cells import ALL, MODELS, OWN, Cell, outcome
from table_document import CLIENTS, LANGUAGES, Language, cells_of
from table_forwarded import FORWARDED
from table_hub import HubProgram
from table_programs import Program
from table_requests import REQUESTS
from table_responses import ResponsesProgram
from table_sdks import AnthropicProgram, OpenAIProgram

ROWS = REQUESTS | ANSWERS
# row → how a sentence that refuses it names the field
FIELDS = {"PDF": "[1]", "audio": "[1]", "penalties": "presence_penalty"}
CELLS = [(row, client, wire_format) for row in ROWS for client in CLIENTS for wire_format in MODELS]
CELLS += [(row, "responses", OWN) for row in ROWS]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One scripted provider for all cells: it speaks every format, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="scripted provider")
    thread.start()
    made = Provider()
    try:
        asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(60)
        yield made
        asyncio.run_coroutine_threadsafe(made.__aexit__(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.fixture(scope="module")
def programs(
    shared_server: SharedServer, prepared_database: PreparedDatabase, provider: Provider
) -> Iterator[dict[str, Program]]:
    """The client of each format, with a model of each provider format to talk to."""
    admin = prepared_database.headers["admin"]

    async def prepare() -> tuple[str, str]:
        async with shared_server.client() as client:
            for wire_format, name in MODELS.items():
                await add(client, admin, provider.base_url, wire_format, name, provider=f"of_{wire_format}")
            own = provider.base_url.replace("/v1", "/own/v1")
            await add(client, admin, own, "openai", ALL[OWN], provider="of_responses")
            return str(client.make_url("")).rstrip("/"), await token(client, admin)

    base_url, key = asyncio.run(prepare())
    chat = table(endpoints()["POST", "/api/chat"], "字段")
    own_fields = {name for row in chat.rows for name in codes(row[0])}
    made = {
        "openai": OpenAIProgram(base_url, key),
        "responses": ResponsesProgram(base_url, key),
        "anthropic": AnthropicProgram(base_url, key),
        "api": HubProgram(base_url, admin["Authorization"].removeprefix("Bearer "), own_fields),
    }
    # that a provider has no Responses is learned with the first request
    asked = Cell(made["responses"], "responses", "openai", provider, streams=False)
    asked.reply()
    asked.ask()
    yield made
    for program in made.values():
        program.close()


@pytest.mark.parametrize(("row", "client", "wire_format"), CELLS, ids=["-".join(cell) for cell in CELLS])
def test_cell_says_what_becomes_of_the_feature(
    programs: dict[str, Program], provider: Provider, row: str, client: str, wire_format: str
) -> None:
    tried = (FORWARDED if wire_format == OWN else ROWS)[row]
    whole, streamed = (
        outcome(tried, Cell(programs[client], client, wire_format, provider, streams), FIELDS.get(row, row))
        for streams in (False, True)
    )
    assert whole == streamed
    for language in LANGUAGES:
        assert cells_of(language)[row, client, wire_format] == language.cell(whole), language.name


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda it: it.name)
def test_table_has_the_cells_that_are_tried_and_no_others(language: Language) -> None:
    assert sorted(cells_of(language)) == sorted(CELLS)


@pytest.mark.parametrize("client", ["openai", "anthropic", "api"])
def test_only_clients_of_responses_use_those_of_a_provider(
    programs: dict[str, Program], provider: Provider, client: str
) -> None:
    asked = Cell(programs["responses"], "responses", OWN, provider, streams=False)
    asked.reply()
    asked.ask()
    assert asked.body["_path"].endswith("/own/v1/responses")
    provider.script = replying(provider, "openai", "好")
    for streams in (False, True):
        cell = Cell(programs[client], client, OWN, provider, streams)
        assert cell.ask().texts == ["好"]
        assert cell.body["_path"].endswith("/own/v1/chat/completions")


@pytest.mark.parametrize("wire_format", MODELS)
def test_values_that_change_nothing_are_accepted(
    programs: dict[str, Program], provider: Provider, wire_format: str
) -> None:
    nothing = {"presence_penalty": 0, "frequency_penalty": 0, "seed": None}
    more = {"n": 1, "logprobs": False, "top_logprobs": None, "parallel_tool_calls": True}
    for client, fields in (("openai", nothing | more), ("api", nothing)):
        cell = Cell(programs[client], client, wire_format, provider, streams=False)
        cell.reply("好")
        assert cell.ask(**fields).texts == ["好"], client


@pytest.mark.parametrize("wire_format", MODELS)
def test_other_fields_go_to_providers_of_the_clients_format_only(
    programs: dict[str, Program], provider: Provider, wire_format: str
) -> None:
    for client, fields in (
        ("openai", {"logit_bias": {"5": -1}, "verbosity": "low", "metadata": {"a": "b"}}),
        ("anthropic", {"metadata": {"user_id": "me"}, "service_tier": "auto"}),
    ):
        cell = Cell(programs[client], client, wire_format, provider, streams=False)
        cell.reply()
        cell.ask(**fields)
        sent = {name: cell.body[name] for name in fields if name in cell.body}
        assert sent == (fields if client == wire_format else {}), client
