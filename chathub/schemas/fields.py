"""Types of fields that several sections have."""

from typing import Annotated

from msgspec import Meta

from chathub.errors import BadRequest

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]
Order = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
ConversationId = Annotated[str, Meta(max_length=100)]
Weight = Annotated[int, Meta(ge=1, le=1000)]
RowId = Annotated[int, Meta(ge=0, le=2**53)]


def check_conversation_id(name: str) -> None:
    """Check that the id that a client gives a new conversation can be a part of a URL's path.

    Raises:
        BadRequest: it has a character that ends or divides a path, names a folder, or cannot be printed.
    """
    if not name.isprintable() or any(mark in name for mark in "/\\?#%") or name in (".", ".."):
        raise BadRequest("conversation_id_invalid")
