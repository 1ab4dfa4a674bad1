"""Logins: starting, verifying, renewing and ending them.

Every login is a row, and its token is good as long as the row is there, its user is active and the
version fits.
"""

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from msgspec import Struct, structs

from chathub.accounts.access_tokens import PREFIX, digest_of, networks_of
from chathub.accounts.last_uses import LastUses
from chathub.accounts.logins import note_network
from chathub.accounts.session_tokens import LONGEST_TOKEN, Signer
from chathub.clock import Clock
from chathub.config import Config
from chathub.config_values import Network
from chathub.database.connection import Database, Row, Transaction
from chathub.errors import NotFound, Unauthorized
from chathub.security.audit import Actor, record

T = TypeVar("T")

_CACHE = 1024
# milliseconds that a verified token is remembered, which is also how exact its last use is
_MINUTE = 60_000
# milliseconds for which a login that is over is kept: the clock may have run ahead, and come back
_LONG = 90 * 86_400_000
# logins of one user; those not seen for the longest time end first
_MOST = 100
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


class ClientInfo(NamedTuple):
    """A request that starts or renews a login: who, from where, with what."""

    actor: Actor
    client: str


class Sessions:
    """Starts logins and knows which tokens are good.

    A verified token is remembered (a tenth of the work); what ends a token forgets it at once, and a
    generation number keeps a look-up that was under way meanwhile from bringing it back.
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

    async def start(self, user: Row, client_info: ClientInfo) -> str:
        """A new login of a user who showed its password; gives its token.

        Raises:
            Unauthorized: the account was changed meanwhile.
        """
        client_info = client_info._replace(
            actor=structs.replace(client_info.actor, user_id=user["id"], name=user["username"])
        )
        now = self._clock.now()
        term = self._term(now, now)
        await self.ending(user["id"], self._db.write(_start, user, client_info, term, self._clock.certain()))
        return self._sign(user, term)

    async def refresh(self, caller: Caller, client_info: ClientInfo) -> str:
        """A new token in place of the caller's, which ends.

        Raises:
            Unauthorized: it has ended already, or the login is as old as one may become.
        """
        work = self._db.write(
            _refresh, caller, client_info, self._term, self._clock.now(), self._behind_since()
        )
        user, term = await self.ending(caller.id, work)
        return self._sign(user, term)

    def _behind_since(self) -> int | None:
        behind = self._clock.behind()
        return None if behind is None else behind.since

    def _term(self, started_at: int, now: int) -> "_Term":
        """A token that is issued now, of a login that goes back to ``started_at`` (milliseconds)."""
        seconds = now // 1000
        expires = min(seconds + self._seconds, started_at // 1000 + self._longest)
        return _Term(secrets.token_hex(16), now, expires * 1000)

    def _sign(self, user: Row, term: "_Term") -> str:
        issued, expires = term.issued_at // 1000, term.expires_at // 1000
        return self._signer.sign(
            user["id"], user["role"], user["token_version"], term.jti, issued=issued, expires=expires
        )

    async def verify(self, token: str) -> Caller:
        """Who the token belongs to.

        Raises:
            Unauthorized: it is forged, expired or ended, or its user is disabled.
        """
        caller = self._cache.get(token)
        if caller is not None:
            # one that is good for longer than a minute was verified before the clock was set back
            if 0 < caller.expires_at - self._clock.now() / 1000 < _MINUTE / 1000 + 1:
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
        q, digest = self._db.q, digest_of(token[:LONGEST_TOKEN])
        row = await self._db.fetch_one(q.personal_tokens.get_by_digest, digest=digest, now=now)
        if row is None:
            raise Unauthorized("访问令牌无效或已过期")
        self._last_uses.note_token(row.id, now)
        expires = min(now + _MINUTE, row.expires_at or now + _MINUTE) / 1000
        return Caller(
            row.user_id,
            row.username,
            row.role,
            expires_at=expires,
            token_id=row.id,
            opens_api=row.opens_api,
            models=tuple(json.loads(row.allowed_models)),
            networks=networks_of(row),
        )

    async def _demo_user(self) -> Caller:
        row = await self._db.fetch_one(self._db.q.users.get_demo)
        if row is None:
            raise Unauthorized("demo-token 不可用")
        return Caller(row["id"], row["username"], row["role"], "", (self._clock.now() + _MINUTE) / 1000)

    async def _look_up(self, token: str) -> Caller:
        """The token of a login; looked up again every minute."""
        now, q = self._clock.now(), self._db.q
        claims = self._signer.read(token, now / 1000)
        behind_since = self._behind_since()
        row = await self._db.fetch_one(
            q.sessions.get_by_jti, jti=claims.jti, now=now, behind_since=behind_since
        )
        if row is None or (row["id"], row["token_version"]) != (claims.user_id, claims.version):
            raise Unauthorized("登录已失效，请重新登录")
        if now - row["last_seen_at"] >= _MINUTE:
            self._last_uses.note_login(row["session_id"], now)
        expires = min(claims.good_until, (now + _MINUTE) / 1000, row["ends_at"] / 1000)
        return Caller(claims.user_id, row["username"], row["role"], claims.jti, expires)

    async def list_own(self, caller: Caller) -> list[Row]:
        """The logins of the caller's user that hold, those seen last first."""
        now, since = self._clock.now(), self._behind_since()
        return await self._db.fetch_all(
            self._db.q.sessions.list_own, user_id=caller.id, jti=caller.jti, now=now, behind_since=since
        )

    async def end(self, caller: Caller, actor: Actor) -> None:
        """End the caller's own login; the demo token has none."""
        if caller.jti:
            await self.ending(caller.id, self._db.write(_end, caller, actor, self._clock.now()))

    async def end_one(self, caller: Caller, session_id: int, actor: Actor) -> None:
        """Raises:
        NotFound: the caller has no such login.
        """
        now = self._clock.now()
        await self.ending(caller.id, self._db.write(_end_one, caller, session_id, actor, now))

    async def end_all(self, caller: Caller, actor: Actor) -> int:
        """End all logins of the caller, this one too; gives their number. Personal tokens stay."""
        work = self._db.write(_end_all, caller, actor, self._clock.now(), self._behind_since())
        return await self.ending(caller.id, work)

    async def ending(self, user_id: int, work: Awaitable[T]) -> T:
        """Await a write that ends or changes tokens of a user, and forget them. A client that leaves does
        not undo the commit, and must not keep the forgetting from following it."""

        async def work_and_forget() -> T:
            try:
                return await work
            finally:
                self.forget(user_id)

        return await asyncio.shield(work_and_forget())

    def forget(self, user_id: int) -> None:
        """Forget what was verified for a user: to be called after every commit that ends or changes
        the user's tokens (the rows are what counts, this is only the memory of them)."""
        self._generation += 1
        for token in [token for token, caller in self._cache.items() if caller.id == user_id]:
            del self._cache[token]


