"""Section 2 of the API document: the models."""

from typing import Any

from aiohttp import web

from chathub.app_keys import CATALOG, CLOCK, DB
from chathub.database.transaction import Row, Transaction
from chathub.errors import BadRequest, NotFound
from chathub.handlers.http import actor, body, done, query, raw, row_id
from chathub.schemas import responses
from chathub.schemas.decode import given
from chathub.schemas.requests import ModelChange, ModelFilter, ModelOrders, NewModel
from chathub.security import audit
from chathub.security.audit import Actor

# what null, or nothing at all, means
_DEFAULTS = {
    "model_type": "chat",
    "max_tokens": 4096,
    "context_window": None,
    "supports_streaming": True,
    "supports_function_calling": False,
    "supports_vision": False,
    "input_price": 0,
    "output_price": 0,
    "description": "",
    "fallback_model": "",
    "allow_extras": False,
    "is_active": True,
    "sort_order": 0,
}
_EVERY = ModelFilter()
# what the audit tells of a change
_TOLD = ("model_name", "display_name", "provider_key", *_DEFAULTS)
_PRICES = {"input_price_per_1k": "input_price", "output_price_per_1k": "output_price"}


async def list_all(request: web.Request) -> web.Response:
    # the usual request asks for all of them
    wanted = query(request, ModelFilter) if request.query_string else _EVERY
    return raw(request.app[CATALOG].list_models(wanted))


async def create(request: web.Request) -> web.Response:
    values = _columns(given(await body(request, NewModel)))
    row = await request.app[DB].write(_insert, values, actor(request), request.app[CLOCK].now())
    return await _changed(request, "模型创建成功", row)


async def update(request: web.Request) -> web.Response:
    model_id = row_id(request, "model_id")
    changes = _columns(given(await body(request, ModelChange)))
    row = await request.app[DB].write(_update, model_id, changes, actor(request), request.app[CLOCK].now())
    return await _changed(request, "模型更新成功", row)


async def toggle(request: web.Request) -> web.Response:
    model_id = row_id(request, "model_id")
    row = await request.app[DB].write(_toggle, model_id, actor(request), request.app[CLOCK].now())
    return await _changed(request, "模型已启用" if row["is_active"] else "模型已停用", row)


async def delete(request: web.Request) -> web.Response:
    model_id = row_id(request, "model_id")
    await request.app[DB].write(_delete, model_id, actor(request), request.app[CLOCK].now())
    await request.app[CATALOG].reload()
    return done("模型删除成功")


async def reorder(request: web.Request) -> web.Response:
    orders = (await body(request, ModelOrders)).model_orders
    pairs = [(order.id, order.sort_order) for order in orders]
    await request.app[DB].write(_reorder, pairs, actor(request), request.app[CLOCK].now())
    await request.app[CATALOG].reload()
    return done("模型排序更新成功")


async def _changed(request: web.Request, message: str, row: Row) -> web.Response:
    await request.app[CATALOG].reload()
    return done(message, model=responses.Model.of(row))


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """The wire's fields as columns: names trimmed, prices in millionths, null as the default."""
    columns: dict[str, Any] = {}
    for name, value in fields.items():
        column = _PRICES.get(name, name)
        if value is None:
            value = _DEFAULTS[column]
        elif name in _PRICES:
            value = responses.millionths(value)
        elif name in ("model_name", "display_name") and not (value := value.strip()):
            raise BadRequest(f"字段 {name} 不能为空")
        columns[column] = value
    return columns


def _insert(tx: Transaction, values: dict[str, Any], who: Actor, now: int) -> Row:
    values = _with_provider_id(tx, values)
    row = _get(tx, tx.add(tx.q.models.insert, **values, now=now))
    _record(tx, who, "model.created", row, now, provider=row["provider_key"])
    return row


def _update(tx: Transaction, model_id: int, changes: dict[str, Any], who: Actor, now: int) -> Row:
    old = _get(tx, model_id)
    values = {**dict(old), **_with_provider_id(tx, changes)}
    tx.run(tx.q.models.update, **values, model_id=model_id, now=now)
    row = _get(tx, model_id)
    _record(tx, who, "model.updated", row, now, **audit.differences(old, row, _TOLD))
    return row


def _toggle(tx: Transaction, model_id: int, who: Actor, now: int) -> Row:
    tx.run(tx.q.models.toggle, model_id=model_id, now=now)
    row = _get(tx, model_id)
    _record(tx, who, "model.toggled", row, now, is_active=bool(row["is_active"]))
    return row


def _delete(tx: Transaction, model_id: int, who: Actor, now: int) -> None:
    _record(tx, who, "model.deleted", _get(tx, model_id), now)
    tx.run(tx.q.models.delete, model_id=model_id)


def _record(tx: Transaction, who: Actor, event: str, row: Row, now: int, **details: Any) -> None:
    audit.record(tx, who, event, now, f"model {row['id']}", model=row["model_name"], **details)


def _reorder(tx: Transaction, pairs: list[tuple[int, int]], who: Actor, now: int) -> None:
    audit.record(tx, who, "model.reordered", now, count=len(pairs))
    for model_id, sort_order in pairs:
        if not tx.run(tx.q.models.set_order, model_id=model_id, sort_order=sort_order, now=now):
            raise NotFound(f"模型不存在：{model_id}，排序未更改")


def _get(tx: Transaction, model_id: int) -> Row:
    row = tx.one(tx.q.models.get_by_id, model_id=model_id)
    if row is None:
        raise NotFound("模型不存在")
    return row


def _with_provider_id(tx: Transaction, columns: dict[str, Any]) -> dict[str, Any]:
    key = columns.pop("model_provider", None)
    if key is None:
        return columns
    row = tx.one(tx.q.providers.get_by_key, provider_key=key)
    if row is None:
        raise BadRequest(f"提供商不存在：{key}")
    return {**columns, "provider_id": row["id"]}
