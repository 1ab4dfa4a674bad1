"""A user leaves for good: the account ends at once, and its data is removed in small batches.

The row of the user stays, without name and address: the ledger, its sums and the audit refer to it.
"""

import json
import time
from typing import NamedTuple

from msgspec import structs

from chathub.accounts import users
from chathub.accounts.codes import for_email
from chathub.chat import removal
from chathub.database.rows.leaving_users import LeavingUser
from chathub.database.rows.limits import NO_ACCOUNT_LIMITS
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest
from chathub.schemas.json import JsonObject
from chathub.security import audit
from chathub.security.audit import Actor

# rows that one step removes: of files and responses, which may be large, and of others
_LARGE_ROWS, _ROWS = 2, 100
# entries of the audit or the ledger that one step looks through
_ENTRIES = 500


class Leaver(NamedTuple):
    """The names of an account that has ended, in comparable form, and the ids of its API keys, which running
    work of others may use."""

    names: list[str]
    key_ids: list[int]


def leave(tx: Transaction, user_id: int, actor: Actor, now: int) -> Leaver:
    """End an account for good. Nobody can sign in any more, its name and address are free, and nothing new
    is stored for it.

    Raises:
        NotFound: no such account.
        Unauthorized: the actor's own was removed meanwhile.
        BadRequest: it is that of the last administrator.
    """
    user = (users.get_own if user_id == actor.user_id else users.get)(tx, user_id).user
    is_admin = user.role == "admin" and user.is_active
    if is_admin and tx.all(tx.q.users.count_other_admins, user_id=user_id)[0].count == 0:
        raise BadRequest("last_admin")
    former = [
        json.loads(row.details) for row in tx.all(tx.q.leaving_users.list_audited_names, user_id=user_id)
    ]
    names = _all_of("username", user.username, former)
    tx.run(tx.q.leaving_users.insert, user_id=user_id, names=json.dumps(names))
    for email_key in _all_of("email", user.email, former):
        tx.run(tx.q.verification_codes.delete, email_key=email_key)
    tx.run(tx.q.verification_codes.delete_of_purpose, purpose=for_email(user).name)
    tx.run(tx.q.users.leave, user_id=user_id, now=now)
    tx.run(tx.q.limits.update_of_user, user_id=user_id, **structs.asdict(NO_ACCOUNT_LIMITS))
    key_ids = [row.id for row in tx.all(tx.q.leaving_users.list_api_keys, user_id=user_id)]
    _remove_access(tx, user_id)
    # after the name has gone
    audit.record(tx, actor, "user.removed", now, f"user {user_id}")
    return Leaver(names, key_ids)


def _remove_access(tx: Transaction, user_id: int) -> None:
    """Remove what opens something: sessions, tokens, API keys, invite codes; these are few."""
    for command in (
        tx.q.sessions.delete_all_of_user,
        tx.q.leaving_users.delete_tokens,
        tx.q.leaving_users.delete_api_keys,
        tx.q.leaving_users.delete_invites,
        tx.q.leaving_users.delete_networks,
        tx.q.leaving_users.delete_request_counts,
    ):
        tx.run(command, user_id=user_id)


def _all_of(field: str, value: str, former: list[JsonObject]) -> list[str]:
    """A field's value and those that it had before, as the audit has them, in comparable form."""
    values = {value}
    for details in former:
        changed = details.get(field)
        values.update(changed if isinstance(changed, list) else ())
    return sorted({users.comparable(each) for each in values})


def begin_removal(tx: Transaction, user_id: int) -> None:
    """Let the removal begin: no request of the user runs any more."""
    tx.run(tx.q.leaving_users.set_idle, user_id=user_id)


def recover(tx: Transaction) -> None:
    """At start: continue the removals that the last end of the server cut off. No request runs yet."""
    tx.run(tx.q.leaving_users.set_all_idle)


def remove_batch(tx: Transaction, now: int) -> bool:
    """Remove some data of users who have left, but nothing while there are deleted conversations: these are
    removed before, by ``removal.remove_batch``. Returns whether there was something to do."""
    if tx.one(tx.q.conversations.find_deleted):
        # perhaps hidden a moment ago: their messages show files of the user
        return True
    end, has_worked = time.monotonic() + removal.BATCH_SECONDS, False
    while leaver := tx.one(tx.q.leaving_users.find_idle):
        has_worked = True
        if _hide_conversations(tx, leaver.user_id, now):
            # ``removal.remove_batch`` removes them before the next batch
            break
        if not _remove_rows(tx, leaver.user_id) and not _clear_names(tx, leaver):
            tx.run(tx.q.leaving_users.delete, user_id=leaver.user_id)
        if time.monotonic() > end:
            break
    return has_worked


def _hide_conversations(tx: Transaction, user_id: int, now: int) -> bool:
    return tx.run(tx.q.leaving_users.hide_conversations, user_id=user_id, now=now, most=_ROWS) > 0


def _remove_rows(tx: Transaction, user_id: int) -> bool:
    """Remove some rows; gives whether there were any."""
    large = any(
        tx.run(command, user_id=user_id, most=_LARGE_ROWS)
        for command in (tx.q.leaving_users.delete_files, tx.q.leaving_users.delete_responses)
    )
    return large or any(
        tx.run(command, user_id=user_id, most=_ROWS)
        for command in (tx.q.leaving_users.delete_deletions, tx.q.leaving_users.delete_idempotency_keys)
    )


def _clear_names(tx: Transaction, leaver: LeavingUser) -> bool:
    """Remove names and texts of the user from some entries of the audit and the ledger; gives whether there
    were any to look through."""
    user_id = leaver.user_id
    audit_end = tx.all(tx.q.audit.find_end, after=leaver.audit_id, most=_ENTRIES)[0].id
    if audit_end is not None:
        tx.run(tx.q.leaving_users.clear_audit, user_id=user_id, after=leaver.audit_id, last=audit_end)
    ledger_end = tx.all(
        tx.q.leaving_users.find_ledger_end, user_id=user_id, after=leaver.ledger_id, most=_ENTRIES
    )[0].id
    if ledger_end is not None:
        tx.run(tx.q.leaving_users.clear_ledger, user_id=user_id, after=leaver.ledger_id, last=ledger_end)
    tx.run(
        tx.q.leaving_users.set_progress,
        user_id=user_id,
        audit_id=audit_end or leaver.audit_id,
        ledger_id=ledger_end or leaver.ledger_id,
    )
    return audit_end is not None or ledger_end is not None
