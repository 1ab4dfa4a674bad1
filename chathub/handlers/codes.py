"""Section 4 of the API document: what a code by mail allows a user, a new password or a new mail address."""

from functools import partial

from aiohttp import web
from msgspec import UnsetType

from chathub.accounts import logins, new_email, password_reset, users
from chathub.accounts.codes import code_limits, for_email, store_code
from chathub.accounts.passwords import check_rules
from chathub.app_keys import CALLER, CLOCK, CODES, CONFIG, DB, PASSWORDS, SESSIONS, THROTTLE
from chathub.database.rows import users as rows
from chathub.errors import BadRequest
from chathub.handlers.http import actor, body, done, json_response, language_of, said
from chathub.schemas.auth import EmailConfirmation, PasswordResetConfirmation, PasswordResetRequest
from chathub.schemas.users import User, UserSaved


async def request_password_reset(request: web.Request) -> web.Response:
    """Send a code in the background: neither the response nor its time tells whether there is a user."""
    email = users.check_email((await body(request, PasswordResetRequest)).email)
    app, client = request.app, actor(request)
    mailer = app[CODES].require_mailer()
    await app[THROTTLE].consume(*code_limits(client.address, email))
    mailer.send_later(
        partial(password_reset.send_code, app[DB], app[CODES], app[CONFIG], app[CLOCK], email, client)
    )
    return done(request, "reset_code_sent")


async def reset_password(request: web.Request) -> web.Response:
    form, app, client = await body(request, PasswordResetConfirmation), request.app, actor(request)
    email, password, config = users.check_email(form.email), check_rules(form.password), app[CONFIG]
    app[CODES].require_mailer()
    limit = password_reset.limit_of(client.address)
    app[THROTTLE].check(limit)
    # a reset that finds the queue full is not counted
    async with app[PASSWORDS].slot(client):
        await app[THROTTLE].consume(limit)
        new = password_reset.NewPassword(email, form.code, await app[PASSWORDS].hash(password))
    user = await app[DB].read(password_reset.find, email, config)
    work = app[DB].write(password_reset.reset, app[CODES], config, new, client, app[CLOCK].now())
    account = await app[SESSIONS].ending(user.id if user else 0, work)
    if account is None:
        raise BadRequest("verification_code_wrong")
    # the wrong guesses before it
    await app[THROTTLE].forget(logins.from_here(users.comparable(account.user.username), client.address))
    return done(request, "password_reset")


def email_to_confirm(request: web.Request, user: rows.User, email: str | UnsetType) -> str | None:
    """The new mail address in a change of the profile, if it counts only when its code is entered.

    Raises:
        BadRequest: it is no mail address.
    """
    if isinstance(email, UnsetType) or request.app[CODES].mailer is None:
        return None
    checked = users.check_email(email)
    return None if users.mailbox(checked) == users.mailbox(user.email) else checked


async def send_email_code(request: web.Request, user: rows.User, email: str) -> str:
    """Send a code to the new mail address of the caller; gives the code.

    Raises:
        TooManyRequests: too many codes were requested.
        BadRequest, UpstreamFailed: the mail was not sent.
    """
    await request.app[THROTTLE].consume(*code_limits(actor(request).address, email, user.id))
    language = language_of(request)
    return await request.app[CODES].send(for_email(user), email, language, username=user.username)


async def store_email_code(request: web.Request, user: rows.User, email: str, code: str) -> None:
    """Store the code that ``send_email_code`` gave: it can be entered from now on."""
    address, now = actor(request).address, request.app[CLOCK].now()
    purpose = for_email(user)
    await request.app[DB].write(store_code, request.app[CODES], purpose, email, code, address, now)


async def confirm_email(request: web.Request) -> web.Response:
    form, app, now = await body(request, EmailConfirmation), request.app, request.app[CLOCK].now()
    email, user_id = users.check_email(form.email), request[CALLER].id
    app[CODES].require_mailer()
    work = app[DB].write(new_email.confirm, app[CODES], user_id, email, form.code, actor(request), now)
    changed = await app[SESSIONS].ending(user_id, work)
    if changed is None:
        raise BadRequest("verification_code_wrong")
    old_email, account = changed
    new_email.send_notice(app[CODES], app[CONFIG], old_email, account.user.username)
    return json_response(UserSaved(message=said(request, "email_changed"), user=User.of(*account)))
