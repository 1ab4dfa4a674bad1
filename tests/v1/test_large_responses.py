"""Stored responses with bodies as large as a body may be, which count once in the memory of bodies."""

import asyncio
import io
import json
import sys
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add
from scripted import Provider, reply
from stored import BACKGROUND, PATH, STORED, completed, lacking, until, waiting

from chathub.app_keys import REQUEST_MEMORY
from chathub.formats.responses.client import ResponsesClient
from chathub.stored_responses.beginning import StoredRequest, beginning_of
from chathub.stored_responses.request import Wanted

MIB = 1024 * 1024
LARGE = "x" * (30 * MIB)


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.stream(reply("good")))


async def sent(client: TestClient, headers: Headers, **body: Any) -> tuple[int, Any]:
    """Status and body of the response to a large request, which is sent in pieces."""
    data = io.BytesIO(json.dumps(STORED | body).encode())
    typed = headers | {"Content-Type": "application/json"}
    async with client.post(PATH, data=data, headers=typed) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("body", [STORED, BACKGROUND])
async def test_the_largest_body_is_generated_and_counts_until_the_end(
    client: TestClient, admin: Headers, provider: Provider, body: dict[str, object]
) -> None:
    assert client.app is not None
    status, response = await sent(client, admin, **{**body, "input": LARGE})
    assert status == 200, response
    whole = await until(client, admin, response["id"], lambda found: found["status"] == "completed")
    assert whole["output"] and provider.last["messages"][0]["content"] == LARGE
    async with asyncio.timeout(30):
        while client.app[REQUEST_MEMORY].used:
            await asyncio.sleep(0.01)


async def test_a_body_counts_while_its_response_runs_in_the_background(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你好")
    _, running = await sent(client, admin, background=True, input=LARGE)
    await until(client, admin, running["id"], lambda found: found["output"])
    status, refused = await sent(client, admin, input=LARGE)
    assert status == 429 and "request bodies" in refused["error"]["message"]
    await completed(client, admin, provider, running["id"])
    assert (await sent(client, admin, input=LARGE))[0] == 200


async def test_a_large_body_may_continue_a_response_without_being_kept(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    _, first = await sent(client, admin, input="y" * (4 * MIB))
    for store in (True, False):
        continues = {"previous_response_id": first["id"], "store": store}
        assert (await sent(client, admin, input=LARGE[: 27 * MIB], **continues))[0] == 200
        assert [len(each["content"]) // MIB for each in provider.last["messages"]] == [4, 0, 27]
        # waiting would not help
        assert (await sent(client, admin, input=LARGE, **continues))[0] == 413


def test_nothing_of_a_beginning_refers_to_the_body_that_arrived() -> None:
    tools = [{"type": "function", "name": "f", "parameters": {}}]
    asked = {**STORED, "instructions": "be brief", "tools": tools, "metadata": {"a": "b"}}
    body = json.dumps(asked).encode()
    before = sys.getrefcount(body)
    fields = ResponsesClient(body).fields
    assert sys.getrefcount(body) > before
    request = StoredRequest(fields, Wanted.of(fields), {}, None)
    beginning = beginning_of(request, 1, "resp_1", 0, None, [])
    del fields, request
    assert json.loads(bytes(beginning.head.fields["tools"])) == tools
    assert sys.getrefcount(body) == before
