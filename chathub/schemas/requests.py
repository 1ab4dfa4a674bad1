"""Types of fields that several sections have."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from chathub.errors import BadRequest

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ModelName = Annotated[str, Meta(max_length=200)]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]
Order = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
ConversationId = Annotated[str, Meta(max_length=100)]
RowId = Annotated[int, Meta(ge=0, le=2**53)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]


def check_conversation_id(name: str) -> None:
    """Refuse an id that a client gives a new conversation unless it can stand in a path.

    Raises:
        BadRequest: it holds what ends or divides a path, stands for a folder, or cannot be printed.
    """
    if not name.isprintable() or any(mark in name for mark in "/\\?#%") or name in (".", ".."):
        raise BadRequest("字段 conversation_id 的值无效")


class UsageFilter(Struct):
    """GET /api/usage; days are ``2024-01-31`` in the configured zone, both included."""

    since: Day | None = None
    until: Day | None = None
    model: ModelName | None = None
    provider: ModelName | None = None
    user_id: RowId | None = None
    token_id: RowId | None = None
    group_by: Literal["day", "model", "user"] | None = None
    format: Literal["json", "csv"] = "json"
    before: RowId | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100

    def __post_init__(self) -> None:
        for name, day in (("since", self.since), ("until", self.until)):
            try:
                date.fromisoformat(day or "2000-01-01")
            except ValueError:
                raise BadRequest(f"字段 {name} 的值无效") from None
