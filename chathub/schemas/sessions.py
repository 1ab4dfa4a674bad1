"""Bodies of ``/api/auth`` for the caller's sessions."""

from msgspec import Struct

from chathub.clock import iso
from chathub.database.rows.sessions import OwnSession
from chathub.schemas.success import Success


class Session(Struct):
    """``client`` is the User-Agent; ``current``: the request was made with this session."""

    id: int
    created_at: str
    last_seen_at: str
    expires_at: str
    address: str
    client: str
    current: bool

    @classmethod
    def of(cls, row: OwnSession, last_seen_at: int) -> "Session":
        return cls(
            id=row.id,
            created_at=iso(row.started_at),
            last_seen_at=iso(last_seen_at),
            expires_at=iso(row.ends_at),
            address=row.address,
            client=row.client,
            current=row.is_current,
        )


class TokenRenewed(Success, kw_only=True):
    """POST /api/auth/refresh: a new session token; the old one has ended."""

    token: str


class SessionsEnded(Success, kw_only=True):
    """``ended`` is the number of sessions that ended."""

    ended: int
