"""Bodies of ``/api/audit``."""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from chathub.clock import iso
from chathub.database.rows import audit as rows
from chathub.schemas.decode import Request
from chathub.schemas.fields import RowId


class AuditFilter(Request):
    """The query of GET /api/audit: ``event`` is one event (``user.role``) or, with a dot at its end, the
    beginning of several; ``before`` is the id of the last entry that the client has."""

    event: Annotated[str, Meta(max_length=100)] | None = None
    actor_id: RowId | None = None
    since: Annotated[str, Meta(max_length=40)] | None = None
    until: Annotated[str, Meta(max_length=40)] | None = None
    before: RowId | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class AuditActor(Struct):
    """The user who acted: ``id`` is null without a login, ``username`` is the name at that time."""

    id: int | None
    username: str


class AuditEntry(Struct):
    """One act. ``target`` is what it changed (``user 2``); the fields of ``details`` depend on the event."""

    id: int
    at: str
    event: str
    actor: AuditActor
    target: str
    address: str
    request_id: str
    details: Raw

    @classmethod
    def of(cls, row: rows.AuditEntry) -> "AuditEntry":
        return cls(
            id=row.id,
            at=iso(row.at),
            event=row.event,
            actor=AuditActor(row.actor_id, row.actor),
            target=row.target,
            address=row.address,
            request_id=row.request_id,
            details=Raw(row.details.encode()),
        )


class AuditPage(Struct, kw_only=True):
    """GET /api/audit, the newest first; ``next_before`` is the ``before`` of the next page, or null."""

    success: Literal[True] = True
    data: list[AuditEntry]
    next_before: int | None
