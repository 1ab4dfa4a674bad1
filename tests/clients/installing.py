"""Install clients in pinned versions into ``.clients``: ``python tests/clients/installing.py [NAME …]``.

``CHATHUB_CLIENTS`` names another folder. The pins are ``package.json`` (node) and ``requirements*.txt`` (each
a virtual environment of its own). A name is that of a package in ``package.json`` or of a requirements file;
without one everything is installed.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("CHATHUB_CLIENTS") or HERE.parents[1] / ".clients").absolute()
# seconds for the download of everything of one kind
PATIENCE = 900
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pins() -> dict[str, str]:
    """The versions of node's packages."""
    found: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    return found


def environments() -> list[str]:
    """The names of the requirements files."""
    return sorted(each.stem for each in HERE.glob("requirements*.txt"))


def program(runtime: str, name: str) -> Path:
    """Where the program is, or would be."""
    if runtime == "node":
        return FOLDER / "node" / "node_modules" / ".bin" / name
    return FOLDER / runtime / "bin" / name


def version(runtime: str, package: str) -> str:
    """The installed version, or nothing."""
    if runtime == "node":
        found = FOLDER / "node" / "node_modules" / package / "package.json"
        return str(json.loads(found.read_text())["version"]) if found.is_file() else ""
    name = re.sub("[-.]", "_", package)
    places = (FOLDER / runtime).glob(f"lib/python*/site-packages/{name}-*.dist-info")
    return next((place.name.removesuffix(".dist-info").rpartition("-")[2] for place in places), "")


def install(names: list[str]) -> dict[str, str]:
    """Install these, or everything; returns why a runtime could not be installed, by its name."""
    packages = [f"{name}@{wanted}" for name, wanted in pins().items() if name in names or not names]
    failed = {"node": _install_packages(packages) if packages else ""}
    for runtime in environments():
        if runtime in names or not names:
            failed[runtime] = _install_requirements(runtime)
    return {runtime: reason for runtime, reason in failed.items() if reason}


def _install_packages(packages: list[str]) -> str:
    quiet = ["--loglevel=error", "--no-audit", "--no-fund", "--no-package-lock"]
    (FOLDER / "node").mkdir(parents=True, exist_ok=True)
    return _run("npm", "install", *quiet, "--prefix", str(FOLDER / "node"), *packages)


def _install_requirements(runtime: str) -> str:
    if not program(runtime, "pip").exists():
        venv.create(FOLDER / runtime, clear=True, with_pip=True)
    python = str(program(runtime, "python"))
    return _run(python, "-m", "pip", "install", "-q", "-r", str(HERE / f"{runtime}.txt"))


def _run(*command: str) -> str:
    """Run it; returns what failed, in a line. What it started ends with it."""
    print("installing:", *command, flush=True)
    try:
        # a group of its own: pip and npm start programs themselves
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
        )
    except OSError as error:
        return str(error)
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took longer than {PATIENCE} seconds"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == 0:
        return ""
    lines = (errors.strip() or "it failed").splitlines()
    # npm begins with what failed, pip ends with it
    return next((line for line in lines if line.startswith("npm error")), lines[-1])


def caught() -> list[signal.Signals]:
    """The signals that end this program; not those that it was started to ignore."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def end_tidily() -> None:
    """Let such a signal raise ``SystemExit``, so that what was started is ended first."""
    for number in caught():
        signal.signal(number, _end)


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    end_tidily()
    reasons = install(sys.argv[1:])
    for runtime, reason in reasons.items():
        print(f"not installed: {runtime}: {reason}")
    sys.exit(1 if reasons else 0)
