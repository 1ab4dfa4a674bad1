"""How long single requests keep everybody waiting: ``python tests/bench/stalls.py [--quick] [--only NAME]``.

For each of the largest things that a user or a provider may do: the longest that one callback held the event
loop, in CPU time of the loop's own thread (``watched.py`` measures it inside the server), against the 50 ms
that it may; and the waits of another client for ``GET /api/health``, which has a process of its own
(``prober.py``). The first row has those waits at an idle server: what a noisy machine and two cores for four
processes cost is in them as well, so they are to be held against the first row, not against zero.

It prints; it never fails because a target was missed.
"""

import argparse
import asyncio
import base64
import os
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from load import Hub, message
from processes import Process

_HERE = Path(__file__).parent
_TARGET = 50.0
_READ = 1 << 20
_HEAD = ("what", "longest callback", "of", "target", "waits p50", "p99", "longest", "took", "memory")


@dataclass(frozen=True)
class Scene:
    """A server under one operation; ``scale`` is 1, or smaller for a quick run."""

    hub: Hub
    server: Process
    database: Path
    callbacks: Path
    scale: float

    def many(self, count: int) -> int:
        return int(count * self.scale)


async def _ask(scene: Scene, method: str, path: str, body: object = None) -> None:
    """Send a request and discard its response, whatever its status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.hub.port)
    # the answer ends with the connection
    writer.write(message(method, path, scene.hub.token, body).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    while await reader.read(_READ):
        pass
    writer.close()


def add_conversation(scene: Scene, public_id: str, count: int) -> None:
    """A conversation of one branch, straight into the database."""
    with closing(sqlite3.connect(scene.database)) as db, db:
        conversation = db.execute(
            "INSERT INTO conversations (public_id, user_id, title, model, message_count, created_at,"
            " updated_at) VALUES (?, 2, 'long', 'm', ?, 1, 1)",
            (public_id, count),
        ).lastrowid
        parent = None
        for number in range(count):
            parent = db.execute(
                "INSERT INTO messages (conversation_id, parent_id, role, content, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, 1, 1)",
                (conversation, parent, "assistant" if number % 2 else "user", "字a" * 150),
            ).lastrowid
        db.execute("UPDATE conversations SET head_id = ? WHERE id = ?", (parent, conversation))


async def idle(scene: Scene) -> None:
    await asyncio.sleep(3)


async def opened(scene: Scene) -> None:
    await _ask(scene, "GET", "/api/conversations/opened/messages")


async def asked(scene: Scene) -> None:
    body = {"message": "q", "model": "word-1", "conversation_id": "asked"}
    await _ask(scene, "POST", "/api/chat", body)


async def deleted(scene: Scene) -> None:
    await _ask(scene, "DELETE", "/api/conversations/deleted")
    # until the last slice
    with closing(sqlite3.connect(scene.database)) as db:
        while db.execute("SELECT count(*) FROM conversations WHERE deleted_at IS NOT NULL").fetchone()[0]:
            await asyncio.sleep(0.05)


def add_ledger(scene: Scene) -> None:
    with closing(sqlite3.connect(scene.database)) as db, db:
        db.executemany(
            "INSERT INTO ledger (at, day, kind, user_id, provider, model, input_price, output_price,"
            " duration_ms, end_reason) VALUES (1, '2026-01-01', 'chat', 2, 'bench', ?, 1, 1, 1, 'stop')",
            ((f"model-{number % 10}",) for number in range(scene.many(500_000))),
        )


async def ledger(scene: Scene) -> None:
    await _ask(scene, "GET", "/api/usage?format=csv")


async def body_of_text(scene: Scene) -> None:
    await _ask(scene, "POST", "/api/chat/save-partial", {"conversation_id": "x", "content": "x" * 24_000_000})


async def body_of_escapes(scene: Scene) -> None:
    body = {"conversation_id": "x", "content": "\\" * 12_000_000}
    await _ask(scene, "POST", "/api/chat/save-partial", body)


def _images(count: int) -> list[str]:
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + os.urandom(4_500_000)).decode()
    return [f"data:image/png;base64,{data}"] * count


async def images(scene: Scene) -> None:
    body = {"message": "look", "model": "word-1", "images": _images(3)}
    await _ask(scene, "POST", "/api/chat", body)


async def forwarded_images(scene: Scene) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in _images(3)]
    body = {"model": "word-1", "messages": [{"role": "user", "content": parts}]}
    await _ask(scene, "POST", "/v1/chat/completions", body)


async def whole(scene: Scene) -> None:
    await _ask(scene, "POST", "/api/chat", {"message": "q", "model": "whole-8000000"})


async def forwarded_whole(scene: Scene) -> None:
    body = {"model": "whole-8000000", "messages": [{"role": "user", "content": "q"}]}
    await _ask(scene, "POST", "/v1/chat/completions", body)


async def singles(scene: Scene) -> None:
    name = f"single-{scene.many(2_000_000)}"
    await _ask(scene, "POST", "/api/chat/stream", {"message": "q", "model": name})


_SCENES: dict[str, tuple[str, Callable[[Scene], Awaitable[None]]]] = {
    "idle": ("an idle server", idle),
    "open": ("a conversation of 10,000 messages opened", opened),
    "ask": ("a question after 10,000 messages", asked),
    "ledger": ("a ledger of 500,000 rows downloaded", ledger),
    "text": ("a body of 24 MB of text", body_of_text),
    "escapes": ("a body of 24 MB of backslashes", body_of_escapes),
    "images": ("18 MB of images sent, /api", images),
    "v1-images": ("18 MB of images sent, /v1", forwarded_images),
    "whole": ("an answer of 8 MB, /api", whole),
    "v1-whole": ("an answer of 8 MB, /v1", forwarded_whole),
    "single": ("2,000,000 one-character deltas", singles),
    "delete": ("a conversation of 10,000 messages deleted", deleted),
}


async def _set_up(scene: Scene, provider: Process, names: list[str]) -> None:
    await scene.hub.set_up(provider.port)
    for model, streams in (
        ("word-1", False),
        ("whole-8000000", False),
        (f"single-{scene.many(2_000_000)}", True),
    ):
        await scene.hub.offer(model, streams=streams, supports_vision=True, context_window=4_000_000)
    for name, public_id in (("open", "opened"), ("ask", "asked"), ("delete", "deleted")):
        if name in names:
            add_conversation(scene, public_id, scene.many(10_000))
    if "ledger" in names:
        add_ledger(scene)


async def _measure(scene: Scene, name: str) -> tuple[str, ...]:
    """A row: the stalls of the server, and the waits of another client, during one operation."""
    title, work = _SCENES[name]
    known = len(scene.callbacks.read_text().splitlines())
    prober = await asyncio.create_subprocess_exec(
        sys.executable, _HERE / "prober.py", str(scene.hub.port), stdin=-1, stdout=-1
    )
    assert prober.stdout is not None and prober.stdin is not None
    await prober.stdout.readline()
    began = time.perf_counter()
    try:
        await work(scene)
        took = f"{time.perf_counter() - began:.1f} s"
    except Exception as error:
        traceback.print_exc()
        took = type(error).__name__
    prober.stdin.close()
    waits = (await prober.stdout.read()).decode().split() or ["", "", ""]
    await prober.wait()
    lines = [line.split(" ", 1) for line in scene.callbacks.read_text().splitlines()[known:]]
    spent, of = max(((float(cost), of) for cost, of in lines), default=(0.0, "no callback of 2 ms"))
    verdict = "met" if spent <= _TARGET else "MISSED"
    memory = f"{scene.server.resident() / 2**20:.0f} MB"
    return title, f"{spent:.1f} ms", of, verdict, *(f"{wait} ms" for wait in waits), took, memory


async def _run(names: list[str], folder: Path, scale: float) -> list[tuple[str, ...]]:
    database, callbacks = folder / "stalls.db", folder / "callbacks"
    callbacks.touch()
    command = [_HERE / "watched.py", callbacks, "--port", "0", "--database", database]
    with (
        Process([_HERE / "large_provider.py"], folder / "provider.log") as provider,
        Process(command, folder / "chathub.log") as server,
    ):
        scene = Scene(Hub(server.port), server, database, callbacks, scale)
        await _set_up(scene, provider, names)
        rows = [_HEAD]
        for name in names:
            rows.append(await _measure(scene, name))
            print(f"{name} ...", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="How long single requests hold ChatHub's event loop.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, rows and deltas")
    parser.add_argument("--only", action="append", choices=list(_SCENES), help="one; may be repeated")
    arguments = parser.parse_args()
    names = list(dict.fromkeys(["idle", *(arguments.only or _SCENES)]))
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="chathub-stalls-") as folder:
        rows = asyncio.run(_run(names, Path(folder), 0.1 if arguments.quick else 1))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
