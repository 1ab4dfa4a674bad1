"""The documents about the code name files, classes, functions and settings that exist."""

import ast
import asyncio
import builtins
import re
import socket
import sqlite3
from functools import cache
from pathlib import Path

import aiohttp
import aiosqlite
import msgspec
import pytest
from aiohttp import web

from chathub.config_reading import variable_names
from chathub.database.migrations import migrate
from chathub.database.queries import sql_folder
from chathub.replies.state import TRANSITIONS
from tests.test_structure import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
CHATHUB = ROOT / "chathub"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
DOCUMENTS = [ARCHITECTURE, GLOSSARY, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
# what these define may be mentioned too
LIBRARIES = (aiohttp, aiosqlite, asyncio, builtins, msgspec, socket, sqlite3, web)

_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|sql|md|cfg|toml|yml))")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?")
_CODE = r"`[^`\n]+`"
# «`Turn`, `NewTurn` in `chat/turn.py`»
_PLACED = re.compile(rf"({_CODE}(?:(?:, |,\n| and ){_CODE})*)\s+in\s+`([\w./]+\.(?:py|sql))`")


class Names:
    """What the package defines: names alone, and with the file, module or class that they are in."""

    def __init__(self) -> None:
        self.alone: set[str] = set()
        self.within: set[tuple[str, str]] = set()
        for path in CHATHUB.rglob("*.py"):
            file = path.relative_to(CHATHUB).as_posix()
            self._take([file, path.stem], ast.parse(path.read_text("utf-8")).body)

    def _take(self, owners: list[str], body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                self._add(owners, node.name)
            if isinstance(node, ast.ClassDef):
                # a method counts as its file's as well
                self._take([owners[0], node.name], node.body)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        self._add(owners, target.id)

    def _add(self, owners: list[str], name: str) -> None:
        self.alone.add(name)
        self.within |= {(owner, name) for owner in owners}

    def has(self, name: str) -> bool:
        *owner, last = name.removesuffix("()").split(".")
        if name.startswith("CHATHUB_"):
            return name in variable_names()
        if owner:
            return (owner[-1], last) in self.within or any(hasattr(it, owner[-1]) for it in LIBRARIES)
        return last in self.alone or any(hasattr(it, last) for it in LIBRARIES)

    def has_in(self, file: str, name: str) -> bool:
        return (file, name.removesuffix("()").split(".")[-1]) in self.within


@cache
def names() -> Names:
    return Names()


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)


def code_in(document: Path) -> list[str]:
    """What stands in a document as code, and the calls in its diagrams."""
    blocks = re.findall(r"^```mermaid\n(.*?)^```$", document.read_text("utf-8"), re.M | re.S)
    return re.findall(r"`([^`\n]+)`", prose(document)) + re.findall(r"[\w.]+\(\)", "".join(blocks))


def is_a_name(code: str) -> bool:
    """Whether it names a class, a function or a setting. Small letters alone may be a column or a value."""
    if not _NAME.fullmatch(code):
        return False
    first, last = code.split(".")[0], code.split(".")[-1]
    is_constant = bool(re.fullmatch(r"[A-Z]+(_[A-Z]+)+", last))
    return code.endswith("()") or bool(re.match(r"[A-Z][A-Za-z]*[a-z]", first)) or is_constant


def exists(name: str) -> bool:
    return any((folder / name).exists() for folder in (ROOT, CHATHUB))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_exists(document: Path) -> None:
    for code in code_in(document):
        if _PATH.fullmatch(code):
            assert exists(code)
        elif is_a_name(code):
            assert names().has(code), code


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_it_in_the_file_where_it_is(document: Path) -> None:
    for found, file in _PLACED.findall(prose(document)):
        for name in re.findall(r"`([^`]+)`", found):
            if file.endswith(".sql"):
                assert f"-- name: {name}\n" in (ROOT / file).read_text("utf-8"), f"{name} in {file}"
            elif is_a_name(name):
                assert names().has_in(file, name), f"{name} in {file}"


@pytest.mark.parametrize("document", [ARCHITECTURE, GLOSSARY], ids=lambda path: path.name)
def test_names_are_found_in_the_documents(document: Path) -> None:
    """The tests above must be able to fail."""
    assert len(list(filter(is_a_name, code_in(document)))) > 50
    assert len(_PLACED.findall(prose(document))) > 10


def test_architecture_lists_the_packages_as_imports_go() -> None:
    table = ARCHITECTURE.read_text("utf-8").partition("| package |")[2].partition("\n\n")[0]
    rows = re.findall(rf"^\| ({_CODE}(?:, {_CODE})*) \|", table, re.M)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == PACKAGES


def test_architecture_draws_the_states_of_a_reply() -> None:
    drawing = ARCHITECTURE.read_text("utf-8").partition("stateDiagram-v2")[2].partition("```")[0]
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)", drawing, re.M))
    assert drawn == {
        (state.value, new.value) for state, following in TRANSITIONS.items() for new in following
    }


def test_architecture_names_every_trigger() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, sql_folder() / "migrations")
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    connection.close()
    named = re.findall(
        r"`((?:ledger|audit)_(?:is|counts|only)_\w+|\w+_storage|\w+_needs_a_user)`", prose(ARCHITECTURE)
    )
    assert {name for (name,) in triggers} == set(named)


def test_the_api_document_uses_the_chinese_terms_of_the_glossary() -> None:
    api = (ROOT / "docs" / "api.zh-CN.md").read_text("utf-8")
    cells = re.findall(r"^\| [^|]+ \| ([^|]+) \|", GLOSSARY.read_text("utf-8"), re.M)
    terms = [term for cell in cells for term in cell.split(", ") if not term.isascii() and term != "—"]
    assert len(terms) > 30
    assert [term for term in terms if term not in api] == []
