"""Other programs that use OpenAI's API, configured as their users do."""

import asyncio
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add, spent, token
from scripted import Provider
from scripted_formats import PROTOCOLS, replying

every_format = pytest.mark.parametrize("protocol", PROTOCOLS)


async def output_of(*command: str, **environment: str) -> str:
    """The output of a program."""
    # no proxy on the way to loopback
    quiet = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**quiet, **environment},
    )
    try:
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    return out.decode()


# LangChain: the package langchain-openai


@every_format
async def test_langchain_chats_streams_and_calls_tools(
    client: TestClient, admin: Headers, provider: Provider, protocol: str
) -> None:
    lang = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    import openai

    await add(client, admin, provider.base_url, protocol)
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    model: Any = lang.ChatOpenAI(
        model="m",
        base_url=str(client.make_url("/v1")),
        api_key=await token(client, admin),
        http_async_client=http,
        max_retries=0,
        timeout=20,
        stream_usage=True,
    )
    provider.script = replying(provider, protocol, "你好，世界")
    async with http, asyncio.timeout(30):
        answer = await model.ainvoke("hi")
        assert answer.content == "你好，世界" and answer.usage_metadata["total_tokens"] == 10
        pieces = [piece async for piece in model.astream("hi")]
        assert "".join(piece.content for piece in pieces) == "你好，世界"
        assert sum(p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata) == 3
        provider.script = replying(provider, protocol, wanted=[("call_1", "weather", {"place": "北京"})])
        tool = {"name": "weather", "description": "w", "parameters": {"type": "object", "properties": {}}}
        answer = await model.bind_tools([{"type": "function", "function": tool}]).ainvoke("hi")
        (call,) = answer.tool_calls
        assert (call["id"], call["name"], call["args"]) == ("call_1", "weather", {"place": "北京"})
    await spent(client, admin, 3)


# llm: https://llm.datasette.io/en/stable/other-models.html


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_llm_chats_and_streams(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, streams: bool, tmp_path: Path
) -> None:
    if importlib.util.find_spec("llm") is None:
        pytest.skip("llm is not installed")
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "你好，世界")
    base_url = str(client.make_url("/v1"))
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: hub\n  model_name: m\n  api_base: {base_url}\n  api_key_name: hub\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"hub": await token(client, admin)}))
    how = [] if streams else ["--no-stream"]
    command = (sys.executable, "-m", "llm", "-m", "hub", *how, "hi")
    assert (await output_of(*command, LLM_USER_PATH=str(tmp_path))).strip() == "你好，世界"
    body = provider.last
    asked = "streamGenerateContent" in body["_path"] if protocol == "gemini" else bool(body.get("stream"))
    assert asked is streams
    assert (await spent(client, admin, 1))["tokens_used"] == 10


# The AI SDK: https://ai-sdk.dev/providers/openai-compatible-providers

PROGRAM = """
const { createRequire } = require("node:module");
const load = createRequire(process.env.MODULES + "/x.js");
const { generateText, streamText } = load("ai");
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");
const { URL_OF_HUB: baseURL, KEY_OF_HUB: apiKey } = process.env;
const hub = createOpenAICompatible({ name: "hub", baseURL, apiKey, includeUsage: true });
(async () => {
  const whole = await generateText({ model: hub("m"), prompt: "hi", maxRetries: 0 });
  const stream = streamText({ model: hub("m"), prompt: "hi", maxRetries: 0 });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  const used = (await stream.usage).totalTokens;
  const thought = await stream.reasoningText;
  console.log(JSON.stringify({ whole: whole.text, thought, text, used }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def node_modules() -> str:
    """The folder beside or above this file, or in NODE_PATH, that holds the AI SDK."""
    above = [str(parent / "node_modules") for parent in Path(__file__).parents]
    for folder in [*os.environ.get("NODE_PATH", "").split(os.pathsep), *above]:
        if folder and (Path(folder) / "@ai-sdk" / "openai-compatible").is_dir():
            return folder
    return ""


@every_format
async def test_ai_sdk_chats_and_streams(
    client: TestClient, admin: Headers, provider: Provider, protocol: str
) -> None:
    node, modules = shutil.which("node"), node_modules()
    if not node or not modules:
        pytest.skip("node, or ai and @ai-sdk/openai-compatible in its NODE_PATH, are not installed")
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "你好，世界", "想一想")
    environment = {
        "MODULES": modules,
        "URL_OF_HUB": str(client.make_url("/v1")),
        "KEY_OF_HUB": await token(client, admin),
    }
    told = json.loads((await output_of(node, "-e", PROGRAM, **environment)).splitlines()[-1])
    assert told == {"whole": "你好，世界", "thought": "想一想", "text": "你好，世界", "used": 10}
    await spent(client, admin, 2)
