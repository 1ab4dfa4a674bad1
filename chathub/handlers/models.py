"""Section 2 of the API document: the models."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from msgspec import UNSET, structs

from chathub.app_keys import AVAILABILITY, CALLER, CATALOG, CLOCK, DB
from chathub.database.rows.models import Model
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.handlers.callers import find_caller
from chathub.handlers.http import actor, body, done, json_response, query, raw, row_id, said
from chathub.providers import targets
from chathub.providers.targets import Backing
from chathub.providers.unit_prices import UnitPrices
from chathub.schemas import models
from chathub.schemas.decode import given
from chathub.schemas.models import ModelChange, ModelFilter, ModelOrders, NewModel, NewTarget
from chathub.schemas.money import money_per_1k, price_per_million
from chathub.schemas.problems import field_name
from chathub.security import audit
from chathub.security.audit import Actor

# columns by name; a provider's slug and targets, each None where it is not given
Columns = dict[str, object]
Wanted = tuple[str | None, Sequence[NewTarget] | None]

# what null means
_DEFAULTS = {field.name: field.default for field in structs.fields(Model) if not field.required}
_ALL = ModelFilter()
# columns in the audit
_AUDITED = ("model_name", "display_name", "provider_slug", *_DEFAULTS)
_TRIMMED = ("model_name", "display_name", "upstream_name")
_BACKING = ("model_provider", "targets")
# what an alias has of its own
_OF_ALIASES = ("model_name", "display_name", "description", "fallback_model", "is_active", "sort_order")
_PRICES = {
    f"{column}_per_1k": column
    for column in ("input_price", "output_price", "cached_price", "cache_write_price", "cache_write_1h_price")
}
_COLUMNS = {**_PRICES, "priced": "is_priced"}
# the names of columns in the audit
_NAMES = {"provider_slug": "provider_key", **{column: name for name, column in _COLUMNS.items()}}


async def list_all(request: web.Request) -> web.Response:
    filters = query(request, ModelFilter) if request.query_string else _ALL
    caller, catalog = await find_caller(request), request.app[CATALOG]
    if caller is not None:
        return raw(catalog.list_models(filters, await request.app[AVAILABILITY].available_to(caller)))
    return raw(catalog.list_for_strangers() if filters is _ALL else catalog.list_models(filters, ()))


async def create(request: web.Request) -> web.Response:
    new = await body(request, NewModel)
    now = request.app[CLOCK].now()
    row = await request.app[DB].write(_create, _columns(new), _wanted(new), actor(request), now)
    return await _changed(request, "model_created", row)


async def update(request: web.Request) -> web.Response:
    model_id = row_id(request, "model_id")
    change = await body(request, ModelChange)
    columns, wanted, now = _columns(change), _wanted(change), request.app[CLOCK].now()
    row = await request.app[DB].write(_update, model_id, columns, wanted, actor(request), now)
    return await _changed(request, "model_updated", row)


async def toggle(request: web.Request) -> web.Response:
    model_id = row_id(request, "model_id")
    row = await request.app[DB].write(_toggle, model_id, actor(request), request.app[CLOCK].now())
    return await _changed(request, "model_switched_on" if row.is_active else "model_switched_off", row)


async def delete(request: web.Request) -> web.Response:
    model_id = row_id(request, "model_id")
    await request.app[DB].write(_delete, model_id, actor(request), request.app[CLOCK].now())
    await request.app[CATALOG].reload()
    return done(request, "model_deleted")


async def reorder(request: web.Request) -> web.Response:
    orders = (await body(request, ModelOrders)).model_orders
    pairs = [(order.id, order.sort_order) for order in orders]
    await request.app[DB].write(_reorder, pairs, actor(request), request.app[CLOCK].now())
    await request.app[CATALOG].reload()
    return done(request, "models_reordered")


async def _changed(request: web.Request, code: str, row: Model) -> web.Response:
    await request.app[CATALOG].reload()
    available = await request.app[AVAILABILITY].available_to(request[CALLER])
    model = structs.replace(request.app[CATALOG].shown(row), available=row.model_name in available)
    return json_response(models.ModelChanged(message=said(request, code), model=model))


def _columns(fields: NewModel | ModelChange) -> Columns:
    """What a request sets: names trimmed, prices in millionths."""
    columns: Columns = {}
    for name, value in given(fields).items():
        if name in _BACKING:
            continue
        column = _COLUMNS.get(name, name)
        if name in _PRICES and value is not None:
            value = price_per_million(value)
        elif name == "units" and value is not None:
            value = UnitPrices.of(value).text
        elif name in _TRIMMED and value is not None:
            value = value.strip()
            if not value and name != "upstream_name":
                raise BadRequest("field_empty", where=field_name(name))
        columns[column] = value
    return columns


def _wanted(fields: NewModel | ModelChange) -> Wanted:
    """The provider and the targets that a request names; null counts as not given."""
    slug = None if fields.model_provider is UNSET else fields.model_provider
    chosen = None if fields.targets is UNSET else fields.targets
    if fields.model_provider is None and not chosen:
        raise BadRequest("field_required", field="model_provider")
    return slug, chosen


def _create(tx: Transaction, columns: Columns, wanted: Wanted, actor: Actor, now: int) -> Model:
    backing = targets.backing(tx, None, str(columns["model_name"]), *wanted)
    inserted = tx.all(tx.q.models.insert, **columns, provider_id=backing.provider_id, now=now)[0]
    row = _write(tx, _get(tx, inserted.id), columns, backing, now)
    details = {"targets": _targets(tx, row)} if row.is_alias else {}
    _record(tx, actor, "model.created", row, now, provider=row.provider_slug, **details)
    return row


def _update(
    tx: Transaction, model_id: int, changes: Columns, wanted: Wanted, actor: Actor, now: int
) -> Model:
    old = _get(tx, model_id)
    before = _targets(tx, old)
    row = _write(tx, old, changes, targets.backing(tx, old, old.model_name, *wanted), now)
    changed = audit.differences(old, row, _AUDITED)
    details: dict[str, Any] = {_NAMES.get(name, name): _told(name, changed[name]) for name in changed}
    if (after := _targets(tx, row)) != before:
        details["targets"] = [before, after]
    _record(tx, actor, "model.updated", row, now, **details)
    return row


def _told(column: str, values: list[Any]) -> list[Any]:
    """The old and the new value of a column in the audit: prices as the API shows them."""
    if column == "units":
        return [models.units_shown(units) for units in values]
    if column not in _PRICES.values():
        return values
    return [None if price is None else money_per_1k(price) for price in values]


def _write(tx: Transaction, old: Model, changes: Columns, backing: Backing, now: int) -> Model:
    """Write a model with its changes; of an alias only what is not its targets'."""
    if backing.provider_id is None:
        changes = {name: value for name, value in changes.items() if name in _OF_ALIASES}
    columns = {
        **structs.asdict(old),
        **{name: _DEFAULTS[name] if value is None else value for name, value in changes.items()},
        "is_priced": _is_priced(old, changes),
        "provider_id": backing.provider_id,
    }
    tx.run(tx.q.models.update, **columns, model_id=old.id, now=now)
    row = _get(tx, old.id)
    targets.store_targets(tx, row, backing)
    return row


