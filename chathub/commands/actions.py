"""What the commands for accounts have in common: the database and their output."""

import argparse
import asyncio
import json
import os
import sys
import unicodedata
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


class OutputLost(Exception):
    """What a command did cannot be printed."""


def run_on_database(config: Config, work: Callable[[Database], Awaitable[None]]) -> int:
    """Run a command's work on the database, beside a server or without one; gives the exit code: 1 if what
    was asked for is not possible, with the reason on standard error.

    Raises:
        StartError, DatabaseError: the database cannot be used.
        BrokenPipeError: nobody reads the output any more.
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
    except OutputLost as error:
        print(f"chathub: this was done, but the output is lost: {error}", file=sys.stderr)
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
    """Print JSON, with escapes where standard output has no room for all characters."""
    is_unicode = sys.stdout.encoding.lower().startswith("utf")
    print_text(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=not is_unicode))


def print_deleted(arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json({"deleted": arguments.id})
    else:
        print_text(f"{arguments.id}: deleted")


def print_table(titles: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows in columns. What a terminal would not print is replaced: names and notes are of users."""
    lines = [tuple(titles), *(tuple(_shown(value) for value in row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True))
        print_text("  ".join(cells).rstrip())


def print_text(text: str) -> None:
    """Print the result of what was done.

    Raises:
        OutputLost: it cannot be written, as on a full disk.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # what is left of it would fail once more at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputLost(error.strerror) from None


def _shown(value: object) -> str:
    text = "-" if value in (None, "") else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)


def _width(text: str) -> int:
    """The columns that a text takes at a terminal: Chinese characters take two, marks above others none."""
    marks = sum(bool(unicodedata.combining(character)) for character in text)
    return len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in text) - marks
