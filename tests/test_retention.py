"""What is kept for a time only: it goes when it is old, nothing is lost, and no jump of the clock counts."""

import asyncio
import csv
import os
import resource
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from api.chats import add_model, chat
from api.conversations import add_conversation, opened_file
from conftest import Connect, Headers, sign_in
from scripted import Provider

from chathub import app_keys
from chathub.clock import Clock
from chathub.commands.doctor import examine
from chathub.config import Config
from chathub.database.rows.old_rows import OldAuditEntry
from chathub.errors import StartError
from chathub.reconcile.booked import read_books
from chathub.retention import retention
from chathub.retention.retention import Retention
from chathub.retention.row_file import RowFile
from chathub.retention.tables import Span

NOW = 1_800_000_000.0
DAY = 86_400_000
KEPT: Mapping[str, Any] = {"conversation_days": 100, "audit_days": 90, "ledger_days": 90}


class Hands:
    """A clock whose time the test sets, and whose steady seconds go on by themselves."""

    def __init__(self) -> None:
        self.seconds, self.steady = NOW, 0.0
        self.clock = Clock(seconds=lambda: self.seconds, steady=lambda: self.steady)

    def wait(self, days: float) -> None:
        self.seconds += days * 86_400
        self.steady += days * 86_400


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def client(config: Config, connect: Connect, hands: Hands) -> TestClient:
    # the newest stamp is that of the last run, a moment ago
    with opened_file(config.database) as db:
        db.execute("UPDATE users SET updated_at = ?", (int(NOW * 1000),))
    return await connect(replace(config, **KEPT), hands.clock)


@pytest.fixture
def logins() -> dict[str, Headers]:
    """The clock of this module is elsewhere than that of the prepared sessions."""
    return {}


def retention_of(
    client: TestClient, config: Config, hands: Hands, kept: Mapping[str, Any] = KEPT
) -> Retention:
    app = client.server.app  # type: ignore[attr-defined]
    configured = replace(config, **kept)
    return Retention(app[app_keys.DB], hands.clock, configured, app[app_keys.REMOVER])


async def rounds(client: TestClient, config: Config, hands: Hands, count: int) -> None:
    for _ in range(count):
        await retention_of(client, config, hands).remove_old()


def ago(days: float) -> int:
    return int(NOW * 1000 - days * DAY)


def add_rows(database: Path, *days_ago: float) -> None:
    """Rows in the ledger and the audit, each so many days old, in this order."""
    with opened_file(database) as db:
        for days in days_ago:
            day = datetime.fromtimestamp(ago(days) / 1000, UTC).date().isoformat()
            db.execute(
                "INSERT INTO ledger (at, day, kind, user_id, provider, model, input_price, output_price,"
                " prompt_tokens, counted_tokens, cost, duration_ms, end_reason, usage_source,"
                " conversation_id)"
                " VALUES (?, ?, 'chat', 2, 'p', 'm', 1, 2, 10, 10, 5000, 1, 'stop', 'reported', 'c,\"1\"')",
                (ago(days), day),
            )
            db.execute(
                "INSERT INTO audit (at, event, actor_id, actor, target, address, request_id, details)"
                " VALUES (?, 'test', 2, 'user', '', '', '', '{\"a\": \"甲\"}')",
                (ago(days),),
            )


