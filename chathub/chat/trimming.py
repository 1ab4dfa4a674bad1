"""How much of a conversation is sent where not all of it fits: what is left out is cut off in large steps.

A provider finds in its cache only a prompt that begins as an earlier one. If each turn left out one more
message at the beginning, nothing would be found. So the oldest message that is sent is one that stays the
oldest for many turns: of those with which between half and all of the room is used, the one whose id has the
highest hash. It follows from the messages alone: a newer message takes its place only with a higher hash, or
when there is no room for it any more.
"""

import hashlib
from collections.abc import Iterable


def newest_kept(newest_first: Iterable[tuple[int, int]], used: int, room: int) -> int:
    """How many of the newest items are sent: all of them if there is room.

    Each item is an id and a size; ``used`` is the part of the room that what is always sent takes. No item is
    read after the first one that does not fit.
    """
    count, kept, highest = 0, 0, b""
    for count, (item_id, size) in enumerate(newest_first, 1):
        used += size
        if used > room:
            return kept
        rank = _rank(item_id)
        if used * 2 < room:
            kept = count
        elif rank > highest:
            kept, highest = count, rank
    return count


def _rank(item_id: int) -> bytes:
    return hashlib.blake2b(b"%d" % item_id, digest_size=8).digest()
