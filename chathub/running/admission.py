"""Whether the server can take on a new turn or gateway request."""

from chathub.billing.settlement_queue import SettlementQueue
from chathub.database.database import Database
from chathub.disk import Disk


class Admission:
    """Refuses turns and gateway requests that could not be stored at their end, before they begin."""

    def __init__(self, db: Database, disk: Disk, settlement_queue: SettlementQueue) -> None:
        self._db = db
        self._disk = disk
        self._settlement_queue = settlement_queue

    def check(self, *, growing: int = 0, large: bool = False) -> None:
        """Check that a turn or a gateway request may begin. ``growing``: the bytes of the running replies;
        ``large``: more than a text would be stored.

        Raises:
            Unavailable: the database file is gone, or too much waits to be stored already.
            DiskLow: the disk has too little room.
        """
        self._db.condition.check()
        self._disk.check(large=large)
        self._settlement_queue.check(growing)
