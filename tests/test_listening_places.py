"""Where the server listens: Unix sockets, several hosts, sockets of systemd; and what it tells systemd."""

import asyncio
import os
import re
import signal
import socket
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import pytest
from processes import ChatHub, run_to_its_end

from chathub.errors import StartError
from chathub.server.notify import Notifier
from chathub.server.sockets import ListeningSockets

_PATIENCE = 30
_HEALTH = "/api/health"


def _has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


async def status_at(url: str, path: Path | None = None) -> int:
    connector = aiohttp.UnixConnector(str(path)) if path else None
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url + _HEALTH) as response:
        return response.status


def places_of(hub: ChatHub) -> list[str]:
    return re.findall(r"^ChatHub listens on (\S+) \(", hub.output, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket, also under a deep temporary folder."""
    link = Path("/tmp") / f"hub-{os.getpid()}-{tmp_path.stat().st_ino}"
    link.symlink_to(tmp_path)
    yield link
    link.unlink()


async def test_unix_socket_serves_its_group_and_goes_with_the_server(folder: Path) -> None:
    path = folder / "hub.sock"
    async with ChatHub(folder / "chathub.db", "--host", f"unix:{path}") as hub:
        assert places_of(hub) == [f"unix:{path}"]
        assert await status_at("http://anything", path) == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        hub.signal(signal.SIGTERM)
        assert await hub.ended() == 0
    assert not path.exists()


async def test_socket_of_a_killed_server_is_replaced_and_that_of_a_running_one_is_not(folder: Path) -> None:
    path = folder / "hub.sock"
    async with ChatHub(folder / "chathub.db", "--host", f"unix:{path}") as hub:
        hub.kill()
    assert path.exists()
    async with ChatHub(folder / "chathub.db", "--host", f"unix:{path}"):
        other = folder / "other"
        other.mkdir()
        code, _, errors = await run_to_its_end(other / "other.db", "--host", f"unix:{path}")
        assert code == 2 and f"cannot listen on unix:{path}: Address already in use" in errors
        assert await status_at("http://anything", path) == 200


async def test_doctor_says_what_is_at_the_path_of_the_socket(folder: Path) -> None:
    database, path = folder / "chathub.db", folder / "hub.sock"
    flags = ("--host", f"unix:{path}", "--host", "::1")
    settings = {"CHATHUB_BASE_PATH": "/hub"}
    async with ChatHub(database, "--host", f"unix:{path}") as hub:
        _, output, _ = await run_to_its_end(database, *flags, "doctor", **settings)
        assert f"ok      configuration: development, unix:{path}, [::1]:0, base path /hub;" in output
        assert f"ok      socket: a server listens at {path}\n" in output
        hub.kill()
    _, output, _ = await run_to_its_end(database, *flags, "doctor")
    assert f"ok      socket: nothing listens at {path}, the next start replaces it\n" in output
    path.unlink()
    path.touch()
    code, output, _ = await run_to_its_end(database, *flags, "doctor")
    assert code == 1 and f"problem socket: the file {path} is no socket" in output


async def test_file_that_is_no_socket_is_kept_and_refused(folder: Path) -> None:
    path = folder / "notes.txt"
    path.write_text("mine")
    code, _, errors = await run_to_its_end(folder / "chathub.db", "--host", f"unix:{path}")
    assert code == 2 and errors == f"chathub: cannot listen on unix:{path}: the file there is no socket\n"
    assert path.read_text() == "mine"
    code, _, errors = await run_to_its_end(folder / "chathub.db", "--host", f"unix:{path}/s")
    assert code == 2 and "Not a directory" in errors
    code, _, errors = await run_to_its_end(folder / "chathub.db", "--host", f"unix:{folder}/a/s")
    assert code == 2 and f"the folder {folder}/a does not exist" in errors


async def test_a_client_of_the_unix_socket_has_the_forwarded_address_only_where_that_is_configured(
    folder: Path,
) -> None:
    path = folder / "hub.sock"
    for number, (trusted, seen) in enumerate((("", "unix"), ("unix", "203.0.113.7"))):
        database = folder / f"{number}.db"
        async with (
            ChatHub(database, "--host", f"unix:{path}", CHATHUB_TRUSTED_PROXIES=trusted),
            aiohttp.ClientSession("http://hub", connector=aiohttp.UnixConnector(str(path))) as client,
        ):
            login = {"username": "admin", "password": "admin123"}
            headers = {"X-Forwarded-For": "203.0.113.7"}
            async with client.post("/api/auth/login", json=login, headers=headers) as response:
                token = (await response.json())["token"]
            headers = {"Authorization": f"Bearer {token}"}
            async with client.get("/api/auth/sessions", headers=headers) as response:
                assert [session["address"] for session in await response.json()] == [seen]


async def test_name_of_a_clients_own_unix_socket_is_no_address(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may bind its socket to a file of any name."""
    path = folder / "hub.sock"
    monkeypatch.chdir(folder)
    database, trusted = folder / "chathub.db", "127.0.0.0/8"
    async with ChatHub(database, "--host", f"unix:{path}", CHATHUB_TRUSTED_PROXIES=trusted):
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
            client.bind("127.0.0.1")
            client.connect(str(path))
            body = b'{"username": "admin", "password": "admin123"}'
            client.sendall(
                b"POST /api/auth/login HTTP/1.1\r\nHost: hub\r\nX-Forwarded-For: 203.0.113.7\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            client.settimeout(_PATIENCE)
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        with closing(sqlite3.connect(database)) as stored:
            assert stored.execute("SELECT address FROM sessions").fetchall() == [("unix",)]


@ipv6
async def test_each_host_has_its_line_and_addresses_of_ipv6_have_brackets(folder: Path) -> None:
    flags = ("--host", "127.0.0.1", "--host", "[::1]", "--host", f"unix:{folder / 'hub.sock'}")
    async with ChatHub(folder / "chathub.db", *flags) as hub:
        ipv4, bracketed, unix = places_of(hub)
        # on one port, which the system chose
        assert [ipv4, bracketed] == [f"http://127.0.0.1:{hub.port}", f"http://[::1]:{hub.port}"]
        assert await status_at(ipv4) == await status_at(bracketed) == 200
        assert await status_at("http://hub", Path(unix.removeprefix("unix:"))) == 200


@ipv6
async def test_both_families_are_served_at_the_wildcard_of_ipv6(folder: Path) -> None:
    settings = {"CHATHUB_ENV": "production", "CHATHUB_ADMIN_PASSWORD": "a password of the test"}
    async with ChatHub(folder / "chathub.db", "--host", "::", **settings) as hub:
        assert [await status_at(f"http://{host}:{hub.port}") for host in ("127.0.0.1", "[::1]")] == [200, 200]


@ipv6
@pytest.mark.parametrize("order", [("::", "127.0.0.1"), ("127.0.0.1", "::")])
async def test_an_address_of_ipv4_beside_the_wildcard_of_ipv6_is_the_only_one_of_ipv4(
    folder: Path, order: tuple[str, str]
) -> None:
    sockets = await ListeningSockets.open(order, 0)
    port = {each.port for each in sockets.sockets}.pop()
    assert {(each.host, each.port) for each in sockets.sockets} == {("::", port), ("127.0.0.1", port)}
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), 5)
    sockets.close()


