"""What the commands for accounts have in common: the database and their output."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from chathub.accounts import users
from chathub.config import Config
from chathub.database.beside import open_beside
from chathub.database.database import Database
from chathub.database.errors import ConstraintViolated
from chathub.database.rows.users import User
from chathub.errors import ChatHubError, NotFound
from chathub.schemas.decode import decode

T = TypeVar("T")
Row = tuple[object, ...]


def run_on_database(config: Config, work: Callable[[Database], Awaitable[None]]) -> int:
    """Run a command's work on the database, beside a server or without one; gives the exit code: 1 if what
    was asked for is not possible, with the reason on standard error.

    Raises:
        StartError, DatabaseError: the database cannot be used.
    """

    async def run() -> None:
        async with open_beside(config) as db:
            await work(db)

    try:
        asyncio.run(run())
    except (ChatHubError, ConstraintViolated) as error:
        if error.reason is None:
            raise
        print(f"chathub: {error.reason.text('en')}", file=sys.stderr)
        return 1
    return 0


async def get_user(db: Database, name: str) -> User:
    """The user of a name.

    Raises:
        NotFound: there is none.
    """
    user = await db.fetch_one(db.q.users.get_for_login, username_key=users.comparable(name.strip()))
    if user is None:
        raise NotFound("user_not_found")
    return user


def given(arguments: argparse.Namespace, kind: type[T], *names: str, **others: object) -> T:
    """The flags that were given, and other values, as a body of the API.

    Raises:
        BadRequest: a value is not allowed there.
    """
    values = {name: getattr(arguments, name) for name in names} | others
    body = {name: value for name, value in values.items() if value is not None}
    # unlike msgspec, which writes null for it, json keeps a NaN: it is refused
    return decode(json.dumps(body).encode(), kind)


def print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_deleted(row_id: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"deleted": row_id})
    else:
        print(f"{row_id}: deleted")


def print_table(titles: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows in columns. What a terminal would not print is replaced: names and notes are of users."""
    lines = [tuple(titles), *(tuple(_shown(value) for value in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def _shown(value: object) -> str:
    text = "-" if value in (None, "") else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)
