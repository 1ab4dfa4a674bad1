"""The README and the documents beside it: their examples work as text, and both languages say the same."""

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from api.chats import add_model
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, reply

from chathub.config import Config
from chathub.config_reading import load, variable_names

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = os.environ.get("CHATHUB_TEST_WEIGHTS", "")
# documents that exist in both languages
TWINS = ["README", *(f"docs/{name}" for name in ("configuration", "deploying", "operating", "using"))]
TWINS += ["docs/mainland-china", "docs/formats", "docs/first-hour"]

needs_curl = pytest.mark.skipif(
    not shutil.which("curl") or not shutil.which("bash"), reason="there is no curl or no bash"
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str) -> list[tuple[str, str]]:
    """The fenced blocks of a document: the language and the text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text_of(name), re.M | re.S)


def commands(name: str) -> list[list[str]]:
    """The lines of each fenced block, without comments."""
    return [
        [kind, *(re.sub(r"\s+# .*", "", line) for line in block.split("\n") if not line.startswith("#"))]
        for kind, block in blocks(name)
    ]


def walk(name: str, port: int | str) -> str:
    """The bash blocks of a document as one script for the server at a port; a refused request ends it."""
    script = "\n".join(block for kind, block in blocks(name) if kind == "bash" and "curl" in block)
    assert "TOKEN=$(" in script
    return script.replace("127.0.0.1:5001", f"127.0.0.1:{port}").replace("curl -s", "curl -fs")


async def run(script: str, **environment: str) -> tuple[int | None, str, str]:
    """Run a script; gives exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script), stdout=PIPE, stderr=PIPE, env=os.environ | environment
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


# --- two languages


@pytest.mark.parametrize("name", TWINS)
def test_both_languages_have_the_same_commands(name: str) -> None:
    assert commands(f"{name}.md") == commands(f"{name}.zh-CN.md")


@pytest.mark.parametrize("name", TWINS)
def test_both_languages_name_the_same_settings_and_have_the_same_sections(name: str) -> None:
    for pattern in (r"`(CHATHUB_\w+)`", r"`(--[\w-]+)`", r"`((?:GET|POST|PUT|DELETE) [^`]+)`"):
        english, chinese = (set(re.findall(pattern, text_of(name + end))) for end in (".md", ".zh-CN.md"))
        assert english == chinese
    english, chinese = (re.findall(r"^(#+) ", text_of(name + end), re.M) for end in (".md", ".zh-CN.md"))
    assert len(english) == len(chinese)
    rows, rows_zh = (re.findall(r"^\|.*", text_of(name + end), re.M) for end in (".md", ".zh-CN.md"))
    assert len(rows) == len(rows_zh)


def test_described_defaults_are_the_real_ones_in_both_languages() -> None:
    row = r"^\|[^|]*\| `(CHATHUB_\w+)`[^|]*\|(?: `([^`]+)`(?=[:：;；,，]| [`|]))?"
    english, chinese = (
        re.findall(row, text_of(f"docs/configuration{end}"), re.M) for end in (".md", ".zh-CN.md")
    )
    defaults = {name: value for name, value in english if value}
    assert english == chinese and len(defaults) > 20
    for name, value in defaults.items():
        assert load(argparse.Namespace(), {name: value}) == Config(), name


def test_every_setting_is_described_and_every_described_one_exists() -> None:
    described = set(re.findall(r"`(CHATHUB_\w+)`", text_of("docs/configuration.md")))
    assert described == set(variable_names())


# --- the examples, run as text


