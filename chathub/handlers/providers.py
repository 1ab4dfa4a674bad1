"""Section 3 of the API document: the providers."""

from typing import Any, NamedTuple, cast

from aiohttp import web
from msgspec import UNSET, UnsetType, structs

from chathub.app_keys import CALLER, CATALOG, CLOCK, DB, VAULT
from chathub.database.rows.providers import Provider
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.registry import PROVIDER_FORMATS, wire_format_of
from chathub.formats.urls import origin, without_query
from chathub.handlers.http import actor, body, json_response, language_of, query, row_id
from chathub.providers.aliases import ALIAS
from chathub.providers.catalog import LOCAL
from chathub.proxy_url import ProxyUrlError
from chathub.schemas import providers
from chathub.schemas.decode import given
from chathub.schemas.problems import field_name
from chathub.schemas.providers import NewProvider, ProviderChange, ProviderFilter
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.stored_proxy import StoredProxy
from chathub.security.vault import Vault
from chathub.sentences import Reason

# columns by name
Columns = dict[str, object]

# what null means, and a field that a new provider leaves out
_DEFAULTS: Columns = {"needs_key": True, "is_active": True, "sort_order": 0}
# columns in the audit; of an address only its origin: the rest may contain an API key
_AUDITED = ("display_name", "protocol", "needs_key", "is_active", "sort_order", "proxy_url")


async def list_all(request: web.Request) -> web.Response:
    """The active providers, and with ``all`` for an administrator the deleted ones too."""
    db = request.app[DB]
    is_all = query(request, ProviderFilter).all and request[CALLER].administrates
    rows = await db.fetch_all(db.q.providers.list_all)
    shown = [_shown(row, request) for row in rows if is_all or row.is_active]
    return json_response(providers.ProviderList(data=shown))


async def get(request: web.Request) -> web.Response:
    row = await request.app[DB].read(_get, row_id(request, "provider_id"))
    return json_response(providers.OneProvider(data=_shown(row, request)))


def _shown(row: Provider, request: web.Request) -> providers.Provider:
    """A provider as its reader may see it: the query of a base URL may hold what only administrators know."""
    provider = providers.Provider.of(row)
    if not request[CALLER].administrates:
        provider.default_base_url = without_query(provider.default_base_url)
        provider.proxy_url = UNSET
    return provider


async def create(request: web.Request) -> web.Response:
    new = await body(request, NewProvider)
    _check(new)
    if new.provider_key in (LOCAL, ALIAS):
        raise BadRequest("provider_key_reserved", provider=new.provider_key)
    row, left_behind = await request.app[DB].write(_create, _context(request), new)
    if left_behind is None:
        return await _changed(request, Reason("provider_created"), row)
    return await _moved(request, Reason("provider_restored"), row, left_behind)


async def update(request: web.Request) -> web.Response:
    provider_id = row_id(request, "provider_id")
    change = await body(request, ProviderChange)
    _check(change)
    row, left_behind = await request.app[DB].write(_update, _context(request), provider_id, _columns(change))
    return await _moved(request, Reason("provider_updated"), row, left_behind)


async def delete(request: web.Request) -> web.Response:
    provider_id = row_id(request, "provider_id")
    row = await request.app[DB].write(_deactivate, _context(request), provider_id)
    return await _changed(request, Reason("provider_deleted"), row)


async def _moved(request: web.Request, message: Reason, row: Provider, left_behind: int) -> web.Response:
    """The response to a change that may have left API keys behind at another origin."""
    if left_behind:
        message = Reason("keys_to_reenter", {"message": message, "count": left_behind})
    return await _changed(request, message, row, left_behind)


async def _changed(
    request: web.Request, message: Reason, row: Provider, keys_to_reenter: int | UnsetType = UNSET
) -> web.Response:
    await request.app[CATALOG].reload()
    shown = providers.Provider.of(row)
    return json_response(
        providers.ProviderChanged(
            message=message.text(language_of(request)), data=shown, keys_to_reenter=keys_to_reenter
        )
    )


def _check(fields: NewProvider | ProviderChange) -> None:
    """Trim the address; check it, the wire format and the name.

    Raises:
        BadRequest: one of them cannot be used.
    """
    if isinstance(fields.protocol, str) and fields.protocol not in PROVIDER_FORMATS:
        raise BadRequest("field_wrong_value", where=field_name("protocol"), allowed=list(PROVIDER_FORMATS))
    if fields.default_base_url is not UNSET:
        fields.default_base_url = fields.default_base_url.strip()
        try:
            origin(fields.default_base_url)
        except ValueError:
            raise BadRequest("url_invalid", field="default_base_url") from None
    if fields.display_name is not UNSET and not fields.display_name.strip():
        raise BadRequest("field_empty", where=field_name("display_name"))


