"""Signing in: whose guesses are counted together, and what a right and a wrong password leave behind.

Nobody can lock an account with wrong passwords: from a network where it has signed in before, only what
comes from that network counts.
"""

from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.database.connection import Database, Transaction
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.client_address import network_of

# for one account from one network; for it from everywhere; from one address for any account
_HERE = Limit("login here", 5, 300)
_ACCOUNT = Limit("login account", 30, 3600)
_ADDRESS = Limit("login address", 50, 300)
# the old password, asked for before a new one is set
_CONFIRMATION = Limit("password", 5, 300)

_NETWORKS = 20
_KNOWN_FOR = 90 * 86_400_000


def guards_of(db: Database, account: str, address: str, now: int) -> tuple[RateLimitKey, ...]:
    """What an attempt for an account (its name in comparable form) is counted under, the same whether it
    exists or not."""
    network = network_of(address)
    here = (_HERE, f"{network} {account}")
    since = now - _KNOWN_FOR
    if db.read_sync(db.q.login_networks.find_known, username_key=account, network=network, since=since):
        return (here,)
    return here, (_ACCOUNT, account), (_ADDRESS, network_of(address, 32))


def confirmation_of(user_id: int) -> RateLimitKey:
    """The token tells who guesses: the address would punish the neighbours."""
    return _CONFIRMATION, f"user {user_id}"


def note_failure(tx: Transaction, account: str, actor: Actor, now: int) -> None:
    """``account`` is empty if there is none: the name may be a password typed into the wrong field."""
    audit.record(tx, actor, "login.failed", now, account=account)


def note_network(tx: Transaction, user_id: int, address: str, now: int, certain: int) -> None:
    """The account has signed in from here: the network is known from now on. What is over is deleted by
    ``Clock.certain``."""
    whose = {"user_id": user_id, "network": network_of(address)}
    tx.run(tx.q.login_networks.put, **whose, now=now)
    tx.run(tx.q.login_networks.delete_oldest, **whose, since=certain - _KNOWN_FOR, most=_NETWORKS)
