"""Tokens: issuing, verifying and ending them.

A token is a JWT (RFC 7519, HS256) with ``sub``, ``role``, ``exp``, ``iat``, ``jti`` and ``ver``. The
front end reads its payload with ``atob``, which is not base64url: the claims are plain ASCII without
``>``, ``?`` and ``~``, so that neither ``-`` nor ``_`` can occur in that part.
"""

import secrets
from collections import OrderedDict

import jwt
from msgspec import Struct

from chathub.clock import Clock
from chathub.database.connection import Database, Transaction
from chathub.errors import Unauthorized

_CACHE = 1024
_LONGEST_TOKEN = 2048
_CLAIMS = ["sub", "role", "exp", "iat", "jti", "ver"]
DEMO_TOKEN = "demo-token"


class Caller(Struct, frozen=True):
    """Who sent the request, as far as its token tells."""

    id: int
    username: str
    role: str
    jti: str = ""
    expires_at: float = 0.0

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


class Sessions:
    """Issues tokens and knows which of them are good.

    A verified token is remembered (a tenth of the work); what ends a token forgets it at once, and a
    generation number keeps a look-up that was under way meanwhile from bringing it back.
    """

    def __init__(self, db: Database, clock: Clock, key: bytes, seconds: float, *, demo: bool) -> None:
        self._db = db
        self._clock = clock
        self._key = key
        self._seconds = int(seconds)
        self._demo = demo
        self._cache: OrderedDict[str, Caller] = OrderedDict()
        self._generation = 0

    def issue(self, user_id: int, role: str, version: int) -> str:
        now = int(self._clock.seconds())
        claims = {
            "sub": str(user_id),
            "role": role,
            "iat": now,
            "exp": now + self._seconds,
            "jti": secrets.token_hex(16),
            "ver": version,
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    async def verify(self, token: str) -> Caller:
        """Who the token belongs to.

        Raises:
            Unauthorized: it is forged, expired or ended, or its user is disabled.
        """
        caller = self._cache.get(token)
        if caller is not None:
            if caller.expires_at > self._clock.seconds():
                return caller
            del self._cache[token]
        generation = self._generation
        caller = await (self._demo_user() if self._is_demo(token) else self._look_up(token))
        if generation == self._generation:
            self._cache[token] = caller
            if len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        return caller

    def _is_demo(self, token: str) -> bool:
        return self._demo and token == DEMO_TOKEN

    async def _demo_user(self) -> Caller:
        row = await self._db.fetch_one(self._db.q.users.get_demo)
        if row is None:
            raise Unauthorized("demo-token 不可用")
        return Caller(row["id"], row["username"], row["role"], "", self._clock.seconds() + 60)

    async def _look_up(self, token: str) -> Caller:
        claims = self._claims(token)
        row = await self._db.fetch_one(
            self._db.q.users.get_for_token, user_id=claims.user_id, version=claims.version, jti=claims.jti
        )
        if row is None:
            raise Unauthorized("登录已失效，请重新登录")
        return Caller(claims.user_id, row["username"], row["role"], claims.jti, claims.expires_at)

    def _claims(self, token: str) -> "_Claims":
        if len(token) > _LONGEST_TOKEN:
            raise Unauthorized("无效的认证令牌")
        try:
            # expiry is checked against our own clock, below
            payload = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False},
            )
            claims = _Claims(int(payload["sub"]), int(payload["ver"]), str(payload["jti"]), payload["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthorized("无效的认证令牌") from None
        if not isinstance(claims.expires_at, int) or claims.expires_at <= self._clock.seconds():
            raise Unauthorized("登录已过期，请重新登录")
        return claims

    async def log_out(self, caller: Caller) -> None:
        """End this one token, also for after a restart."""
        if caller.jti:
            await self._db.write(_revoke, caller.jti, int(caller.expires_at), int(self._clock.seconds()))
        self.forget(caller.id)

    def forget(self, user_id: int) -> None:
        """Forget what was verified for a user: to be called after every commit that ends or changes
        the user's tokens (the rows are what counts, this is only the memory of them)."""
        self._generation += 1
        for token in [token for token, caller in self._cache.items() if caller.id == user_id]:
            del self._cache[token]


class _Claims(Struct, frozen=True):
    user_id: int
    version: int
    jti: str
    expires_at: int


def _revoke(tx: Transaction, jti: str, expires_at: int, now: int) -> None:
    tx.run(tx.q.tokens.sweep, now=now)
    tx.run(tx.q.tokens.revoke, jti=jti, expires_at=expires_at)
