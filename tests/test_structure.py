"""Architecture: imports go one way, SQL is in sql/ only, and every statement is used."""

import ast
import re
import sqlite3
from collections.abc import Collection
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from chathub.database.migrations import migrate
from chathub.database.queries import Queries, sql_folder
from chathub.database.statements import Select

ROOT = Path(__file__).resolve().parent.parent
CHATHUB = ROOT / "chathub"

# which package may import which: only those further down the list, and itself
PACKAGES = [
    ["__main__"],
    ["commands"],
    ["app"],
    ["lifetime"],
    ["openapi"],
    ["routes", "server"],
    ["middlewares", "cors"],
    ["handlers"],
    ["app_keys"],
    ["archive", "retention"],
    ["stored_responses"],
    ["gateway"],
    ["replies"],
    ["chat"],
    ["metrics"],
    ["running"],
    ["billing", "reconcile"],
    ["providers"],
    ["accounts", "backup_schedule"],
    ["mail"],
    ["upstream"],
    ["formats"],
    ["schemas"],
    ["security"],
    ["database"],
    ["log", "limits"],
    ["redaction"],
    ["config_reading"],
    ["config", "disk", "documents"],
    ["config_values", "proxy_settings"],
    ["frontend"],
    ["errors", "clock", "hosts", "listen_hosts", "offload", "proxy_url", "text", "version"],
    ["sentences"],
]
WEB_PACKAGES = {"commands", "app", "lifetime", "server", "routes", "middlewares"}
WEB_PACKAGES |= {"cors", "app_keys", "handlers"}


def modules() -> list[Path]:
    return sorted(path for path in CHATHUB.rglob("*.py") if path != CHATHUB / "__init__.py")


def package_of(path: Path) -> str:
    return path.relative_to(CHATHUB).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Every dotted name that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rank(package: str) -> int:
    return next(number for number, packages in enumerate(PACKAGES) if package in packages)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CHATHUB)))
def test_imports_go_one_way(path: Path) -> None:
    package = package_of(path)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "chathub" or parts[1] == package:
            continue
        assert rank(parts[1]) > rank(package), f"{package} must not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CHATHUB)))
def test_only_the_front_packages_import_the_web_server(path: Path) -> None:
    names = imports_of(path)
    web = any(name == "aiohttp.web" or name.startswith("aiohttp.web.") for name in names)
    assert not web or package_of(path) in WEB_PACKAGES


def test_only_the_database_package_knows_sqlite() -> None:
    """Other packages see the errors of chathub/database/errors.py. Doctor examines a file."""
    users = {str(path.relative_to(CHATHUB)) for path in modules() if "sqlite3" in imports_of(path)}
    assert {path for path in users if not path.startswith("database/")} == {"commands/doctor.py"}


def test_the_server_does_not_import_the_generator_of_its_description() -> None:
    users = {package_of(path) for path in modules() if "chathub.openapi" in " ".join(imports_of(path))}
    assert users == {"openapi"}


def test_formats_do_no_io() -> None:
    for path in (CHATHUB / "formats").rglob("*.py"):
        forbidden = ("asyncio", "aiohttp", "socket", "os", "pathlib", "logging", "sqlite3")
        assert not [name for name in imports_of(path) if name.split(".")[0] in forbidden], path


