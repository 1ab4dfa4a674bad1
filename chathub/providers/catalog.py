"""The providers and models as a snapshot in memory, which is replaced after each change by an administrator.

Chats and the public list of models read the snapshot. It holds no API keys.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace

import msgspec

from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.models import Model
from chathub.database.rows.providers import Provider
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound, UnknownModel
from chathub.providers.prices import Prices
from chathub.schemas import models
from chathub.schemas.models import ModelFilter

LOCAL = "local"
# for models that are not in the table: beginnings of well-known names, and the provider's slug
_PREFIXES = (
    (("gpt-", "chatgpt-", "o1", "o3", "o4"), "openai"),
    (("claude-",), "anthropic"),
    (("gemini-",), "google"),
    (("deepseek-",), "deepseek"),
    (("qwen", "qwq-"), "alibaba"),
    (("glm-",), "zhipu"),
    (("moonshot-", "kimi-"), "moonshot"),
    (("doubao-",), "doubao"),
    (("ernie-",), "baidu"),
)
# what the name of a version has behind its model's: a date, a number, or a word for the newest one
_VERSION = re.compile(
    r"(?:-(?:latest|preview|exp))?(?:-\d{4}-\d{2}-\d{2}|-\d{2}-\d{2}|-\d{2}-\d{4}|-\d{3,8})?"
)
_DEFAULT_WINDOW = 32_768
CHAT_TYPES = ("chat", "completion")
# what requests are sent to providers for
OFFERED_TYPES = (*CHAT_TYPES, "embedding")
# the last field of a model in lists
_AVAILABLE, _UNAVAILABLE = b',"available":true}', b',"available":false}'


@dataclass(frozen=True)
class ChatModel:
    """A model that may be chatted with, and its provider. Lengths are tokens.

    ``is_priced``: its prices are known, so that zeros are prices too. ``cached_weight`` is the part of a
    token that one read from the cache counts against budgets of tokens.

    A model that is not in the table has the defaults: what it cannot do is not known.

    ``allow_extras``: the body of a gateway request may choose another model or a dearer service, although
    its caller is limited to some models or to a cost budget.
    """

    name: str
    provider_id: int
    provider_slug: str
    provider_name: str
    base_url: str
    needs_key: bool
    wire_format: str = "openai"
    max_tokens: int | None = None
    context_window: int = _DEFAULT_WINDOW
    supports_streaming: bool = True
    prices: Prices = Prices()
    is_priced: bool = False
    cached_weight: float = 0.1
    supports_vision: bool = True
    supports_tools: bool = True
    fallback_model: str = ""
    allow_extras: bool = False


@dataclass(frozen=True)
class Snapshot:
    """``providers`` by slug; ``by_name``: rows by their name, and by it in lower case; ``shown``: the JSON of
    ``rows``, up to their last field; ``all_models``: all of it, for callers who can use none."""

    providers: dict[str, Provider] = field(default_factory=dict)
    by_name: dict[str, Model] = field(default_factory=dict)
    rows: tuple[Model, ...] = ()
    shown: tuple[bytes, ...] = ()
    all_models: bytes = b"[]"


class Catalog:
    """The current snapshot; ``reload`` after every commit that changes providers or models."""

    def __init__(self, db: Database, config: Config) -> None:
        self._db = db
        self._config = config
        self._now = Snapshot()

    async def reload(self) -> None:
        self._now = await self._db.read(_load)

    def list_models(self, filters: ModelFilter, available: Container[str]) -> bytes:
        """The models as a JSON array; ``available`` are the names of those that the caller can use. Each is
        encoded already, but for this."""
        chosen = (
            shown + (_AVAILABLE if row.model_name in available else _UNAVAILABLE)
            for row, shown in zip(self._now.rows, self._now.shown, strict=True)
            if (not filters.active_only or (row.is_active and row.provider_is_active))
            and (not filters.available_only or row.model_name in available)
            and filters.provider in (None, row.provider_slug)
            and filters.type in (None, row.model_type)
        )
        return b"[" + b",".join(chosen) + b"]"

    def list_for_strangers(self) -> bytes:
        """All models as a JSON array for a caller who is not signed in, encoded already."""
        return self._now.all_models

    def is_listed(self, name: str) -> bool:
        """Whether the table has a model of that name."""
        return name in self._now.by_name

    def names(self) -> set[str]:
        return {row.model_name for row in self._now.rows}

    def chat_models_of(self, provider_slug: str, name: str | None = None) -> list[ChatModel]:
        """The models of a provider that can be chatted with, or the one of that name.

        Raises:
            BadRequest: the provider has no model of that name to chat with.
        """
        provider = self._now.providers[provider_slug]
        rows = (row for row in self._now.rows if row.provider_slug == provider_slug)
        models = [self._model(row.model_name, provider, row) for row in rows if row.model_type in CHAT_TYPES]
        if name is None:
            return models
        models = [model for model in models if model.name == name]
        if not models and self.is_listed(name):
            raise BadRequest("model_of_other_provider", model=name)
        if not models and self._config.listed_models_only:
            raise UnknownModel("unknown_model", model=name)
        return models or [self._model(name, provider)]

    def provider(self, provider_id: int) -> Provider:
        """The provider of that id.

        Raises:
            NotFound: there is none.
        """
        for row in self._now.providers.values():
            if row.id == provider_id:
                return row
        raise NotFound("provider_not_found")

    def providers(self) -> Iterable[Provider]:
        return self._now.providers.values()

    def active_rows(self, model_types: Container[str] | None = None) -> list[Model]:
        """The models of these types (None: of any) that are active, as their providers are, in the order of
        the list."""
        return [
            row
            for row in self._now.rows
            if row.is_active and row.provider_is_active
            if model_types is None or row.model_type in model_types
        ]

    def get(self, name: str, model_types: tuple[str, ...] = CHAT_TYPES) -> ChatModel:
        """The model of that name, or of a well-known family that a provider serves.

        Raises:
            BadRequest: unknown, inactive, or of another type; the sentence says which.
        """
        snapshot = self._now
        row = snapshot.by_name.get(name) or snapshot.by_name.get(name.lower())
        if row is None:
            return self._get_by_prefix(name)
        if not row.is_active:
            raise BadRequest("model_disabled", model=name)
        if row.model_type not in model_types:
            is_chat = model_types == CHAT_TYPES
            raise BadRequest("model_not_for_chat" if is_chat else "model_not_for_embeddings", model=name)
        return self._model(row.model_name, self._active_provider(row.provider_slug, name), row)

    def _get_by_prefix(self, name: str) -> ChatModel:
        if self._config.listed_models_only:
            raise UnknownModel("unknown_model", model=name)
        lower = name.lower()
        # a name with a slash belongs to a reseller ("Qwen/…"), never to the family's own provider
        slugs = (slug for prefixes, slug in _PREFIXES if lower.startswith(prefixes) and "/" not in name)
        slug = next(slugs, "")
        if slug not in self._now.providers:
            raise UnknownModel("unknown_model", model=name)
        base = self._find_base(slug, lower)
        if base is not None and not base.is_active:
            raise BadRequest("model_disabled", model=name)
        model = self._model(name, self._active_provider(slug, name), base)
        is_version = base is not None and _VERSION.fullmatch(lower, len(base.model_name))
        return model if is_version else replace(model, is_priced=not model.needs_key)

    def _find_base(self, slug: str, name: str) -> Model | None:
        """The model in the table that ``gpt-4o-2024-08-06`` is a version of: the version has its price and
        limits, and is disabled with it. Of a variant such as ``gpt-4o-mini`` its price is a guess."""
        rows = (row for row in self._now.rows if row.provider_slug == slug)
        bases = [row for row in rows if name.startswith(row.model_name.lower() + "-")]
        return max(bases, key=lambda row: len(row.model_name), default=None)

    def _model(self, name: str, provider: Provider, row: Model | None = None) -> ChatModel:
        return replace(_chat_model(name, provider, row), cached_weight=self._config.cached_weight)

    def _active_provider(self, slug: str, model_name: str) -> Provider:
        provider = self._now.providers[slug]
        if not provider.is_active:
            if slug == LOCAL:
                raise BadRequest("local_model_disabled")
            raise BadRequest("provider_disabled", model=model_name, provider=provider.display_name)
        return provider


def provider_as_model(provider: Provider) -> ChatModel:
    """A provider's endpoint without a certain model, which costs nothing."""
    return replace(_chat_model("", provider), is_priced=True)


