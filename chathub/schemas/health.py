"""Bodies of ``/api/health`` and ``/api/health/ready``."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from chathub.database.condition import State


class LastBackup(Struct):
    """When the server made its last backup, and whether it succeeded. This is public, so the body does not
    say where the backup is."""

    at: str
    ok: bool


class Health(Struct, kw_only=True):
    """GET /api/health. ``last_backup`` is absent where the server made none."""

    status: Literal["healthy", "degraded"]
    message: str
    database: State
    last_backup: LastBackup | UnsetType = UNSET


class Ready(Struct, kw_only=True):
    """GET /api/health/ready, where it is no error."""

    status: Literal["ready"] = "ready"
    message: str
