"""The record of what administrators did and of what concerns security, in the transaction that did it."""

from typing import Any

import msgspec
from msgspec import Struct

from chathub.database.connection import Transaction


class Actor(Struct, frozen=True):
    """Who did something: the user (None: nobody signed in), the name it went by, the address it came
    from, and the request."""

    user_id: int | None = None
    name: str = ""
    address: str = ""
    request_id: str = ""


# the server itself, and whoever runs its command line
OPERATOR = Actor(name="(operator)")


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
