"""Section 7 of the API document: the provider keys of the caller. A key comes in and never goes out."""

from typing import Any, NamedTuple, TypeVar

from aiohttp import web

from chathub.accounts.caller import Caller
from chathub.app_keys import CALLER, CLOCK, CONFIG, COOLDOWNS, DB, RUNNING, VAULT
from chathub.clock import iso
from chathub.config import Config
from chathub.database.transaction import Row, Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.urls import chat_url, origin, without_query
from chathub.handlers.http import actor, answer, body, done, row_id
from chathub.providers import key_pool
from chathub.providers.catalog import LOCAL
from chathub.running.registry import with_api_key
from chathub.schemas import responses
from chathub.schemas.decode import given
from chathub.schemas.requests import ApiKeyChange, NewApiKey
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.vault import Binding, Vault, mask
from chathub.upstream.guard import is_trusted, names_private_address

T = TypeVar("T")

# what the audit tells of a change; of an address only its origin: the rest may hold a key
_TOLD = ("origin", "is_shared", "priority", "weight", "is_active")


async def save(request: web.Request) -> web.Response:
    wanted = await body(request, NewApiKey)
    key = _checked_key(wanted.api_key)
    row = await request.app[DB].write(_save, _keeper(request), wanted, key, request.app[CLOCK].now())
    request.app[COOLDOWNS].forget(row["id"])
    return done("API密钥保存成功", apikey=_shape(row, request[CALLER]))


async def list_own(request: web.Request) -> web.Response:
    db = request.app[DB]
    rows = await db.fetch_all(db.q.api_keys.list_own, user_id=request[CALLER].id)
    return answer([_shape(row, request[CALLER]) for row in rows])


async def update(request: web.Request) -> web.Response:
    key_id = row_id(request, "key_id")
    changes = given(await body(request, ApiKeyChange))
    row = await request.app[DB].write(_update, _keeper(request), key_id, changes, request.app[CLOCK].now())
    if changes.get("api_key"):
        request.app[COOLDOWNS].forget(key_id)
    return done("API密钥更新成功", apikey=_shape(row, request[CALLER]))


async def toggle(request: web.Request) -> web.Response:
    row = await request.app[DB].write(
        _toggle, row_id(request, "key_id"), actor(request), request.app[CLOCK].now()
    )
    message = "API密钥已启用" if row["is_active"] else "API密钥已停用"
    return done(message, apikey=_shape(row, request[CALLER]))


async def delete(request: web.Request) -> web.Response:
    key_id = row_id(request, "key_id")
    await request.app[DB].write(_delete, key_id, actor(request), request.app[CLOCK].now())
    await request.app[RUNNING].stop(with_api_key(key_id))
    return done("API密钥删除成功")


def _shape(row: Row, caller: Caller) -> responses.ApiKey:
    effective = row["base_url"] or row["default_base_url"]
    # of the provider's URL users see no more than in the list of providers
    usual = row["default_base_url"] if caller.administrates else without_query(row["default_base_url"])
    return responses.ApiKey(
        id=row["id"],
        model_provider=row["provider_key"],
        api_key=row["mask"],
        base_url=row["base_url"] or None,
        default_base_url=usual,
        effective_base_url=row["base_url"] or usual,
        label=row["label"],
        shared=bool(row["is_shared"]),
        needs_reentry=origin(effective) != row["origin"],
        priority=row["priority"],
        weight=row["weight"],
        health=row["health"],
        cooldown_until=iso(row["cooldown_until"]) if row["cooldown_until"] else None,
        last_error=row["last_error"] or None,
        success_count=row["success_count"],
        failure_count=row["failure_count"],
        last_used_at=iso(row["last_used_at"]) if row["last_used_at"] else None,
        is_active=bool(row["is_active"]),
        provider_is_active=bool(row["provider_is_active"]),
        created_at=iso(row["created_at"]),
        updated_at=iso(row["updated_at"]),
    )


def _checked_key(key: str) -> str:
    """A key as it can go into an HTTP header."""
    key = key.strip()
    if not key:
        raise BadRequest("字段 api_key 不能为空")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadRequest("字段 api_key 含有无效字符")
    return key


def _check_active(name: str, is_active: int) -> None:
    """A key is entered for a provider that is asked: for a deleted one it would lie unused.

    Raises:
        BadRequest: the provider was deleted.
    """
    if not is_active:
        raise BadRequest(f"提供商 {name} 已停用，不能保存API密钥")


class _Keeper(NamedTuple):
    """What is needed to store a key: the caller, and what seals and judges."""

    caller: Caller
    who: Actor
    vault: Vault
    config: Config


def _keeper(request: web.Request) -> _Keeper:
    return _Keeper(request[CALLER], actor(request), request.app[VAULT], request.app[CONFIG])


def _checked_url(url: str | None, providers_url: str, keeper: _Keeper) -> str:
    """A base URL of the caller's own; empty for the provider's. Whether a name leads inside is found
    out when it is connected to; what is plain to see is refused here."""
    url = (url or "").strip()
    if not url:
        return ""
    try:
        chat_url(url)
        known = keeper.caller.administrates or is_trusted(
            url, providers_url, keeper.config.upstream_allow_hosts
        )
    except ValueError:
        raise BadRequest("字段 base_url 不是有效的 http/https 地址") from None
    if not known and names_private_address(url, keeper.config.upstream_allow_networks):
        raise BadRequest("字段 base_url 不能指向内网地址")
    return url


def _voucher(caller: Caller, base_url: str) -> int | None:
    """The administrator who vouches for a base URL by giving it: a program's token vouches for nothing."""
    return caller.id if base_url and caller.administrates else None


