"""Section 3 of the API document: the providers."""

from typing import Any

from aiohttp import web

from chathub.app_keys import CALLER, CATALOG, CLOCK, DB
from chathub.database.transaction import Row, Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.registry import PROVIDER_FORMATS, wire_format_of
from chathub.formats.urls import origin, without_query
from chathub.handlers.http import actor, answer, body, done, query, row_id
from chathub.providers.catalog import LOCAL
from chathub.schemas import responses
from chathub.schemas.decode import given
from chathub.schemas.requests import NewProvider, ProviderChange, ProviderFilter
from chathub.security import audit
from chathub.security.audit import Actor

_DEFAULTS: dict[str, Any] = {"needs_key": True, "is_active": True, "sort_order": 0}
# what the audit tells of a change; of an address only its origin: the rest may hold a key
_TOLD = ("display_name", "protocol", "needs_key", "is_active", "sort_order")


async def list_all(request: web.Request) -> web.Response:
    """The active ones, and for an administrator who asks for all of them those that were deleted."""
    db = request.app[DB]
    is_all = query(request, ProviderFilter).all and request[CALLER].administrates
    rows = await db.fetch_all(db.q.providers.list_all)
    shown = [_shape(row, request) for row in rows if is_all or row["is_active"]]
    return answer({"success": True, "data": shown})


async def get(request: web.Request) -> web.Response:
    db = request.app[DB]
    row = await db.fetch_one(db.q.providers.get_by_id, provider_id=row_id(request, "provider_id"))
    if row is None:
        raise NotFound("提供商不存在")
    return answer({"success": True, "data": _shape(row, request)})


def _shape(row: Row, request: web.Request) -> responses.Provider:
    """A provider as its reader may see it: a base URL's query may hold what only administrators know."""
    provider = responses.Provider.of(row)
    if not request[CALLER].administrates:
        provider.default_base_url = without_query(provider.default_base_url)
    return provider


async def create(request: web.Request) -> web.Response:
    values = _columns(given(await body(request, NewProvider)))
    if values["provider_key"] == LOCAL:
        raise BadRequest(f"提供商标识 {LOCAL} 是为内置模型保留的")
    row, left_behind = await request.app[DB].write(_create, values, actor(request), request.app[CLOCK].now())
    if left_behind is None:
        return await _changed(request, "提供商创建成功", row)
    return await _moved(request, "提供商已恢复", row, left_behind)


async def update(request: web.Request) -> web.Response:
    provider_id = row_id(request, "provider_id")
    changes = _columns(given(await body(request, ProviderChange)))
    row, left_behind = await request.app[DB].write(
        _update, provider_id, changes, actor(request), request.app[CLOCK].now()
    )
    return await _moved(request, "提供商更新成功", row, left_behind)


async def delete(request: web.Request) -> web.Response:
    provider_id = row_id(request, "provider_id")
    row = await request.app[DB].write(_deactivate, provider_id, actor(request), request.app[CLOCK].now())
    return await _changed(request, "提供商删除成功", row)


async def _moved(request: web.Request, message: str, row: Row, left_behind: int) -> web.Response:
    """A change that may have left keys behind at another origin."""
    if left_behind:
        message += f"，{left_behind} 个API密钥因地址变更需要重新输入"
    return await _changed(request, message, row, keys_to_reenter=left_behind)


async def _changed(request: web.Request, message: str, row: Row, **more: Any) -> web.Response:
    await request.app[CATALOG].reload()
    return done(message, data=responses.Provider.of(row), **more)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """The wire's fields as columns; null means the default where there is one."""
    columns: dict[str, Any] = {
        name: _DEFAULTS.get(name) if value is None else value for name, value in fields.items()
    }
    if columns.get("protocol") is not None and columns["protocol"] not in PROVIDER_FORMATS:
        raise BadRequest("字段 protocol 的值无效")
    if "default_base_url" in columns:
        columns["default_base_url"] = columns["default_base_url"].strip()
        try:
            origin(columns["default_base_url"])
        except ValueError:
            raise BadRequest("字段 default_base_url 不是有效的 http/https 地址") from None
    if "display_name" in columns and not columns["display_name"].strip():
        raise BadRequest("字段 display_name 不能为空")
    return columns


def _create(tx: Transaction, values: dict[str, Any], who: Actor, now: int) -> tuple[Row, int | None]:
    """A new provider; or the deleted one of that key, with the number of keys that its new address left
    behind. What is not given of that one stays as it was."""
    old = tx.one(tx.q.providers.get_by_key, provider_key=values["provider_key"])
    if old is None or old["is_active"]:
        return _insert(tx, values, who, now), None
    changes = {name: value for name, value in values.items() if name != "provider_key"}
    return _update(tx, old["id"], {"is_active": True, **changes}, who, now)


def _insert(tx: Transaction, values: dict[str, Any], who: Actor, now: int) -> Row:
    values = {**_DEFAULTS, **values}
    values["protocol"] = values.get("protocol") or wire_format_of(values["default_base_url"])
    row = tx.one(tx.q.providers.insert, **values, now=now)
    assert row is not None
    _record(tx, who, "provider.created", row, now, origin=origin(row["default_base_url"]))
    return row


def _update(
    tx: Transaction, provider_id: int, changes: dict[str, Any], who: Actor, now: int
) -> tuple[Row, int]:
    """The changed provider, and how many keys it left behind by moving to another origin."""
    old = tx.one(tx.q.providers.get_by_id, provider_id=provider_id)
    if old is None:
        raise NotFound("提供商不存在")
    if old["provider_key"] == LOCAL and "default_base_url" in changes:
        changes["default_base_url"] = old["default_base_url"]
    if changes.get("protocol", "") is None:
        changes["protocol"] = wire_format_of(changes.get("default_base_url", old["default_base_url"]))
    row = tx.one(tx.q.providers.update, **{**dict(old), **changes}, provider_id=provider_id, now=now)
    assert row is not None
    home = origin(row["default_base_url"])
    keys = tx.all(tx.q.api_keys.list_inheriting, provider_id=provider_id)
    left_behind = sum(key["origin"] != home for key in keys)
    changed: dict[str, Any] = audit.differences(old, row, _TOLD)
    if row["default_base_url"] != old["default_base_url"]:
        changed["base_url_changed"] = True
    if (before := origin(old["default_base_url"])) != home:
        moved = {"origin": [before, home], "keys_to_reenter": left_behind}
        _record(tx, who, "provider.moved", row, now, **moved, **changed)
    elif changed:
        _record(tx, who, "provider.updated", row, now, **changed)
    return row, left_behind


def _deactivate(tx: Transaction, provider_id: int, who: Actor, now: int) -> Row:
    row = tx.one(tx.q.providers.deactivate, provider_id=provider_id, now=now)
    if row is None:
        raise NotFound("提供商不存在")
    _record(tx, who, "provider.deleted", row, now)
    return row


def _record(tx: Transaction, who: Actor, event: str, row: Row, now: int, **details: Any) -> None:
    audit.record(tx, who, event, now, f"provider {row['id']}", provider=row["provider_key"], **details)
