"""An unusable database: one sentence that names the file, an exit code, and nothing changed."""

import ctypes
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import PreparedDatabase

ROOT = Path(__file__).parent.parent
# reads command lines, one per line; prints exit codes and outputs
RUN = """
import contextlib, io, json, sys, traceback
from chathub.__main__ import main
for line in sys.stdin:
    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            code = main(json.loads(line))
        except BaseException:
            code = None
            traceback.print_exc()
    print(json.dumps([code, said.getvalue(), errors.getvalue()]))
"""
COMMANDS = {
    "serve": ["--port", "0"],
    "doctor": ["doctor"],
    "set-password": ["set-password", "admin"],
    "rotate-secret": ["rotate-secret"],
}
# a user id that is not ours
STRANGER = 54321
Settlement = tuple[int | None, str, str]


def without_privileges() -> None:
    """Take root's privileges away, so that access is refused as for any user."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def run(command_lines: list[list[str]]) -> list[Settlement]:
    """Run the commands in one process, one after the other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATHUB_")}
    process = subprocess.run(
        [sys.executable, "-c", RUN],
        input="".join(json.dumps(line) + "\n" for line in command_lines),
        capture_output=True,
        text=True,
        timeout=60,
        env=kept | {"PYTHONPATH": str(ROOT)},
        preexec_fn=without_privileges if os.geteuid() == 0 else None,
    )
    assert process.returncode == 0, process.stderr
    return [tuple(json.loads(line)) for line in process.stdout.splitlines()]


# --- what may be in the place of a database; each function creates it and returns its path


def holding(data: bytes) -> Callable[[Path, Path], Path]:
    def make(folder: Path, whole: Path) -> Path:
        (folder / "x.db").write_bytes(data)
        return folder / "x.db"

    return make


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], Path]:
    def make(folder: Path, whole: Path) -> Path:
        (folder / "x.db").write_bytes(change(whole.read_bytes()))
        return folder / "x.db"

    return make


def of_mode(mode: int) -> Callable[[Path, Path], Path]:
    def make(folder: Path, whole: Path) -> Path:
        shutil.copyfile(whole, folder / "x.db")
        (folder / "x.db").chmod(mode)
        return folder / "x.db"

    return make


def made_by(*statements: str) -> Callable[[Path, Path], Path]:
    def make(folder: Path, whole: Path) -> Path:
        with closing(sqlite3.connect(folder / "x.db")) as connection:
            for statement in statements:
                connection.execute(statement)
        return folder / "x.db"

    return make


def a_folder(folder: Path, whole: Path) -> Path:
    (folder / "x.db").mkdir()
    return folder / "x.db"


def a_fifo(folder: Path, whole: Path) -> Path:
    os.mkfifo(folder / "x.db")
    return folder / "x.db"


def a_device(folder: Path, whole: Path) -> Path:
    (folder / "x.db").symlink_to("/dev/zero")
    return folder / "x.db"


def a_loop(folder: Path, whole: Path) -> Path:
    (folder / "x.db").symlink_to(folder / "x.db")
    return folder / "x.db"