async def test_a_name_and_its_address_are_one_socket(folder: Path) -> None:
    sockets = await ListeningSockets.open(["127.0.0.1", "localhost", "127.0.0.1"], 0)
    assert [each.host for each in sockets.sockets].count("127.0.0.1") == 1
    assert [name.rpartition(":")[0] for name in sockets.names] == ["http://127.0.0.1", "http://localhost"]
    sockets.close()


async def test_an_address_that_this_machine_lacks_is_refused_in_words() -> None:
    for host, words in (("192.0.2.1", "no such address$"), ("2001:db8::1", "or IPv6 is switched off$")):
        with pytest.raises(StartError, match=words):
            await ListeningSockets.open(["127.0.0.1", host], 0)


async def test_an_address_in_use_is_refused_with_its_name(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        code, _, errors = await run_to_its_end(folder / "chathub.db", "--port", port)
    assert (code, errors.strip()) == (
        2,
        f"chathub: cannot listen on 127.0.0.1:{port}: Address already in use",
    )


class Activated(ChatHub):
    """ChatHub with a listening socket as descriptor 3, as systemd starts it."""

    def __init__(self, database: Path, listening: socket.socket, **environment: str) -> None:
        super().__init__(database, **environment)
        self.program = database.parent / "activated.py"
        self.program.write_text(
            "import os, sys\n"
            f"os.dup2(int({listening.fileno()}), 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='http')\n"
            f"os.execv(sys.executable, [sys.executable, {str(ChatHub.program)!r}, *sys.argv[1:]])\n"
        )
        self._inherited = listening

    def launch(self) -> None:
        self._inherited.set_inheritable(True)
        self.keeps_open = (self._inherited.fileno(),)
        super().launch()


async def test_socket_that_systemd_hands_over_is_used_and_no_other(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.9", 0))) as handed:
        async with Activated(folder / "chathub.db", handed, CHATHUB_HOST="127.0.0.8") as hub:
            port = handed.getsockname()[1]
            assert places_of(hub) == [f"http://127.0.0.9:{port}"]
            # development mode knows the name of its socket
            assert await status_at(f"http://127.0.0.9:{port}") == 200


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_handed_over_socket_on_which_no_client_can_connect_is_refused(folder: Path, kind: int) -> None:
    with closing(socket.socket(socket.AF_INET, kind)) as handed:
        handed.bind(("127.0.0.1", 0))
        hub = Activated(folder / "chathub.db", handed)
        hub.launch()
        try:
            assert await hub.ended() == 2
        finally:
            hub.reap()
    assert hub.errors == "chathub: LISTEN_FDS: descriptor 3 is no listening stream socket\n"


@pytest.mark.parametrize("process", ["1", "", "x"])
def test_sockets_for_another_process_are_not_taken_and_no_child_sees_the_variables(process: str) -> None:
    environ = dict.fromkeys(("LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID", "WATCHDOG_USEC"), "1")
    environ |= {"LISTEN_FDS": "1", "LISTEN_PID": process, "NOTIFY_SOCKET": "/absent", "PATH": "/bin"}
    assert ListeningSockets.inherited(environ) is None
    Notifier(environ)
    assert environ == {"PATH": "/bin"}


async def test_development_mode_refuses_a_handed_over_socket_that_others_reach(folder: Path) -> None:
    with closing(socket.create_server(("0.0.0.0", 0))) as handed:
        hub = Activated(folder / "chathub.db", handed)
        hub.launch()
        try:
            assert await hub.ended() == 2
        finally:
            hub.reap()
        assert "is not a loopback address" in hub.errors and "Traceback" not in hub.errors


async def test_socket_file_of_systemd_stays_after_the_server(folder: Path) -> None:
    path = folder / "systemd.sock"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as handed:
        handed.bind(str(path))
        handed.listen()
        async with Activated(folder / "chathub.db", handed) as hub:
            assert await status_at("http://hub", path) == 200
            hub.signal(signal.SIGTERM)
            assert await hub.ended() == 0
    assert path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
@pytest.mark.parametrize("kind", ["file", "abstract"])
async def test_systemd_is_told_ready_then_alive_then_stopping(folder: Path, kind: str) -> None:
    name = str(folder / "notify") if kind == "file" else f"@{folder.name}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.setblocking(False)
        settings = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
        async with ChatHub(folder / "chathub.db", **settings) as hub, asyncio.timeout(_PATIENCE):
            loop = asyncio.get_running_loop()
            ready = await loop.sock_recv(manager, 4096)
            assert ready.decode() == f"READY=1\nSTATUS=listening on {hub.base_url}"
            assert [await loop.sock_recv(manager, 4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            hub.signal(signal.SIGTERM)
            while (message := await loop.sock_recv(manager, 4096)) == b"WATCHDOG=1":
                pass
            assert b"STOPPING=1" in message.split(b"\n")
            # the 8 seconds for running replies, and some more
            assert message.endswith(b"\nEXTEND_TIMEOUT_USEC=38000000")
            assert await hub.ended() == 0


async def test_a_hanging_server_sends_no_sign_of_life(folder: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(_PATIENCE)
        settings = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "200000"}
        async with ChatHub(folder / "chathub.db", **settings) as hub:
            hub.signal(signal.SIGSTOP)
            manager.settimeout(0.5)
            with pytest.raises(TimeoutError):
                # what had been sent before the stop, and then nothing
                for _ in range(100):
                    manager.recv(4096)
            hub.signal(signal.SIGCONT)
            manager.settimeout(_PATIENCE)
            assert manager.recv(4096) == b"WATCHDOG=1"


async def test_systemd_is_told_ready_as_soon_as_it_has_room(folder: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(folder / "notify"))
        manager.setblocking(False)
        loop = asyncio.get_running_loop()
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as other:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"STATUS=of another service", str(folder / "notify"))
        async with (
            ChatHub(folder / "chathub.db", NOTIFY_SOCKET=str(folder / "notify")) as hub,
            asyncio.timeout(_PATIENCE),
        ):
            while "systemd was not told READY=1" not in hub.errors:
                await asyncio.sleep(0.02)
            while (message := await loop.sock_recv(manager, 4096)) == b"STATUS=of another service":
                pass
            assert message.startswith(b"READY=1\n")


async def test_server_runs_although_nobody_listens_to_what_it_tells(folder: Path) -> None:
    async with ChatHub(folder / "chathub.db", NOTIFY_SOCKET=str(folder / "absent")) as hub:
        assert await status_at(hub.base_url) == 200
        assert "systemd was not told READY=1: [Errno 2] No such file or directory" in hub.errors
