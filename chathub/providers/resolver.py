"""The resolver: from a model's name to the candidates of a request. It refuses what needs no attempt."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from msgspec.structs import replace

from chathub.accounts.caller import Caller
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.api_keys import PooledApiKey, UsableApiKey
from chathub.errors import BadRequest, ChatHubError, Forbidden, NotFound
from chathub.formats.events import Units
from chathub.formats.messages import Endpoint
from chathub.formats.urls import origin, place
from chathub.providers import aliases, entries, key_pool
from chathub.providers.affinity import Affinity
from chathub.providers.aliases import Entry, Place
from chathub.providers.candidates import Candidate, Candidates, record_place, record_target
from chathub.providers.catalog import LOCAL, Catalog
from chathub.providers.chat_model import ChatModel, provider_as_model
from chathub.providers.cooldowns import LONGEST_NAME, CallerCooldowns
from chathub.providers.entries import Choices
from chathub.providers.key_health import KeyHealth, worst
from chathub.providers.requirements import NOTHING, Requirements, check_able, check_needs
from chathub.providers.unusable_keys import none_usable
from chathub.security.vault import Binding, Vault, VaultError
from chathub.upstream.guard import is_trusted


class Resolver:
    """Resolves the name of a model into candidates for one caller."""

    def __init__(
        self,
        db: Database,
        catalog: Catalog,
        vault: Vault,
        clock: Clock,
        config: Config,
        cooldowns: CallerCooldowns,
        affinity: Affinity,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._vault = vault
        self._clock = clock
        self._config = config
        self._cooldowns = cooldowns
        self._affinity = affinity

    def resolve(
        self, caller: Caller, model_name: str, needs: Requirements = NOTHING, hint: str = ""
    ) -> Candidates:
        """The candidates for a request of ``caller`` for the model of that name.

        ``hint`` is what the requests of its conversation have in common, empty for a request without one.

        Raises:
            BadRequest: no such model, one that lacks what the request needs, or no usable API key; the
                sentence says which provider's API key to save.
            Forbidden: the caller's access token is not for this model.
            TooManyRequests: all API keys are cooling.
        """
        entry = self._catalog.entry(model_name)
        choices = entries.models_of(self._catalog, entry, needs.types)
        if not entries.may_use(caller, entry):
            raise Forbidden("model_not_allowed", model=entry.name)
        check_able((model for _, model in choices), needs)
        affinity = self._affinity.key_of(caller.id, hint) if hint else ""
        in_order, refusal = self._candidates(caller, entry, choices, needs, affinity)
        if needs.falls_back:
            for fallback, models in entries.fallbacks(self._catalog, caller, entry, choices, needs.types):
                in_order += self._candidates(caller, fallback, models, needs, affinity)[0]
        if not in_order:
            # a fallback may be missing; the first model's error is the one to raise
            assert refusal is not None
            raise refusal
        return Candidates(_distinct(in_order), entry.name, affinity)

    def _candidates(
        self, caller: Caller, entry: Entry, choices: Choices, needs: Requirements, affinity: str
    ) -> tuple[list[Candidate], ChatHubError | None]:
        """The candidates for a name, in order, and why the first model that is none cannot be used."""
        found: dict[str, Candidate] = {}
        refusal = None
        for _, model in choices:
            try:
                check_needs(model, needs)
                found[model.name] = self._candidate(caller, model, affinity, needs.units)
            except ChatHubError as error:
                refusal = refusal or error
        if not entry.alias:
            return list(found.values()), refusal
        places = aliases.places(entry.alias, [choice for choice, _ in choices], self._affinity, affinity)
        return list(self._placed(found, places, affinity)), refusal

    def _placed(
        self, found: Mapping[str, Candidate], places: Iterable[Place], affinity: str
    ) -> Iterator[Candidate]:
        """The targets of an alias in their places; among equals those come last that have failed just now."""
        for _, equals in groupby(places, key=attrgetter("pool")):
            candidates = [
                replace(found[place.name], pool=place.pool, is_first_choice=place.is_first_choice)
                for place in equals
                if place.name in found
            ]
            candidates.sort(key=lambda candidate: not candidate.is_well)
            for candidate in candidates[:1]:
                record_target(self._affinity, affinity, candidate)
            yield from candidates

    async def endpoint_of_key(self, caller: Caller, key_id: int) -> tuple[Endpoint, str]:
        """An API key of the caller's as an endpoint, usable or not, and the slug of its provider.

        Raises:
            NotFound: the caller has no such API key.
            BadRequest: it must be entered again.
        """
        row = await self._db.fetch_one(self._db.q.api_keys.get_for_test, key_id=key_id, user_id=caller.id)
        if row is None:
            raise NotFound("api_key_not_found")
        model = provider_as_model(self._catalog.provider(row.provider_id))
        if origin(row.base_url or model.base_url) != row.origin:
            raise BadRequest("api_key_moved", provider=model.provider_name)
        if model.provider_slug == LOCAL:
            raise BadRequest("local_model_needs_no_key")
        endpoint = self._endpoint(model, row, caller.id)
        if endpoint is None:
            raise BadRequest("api_key_unreadable", provider=model.provider_name)
        return endpoint, model.provider_slug

    def endpoint_of_provider(self, caller: Caller, provider_id: int) -> Endpoint:
        """The first endpoint that a chat of the caller's with the provider would try."""
        model = provider_as_model(self._catalog.provider(provider_id))
        return self._candidate(caller, model).endpoints[0]

    def _candidate(
        self, caller: Caller, model: ChatModel, affinity: str = "", units: Units | None = None
    ) -> Candidate:
        if model.provider_slug == LOCAL:
            return Candidate(model, (Endpoint(base_url="", local=True),))
        api_keys = self._db.read_sync(
            self._db.q.api_keys.list_for_chat,
            user_id=caller.id,
            provider_id=model.provider_id,
            model=model.name,
        )
        return self._candidate_with_keys(caller, model, api_keys, affinity, units)

    def _candidate_with_keys(
        self,
        caller: Caller,
        model: ChatModel,
        api_keys: list[PooledApiKey],
        affinity: str,
        units: Units | None,
    ) -> Candidate:
        now = self._clock.now()
        matching = [row for row in api_keys if origin(row.base_url or model.base_url) == row.origin]
        matching = self._affordable(caller, model, matching, units)
        healths = {row.id: self._health(caller, row, model.name, now) for row in matching}
        by_affinity = key_pool.in_order(matching, caller.id, affinity)
        moved_to = self._affinity.moved_to(affinity, model.name)
        ordered = key_pool.after_move(by_affinity, caller.id, moved_to)
        # a transient failure puts an API key behind the others; it does not exclude the key
        usable = [row for row in ordered if healths[row.id].is_usable(now)]
        behind = [row for row in ordered if healths[row.id].is_deprioritised(now)]
        opened = (self._endpoint(model, row, caller.id) for row in (*usable, *behind))
        endpoints = tuple(endpoint for endpoint in opened if endpoint)
        if endpoints:
            first_choices = key_pool.first_choices(by_affinity, caller.id)
            candidate = Candidate(model, endpoints, first_choices, is_well=bool(usable))
            record_place(self._affinity, affinity, candidate, endpoints[0])
            return candidate
        if not model.needs_key:
            proxy_url = model.proxy_url(self._vault)
            endpoint = Endpoint(model.base_url, wire_format=model.wire_format, proxy_url=proxy_url)
            return Candidate(model, (endpoint,))
        raise none_usable(model, api_keys, matching, healths, caller.id, now)

    def _affordable(
        self, caller: Caller, model: ChatModel, api_keys: list[PooledApiKey], units: Units | None
    ) -> list[PooledApiKey]:
        """The API keys that the caller may use for the model. Without a price a budget of money does not
        bound what is used of a shared one.

        Raises:
            Forbidden: there are only such.
        """
        own = [row for row in api_keys if row.user_id == caller.id]
        if model.has_price_for(units) or len(own) == len(api_keys) or not self._has_cost_limit(caller):
            return api_keys
        if not own:
            raise Forbidden("model_has_no_price", model=model.name)
        return own

    def _has_cost_limit(self, caller: Caller) -> bool:
        statement = self._db.q.limits.find_cost_limit
        return bool(self._db.read_sync(statement, user_id=caller.id, token_id=caller.token_id))

    def _health(self, caller: Caller, row: PooledApiKey, model: str, now: int) -> KeyHealth:
        """The health of an API key for this caller and model: what counts for all users and for the caller
        alone, for all models and for this one."""
        own = self._cooldowns.health_of(row.id, caller.id)
        own_for_model = self._cooldowns.health_of(row.id, caller.id, model[:LONGEST_NAME])
        return worst((KeyHealth.of(row), KeyHealth.for_model(row), own, own_for_model), now)

    def _endpoint(self, model: ChatModel, row: UsableApiKey, caller_id: int) -> Endpoint | None:
        """A stored API key as an endpoint, or None if it does not open.

        Raises:
            BadRequest: the provider's proxy does not open.
        """
        try:
            api_key = self._vault.open(row.secret, Binding.of(row))
        except VaultError:
            return None
        base_url = row.base_url or model.base_url
        if not row.is_vouched and place(base_url) == place(model.base_url):
            # a URL that is trusted as the provider's own becomes the provider's own, without the user's query
            base_url = model.base_url
        trusted = row.is_vouched or is_trusted(base_url, model.base_url, self._config.upstream_allow_hosts)
        return Endpoint(
            base_url,
            api_key,
            model.wire_format,
            trusted,
            key_id=row.id,
            is_own=row.user_id == caller_id,
            proxy_url=model.proxy_url(self._vault),
        )


def _distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each model once, where it comes first."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.model_name, candidate)
    return tuple(first.values())
