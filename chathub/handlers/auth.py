"""Section 4 of the API document: signing in and out, and new accounts."""

from aiohttp import web

from chathub.accounts import logins, users
from chathub.accounts.passwords import check_rules
from chathub.database.connection import Row
from chathub.errors import Forbidden, Unauthorized
from chathub.handlers.common import actor, answer, body, done, visit
from chathub.keys import CALLER, CLOCK, DB, PASSWORDS, SESSIONS, THROTTLE
from chathub.wire import answers
from chathub.wire.requests import EmailOnly, Login, NewUser, Registration


async def login(request: web.Request) -> web.Response:
    credentials = await body(request, Login)
    db, who, now = request.app[DB], actor(request), request.app[CLOCK].now()
    account = users.comparable(credentials.username.strip())[:200]
    row = await db.fetch_one(db.q.users.get_for_login, username_key=account)
    right = await request.app[THROTTLE].guess(
        logins.guards_of(db, account, who.address, now),
        lambda: request.app[PASSWORDS].check(credentials.password, row["password_hash"] if row else None),
        lambda tx: logins.note_failure(tx, credentials.username, who, now),
    )
    if not right or row is None:
        raise Unauthorized("用户名或密码错误")
    if not row["is_active"]:
        raise Forbidden("账号已被禁用")
    token = await request.app[SESSIONS].start(row, visit(request))
    return done("登录成功", token=token, user=answers.User.of(row))


async def send_verification_code(request: web.Request) -> web.Response:
    users.check_email((await body(request, EmailOnly)).email)
    return done("服务器未配置邮件服务，注册时无需验证码", verification_required=False)


async def register(request: web.Request) -> web.Response:
    wanted = await body(request, Registration)
    row = await _create(request, NewUser(wanted.username, wanted.email, wanted.password))
    return done("注册成功", user=answers.User.of(row))


async def admin_register(request: web.Request) -> web.Response:
    row = await _create(request, await body(request, NewUser))
    return done("用户创建成功", user=answers.User.of(row))


async def _create(request: web.Request, wanted: NewUser) -> Row:
    username, email = users.check_username(wanted.username), users.check_email(wanted.email)
    hashed = await request.app[PASSWORDS].hash(check_rules(wanted.password))
    return await request.app[DB].write(
        users.insert,
        username=username,
        email=email,
        password_hash=hashed,
        now=request.app[CLOCK].now(),
        role=wanted.role or "user",
        subscription_type=wanted.subscription_type or "free",
        usage_limit=wanted.usage_limit,
        cost_limit=None if wanted.cost_limit is None else answers.millionths(wanted.cost_limit),
        requests_per_minute=wanted.requests_per_minute,
        replies_at_once=wanted.replies_at_once,
        is_active=wanted.is_active is not False,
    )


async def verify(request: web.Request) -> web.Response:
    db = request.app[DB]
    row = await db.fetch_one(db.q.users.get_by_id, user_id=request[CALLER].id)
    if row is None:
        raise Unauthorized("用户不存在")
    return answer({"valid": True, "user": answers.User.of(row), "success": True, "message": "Token有效"})


async def logout(request: web.Request) -> web.Response:
    await request.app[SESSIONS].end(request[CALLER], actor(request))
    return done("登出成功")