def in_a_folder_that_is_a_file(folder: Path, whole: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "x.db"


def in_a_folder_that_cannot_be_written(folder: Path, whole: Path) -> Path:
    (folder / "inner").mkdir()
    shutil.copyfile(whole, folder / "inner" / "x.db")
    (folder / "inner").chmod(0o500)
    return folder / "inner" / "x.db"


def in_a_folder_that_cannot_be_entered(folder: Path, whole: Path) -> Path:
    (folder / "inner").mkdir()
    shutil.copyfile(whole, folder / "inner" / "x.db")
    (folder / "inner").chmod(0)
    return folder / "inner" / "x.db"


def a_strangers(folder: Path, whole: Path) -> Path:
    path = of_mode(0o600)(folder, whole)
    os.chown(path, STRANGER, STRANGER)
    return path


def a_log_alone(folder: Path, whole: Path) -> Path:
    (folder / "x.db-wal").write_bytes(b"what was not in the file yet")
    return folder / "x.db"


def of_another_application(folder: Path, whole: Path) -> Path:
    shutil.copyfile(whole, folder / "x.db")
    with closing(sqlite3.connect(folder / "x.db")) as connection:
        connection.execute("PRAGMA application_id = 1196444487")
    return folder / "x.db"


KINDS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "garbage": (holding(b"no database at all" * 1000), "no SQLite database"),
    "a few bytes": (holding(b"hello"), "no SQLite database"),
    "one byte": (holding(b"\n"), "empty file"),
    "encrypted": (changed(lambda data: bytes(byte ^ 0x5A for byte in data)), "encrypted"),
    "half a file": (changed(lambda data: data[: len(data) // 2]), "restore a backup"),
    "a page less": (changed(lambda data: data[:-4096]), "restore a backup"),
    "an empty file": (holding(b""), "empty file"),
    "a damaged magic": (changed(lambda data: b"SQLite format 4\0" + data[16:]), "restore a backup"),
    "a damaged page size": (changed(lambda data: data[:16] + b"\0\3" + data[18:]), "restore a backup"),
    "a damaged schema": (changed(lambda data: data[:100] + b"\xff" * 500 + data[600:]), "restore a backup"),
    "a folder": (a_folder, "is a folder"),
    "a fifo": (a_fifo, "pipe, socket or device"),
    "a device": (a_device, "pipe, socket or device"),
    "a loop": (a_loop, "cannot be used"),
    "not readable": (of_mode(0o200), "cannot be read: chmod u+rw"),
    "not writable": (of_mode(0o400), "cannot be written: chmod u+rw"),
    "another user's": (a_strangers, f"belongs to the user {STRANGER}"),
    "a read-only folder": (in_a_folder_that_cannot_be_written, "cannot be written: chmod u+rwx"),
    "a closed folder": (in_a_folder_that_cannot_be_entered, "Permission denied"),
    "a parent that is a file": (in_a_folder_that_is_a_file, "folder of the database"),
    "another program's": (made_by("CREATE TABLE notes (a)"), "another program's"),
    "another program's with a version": (
        made_by("CREATE TABLE users (a)", "PRAGMA user_version = 5"),
        "another program's",
    ),
    "another application's": (of_another_application, "another program's"),
    "a log without its database": (a_log_alone, "x.db-wal"),
}
NEEDS_ROOT = ("another user's",)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file of a folder except ChatHub's lock files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, prepared_database: PreparedDatabase
) -> dict[str, tuple[Path, dict[str, Settlement], bool]]:
    """For each kind its path, the output of each command, and whether everything is unchanged."""
    places: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("unusable")
    for number, (kind, (make, _)) in enumerate(KINDS.items()):
        if kind not in NEEDS_ROOT or os.geteuid() == 0:
            folder = root / str(number)
            folder.mkdir()
            places[kind] = make(folder, prepared_database.database)
    before = content(root)
    lines = [["--database", str(path), *rest] for path in places.values() for rest in COMMANDS.values()]
    found = iter(run(lines))
    by_kind = {kind: {command: next(found) for command in COMMANDS} for kind in places}
    after = content(root)
    for path in root.glob("*/inner"):
        path.chmod(0o700)
    unchanged = {
        kind: all(
            before.get(name) == after.get(name)
            for name in before.keys() | after.keys()
            if name.split("/")[0] == str(number)
        )
        for number, kind in enumerate(KINDS)
    }
    return {kind: (path, by_kind[kind], unchanged[kind]) for kind, path in places.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_unusable_database_is_refused_with_a_sentence_and_left_unchanged(
    outcomes: dict[str, tuple[Path, dict[str, Settlement], bool]], kind: str
) -> None:
    if kind not in outcomes:
        pytest.skip("only root can give a file to somebody else")
    path, by_command, unchanged = outcomes[kind]
    for command, (code, output, errors) in by_command.items():
        assert code == (1 if command == "doctor" else 2), (command, errors)
        assert "Traceback" not in output + errors
        if command == "doctor":
            (said,) = [line for line in output.splitlines() if line.startswith("problem database")]
            assert errors == ""
        else:
            (said,) = errors.splitlines()
            assert said.startswith("chathub: ") and output == ""
        assert str(path) in said, (command, said)
        if kind != "a log without its database" or command == "serve":
            assert KINDS[kind][1] in said, (command, said)
    assert unchanged


def test_commands_without_a_database_name_the_missing_file_and_create_none(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.db"
    commands = [command for command in COMMANDS if command != "serve"]
    for command, (code, output, errors) in zip(
        commands, run([["--database", str(path), *COMMANDS[command]] for command in commands]), strict=True
    ):
        assert code == (1 if command == "doctor" else 2)
        assert f"there is no database {path}" in output + errors and "--database" in output + errors
    assert list(tmp_path.iterdir()) == []


def test_relative_path_is_shown_as_an_absolute_one(tmp_path: Path) -> None:
    relative = os.path.relpath(tmp_path / "x.db")
    ((_, _, errors),) = run([["--database", relative, "set-password", "admin"]])
    assert str(Path(relative).absolute()) in errors
