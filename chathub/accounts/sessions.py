"""Tokens: issuing, verifying and ending them.

A token is a JWT (RFC 7519, HS256) with ``sub``, ``role``, ``exp``, ``iat``, ``jti`` and ``ver``. The
front end reads its payload with ``atob``, which is not base64url: the claims are plain ASCII without
``>``, ``?`` and ``~``, so that neither ``-`` nor ``_`` can occur in that part.
"""

import json
import secrets
from collections import OrderedDict

from msgspec import Struct

from chathub.accounts.tokens import PREFIX, digest_of, networks_of
from chathub.clock import Clock
from chathub.config import Network
from chathub.database.connection import Database, Transaction
from chathub.errors import Unauthorized

_CACHE = 1024
_LONGEST_TOKEN = 2048
_CLAIMS = ["sub", "role", "exp", "iat", "jti", "ver"]
DEMO_TOKEN = "demo-token"


class Caller(Struct, frozen=True):
    """Who sent the request, as far as its token tells.

    With a personal token (``token_id``): whether it opens /api, and which models and networks it is
    for; empty means any.
    """

    id: int
    username: str
    role: str
    jti: str = ""
    expires_at: float = 0.0
    token_id: int | None = None
    opens_api: bool = True
    models: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def administrates(self) -> bool:
        """Whether it may do what only administrators may: a program's token does not."""
        return self.is_admin and self.token_id is None


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
        # imported when it is needed: it takes 20 to 30 ms of every start
        import jwt

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
        caller = await self._find(token)
        if generation == self._generation:
            self._cache[token] = caller
            if len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        return caller

    async def _find(self, token: str) -> Caller:
        if self._demo and token == DEMO_TOKEN:
            return await self._demo_user()
        return await (self._personal(token) if token.startswith(PREFIX) else self._look_up(token))

    async def _personal(self, token: str) -> Caller:
        """A personal token; looked up again every minute, which is also how exact its last use is."""
        now = self._clock.now()
        q, digest = self._db.q, digest_of(token[:_LONGEST_TOKEN])
        row = await self._db.fetch_one(q.personal_tokens.get_by_digest, digest=digest, now=now)
        if row is None:
            raise Unauthorized("访问令牌无效或已过期")
        await self._db.execute(q.personal_tokens.note_use, token_id=row["id"], now=now)
        expires = min(now + 60_000, row["expires_at"] or now + 60_000) / 1000
        return Caller(
            row["user_id"],
            row["username"],
            row["role"],
            expires_at=expires,
            token_id=row["id"],
            opens_api=bool(row["opens_api"]),
            models=tuple(json.loads(row["allowed_models"])),
            networks=networks_of(row),
        )

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
        import jwt

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
