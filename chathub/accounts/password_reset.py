"""Forgotten passwords: a code by mail, and the new password that it allows."""

from msgspec import Struct, structs

from chathub.accounts import users
from chathub.accounts.bootstrap import is_made_up
from chathub.accounts.codes import Codes, for_password, store_code, use_code
from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.accounts.users import Account, Changes
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.rows.users import User
from chathub.database.transaction import Transaction
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.client_address import network_of

# each costs a bcrypt
_RESETS = Limit("reset", 10, 3600, first=60, longest=3600)


class NewPassword(Struct, frozen=True):
    """A reset whose fields are checked."""

    email: str
    code: str
    password_hash: str


def limit_of(address: str) -> RateLimitKey:
    """What the attempts of one network to set a new password are counted under."""
    return _RESETS, network_of(address, 32)


def find(tx: Transaction, email: str, config: Config) -> User | None:
    """The user who may get a code at an address. Nobody may who is disabled, who signs in without a password,
    or whose address is not one that somebody entered."""
    user = tx.one(tx.q.users.get_by_email, email_key=users.comparable(email))
    if user is None or not user.is_active or not user.password_hash or is_made_up(user.email, config):
        return None
    return user


async def send_code(
    db: Database, codes: Codes, config: Config, clock: Clock, email: str, client: Actor
) -> None:
    """Send a code to the user of an address, if there is one, and store it. The mail goes to the address as
    it is stored, not as it was typed.

    Raises:
        BadRequest, UpstreamFailed: the mail was not sent.
    """
    user = await db.read(find, email, config)
    if user is None:
        return
    code = await codes.send(for_password(user), user.email, config.language, username=user.username)
    # stored after the mail is sent, so that only a code that was sent counts
    await db.write(_store, codes, user, code, client, clock.now())


def _store(tx: Transaction, codes: Codes, user: User, code: str, client: Actor, now: int) -> None:
    store_code(tx, codes, for_password(user), user.email, code, client.address, now)
    audit.record(tx, client, "password.code_sent", now, f"user {user.id}")


def reset(
    tx: Transaction, codes: Codes, config: Config, new: NewPassword, client: Actor, now: int
) -> Account | None:
    """Give a user the new password, and use up the code. Sessions and access tokens end. None: there is no
    such user or the code is wrong, and the wrong try is counted. Both are written down, so that the time
    does not tell one from the other."""
    user = find(tx, new.email, config)
    if user is None:
        audit.record(tx, client, "password.code_refused", now)
        return None
    purpose = for_password(user)
    if not use_code(tx, codes, purpose, user.email, new.code, client.address, now):
        audit.record(tx, client, "password.code_refused", now, f"user {user.id}")
        return None
    owner = structs.replace(client, user_id=user.id, name=user.username)
    audit.record(tx, owner, "password.reset", now, f"user {user.id}")
    return users.update(tx, user.id, Changes(password_hash=new.password_hash), owner, now)