@needs_curl
async def test_examples_work_as_text_for_one_user_after_the_other(tmp_path: Path, provider: Provider) -> None:
    """They have no id that would be the first user's for ever: ids come from the answers."""
    provider.script = provider.stream(reply("A reply of more than ", "ten characters."))
    async with ChatHub(tmp_path / "chathub.db") as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        await add_model(client, admin, provider.base_url, name="smollm2")
        for name, password in (("admin", "admin123"), ("user", "user123")):
            for number, document in enumerate(("docs/using.md", "README.md")):
                script = walk(document, hub.port)
                script = script.replace('"admin","password":"admin123"', f'"{name}","password":"{password}"')
                code, output, errors = await run(script, SILICONFLOW_API_KEY="sk-of-the-tests")
                assert code == 0, output + errors
                assert '"response":"A reply of' in output and '"type":"end"' in output
                if number == 0:
                    assert '"total_conversations":2' in output and output.count('"role":"assistant"') == 3
                    # the last request is that of a program
                    assert provider.last["messages"] == [{"role": "user", "content": "Hello, who are you?"}]
                    assert "sk-of-the-tests" not in output and output.count('"label":""') == 2
                    # the rest of the stream, after ten characters
                    assert '{"type":"content","content":" more than ten characters."}' in output


@needs_curl
async def test_example_saves_no_key_where_none_is_given(database: Path) -> None:
    """Also pasted line by line into a shell that goes on after an error."""
    (saving,) = [block for _, block in blocks("docs/using.md") if "SILICONFLOW_API_KEY" in block]
    async with ChatHub(database) as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        settings = f"HUB={hub.base_url}; JSON='Content-Type: application/json'"
        script = f"set +e; {settings}; AUTH='Authorization: {admin['Authorization']}'\n({saving.strip()})"
        code, output, errors = await run(script, SILICONFLOW_API_KEY="")
        assert code != 0 and "SILICONFLOW_API_KEY: is not set" in errors and "siliconflow" not in output
        async with client.get("/api/apikeys", headers=admin) as response:
            assert await response.json() == []


