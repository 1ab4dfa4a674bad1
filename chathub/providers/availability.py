"""Which models of the table a caller can use now: what the resolver would find endpoints for."""

from collections.abc import Iterable

from chathub.accounts.caller import Caller
from chathub.clock import Clock
from chathub.database.database import Database
from chathub.database.rows.api_keys import ReachableApiKey
from chathub.database.rows.model_rests import CallersRest
from chathub.database.rows.models import Model
from chathub.database.transaction import Transaction
from chathub.formats.urls import origin
from chathub.providers.catalog import CHAT_TYPES, LOCAL, OFFERED_TYPES, Catalog
from chathub.providers.cooldowns import LONGEST_NAME, CallerCooldowns
from chathub.providers.key_health import KeyHealth
from chathub.security.vault import Binding, Vault, VaultError


class Availability:
    """Finds the models that callers can use, with one read of the database for all of them.

    A model is available if an API key may be sent to its provider and is neither broken nor refused for this
    model; also while it is cooling, for that ends by itself. The caller's access token must be for the model.
    """

    def __init__(
        self, db: Database, catalog: Catalog, vault: Vault, clock: Clock, cooldowns: CallerCooldowns
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._vault = vault
        self._clock = clock
        self._cooldowns = cooldowns

    async def available_to(self, caller: Caller) -> frozenset[str]:
        """The names of the models in the table that the caller can use."""
        now = self._clock.now()
        api_keys, rests = await self._db.read(_load, caller.id)
        refused = {
            (rest.key_id, rest.model)
            for rest in rests
            if _is_refused(KeyHealth("cooling", rest.until, rest.failure_class), now)
        }
        usable = self._usable(api_keys)
        reached = {
            row.model_name
            for row in self._catalog.active_rows(OFFERED_TYPES)
            if caller.may_use(row.model_name)
            and self._is_reached(caller, row, usable.get(row.provider_id), refused, now)
        }
        fallbacks = (row for row in self._catalog.active_rows(CHAT_TYPES) if caller.may_use(row.model_name))
        return frozenset(reached | self._with_fallback(fallbacks, reached))

    def _usable(self, api_keys: Iterable[ReachableApiKey]) -> dict[int, list[int]]:
        """The ids of the API keys that may be sent where their provider is, by the provider's id."""
        base_urls = {provider.id: provider.default_base_url for provider in self._catalog.providers()}
        usable: dict[int, list[int]] = {}
        for row in api_keys:
            is_here = origin(row.base_url or base_urls[row.provider_id]) == row.origin
            if is_here and row.health != "broken" and self._opens(row):
                usable.setdefault(row.provider_id, []).append(row.id)
        return usable

    def _opens(self, row: ReachableApiKey) -> bool:
        try:
            return bool(self._vault.open(row.secret, Binding.of(row)))
        except VaultError:
            return False

    def _is_reached(
        self, caller: Caller, row: Model, key_ids: list[int] | None, refused: set[tuple[int, str]], now: int
    ) -> bool:
        """Whether a request for a model would be sent to its provider."""
        if row.provider_slug == LOCAL or not row.provider_needs_key:
            return True
        name = row.model_name[:LONGEST_NAME]
        return any(
            (key_id, row.model_name) not in refused
            and not _is_refused(self._cooldowns.health_of(key_id, caller.id, name), now)
            for key_id in key_ids or ()
        )

    def _with_fallback(self, rows: Iterable[Model], reached: set[str]) -> set[str]:
        """The models for chats that fall back on one that is reached."""
        fallbacks = {row.model_name: row.fallback_model for row in rows}
        found = set()
        for name in fallbacks.keys() - reached:
            seen, at = {name}, fallbacks[name]
            while at in fallbacks and at not in reached and at not in seen:
                seen.add(at)
                at = fallbacks[at]
            if at in reached and at in fallbacks:
                found.add(name)
        return found


def _load(tx: Transaction, user_id: int) -> tuple[list[ReachableApiKey], list[CallersRest]]:
    api_keys = tx.all(tx.q.api_keys.list_for_caller, user_id=user_id)
    return api_keys, tx.all(tx.q.model_rests.list_for_caller, user_id=user_id)


def _is_refused(health: KeyHealth, now: int) -> bool:
    """Whether the provider has said that an API key may not use a model."""
    return health.failure_class == "model_unavailable" and health.is_paused(now)
