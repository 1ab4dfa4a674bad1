"""The files in ``deploy/`` for installations with and without Docker: they name what exists."""

import os
import re
import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from chathub.config import Config
from chathub.config_reading import variable_names

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
# variables of compose.yaml and of Caddyfile themselves
OF_COMPOSE = {"CHATHUB_LOCAL", "CHATHUB_MEMORY", "CHATHUB_SUBNET"}
OF_CADDY = {"CHATHUB_SITE", "CHATHUB_TLS", "CHATHUB_UPSTREAM"}


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text("utf-8")


def test_every_setting_that_is_named_exists() -> None:
    named = {
        name: set(re.findall(r"\bCHATHUB_\w+", text_of(name)))
        for name in ("Dockerfile", "Caddyfile", "chathub.env", "compose.yaml")
    }
    assert named["Caddyfile"] >= OF_CADDY
    assert named["compose.yaml"] >= OF_COMPOSE | OF_CADDY
    for name, found in named.items():
        assert found - OF_COMPOSE - OF_CADDY <= set(variable_names()), name


def test_image_copies_what_exists_and_what_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", text_of("Dockerfile"), re.M)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split("\n") if line[:1] == "!"}
    files = {name for line in copied for name in line.split()}
    assert files == allowed
    setup = RawConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    packages = re.findall(r"= (\w+)", setup.get("options", "package_dir"))
    assert files > {"chathub", "setup.cfg", *packages} and len(packages) > 1
    assert all((ROOT / name).exists() for name in files)


def test_image_is_stopped_later_than_replies_are_waited_for() -> None:
    (seconds,) = re.findall(r"stop_grace_period: (\d+)s", text_of("compose.yaml"))
    assert int(seconds) >= 2 * Config().drain_seconds


def test_settings_of_compose_cannot_move_the_server_away_from_caddy_and_the_volumes() -> None:
    """``.env`` may have lines from another installation, such as a port."""
    compose, image = text_of("compose.yaml"), text_of("Dockerfile")
    port, host, database = (
        re.findall(rf"^ +CHATHUB_{name}: (\S+)$", compose, re.M) for name in ("PORT", "HOST", "DATABASE")
    )
    assert f"CHATHUB_UPSTREAM: chathub:{port[0]}\n" in compose and host == ["0.0.0.0"]
    assert f"- data:{Path(database[0]).parent}\n" in compose
    for name, (value,) in (("PORT", port), ("HOST", host), ("DATABASE", database)):
        assert f"CHATHUB_{name}={value}" in image


def ten_commands() -> list[str]:
    """The commands that set everything up on a new machine."""
    section = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("## From nothing to HTTPS\n")[2]
    return section.partition("```sh\n")[2].partition("```")[0].splitlines()


def test_new_machine_needs_ten_commands_at_most_and_files_that_exist() -> None:
    commands = ten_commands()
    assert 5 < len(commands) <= 10
    named = set(re.findall(r"deploy/[\w.]+|requirements[\w-]*\.lock", "\n".join(commands)))
    assert {"deploy/chathub.service", "deploy/chathub.env"} < named
    assert all((ROOT / name).is_file() for name in named)


def test_commands_for_a_new_machine_and_the_unit_mean_the_same_places() -> None:
    commands, unit = "\n".join(ten_commands()), text_of("chathub.service")
    (venv,) = re.findall(r"-m venv (\S+)", commands)
    assert f"ExecStart={venv}/bin/chathub\n" in unit
    (settings,) = re.findall(r"deploy/chathub\.env (\S+)", commands)
    assert f"EnvironmentFile=-{settings}\n" in unit
    (user,) = re.findall(r"useradd .* (\w+)$", commands, re.M)
    assert f"User={user}\n" in unit
    # what the settings repeat for the commands
    for setting in re.findall(r"^CHATHUB_(?:ENV|DATABASE)=\S+", text_of("chathub.env"), re.M):
        assert setting in unit


@pytest.mark.skipif(not shutil.which("sed"), reason="there is no sed")
def test_documented_sed_commands_write_the_name_and_the_certificate_into_the_caddyfile() -> None:
    document = (ROOT / "docs" / "operating.md").read_text("utf-8")
    (home,) = [line.partition(" deploy/")[0] for line in ten_commands() if line.startswith("sed")]
    (public,) = re.findall(r"`(sed -e [^`]*)`", document)
    for command, site, certificate in (
        (home, "chat.lan", "internal"),
        (public, "chat.example.com", "you@example.com"),
    ):
        run = [*shlex.split(command), str(DEPLOY / "Caddyfile")]
        written = subprocess.run(run, capture_output=True, text=True, check=True).stdout
        assert f"{{$CHATHUB_SITE:{site}}} {{\n" in written
        assert f"tls {{$CHATHUB_TLS:{certificate}}}\n" in written


@pytest.mark.parametrize("document", ["operating.md", "operating.zh-CN.md"])
def test_documented_commands_read_the_settings_without_showing_them(document: str, tmp_path: Path) -> None:
    """What stands in a command line is in the process list, which every user of the machine may read."""
    text = (ROOT / "docs" / document).read_text("utf-8")
    found = re.findall(r"^runuser -u chathub -- (.*)$", text, re.M)
    assert len(found) == 2
    settings, program = tmp_path / "chathub.env", tmp_path / "chathub"
    password = "p w$1;&"
    settings.write_text(text_of("chathub.env") + f"CHATHUB_SMTP_URL={shlex.quote(password)}\n")
    told = 'echo "$1 $CHATHUB_ENV $CHATHUB_SMTP_URL"; cat /proc/$$/cmdline /proc/$PPID/cmdline'
    program.write_text(f"#!/bin/sh\n{told} | tr '\\0' ' '\n")
    program.chmod(0o755)
    for command in found:
        command = command.replace("/etc/chathub/chathub.env", str(settings))
        arguments = shlex.split(command.replace("/opt/chathub/.venv/bin/chathub", str(program)))
        run = subprocess.run(arguments, capture_output=True, text=True, check=True, env={"PATH": os.defpath})
        assert run.stdout.startswith(f"{arguments[-1].split()[-1]} production {password}\n")
        assert password not in run.stdout.partition("\n")[2] and "production" not in " ".join(arguments)
