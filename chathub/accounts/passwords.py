"""Password rules and bcrypt, in a pool of one thread.

bcrypt takes about 80 ms of a core. On the default executor a burst of logins would delay the name look-ups
of every upstream request by seconds, and more threads only add lag on small machines. So passwords are
checked one at a time, and requests queue for this.
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
from chathub.sentences import Reason

T = TypeVar("T")

MINIMUM = 6
# bcrypt reads no further; a longer password would be cut without an error
MAXIMUM_BYTES = 72

# requests of one address or one user that may wait; and of all strangers, or of all users
_EACH = 8
_MOST = 32


def check_rules(password: str) -> str:
    """The password, if it is allowed.

    Raises:
        BadRequest: too short, longer than bcrypt reads, or with a NUL byte.
    """
    if len(password) < MINIMUM:
        raise BadRequest("field_too_short", where=Reason("password"), least=MINIMUM)
    if len(password.encode()) > MAXIMUM_BYTES:
        raise BadRequest("password_too_long", most=MAXIMUM_BYTES)
    if "\0" in password:
        raise BadRequest("password_has_nul")
    return password


def new_random() -> str:
    """A random password of 96 bits, which is shown once."""
    return secrets.token_urlsafe(12)


def queue_member(actor: Actor) -> QueueMember:
    """Users are queued by user, clients that are not signed in by address. These are two lines: a flood of
    strangers keeps no user waiting."""
    if actor.user_id is None:
        return QueueMember("strangers", network_of(actor.address, 32))
    return QueueMember("users", str(actor.user_id))


class Passwords:
    """Hashes and checks passwords off the event loop, one request at a time.

    What decides whether a password is checked, and what follows from the result, belongs into the same slot:
    then no other password is checked in between.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._queue = FairQueue(_EACH, _MOST)
        self._pool = ThreadPoolExecutor(1, "bcrypt")
        self._dummy: bytes | None = None

    def slot(self, actor: Actor) -> AbstractAsyncContextManager[None]:
        """A context in which bcrypt may run; entering it waits for a turn.

        Raises:
            TooManyRequests, Unavailable: too many requests wait, of the same address or user, or of all.
        """
        return self._queue.slot(queue_member(actor))

    async def hash_for(self, actor: Actor, password: str) -> str:
        """Queue for a slot and hash a password in it."""
        async with self.slot(actor):
            return await self.hash(password)

    async def hash(self, password: str) -> str:
        return (await self._run(self.hash_now, password)).decode()

    def hash_now(self, password: str) -> bytes:
        return bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._rounds))

    async def check(self, password: str, hashed: str | None) -> bool:
        """Whether the password is the one of ``hashed``; None (no such user) takes the same time."""
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
