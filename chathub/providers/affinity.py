"""Affinity: a conversation stays with the API key, and with the target of an alias, that served it before.

A provider keeps prompts in a cache for each account, so the same conversation with another API key is paid in
full again. Which key serves a conversation follows from a hash of both (weighted rendezvous hashing): this
needs no memory, shares new conversations by weight, and is the same after a restart. Only moves are kept in
memory: the conversations that another key serves, because theirs did not work.
"""

import hashlib
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
Id = int | str

# moves in memory; of more the oldest is forgotten
_MOST_MOVES = 10_000
_BITS = 53


class Affinity:
    """Makes the affinity keys of requests, and remembers which conversations have moved since the start.

    A pool is what an order is made of: the API keys for a model, or the targets of an alias.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._moves: OrderedDict[tuple[str, str], Id] = OrderedDict()

    def key_of(self, caller_id: int, hint: str) -> str:
        """The affinity key of a caller's request. ``hint`` is what the requests of one conversation have in
        common. A provider may see the key: it says nothing of the caller or the hint."""
        text = f"{caller_id}\0{hint}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._secret, digest_size=16).hexdigest()

    def moved_to(self, affinity: str, pool: str) -> Id | None:
        """The item of a pool that serves a conversation although it is not the first choice."""
        return self._moves.get((affinity, pool))

    def record(self, affinity: str, pool: str, served_by: Id, *, is_first_choice: bool) -> None:
        """Record which item of a pool serves a conversation from now on."""
        place = affinity, pool
        self._moves.pop(place, None)
        if affinity and not is_first_choice:
            self._moves[place] = served_by
            if len(self._moves) > _MOST_MOVES:
                self._moves.popitem(last=False)


def ranked(
    affinity: str, items: Iterable[T], id_of: Callable[[T], Id], weight_of: Callable[[T], float]
) -> list[T]:
    """The items in the order in which they are tried for an affinity key; for an empty one in random order.

    Over many keys each item comes first in proportion to its weight. An item that is added or removed changes
    nothing in the order of the others.
    """

    def waiting(item: T) -> float:
        """How long an item lets others go before: exponentially distributed, with the weight as its rate."""
        weight = weight_of(item)
        chance = _fraction(f"{affinity}\0{id_of(item)}") if affinity else random.random()
        return -math.log(1 - chance) / weight if weight > 0 else math.inf

    return sorted(items, key=waiting)


def _fraction(text: str) -> float:
    """A number from 0 to below 1 that follows from a text and looks random."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> (64 - _BITS)) / float(1 << _BITS)
