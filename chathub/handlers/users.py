"""Section 9 of the API document: accounts, managed by administrators and by their owners."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web
from msgspec import UNSET, UnsetType, structs

from chathub.accounts import users
from chathub.accounts.passwords import check_rules, new_random
from chathub.app_keys import CALLER, CLOCK, CONFIG, DB, PASSWORDS, RUNNING, SESSIONS
from chathub.database.rows.limits import AppliedLimits
from chathub.database.rows.users import ListedUser
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest
from chathub.handlers import codes, leaving
from chathub.handlers.confirmation import confirm_password
from chathub.handlers.http import actor, body, client_info, json_response, query, row_id, said
from chathub.running.registry import of_user
from chathub.schemas.problems import field_name
from chathub.schemas.users import (
    PasswordReset,
    ProfileChange,
    ProfileSaved,
    User,
    UserChange,
    UserDetails,
    UserFilter,
    UserPage,
    UserRemoval,
    UserSaved,
)

T = TypeVar("T")
R = TypeVar("R")


async def search(request: web.Request) -> web.Response:
    filters = query(request, UserFilter)
    found, total = await request.app[DB].read_background(request[CALLER].id, _search, filters)
    return json_response(
        UserPage(
            users=[User.of(row, limits) for row, limits in found],
            total=total,
            pages=-(-total // filters.per_page),
            current_page=filters.page,
            per_page=filters.per_page,
        )
    )


async def get(request: web.Request) -> web.Response:
    return _details(request, await _get(request, row_id(request, "user_id")))


async def update(request: web.Request) -> web.Response:
    user_id = row_id(request, "user_id")
    change = await body(request, UserChange)
    account = await _apply(request, user_id, _with_rights(change, await _checked(request, change)))
    return json_response(UserSaved(message=said(request, "user_updated"), user=User.of(*account)))


async def disable(request: web.Request) -> web.Response:
    """Disable an account; with ``purge`` it is removed for good."""
    user_id = row_id(request, "user_id")
    if query(request, UserRemoval).purge:
        return await leaving.remove_other(request, user_id)
    account = await _apply(request, user_id, users.Changes(is_active=False))
    return json_response(UserSaved(message=said(request, "user_disabled"), user=User.of(*account)))


async def reset_password(request: web.Request) -> web.Response:
    user_id = row_id(request, "user_id")
    await _get(request, user_id)
    password = new_random()
    hashed = await request.app[PASSWORDS].hash_for(actor(request), password)
    await _apply(request, user_id, users.Changes(password_hash=hashed))
    return json_response(PasswordReset(message=said(request, "password_reset"), new_password=password))


async def show_profile(request: web.Request) -> web.Response:
    return _details(request, await request.app[DB].read(users.get_own, request[CALLER].id))


def _details(request: web.Request, account: users.Account) -> web.Response:
    weight = request.app[CONFIG].cached_weight
    return json_response(UserDetails(user=User.of(*account), cached_weight=weight))


async def update_profile(request: web.Request) -> web.Response:
    change = await body(request, ProfileChange)
    user = (await request.app[DB].read(users.get_own, request[CALLER].id)).user
    new_email = codes.email_to_confirm(request, user, change.email)
    if change.password or new_email:
        if not change.current_password:
            raise BadRequest("current_password_required")
        await confirm_password(request, change.current_password)
    changes = await _checked(request, change)
    if new_email is None:
        account = await _apply(request, user.id, changes)
    else:
        # before the other changes: if the mail is not sent, nothing is changed
        code = await codes.send_email_code(request, user, new_email)
        account = await _apply(request, user.id, structs.replace(changes, email=UNSET))
        await codes.store_email_code(request, account.user, new_email, code)
    return json_response(await _profile_saved(request, account, change, sent=new_email is not None))


async def _profile_saved(
    request: web.Request, account: users.Account, change: ProfileChange, *, sent: bool
) -> ProfileSaved:
    """The response to a change of the profile. ``sent``: a code was sent to the new mail address."""
    token: str | UnsetType = UNSET
    if change.password:
        # it ended every session, that of this request too
        token = await request.app[SESSIONS].start(account.user, client_info(request))
    message = "email_code_sent" if sent else "password_changed" if change.password else "profile_updated"
    return ProfileSaved(
        message=said(request, message), user=User.of(*account), verification_required=sent, token=token
    )


async def _checked(request: web.Request, change: UserChange | ProfileChange) -> users.Changes:
    """A change of name, mail address and password, checked; an empty password keeps the old one."""
    username, email = (
        _if_sent(change.username, users.check_username),
        _if_sent(change.email, users.check_email),
    )
    hashed: str | UnsetType = UNSET
    if change.password:
        password = check_rules(change.password)
        hashed = await request.app[PASSWORDS].hash_for(actor(request), password)
    return users.Changes(username=username, email=email, password_hash=hashed)


def _with_rights(change: UserChange, changes: users.Changes) -> users.Changes:
    """The changes with those that only an administrator may make."""
    return structs.replace(
        changes,
        role=change.role,
        subscription_type=_if_sent(change.subscription_type, lambda name: name or "free"),
        limits=change.limit_changes(),
        is_active=change.is_active,
    )


def _if_sent(value: T | UnsetType, fn: Callable[[T], R]) -> R | UnsetType:
    """``fn(value)``, or UNSET for a field that the client did not send."""
    return UNSET if isinstance(value, UnsetType) else fn(value)


async def _apply(request: web.Request, user_id: int, changes: users.Changes) -> users.Account:
    now = request.app[CLOCK].now()
    work = request.app[DB].write(users.update, user_id, changes, actor(request), now)
    account = await request.app[SESSIONS].ending(user_id, work)
    if not account.user.is_active:
        await request.app[RUNNING].stop(of_user(user_id))
    return account


async def _get(request: web.Request, user_id: int) -> users.Account:
    return await request.app[DB].read(users.get, user_id)


def _search(tx: Transaction, filters: UserFilter) -> tuple[list[tuple[ListedUser, AppliedLimits]], int]:
    term = (filters.search or "").strip()
    values = {"role": filters.role, "term": _like(term), "key_term": _like(users.comparable(term))}
    offset = (filters.page - 1) * filters.per_page
    found = tx.all(tx.q.users.search, **values, limit=filters.per_page, offset=offset)
    total = tx.all(tx.q.users.count_search, **values)[0].count
    return users.list_with_limits(tx, found), total


def _like(term: str) -> str | None:
    """A LIKE pattern that finds the term anywhere, with ``%`` and ``_`` as ordinary characters."""
    if "\0" in term:
        raise BadRequest("field_has_nul", where=field_name("search", "parameter"))
    if not term:
        return None
    escaped = term.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
