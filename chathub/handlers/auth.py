"""Section 4 of the API document: login, logout, and new accounts."""

from aiohttp import web

from chathub.accounts import logins, registration, users
from chathub.accounts.codes import FOR_REGISTRATION, code_limits, store_code
from chathub.accounts.passwords import check_rules
from chathub.app_keys import CALLER, CLOCK, DB, PASSWORDS, REGISTRATION, SESSIONS, THROTTLE
from chathub.errors import BadRequest, Forbidden, Unauthorized
from chathub.handlers.http import actor, body, client_info, done, json_response, language_of, said
from chathub.schemas.auth import (
    LoggedIn,
    Login,
    Registration,
    RegistrationRules,
    ValidToken,
    VerificationCodeRequest,
    VerificationCodeSent,
)
from chathub.schemas.users import NewUser, User, UserSaved


async def login(request: web.Request) -> web.Response:
    credentials = await body(request, Login)
    db, client, now = request.app[DB], actor(request), request.app[CLOCK].now()
    name = users.comparable(credentials.username.strip())[:200]
    account = await db.read(users.find_by_name, name)
    password_hash = account.user.password_hash if account else None
    is_right = await request.app[THROTTLE].verify_once(
        logins.limits_of(db, name, client.address, now),
        request.app[PASSWORDS].slot(client),
        lambda: request.app[PASSWORDS].check(credentials.password, password_hash),
        lambda tx: logins.record_failure(tx, name if account else "", client, now),
    )
    if not is_right or account is None:
        raise Unauthorized("wrong_credentials")
    if not account.user.is_active:
        raise Forbidden("account_disabled")
    token = await request.app[SESSIONS].start(account.user, client_info(request))
    return json_response(LoggedIn(message=said(request, "logged_in"), token=token, user=User.of(*account)))


async def show_registration(request: web.Request) -> web.Response:
    policy = request.app[REGISTRATION]
    return json_response(
        RegistrationRules(
            registration=policy.mode,
            invite_required=policy.mode == "invite",
            verification_required=policy.needs_code,
        )
    )


async def send_verification_code(request: web.Request) -> web.Response:
    email = users.check_email((await body(request, VerificationCodeRequest)).email)
    policy, client = request.app[REGISTRATION], actor(request)
    policy.check_open()
    if not policy.needs_code:
        message = said(request, "code_not_needed")
        return json_response(VerificationCodeSent(message=message, verification_required=False))
    await request.app[THROTTLE].consume(*code_limits(client.address, email))
    code = await policy.codes.send(FOR_REGISTRATION, email, language_of(request))
    now = request.app[CLOCK].now()
    # stored after the mail is sent, so that only a code that was sent counts
    await request.app[DB].write(store_code, policy.codes, FOR_REGISTRATION, email, code, client.address, now)
    message = said(request, "code_sent")
    return json_response(VerificationCodeSent(message=message, verification_required=True))


async def register(request: web.Request) -> web.Response:
    form = await body(request, Registration)
    username, email = users.check_username(form.username), users.check_email(form.email)
    password, policy, client = check_rules(form.password), request.app[REGISTRATION], actor(request)
    policy.check_open()
    if policy.needs_code and not (form.verification_code or "").strip():
        raise BadRequest("verification_code_required")
    throttle, limit = request.app[THROTTLE], registration.limit_of(client.address)
    throttle.check(limit)
    # a registration that finds the queue full is not counted
    async with request.app[PASSWORDS].slot(client):
        await throttle.consume(limit)
        hashed = await request.app[PASSWORDS].hash(password)
    newcomer = registration.Newcomer(
        username=username,
        email=email,
        password_hash=hashed,
        invite_code=form.invite_code or "",
        verification_code=form.verification_code or "",
    )
    now = request.app[CLOCK].now()
    account = await request.app[DB].write(registration.register, policy, newcomer, client, now)
    if account is None:
        raise BadRequest("verification_code_wrong")
    return json_response(UserSaved(message=said(request, "registered"), user=User.of(*account)))


async def admin_register(request: web.Request) -> web.Response:
    form, acting = await body(request, NewUser), actor(request)
    username, email = users.check_username(form.username), users.check_email(form.email)
    hashed = await request.app[PASSWORDS].hash_for(acting, check_rules(form.password))
    fields = users.UserFields(
        username=username,
        email=email,
        password_hash=hashed,
        role=form.role or "user",
        subscription_type=form.subscription_type or "free",
        limits=form.limit_changes(),
        is_active=form.is_active is not False,
    )
    account = await request.app[DB].write(users.create, fields, acting, request.app[CLOCK].now())
    return json_response(UserSaved(message=said(request, "user_created"), user=User.of(*account)))


async def verify(request: web.Request) -> web.Response:
    account = await request.app[DB].read(users.get_own, request[CALLER].id)
    return json_response(ValidToken(user=User.of(*account), message=said(request, "token_valid")))


async def logout(request: web.Request) -> web.Response:
    await request.app[SESSIONS].end(request[CALLER], actor(request))
    return done(request, "logged_out")
