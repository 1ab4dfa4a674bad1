"""``chathub reconcile``: the ledger beside what a provider charged, by the export of its website or API; the
server may run."""

import argparse
import json
from datetime import date, tzinfo
from decimal import Decimal, InvalidOperation
from pathlib import Path

from chathub import config_values as values
from chathub.config import Config
from chathub.database.file_check import check_content
from chathub.database.migrations import migrations_in, version_of
from chathub.database.opening import require_database
from chathub.database.queries import Queries, sql_folder
from chathub.database.read_only import reading
from chathub.database.transaction import read
from chathub.errors import StartError
from chathub.reconcile.bill import Bill, read_bill
from chathub.reconcile.booked import Books, read_books
from chathub.reconcile.comparison import compare
from chathub.reconcile.report import Heading, report_json, report_lines


def add_reconcile_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "file",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="an export of OpenAI, Anthropic, OpenRouter, DeepSeek or SiliconFlow: CSV, JSON or ZIP",
    )
    add(
        "--provider",
        action="append",
        metavar="NAME",
        help="ChatHub's provider that it is of (default: the one of the same name); may be repeated",
    )
    add("--since", type=_day, metavar="DAY", help="the first day, such as 2026-08-01 (default: the file's)")
    add("--until", type=_day, metavar="DAY", help="the last day (default: the file's)")
    add("--timezone", type=_zone, metavar="ZONE", help="the time zone of the days (default: the file's)")
    add(
        "--rate",
        type=_rate,
        default=Decimal(1),
        metavar="NUMBER",
        help="multiply the file's costs by it: what one unit of its currency is in that of ChatHub's prices",
    )
    add(
        "--tolerance",
        type=_number,
        default=Decimal(1),
        metavar="PERCENT",
        help="the exit code is 0 when no more differs (default: 1)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")


def reconcile(config: Config, arguments: argparse.Namespace) -> int:
    """Compare and print; gives the exit code: 0 within the tolerance, else 1.

    Raises:
        StartError: a file is no export, or the database cannot be read.
    """
    bill = read_bill(arguments.file, arguments.timezone)
    first, last = arguments.since or min(bill.days), arguments.until or max(bill.days)
    if first > last:
        raise StartError(f"the first day {first} is after the last day {last}")
    assert bill.zone is not None
    providers = list(dict.fromkeys(arguments.provider or bill.providers))
    books = _read_ledger(config.database, providers, first, last, bill.zone)
    _convert(bill, arguments.rate)
    comparison = compare(bill, books, first, last, bill.zone)
    heading = Heading(
        ", ".join(path.name for path in arguments.file),
        " and ".join(bill.titles),
        providers,
        bill.currency,
        arguments.rate,
        arguments.tolerance,
    )
    if arguments.json:
        print(json.dumps(report_json(heading, comparison), ensure_ascii=False, indent=2))
    else:
        for line in report_lines(heading, comparison):
            print(line)
    return 0 if heading.is_within(comparison) else 1


def _read_ledger(database: Path, providers: list[str], first: date, last: date, zone: tzinfo) -> Books:
    require_database(database)
    folder = sql_folder()
    q = Queries(folder / "queries")
    check_content(database, q)
    newest = len(migrations_in(folder / "migrations"))
    with reading(database) as connection:
        if version_of(connection) != newest:
            raise StartError(
                f"the database {database} is not of this version: start the server once, which brings it up"
            )
        return read(q, read_books, (providers, first, last, zone), {}, connection)


def _convert(bill: Bill, rate: Decimal) -> None:
    for usage in bill.sums.values():
        if usage.cost is not None:
            usage.cost *= rate


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-08-01") from None
    if not 2000 <= day.year <= 2100:
        raise argparse.ArgumentTypeError(f"{text!r} is no day of this century")
    return day


def _zone(text: str) -> tzinfo:
    try:
        return values.zone(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not (number.is_finite() and 0 <= number <= 1_000_000):
        raise argparse.ArgumentTypeError("must be between 0 and 1,000,000")
    return number


def _rate(text: str) -> Decimal:
    rate = _number(text)
    if not rate:
        raise argparse.ArgumentTypeError("must be more than 0")
    return rate
