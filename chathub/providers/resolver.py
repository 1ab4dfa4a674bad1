"""The resolver: from a model's name to the candidates of a request. It refuses what needs no attempt."""

from collections.abc import Iterator

from msgspec import Struct

from chathub.accounts.caller import Caller
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.api_keys import PooledApiKey, UsableApiKey
from chathub.errors import (
    BadRequest,
    ChatHubError,
    Forbidden,
    ModelUnavailable,
    NotFound,
    TooManyRequests,
)
from chathub.formats.client_request import refuse
from chathub.formats.messages import Endpoint
from chathub.formats.registry import format_named
from chathub.formats.urls import origin, place
from chathub.providers import key_pool
from chathub.providers.affinity import Affinity
from chathub.providers.catalog import LOCAL, Catalog, ChatModel, provider_as_model
from chathub.providers.cooldowns import LONGEST_NAME, CallerCooldowns
from chathub.providers.key_health import KeyHealth, worse
from chathub.security.vault import Binding, Vault, VaultError
from chathub.sentences import Reason
from chathub.upstream.guard import is_trusted


class Candidate(Struct, frozen=True):
    """A model that may reply, and the endpoints to try for it, in order. ``first_choices`` are the API keys
    that serve the conversation while they work."""

    model: ChatModel
    endpoints: tuple[Endpoint, ...]
    first_choices: frozenset[int] = frozenset()

    def after(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint that is tried after this one."""
        following = self.endpoints[self.endpoints.index(endpoint) + 1 :]
        return following[0] if following else None

    @property
    def model_name(self) -> str:
        return self.model.name


class Candidates(Struct, frozen=True):
    """The model of the request, and those that it falls back on. ``affinity`` is the affinity key of the
    request, empty for none."""

    in_order: tuple[Candidate, ...]
    affinity: str = ""

    @property
    def model(self) -> ChatModel:
        return self.in_order[0].model

    @property
    def models(self) -> dict[str, ChatModel]:
        return {candidate.model.name: candidate.model for candidate in self.in_order}

    @property
    def first_key_id(self) -> int | None:
        """The API key that is tried first."""
        return next((endpoint.key_id for endpoint in self.in_order[0].endpoints), None)


class Requirements(Struct, frozen=True):
    """What a request needs of a model beyond text. ``fields``: what the provider's format must have;
    ``embeddings``: vectors instead of a chat."""

    images: bool = False
    tools: bool = False
    fields: tuple[str, ...] = ()
    embeddings: bool = False


NOTHING = Requirements()
# the types of models, by whether embeddings are needed
_PAUSES = {"rate_limited": "api_keys_cooling", "no_credit": "api_keys_without_credit"}
_MODEL_TYPES = {False: ("chat", "completion"), True: ("embedding",)}


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
        model = self._catalog.get(model_name, _MODEL_TYPES[needs.embeddings])
        _check_needs(model, needs)
        affinity = self._affinity.key_of(caller.id, hint) if hint else ""
        in_order, refusal = [], None
        for candidate_model in (model, *self._fallbacks(model)):
            try:
                _check_needs(candidate_model, needs)
                _check_token(caller, candidate_model.name)
                in_order.append(self._candidate(caller, candidate_model, affinity))
            except ChatHubError as error:
                # a fallback may be missing; the first model's error is the one to raise
                refusal = refusal or error
        if not in_order:
            assert refusal is not None
            raise refusal
        return Candidates(tuple(in_order), affinity)

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

    def _fallbacks(self, model: ChatModel) -> Iterator[ChatModel]:
        """The fallback of a model, the fallback of that one, and so on, each model once."""
        seen = {model.name}
        while model.fallback_model:
            try:
                model = self._catalog.get(model.fallback_model)
            except BadRequest:
                return
            if model.name in seen:
                return
            seen.add(model.name)
            yield model

    def _candidate(self, caller: Caller, model: ChatModel, affinity: str = "") -> Candidate:
        if model.provider_slug == LOCAL:
            return Candidate(model, (Endpoint(base_url="", local=True),))
        api_keys = self._db.read_sync(
            self._db.q.api_keys.list_for_chat,
            user_id=caller.id,
            provider_id=model.provider_id,
            model=model.name,
        )
        return self._candidate_with_keys(caller, model, api_keys, affinity)

    def _candidate_with_keys(
        self, caller: Caller, model: ChatModel, api_keys: list[PooledApiKey], affinity: str
    ) -> Candidate:
        now = self._clock.now()
        matching = [row for row in api_keys if origin(row.base_url or model.base_url) == row.origin]
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
            candidate = Candidate(model, endpoints, key_pool.first_choices(by_affinity, caller.id))
            record_place(self._affinity, affinity, candidate, endpoints[0])
            return candidate
        if not model.needs_key:
            endpoint = Endpoint(base_url=model.base_url, wire_format=model.wire_format)
            return Candidate(model, (endpoint,))
        raise _none_usable(model, api_keys, matching, healths, caller.id, now)

    def _health(self, caller: Caller, row: PooledApiKey, model: str, now: int) -> KeyHealth:
        """The health of an API key for this caller and model: what counts for all users and for the caller
        alone, for all models and for this one."""
        common = worse(KeyHealth.of(row), KeyHealth.for_model(row), now)
        own = self._cooldowns.health_of(row.id, caller.id)
        own_for_model = self._cooldowns.health_of(row.id, caller.id, model[:LONGEST_NAME])
        return worse(common, worse(own, own_for_model, now), now)

    def _endpoint(self, model: ChatModel, row: UsableApiKey, caller_id: int) -> Endpoint | None:
        """A stored API key as an endpoint, or None if it does not open."""
        try:
            api_key = self._vault.open(row.secret, Binding.of(row))
        except VaultError:
            return None
        base_url = row.base_url or model.base_url
        if not row.is_vouched and place(base_url) == place(model.base_url):
            # a URL that is trusted as the provider's own becomes the provider's own, without the user's query
            base_url = model.base_url
        trusted = row.is_vouched or is_trusted(base_url, model.base_url, self._config.upstream_allow_hosts)
        is_own = row.user_id == caller_id
        return Endpoint(base_url, api_key, model.wire_format, trusted, key_id=row.id, is_own=is_own)


def record_place(affinities: Affinity, affinity: str, candidate: Candidate, endpoint: Endpoint) -> None:
    """Record that a conversation is served at an endpoint of a candidate from now on."""
    if affinity and endpoint.key_id is not None:
        is_first_choice = endpoint.key_id in candidate.first_choices
        affinities.record(affinity, candidate.model.name, endpoint.key_id, is_first_choice=is_first_choice)


def _check_needs(model: ChatModel, needs: Requirements) -> None:
    if needs.images and not model.supports_vision:
        raise BadRequest("model_without_images", model=model.name)
    if needs.tools and not model.supports_tools:
        raise BadRequest("model_without_tools", model=model.name)
    lacked = format_named(model.wire_format).LACKED_FIELDS
    for name in needs.fields:
        if name in lacked:
            refuse(name, "field_unsupported", model=model.name)


def _check_token(caller: Caller, model_name: str) -> None:
    if caller.models and model_name not in caller.models:
        raise Forbidden("model_not_allowed", model=model_name)


def _none_usable(
    model: ChatModel,
    api_keys: list[PooledApiKey],
    matching: list[PooledApiKey],
    healths: dict[int, KeyHealth],
    caller_id: int,
    now: int,
) -> ChatHubError:
    """The error where no API key can be used now. A pause that ends decides before a key that may not use
    the model, and that before one that is broken."""
    paused = [health for health in healths.values() if health.health != "broken" and health.is_paused(now)]
    if pauses := [health for health in paused if health.failure_class != "model_unavailable"]:
        return _all_cooling(model, min(pauses, key=lambda health: health.until), now)
    if paused:
        return ModelUnavailable("model_has_no_key", provider=model.provider_name, model=model.name)
    return _no_key(model, api_keys, matching, caller_id)


def _all_cooling(model: ChatModel, first: KeyHealth, now: int) -> ChatHubError:
    """The error where all API keys are cooling: until the first pause ends, and why."""
    wait = (first.until - now) / 1000
    code = _PAUSES.get(first.failure_class, "api_keys_pausing")
    return TooManyRequests(code, provider=model.provider_name, wait=wait, retry_after=wait)


def _no_key(
    model: ChatModel, api_keys: list[PooledApiKey], matching: list[PooledApiKey], caller_id: int
) -> ChatHubError:
    """The error where no API key can be used: why, and what to do. What a provider said of another user's API
    key is not shown."""
    provider = model.provider_name
    if broken := [row for row in matching if row.health == "broken"]:
        own = next((row for row in broken if row.user_id == caller_id), None)
        if own is None:
            return BadRequest("shared_api_key_refused", provider=provider)
        reason = Reason.stored(own.last_error_json, own.last_error) or ""
        return BadRequest("api_key_refused", provider=provider, reason=reason)
    if matching:
        return BadRequest("api_key_unreadable", provider=provider)
    return BadRequest("api_key_moved" if api_keys else "api_key_missing", provider=provider)
