"""Rows of ``sql/queries/providers.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Provider(Row, frozen=True):
    """``protocol`` is the wire format. ``proxy_url`` is None where the configuration decides, empty for none,
    else a URL with stars for its secret; ``proxy_secret`` is then the whole URL, encrypted. Moments are Unix
    milliseconds."""

    id: int
    slug: str
    display_name: str
    default_base_url: str
    protocol: str
    needs_key: bool
    is_active: bool
    sort_order: int
    proxy_url: str | None
    proxy_secret: bytes | None
    created_at: int
    updated_at: int


class ProviderId(Row, frozen=True):
    id: int


class Providers(Statements):
    list_all: Select[Provider]
    get_by_id: Select[Provider]
    get_by_slug: Select[Provider]
    insert: Select[ProviderId]
    update: Command
    set_proxy: Command
    reseal_proxy: Command
    set_active: Command