def _chat_model(name: str, provider: Provider, row: Model | None = None) -> ChatModel:
    model = ChatModel(
        name=name,
        provider_id=provider.id,
        provider_slug=provider.slug,
        provider_name=provider.display_name,
        base_url=provider.default_base_url,
        needs_key=provider.needs_key,
        wire_format=provider.protocol,
        is_priced=not provider.needs_key,
    )
    if row is None:
        return model
    return replace(
        model,
        max_tokens=row.max_tokens,
        context_window=row.context_window or max(_DEFAULT_WINDOW, 4 * row.max_tokens),
        supports_streaming=row.supports_streaming,
        prices=Prices.of(
            row.input_price,
            row.output_price,
            row.cached_price,
            row.cache_write_price,
            row.cache_write_1h_price,
        ),
        is_priced=row.has_prices,
        supports_vision=row.supports_vision,
        supports_tools=row.supports_function_calling,
        fallback_model=row.fallback_model,
        allow_extras=row.allow_extras,
    )


def _load(tx: Transaction) -> Snapshot:
    rows = tuple(tx.all(tx.q.models.list_all))
    shown = tuple(msgspec.json.encode(models.Model.of(row)).removesuffix(_UNAVAILABLE) for row in rows)
    by_name = {row.model_name.lower(): row for row in rows}
    return Snapshot(
        providers={row.slug: row for row in tx.all(tx.q.providers.list_all)},
        by_name=by_name | {row.model_name: row for row in rows},
        rows=rows,
        shown=shown,
        all_models=b"[" + b",".join(each + _UNAVAILABLE for each in shown) + b"]",
    )
