"""Logins: the rate limits of an attempt, and what a right and a wrong password store.

Wrong passwords lock no account: from a network where the account has logged in before, only attempts from
that network count.
"""

from collections.abc import Sequence

from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.clock import DAY
from chathub.database.database import Database
from chathub.database.transaction import Transaction
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.client_address import network_of

# for one account from one network; for one account from everywhere; from one address for any account
_ACCOUNT_AND_NETWORK = Limit("login here", 5, 300)
_ACCOUNT = Limit("login account", 30, 3600)
_ADDRESS = Limit("login address", 50, 300)
# the current password, which a new password needs
_CONFIRMATION = Limit("password", 5, 300)

# known networks of one account, and the milliseconds for which each stays known
_NETWORKS = 20
_KNOWN_FOR = 90 * DAY


def limits_of(db: Database, account: str, address: str, now: int) -> tuple[RateLimitKey, ...]:
    """What a login for an account (its name in comparable form) is counted under; the same if there is no
    such account."""
    network, here = network_of(address), from_here(account, address)
    since = now - _KNOWN_FOR
    if db.read_sync(db.q.login_networks.find_known, username_key=account, network=network, since=since):
        return (here,)
    return here, (_ACCOUNT, account), (_ADDRESS, network_of(address, 32))


def from_here(account: str, address: str) -> RateLimitKey:
    """What the attempts at an account from one network are counted under."""
    return _ACCOUNT_AND_NETWORK, f"{network_of(address)} {account}"


def confirmation_of(user_id: int) -> RateLimitKey:
    """Counted by user, whom the token names; counting the address would punish its other users."""
    return _CONFIRMATION, f"user {user_id}"


def all_of(user_id: int, names: Sequence[str]) -> tuple[RateLimitKey, ...]:
    """What attempts of a user were counted under, from everywhere; ``names`` are in comparable form."""
    return confirmation_of(user_id), *((_ACCOUNT, name) for name in names)


def record_failure(tx: Transaction, account: str, actor: Actor, now: int) -> None:
    """``account`` is empty if there is none: the name may be a password typed into the wrong field. Who has
    left meanwhile has none."""
    known = account if account and tx.one(tx.q.users.get_for_login, username_key=account) else ""
    audit.record(tx, actor, "login.failed", now, account=known)


def store_network(tx: Transaction, user_id: int, address: str, now: int, certain: int) -> None:
    """Make the network of a login known for its account. Networks not used for long, by ``Clock.certain``,
    are deleted."""
    network = network_of(address)
    tx.run(tx.q.login_networks.put, user_id=user_id, network=network, now=now)
    tx.run(
        tx.q.login_networks.delete_oldest,
        user_id=user_id,
        network=network,
        since=certain - _KNOWN_FOR,
        most=_NETWORKS,
    )
