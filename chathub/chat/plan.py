"""Which model answers a request, with which keys: everything that can be refused before it is sent."""

import random
from collections.abc import Iterator

from msgspec import Struct

from chathub.accounts.sessions import Caller
from chathub.catalog import LOCAL, Catalog, ChatModel, provider_as_model
from chathub.chat import pool
from chathub.chat.pool import Standing
from chathub.chat.rests import CallersRests
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database, Row
from chathub.errors import BadRequest, ChatHubError, Forbidden, NotFound, TooManyRequests
from chathub.upstream import guard
from chathub.upstream.failure_class import class_sentence
from chathub.upstream.types import Endpoint
from chathub.upstream.urls import hostname, origin, place
from chathub.vault import Binding, Vault, VaultError


class Route(Struct, frozen=True):
    """A model that may answer, and the endpoints to try for it, in order."""

    model: ChatModel
    endpoints: tuple[Endpoint, ...]


class Plan(Struct, frozen=True):
    """The model that was asked for, and those it falls back on."""

    routes: tuple[Route, ...]

    @property
    def model(self) -> ChatModel:
        return self.routes[0].model

    @property
    def models(self) -> dict[str, ChatModel]:
        return {route.model.name: route.model for route in self.routes}


class Needs(Struct, frozen=True):
    """What a chat takes beyond text."""

    pictures: bool = False
    tools: bool = False
    # not a chat, but vectors
    embeddings: bool = False


NOTHING = Needs()
# which types of models can do it
_KINDS = {False: ("chat", "completion"), True: ("embedding",)}


