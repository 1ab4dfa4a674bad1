"""Bodies of ``/api/providers``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.clock import iso
from chathub.database.rows import providers as rows
from chathub.schemas.decode import Request
from chathub.schemas.fields import Name, Order
from chathub.schemas.from_row import from_row
from chathub.schemas.success import Success

Url = Annotated[str, Meta(min_length=1, max_length=2000)]
# empty: no proxy
Proxy = Annotated[str, Meta(max_length=2000)]
# the wire format of a provider; ``formats/registry.py`` has the names
Protocol = str


class ProviderFilter(Request):
    """GET /api/providers; ``all``: deleted providers too, for administrators."""

    all: bool = False


class NewProvider(Request):
    """POST /api/providers. A deleted provider of this key is restored, and keeps what the body leaves out."""

    provider_key: Annotated[str, Meta(pattern=r"^[a-z0-9_]+\Z", max_length=50)]
    display_name: Name
    default_base_url: Url
    protocol: Protocol | None | UnsetType = UNSET
    needs_key: bool | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET
    sort_order: Order | None | UnsetType = UNSET
    proxy_url: Proxy | None | UnsetType = UNSET


class ProviderChange(Request):
    """PUT /api/providers/{id}. A ``protocol`` of null means the one that the address suggests. The
    ``proxy_url`` that is shown keeps the stored one."""

    display_name: Name | UnsetType = UNSET
    default_base_url: Url | UnsetType = UNSET
    protocol: Protocol | None | UnsetType = UNSET
    needs_key: bool | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET
    sort_order: Order | None | UnsetType = UNSET
    proxy_url: Proxy | None | UnsetType = UNSET


class Provider(Struct):
    """``provider_key`` is the provider's slug. ``is_active`` is false for a deleted provider.
    ``proxy_url`` has stars for its password, and is there for administrators only."""

    id: int
    provider_key: str
    display_name: str
    default_base_url: str
    protocol: str
    needs_key: bool
    is_active: bool
    sort_order: int
    created_at: str
    updated_at: str
    proxy_url: str | None | UnsetType = UNSET

    @classmethod
    def of(cls, row: rows.Provider) -> "Provider":
        created_at, updated_at = iso(row.created_at), iso(row.updated_at)
        return from_row(cls, row, provider_key=row.slug, created_at=created_at, updated_at=updated_at)


class OneProvider(Struct, kw_only=True):
    success: Literal[True] = True
    data: Provider


class ProviderList(Struct, kw_only=True):
    success: Literal[True] = True
    data: list[Provider]


class ProviderChanged(Success, kw_only=True):
    """``keys_to_reenter``: how many API keys no longer fit, because the provider moved to another origin;
    absent where a provider is new or deleted."""

    data: Provider
    keys_to_reenter: int | UnsetType = UNSET
