"""Rows of ``sql/queries/invites.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Invite(Row, frozen=True):
    """``created_by`` is the name of the administrator who made the invite code."""

    id: int
    hint: str
    note: str
    subscription_type: str
    max_uses: int
    uses: int
    created_by: str
    expires_at: int
    created_at: int


class UsedInvite(Row, frozen=True):
    id: int
    hint: str
    subscription_type: str


class InviteCount(Row, frozen=True):
    count: int


class Invites(Statements):
    list_all: Select[Invite]
    count_all: Select[InviteCount]
    insert: Select[Invite]
    use: Select[UsedInvite]
    delete: Command
    delete_expired: Command
