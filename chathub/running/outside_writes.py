"""Writes of other programs to the database, such as an operator's command beside the server."""

import asyncio
import json

from chathub.accounts.sessions import Sessions
from chathub.database.database import Database
from chathub.providers.catalog import Catalog
from chathub.running.registry import Registry

# seconds between two looks
_ROUND = 1.0


class OutsideWrites:
    """After another program has written, forgets what the server keeps in memory of accounts and models, and
    stops what runs of disabled users."""

    def __init__(self, db: Database, sessions: Sessions, catalog: Catalog, registry: Registry) -> None:
        self._db = db
        self._sessions = sessions
        self._catalog = catalog
        self._registry = registry
        self._seen: int | None = None

    async def watch(self) -> None:
        """Look once a second, without end."""
        while True:
            version = await self._db.outside_version()
            if self._seen not in (None, version):
                await self._take_over()
            self._seen = version
            await asyncio.sleep(_ROUND)

    async def _take_over(self) -> None:
        self._sessions.forget_all()
        await self._catalog.reload()
        user_ids = json.dumps(sorted(self._registry.user_ids()))
        rows = await self._db.fetch_all(self._db.q.users.list_disabled, user_ids=user_ids)
        disabled = {row.id for row in rows}
        if disabled:
            await self._registry.stop(lambda run: run.user_id in disabled)
