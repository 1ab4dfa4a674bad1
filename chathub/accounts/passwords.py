"""Password rules and bcrypt, in a one-thread pool of its own.

bcrypt takes about 80 ms of a core; on the default executor a burst of logins would delay the name
look-ups of every upstream call by seconds, and more threads only add lag on small machines. So whoever wants
a password looked at waits for a turn.
"""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import bcrypt

from chathub.errors import BadRequest
from chathub.limits.fair_queue import FairQueue, QueueMember
from chathub.security.audit import Actor
from chathub.security.client_address import network_of

T = TypeVar("T")

MINIMUM = 6
# bcrypt reads no further; a longer password would silently be cut
MAXIMUM_BYTES = 72

# of one address, or one user, may wait; and of all strangers, or all users
_EACH = 8
_MOST = 32


def check_rules(password: str) -> str:
    """Give the password back if it may be used.

    Raises:
        BadRequest: too short, longer than bcrypt reads, or with a NUL byte.
    """
    if len(password) < MINIMUM:
        raise BadRequest(f"密码长度不能少于 {MINIMUM} 个字符")
    if len(password.encode()) > MAXIMUM_BYTES:
        raise BadRequest(f"密码不能超过 {MAXIMUM_BYTES} 字节")
    if "\0" in password:
        raise BadRequest("密码不能包含空字符")
    return password


def new_random() -> str:
    """A password to hand out once: 96 random bits."""
    return secrets.token_urlsafe(12)


def party_of(who: Actor) -> QueueMember:
    """With whom somebody waits: a user for himself, a stranger with all of his address. They stand in two
    lines, so that no flood of strangers keeps a user waiting."""
    if who.user_id is None:
        return QueueMember("strangers", network_of(who.address, 32))
    return QueueMember("users", str(who.user_id))


class Passwords:
    """Hashes and checks passwords off the event loop, for whoever has the turn.

    What decides whether a password is looked at at all, and what comes of it, belongs into the same turn:
    then no other one is looked at meanwhile.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._turns = FairQueue(_EACH, _MOST)
        self._pool = ThreadPoolExecutor(1, "bcrypt")
        self._dummy: bytes | None = None

    def turn(self, who: Actor) -> AbstractAsyncContextManager[None]:
        """Raises:
        TooManyRequests, Unavailable: too much is waiting, of the same address or user, or of all.
        """
        return self._turns.turn(party_of(who))

    async def hash_for(self, who: Actor, password: str) -> str:
        """A turn of somebody's that is only for this."""
        async with self.turn(who):
            return await self.hash(password)

    async def hash(self, password: str) -> str:
        return (await self._run(self.hash_now, password)).decode()

    def hash_now(self, password: str) -> bytes:
        return bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds))

    async def check(self, password: str, hashed: str | None) -> bool:
        """Whether the password is the one of ``hashed``; None (no such user) costs the same time."""
        return await self._run(self._check, password, hashed)

    def _check(self, password: str, hashed: str | None) -> bool:
        secret = password.encode()
        if len(secret) > MAXIMUM_BYTES or b"\0" in secret:
            secret, hashed = b"", None
        if not hashed:
            if self._dummy is None:
                self._dummy = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(self._rounds))
            bcrypt.checkpw(secret, self._dummy)
            return False
        return bcrypt.checkpw(secret, hashed.encode())

    async def _run(self, fn: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