class Planner:
    """Turns a model's name into a plan for one user."""

    def __init__(
        self,
        db: Database,
        catalog: Catalog,
        vault: Vault,
        clock: Clock,
        config: Config,
        rests: CallersRests,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._vault = vault
        self._clock = clock
        self._config = config
        self._rests = rests
        self._chance = random.Random()

    def plan(self, caller: Caller, model_name: str, needs: Needs = NOTHING) -> Plan:
        """The plan for a chat of ``caller`` with the model of that name.

        Raises:
            BadRequest: no such model, one that cannot what is needed, or no usable key; the sentence says
                which provider's key to save.
            Forbidden: the caller's token is not for this model.
            TooManyRequests: all keys have to rest.
        """
        model = self._catalog.find(model_name, _KINDS[needs.embeddings])
        _check_needs(model, needs)
        routes, refusal = [], None
        for candidate in (model, *self._fallbacks(model)):
            try:
                _check_needs(candidate, needs)
                self._check_token(caller, candidate.name)
                routes.append(self._route(caller, candidate))
            except ChatHubError as error:
                # what one falls back on need not be there; what was asked for says why it is not
                refusal = refusal or error
        if not routes:
            assert refusal is not None
            raise refusal
        return Plan(tuple(routes))

    async def endpoint_of_key(self, caller: Caller, key_id: int) -> tuple[Endpoint, str]:
        """A key of the caller's as an endpoint, usable or not, and its provider's key name.

        Raises:
            NotFound: the caller has no such key.
            BadRequest: it has to be entered again.
        """
        row = await self._db.fetch_one(self._db.q.api_keys.get_own, key_id=key_id, user_id=caller.id)
        if row is None:
            raise NotFound("API密钥不存在")
        provider = self._catalog.provider(row["provider_id"])
        model = provider_as_model(provider)
        if origin(row["base_url"] or model.base_url) != row["origin"]:
            raise BadRequest("提供商地址已变更，请重新输入密钥")
        if model.provider_key == LOCAL:
            raise BadRequest("内置模型不使用API密钥")
        endpoint = self._endpoint(model, row, caller.id)
        if endpoint is None:
            raise BadRequest("已保存的API密钥无法解密，请重新保存")
        return endpoint, model.provider_key

    def endpoint_of_provider(self, caller: Caller, provider_id: int) -> Endpoint:
        """The first endpoint that a chat of the caller's with the provider would try."""
        model = provider_as_model(self._catalog.provider(provider_id))
        return (self._route(caller, model)).endpoints[0]

    def _fallbacks(self, model: ChatModel) -> Iterator[ChatModel]:
        """The models behind a model, each once."""
        seen = {model.name}
        while model.fallback_model:
            try:
                model = self._catalog.find(model.fallback_model)
            except BadRequest:
                return
            if model.name in seen:
                return
            seen.add(model.name)
            yield model

    def _check_token(self, caller: Caller, model_name: str) -> None:
        if caller.models and model_name not in caller.models:
            raise Forbidden(f"该访问令牌不允许使用模型 {model_name}")

    def _route(self, caller: Caller, model: ChatModel) -> Route:
        rows = self._db.glance(
            self._db.q.api_keys.list_for_chat,
            user_id=caller.id,
            provider_id=model.provider_id,
        )
        if model.provider_key == LOCAL:
            return Route(model, (Endpoint(base_url="", local=True),))
        return Route(model, self._endpoints(caller, model, rows))

    def _endpoints(self, caller: Caller, model: ChatModel, keys: list[Row]) -> tuple[Endpoint, ...]:
        now = self._clock.now()
        bound = [key for key in keys if origin(key["base_url"] or model.base_url) == key["origin"]]
        standings = {key["id"]: self._standing(caller, key, now) for key in bound}
        # passing trouble puts a key behind the others; it does not exclude the key
        usable = [key for key in bound if standings[key["id"]].is_usable(now)]
        resting = [key for key in bound if standings[key["id"]].rests_softly(now)]
        ordered = [
            *pool.in_order(usable, caller.id, self._chance),
            *pool.in_order(resting, caller.id, self._chance),
        ]
        endpoints = tuple(endpoint for key in ordered if (endpoint := self._endpoint(model, key, caller.id)))
        if endpoints:
            return endpoints
        if not model.needs_key:
            return (Endpoint(base_url=model.base_url, protocol=model.protocol),)
        pauses = [it for it in standings.values() if it.health != "broken" and it.rests(now)]
        if pauses:
            raise _all_rest(model, min(pauses, key=lambda it: it.until), now)
        raise _no_key(model, keys, bound, caller.id)

    def _standing(self, caller: Caller, key: Row, now: int) -> Standing:
        """What is known against a key, by everybody or by the caller alone."""
        return pool.worse(Standing.of(key), self._rests.standing(key["id"], caller.id), now)

    def _endpoint(self, model: ChatModel, row: Row, caller_id: int) -> Endpoint | None:
        """A stored key as an endpoint, or None if it does not open."""
        binding = Binding(row["id"], row["user_id"], row["provider_id"], row["origin"])
        try:
            key = self._vault.open(row["secret"], binding)
        except VaultError:
            return None
        base_url, is_vouched = row["base_url"] or model.base_url, bool(row["is_vouched"])
        if not is_vouched and place(base_url) == place(model.base_url):
            # trusted as the provider's own: then it is the provider's own, without the user's query
            base_url = model.base_url
        trusted = is_vouched or may_reach(base_url, model.base_url, self._config)
        own = row["user_id"] == caller_id
        return Endpoint(base_url, key, model.protocol, trusted, key_id=row["id"], is_own=own)


def _check_needs(model: ChatModel, needs: Needs) -> None:
    if needs.pictures and not model.sees:
        raise BadRequest(f"模型 {model.name} 不支持图片")
    if needs.tools and not model.calls_tools:
        raise BadRequest(f"模型 {model.name} 不支持工具调用")


def may_reach(base_url: str, providers_url: str, config: Config) -> bool:
    """Whether a base URL for which no administrator vouches is the provider's own, or one that the
    configuration allows: any other must be public, which is checked when it is connected to."""
    return place(base_url) == place(providers_url) or hostname(base_url) in config.upstream_allow_hosts


def plainly_inside(base_url: str, config: Config) -> bool:
    """Whether a base URL spells out an address that users' URLs may not reach."""
    # in the form in which it is connected to: Unicode has digits of many kinds
    address = guard.literal_address(origin(base_url))
    return address is not None and not guard.allowed(address, config.upstream_allow_networks)


def _named(model: ChatModel) -> str:
    return f"{model.provider_name} ({model.provider_key})"


def _all_rest(model: ChatModel, first: Standing, now: int) -> ChatHubError:
    """That one has to wait for the key whose pause ends first, and why, in our own words."""
    why = f"（{sentence}）" if (sentence := class_sentence(first.failure_class)) else ""
    wait = (first.until - now) / 1000
    return TooManyRequests(f"{_named(model)} 的API密钥正在冷却{why}，请稍后再试", retry_after=wait)


def _no_key(model: ChatModel, keys: list[Row], bound: list[Row], caller_id: int) -> ChatHubError:
    """Why there is no key to use, as a sentence that says what to do; of others' keys in our own words."""
    named = _named(model)
    if broken := [key for key in bound if key["health"] == "broken"]:
        own = next((key for key in broken if key["user_id"] == caller_id), None)
        if own is None:
            sentence = class_sentence("invalid_key")
            return BadRequest(f"{named} 的API密钥不可用：{sentence}，请联系管理员或保存自己的密钥")
        return BadRequest(f"{named} 的API密钥不可用：{own['last_error']}，请更换或重新保存")
    if bound:
        return BadRequest(f"已保存的 {named} 的API密钥无法解密，请重新保存")
    hint = "（提供商地址已变更，请重新输入密钥）" if keys else ""
    return BadRequest(f"请先保存 {named} 的API密钥{hint}")
