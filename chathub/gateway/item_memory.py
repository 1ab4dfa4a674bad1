"""The items of replies of Responses, for clients that refer to them although these are not stored."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from msgspec import Raw, Struct

from chathub.formats.responses.references import id_of

MOST_ITEMS = 10_000
MOST_BYTES = 32 * 1024 * 1024
SECONDS = 3600.0
# bytes of one item
_LONGEST = 512 * 1024
# bytes that each item takes besides
_PER_ITEM = 500

# the user, and the id of the item
_Key = tuple[int, str]


class _Remembered(Struct):
    """An item of a reply of a model; ``at`` is when it was needed last."""

    at: float
    model: str
    item: bytes


class ItemMemory:
    """Remembers items by user and id, in memory only: at most so many items and bytes, and for an hour after
    each was needed last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._items: OrderedDict[_Key, _Remembered] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def remember(self, user_id: int, model: str, items: Iterable[Raw]) -> None:
        """Remember the items of a reply; ``model`` is the name that was requested."""
        for item in items:
            if (item_id := id_of(item)) and memoryview(item).nbytes <= _LONGEST:
                self._forget((user_id, item_id))
                self._items[user_id, item_id] = _Remembered(self._clock(), model, bytes(item))
                self._bytes += memoryview(item).nbytes + _PER_ITEM
        while self._items and (len(self._items) > MOST_ITEMS or self._bytes > MOST_BYTES or self._is_old()):
            self._forget(next(iter(self._items)))

    def find(
        self, user_id: int, ids: Iterable[str], may_read: Callable[[str], bool] = lambda _: True
    ) -> dict[str, bytes]:
        """The items of replies to the user that are remembered, by id, but for those of models that may not
        be read."""
        return {each: item for each in ids if (item := self._item(user_id, each, may_read)) is not None}

    def _item(self, user_id: int, item_id: str, may_read: Callable[[str], bool]) -> bytes | None:
        known = self._items.get((user_id, item_id))
        now = self._clock()
        if known is None or now - known.at >= SECONDS or not may_read(known.model):
            return None
        known.at = now
        self._items.move_to_end((user_id, item_id))
        return known.item

    def _is_old(self) -> bool:
        return self._clock() - next(iter(self._items.values())).at >= SECONDS

    def _forget(self, key: _Key) -> None:
        if (known := self._items.pop(key, None)) is not None:
            self._bytes -= len(known.item) + _PER_ITEM
