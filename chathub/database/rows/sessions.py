"""Rows of ``sql/queries/sessions.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class ValidSession(Row, frozen=True):
    """A session that has not ended, with its user. All moments are in milliseconds.

    ``ends_at`` is ``expires_at``, but for a session from before the clock was set back.
    """

    id: int
    user_id: int
    started_at: int
    issued_at: int
    expires_at: int
    last_seen_at: int
    username: str
    role: str
    token_version: int
    ends_at: int


class OwnSession(Row, frozen=True):
    """A session as its user sees it; ``client`` is the User-Agent of its last login or renewal."""

    id: int
    started_at: int
    last_seen_at: int
    address: str
    client: str
    is_current: bool
    ends_at: int


class SessionId(Row, frozen=True):
    id: int


class Sessions(Statements):
    get_by_jti: Select[ValidSession]
    list_own: Select[OwnSession]
    insert: Select[SessionId]
    renew: Command
    update_last_seen: Command
    delete_by_jti: Select[SessionId]
    delete_own: Command
    delete_all_of_user: Command
    delete_expired: Command
    delete_expired_ahead: Command
    delete_oldest: Command
