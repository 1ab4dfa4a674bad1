"""Section 9 of the API document: users who leave for good."""

import asyncio
import contextlib

from aiohttp import web

from chathub.accounts import logins
from chathub.app_keys import CALLER, CLOCK, DB, REMOVER, RUNNING, SESSIONS, THROTTLE
from chathub.chat import leaving
from chathub.database.errors import DatabaseUnavailable
from chathub.errors import BadRequest
from chathub.handlers.confirmation import confirm_password
from chathub.handlers.http import actor, body, done
from chathub.running.registry import Run, of_user, with_api_key
from chathub.schemas.users import Confirmation


async def leave(request: web.Request) -> web.Response:
    await confirm_password(request, (await body(request, Confirmation)).password)
    return await _remove(request, request[CALLER].id)


async def remove_other(request: web.Request, user_id: int) -> web.Response:
    """Remove another user's account.

    Raises:
        BadRequest: it is the caller's own, which needs the password.
    """
    if user_id == request[CALLER].id:
        raise BadRequest("own_account_removal")
    return await _remove(request, user_id)


async def _remove(request: web.Request, user_id: int) -> web.Response:
    # a client that leaves now does not stop it half-way
    await asyncio.shield(request.app[RUNNING].spawn(_end(request, user_id)))
    return done(request, "user_removed")


async def _end(request: web.Request, user_id: int) -> None:
    """End the account, then what runs of it and what runs with its API keys; the rest is removed in the
    background."""
    app, now = request.app, request.app[CLOCK].now()
    work = app[DB].write(leaving.leave, user_id, actor(request), now)
    leaver = await app[SESSIONS].ending(user_id, work)
    excluded = [with_api_key(key_id) for key_id in leaver.key_ids]

    def is_ended(run: Run) -> bool:
        # every one is asked: it also excludes its API key
        return any([uses_key(run) for uses_key in excluded]) or of_user(user_id)(run)

    await app[RUNNING].stop(is_ended)
    app[REMOVER].begin(user_id)
    # the account has ended, whatever the database does now; these end by themselves within hours
    with contextlib.suppress(DatabaseUnavailable):
        await app[THROTTLE].forget(*logins.all_of(user_id, leaver.names))
