"""The record of what administrators did and of what concerns security, in the transaction that did it."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from chathub.database.connection import Row, Transaction

# characters of one value
_LONGEST = 200


class Actor(Struct, frozen=True):
    """Who did something: the user (None: nobody signed in), the name it went by, the address it came
    from, and the request."""

    user_id: int | None = None
    name: str = ""
    address: str = ""
    request_id: str = ""


# whoever runs the command line, and the server itself
OPERATOR = Actor(name="(operator)")
SERVER = Actor(name="(server)")


def record(tx: Transaction, /, actor: Actor, event: str, now: int, target: str = "", **details: Any) -> None:
    """Add an entry. ``event`` is a word such as ``user.role``, ``target`` what it was done to (``user 12``);
    ``details`` must hold no secret: no key, token, password or code."""
    tx.run(
        tx.q.audit.add,
        now=now,
        event=event,
        actor_id=actor.user_id,
        actor=actor.name,
        target=target,
        address=actor.address,
        request_id=actor.request_id,
        details=msgspec.json.encode(details).decode(),
    )


def differences(old: Row, new: Row, columns: Iterable[str]) -> dict[str, list[Any]]:
    """Old and new value of each column that changed, as details of an entry."""
    return {name: [_brief(old[name]), _brief(new[name])] for name in columns if old[name] != new[name]}


def _brief(value: Any) -> Any:
    return value[: _LONGEST - 1] + "…" if isinstance(value, str) and len(value) > _LONGEST else value
