"""The lock files: one version with hashes for everything that an installation without the tests may need."""

import re
from configparser import RawConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SMALL = {"fast", "metrics", "socks"}
# the file → the extras that are in it
LOCKS = {"requirements.lock": SMALL, "requirements-local.lock": SMALL | {"local"}}


def wanted(extras: set[str]) -> list[Requirement]:
    """What setup.cfg asks for, with some extras."""
    setup = RawConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    texts = [setup.get("options", "install_requires")]
    texts += [setup.get("options.extras_require", extra) for extra in sorted(extras)]
    return [Requirement(line) for text in texts for line in text.split("\n") if line.strip()]


def locked(name: str) -> dict[str, str]:
    """The packages of a lock file, with their versions; each has hashes, and nothing else is in the file."""
    entry = r"([\w.-]+)==([\w.]+)(?: ; [^\\\n]+)?(?: \\\n +--hash=sha256:[0-9a-f]{64})+\n"
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text("utf-8"), flags=re.M)
    assert re.sub(entry, "", text) == ""
    return {canonicalize_name(package): version for package, version in re.findall(entry, text)}


@pytest.mark.parametrize("name", LOCKS)
def test_lock_has_every_dependency_in_a_version_that_setup_cfg_allows(name: str) -> None:
    versions = locked(name)
    for requirement in wanted(LOCKS[name]):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None and requirement.specifier.contains(version), f"{requirement}: make lock"


def test_lock_with_the_built_in_model_has_the_same_versions() -> None:
    small, large = (locked(name) for name in LOCKS)
    assert {package: large.get(package) for package in small} == small


def test_every_extra_for_users_is_in_a_lock() -> None:
    setup = RawConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    assert set(setup.options("options.extras_require")) - {"contract", "test"} == set().union(*LOCKS.values())