class _Term(NamedTuple):
    """A token's id and time, in milliseconds."""

    jti: str
    issued_at: int
    expires_at: int


def _start(tx: Transaction, user: Row, client_info: ClientInfo, term: _Term, certain: int) -> None:
    tx.run(tx.q.sessions.sweep, before=certain - _LONG)
    row = tx.one(
        tx.q.sessions.insert,
        **term._asdict(),
        user_id=user["id"],
        version=user["token_version"],
        address=client_info.actor.address,
        client=client_info.client,
    )
    if row is None:
        raise Unauthorized("账号信息已变更，请重新登录")
    note_network(tx, user["id"], client_info.actor.address, term.issued_at, certain)
    record(
        tx,
        client_info.actor,
        "login.succeeded",
        term.issued_at,
        f"session {row['id']}",
        client=client_info.client,
    )
    tx.run(tx.q.sessions.trim, user_id=user["id"], session_id=row["id"], most=_MOST)


def _refresh(
    tx: Transaction,
    caller: Caller,
    client_info: ClientInfo,
    term_of: Callable[[int, int], _Term],
    now: int,
    behind_since: int | None,
) -> tuple[Row, _Term]:
    row = tx.one(tx.q.sessions.get_by_jti, jti=caller.jti, now=now, behind_since=behind_since)
    if row is None:
        raise Unauthorized("登录已失效，请重新登录")
    term = term_of(row["started_at"], now)
    if row["issued_at"] > now:
        # by which of the two times it is to last is not known yet: it gets a new token, and no more time
        term = term._replace(issued_at=row["issued_at"], expires_at=row["expires_at"])
    if term.expires_at <= now:
        raise Unauthorized("登录时间过久，请重新登录")
    tx.run(
        tx.q.sessions.renew,
        **term._asdict(),
        session_id=row["session_id"],
        address=client_info.actor.address,
        client=client_info.client,
    )
    record(
        tx,
        client_info.actor,
        "session.refresh",
        now,
        f"session {row['session_id']}",
        client=client_info.client,
    )
    return row, term


def _end(tx: Transaction, caller: Caller, actor: Actor, now: int) -> None:
    if row := tx.one(tx.q.sessions.end_by_jti, jti=caller.jti):
        record(tx, actor, "session.end", now, f"session {row['id']}")


def _end_one(tx: Transaction, caller: Caller, session_id: int, actor: Actor, now: int) -> None:
    if not tx.run(tx.q.sessions.end_own, session_id=session_id, user_id=caller.id):
        raise NotFound("登录会话不存在")
    record(tx, actor, "session.end", now, f"session {session_id}")


def _end_all(tx: Transaction, caller: Caller, actor: Actor, now: int, behind_since: int | None) -> int:
    # those that are over are none that end
    whose = {"user_id": caller.id, "jti": caller.jti}
    ended = len(tx.all(tx.q.sessions.list_own, **whose, now=now, behind_since=behind_since))
    tx.run(tx.q.sessions.end_all, user_id=caller.id)
    record(tx, actor, "session.end_all", now, f"user {caller.id}", sessions=ended)
    return ended