def _columns(fields: NewProvider | ProviderChange) -> Columns:
    """What a request sets; null means the default where there is one."""
    columns = {name: _DEFAULTS.get(name) if value is None else value for name, value in given(fields).items()}
    columns.pop("provider_key", None)
    return columns


class _Context(NamedTuple):
    """What storing a provider needs besides the request's body."""

    actor: Actor
    vault: Vault
    now: int


def _context(request: web.Request) -> _Context:
    return _Context(actor(request), request.app[VAULT], request.app[CLOCK].now())


def _create(tx: Transaction, context: _Context, new: NewProvider) -> tuple[Provider, int | None]:
    """A new provider; or the deleted one of that slug, with the number of API keys that its new address left
    behind. What the request leaves out stays as it was."""
    old = tx.one(tx.q.providers.get_by_slug, slug=new.provider_key)
    if old is None or old.is_active:
        return _insert(tx, context, new), None
    return _update(tx, context, old.id, {"is_active": True, **_columns(new)})


def _insert(tx: Transaction, context: _Context, new: NewProvider) -> Provider:
    columns = {**_DEFAULTS, **_columns(new), "protocol": new.protocol or wire_format_of(new.default_base_url)}
    inserted = tx.all(tx.q.providers.insert, slug=new.provider_key, **columns, now=context.now)[0]
    row = _set_proxy(tx, context.vault, _get(tx, inserted.id), columns)
    proxy = {} if row.proxy_url is None else {"proxy_url": row.proxy_url}
    _record(tx, context, "provider.created", row, origin=origin(row.default_base_url), **proxy)
    return row


def _update(tx: Transaction, context: _Context, provider_id: int, changes: Columns) -> tuple[Provider, int]:
    """The changed provider, and how many API keys it left behind by moving to another origin."""
    old = _get(tx, provider_id)
    if old.slug == LOCAL:
        changes = {**changes, "default_base_url": old.default_base_url, "proxy_url": None}
    new = structs.replace(old, **changes)
    if changes.get("protocol", "") is None:
        new = structs.replace(new, protocol=wire_format_of(new.default_base_url))
    tx.run(tx.q.providers.update, **structs.asdict(new), provider_id=provider_id, now=context.now)
    row = _set_proxy(tx, context.vault, _get(tx, provider_id), changes)
    home = origin(row.default_base_url)
    api_keys = tx.all(tx.q.api_keys.list_inheriting, provider_id=provider_id)
    left_behind = sum(api_key.origin != home for api_key in api_keys)
    changed: dict[str, object] = {**audit.differences(old, row, _AUDITED)}
    if row.default_base_url != old.default_base_url:
        changed["base_url_changed"] = True
    if row.proxy_secret not in (None, old.proxy_secret):
        changed["proxy_entered"] = True
    if (before := origin(old.default_base_url)) != home:
        moved = {"origin": [before, home], "keys_to_reenter": left_behind}
        _record(tx, context, "provider.moved", row, **moved, **changed)
    elif changed:
        _record(tx, context, "provider.updated", row, **changed)
    return row, left_behind


def _set_proxy(tx: Transaction, vault: Vault, row: Provider, changes: Columns) -> Provider:
    """The provider with the proxy that a request sets, if it does."""
    if "proxy_url" not in changes:
        return row
    text = cast(str | None, changes["proxy_url"])
    try:
        proxy = StoredProxy.of(row).entered(text, vault)
    except ProxyUrlError as error:
        raise BadRequest("proxy_url_invalid", reason=error.reason) from None
    tx.run(tx.q.providers.set_proxy, provider_id=row.id, proxy_url=proxy.shown, proxy_secret=proxy.sealed)
    return _get(tx, row.id)


def _deactivate(tx: Transaction, context: _Context, provider_id: int) -> Provider:
    tx.run(tx.q.providers.set_active, provider_id=provider_id, is_active=False, now=context.now)
    row = _get(tx, provider_id)
    _record(tx, context, "provider.deleted", row)
    return row


def _get(tx: Transaction, provider_id: int) -> Provider:
    row = tx.one(tx.q.providers.get_by_id, provider_id=provider_id)
    if row is None:
        raise NotFound("provider_not_found")
    return row


def _record(tx: Transaction, context: _Context, event: str, row: Provider, **details: Any) -> None:
    target = f"provider {row.id}"
    audit.record(tx, context.actor, event, context.now, target, provider=row.slug, **details)
