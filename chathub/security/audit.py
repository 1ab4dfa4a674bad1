"""The audit log: what administrators did and what concerns security, in the transaction that did it."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from chathub.database.statements import Row
from chathub.database.transaction import Transaction

# characters of one value
_LONGEST = 200

Value = str | int | float | None


class Actor(Struct, frozen=True):
    """Who acts: the user id (None: nobody is signed in), the user's name at that time, the address of the
    client, and the id of the request."""

    user_id: int | None = None
    name: str = ""
    address: str = ""
    request_id: str = ""


# the person at the command line, and the server itself
OPERATOR = Actor(name="(operator)")
SERVER = Actor(name="(server)")


def record(tx: Transaction, /, actor: Actor, event: str, now: int, target: str = "", **details: Any) -> None:
    """Add an entry. ``event`` is a word such as ``user.role``, ``target`` is what the act changed
    (``user 12``); ``details`` must contain no secret: no key, token, password or code."""
    tx.run(
        tx.q.audit.insert,
        now=now,
        event=event,
        actor_id=actor.user_id,
        actor=actor.name,
        target=target,
        address=actor.address,
        request_id=actor.request_id,
        details=msgspec.json.encode(details).decode(),
    )


def differences(old: Row, new: Row, columns: Iterable[str]) -> dict[str, list[Value]]:
    """Old and new value of each column that changed, as details of an entry."""
    pairs = {name: (_value(old, name), _value(new, name)) for name in columns}
    return {name: [_shorten(a), _shorten(b)] for name, (a, b) in pairs.items() if a != b}


def _value(row: Row, name: str) -> Value:
    """A column's value as SQLite stores it: a boolean is 0 or 1, as in the entries that exist."""
    value: Value = getattr(row, name)
    return int(value) if isinstance(value, bool) else value


def _shorten(value: Value) -> Value:
    return value[: _LONGEST - 1] + "…" if isinstance(value, str) and len(value) > _LONGEST else value