@asynccontextmanager
async def siliconflow() -> AsyncIterator[str]:
    """A provider that lists two models and answers chats with one of them; gives its base URL."""

    async def models(request: web.Request) -> web.Response:
        if request.headers["Authorization"] != "Bearer sk-of-the-tests":
            return web.json_response("Invalid token", status=401)
        return web.json_response({"object": "list", "data": [{"id": "Qwen/Qwen3-8B"}, {"id": "other"}]})

    async def chat(request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        assert body["model"] == "Qwen/Qwen3-8B"
        return web.Response(body=b"".join(reply("你好！")), content_type="text/event-stream")

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/v1"))
    await server.close()


@asynccontextmanager
async def hub_with_siliconflow(database: Path, password: str, **settings: str) -> AsyncIterator[ChatHub]:
    """A server whose provider ``siliconflow`` is the scripted one."""
    async with siliconflow() as base_url, ChatHub(database, **settings) as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", password)
        async with client.get("/api/providers", headers=admin) as response:
            found = (await response.json())["data"]
        (number,) = [each["id"] for each in found if each["provider_key"] == "siliconflow"]
        changed = {"default_base_url": base_url}
        async with client.put(f"/api/providers/{number}", json=changed, headers=admin) as response:
            assert response.status == 200
        yield hub


async def prices_of(hub: ChatHub) -> dict[str, float]:
    async with (await hub.client()).get("/api/models") as response:
        return {each["model_name"]: each["output_price_per_1k"] for each in await response.json()}


@needs_curl
@pytest.mark.parametrize("document", ["docs/mainland-china.md", "docs/mainland-china.zh-CN.md"])
async def test_siliconflow_is_set_up_step_by_step_and_prices_are_turned_into_yuan(
    database: Path, document: str
) -> None:
    async with hub_with_siliconflow(database, "admin123") as hub:
        before = await prices_of(hub)
        code, output, errors = await run(walk(document, hub.port), SILICONFLOW_API_KEY="sk-of-the-tests")
        assert code == 0, output + errors
        assert '"works":true' in output and '"imported":["Qwen/Qwen3-8B"]' in output
        assert '"response":"你好！"' in output
        after = await prices_of(hub)
        assert any(before.values())
        assert {name: after[name] for name in before} == pytest.approx(
            {name: 7.1 * price for name, price in before.items()}, rel=1e-3
        )


@needs_curl
@pytest.mark.parametrize("document", ["docs/first-hour.md", "docs/first-hour.zh-CN.md"])
async def test_the_first_hour_ends_with_a_second_user_and_limits(tmp_path: Path, document: str) -> None:
    password = "printed at the start"
    settings = {"CHATHUB_ENV": "production", "CHATHUB_ADMIN_PASSWORD": password}
    async with hub_with_siliconflow(tmp_path / "family.db", password, **settings) as hub:
        script = walk(document, hub.port)
        code, output, errors = await run(
            script, SILICONFLOW_API_KEY="sk-of-the-tests", ADMIN_PASSWORD=password
        )
        assert code == 0, output + errors
        assert '"works":true' in output and output.count('"response":"你好！"') == 2
        anna = await sign_in(await hub.client(), "anna", "a-long-password")
        async with (await hub.client()).get("/api/users/profile", headers=anna) as response:
            assert "200" in str(response.status)
        assert '"cost_limit":5' in output and '"requests_per_minute":10' in output


@pytest.mark.parametrize("document", ["docs/first-hour.md", "docs/deploying.md"])
async def test_hosts_of_a_home_network_admit_devices_and_the_machine_itself(
    tmp_path: Path, document: str
) -> None:
    (hosts,) = set(re.findall(r"CHATHUB_ALLOWED_HOSTS='([^']+)'", text_of(document)))
    settings = {"CHATHUB_ENV": "production", "CHATHUB_ALLOWED_HOSTS": hosts}
    async with ChatHub(tmp_path / "family.db", **settings) as hub:
        client = await hub.client()
        statuses = {}
        for name in ("hub.lan", f"192.168.1.10:{hub.port}", f"127.0.0.1:{hub.port}", "example.com"):
            async with client.get("/api/health", headers={"Host": name}) as response:
                statuses[name] = response.status
    assert list(statuses.values()) == [200, 200, 200, 421]


async def test_documents_for_china_name_the_providers_and_models_of_a_fresh_start(database: Path) -> None:
    row = r"^\| `(\w+)` \| <https://\S+> \| <(\S+)> \| (.*) \|$"
    rows = re.findall(row, text_of("docs/mainland-china.md"), re.M)
    assert len(rows) == 7 and rows == [
        (key, address, models.replace("、", ", "))
        for key, address, models in re.findall(row, text_of("docs/mainland-china.zh-CN.md"), re.M)
    ]
    async with ChatHub(database) as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        async with client.get("/api/providers", headers=admin) as response:
            found = (await response.json())["data"]
            addresses = {(each["provider_key"], each["default_base_url"]) for each in found}
        async with client.get("/api/models") as response:
            known = {
                (each["model_provider"], each["model_name"]): each["output_price_per_1k"]
                for each in await response.json()
            }
    assert {(key, address) for key, address, _ in rows} <= addresses
    for key, _, cell in rows:
        prices = [known[key, name] for name in re.findall(r"`([^`]+)`", cell)]
        assert prices and prices == sorted(prices), key


@pytest.mark.skipif(not WEIGHTS, reason="CHATHUB_TEST_WEIGHTS names no weights of the local model")
@pytest.mark.skipif(sys.platform != "linux", reason="the examples are tried on Linux")
@needs_curl
def test_examples_work_as_text_against_the_local_model(tmp_path: Path) -> None:
    if find_spec("xllamacpp") is None:
        pytest.skip("the extra [local] is not installed")
    models = tmp_path / "models"
    models.mkdir()
    (models / "SmolLM2-135M-Instruct.Q4_1.gguf").symlink_to(Path(WEIGHTS).resolve())
    command = [sys.executable, "run.py", "--local-model", "smollm2", "--port", "0"]
    server = subprocess.Popen(
        [*command, "--database", str(tmp_path / "chathub.db")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = re.findall(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline())[0]
        command = ["bash", "-euo", "pipefail", "-c", walk("docs/using.md", port)]
        environment = os.environ | {"SILICONFLOW_API_KEY": "sk-of-the-tests"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        for part in ('"status":"healthy"', '"response":', '"type":"end"', "id: ", '"role":"assistant"'):
            assert part in done.stdout
        assert '"object":"chat.completion"' in done.stdout and '"total_conversations":2' in done.stdout
    finally:
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait(30) == 0, time.monotonic() - began
        if server.stdout is not None:
            server.stdout.close()
