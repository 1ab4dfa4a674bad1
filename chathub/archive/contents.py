"""What a user's archive has beside conversations and files: each function gives the JSON of one file."""

from typing import Any

import msgspec
from msgspec import Raw

from chathub.accounts import users
from chathub.archive.owner import Owner
from chathub.billing import reports
from chathub.clock import iso
from chathub.database.rows import audit as audit_rows
from chathub.database.transaction import Transaction
from chathub.formats.urls import without_query
from chathub.schemas.api_keys import ApiKey
from chathub.schemas.invites import Invite
from chathub.schemas.sessions import Session
from chathub.schemas.tokens import AccessToken
from chathub.schemas.users import User
from chathub.stored_responses import log
from chathub.stored_responses.request import unpacked_items


def shown(value: Any) -> bytes:
    """JSON for people to read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def profile(tx: Transaction, owner: Owner) -> bytes:
    account = users.get_own(tx, owner.user_id)
    networks = tx.all(tx.q.exports.list_networks, user_id=owner.user_id)
    known = [{"network": row.network, "last_login_at": iso(row.last_at)} for row in networks]
    return shown({"exported_at": iso(owner.month.now), "user": User.of(*account), "known_networks": known})


def api_keys(tx: Transaction, owner: Owner) -> bytes:
    """The user's API keys, with their masks only."""
    rows = tx.all(tx.q.api_keys.list_own, user_id=owner.user_id)
    return shown(
        [
            ApiKey.of(
                row,
                [],
                owner.language,
                default_base_url=without_query(row.default_base_url),
                needs_reentry=False,
            )
            for row in rows
        ]
    )


def access_tokens(tx: Transaction, owner: Owner) -> bytes:
    found = reports.own_tokens(tx, owner.user_id, owner.month)
    return shown([AccessToken.of(row, limits, row.last_used_at) for row, limits in found])


def sessions(tx: Transaction, owner: Owner) -> bytes:
    rows = tx.all(
        tx.q.sessions.list_own,
        user_id=owner.user_id,
        jti=owner.jti,
        now=owner.month.now,
        behind_since=owner.behind_since,
    )
    return shown([Session.of(row, row.last_seen_at) for row in rows])


def invites(tx: Transaction, owner: Owner) -> bytes:
    rows = tx.all(tx.q.exports.list_invites, user_id=owner.user_id)
    return shown([Invite.of(row) for row in rows])


def audit_entry(row: audit_rows.AuditEntry, owner: Owner) -> bytes:
    """An act of the user, or one of others that concerns the user: without who they are, and where."""
    is_own = row.actor_id == owner.user_id
    entry = {
        "at": iso(row.at),
        "event": row.event,
        "by_you": is_own,
        "target": row.target,
        "address": row.address if is_own else "",
        "details": Raw(row.details.encode()),
    }
    return msgspec.json.encode(entry)


def response(tx: Transaction, response_id: int) -> bytes | None:
    """A stored response with its own input; None: it was deleted meanwhile."""
    stored = tx.one(tx.q.responses.get, response_id=response_id)
    row = tx.one(tx.q.responses.get_input, response_id=response_id)
    if stored is None or row is None:
        return None
    return msgspec.json.encode({"input": unpacked_items(row.input), "response": log.response_of(tx, stored)})