def _targets(tx: Transaction, row: Model) -> list[dict[str, Any]]:
    """The targets of an alias in the audit."""
    return [structs.asdict(target) for target in tx.all(tx.q.model_targets.list_of_alias, alias_id=row.id)]


def _is_priced(old: Model, changes: Columns) -> bool:
    """Whether somebody has set the prices: by saying so, or by changing one to another number. Pages send
    whole records back: what is as it was shown is no change."""
    told = bool(changes.get("is_priced", old.has_prices))
    if told != old.has_prices:
        return told
    new = {column: changes.get(column) for column in (*_PRICES.values(), "units")}
    return old.is_priced or any(new[name] not in (None, getattr(old, name)) for name in new)


def _toggle(tx: Transaction, model_id: int, actor: Actor, now: int) -> Model:
    tx.run(tx.q.models.toggle, model_id=model_id, now=now)
    row = _get(tx, model_id)
    _record(tx, actor, "model.toggled", row, now, is_active=row.is_active)
    return row


def _delete(tx: Transaction, model_id: int, actor: Actor, now: int) -> None:
    row = _get(tx, model_id)
    targets.check_no_target(tx, row)
    _record(tx, actor, "model.deleted", row, now)
    tx.run(tx.q.models.delete, model_id=model_id)


def _record(tx: Transaction, actor: Actor, event: str, row: Model, now: int, **details: Any) -> None:
    audit.record(tx, actor, event, now, f"model {row.id}", model=row.model_name, **details)


def _reorder(tx: Transaction, pairs: list[tuple[int, int]], actor: Actor, now: int) -> None:
    audit.record(tx, actor, "model.reordered", now, count=len(pairs))
    for model_id, sort_order in pairs:
        if not tx.run(tx.q.models.set_order, model_id=model_id, sort_order=sort_order, now=now):
            raise NotFound("models_not_reordered", id=str(model_id))


def _get(tx: Transaction, model_id: int) -> Model:
    row = tx.one(tx.q.models.get_by_id, model_id=model_id)
    if row is None:
        raise NotFound("model_not_found")
    return row
