"""Scheduled backups: when they are made and which are kept."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from accounts import events, rows
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect
from smtp import MailServer

from chathub.app_keys import BACKUPS
from chathub.clock import Clock
from chathub.commands.doctor import examine
from chathub.config import Config
from chathub.config_values import Keep, SmtpServer, keep
from chathub.database.backup_files import backup_name, list_backups, outdated

DATABASE = Path("/data/chathub.db")
NOON = datetime(2024, 3, 20, 12, tzinfo=UTC)


def made(*ages: timedelta) -> list[tuple[datetime, Path]]:
    return sorted((NOON - age, Path(f"{NOON - age:%Y%m%d-%H%M%S}")) for age in ages)


def kept(backups: list[tuple[datetime, Path]], wanted: Keep, now: datetime = NOON) -> list[str]:
    gone = outdated(backups, wanted, now)
    return [path.name for _, path in reversed(backups) if path not in gone]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("7d,4w,6m", Keep(7, 4, 6)), ("3d", Keep(3, 0, 0)), ("2m", Keep(0, 0, 2)), ("1d, 2m", Keep(1, 0, 2))],
)
def test_retention_setting_is_parsed(text: str, wanted: Keep) -> None:
    assert keep(text) == wanted


@pytest.mark.parametrize("text", ["", "d", "7", "7x", "4w,7d", "-1d", "7d,4w,6m,1y"])
def test_invalid_retention_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="7d,4w,6m"):
        keep(text)


def test_newest_backup_of_each_recent_day_week_and_month_is_kept() -> None:
    hourly = made(*(timedelta(hours=hours) for hours in range(24 * 200)))
    found = kept(hourly, Keep(3, 2, 3))
    # Wednesday the 20th; the previous week ended on Sunday the 17th, the months with their last days
    assert found == [
        *("20240320-120000", "20240319-230000", "20240318-230000"),
        *("20240317-230000", "20240229-230000", "20240131-230000"),
    ]


def test_old_backups_are_kept_if_no_newer_ones_were_made() -> None:
    backups = made(timedelta(0), timedelta(days=400), timedelta(days=401))
    assert kept(backups, Keep(7, 0, 0)) == [path.name for _, path in reversed(backups)]


def test_backup_dated_in_the_future_replaces_no_other() -> None:
    ahead = made(timedelta(days=-3650), *(timedelta(days=days) for days in range(10)))
    assert kept(ahead, Keep(1, 0, 0)) == [path.name for _, path in reversed(ahead)][:2]
    assert kept(ahead, Keep(7, 0, 0)) == [path.name for _, path in reversed(ahead)][:8]


def test_newest_backup_is_always_kept() -> None:
    backups = made(timedelta(0), timedelta(days=1))
    assert kept(backups, Keep(0, 0, 0)) == ["20240320-120000"]


def test_other_files_in_the_folder_are_not_counted_as_backups(tmp_path: Path) -> None:
    name = backup_name(DATABASE, NOON.timestamp(), packed=False, series="a1")
    assert name == "chathub.db-20240320-120000-a1.db"
    by_hand = backup_name(DATABASE, NOON.timestamp(), packed=False)
    of_another = backup_name(DATABASE, NOON.timestamp(), packed=False, series="b2")
    odd = "chathub.db-20249999-120000-a1.db"
    for other in (name, name + ".gz", name + ".secret", by_hand, of_another, odd, "x"):
        (tmp_path / other).write_text("")
    assert [path.name for _, path in list_backups(DATABASE, tmp_path, "a1")] == [name, name + ".gz"]


# --- on schedule


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    # a thousandth of an hour is the shortest there is
    return replace(config, backup_dir=tmp_path / "backups", backup_every=0.001)


def backups_in(config: Config) -> list[Path]:
    assert config.backup_dir is not None
    return sorted(config.backup_dir.glob("chathub.db-*.db")) if config.backup_dir.is_dir() else []


async def health(client: TestClient) -> dict[str, object]:
    found: dict[str, object] = await (await client.get("/api/health")).json()
    return found


def doctors_line(config: Config) -> tuple[bool, str]:
    (found,) = [finding for finding in examine(config) if finding.text.startswith("backups:")]
    return found


async def test_server_makes_backups_and_removes_old_ones(connect: Connect, config: Config) -> None:
    assert config.backup_dir is not None
    client = await connect(replace(config, backup_keep=Keep(1, 0, 0)))
    await until(lambda: len(backups_in(config)) == 1)
    first = backups_in(config)
    assert config.backup_dir.stat().st_mode & 0o777 == 0o700 and first[0].stat().st_mode & 0o777 == 0o600
    await until(lambda: backups_in(config) not in (first, []))
    await until(lambda: len(backups_in(config)) == 1)
    told = (await health(client))["last_backup"]
    assert isinstance(told, dict) and told["ok"] is True
    ok, line = doctors_line(config)
    assert ok and str(config.backup_dir) in line
    await client.close()
    # the next start reads it
    again = await connect(replace(config, backup_every=24))
    assert (await health(again))["last_backup"]


async def test_failed_backup_is_reported_by_mail_health_and_doctor(
    connect: Connect, config: Config, tmp_path: Path
) -> None:
    (tmp_path / "backups").write_text("a file, and no folder")
    async with MailServer() as mail:
        smtp = SmtpServer("127.0.0.1", mail.port, tls=False)
        client = await connect(replace(config, smtp=smtp, mail_from="hub@example.com"))
        await until(lambda: len(mail.mails) == 1)
        last = await client.app[BACKUPS].make()  # type: ignore[index]
        # the second of a row is in the audit only
        assert not last.ok and len(mail.mails) == 1
    (sent,) = mail.mails
    assert "备份失败" in str(sent["Subject"]) and str(tmp_path / "backups") in sent.get_content()
    assert len(events(config, "backup.failed")) >= 2
    assert (await health(client))["last_backup"]["ok"] is False  # type: ignore[index]
    ok, line = doctors_line(config)
    assert not ok and "failed" in line


async def test_server_shutdown_cancels_a_backup_and_removes_its_file(
    connect: Connect, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def flushed(path: Path) -> None:
        loop.call_soon_threadsafe(begun.set)

    rows(config, "INSERT INTO settings (name, value) VALUES ('filler', hex(zeroblob(30000000)))")
    monkeypatch.setattr("chathub.database.copying.flush", flushed)
    client = await connect(config)
    async with asyncio.timeout(30):
        await begun.wait()
    await client.close()
    assert config.backup_dir is not None
    await until(lambda: not os.listdir(config.backup_dir or ""))


async def test_without_a_folder_no_backup_is_made(connect: Connect, config: Config) -> None:
    client = await connect(replace(config, backup_dir=None))
    assert "last_backup" not in await health(client)
    assert doctors_line(replace(config, backup_dir=None)) == (
        True,
        "backups: the server makes none (CHATHUB_BACKUP_DIR)",
    )


@pytest.mark.parametrize(
    ("age", "wait"), [(0, 24 * 3600), (3600, 23 * 3600), (10**7, 10), (-(10**7), 24 * 3600)]
)
async def test_next_backup_is_due_by_the_age_of_the_last_one_whatever_the_clock(
    connect: Connect, config: Config, age: int, wait: int
) -> None:
    seconds = 1_700_000_000.0
    client = await connect(replace(config, backup_every=24), clock=Clock(seconds=lambda: seconds))
    assert client.app is not None
    backups = client.app[BACKUPS]
    await backups.make()
    seconds += age
    assert backups._wait() == wait
