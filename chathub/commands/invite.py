"""``chathub invite``: codes with which people may register."""

import argparse

from chathub.accounts import invites
from chathub.clock import Clock
from chathub.commands.actions import (
    given,
    print_deleted,
    print_json,
    print_table,
    print_text,
    run_on_database,
)
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.invites import Invite as InviteRow
from chathub.database.transaction import Transaction
from chathub.schemas.invites import Invite, NewInvite
from chathub.security.audit import OPERATOR

_TITLES = ("id", "code", "uses", "subscription", "expires", "made by", "note")


def invite(config: Config, arguments: argparse.Namespace) -> int:
    """Make, list or delete invite codes; gives the exit code."""

    async def work(db: Database) -> None:
        match arguments.action:
            case "list":
                _print_list(await db.fetch_all(db.q.invites.list_all), as_json=arguments.json)
            case "delete":
                await db.write(invites.delete, arguments.id, OPERATOR, Clock().now())
                print_deleted(arguments)
            case _:
                await _create(db, arguments)

    return run_on_database(config, work)


async def _create(db: Database, arguments: argparse.Namespace) -> None:
    now = Clock().now()
    names = ("max_uses", "expires_in_days", "subscription_type", "note")
    new = invites.fields_of(given(arguments, NewInvite, *names), now)
    codes = [invites.new_code() for _ in range(arguments.count or 1)]
    rows = await db.write(_insert, codes, new, now)
    if arguments.json:
        print_json([{"code": code, "data": Invite.of(row)} for code, row in zip(codes, rows, strict=True)])
    else:
        print_text("\n".join(codes))


def _insert(tx: Transaction, codes: list[str], new: invites.NewInvite, now: int) -> list[InviteRow]:
    # 0: the server deletes expired codes, whose clock is known to be right
    return [invites.insert(tx, code, new, OPERATOR, now, 0) for code in codes]


def _print_list(rows: list[InviteRow], *, as_json: bool) -> None:
    shown = [Invite.of(row) for row in rows]
    if as_json:
        print_json(shown)
        return
    cells = [
        (each.id, each.hint, f"{each.uses}/{each.max_uses}", each.subscription_type, each.expires_at)
        + (each.created_by, each.note)
        for each in shown
    ]
    print_table(_TITLES, cells)
