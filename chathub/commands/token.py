"""``chathub token``: access tokens of users, for programs."""

import argparse

from chathub.accounts import access_tokens
from chathub.billing import reports
from chathub.clock import Clock
from chathub.commands.actions import (
    get_user,
    given,
    print_deleted,
    print_json,
    print_table,
    print_text,
    run_on_database,
)
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.users import User
from chathub.errors import Forbidden
from chathub.schemas.limits import TokenLimitFields
from chathub.schemas.tokens import AccessToken, NewToken
from chathub.security.audit import OPERATOR

_TITLES = ("id", "name", "token", "tokens this month", "limit", "expires", "last used")
_FIELDS = ("name", "expires_in_days", "opens_api", "allowed_models", "allowed_networks")


def token(config: Config, arguments: argparse.Namespace) -> int:
    """Make, list or delete access tokens; gives the exit code."""

    async def work(db: Database) -> None:
        user = await get_user(db, arguments.username)
        match arguments.action:
            case "create":
                await _create(db, user, arguments)
            case "delete":
                await db.write(access_tokens.delete, arguments.id, user.id, OPERATOR, Clock().now())
                print_deleted(arguments)
            case _:
                await _list(db, config, user, as_json=arguments.json)

    return run_on_database(config, work)


async def _create(db: Database, user: User, arguments: argparse.Namespace) -> None:
    if not user.is_active:
        raise Forbidden("account_disabled")
    now = Clock().now()
    new = given(arguments, NewToken, *_FIELDS, *TokenLimitFields.__struct_fields__)
    fields = access_tokens.fields_of(new, now)
    secret = access_tokens.new_token()
    row, limits = await db.write(access_tokens.insert, user.id, secret, fields, OPERATOR, now)
    if arguments.json:
        print_json({"token": secret, "data": AccessToken.of(row, limits, None)})
    else:
        print_text(secret)


async def _list(db: Database, config: Config, user: User, *, as_json: bool) -> None:
    found = await db.read(reports.own_tokens, user.id, Clock(zone=config.timezone).month())
    shown = [AccessToken.of(row, limits, row.last_used_at) for row, limits in found]
    if as_json:
        print_json(shown)
        return
    cells = [
        (each.id, each.name, each.hint, each.monthly_usage, each.monthly_limit)
        + (each.expires_at, each.last_used_at)
        for each in shown
    ]
    print_table(_TITLES, cells)
