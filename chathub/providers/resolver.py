"""Which model answers a request, with which keys: everything that can be refused before it is sent."""

import random
from collections.abc import Iterator

from msgspec import Struct

from chathub.accounts.caller import Caller
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.transaction import Row
from chathub.errors import BadRequest, ChatHubError, Forbidden, NotFound, TooManyRequests
from chathub.formats.failure_class import class_sentence
from chathub.formats.messages import Endpoint
from chathub.formats.urls import origin, place
from chathub.providers import key_pool
from chathub.providers.catalog import LOCAL, Catalog, ChatModel, provider_as_model
from chathub.providers.cooldowns import CallerCooldowns
from chathub.providers.key_pool import KeyHealth
from chathub.security.vault import Binding, Vault, VaultError
from chathub.upstream.guard import is_trusted


class Candidate(Struct, frozen=True):
    """A model that may answer, and the endpoints to try for it, in order."""

    model: ChatModel
    endpoints: tuple[Endpoint, ...]

    @property
    def model_name(self) -> str:
        return self.model.name


class Candidates(Struct, frozen=True):
    """The model that was asked for, and those it falls back on."""

    in_order: tuple[Candidate, ...]

    @property
    def model(self) -> ChatModel:
        return self.in_order[0].model

    @property
    def models(self) -> dict[str, ChatModel]:
        return {candidate.model.name: candidate.model for candidate in self.in_order}


class Requirements(Struct, frozen=True):
    """What a chat takes beyond text."""

    images: bool = False
    tools: bool = False
    # not a chat, but vectors
    embeddings: bool = False


NOTHING = Requirements()
# which types of models can do it
_KINDS = {False: ("chat", "completion"), True: ("embedding",)}


class Resolver:
    """Turns a model's name into a plan for one user."""

    def __init__(
        self,
        db: Database,
        catalog: Catalog,
        vault: Vault,
        clock: Clock,
        config: Config,
        cooldowns: CallerCooldowns,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._vault = vault
        self._clock = clock
        self._config = config
        self._cooldowns = cooldowns
        self._chance = random.Random()

    def resolve(self, caller: Caller, model_name: str, needs: Requirements = NOTHING) -> Candidates:
        """The plan for a chat of ``caller`` with the model of that name.

        Raises:
            BadRequest: no such model, one that cannot what is needed, or no usable key; the sentence says
                which provider's key to save.
            Forbidden: the caller's token is not for this model.
            TooManyRequests: all keys have to rest.
        """
        model = self._catalog.find(model_name, _KINDS[needs.embeddings])
        _check_needs(model, needs)
        in_order, refusal = [], None
        for candidate_model in (model, *self._fallbacks(model)):
            try:
                _check_needs(candidate_model, needs)
                self._check_token(caller, candidate_model.name)
                in_order.append(self._candidate(caller, candidate_model))
            except ChatHubError as error:
                # what one falls back on need not be there; what was asked for says why it is not
                refusal = refusal or error
        if not in_order:
            assert refusal is not None
            raise refusal
        return Candidates(tuple(in_order))

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
        if model.provider_slug == LOCAL:
            raise BadRequest("内置模型不使用API密钥")
        endpoint = self._endpoint(model, row, caller.id)
        if endpoint is None:
            raise BadRequest("已保存的API密钥无法解密，请重新保存")
        return endpoint, model.provider_slug

    def endpoint_of_provider(self, caller: Caller, provider_id: int) -> Endpoint:
        """The first endpoint that a chat of the caller's with the provider would try."""
        model = provider_as_model(self._catalog.provider(provider_id))
        return (self._candidate(caller, model)).endpoints[0]

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

    def _candidate(self, caller: Caller, model: ChatModel) -> Candidate:
        rows = self._db.read_sync(
            self._db.q.api_keys.list_for_chat,
            user_id=caller.id,
            provider_id=model.provider_id,
        )
        if model.provider_slug == LOCAL:
            return Candidate(model, (Endpoint(base_url="", local=True),))
        return Candidate(model, self._endpoints(caller, model, rows))

    def _endpoints(self, caller: Caller, model: ChatModel, keys: list[Row]) -> tuple[Endpoint, ...]:
        now = self._clock.now()
        bound = [key for key in keys if origin(key["base_url"] or model.base_url) == key["origin"]]
        healths = {key["id"]: self._health(caller, key, now) for key in bound}
        # a transient failure puts a key behind the others; it does not exclude the key
        usable = [key for key in bound if healths[key["id"]].is_usable(now)]
        behind = [key for key in bound if healths[key["id"]].is_deprioritised(now)]
        ordered = [
            *key_pool.in_order(usable, caller.id, self._chance),
            *key_pool.in_order(behind, caller.id, self._chance),
        ]
        endpoints = tuple(endpoint for key in ordered if (endpoint := self._endpoint(model, key, caller.id)))
        if endpoints:
            return endpoints
        if not model.needs_key:
            return (Endpoint(base_url=model.base_url, wire_format=model.wire_format),)
        pauses = [it for it in healths.values() if it.health != "broken" and it.is_cooling(now)]
        if pauses:
            raise _all_rest(model, min(pauses, key=lambda it: it.until), now)
        raise _no_key(model, keys, bound, caller.id)

    def _health(self, caller: Caller, key: Row, now: int) -> KeyHealth:
        """What is known against a key, by everybody or by the caller alone."""
        return key_pool.worse(KeyHealth.of(key), self._cooldowns.health_of(key["id"], caller.id), now)

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
        trusted = is_vouched or is_trusted(base_url, model.base_url, self._config.upstream_allow_hosts)
        own = row["user_id"] == caller_id
        return Endpoint(base_url, key, model.wire_format, trusted, key_id=row["id"], is_own=own)


def _check_needs(model: ChatModel, needs: Requirements) -> None:
    if needs.images and not model.supports_vision:
        raise BadRequest(f"模型 {model.name} 不支持图片")
    if needs.tools and not model.supports_tools:
        raise BadRequest(f"模型 {model.name} 不支持工具调用")


def _named(model: ChatModel) -> str:
    return f"{model.provider_name} ({model.provider_slug})"


def _all_rest(model: ChatModel, first: KeyHealth, now: int) -> ChatHubError:
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
