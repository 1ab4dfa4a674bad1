"""Registration: who may create an account, and the codes that verify a mail address."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from chathub.accounts import invites, users
from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.accounts.users import Account, UserFields
from chathub.config import Config
from chathub.database.transaction import Transaction
from chathub.errors import Forbidden
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.client_address import network_of
from chathub.sentences import Language, sentence

if TYPE_CHECKING:
    from chathub.mail import Mailer

_REGISTRATIONS = Limit("registration", 10, 3600, first=60, longest=3600)
_CODES_OF_NETWORK = Limit("codes here", 10, 3600, first=60, longest=3600)
# for one mail address from one network: the page waits a minute before it offers another code
_CODES = Limit("codes", 3, 3600, first=60, longest=3600)
# for one mail address from everywhere: one or two networks do not reach this limit, so they cannot use up
# the codes of others
_CODES_OF_MAILBOX = Limit("codes mailbox", 20, 1800, first=60, longest=3600)

_MINUTES = 10
_LIFE = _MINUTES * 60_000
_TRIES = 5


class RegistrationPolicy:
    """The registration mode (open, invite or closed), and the mailer for codes, if one is configured."""

    def __init__(self, config: Config, key: bytes) -> None:
        self.mode = config.registration_mode
        self.mailer = _mailer(config)
        self._key = key

    def check_open(self) -> None:
        """Check that somebody may register.

        Raises:
            Forbidden: registration is closed.
        """
        if self.mode == "closed":
            raise Forbidden("registration_closed")

    def digest(self, email_key: str, code: str) -> str:
        """A code as it is stored: the digest has a key, because a million codes are tried in a second."""
        return hmac.new(self._key, f"{code} {email_key}".encode(), hashlib.sha256).hexdigest()


def _mailer(config: Config) -> Mailer | None:
    """Sends mail, if a server is configured. Imported only then: it takes 10 ms of a start."""
    if config.smtp is None:
        return None
    from chathub.mail import Mailer

    return Mailer(config.smtp, config.mail_from)


class Newcomer(Struct, frozen=True):
    """A registration whose fields are checked; the codes are empty if none was given."""

    username: str
    email: str
    password_hash: str
    invite_code: str
    verification_code: str


def limit_of(address: str) -> RateLimitKey:
    return _REGISTRATIONS, network_of(address, 32)


def code_limits(address: str, email: str) -> tuple[RateLimitKey, ...]:
    mailbox, network = users.comparable(email), network_of(address)
    return (
        (_CODES_OF_NETWORK, network_of(address, 32)),
        (_CODES, f"{network} {mailbox}"),
        (_CODES_OF_MAILBOX, mailbox),
    )


async def mail_code(mailer: Mailer, email: str, language: Language) -> str:
    """Send a new code to an address, registered or not; gives the code.

    Raises:
        BadRequest, UpstreamFailed: the mail was not sent.
    """
    code = f"{secrets.randbelow(10**6):06}"
    text = sentence("code_mail_text", language, {"code": code, "minutes": _MINUTES})
    await mailer.send(email, sentence("code_mail_subject", language, {}), text)
    return code


def store_code(
    tx: Transaction, policy: RegistrationPolicy, email: str, code: str, address: str, now: int
) -> None:
    """Store a code that was sent; it replaces the last code requested from the same network."""
    email_key = users.comparable(email)
    tx.run(tx.q.verification_codes.delete_expired, now=now)
    tx.run(
        tx.q.verification_codes.put,
        email_key=email_key,
        network=network_of(address),
        digest=policy.digest(email_key, code),
        expires_at=now + _LIFE,
    )


def register(
    tx: Transaction, policy: RegistrationPolicy, newcomer: Newcomer, actor: Actor, now: int
) -> Account | None:
    """Insert an account, and use up its verification code and invite code. None: the verification code is
    wrong, and the wrong try is counted.

    Raises:
        BadRequest: the invite code is not valid.
    """
    if policy.mailer is not None and not _use_code(tx, policy, newcomer, actor.address, now):
        return None
    invite = None
    if newcomer.invite_code or policy.mode == "invite":
        invite = invites.use(tx, newcomer.invite_code, now)
    fields = UserFields(
        username=newcomer.username,
        email=newcomer.email,
        password_hash=newcomer.password_hash,
        subscription_type=invite.subscription_type if invite else "free",
    )
    account = users.insert(tx, fields, now)
    user = account.user
    actor = structs.replace(actor, user_id=user.id, name=user.username)
    audit.record(tx, actor, "user.registered", now, f"user {user.id}", email=user.email)
    if invite is not None:
        audit.record(tx, actor, "invite.used", now, f"invite {invite.id}", hint=invite.hint)
    return account


def _use_code(
    tx: Transaction, policy: RegistrationPolicy, newcomer: Newcomer, address: str, now: int
) -> bool:
    """Whether the verification code is right; a right code is used up. Wrong tries are counted apart for
    the network that requested the code and for all others: strangers cannot spoil a code, and a user who
    continues from another network may use it there."""
    email_key, network = users.comparable(newcomer.email), network_of(address)
    digest = policy.digest(email_key, newcomer.verification_code.strip())
    codes = tx.all(
        tx.q.verification_codes.list_valid,
        email_key=email_key,
        network=network,
        most_tries=_TRIES,
        now=now,
        latest=now + _LIFE,
    )
    if not any([hmac.compare_digest(code.digest, digest) for code in codes]):
        tx.run(tx.q.verification_codes.count_wrong_try, email_key=email_key, network=network)
        return False
    tx.run(tx.q.verification_codes.delete, email_key=email_key)
    return True
