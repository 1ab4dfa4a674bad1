"""Section 7 of the API document: the API keys of the caller. An API key comes in and never goes out."""

from typing import Any, NamedTuple, TypeVar

from aiohttp import web
from msgspec import UNSET, UnsetType, structs

from chathub.accounts.caller import Caller
from chathub.app_keys import CALLER, CLOCK, CONFIG, COOLDOWNS, DB, RUNNING, VAULT
from chathub.config import Config
from chathub.database.rows.api_keys import ApiKey
from chathub.database.rows.model_rests import OwnModelRest
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.urls import chat_url, origin, without_query
from chathub.handlers.http import actor, body, done, json_response, language_of, row_id, said
from chathub.providers import key_pool
from chathub.providers.catalog import LOCAL
from chathub.running.registry import with_api_key
from chathub.schemas import api_keys
from chathub.schemas.api_keys import ApiKeyChange, NewApiKey
from chathub.schemas.problems import field_name
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.placeholder_keys import is_placeholder
from chathub.security.vault import Binding, Vault, mask
from chathub.upstream.guard import is_trusted, names_private_address

T = TypeVar("T")

# columns in the audit; of an address only its origin: the rest may contain an API key
_AUDITED = ("origin", "is_shared", "priority", "weight", "is_active")


async def save(request: web.Request) -> web.Response:
    new = await body(request, NewApiKey)
    new.api_key = _checked_key(new.api_key)
    row = await request.app[DB].write(_save, _context(request), new, request.app[CLOCK].now())
    request.app[COOLDOWNS].forget(row.id)
    return await _changed("api_key_saved", row, request)


async def list_own(request: web.Request) -> web.Response:
    db = request.app[DB]
    rows = await db.fetch_all(db.q.api_keys.list_own, user_id=request[CALLER].id)
    rests = await _rests(request)
    return json_response([_shown(row, rests, request) for row in rows])


async def update(request: web.Request) -> web.Response:
    key_id = row_id(request, "key_id")
    change = await body(request, ApiKeyChange)
    row = await request.app[DB].write(_update, _context(request), key_id, change, request.app[CLOCK].now())
    if change.api_key:
        request.app[COOLDOWNS].forget(key_id)
    return await _changed("api_key_updated", row, request)


async def toggle(request: web.Request) -> web.Response:
    key_id, now = row_id(request, "key_id"), request.app[CLOCK].now()
    row = await request.app[DB].write(_toggle, key_id, actor(request), now)
    return await _changed("api_key_enabled" if row.is_active else "api_key_disabled", row, request)


async def delete(request: web.Request) -> web.Response:
    key_id = row_id(request, "key_id")
    await request.app[DB].write(_delete, key_id, actor(request), request.app[CLOCK].now())
    await request.app[RUNNING].stop(with_api_key(key_id))
    return done(request, "api_key_deleted")


async def _changed(code: str, row: ApiKey, request: web.Request) -> web.Response:
    message = said(request, code)
    shown = _shown(row, await _rests(request), request)
    return json_response(api_keys.ApiKeyChanged(message=message, apikey=shown))


async def _rests(request: web.Request) -> list[OwnModelRest]:
    db, now = request.app[DB], request.app[CLOCK].now()
    return await db.fetch_all(db.q.model_rests.list_own, user_id=request[CALLER].id, now=now)


def _shown(row: ApiKey, rests: list[OwnModelRest], request: web.Request) -> api_keys.ApiKey:
    # users see no more of the provider's URL than in the list of providers
    is_whole, language = request[CALLER].administrates, language_of(request)
    default_base_url = row.default_base_url if is_whole else without_query(row.default_base_url)
    needs_reentry = origin(row.base_url or row.default_base_url) != row.origin
    return api_keys.ApiKey.of(
        row, rests, language, default_base_url=default_base_url, needs_reentry=needs_reentry
    )


def _checked_key(api_key: str) -> str:
    """An API key as it can go into an HTTP header."""
    api_key = api_key.strip()
    if not api_key:
        raise BadRequest("field_empty", where=field_name("api_key"))
    if is_placeholder(api_key):
        raise BadRequest("api_key_is_placeholder")
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise BadRequest("api_key_characters_invalid")
    return api_key


def _check_active(provider_name: str, is_active: bool) -> None:
    """Refuse to store an API key for a deleted provider, which is never called.

    Raises:
        BadRequest: the provider was deleted.
    """
    if not is_active:
        raise BadRequest("provider_disabled_for_keys", provider=provider_name)


class _Context(NamedTuple):
    """What storing an API key needs besides the request's body."""

    caller: Caller
    actor: Actor
    vault: Vault
    config: Config


def _context(request: web.Request) -> _Context:
    return _Context(request[CALLER], actor(request), request.app[VAULT], request.app[CONFIG])


def _checked_url(url: str, providers_url: str, context: _Context) -> str:
    """A base URL of the caller's own; empty for the provider's. An address in a private network is refused
    here if the URL spells it out; what a name resolves to is checked when it is connected to."""
    if not url:
        return ""
    try:
        chat_url(url)
        is_known = context.caller.administrates or is_trusted(
            url, providers_url, context.config.upstream_allow_hosts
        )
    except ValueError:
        raise BadRequest("url_invalid", field="base_url") from None
    if not is_known and names_private_address(url, context.config.upstream_allow_networks):
        raise BadRequest("base_url_private")
    return url


def _voucher(caller: Caller, base_url: str) -> int | None:
    """The administrator who vouches for a base URL by entering it. An access token vouches for nothing."""
    return caller.id if base_url and caller.administrates else None


