"""Section 3 of the API document: the providers."""

from typing import Any

from aiohttp import web
from msgspec import UNSET, UnsetType, structs

from chathub.app_keys import CALLER, CATALOG, CLOCK, DB
from chathub.database.rows.providers import Provider
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.registry import PROVIDER_FORMATS, wire_format_of
from chathub.formats.urls import origin, without_query
from chathub.handlers.http import actor, body, json_response, language_of, query, row_id
from chathub.providers.aliases import ALIAS
from chathub.providers.catalog import LOCAL
from chathub.schemas import providers
from chathub.schemas.decode import given
from chathub.schemas.problems import field_name
from chathub.schemas.providers import NewProvider, ProviderChange, ProviderFilter
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.sentences import Reason

# columns by name
Columns = dict[str, object]

# what null means, and a field that a new provider leaves out
_DEFAULTS: Columns = {"needs_key": True, "is_active": True, "sort_order": 0}
# columns in the audit; of an address only its origin: the rest may contain an API key
_AUDITED = ("display_name", "protocol", "needs_key", "is_active", "sort_order")


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
    return provider


async def create(request: web.Request) -> web.Response:
    new = await body(request, NewProvider)
    _check(new)
    if new.provider_key in (LOCAL, ALIAS):
        raise BadRequest("provider_key_reserved", provider=new.provider_key)
    row, left_behind = await request.app[DB].write(_create, new, actor(request), request.app[CLOCK].now())
    if left_behind is None:
        return await _changed(request, Reason("provider_created"), row)
    return await _moved(request, Reason("provider_restored"), row, left_behind)


async def update(request: web.Request) -> web.Response:
    provider_id = row_id(request, "provider_id")
    change = await body(request, ProviderChange)
    _check(change)
    row, left_behind = await request.app[DB].write(
        _update, provider_id, _columns(change), actor(request), request.app[CLOCK].now()
    )
    return await _moved(request, Reason("provider_updated"), row, left_behind)


async def delete(request: web.Request) -> web.Response:
    provider_id = row_id(request, "provider_id")
    row = await request.app[DB].write(_deactivate, provider_id, actor(request), request.app[CLOCK].now())
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


def _create(tx: Transaction, new: NewProvider, actor: Actor, now: int) -> tuple[Provider, int | None]:
    """A new provider; or the deleted one of that slug, with the number of API keys that its new address left
    behind. What the request leaves out stays as it was."""
    old = tx.one(tx.q.providers.get_by_slug, slug=new.provider_key)
    if old is None or old.is_active:
        return _insert(tx, new, actor, now), None
    return _update(tx, old.id, {"is_active": True, **_columns(new)}, actor, now)


def _insert(tx: Transaction, new: NewProvider, actor: Actor, now: int) -> Provider:
    columns = {**_DEFAULTS, **_columns(new), "protocol": new.protocol or wire_format_of(new.default_base_url)}
    inserted = tx.all(tx.q.providers.insert, slug=new.provider_key, **columns, now=now)[0]
    row = _get(tx, inserted.id)
    _record(tx, actor, "provider.created", row, now, origin=origin(row.default_base_url))
    return row


def _update(
    tx: Transaction, provider_id: int, changes: Columns, actor: Actor, now: int
) -> tuple[Provider, int]:
    """The changed provider, and how many API keys it left behind by moving to another origin."""
    old = _get(tx, provider_id)
    if old.slug == LOCAL:
        changes = {**changes, "default_base_url": old.default_base_url}
    new = structs.replace(old, **changes)
    if changes.get("protocol", "") is None:
        new = structs.replace(new, protocol=wire_format_of(new.default_base_url))
    tx.run(tx.q.providers.update, **structs.asdict(new), provider_id=provider_id, now=now)
    row = _get(tx, provider_id)
    home = origin(row.default_base_url)
    api_keys = tx.all(tx.q.api_keys.list_inheriting, provider_id=provider_id)
    left_behind = sum(api_key.origin != home for api_key in api_keys)
    changed: dict[str, object] = {**audit.differences(old, row, _AUDITED)}
    if row.default_base_url != old.default_base_url:
        changed["base_url_changed"] = True
    if (before := origin(old.default_base_url)) != home:
        moved = {"origin": [before, home], "keys_to_reenter": left_behind}
        _record(tx, actor, "provider.moved", row, now, **moved, **changed)
    elif changed:
        _record(tx, actor, "provider.updated", row, now, **changed)
    return row, left_behind


def _deactivate(tx: Transaction, provider_id: int, actor: Actor, now: int) -> Provider:
    tx.run(tx.q.providers.set_active, provider_id=provider_id, is_active=False, now=now)
    row = _get(tx, provider_id)
    _record(tx, actor, "provider.deleted", row, now)
    return row


def _get(tx: Transaction, provider_id: int) -> Provider:
    row = tx.one(tx.q.providers.get_by_id, provider_id=provider_id)
    if row is None:
        raise NotFound("provider_not_found")
    return row


def _record(tx: Transaction, actor: Actor, event: str, row: Provider, now: int, **details: Any) -> None:
    audit.record(tx, actor, event, now, f"provider {row.id}", provider=row.slug, **details)
