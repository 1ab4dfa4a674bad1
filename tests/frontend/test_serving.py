"""A front end served by the real server: its files and its page, and the API beside them."""

import asyncio
import contextlib
import dataclasses
import gzip
import os
import shutil
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect, configured
from frontend.build import BROTLI, CHUNK, LARGE, SCRIPT, STYLE, write_build
from shared import SharedServer

import chathub
from chathub.app import create_app
from chathub.app_keys import RESPONSE_MEMORY
from chathub.commands.doctor import examine
from chathub.config import Config
from chathub.errors import StartError
from chathub.frontend.folder import Folder
from chathub.frontend.paths import RESERVED
from chathub.handlers.http import SAFE
from chathub.routes import ROUTES

NAVIGATION = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
YEAR = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    folder = write_build(tmp_path_factory.mktemp("dist"))
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("secret")
    (folder / ".env").write_text("secret")
    (folder / "leak.txt").symlink_to(outside)
    (folder / "leaks").symlink_to(outside.parent)
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "alias.js").symlink_to(folder / SCRIPT)
    os.mkfifo(folder / "pipe.txt")
    (folder / "locked.txt").write_text("secret")
    (folder / "docs").mkdir()
    (folder / "docs" / "index.html").write_text("hidden by the API's name")
    config = configured(tmp_path_factory.mktemp("served"))
    config = dataclasses.replace(config, frontend=folder, cors_origins=("https://other.example",))
    with SharedServer(config) as server:
        yield server


@pytest.fixture
async def page(served: SharedServer) -> AsyncIterator[TestClient]:
    async with served.client() as client:
        yield client


async def test_page_is_served_at_the_root_to_every_client(page: TestClient) -> None:
    for headers in (NAVIGATION, {"Accept": "*/*"}, {}, {"Authorization": "Bearer wrong"}):
        response = await page.get("/", headers=headers)
        assert response.status == 200 and "<title>first</title>" in await response.text()
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    "path", ["/chat", "/chat/", "/models/gpt-4.1", "/users?page=2", "/index.html", "/%E4%BD%A0"]
)
async def test_page_is_served_where_a_browser_opens_an_unknown_path(page: TestClient, path: str) -> None:
    response = await page.get(path, headers=NAVIGATION)
    assert response.status == 200 and "<title>first</title>" in await response.text()
    assert response.headers["Vary"] == "Accept"


@pytest.mark.parametrize("path", ["/chat", "/models", "/chat/completions"])
async def test_programs_keep_their_errors_at_unknown_paths(page: TestClient, path: str) -> None:
    response = await page.get(path, headers={"Accept": "application/json"})
    assert response.status == 404 and "error" in await response.json()


@pytest.mark.parametrize("path", ["/assets/missing-CkXG6ZsP.js", "/logo.png", "/assets/old.css"])
async def test_missing_asset_is_a_404_for_browsers_too(page: TestClient, path: str) -> None:
    for headers in (NAVIGATION, {"Accept": "*/*"}):
        response = await page.get(path, headers=headers)
        assert response.status == 404 and (await response.json())["code"] == "not_found"
        assert "Cache-Control" not in response.headers


@pytest.mark.parametrize(
    ("name", "kind", "cached"),
    [
        (SCRIPT, "text/javascript; charset=utf-8", YEAR),
        (STYLE, "text/css; charset=utf-8", YEAR),
        (CHUNK, "text/javascript; charset=utf-8", YEAR),
        ("favicon.svg", "image/svg+xml; charset=utf-8", "no-cache"),
        ("site.webmanifest", "application/manifest+json; charset=utf-8", "no-cache"),
        ("alias.js", "text/javascript; charset=utf-8", "no-cache"),
    ],
)
async def test_file_has_its_type_and_its_caching(
    page: TestClient, served: SharedServer, name: str, kind: str, cached: str
) -> None:
    folder = served.config.frontend
    assert folder is not None
    response = await page.get(f"/{name}", headers={"Accept-Encoding": "identity"})
    assert await response.read() == (folder / name).read_bytes()
    assert response.headers["Content-Type"] == kind
    assert response.headers["Cache-Control"] == cached
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Vary"] == "Accept-Encoding"


