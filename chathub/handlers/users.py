"""Section 9 of the API document: accounts, by administrators and by their owners."""

from typing import Any

from aiohttp import web

from chathub.accounts import logins, users
from chathub.accounts.passwords import check_rules, new_random
from chathub.app_keys import CALLER, CLOCK, DB, PASSWORDS, RUNNING, SESSIONS, THROTTLE
from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, NotFound
from chathub.handlers.http import actor, answer, body, client_info, done, query, row_id
from chathub.running.registry import of_user
from chathub.schemas import responses
from chathub.schemas.decode import given
from chathub.schemas.requests import ProfileChange, UserChange, UserFilter
from chathub.security import audit


async def search(request: web.Request) -> web.Response:
    wanted = query(request, UserFilter)
    rows, total = await request.app[DB].read_background(request[CALLER].id, _search, wanted)
    return answer(
        {
            "users": [responses.User.of(row) for row in rows],
            "total": total,
            "pages": -(-total // wanted.per_page),
            "current_page": wanted.page,
            "per_page": wanted.per_page,
        }
    )


async def get(request: web.Request) -> web.Response:
    return answer(
        {"success": True, "user": responses.User.of(await _get(request, row_id(request, "user_id")))}
    )


async def update(request: web.Request) -> web.Response:
    user_id = row_id(request, "user_id")
    changes = await _checked(request, given(await body(request, UserChange)))
    row = await _apply(request, user_id, changes)
    return done("用户更新成功", user=responses.User.of(row))


async def disable(request: web.Request) -> web.Response:
    row = await _apply(request, row_id(request, "user_id"), {"is_active": False})
    return done("用户已禁用", user=responses.User.of(row))


async def reset_password(request: web.Request) -> web.Response:
    user_id = row_id(request, "user_id")
    await _get(request, user_id)
    password = new_random()
    hashed = await request.app[PASSWORDS].hash_for(actor(request), password)
    await _apply(request, user_id, {"password_hash": hashed})
    return done("密码重置成功", new_password=password)


async def show_profile(request: web.Request) -> web.Response:
    return answer({"success": True, "user": responses.User.of(await _get(request, request[CALLER].id))})


async def update_profile(request: web.Request) -> web.Response:
    wanted = await body(request, ProfileChange)
    fields = given(wanted)
    current = fields.pop("current_password", None)
    if fields.get("password"):
        await _confirm(request, current)
    row = await _apply(request, request[CALLER].id, await _checked(request, fields))
    if not fields.get("password"):
        return done("个人信息更新成功", user=responses.User.of(row))
    # the new password ended every token, this one too
    token = await request.app[SESSIONS].start(row, client_info(request))
    return done("密码修改成功", user=responses.User.of(row), token=token)


async def _confirm(request: web.Request, current: str | None) -> None:
    """The old password is asked for before a new one is set; guessing it is slowed down as at the login."""
    if not current:
        raise BadRequest("修改密码需要提供当前密码 current_password")
    row, who, now = await _get(request, request[CALLER].id), actor(request), request.app[CLOCK].now()
    right = await request.app[THROTTLE].verify_once(
        (logins.confirmation_of(row["id"]),),
        request.app[PASSWORDS].turn(who),
        lambda: request.app[PASSWORDS].check(current, row["password_hash"]),
        lambda tx: audit.record(tx, who, "password.refused", now, f"user {row['id']}"),
    )
    if not right:
        raise BadRequest("当前密码不正确")


async def _checked(request: web.Request, fields: dict[str, Any]) -> dict[str, Any]:
    """An update's fields as columns; an empty password keeps the old one."""
    changes = dict(fields)
    if "username" in changes:
        changes["username"] = users.check_username(changes["username"])
    if "email" in changes:
        changes["email"] = users.check_email(changes["email"])
    if "subscription_type" in changes and changes["subscription_type"] is None:
        changes["subscription_type"] = "free"
    if changes.get("cost_limit") is not None:
        changes["cost_limit"] = responses.millionths(changes["cost_limit"])
    if password := changes.pop("password", None):
        checked = check_rules(password)
        changes["password_hash"] = await request.app[PASSWORDS].hash_for(actor(request), checked)
    return changes


async def _apply(request: web.Request, user_id: int, changes: dict[str, Any]) -> Row:
    who, now = actor(request), request.app[CLOCK].now()
    work = request.app[DB].write(users.update, user_id, changes, who, now)
    row = await request.app[SESSIONS].ending(user_id, work)
    if not row["is_active"]:
        await request.app[RUNNING].stop(of_user(user_id))
    return row


async def _get(request: web.Request, user_id: int) -> Row:
    db = request.app[DB]
    row = await db.fetch_one(db.q.users.get_by_id, user_id=user_id)
    if row is None:
        raise NotFound("用户不存在")
    return row


def _search(tx: Transaction, wanted: UserFilter) -> tuple[list[Row], int]:
    term = (wanted.search or "").strip()
    filters = {"role": wanted.role, "term": _like(term), "key_term": _like(users.comparable(term))}
    offset = (wanted.page - 1) * wanted.per_page
    rows = tx.all(tx.q.users.search, **filters, limit=wanted.per_page, offset=offset)
    return rows, tx.all(tx.q.users.count_search, **filters)[0][0]


def _like(term: str) -> str | None:
    """A LIKE pattern that finds the term anywhere and takes ``%`` and ``_`` for themselves."""
    if "\0" in term:
        raise BadRequest("参数 search 包含空字符")
    if not term:
        return None
    escaped = term.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
