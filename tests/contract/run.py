"""``make contract``: schemathesis against a real server, by the description that the server itself sends.

A few examples for each operation, always the same ones (a seed). The server is in development mode, has no
API key, and is gone afterwards; operations that would reach out are left out.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from processes import ChatHub  # noqa: E402

HERE = Path(__file__).resolve().parent
# reads a list at a provider's address, which may be any
REACHING_OUT = ("listModelsOfProvider", "importModels", "testApiKey")
# nothing listens there: no request leaves this machine
SETTINGS = {"CHATHUB_LANGUAGE": "en", "CHATHUB_UPSTREAM_PROXY": "http://127.0.0.1:1"}
ADMIN = {"username": "contract", "password": "of the contract", "email": "contract@example.com"}


async def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with ChatHub(Path(folder) / "chathub.db", **SETTINGS) as hub:
            admin_id = await _add_admin(hub.base_url)
            program = Path(sys.executable).parent / "schemathesis"
            command = [
                *(str(program), "--config-file", str(HERE / "schemathesis.toml")),
                *("run", f"{hub.base_url}/openapi.json", "--url", hub.base_url),
                *("--seed", "1", "--max-examples", "4", "--phases", "examples,coverage,fuzzing"),
                *("--no-shrink", "--generation-database", "none", "--warnings", "off"),
                *(word for name in REACHING_OUT for word in ("--exclude-operation-id", name)),
                *arguments,
            ]
            environment = os.environ | {
                "SCHEMATHESIS_HOOKS": "hooks",
                "PYTHONPATH": str(HERE),
                "CHATHUB_CONTRACT": json.dumps({"url": hub.base_url, "login": ADMIN, "id": admin_id}),
            }
            code = (await asyncio.to_thread(subprocess.run, command, env=environment, cwd=folder)).returncode
            if hub.exit_code is not None or "Traceback" in hub.errors:
                print(hub.errors[-5000:], file=sys.stderr)
                return 1
            return code


async def _add_admin(url: str) -> int:
    """An administrator of its own; gives the id."""
    async with aiohttp.ClientSession(url, raise_for_status=True) as session:
        login = {"username": "admin", "password": "admin123"}
        async with session.post("/api/auth/login", json=login) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['token']}"}
        body = {**ADMIN, "role": "admin"}
        async with session.post("/api/auth/admin/register", json=body, headers=headers) as response:
            return int((await response.json())["user"]["id"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