async def test_large_file_is_sent_in_pieces_and_whole(page: TestClient) -> None:
    response = await page.get(f"/{LARGE}")
    assert response.headers["Content-Length"] == "300000"
    assert await response.read() == b"// 300 KB\n" * 30_000


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip, deflate, br", "br"), ("br;q=0.1, gzip", "gzip"), ("br;q=0, gzip;q=0", None), ("identity", None)],
)
async def test_compressed_file_is_sent_where_it_is_accepted(
    page: TestClient, accepted: str, coding: str | None
) -> None:
    headers = {"Accept-Encoding": accepted}
    async with page.get(f"/{CHUNK}", headers=headers, auto_decompress=False) as response:
        body = await response.read()
    assert response.headers.get("Content-Encoding") == coding
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    plain = await (await page.get(f"/{CHUNK}", headers={"Accept-Encoding": "identity"})).read()
    assert {"br": BROTLI, None: plain}.get(coding, body) == body
    assert coding != "gzip" or gzip.decompress(body) == plain


async def test_page_of_an_earlier_build_in_a_compressed_copy_is_not_sent(page: TestClient) -> None:
    response = await page.get("/", headers={"Accept-Encoding": "gzip"})
    assert "<title>first</title>" in await response.text()


@pytest.mark.parametrize("path", ["/", f"/{SCRIPT}", f"/{LARGE}"])
async def test_client_that_has_the_content_gets_a_304(page: TestClient, path: str) -> None:
    first = await page.get(path)
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await page.get(path, headers={"If-None-Match": known})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == etag
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    other = await page.get(path, headers={"If-None-Match": '"other"'})
    assert other.status == 200


@pytest.mark.parametrize("path", ["/", f"/{SCRIPT}", f"/{LARGE}", "/favicon.svg"])
async def test_head_has_the_headers_of_get_and_no_body(page: TestClient, path: str) -> None:
    got, head = await page.get(path), await page.head(path)
    assert (head.status, await head.read()) == (200, b"")
    kept = ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Content-Security-Policy", "Vary")
    for name in kept:
        assert head.headers.get(name) == got.headers.get(name)


