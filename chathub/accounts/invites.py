"""Invite codes: an administrator makes one, and new users register with it. The database keeps its hash."""

import secrets

from msgspec import Struct, structs

from chathub.accounts.access_tokens import digest_of
from chathub.clock import DAY
from chathub.database.rows.invites import Invite, UsedInvite
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.schemas import invites as schemas
from chathub.security import audit
from chathub.security.audit import Actor

# no letters or digits that look like others
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_MOST = 1000
# milliseconds that an expired invite code stays in the list
_SHOWN_FOR = 30 * DAY


class NewInvite(Struct, frozen=True, kw_only=True):
    """``subscription_type`` is that of the accounts made with the code; ``expires_at`` is in milliseconds."""

    note: str
    subscription_type: str
    max_uses: int
    expires_at: int


def fields_of(new: schemas.NewInvite, now: int) -> NewInvite:
    """The fields of a new invite code; ``now`` in milliseconds."""
    return NewInvite(
        note=(new.note or "").strip(),
        subscription_type=new.subscription_type or "free",
        max_uses=new.max_uses or 1,
        expires_at=now + (new.expires_in_days or 7) * DAY,
    )


def new_code() -> str:
    """20 letters and digits: 99 bits, so that a plain hash of the code is enough."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))


def insert(tx: Transaction, code: str, invite: NewInvite, actor: Actor, now: int, certain: int) -> Invite:
    """Store a new invite code. Codes that expired long ago, by ``Clock.certain``, are deleted.

    Raises:
        BadRequest: there are too many already.
    """
    tx.run(tx.q.invites.delete_expired, before=certain - _SHOWN_FOR)
    if tx.all(tx.q.invites.count_all)[0].count >= _MOST:
        raise BadRequest("too_many_invites", most=_MOST)
    hint = code[:4] + "…"
    (row,) = tx.all(
        tx.q.invites.insert,
        digest=digest_of(code),
        hint=hint,
        created_by=actor.user_id,
        now=now,
        **structs.asdict(invite),
    )
    audit.record(tx, actor, "invite.made", now, f"invite {row.id}", hint=hint, max_uses=row.max_uses)
    return row


def use(tx: Transaction, code: str, now: int) -> UsedInvite:
    """Count one use of a code, in the transaction that inserts the account: two registrations cannot share
    the last use.

    Raises:
        BadRequest: no code is given, there is no such code, or it is used up or expired.
    """
    if not code.strip():
        raise BadRequest("invite_required")
    invite = tx.one(tx.q.invites.use, digest=digest_of(code.strip()), now=now)
    if invite is None:
        raise BadRequest("invite_invalid")
    return invite


def delete(tx: Transaction, invite_id: int, actor: Actor, now: int) -> None:
    """Delete an invite code.

    Raises:
        NotFound: there is no such invite code.
    """
    if not tx.run(tx.q.invites.delete, invite_id=invite_id):
        raise NotFound("invite_not_found")
    audit.record(tx, actor, "invite.deleted", now, f"invite {invite_id}")