def rows(database: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY id")]


def exported(folder: Path, table: str) -> list[dict[str, str]]:
    found = []
    for file in folder.glob(f"{table}-*.csv"):
        assert file.stat().st_mode & 0o777 == 0o600
        with file.open(encoding="utf-8", newline="") as lines:
            found += list(csv.DictReader(lines))
    return sorted(found, key=lambda row: int(row["id"]))


def as_text(row: dict[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}


async def sums(client: TestClient, headers: Headers) -> list[Any]:
    paths = [f"/api/usage?group_by={each}" for each in ("day", "model", "user")] + ["/api/stats"]
    return [await (await client.get(path, headers=headers)).json() for path in paths]


async def test_old_rows_are_in_a_file_before_they_go_and_sums_stay(
    client: TestClient, config: Config, hands: Hands
) -> None:
    add_rows(config.database, 400, 399, 200, 150, 20, 1, 0)
    admin = await sign_in(client, "admin", "admin123")
    before = await sums(client, admin)
    old = {table: rows(config.database, table) for table in ("ledger", "audit")}
    await retention_of(client, config, hands).remove_old()
    folder = config.database.parent / "exports"
    border = ago(90)
    for table in old:
        kept = rows(config.database, table)
        # whole months, kept for at least so many days
        assert min(row["at"] for row in old[table] if row in kept) == ago(20) > border
        gone = [as_text(row) for row in old[table] if row not in kept]
        assert exported(folder, table) == gone and len(gone) >= 4
    assert await sums(client, admin) == before
    # a second round has nothing to do, a later one goes on
    files = sorted(folder.iterdir())
    await retention_of(client, config, hands).remove_old()
    assert sorted(folder.iterdir()) == files
    hands.wait(130)
    await rounds(client, config, hands, 20)
    # the newest row stays however old it is
    assert len(rows(config.database, "ledger")) == 1
    both = [*exported(folder, "ledger"), *map(as_text, rows(config.database, "ledger"))]
    assert both == [as_text(row) for row in old["ledger"]]
    admin = await sign_in(client, "admin", "admin123")
    assert (await sums(client, admin))[:3] == before[:3]


async def test_bill_is_compared_only_with_days_whose_rows_are_there(
    client: TestClient, config: Config, hands: Hands
) -> None:
    add_rows(config.database, 400, 20, 0)
    with opened_file(config.database) as db:
        db.execute("UPDATE providers SET provider_key = 'p' WHERE provider_key = 'openai'")
    await retention_of(client, config, hands).remove_old()
    read = client.server.app[app_keys.DB].read  # type: ignore[attr-defined]
    days = [datetime.fromtimestamp(ago(each) / 1000, UTC).date() for each in (400, 21, 0)]
    books = await read(read_books, ["p"], days[1], days[2], UTC)
    assert sum(booked.usage.requests for booked in books.sums.values()) == 2
    with pytest.raises(StartError, match="went to a file"):
        await read(read_books, ["p"], days[0], days[2], UTC)


async def test_row_from_when_the_clock_ran_ahead_goes_with_the_old_ones_behind_it(
    client: TestClient, config: Config, hands: Hands
) -> None:
    add_rows(config.database, 400, -5000, -5000, 300, 20, -5000, 10)
    await rounds(client, config, hands, 1)
    left = [row["at"] for row in rows(config.database, "ledger")]
    assert left == [ago(20), ago(-5000), ago(10)]
    assert len(exported(config.database.parent / "exports", "ledger")) == 4


async def test_rows_that_cannot_be_exported_stay(
    client: TestClient, config: Config, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    add_rows(config.database, 400, 200, 0)
    folder = config.database.parent / "no-folder"
    folder.write_text("a file")
    old = rows(config.database, "ledger")
    task = retention_of(client, config, hands, {**KEPT, "export_dir": folder})
    for _ in range(2):
        await task.remove_old()
    assert rows(config.database, "ledger") == old
    assert caplog.text.count("ledger could not be exported") == 1
    folder.unlink()
    await task.remove_old()
    assert len(rows(config.database, "ledger")) == 1 and len(exported(folder, "ledger")) == 2
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


def test_file_that_ends_early_on_a_full_disk_leaves_no_part(tmp_path: Path) -> None:
    """What is there would take the space that the database needs."""
    row = OldAuditEntry(1, 2, "event", None, "actor", "", "", "", "{}")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(KeyError), closing(RowFile(tmp_path, "audit", Span(1, 1, 2))) as file:
            file.write([row])
            raise KeyError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


async def test_deletion_goes_on_that_a_crash_cut_off(
    client: TestClient, config: Config, hands: Hands
) -> None:
    add_rows(config.database, 400, 300, 0)
    with opened_file(config.database) as db:
        db.execute("INSERT INTO exported_rows VALUES ('ledger', (SELECT min(id) + 1 FROM ledger))")
    await retention_of(client, config, hands).remove_old()
    assert len(rows(config.database, "ledger")) == 1
    assert exported(config.database.parent / "exports", "ledger") == []


async def test_old_conversations_go_but_not_those_in_use_or_of_a_clock_that_was_not_set(
    client: TestClient, config: Config, hands: Hands, provider: Provider
) -> None:
    admin = await sign_in(client, "admin", "admin123")
    user = await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    for name, stamp in (("old", ago(101)), ("new", ago(99)), ("unset", 5000), ("running", ago(300))):
        ids = add_conversation(config.database, name, ["q", "a"], updated_at=stamp)
    with opened_file(config.database) as db:
        db.execute("UPDATE messages SET status = 'streaming' WHERE id = ?", (ids[-1],))
    await retention_of(client, config, hands).remove_old()
    listed = await (await client.get("/api/conversations", headers=user)).json()
    assert {row["conversation_id"] for row in listed} == {"new", "unset", "running"}
    status, _, _ = await chat(client, user, "again", conversation_id="old")
    assert status == 410
    async with asyncio.timeout(30):
        while len(rows(config.database, "conversations")) > 3:
            await asyncio.sleep(0.05)
    assert len(rows(config.database, "messages")) == 6


async def test_clock_that_jumps_removes_nothing(client: TestClient, config: Config, hands: Hands) -> None:
    add_conversation(config.database, "c", ["q", "a"], updated_at=ago(1))
    add_rows(config.database, 2, 1, 0)
    before = {table: rows(config.database, table) for table in ("ledger", "audit", "conversations")}
    task = retention_of(client, config, hands)
    hands.seconds += 20 * 365 * 86_400
    await task.remove_old()
    # set right again: it is behind what was seen
    hands.seconds = NOW - 3600
    await task.remove_old()
    for table, old in before.items():
        assert rows(config.database, table)[: len(old)] == old
    hands.seconds = NOW
    hands.wait(200)
    await rounds(client, config, hands, 30)
    assert len(rows(config.database, "ledger")) == 1


async def test_start_with_a_clock_that_has_run_ahead_for_long_removes_little_at_once(
    client: TestClient, config: Config, hands: Hands
) -> None:
    """The database has stamps of that clock, so that nothing shows that it is wrong."""
    for days in (99, 95, 80, 1):
        add_conversation(config.database, f"c{days}", ["q", "a"], updated_at=ago(days))
    await rounds(client, config, hands, 1)
    hands.wait(20 * 365)
    await rounds(client, config, hands, 1)
    user = await sign_in(client, "user", "user123")
    listed = await (await client.get("/api/conversations", headers=user)).json()
    assert {row["conversation_id"] for row in listed} == {"c80", "c1"}


async def test_nothing_is_removed_right_after_a_start(
    client: TestClient, config: Config, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retention._ROUND >= 3600
    add_rows(config.database, 400, 0)
    monkeypatch.setattr(retention, "_ROUND", 0.01)
    task = retention_of(client, config, hands, {})
    # nothing is kept for a time only: the task has nothing to do
    await task.run()
    assert len(rows(config.database, "ledger")) == 2


def test_doctor_says_how_long_everything_is_kept_and_whether_files_can_be_written(config: Config) -> None:
    assert doctor(config) == (True, "kept: conversations for ever, audit for ever, ledger for ever")
    kept = replace(config, **KEPT)
    is_good, told = doctor(kept)
    assert is_good and "ledger for 90 days" in told and str(config.database.parent / "exports") in told
    (config.database.parent / "exports").write_text("a file")
    is_good, told = doctor(kept)
    assert not is_good and "cannot be written" in told
    unnamable = config.database.parent / "exports" / ("x" * 300)
    assert not doctor(replace(kept, export_dir=unnamable))[0]


def doctor(config: Config) -> tuple[bool, str]:
    (found,) = [finding for finding in examine(config) if finding.text.startswith("kept:")]
    return found.ok, found.text
