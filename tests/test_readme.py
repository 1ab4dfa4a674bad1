"""The README is true: its walk with curl works as text, and both languages say the same."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from importlib.util import find_spec
from pathlib import Path

import pytest
from api.chats import add_model
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, reply

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = os.environ.get("CHATHUB_TEST_WEIGHTS", "")


def blocks(name: str) -> list[list[str]]:
    """The fenced blocks of a file as lines, without comments."""
    text = (ROOT / name).read_text("utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [
        [kind, *(line for line in block.split("\n") if not line.startswith("#"))] for kind, block in found
    ]


def test_both_languages_have_the_same_commands() -> None:
    assert blocks("README.md") == blocks("README.zh-CN.md")


def test_both_languages_have_the_same_settings() -> None:
    for pattern in (r"`(CHATHUB_\w+)`", r"`(--[\w-]+)`", r"^\| .* \| `(CHATHUB_\w+)` \|"):
        english, chinese = (
            re.findall(pattern, (ROOT / name).read_text("utf-8"), re.M)
            for name in ("README.md", "README.zh-CN.md")
        )
        assert english == chinese


def test_every_setting_is_described() -> None:
    source = (ROOT / "chathub" / "config.py").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    variables = set(re.findall(r'"(CHATHUB_\w+)"', source))
    assert variables and not {name for name in variables if f"`{name}`" not in readme}


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="there is no curl")
async def test_the_walk_with_curl_works_as_text_for_one_user_after_the_other(
    tmp_path: Path, provider: Provider
) -> None:
    """The server chooses the conversation's id: one that all examples have is the first user's for ever."""
    provider.script = provider.stream(reply("A reply of more than ", "ten characters."))
    async with ChatHub(tmp_path / "chathub.db") as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        await add_model(client, admin, provider.base_url, name="smollm2")
        for number, (name, password) in enumerate((("admin", "admin123"), ("user", "user123"))):
            # the first reply of each
            walk = _walk(hub.port).replace("/api/chat/stream/2", f"/api/chat/stream/{number * 6 + 2}")
            walk = walk.replace('"admin","password":"admin123"', f'"{name}","password":"{password}"')
            ended = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", walk), stdout=PIPE, stderr=PIPE
            )
            output, errors = (text.decode() for text in await ended.communicate())
            assert ended.returncode == 0, output + errors
            assert '"total_conversations":2' in output and '"response":"A reply of' in output
            assert output.count('"role":"assistant"') == 2


@pytest.mark.skipif(not WEIGHTS, reason="CHATHUB_TEST_WEIGHTS names no weights of the local model")
@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.skipif(sys.platform != "linux", reason="the walk is tried on Linux")
def test_the_walk_with_curl_works_as_text_against_the_local_model(tmp_path: Path) -> None:
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
        command = ["bash", "-euo", "pipefail", "-c", _walk(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        for part in ('"status":"healthy"', '"response":', '"type":"end"', "id: ", '"role":"assistant"'):
            assert part in done.stdout
        assert '"api_key":"********"' in done.stdout and '"total_conversations":2' in done.stdout
    finally:
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait(30) == 0, time.monotonic() - began
        if server.stdout is not None:
            server.stdout.close()


def _walk(port: int | str) -> str:
    """The README's walk at the port of a server, with curl failing where an answer is none."""
    (walk,) = [block for kind, block in _raw_blocks() if kind == "bash" and "TOKEN=$(" in block]
    return walk.replace("127.0.0.1:5001", f"127.0.0.1:{port}").replace("curl -s", "curl -fs")


def _raw_blocks() -> list[tuple[str, str]]:
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
