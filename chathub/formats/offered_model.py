"""A model as ``/v1/models`` offers it to programs, whatever their format."""

from msgspec import Struct

from chathub.schemas.json import JsonObject


class OfferedModel(Struct, frozen=True):
    """``created_at`` is Unix milliseconds; lengths are tokens, None: not known."""

    id: str
    name: str
    owned_by: str
    created_at: int
    context_window: int | None = None
    max_output_tokens: int | None = None

    @property
    def details(self) -> JsonObject:
        """The fields that both formats show beside their own."""
        return {
            "name": self.name,
            "context_window": self.context_window,
            "max_output_tokens": self.max_output_tokens,
        }
