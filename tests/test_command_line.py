"""The command line as a reader of ``--help`` and ``--version`` meets it."""

import re
from configparser import RawConfigParser
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from chathub import version as version_module
from chathub.__main__ import main
from chathub.config_reading import variable_names

ROOT = Path(__file__).resolve().parent.parent
SERVER_FLAGS = {"--host", "--port", "--cors-origin", "--local-model"}
COMMANDS = {"set-password", "rotate-secret", "compact", "doctor", "backup", "restore", "reconcile"}
COMMANDS |= {"undo-upgrade", "users", "invite", "token"}


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_version_of_a_checkout_is_that_of_setup_cfg(capsys: pytest.CaptureFixture[str]) -> None:
    setup = RawConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"chathub {setup.get('metadata', 'version')}\n"


def test_version_is_unknown_where_there_is_neither_a_checkout_nor_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setup.cfg of another project that lies beside the package is not taken for ours."""

    def not_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    (tmp_path / "setup.cfg").write_text("[metadata]\nname = other\nversion = 9\n")
    monkeypatch.setattr(version_module, "__file__", str(tmp_path / "chathub" / "version.py"))
    monkeypatch.setattr(version_module, "installed_version", not_installed)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("chathub of an unknown version")


def test_help_names_every_variable_and_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    assert set(variable_names()) <= set(re.findall(r"CHATHUB_\w+", text))
    for name in ("configuration.md", "operating.md", "deploying.md"):
        assert name in text and (ROOT / "docs" / name).is_file()
    assert COMMANDS | {"serve"} <= set(re.findall(r"[a-z-]+", text))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_a_command_lists_only_flags_that_do_something_there(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = set(re.findall(r"--[a-z-]+", help_of(capsys, command)))
    assert {"--env", "--database"} <= flags and not flags & SERVER_FLAGS


def test_help_of_serve_lists_the_flags_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(re.findall(r"--[a-z-]+", help_of(capsys, "serve"))) >= SERVER_FLAGS | {"--database"}


def test_flag_of_the_server_is_refused_behind_another_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--local-model", "smollm2"])
    assert ended.value.code == 2 and "--local-model" in capsys.readouterr().err
