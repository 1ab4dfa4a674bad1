"""The flags of the commands for accounts: ``users``, ``invite`` and ``token``.

Apart from the commands, so that other commands and ``--version`` do not load what these need.
"""

import argparse
import re
from collections.abc import Callable
from typing import Any, get_args

from chathub import config_reading as configuration
from chathub.schemas.limits import TokenLimitFields
from chathub.schemas.subscriptions import SubscriptionName

Parser = argparse.ArgumentParser

_ROLES = ("user", "admin")
_SUBSCRIPTIONS = get_args(SubscriptionName)
_MOST_CODES = 100
# the largest id of a row
_LAST_ID = 2**63 - 1


def add_users_flags(command: Parser) -> None:
    add = _action_adder(command)
    add("list", "list the accounts (the default)")
    new = add("add", "make an account, and print its password")
    new.add_argument("username", type=utf8, metavar="NAME")
    new.add_argument("email", type=utf8, metavar="EMAIL")
    new.add_argument("--role", choices=_ROLES, help="default: user")
    new.add_argument("--subscription", dest="subscription_type", choices=_SUBSCRIPTIONS, help="default: free")
    new.add_argument(
        "--prompt", action="store_true", help="ask for the password instead of making a random one"
    )
    for name, text in (
        ("disable", "end an account's sessions, tokens and running replies, and let nobody sign in to it"),
        ("enable", "let the account's user sign in again"),
    ):
        add(name, text).add_argument("username", type=utf8, metavar="NAME")
    email = add("email", "give an account another mail address, which needs no confirmation")
    email.add_argument("username", type=utf8, metavar="NAME")
    email.add_argument("email", type=utf8, metavar="EMAIL")
    role = add("role", "make an account an administrator's, or a user's; its sessions and tokens end")
    role.add_argument("username", type=utf8, metavar="NAME")
    role.add_argument("role", choices=_ROLES)
    subscription = add("subscription", "give an account another subscription, with its limits")
    subscription.add_argument("username", type=utf8, metavar="NAME")
    subscription.add_argument("subscription_type", choices=_SUBSCRIPTIONS)


def add_invite_flags(command: Parser) -> None:
    add = _action_adder(command)
    _add_create_flags(command, default=None)
    _add_create_flags(add("create", "make codes, and print them (the default)"), argparse.SUPPRESS)
    add("list", "list the codes that can be used, and those that expired lately")
    add("delete", "make a code unusable").add_argument("id", type=_id, metavar="ID", help="see list")


def _add_create_flags(parser: Parser, default: str | None) -> None:
    add = parser.add_argument
    add("--count", type=_count, default=default, metavar="N", help="codes (default: 1)")
    add("--uses", type=int, dest="max_uses", default=default, metavar="N", help="people a code (default: 1)")
    add(
        "--days",
        type=int,
        dest="expires_in_days",
        default=default,
        metavar="N",
        help="days that a code is valid (7)",
    )
    add(
        "--subscription",
        dest="subscription_type",
        choices=_SUBSCRIPTIONS,
        default=default,
        help="of the accounts made with it (default: free)",
    )
    add("--note", type=utf8, default=default, metavar="TEXT", help="whom it is for; shown in lists only")


def add_token_flags(command: Parser) -> None:
    add = _action_adder(command, required=True)
    new = add("create", "make an access token for a user, and print it: it is shown this once")
    new.add_argument("username", type=utf8, metavar="USER")
    new.add_argument("--name", type=utf8, required=True, help="what it is for, such as the program's name")
    new.add_argument(
        "--days", type=int, dest="expires_in_days", metavar="N", help="default: it does not expire"
    )
    for field in TokenLimitFields.__struct_fields__:
        flag = "--" + field.replace("_", "-")
        new.add_argument(flag, type=_number, metavar="N", help=f"{field} of POST /api/tokens")
    new.add_argument(
        "--model",
        action="append",
        type=utf8,
        dest="allowed_models",
        metavar="NAME",
        help="may be repeated; default: all",
    )
    new.add_argument(
        "--network",
        action="append",
        type=utf8,
        dest="allowed_networks",
        metavar="CIDR",
        help="from where it may be used; may be repeated; default: everywhere",
    )
    new.add_argument("--opens-api", action="store_true", default=None, help="also for /api, not only for /v1")
    add("list", "list a user's access tokens").add_argument("username", type=utf8, metavar="USER")
    old = add("delete", "delete one of a user's access tokens; it is invalid at once")
    old.add_argument("username", type=utf8, metavar="USER")
    old.add_argument("id", type=_id, metavar="ID", help="see list")


# argparse shows the words of these errors, and those of no other


def utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not valid UTF-8") from None
    return text


def _id(text: str) -> int:
    return _whole_number(text, _LAST_ID)


def _count(text: str) -> int:
    return _whole_number(text, _MOST_CODES)


def _whole_number(text: str, most: int) -> int:
    if not re.fullmatch("[0-9]{1,19}", text) or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {most}")
    return int(text)


def _number(text: str) -> int | float:
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError("must be a number such as 5 or 1.5")
    return float(text) if "." in text else int(text)


def _action_adder(command: Parser, *, required: bool = False) -> Callable[[str, str], Parser]:
    """A function that adds an action with its text to a command. ``--json`` and the flags of the database
    may stand before the action or behind it."""
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=required)
    _add_json(command, default=False)

    def add(name: str, text: str) -> Parser:
        parser = actions.add_parser(name, help=text, description=text)
        # a flag that is absent behind the action must not reset the one before it
        configuration.add_database_flags(parser, default=argparse.SUPPRESS)
        _add_json(parser, default=argparse.SUPPRESS)
        return parser

    return add


def _add_json(parser: Parser, default: Any) -> None:
    parser.add_argument(
        "--json", action="store_true", default=default, help="print JSON, as the API gives it"
    )
