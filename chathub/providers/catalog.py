"""The providers and models as a snapshot in memory, which is replaced after each change by an administrator.

Chats and the public list of models read the snapshot. It holds no API keys.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import replace

from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.models import Model
from chathub.database.rows.providers import Provider
from chathub.errors import BadRequest, NotFound, UnknownModel
from chathub.providers import aliases, snapshot
from chathub.providers.aliases import Choice, Entry
from chathub.providers.chat_model import ChatModel, chat_model
from chathub.providers.families import provider_of
from chathub.schemas import models
from chathub.schemas.models import ModelFilter

LOCAL = "local"
# what the name of a version has behind its model's: a date, a number, or a word for the newest one
_VERSION = re.compile(
    r"(?:-(?:latest|preview|exp))?(?:-\d{4}-\d{2}-\d{2}|-\d{2}-\d{2}|-\d{2}-\d{4}|-\d{3,8})?"
)
CHAT_TYPES = ("chat", "completion")


class Catalog:
    """The current snapshot; ``reload`` after every commit that changes providers or models."""

    def __init__(self, db: Database, config: Config) -> None:
        self._db = db
        self._config = config
        self._now = snapshot.Snapshot()
        # those in the table by name, all but aliases
        self._models: dict[str, ChatModel] = {}

    async def reload(self) -> None:
        now = self._now = await self._db.read(snapshot.load, self._config.language)
        self._models = {
            row.model_name: self._model(row.model_name, now.providers[row.provider_slug], row)
            for row in now.rows
            if not row.is_alias
        }

    def list_models(self, filters: ModelFilter, available: Container[str]) -> bytes:
        """The models as a JSON array; ``available`` are the names of those that the caller can use. Each is
        encoded already, but for this."""
        chosen = (
            encoded + (snapshot.AVAILABLE if row.model_name in available else snapshot.UNAVAILABLE)
            for row, encoded in zip(self._now.rows, self._now.encoded, strict=True)
            if (not filters.active_only or (row.is_active and row.provider_is_active))
            and (not filters.available_only or row.model_name in available)
            and filters.provider in (None, row.provider_slug)
            and filters.type in (None, row.model_type)
        )
        return b"[" + b",".join(chosen) + b"]"

    def list_for_strangers(self) -> bytes:
        """All models as a JSON array for a caller who is not signed in, encoded already."""
        return self._now.all_models

    def shown(self, row: Model) -> models.Model:
        """A row of the table as it goes out."""
        return snapshot.model_shown(self._now, row, self._config.language)

    def is_listed(self, name: str) -> bool:
        """Whether the table has a model of that name."""
        return name in self._now.by_name

    def known_to(self, provider_id: int) -> set[str]:
        """The names in a provider's own list that are taken: of models of any provider, and those by which
        this provider is called."""
        rows = self._now.rows
        called = {row.upstream_name for row in rows if row.provider_id == provider_id}
        return {row.model_name for row in rows} | called

    def chat_models_of(self, provider_slug: str, name: str | None = None) -> list[ChatModel]:
        """The models of a provider that can be chatted with, or the one of that name.

        Raises:
            BadRequest: the provider has no model of that name to chat with.
        """
        provider = self._now.providers[provider_slug]
        rows = [row for row in self._now.rows if row.provider_slug == provider_slug and not row.is_alias]
        models = [self._models[row.model_name] for row in rows if row.model_type in CHAT_TYPES]
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

    def row_for(self, name: str) -> Model | None:
        """The row of a requested name, or of the wildcard that matches it; None: it is not listed."""
        return self._find(name) or self._find_wildcard(name)

    def entry(self, name: str) -> Entry:
        """What a requested name stands for: a model, listed or not, or the targets of an alias. A listed name
        comes before every wildcard.

        Raises:
            BadRequest: an alias that is inactive, or has no targets.
        """
        row = self.row_for(name)
        if row is None or not row.is_alias:
            model_name = row.model_name if row else name
            return Entry(model_name, (Choice(model_name),))
        if not row.is_active:
            raise BadRequest("model_disabled", model=name)
        targets = sorted(self._now.targets.get(row.id, []), key=lambda target: target.order)
        if not targets:
            raise BadRequest("alias_without_targets", model=name)
        choices = tuple(Choice(target.row.model_name, target.weight, target.order) for target in targets)
        requested = name if aliases.is_wildcard(row) else row.model_name
        return Entry(requested, choices, row.model_name, row.fallback_model)

    def _find(self, name: str) -> Model | None:
        return self._now.by_name.get(name) or self._now.by_name.get(name.lower())

    def _find_wildcard(self, name: str) -> Model | None:
        return next((row for row in self._now.wildcards if aliases.matches(row.model_name, name)), None)

    def get(self, name: str, model_types: tuple[str, ...] = CHAT_TYPES) -> ChatModel:
        """The model of that name, which is no alias's, or of a well-known family that a provider serves.

        Raises:
            BadRequest: unknown, inactive, or of another type; the sentence says which.
        """
        row = self._find(name)
        if row is None:
            return self._get_by_prefix(name)
        assert not row.is_alias
        if not row.is_active:
            raise BadRequest("model_disabled", model=name)
        if row.model_type not in model_types:
            if model_types == CHAT_TYPES:
                raise BadRequest("model_not_for_chat", model=name)
            if model_types == ("embedding",):
                raise BadRequest("model_not_for_embeddings", model=name)
            raise BadRequest("model_of_other_type", model=name, type=row.model_type, types=list(model_types))
        self._active_provider(row.provider_slug, name)
        return self._models[row.model_name]

    def get_charged(self, provider_slug: str, name: str) -> ChatModel:
        """The model that a provider was asked for in the past, with its prices; also one that is disabled
        now, or is gone and has none."""
        provider, row = self._now.providers.get(provider_slug), self._now.by_name.get(name)
        if provider is None:
            return ChatModel(name, 0, provider_slug, "", "", needs_key=False)
        if row is None or row.provider_slug != provider_slug:
            row, _ = self._find_base(provider_slug, name.lower())
        return self._model(name, provider, row)

    def _get_by_prefix(self, name: str) -> ChatModel:
        if self._config.listed_models_only:
            raise UnknownModel("unknown_model", model=name)
        lower, slug = name.lower(), provider_of(name)
        if slug not in self._now.providers:
            raise UnknownModel("unknown_model", model=name)
        base, called = self._find_base(slug, lower)
        if base is not None and not base.is_active:
            raise BadRequest("model_disabled", model=name)
        model = self._model(name, self._active_provider(slug, name), base)
        is_version = base is not None and _VERSION.fullmatch(lower, len(called))
        return model if is_version else replace(model, is_priced=not model.needs_key)

    def _find_base(self, slug: str, name: str) -> tuple[Model | None, str]:
        """The model in the table that ``gpt-4o-2024-08-06`` is a version of, or that ``gpt-4o`` is under
        another name, and by which name: it has its price and limits, and is disabled with it. Of a variant
        such as ``gpt-4o-mini`` its price is a guess."""
        rows = [row for row in self._now.rows if row.provider_slug == slug]
        called = [(row, sent.lower()) for row in rows for sent in (row.model_name, row.upstream_name) if sent]
        bases = [(row, sent) for row, sent in called if f"{name}-".startswith(f"{sent}-")]
        return max(bases, key=lambda base: len(base[1]), default=(None, ""))

    def _model(self, name: str, provider: Provider, row: Model | None = None) -> ChatModel:
        return chat_model(name, provider, row, self._config.cached_weight)

    def _active_provider(self, slug: str, model_name: str) -> Provider:
        provider = self._now.providers[slug]
        if not provider.is_active:
            if slug == LOCAL:
                raise BadRequest("local_model_disabled")
            raise BadRequest("provider_disabled", model=model_name, provider=provider.display_name)
        return provider