def test_upstream_imports_neither_the_database_nor_the_caller() -> None:
    known = ("upstream", "formats", "redaction", "proxy_settings", "proxy_url", "text", "errors", "sentences")
    for path in (CHATHUB / "upstream").rglob("*.py"):
        ours = [name for name in imports_of(path) if name.startswith("chathub.")]
        assert all(name.split(".")[1] in known for name in ours), path


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """So every module can be imported alone, in any order."""
    paths = {
        "chathub." + ".".join(path.relative_to(CHATHUB).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules()
    }
    graph = {name: at_its_top(path, paths.keys()) - {name} for name, path in paths.items()}
    assert len(graph) == len(modules()) and graph["chathub.app"]
    TopologicalSorter(graph).prepare()


def at_its_top(path: Path, known: Collection[str]) -> set[str]:
    """The modules that a module imports at its top level."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module in known:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & set(known)) or {node.module}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
    return names


def test_no_clock_is_passed_into_a_transaction() -> None:
    """The clock belongs to the event loop; a transaction runs in another thread and is given times."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.args.args and node.args.args[0].arg == "tx":
                taken = {ast.unparse(arg.annotation) for arg in node.args.args if arg.annotation}
                assert "Clock" not in taken, f"{path}: {node.name}"


def test_docstrings_begin_with_what_something_is() -> None:
    """The sections of a docstring follow its first line; also where an error is all that there is to say."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            docstring = ast.get_docstring(node) if isinstance(node, documented) else None
            first = docstring.partition("\n")[0] if docstring is not None else "A"
            name = getattr(node, "name", "")
            assert first and not re.match(r"(Raises|Returns|Args|Yields)\b", first), f"{path}: {name}"


def test_sql_is_in_its_folder_only() -> None:
    statement = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE TABLE)\b")
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not statement.match(node.value), f"{path}: {node.value[:60]}"


@pytest.fixture(scope="module")
def queries() -> Queries:
    return Queries(sql_folder() / "queries")


def test_every_statement_compiles_on_a_migrated_database(queries: Queries) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, sql_folder() / "migrations")
    for file, statements in queries:
        for name, statement in statements.items():
            parameters = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
            try:
                connection.execute("EXPLAIN " + statement, parameters)
            except sqlite3.Error as error:
                pytest.fail(f"{file}.{name}: {error}")
    connection.close()


def columns_of(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The names of the columns that a statement gives. What RETURNING gives is read from its table: an empty
    database has no rows to write."""
    if returning := re.fullmatch(
        r"(?s)(?:INSERT INTO|UPDATE|DELETE FROM) (\w+).*\bRETURNING (.*)", statement
    ):
        statement = f"SELECT {returning[2]} FROM {returning[1]}"
    parameters = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
    described = connection.execute(statement, parameters).description
    return [column[0] for column in described or ()]


def test_every_statement_gives_the_columns_that_its_row_names(queries: Queries) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, sql_folder() / "migrations")
    for file, statements in queries:
        declared = getattr(queries, file)
        for name, text in statements.items():
            statement = getattr(declared, name)
            columns = columns_of(connection, text) if re.search(r"\bRETURNING\b|^(SELECT|WITH)", text) else []
            if isinstance(statement, Select):
                assert columns == list(statement.kind.__struct_fields__), f"{file}.{name}"
            else:
                assert not columns, f"{file}.{name} gives rows, and is declared as a command"
    connection.close()


def test_statements_in_files_and_statements_in_code_are_the_same(queries: Queries) -> None:
    used = set()
    for path in modules():
        used |= set(re.findall(r"\bq\.(\w+)\.(\w+)", path.read_text("utf-8")))
    existing = {(file, name) for file, statements in queries for name in statements}
    assert used == existing


def test_statements_list_their_columns(queries: Queries) -> None:
    for file, statements in queries:
        for name, statement in statements.items():
            assert not re.search(r"SELECT\s+(\w+\.)?\*", statement), f"{file}.{name}"


def test_a_limit_is_named_where_it_is_stored_taken_shown_and_checked_only() -> None:
    """Then adding one touches these files and a migration; everything between carries limits whole."""
    paths = [*modules(), *(sql_folder() / "queries").glob("*.sql")]
    for limit in ("requests_per_minute", "replies_at_once", "storage_limit"):
        naming = {
            str(path.relative_to(ROOT))
            for path in paths
            if re.search(rf"\b{limit}\b", path.read_text("utf-8"))
        }
        assert naming == {
            "sql/queries/limits.sql",
            "chathub/database/rows/limits.py",
            "chathub/schemas/limits.py",
            "chathub/billing/budgets.py",
            "chathub/openapi/fields.py",
        }, limit
