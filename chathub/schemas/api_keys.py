"""Bodies of ``/api/apikeys``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.clock import iso
from chathub.database.rows import api_keys as rows
from chathub.database.rows.model_rests import OwnModelRest
from chathub.schemas.decode import Request
from chathub.schemas.fields import Name, Weight
from chathub.schemas.from_row import from_row
from chathub.schemas.success import Success
from chathub.sentences import Language, Reason

BaseUrl = Annotated[str, Meta(max_length=2000)]
Priority = Annotated[int, Meta(ge=-1000, le=1000)]


class NewApiKey(Request):
    """POST /api/apikeys. It replaces the caller's API key of the same provider and label."""

    model_provider: Name
    api_key: Annotated[str, Meta(min_length=1, max_length=4096)]
    base_url: BaseUrl | None = None
    label: Annotated[str, Meta(max_length=50)] | None = None
    shared: bool | None = None
    priority: Priority | None = None
    weight: Weight | None = None


class ApiKeyChange(Request):
    """PUT /api/apikeys/{id}. An ``api_key`` that is empty, null or the mask keeps the stored one."""

    api_key: Annotated[str, Meta(max_length=4096)] | None | UnsetType = UNSET
    base_url: BaseUrl | None | UnsetType = UNSET
    shared: bool | None | UnsetType = UNSET
    priority: Priority | None | UnsetType = UNSET
    weight: Weight | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET


class KeyTest(Request):
    """POST /api/apikeys/{id}/test. With a ``model`` the API key is tested with it."""

    model: Name | None = None


class ModelHealth(Struct):
    """A model that an API key rests for until ``cooldown_until``; ``code`` says why, ``http_status`` is the
    provider's (0: there was no response)."""

    model: str
    health: Literal["cooling"]
    cooldown_until: str
    code: str
    http_status: int

    @classmethod
    def of(cls, row: OwnModelRest) -> "ModelHealth":
        return cls(row.model, "cooling", iso(row.until), row.code, row.http_status)


class ApiKey(Struct):
    """``api_key`` is the mask, never the API key. ``needs_reentry``: its provider moved to another origin.
    ``provider_is_active``: the provider was not deleted.

    ``health`` is ``ok``, ``cooling`` (until ``cooldown_until``) or ``broken`` (until it is tested or
    entered again). ``models`` are those that the API key rests for while it is used for the others.
    """

    id: int
    model_provider: str
    api_key: str
    base_url: str | None
    default_base_url: str
    effective_base_url: str
    label: str
    shared: bool
    needs_reentry: bool
    priority: int
    weight: int
    health: str
    cooldown_until: str | None
    last_error: str | None
    success_count: int
    failure_count: int
    last_used_at: str | None
    is_active: bool
    provider_is_active: bool
    created_at: str
    updated_at: str
    models: list[ModelHealth]

    @classmethod
    def of(
        cls,
        row: rows.ApiKey,
        rests: list[OwnModelRest],
        language: Language,
        *,
        default_base_url: str,
        needs_reentry: bool,
    ) -> "ApiKey":
        """``default_base_url`` is the provider's as the caller may see it."""
        reason = Reason.stored(row.last_error_json, row.last_error)
        return from_row(
            cls,
            row,
            model_provider=row.provider_slug,
            api_key=row.mask,
            base_url=row.base_url or None,
            default_base_url=default_base_url,
            effective_base_url=row.base_url or default_base_url,
            shared=row.is_shared,
            needs_reentry=needs_reentry,
            cooldown_until=iso(row.cooldown_until) if row.cooldown_until else None,
            last_error=reason.text(language) if reason else None,
            last_used_at=iso(row.last_used_at) if row.last_used_at else None,
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
            models=[ModelHealth.of(rest) for rest in rests if rest.key_id == row.id],
        )


class ApiKeyChanged(Success, kw_only=True):
    apikey: ApiKey


class ApiKeyWorks(Success, kw_only=True):
    """POST /api/apikeys/{id}/test: the provider accepted the API key."""

    works: Literal[True] = True
    tested_at: str


class ApiKeyFails(Struct, kw_only=True):
    """POST /api/apikeys/{id}/test: the provider refused the API key; ``message`` says why."""

    success: Literal[True] = True
    works: Literal[False] = False
    message: str
    tested_at: str
