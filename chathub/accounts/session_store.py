"""Sessions in the database: each function is one transaction, with its entry in the audit log."""

from collections.abc import Callable
from typing import NamedTuple

from chathub.accounts.caller import Caller, ClientInfo
from chathub.accounts.logins import store_network
from chathub.clock import DAY
from chathub.database.rows.sessions import ValidSession
from chathub.database.rows.users import User
from chathub.database.transaction import Transaction
from chathub.errors import NotFound, Unauthorized
from chathub.security.audit import Actor, record

# milliseconds for which an expired session is kept: the clock may have run ahead, and come back
_KEPT_FOR = 90 * DAY
# sessions of one user; those not seen for the longest time end first
_MOST = 100


class Term(NamedTuple):
    """A session token's id, and when it was issued and expires (milliseconds)."""

    jti: str
    issued_at: int
    expires_at: int


def start(tx: Transaction, user: User, client_info: ClientInfo, term: Term, certain: int) -> None:
    """Insert a session; ``certain`` is ``Clock.certain``.

    Raises:
        Unauthorized: the account was changed since its password was checked.
    """
    tx.run(tx.q.sessions.delete_expired, before=certain - _KEPT_FOR)
    address, client = client_info.actor.address, client_info.client
    session = tx.one(
        tx.q.sessions.insert,
        **term._asdict(),
        user_id=user.id,
        version=user.token_version,
        address=address,
        client=client,
    )
    if session is None:
        raise Unauthorized("account_changed")
    now = term.issued_at
    store_network(tx, user.id, address, now, certain)
    record(tx, client_info.actor, "login.succeeded", now, f"session {session.id}", client=client)
    tx.run(tx.q.sessions.delete_oldest, user_id=user.id, session_id=session.id, most=_MOST)


def renew(
    tx: Transaction,
    caller: Caller,
    client_info: ClientInfo,
    term_of: Callable[[int, int], Term],
    now: int,
    behind_since: int | None,
) -> tuple[ValidSession, Term]:
    """Give the caller's session a new token; ``term_of`` makes its term from the session's start and now.

    Raises:
        Unauthorized: the session has ended, or is as old as a session may become.
    """
    session = tx.one(tx.q.sessions.get_by_jti, jti=caller.jti, now=now, behind_since=behind_since)
    if session is None:
        raise Unauthorized("session_ended")
    term = term_of(session.started_at, now)
    if session.issued_at > now:
        # issued ahead of the clock: it is not known which of the two times counts, so the new token lasts
        # no longer than the old one
        term = term._replace(issued_at=session.issued_at, expires_at=session.expires_at)
    if term.expires_at <= now:
        raise Unauthorized("session_too_old")
    actor, client = client_info
    tx.run(tx.q.sessions.renew, **term._asdict(), session_id=session.id, address=actor.address, client=client)
    record(tx, actor, "session.refresh", now, f"session {session.id}", client=client)
    return session, term


def end(tx: Transaction, caller: Caller, actor: Actor, now: int) -> None:
    if session := tx.one(tx.q.sessions.delete_by_jti, jti=caller.jti):
        record(tx, actor, "session.end", now, f"session {session.id}")


def end_one(tx: Transaction, caller: Caller, session_id: int, actor: Actor, now: int) -> None:
    """End one session of the caller's user.

    Raises:
        NotFound: the user has no such session.
    """
    if not tx.run(tx.q.sessions.delete_own, session_id=session_id, user_id=caller.id):
        raise NotFound("session_not_found")
    record(tx, actor, "session.end", now, f"session {session_id}")


def end_all(tx: Transaction, caller: Caller, actor: Actor, now: int, behind_since: int | None) -> int:
    """End all sessions of the caller's user; gives their number, without those that had expired."""
    sessions = tx.all(
        tx.q.sessions.list_own, user_id=caller.id, jti=caller.jti, now=now, behind_since=behind_since
    )
    tx.run(tx.q.sessions.delete_all_of_user, user_id=caller.id)
    record(tx, actor, "session.end_all", now, f"user {caller.id}", sessions=len(sessions))
    return len(sessions)
