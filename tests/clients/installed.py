"""Clients in the tests: skipped where they are not installed."""

import os
import shutil
from pathlib import Path

import installing
import pytest
from aiohttp.test_utils import TestClient
from client import Client, Hub, Outside, Place, tool_loop
from gateway import Headers, add, token
from scripted import Provider
from strict import Strict


def installed(client: Client) -> Path:
    """The program; without it the test is skipped."""
    variable = f"CHATHUB_{client.program.upper()}"
    ours = installing.program(client.runtime, client.program)
    found = os.environ.get(variable) or shutil.which(ours) or shutil.which(client.program)
    if not found:
        pytest.skip(f"{client.name} is not installed: not in {variable}, .clients or PATH")
    return Path(found)


async def passes(
    client: Client, strict: Strict, hub: TestClient, admin: Headers, provider: Provider, folder: Path
) -> None:
    """A client does its task by way of ChatHub."""
    program = installed(client)
    name = client.model or strict.model
    await add(hub, admin, provider.base_url, strict.protocol, name, upstream_name=strict.model)
    where = Hub(str(hub.make_url("/")).rstrip("/"), await token(hub, admin), name)
    async with Outside() as outside:
        place = Place(folder / "client", outside)
        failed = await tool_loop(client, program, strict, provider, where, place)
        assert not failed, failed
