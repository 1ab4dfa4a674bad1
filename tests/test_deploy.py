"""The files in ``deploy/`` for installations with and without Docker: they name what exists."""

import re
from configparser import RawConfigParser
from pathlib import Path

from chathub.config import Config, variable_names

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
