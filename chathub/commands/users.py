"""``chathub users``: the accounts."""

import argparse
import getpass

from msgspec import UNSET

from chathub.accounts import users as accounts
from chathub.accounts.passwords import Passwords, check_rules, new_random
from chathub.clock import Clock
from chathub.commands.actions import (
    get_user,
    given,
    print_json,
    print_table,
    print_text,
    run_on_database,
)
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.transaction import Transaction
from chathub.schemas.users import NewUser, User
from chathub.security.audit import OPERATOR

_TITLES = ("id", "name", "e-mail", "role", "subscription", "state", "created")


def users(config: Config, arguments: argparse.Namespace) -> int:
    """List, make or change accounts; gives the exit code."""
    # before the database is opened: a start does not wait for somebody who types
    password = _password_of(arguments) if arguments.action == "add" else ""

    async def work(db: Database) -> None:
        match arguments.action:
            case None | "list":
                _print_list(await db.read(_all), as_json=arguments.json)
            case "add":
                await _add(db, config, arguments, password)
            case _:
                await _change(db, arguments)

    return run_on_database(config, work)


def _all(tx: Transaction) -> list[User]:
    nothing = {"role": None, "term": None, "key_term": None}
    # -1: no limit
    found = tx.all(tx.q.users.search, **nothing, limit=-1, offset=0)
    return [User.of(*account) for account in accounts.list_with_limits(tx, found)]


def _print_list(shown: list[User], *, as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    cells = [
        (each.id, each.username, each.email, each.role, each.subscription_type)
        + ("active" if each.is_active else "disabled", each.created_at)
        for each in shown
    ]
    print_table(_TITLES, cells)


def _password_of(arguments: argparse.Namespace) -> str:
    return getpass.getpass(f"password for {arguments.username}: ") if arguments.prompt else new_random()


async def _add(db: Database, config: Config, arguments: argparse.Namespace, password: str) -> None:
    names = ("username", "email", "role", "subscription_type")
    new = given(arguments, NewUser, *names, password=password)
    passwords = Passwords(config.bcrypt_rounds)
    try:
        fields = accounts.UserFields(
            username=accounts.check_username(new.username),
            email=accounts.check_email(new.email),
            password_hash=await passwords.hash(check_rules(password)),
            role=new.role or "user",
            subscription_type=new.subscription_type or "free",
        )
    finally:
        passwords.close()
    account = await db.write(accounts.create, fields, OPERATOR, Clock().now())
    shown = None if arguments.prompt else password
    if arguments.json:
        print_json({"user": User.of(*account), "password": shown})
    else:
        print_text(f"{account.user.username}: {shown or 'added'}")


async def _change(db: Database, arguments: argparse.Namespace) -> None:
    user = await get_user(db, arguments.username)
    email = getattr(arguments, "email", None)
    changes = accounts.Changes(
        email=UNSET if email is None else accounts.check_email(email),
        role=getattr(arguments, "role", UNSET),
        subscription_type=getattr(arguments, "subscription_type", UNSET),
        is_active={"disable": False, "enable": True}.get(arguments.action, UNSET),
    )
    account = await db.write(accounts.update, user.id, changes, OPERATOR, Clock().now())
    if arguments.json:
        print_json({"user": User.of(*account)})
    else:
        changed, state = account.user, "active" if account.user.is_active else "disabled"
        told = (changed.email, changed.role, changed.subscription_type, state)
        print_text(f"{changed.username}: {', '.join(told)}")