async def test_other_methods_are_refused_at_files_and_unknown_elsewhere(page: TestClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for path in ("/", "/favicon.svg"):
            response = await page.request(method, path)
            assert response.status == 405 and response.headers["Allow"] == "GET,HEAD"
            assert (await response.json())["code"] == "method_not_allowed"
        response = await page.request(method, "/chat", headers=NAVIGATION)
        assert response.status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("segment", sorted(RESERVED))
async def test_reserved_segments_never_lead_to_the_page(page: TestClient, segment: str, method: str) -> None:
    for path in (f"/{segment}", f"/{segment}/", f"/{segment}/nothing", f"/{segment.upper()}/nothing"):
        response = await page.request(method, path, headers=NAVIGATION)
        text = await response.text()
        assert "<title>first</title>" not in text and "hidden" not in text
        if path.endswith("/nothing"):
            assert response.status == 404
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"


def test_every_route_is_below_a_reserved_segment() -> None:
    assert {route.path.split("/")[1] for route in ROUTES} <= RESERVED


@pytest.mark.parametrize(
    "path",
    [
        "/leak.txt",
        "/leaks/secret.txt",
        "/loop.txt",
        "/pipe.txt",
        "/.env",
        "/%2eenv",
        "/assets/../.env",
        "/assets/%2e%2e/.env",
        "/..%2f.env",
        "/assets%2f..%2f.env",
        "/assets\\..\\.env",
        "/assets/%5c.env",
        "/favicon.svg%00",
        "/favicon.svg%00.js",
        "//etc/passwd",
        "///etc/passwd",
        "/%2fetc/passwd",
        "/" + "a" * 300 + ".js",
        "/" + "a/" * 1000 + "b.js",
        "/assets/favicon.svg",
        "/favicon.svg/x.js",
        "/\udcff.js",
        "/%ff.js",
    ],
)
async def test_what_is_not_a_file_of_the_folder_is_a_404(page: TestClient, path: str) -> None:
    """The path is sent as it is: a client library would clean it first."""
    status, body = await raw_get(page, path)
    # bytes that are no URL are refused before any path is looked at
    assert status == (400 if path.startswith("/\udcff") else 404)
    assert b"secret" not in body and (b"not_found" in body or status == 400)


async def test_absolute_form_is_the_path_in_it(page: TestClient) -> None:
    own = f"http://127.0.0.1:{page.port}"
    assert (await raw_get(page, f"{own}/favicon.svg"))[0] == 200
    assert (await raw_get(page, f"{own}/.env"))[0] == 404
    assert (await raw_get(page, "http://evil.example/favicon.svg"))[0] == 421


async def test_foreign_host_gets_no_page(page: TestClient) -> None:
    response = await page.get("/", headers={"Host": "evil.example"})
    assert response.status == 421


async def test_only_the_page_and_its_files_have_the_policy_of_pages(page: TestClient) -> None:
    for path in ("/", f"/{SCRIPT}"):
        policy = (await page.get(path)).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'") and "sandbox" not in policy
    for path in ("/api/health", "/assets/missing.js", "/v1/models"):
        policy = (await page.get(path)).headers["Content-Security-Policy"]
        assert policy == SAFE["Content-Security-Policy"]


async def test_origin_does_not_replace_what_an_answer_varies_by(page: TestClient) -> None:
    response = await page.get(f"/{SCRIPT}", headers={"Origin": "https://other.example"})
    assert response.headers["Vary"] == "Accept-Encoding, Origin"
    response = await page.get("/api/health", headers={"Origin": "https://other.example"})
    assert response.headers["Vary"] == "Origin"


async def test_many_clients_at_once_get_whole_files(page: TestClient) -> None:
    async def get() -> int:
        return len(await (await page.get(f"/{LARGE}")).read())

    assert await asyncio.gather(*(get() for _ in range(40))) == [300_000] * 40


# --- with a server of its own


async def test_new_build_takes_the_place_of_the_old_one(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    """By a symbolic link, and with the same times as before, as in reproducible builds."""
    old, new = (
        write_build(tmp_path / "old"),
        write_build(tmp_path / "new", "other", "assets/index-Zz9Yy8Xx.js"),
    )
    for folder in (old, new):
        for file in folder.rglob("*"):
            os.utime(file, (1, 1))
    current = tmp_path / "current"
    current.symlink_to(old)
    client = await connect(dataclasses.replace(config, frontend=current))
    first = await client.get("/")
    assert "<title>first</title>" in await first.text()
    (tmp_path / "next").symlink_to(new)
    (tmp_path / "next").replace(current)
    second = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status == 200 and "<title>other</title>" in await second.text()
    assert (await client.get(f"/{SCRIPT}")).status == 404
    assert (await client.get("/assets/index-Zz9Yy8Xx.js")).status == 200


async def test_page_that_goes_while_the_server_runs_is_a_404_until_it_is_back(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    folder = write_build(tmp_path / "dist")
    client = await connect(dataclasses.replace(config, frontend=folder))
    shutil.rmtree(folder)
    assert (await client.get("/", headers=NAVIGATION)).status == 404
    assert (await client.get("/api/health")).status == 200
    write_build(folder)
    assert (await client.get("/", headers=NAVIGATION)).status == 200


async def test_file_that_becomes_shorter_ends_the_connection(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    folder = write_build(tmp_path / "dist")
    large = folder / "large.bin"
    large.write_bytes(b"x" * 30_000_000)
    client = await connect(dataclasses.replace(config, frontend=folder))
    response = await client.get("/large.bin")
    os.truncate(large, 1000)
    with pytest.raises(Exception, match="payload"):
        await response.read()


async def test_server_closes_every_file(config: Config, connect: Connect, tmp_path: Path) -> None:
    folder = write_build(tmp_path / "dist")
    (folder / "large.bin").write_bytes(b"x" * 30_000_000)
    client = await connect(dataclasses.replace(config, frontend=folder))
    for headers in ({}, {"If-None-Match": "*"}):
        await (await client.get(f"/{SCRIPT}", headers=headers)).read()
    await client.head(f"/{SCRIPT}")
    leaving = await client.get("/large.bin")
    assert open_below(folder)
    leaving.close()
    async with asyncio.timeout(20):
        while open_below(folder):
            await asyncio.sleep(0.02)


async def test_client_that_reads_nothing_is_dropped(config: Config, connect: Connect, tmp_path: Path) -> None:
    folder = write_build(tmp_path / "dist")
    (folder / "large.bin").write_bytes(b"x" * 30_000_000)
    client = await connect(dataclasses.replace(config, frontend=folder, write_seconds=0.3))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1024)
    writer.write(b"GET /large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await reader.readline()
    async with asyncio.timeout(20):
        while open_below(folder):
            await asyncio.sleep(0.02)
    writer.transport.abort()


async def test_clients_that_read_nothing_take_little_memory(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    folder = write_build(tmp_path / "dist")
    (folder / "large.bin").write_bytes(b"x" * 30_000_000)
    client = await connect(dataclasses.replace(config, frontend=folder))
    with contextlib.ExitStack() as connected:
        tracemalloc.start()
        connected.callback(tracemalloc.stop)
        for _ in range(15):
            connection = connected.enter_context(socket.create_connection(("127.0.0.1", client.port)))
            connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(30):
            while len(open_below(folder)) < 15 or not await is_still():
                await asyncio.sleep(0.02)
        # without what the tests themselves keep of responses
        of_server = [
            tracemalloc.Filter(True, f"{Path(place.__file__).parent}/*") for place in (chathub, asyncio)
        ]
        found = tracemalloc.take_snapshot().filter_traces(of_server).statistics("filename")
    assert sum(each.size for each in found) / 15 < 140_000, "bytes of one client"


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json"])
async def test_clients_that_read_nothing_do_not_keep_a_page_from_others(
    config: Config, connect: Connect, tmp_path: Path, path: str
) -> None:
    folder = write_build(tmp_path / "dist")
    with (folder / "index.html").open("a") as page:
        page.write("<!-- " + "x" * 300_000 + " -->")
    client = await connect(dataclasses.replace(config, frontend=folder))
    app = client.app
    assert app is not None
    # as if many clients read nothing
    app[RESPONSE_MEMORY]._most = 1
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stalled.connect(("127.0.0.1", client.port))
        stalled.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(
            stalled, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        )
        assert await asyncio.get_running_loop().sock_recv(stalled, 12) == b"HTTP/1.1 200"
        async with client.get(path) as response:
            assert response.status == 200 and len(await response.read()) > 200_000


async def is_still() -> bool:
    """Whether the bytes that Python's objects take have hardly changed for a while."""
    found = []
    for _ in range(10):
        found.append(tracemalloc.get_traced_memory()[0])
        await asyncio.sleep(0.05)
    return max(found) - min(found) < 50_000


def open_below(folder: Path) -> list[str]:
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(str(folder))]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("nothing", "does not exist"),
        ("file", "is no folder"),
        ("empty", "has no readable index.html"),
        ("folder named index.html", "has no readable index.html"),
        ("database inside", "chathub.db is in the front end's folder"),
        ("backups inside", "backups is in the front end's folder"),
        ("exports inside", "old is in the front end's folder"),
    ],
)
def test_start_without_a_page_is_refused(config: Config, tmp_path: Path, made: str, said: str) -> None:
    folder = tmp_path / "dist"
    match made:
        case "file":
            folder.write_text("")
        case "empty":
            folder.mkdir()
        case "folder named index.html":
            (folder / "index.html").mkdir(parents=True)
        case "database inside":
            write_build(folder)
            config = dataclasses.replace(config, database=folder / "data" / "chathub.db")
        case "backups inside":
            config = dataclasses.replace(config, backup_dir=write_build(folder) / "backups")
        case "exports inside":
            config = dataclasses.replace(config, export_dir=write_build(folder) / "old")
    with pytest.raises(StartError, match=said):
        create_app(dataclasses.replace(config, frontend=folder))


def test_doctor_looks_at_the_front_end(config: Config, tmp_path: Path) -> None:
    for folder, healthy in ((write_build(tmp_path / "dist"), True), (tmp_path / "missing", False)):
        findings = examine(dataclasses.replace(config, frontend=folder))
        (finding,) = [each for each in findings if each.text.startswith("front end")]
        assert finding.ok is healthy and str(folder) in finding.text


@pytest.mark.parametrize("before", [0, 32_700, 32_750, 32_768, 100_000])
def test_event_handler_is_found_anywhere_in_a_script(tmp_path: Path, before: int) -> None:
    folder = write_build(tmp_path / "dist")
    (folder / SCRIPT).write_text("x" * before + ' onclick="go(this)"')
    index = Folder(folder).read_index()
    # sha256 of "go(this)"
    assert index and "'sha256-1Y09EoQa29AAQrjal+cwzeWdBsOFA9dFk9Z9IqM5UmM='" in index.policy


def test_policy_follows_a_script_that_changes_under_its_name(tmp_path: Path) -> None:
    folder = Folder(write_build(tmp_path / "dist"))
    first = folder.read_index()
    (tmp_path / "dist" / SCRIPT).write_text('"<b onclick=\\"other()\\">"')
    second = folder.read_index()
    assert first and second and first.etag == second.etag and first.policy != second.policy


def test_start_says_which_files_the_api_hides(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_build(tmp_path / "dist")
    (folder / "docs").mkdir()
    create_app(dataclasses.replace(config, frontend=folder))
    assert "docs of the front end cannot be reached" in caplog.text


async def test_page_and_files_are_below_the_base_path(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(
        dataclasses.replace(config, base_path="/hub", frontend=write_build(tmp_path / "dist"))
    )
    for path in ("/hub", "/hub/", "/hub/chat"):
        assert "<title>first</title>" in await (await client.get(path, headers=NAVIGATION)).text()
    assert (await client.get(f"/hub/{SCRIPT}")).status == 200
    assert (await client.get("/hub/api/nothing", headers=NAVIGATION)).status == 404


# --- without a front end


@pytest.mark.shared
async def test_browser_sees_at_the_root_what_runs_there(client: TestClient) -> None:
    response = await client.get("/", headers=NAVIGATION)
    text = await response.text()
    assert response.status == 200 and response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "运行中" in text and "This is a ChatHub server" in text and 'href="/docs"' in text
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "script" not in policy
    assert response.headers["Vary"] == "Accept"
    head = await client.head("/", headers=NAVIGATION)
    assert (head.status, head.headers["Content-Length"]) == (200, response.headers["Content-Length"])


async def test_documentation_is_below_the_base_path(config: Config, connect: Connect) -> None:
    client = await connect(dataclasses.replace(config, base_path="/hub"))
    for path in ("/hub", "/hub/", "/"):
        assert 'href="/hub/docs"' in await (await client.get(path, headers=NAVIGATION)).text()


@pytest.mark.shared
async def test_all_others_get_the_404_at_the_root(client: TestClient) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "text/html;q=0"}):
        response = await client.get("/", headers=headers)
        assert response.status == 404 and (await response.json())["code"] == "not_found"
    assert (await client.post("/", headers=NAVIGATION)).status == 404


@pytest.mark.shared
@pytest.mark.parametrize("path", ["/chat", "/index.html", "/api", "/v1/none", "/%2f", "/?x=1#"])
async def test_unknown_paths_without_a_front_end_are_404(client: TestClient, path: str) -> None:
    response = await client.get(path, headers=NAVIGATION)
    assert response.status == (200 if path.startswith("/?") else 404)


async def raw_get(client: TestClient, target: str) -> tuple[int, bytes]:
    """GET a target that is sent byte for byte; gives status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode(
            errors="surrogateescape"
        )
    )
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]
