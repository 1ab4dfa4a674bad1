"""The unit files for systemd: they are valid, sandboxed, and name what the server knows."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from chathub import config_reading

DEPLOY = Path(__file__).parent.parent / "deploy"
SERVICE, SOCKET = DEPLOY / "chathub.service", DEPLOY / "chathub.socket"
# of 10, as systemd-analyze counts it: what is left is the network and the Unix sockets
_MOST_EXPOSED = 1.2

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    service = SERVICE.read_text().replace("/opt/chathub/.venv/bin/chathub", "/bin/true")
    (tmp_path / SERVICE.name).write_text(service)
    shutil.copy(SOCKET, tmp_path)
    assert analyze("verify", str(tmp_path / SERVICE.name), str(tmp_path / SOCKET.name)).strip() == ""


def test_service_is_exposed_to_little() -> None:
    found = re.search(
        r"exposure level for chathub.service: ([\d.]+)", analyze("security", "--offline=true", str(SERVICE))
    )
    assert found and float(found[1]) <= _MOST_EXPOSED


def test_settings_of_the_unit_are_ones_that_the_server_reads() -> None:
    set_there = set(re.findall(r"\bCHATHUB_\w+(?==)", SERVICE.read_text()))
    assert {"CHATHUB_ENV", "CHATHUB_DATABASE"} <= set_there <= set(config_reading.variable_names())
