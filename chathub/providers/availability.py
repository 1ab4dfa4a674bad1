"""Which models of the table a caller can use now: what the resolver would find endpoints for."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from chathub.accounts.caller import Caller
from chathub.clock import Clock
from chathub.database.database import Database
from chathub.database.rows.api_keys import ReachableApiKey
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest
from chathub.formats.urls import origin
from chathub.providers import entries
from chathub.providers.catalog import CHAT_TYPES, LOCAL, Catalog
from chathub.providers.chat_model import ChatModel
from chathub.providers.cooldowns import LONGEST_NAME, CallerCooldowns
from chathub.providers.key_health import KeyHealth
from chathub.security.vault import Binding, Vault, VaultError

# the class of failures that say that an API key may not use a model
_REFUSED = "model_unavailable"
# whether a request for a model would be sent to its provider
Reached = Callable[[ChatModel], bool]


class _Rights(Struct, frozen=True):
    """What the database says of a caller: the API keys that it may use, the models that each was refused
    (pairs of both), and whether the caller's money is limited."""

    api_keys: list[ReachableApiKey]
    refused: frozenset[tuple[int, str]]
    has_cost_limit: bool


class _Node(Struct, frozen=True):
    """A requested name. ``may_be_used``: the caller's access token is for it; ``is_sent``: a request for one
    of its own models would be sent; ``behind``: the names that it falls back on."""

    may_be_used: bool = False
    is_sent: bool = False
    behind: tuple[str, ...] = ()


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
        api_keys = self._usable(rights.api_keys)
        reached: dict[str, bool] = {}

        def is_reached(model: ChatModel) -> bool:
            if model.name not in reached:
                reached[model.name] = self._is_reached(caller, model, api_keys, rights, now)
            return reached[model.name]

        found = set[str]()
        for model_types in entries.KINDS:
            names = [row.model_name for row in self._catalog.active_rows(model_types)]
            nodes = self._nodes(caller, names, model_types, is_reached)
            sent = _spread(nodes)
            found.update(name for name in names if nodes[name].may_be_used and name in sent)
        return frozenset(found)

    def _nodes(
        self, caller: Caller, names: Iterable[str], model_types: tuple[str, ...], is_reached: Reached
    ) -> dict[str, _Node]:
        """The names, and all that they fall back on."""
        waiting, nodes = list(names), dict[str, _Node]()
        while waiting:
            name = waiting.pop()
            if name not in nodes:
                nodes[name] = self._node(caller, name, model_types, is_reached)
                waiting += nodes[name].behind
        return nodes

    def _node(self, caller: Caller, name: str, model_types: tuple[str, ...], is_reached: Reached) -> _Node:
        try:
            entry = self._catalog.entry(name)
            choices = entries.models_of(self._catalog, entry, model_types)
        except BadRequest:
            return _Node()
        may_be_used = entries.may_use(caller, entry)
        # what is no chat is only forwarded
        models = [each for _, each in choices if model_types == CHAT_TYPES or each.wire_format == "openai"]
        return _Node(
            may_be_used,
            is_sent=may_be_used and any(is_reached(model) for model in models),
            # vectors of different models cannot be compared
            behind=() if model_types == ("embedding",) else tuple(entries.fallback_names(entry, choices)),
        )

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
        model: ChatModel,
        api_keys: Mapping[int, Iterable[ReachableApiKey]],
        rights: _Rights,
        now: int,
    ) -> bool:
        """Whether a request for a model, which is no alias's, would be sent to its provider."""
        if model.provider_slug == LOCAL or not model.needs_key:
            return True
        needs_own = rights.has_cost_limit and not (model.is_priced or model.units.by_key)
        name = model.name[:LONGEST_NAME]
        return any(
            (api_key.user_id == caller.id or not needs_own)
            and (api_key.id, model.name) not in rights.refused
            and not _is_refused(self._cooldowns.health_of(api_key.id, caller.id, name), now)
            for api_key in api_keys.get(model.provider_id, ())
        )


def _spread(nodes: Mapping[str, _Node]) -> set[str]:
    """The names whose requests would be sent, for themselves or for what they fall back on. Each name is
    looked at once: chains may be long."""
    ahead: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for each in node.behind:
            ahead.setdefault(each, []).append(name)
    sent = {name for name, node in nodes.items() if node.is_sent}
    waiting = list(sent)
    while waiting:
        new = set(ahead.get(waiting.pop(), ())) - sent
        sent |= new
        waiting += new
    return sent


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
