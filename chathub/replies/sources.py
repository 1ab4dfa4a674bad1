"""Sources of a reply as they are shown and stored."""

from msgspec import UNSET

from chathub.formats.events import Source
from chathub.schemas import attachments as schemas


def shown(source: Source, length: int) -> schemas.Source:
    """A source of a reply whose text has ``length`` code points; a place beyond them is left out."""
    is_placed = source.start is not None and source.end is not None and source.end <= length
    return schemas.Source(
        source.title,
        source.url,
        source.quote or UNSET,
        source.start if is_placed and source.start is not None else UNSET,
        source.end if is_placed and source.end is not None else UNSET,
    )
