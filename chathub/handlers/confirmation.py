"""The password once more, for what a session alone must not do."""

from aiohttp import web

from chathub.accounts import logins, users
from chathub.app_keys import CALLER, CLOCK, DB, PASSWORDS, THROTTLE
from chathub.errors import BadRequest
from chathub.handlers.http import actor
from chathub.security import audit


async def confirm_password(request: web.Request, password: str) -> None:
    """Check the caller's password; wrong guesses are slowed down as at a login.

    Raises:
        BadRequest: it is wrong.
        TooManyRequests: too many wrong guesses.
    """
    acting, now = actor(request), request.app[CLOCK].now()
    user = (await request.app[DB].read(users.get_own, request[CALLER].id)).user
    is_right = await request.app[THROTTLE].verify_once(
        (logins.confirmation_of(user.id),),
        request.app[PASSWORDS].slot(acting),
        lambda: request.app[PASSWORDS].check(password, user.password_hash),
        lambda tx: audit.record(tx, acting, "password.refused", now, f"user {user.id}"),
    )
    if not is_right:
        raise BadRequest("current_password_wrong")