def _save(tx: Transaction, keeper: _Keeper, wanted: NewApiKey, key: str, now: int) -> Row:
    """Store a key; it takes the place of the caller's key of that label for the provider."""
    provider = tx.one(tx.q.providers.get_by_key, provider_key=wanted.model_provider)
    if provider is None:
        raise BadRequest(f"提供商不存在：{wanted.model_provider}")
    if provider["provider_key"] == LOCAL:
        raise BadRequest("内置模型不使用API密钥")
    _check_active(provider["display_name"], provider["is_active"])
    user_id, provider_id = keeper.caller.id, provider["id"]
    base_url = _checked_url(wanted.base_url, provider["default_base_url"], keeper)
    same = {"user_id": user_id, "provider_id": provider_id, "label": (wanted.label or "").strip()}
    values: dict[str, Any] = {
        "mask": mask(key),
        "base_url": base_url,
        "origin": origin(base_url or provider["default_base_url"]),
        "vouched_by": _voucher(keeper.caller, base_url),
        "is_shared": keeper.caller.administrates and wanted.shared is not False,
    }
    row = tx.one(tx.q.api_keys.find_same, **same)
    key_id = row["id"] if row else tx.add(tx.q.api_keys.insert, **same, **values, secret=b"", now=now)
    # the row's id is part of what the key is bound to
    sealed = keeper.vault.seal(key, Binding(key_id, user_id, provider_id, values["origin"]))
    rank = {"priority": wanted.priority or 0, "weight": wanted.weight or 1}
    tx.run(tx.q.api_keys.update, **values, **rank, secret=sealed, is_active=True, key_id=key_id, now=now)
    key_pool.renew(tx, key_id)
    new = _get(tx, key_id, user_id)
    _record(tx, keeper.who, "key.saved", new, now, replaced=row is not None, origin=new["origin"])
    return new


def _update(tx: Transaction, keeper: _Keeper, key_id: int, changes: dict[str, Any], now: int) -> Row:
    """Change a key. The mask sent back, null or nothing keeps it; another origin needs it entered again."""
    caller = keeper.caller
    old = _get(tx, key_id, caller.id)
    entered = (changes.get("api_key") or "").strip()
    key = "" if entered in ("", old["mask"]) else _checked_key(entered)
    if key:
        _check_active(old["provider_name"], old["provider_is_active"])
    base_url, vouched_by = _address(keeper, changes, old)
    home = origin(base_url or old["default_base_url"])
    if not key and home != old["origin"] and base_url != old["base_url"]:
        raise BadRequest("更换到其他地址需要重新输入API密钥")
    # a program's token shares nothing, and takes nothing away from others
    shared = changes.get("shared") if caller.administrates else None
    secret, destination = old["secret"], old["origin"]
    if key:
        binding = Binding(key_id, caller.id, old["provider_id"], home)
        secret, destination = keeper.vault.seal(key, binding), home
        key_pool.renew(tx, key_id)
    tx.run(
        tx.q.api_keys.update,
        secret=secret,
        mask=mask(key) if key else old["mask"],
        base_url=base_url,
        origin=destination,
        vouched_by=vouched_by,
        is_shared=caller.is_admin and _or(shared, bool(old["is_shared"])),
        priority=_or(changes.get("priority"), old["priority"]),
        weight=_or(changes.get("weight"), old["weight"]),
        is_active=_or(changes.get("is_active"), bool(old["is_active"])),
        key_id=key_id,
        now=now,
    )
    new = _get(tx, key_id, caller.id)
    changed: dict[str, Any] = audit.differences(old, new, _TOLD)
    if new["base_url"] != old["base_url"]:
        changed["base_url_changed"] = True
    if key or changed:
        _record(tx, keeper.who, "key.updated", new, now, entered=bool(key), **changed)
    return new


def _address(keeper: _Keeper, changes: dict[str, Any], old: Row) -> tuple[str, int | None]:
    """A key's base URL after a change, and who vouches for it: that lasts for as long as the URL does."""
    base_url, vouched_by = old["base_url"], old["vouched_by"]
    if "base_url" not in changes:
        return base_url, vouched_by
    if (changes["base_url"] or "").strip() != base_url:
        base_url, vouched_by = _checked_url(changes["base_url"], old["default_base_url"], keeper), None
    return base_url, _voucher(keeper.caller, base_url) or vouched_by


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _toggle(tx: Transaction, key_id: int, who: Actor, now: int) -> Row:
    tx.run(tx.q.api_keys.toggle, key_id=key_id, user_id=who.user_id, now=now)
    row = _get(tx, key_id, who.user_id)
    _record(tx, who, "key.toggled", row, now, is_active=bool(row["is_active"]))
    return row


def _delete(tx: Transaction, key_id: int, who: Actor, now: int) -> None:
    _record(tx, who, "key.deleted", _get(tx, key_id, who.user_id), now)
    tx.run(tx.q.api_keys.delete, key_id=key_id, user_id=who.user_id)


def _record(tx: Transaction, who: Actor, event: str, row: Row, now: int, **details: Any) -> None:
    named = {"provider": row["provider_key"], "label": row["label"], "mask": row["mask"]}
    audit.record(tx, who, event, now, f"key {row['id']}", **named, **details)


def _get(tx: Transaction, key_id: int, user_id: int | None) -> Row:
    row = tx.one(tx.q.api_keys.get_own, key_id=key_id, user_id=user_id)
    if row is None:
        raise NotFound("API密钥不存在")
    return row
