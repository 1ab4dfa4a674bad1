"""Section 4 of the API document: signing in and out, and new accounts."""

from typing import Any

from aiohttp import web

from chathub.accounts import logins, registration, users
from chathub.accounts.passwords import check_rules
from chathub.app_keys import CALLER, CLOCK, DB, PASSWORDS, REGISTRATION, SESSIONS, THROTTLE
from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, Forbidden, Unauthorized
from chathub.handlers.http import actor, answer, body, client_info, done
from chathub.schemas import responses
from chathub.schemas.requests import EmailOnly, Login, NewUser, Registration
from chathub.security import audit
from chathub.security.audit import Actor


async def login(request: web.Request) -> web.Response:
    credentials = await body(request, Login)
    db, who, now = request.app[DB], actor(request), request.app[CLOCK].now()
    account = users.comparable(credentials.username.strip())[:200]
    row = await db.fetch_one(db.q.users.get_for_login, username_key=account)
    right = await request.app[THROTTLE].verify_once(
        logins.guards_of(db, account, who.address, now),
        request.app[PASSWORDS].turn(who),
        lambda: request.app[PASSWORDS].check(credentials.password, row["password_hash"] if row else None),
        lambda tx: logins.note_failure(tx, account if row else "", who, now),
    )
    if not right or row is None:
        raise Unauthorized("用户名或密码错误")
    if not row["is_active"]:
        raise Forbidden("账号已被禁用")
    token = await request.app[SESSIONS].start(row, client_info(request))
    return done("登录成功", token=token, user=responses.User.of(row))


async def show_registration(request: web.Request) -> web.Response:
    """What the page has to ask a newcomer for."""
    registrar = request.app[REGISTRATION]
    return answer(
        {
            "success": True,
            "registration": registrar.mode,
            "invite_required": registrar.mode == "invite",
            "verification_required": registrar.mailer is not None,
        }
    )


async def send_verification_code(request: web.Request) -> web.Response:
    email = users.check_email((await body(request, EmailOnly)).email)
    registrar, who = request.app[REGISTRATION], actor(request)
    registrar.check_open()
    if registrar.mailer is None:
        return done("服务器未配置邮件服务，注册时无需验证码", verification_required=False)
    await request.app[THROTTLE].consume(*registration.code_guards(who.address, email))
    code = await registration.mail_code(registrar.mailer, email)
    now = request.app[CLOCK].now()
    # only what was sent is kept
    await request.app[DB].write(registration.keep_code, registrar, email, code, who.address, now)
    return done("验证码已发送，请查收邮件", verification_required=True)


async def register(request: web.Request) -> web.Response:
    wanted = await body(request, Registration)
    username, email = users.check_username(wanted.username), users.check_email(wanted.email)
    password, registrar, who = check_rules(wanted.password), request.app[REGISTRATION], actor(request)
    registrar.check_open()
    throttle, guard = request.app[THROTTLE], registration.guard_of(who.address)
    throttle.check(guard)
    # what finds no place in the line is not counted
    async with request.app[PASSWORDS].turn(who):
        await throttle.consume(guard)
        hashed = await request.app[PASSWORDS].hash(password)
    newcomer = registration.Newcomer(
        username=username,
        email=email,
        password_hash=hashed,
        invite_code=wanted.invite_code or "",
        verification_code=wanted.verification_code or "",
    )
    row = await request.app[DB].write(
        registration.register, registrar, newcomer, who, request.app[CLOCK].now()
    )
    if row is None:
        raise BadRequest("验证码错误或已过期，请重新获取")
    return done("注册成功", user=responses.User.of(row))


async def admin_register(request: web.Request) -> web.Response:
    wanted = await body(request, NewUser)
    username, email = users.check_username(wanted.username), users.check_email(wanted.email)
    hashed = await request.app[PASSWORDS].hash_for(actor(request), check_rules(wanted.password))
    row = await request.app[DB].write(
        _insert,
        actor(request),
        username=username,
        email=email,
        password_hash=hashed,
        now=request.app[CLOCK].now(),
        role=wanted.role or "user",
        subscription_type=wanted.subscription_type or "free",
        usage_limit=wanted.usage_limit,
        cost_limit=None if wanted.cost_limit is None else responses.millionths(wanted.cost_limit),
        requests_per_minute=wanted.requests_per_minute,
        replies_at_once=wanted.replies_at_once,
        is_active=wanted.is_active is not False,
    )
    return done("用户创建成功", user=responses.User.of(row))


def _insert(tx: Transaction, /, by: Actor, *, now: int, **values: Any) -> Row:
    row = users.insert(tx, now=now, **values)
    details = {name: row[name] for name in ("username", "role", "subscription_type", "usage_limit")}
    audit.record(tx, by, "user.created", now, f"user {row['id']}", **details)
    return row


async def verify(request: web.Request) -> web.Response:
    db = request.app[DB]
    row = await db.fetch_one(db.q.users.get_by_id, user_id=request[CALLER].id)
    if row is None:
        raise Unauthorized("用户不存在")
    return answer({"valid": True, "user": responses.User.of(row), "success": True, "message": "Token有效"})


async def logout(request: web.Request) -> web.Response:
    await request.app[SESSIONS].end(request[CALLER], actor(request))
    return done("登出成功")