def _save(tx: Transaction, context: _Context, new: NewApiKey, now: int) -> ApiKey:
    """Store an API key; it replaces the caller's of the same provider and label."""
    caller = context.caller
    provider = tx.one(tx.q.providers.get_by_slug, slug=new.model_provider)
    if provider is None:
        raise BadRequest("unknown_provider", provider=new.model_provider)
    if provider.slug == LOCAL:
        raise BadRequest("local_model_needs_no_key")
    _check_active(provider.display_name, provider.is_active)
    base_url = _checked_url((new.base_url or "").strip(), provider.default_base_url, context)
    home = origin(base_url or provider.default_base_url)
    same = {"user_id": caller.id, "provider_id": provider.id, "label": (new.label or "").strip()}
    values = {
        "mask": mask(new.api_key),
        "base_url": base_url,
        "origin": home,
        "vouched_by": _voucher(caller, base_url),
        "is_shared": caller.administrates and new.shared is not False,
    }
    old = tx.one(tx.q.api_keys.find_same, **same)
    key_id = (old or tx.all(tx.q.api_keys.insert, **same, **values, secret=b"", now=now)[0]).id
    # the row's id is part of what the API key is bound to
    secret = context.vault.seal(new.api_key, Binding(key_id, caller.id, provider.id, home))
    rank = {"priority": new.priority or 0, "weight": new.weight or 1}
    tx.run(tx.q.api_keys.update, **values, **rank, secret=secret, is_active=True, key_id=key_id, now=now)
    key_pool.reset_after_replacement(tx, key_id)
    row = _get(tx, key_id, caller.id)
    _record(tx, context.actor, "key.saved", row, now, replaced=old is not None, origin=row.origin)
    return row


def _update(tx: Transaction, context: _Context, key_id: int, change: ApiKeyChange, now: int) -> ApiKey:
    """Change an API key. The mask, null or nothing keeps the stored one; another origin needs it again."""
    old = _get(tx, key_id, context.caller.id)
    entered = _or(change.api_key, "").strip()
    api_key = "" if entered in ("", old.mask) else _checked_key(entered)
    if api_key:
        _check_active(old.provider_name, old.provider_is_active)
    new = _with_address(context, _with_settings(context.caller, old, change), change)
    home = origin(new.base_url or old.default_base_url)
    if api_key:
        new = structs.replace(new, mask=mask(api_key), origin=home)
        key_pool.reset_after_replacement(tx, key_id)
    elif home != old.origin and new.base_url != old.base_url:
        raise BadRequest("new_address_needs_key")
    binding = Binding(key_id, context.caller.id, old.provider_id, home)
    secret = context.vault.seal(api_key, binding) if api_key else None
    tx.run(tx.q.api_keys.update, **structs.asdict(new), secret=secret, key_id=key_id, now=now)
    row = _get(tx, key_id, context.caller.id)
    changed: dict[str, object] = {**audit.differences(old, row, _AUDITED)}
    if row.base_url != old.base_url:
        changed["base_url_changed"] = True
    if api_key or changed:
        _record(tx, context.actor, "key.updated", row, now, entered=bool(api_key), **changed)
    return row


def _with_settings(caller: Caller, old: ApiKey, change: ApiKeyChange) -> ApiKey:
    """An API key with its changes, but for the key and its address."""
    # an access token shares nothing, and ends no sharing
    is_shared = _or(change.shared, old.is_shared) if caller.administrates else old.is_shared
    return structs.replace(
        old,
        is_shared=caller.is_admin and is_shared,
        priority=_or(change.priority, old.priority),
        weight=_or(change.weight, old.weight),
        is_active=_or(change.is_active, old.is_active),
    )


def _with_address(context: _Context, old: ApiKey, change: ApiKeyChange) -> ApiKey:
    """An API key with its new base URL. Who vouches for a URL does so for as long as the URL stays."""
    if change.base_url is UNSET:
        return old
    base_url, vouched_by = (change.base_url or "").strip(), old.vouched_by
    if base_url != old.base_url:
        base_url, vouched_by = _checked_url(base_url, old.default_base_url, context), None
    vouched_by = _voucher(context.caller, base_url) or vouched_by
    return structs.replace(old, base_url=base_url, vouched_by=vouched_by)


def _or(value: T | None | UnsetType, default: T) -> T:
    return default if value is None or value is UNSET else value


def _toggle(tx: Transaction, key_id: int, actor: Actor, now: int) -> ApiKey:
    tx.run(tx.q.api_keys.toggle, key_id=key_id, user_id=actor.user_id, now=now)
    row = _get(tx, key_id, actor.user_id)
    _record(tx, actor, "key.toggled", row, now, is_active=row.is_active)
    return row


def _delete(tx: Transaction, key_id: int, actor: Actor, now: int) -> None:
    _record(tx, actor, "key.deleted", _get(tx, key_id, actor.user_id), now)
    tx.run(tx.q.api_keys.delete, key_id=key_id, user_id=actor.user_id)


def _record(tx: Transaction, actor: Actor, event: str, row: ApiKey, now: int, **details: Any) -> None:
    named = {"provider": row.provider_slug, "label": row.label, "mask": row.mask}
    audit.record(tx, actor, event, now, f"key {row.id}", **named, **details)


def _get(tx: Transaction, key_id: int, user_id: int | None) -> ApiKey:
    row = tx.one(tx.q.api_keys.get_own, key_id=key_id, user_id=user_id)
    if row is None:
        raise NotFound("api_key_not_found")
    return row
