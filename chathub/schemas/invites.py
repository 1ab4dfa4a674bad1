"""Bodies of ``/api/invites``."""

from typing import Annotated

from msgspec import Meta, Struct

from chathub.clock import iso
from chathub.database.rows import invites as rows
from chathub.schemas.decode import Request
from chathub.schemas.subscriptions import SubscriptionName
from chathub.schemas.success import Success


class NewInvite(Request):
    """POST /api/invites; ``subscription_type`` is that of the accounts made with the code."""

    note: Annotated[str, Meta(max_length=200)] | None = None
    max_uses: Annotated[int, Meta(ge=1, le=1000)] | None = None
    expires_in_days: Annotated[int, Meta(ge=1, le=365)] | None = None
    subscription_type: SubscriptionName | None = None


class Invite(Struct):
    """An invite code without its secret: ``hint`` is its beginning. ``created_by`` is an administrator's
    name."""

    id: int
    hint: str
    note: str
    subscription_type: str
    max_uses: int
    uses: int
    created_by: str
    expires_at: str
    created_at: str

    @classmethod
    def of(cls, row: rows.Invite) -> "Invite":
        return cls(
            id=row.id,
            hint=row.hint,
            note=row.note,
            subscription_type=row.subscription_type,
            max_uses=row.max_uses,
            uses=row.uses,
            created_by=row.created_by,
            expires_at=iso(row.expires_at),
            created_at=iso(row.created_at),
        )


class InviteCreated(Success, kw_only=True):
    """``code`` is the secret, which is shown this once."""

    code: str
    data: Invite
