"""Which models of the table a caller can use now: what the resolver would find endpoints for."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from chathub.accounts.caller import Caller
from chathub.clock import Clock
from chathub.database.database import Database
from chathub.database.rows.api_keys import ReachableApiKey
from chathub.database.rows.models import Model
from chathub.database.transaction import Transaction
from chathub.formats.urls import origin
from chathub.providers.catalog import CHAT_TYPES, LOCAL, OFFERED_TYPES, Catalog
from chathub.providers.cooldowns import LONGEST_NAME, CallerCooldowns
from chathub.providers.key_health import KeyHealth
from chathub.security.vault import Binding, Vault, VaultError

# the class of failures that say that an API key may not use a model
_REFUSED = "model_unavailable"


class _Rights(Struct, frozen=True):
    """What the database says of a caller: the API keys that it may use, the models that each was refused
    (pairs of both), and whether the caller's money is limited."""

    api_keys: list[ReachableApiKey]
    refused: frozenset[tuple[int, str]]
    has_cost_limit: bool


class Availability:
    """Finds the models that callers can use, with one read of the database for all of them.

    A model is available if an API key may be sent to its provider and is neither broken nor refused for this
    model; also while it is cooling, for that ends by itself. The caller's access token must be for the model,
    and where the caller's money is limited a shared key needs a model with a price.
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
        rights = await self._db.read(_load, caller.id, caller.token_id, now)
        rows = self._catalog.active_rows(OFFERED_TYPES)
        reached = self._reached(caller, rows, rights, now)
        # an access token for an alias is for all of its targets
        usable = {
            row.model_name
            for row in rows
            if caller.may_use(row.model_name)
            and any(model.model_name in reached for model in self._catalog.targets_of(row))
        }
        behind = self._fallbacks([row for row in rows if row.model_type in CHAT_TYPES])
        waiting = [name for name in behind if name not in usable and caller.may_use(name)]
        return frozenset(usable.union(name for name in waiting if _falls_back(name, behind, usable)))

    def _fallbacks(self, rows: Sequence[Model]) -> dict[str, set[str]]:
        """The models for chats that each model falls back on; an alias also on those of its targets."""
        names = {row.model_name for row in rows}
        found = {
            row.model_name: names & {each.fallback_model for each in (row, *self._catalog.targets_of(row))}
            for row in rows
            if row.fallback_model or row.is_alias
        }
        return {name: fallbacks for name, fallbacks in found.items() if fallbacks}

    def _reached(self, caller: Caller, rows: Iterable[Model], rights: _Rights, now: int) -> set[str]:
        """The names of the models, aliases not among them, that requests would be sent to providers for."""
        api_keys, reached = self._usable(rights.api_keys), set()
        for row in rows:
            usable = [] if row.provider_id is None else api_keys.get(row.provider_id, [])
            if rights.has_cost_limit and not row.has_prices:
                usable = [api_key for api_key in usable if api_key.user_id == caller.id]
            if not row.is_alias and self._is_reached(caller, row, usable, rights.refused, now):
                reached.add(row.model_name)
        return reached

    def _usable(self, api_keys: Iterable[ReachableApiKey]) -> dict[int, list[ReachableApiKey]]:
        """The API keys that may be sent where their provider is, by the provider's id."""
        base_urls = {provider.id: provider.default_base_url for provider in self._catalog.providers()}
        usable: dict[int, list[ReachableApiKey]] = {}
        for row in api_keys:
            is_here = origin(row.base_url or base_urls[row.provider_id]) == row.origin
            if is_here and row.health != "broken" and self._opens(row):
                usable.setdefault(row.provider_id, []).append(row)
        return usable

    def _opens(self, row: ReachableApiKey) -> bool:
        try:
            return bool(self._vault.open(row.secret, Binding.of(row)))
        except VaultError:
            return False

    def _is_reached(
        self,
        caller: Caller,
        row: Model,
        api_keys: Iterable[ReachableApiKey],
        refused: frozenset[tuple[int, str]],
        now: int,
    ) -> bool:
        """Whether a request for a model would be sent to its provider."""
        if row.provider_slug == LOCAL or not row.provider_needs_key:
            return True
        name = row.model_name[:LONGEST_NAME]
        return any(
            (api_key.id, row.model_name) not in refused
            and not _is_refused(self._cooldowns.health_of(api_key.id, caller.id, name), now)
            for api_key in api_keys
        )


def _falls_back(name: str, behind: Mapping[str, set[str]], usable: set[str]) -> bool:
    """Whether a model falls back on one that is usable, directly or by way of others."""
    waiting, seen = [name], {name}
    while waiting:
        fallbacks = behind.get(waiting.pop(), set()) - seen
        if fallbacks & usable:
            return True
        seen |= fallbacks
        waiting += fallbacks
    return False


def _load(tx: Transaction, user_id: int, token_id: int | None, now: int) -> _Rights:
    rests = tx.all(tx.q.model_rests.list_for_caller, user_id=user_id, failure_class=_REFUSED, now=now)
    limits = tx.all(tx.q.limits.find_cost_limit, user_id=user_id, token_id=token_id)
    return _Rights(
        tx.all(tx.q.api_keys.list_for_caller, user_id=user_id),
        frozenset(
            (rest.key_id, rest.model)
            for rest in rests
            if KeyHealth("cooling", rest.until, _REFUSED).is_paused(now)
        ),
        has_cost_limit=bool(limits),
    )


def _is_refused(health: KeyHealth, now: int) -> bool:
    """Whether the provider has said that an API key may not use a model."""
    return health.failure_class == _REFUSED and health.is_paused(now)
