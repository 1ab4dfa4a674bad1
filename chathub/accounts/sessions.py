"""Sessions: starting, verifying, renewing and ending them.

Each session is a row. Its token is valid while the row exists, the user is active, and the token's version is
the user's. Access tokens are verified here as well.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable
from typing import TypeVar

from msgspec import structs

from chathub.accounts import session_store
from chathub.accounts.access_tokens import PREFIX, digest_of, models_of, networks_of
from chathub.accounts.caller import Caller, ClientInfo
from chathub.accounts.last_uses import LastUses
from chathub.accounts.session_store import Term
from chathub.accounts.session_tokens import LONGEST_TOKEN, Signer
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.sessions import OwnSession
from chathub.database.rows.users import User
from chathub.errors import Unauthorized
from chathub.security.audit import Actor

T = TypeVar("T")

# verified tokens in the cache
_CACHE = 1024
# milliseconds for which a verified token stays in the cache, and the precision of its last use
_MINUTE = 60_000
DEMO_TOKEN = "demo-token"


def is_token_of_ours(token: str) -> bool:
    """Whether a credential has the form of one that ChatHub gives: programs also send keys of providers."""
    is_session_token = token.startswith("eyJ") and token.count(".") == 2
    return token.startswith(PREFIX) or is_session_token or token == DEMO_TOKEN


class Sessions:
    """Starts and ends sessions, and verifies tokens.

    Verified tokens are cached (a tenth of the work). What ends a token removes it from the cache at once; a
    generation number keeps a verification that ran at that time from putting the token back.
    """

    def __init__(
        self, db: Database, clock: Clock, signer: Signer, config: Config, last_uses: LastUses
    ) -> None:
        self._db = db
        self._last_uses = last_uses
        self._clock = clock
        self._signer = signer
        self._seconds = int(config.token_seconds)
        self._longest = int(config.session_seconds)
        self._demo = config.development
        self._cache: OrderedDict[str, Caller] = OrderedDict()
        self._generation = 0

    async def start(self, user: User, client_info: ClientInfo) -> str:
        """Start a session of a user whose password was right; gives its token.

        Raises:
            Unauthorized: the account was changed in the meantime.
        """
        actor = structs.replace(client_info.actor, user_id=user.id, name=user.username)
        now = self._clock.now()
        term = self._term(now, now)
        work = self._db.write(
            session_store.start, user, client_info._replace(actor=actor), term, self._clock.certain()
        )
        await self.ending(user.id, work)
        return self._sign(user.id, user.role, user.token_version, term)

    async def refresh(self, caller: Caller, client_info: ClientInfo) -> str:
        """A new token for the caller's session; the old token ends.

        Raises:
            Unauthorized: the session has ended, or is as old as a session may become.
        """
        now = self._clock.now()
        work = self._db.write(session_store.renew, caller, client_info, self._term, now, self._behind_since())
        session, term = await self.ending(caller.id, work)
        return self._sign(session.user_id, session.role, session.token_version, term)

    def _behind_since(self) -> int | None:
        behind = self._clock.behind()
        return None if behind is None else behind.since

    def _term(self, started_at: int, now: int) -> Term:
        """The term of a token issued now, in a session started at ``started_at`` (milliseconds)."""
        seconds = now // 1000
        expires = min(seconds + self._seconds, started_at // 1000 + self._longest)
        return Term(secrets.token_hex(16), now, expires * 1000)

    def _sign(self, user_id: int, role: str, version: int, term: Term) -> str:
        issued, expires = term.issued_at // 1000, term.expires_at // 1000
        return self._signer.sign(user_id, role, version, term.jti, issued=issued, expires=expires)

    async def verify(self, token: str) -> Caller:
        """The caller of a session token, an access token or the demo token.

        Raises:
            Unauthorized: the token is forged, expired or ended, or its user is disabled.
        """
        caller = self._cache.get(token)
        if caller is not None:
            # more than a minute left: it was verified before the clock was set back
            if 0 < caller.expires_at - self._clock.now() / 1000 < _MINUTE / 1000 + 1:
                return caller
            del self._cache[token]
        generation = self._generation
        caller = await self._look_up(token)
        if generation == self._generation:
            self._cache[token] = caller
            if len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        return caller

    async def _look_up(self, token: str) -> Caller:
        if self._demo and token == DEMO_TOKEN:
            return await self._demo_user()
        return await (self._access_token(token) if token.startswith(PREFIX) else self._session_token(token))

    async def _access_token(self, token: str) -> Caller:
        now = self._clock.now()
        q, digest = self._db.q, digest_of(token[:LONGEST_TOKEN])
        row = await self._db.fetch_one(q.personal_tokens.get_by_digest, digest=digest, now=now)
        if row is None:
            raise Unauthorized("access_token_invalid")
        self._last_uses.add_token(row.id, now)
        return Caller(
            row.user_id,
            row.username,
            row.role,
            expires_at=min(now + _MINUTE, row.expires_at or now + _MINUTE) / 1000,
            token_id=row.id,
            opens_api=row.opens_api,
            models=models_of(row),
            networks=networks_of(row),
        )

    async def _demo_user(self) -> Caller:
        user = await self._db.fetch_one(self._db.q.users.get_demo)
        if user is None:
            raise Unauthorized("demo_token_disabled")
        expires = (self._clock.now() + _MINUTE) / 1000
        return Caller(user.id, user.username, user.role, expires_at=expires)

    async def _session_token(self, token: str) -> Caller:
        now, q = self._clock.now(), self._db.q
        claims = self._signer.read(token, now / 1000)
        behind_since = self._behind_since()
        session = await self._db.fetch_one(
            q.sessions.get_by_jti, jti=claims.jti, now=now, behind_since=behind_since
        )
        if session is None or (session.user_id, session.token_version) != (claims.user_id, claims.version):
            raise Unauthorized("session_ended")
        if now - session.last_seen_at >= _MINUTE:
            self._last_uses.add_session(session.id, now)
        expires = min(claims.good_until, (now + _MINUTE) / 1000, session.ends_at / 1000)
        return Caller(claims.user_id, session.username, session.role, claims.jti, expires)

    async def list_own(self, caller: Caller) -> list[OwnSession]:
        """The sessions of the caller's user that have not ended, those seen last first."""
        now, since = self._clock.now(), self._behind_since()
        return await self._db.fetch_all(
            self._db.q.sessions.list_own, user_id=caller.id, jti=caller.jti, now=now, behind_since=since
        )

    async def end(self, caller: Caller, actor: Actor) -> None:
        """End the caller's own session; the demo token has none."""
        if caller.jti:
            await self.ending(caller.id, self._db.write(session_store.end, caller, actor, self._clock.now()))

    async def end_one(self, caller: Caller, session_id: int, actor: Actor) -> None:
        """End one session of the caller's user.

        Raises:
            NotFound: the user has no such session.
        """
        work = self._db.write(session_store.end_one, caller, session_id, actor, self._clock.now())
        await self.ending(caller.id, work)

    async def end_all(self, caller: Caller, actor: Actor) -> int:
        """End all sessions of the caller's user, this one too; gives their number. Access tokens stay."""
        now = self._clock.now()
        work = self._db.write(session_store.end_all, caller, actor, now, self._behind_since())
        return await self.ending(caller.id, work)

    async def ending(self, user_id: int, work: Awaitable[T]) -> T:
        """Await a write that ends or changes tokens of a user, and remove them from the cache. A client that
        leaves does not undo the commit, so its cancellation must not skip the removal."""

        async def work_and_forget() -> T:
            try:
                return await work
            finally:
                self.forget(user_id)

        return await asyncio.shield(work_and_forget())

    def forget_all(self) -> None:
        """Empty the cache: another program may have ended or changed any token."""
        self._generation += 1
        self._cache.clear()

    def forget(self, user_id: int) -> None:
        """Remove a user's tokens from the cache: called after every commit that ends or changes them."""
        self._generation += 1
        for token in [token for token, caller in self._cache.items() if caller.id == user_id]:
            del self._cache[token]
