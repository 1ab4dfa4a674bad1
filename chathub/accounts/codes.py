"""Codes sent by mail: each proves once, for one purpose, that somebody reads the mail of an address."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct

from chathub.accounts import users
from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.config import Config
from chathub.database.rows.users import User
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest
from chathub.security.client_address import network_of
from chathub.sentences import Language, Param, sentence

if TYPE_CHECKING:
    from chathub.mail import Mailer

_OF_NETWORK = Limit("codes here", 10, 3600, first=60, longest=3600)
# for one mail address from one network: the page waits a minute before it offers another code
_OF_MAILBOX_HERE = Limit("codes", 3, 3600, first=60, longest=3600)
# for one mail address from everywhere: one or two networks do not reach this limit, so they cannot use up
# the codes of others
_OF_MAILBOX = Limit("codes mailbox", 20, 1800, first=60, longest=3600)
_OF_USER = Limit("codes user", 10, 3600, first=60, longest=3600)

_TRIES = 5
# no letters or digits that look like others
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


class Purpose(Struct, frozen=True):
    """What a code is for. ``subject`` and ``text`` are the sentences of its mail. ``binding`` is what the
    code depends on besides its address: when that changes, the code is void."""

    name: str
    subject: str
    text: str
    minutes: int
    binding: str = ""

    @property
    def life(self) -> int:
        """How long a code is valid, in milliseconds."""
        return self.minutes * 60_000


# its page has room for six digits
FOR_REGISTRATION = Purpose("registration", "code_mail_subject", "code_mail_text", 10)


def for_password(user: User) -> Purpose:
    """A new password for a user who has forgotten the old one."""
    return Purpose("password", "reset_mail_subject", "reset_mail_text", 30, _state_of(user))


def for_email(user: User) -> Purpose:
    """A new mail address for a user."""
    return Purpose(f"email {user.id}", "email_mail_subject", "email_mail_text", 30, _state_of(user))


def _state_of(user: User) -> str:
    """What changes with a new password, which so ends the codes that were sent before it."""
    return f" {user.id} {user.token_version}"


def new_code(purpose: Purpose) -> str:
    """Six digits for a registration, else eight letters and digits: 40 bits."""
    if purpose is FOR_REGISTRATION:
        return f"{secrets.randbelow(10**6):06}"
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


class Codes:
    """Sends codes and tells their digests. ``mailer`` is None where no mail server is configured."""

    def __init__(self, config: Config, key: bytes) -> None:
        self.mailer = _mailer(config)
        self._key = key

    def require_mailer(self) -> Mailer:
        """The mailer.

        Raises:
            BadRequest: this server sends no mail.
        """
        if self.mailer is None:
            raise BadRequest("mail_not_configured")
        return self.mailer

    async def run(self) -> None:
        """Send the mails of the background without end, if a mail server is configured."""
        if self.mailer is not None:
            await self.mailer.run()

    def digest(self, purpose: Purpose, email: str, code: str) -> str:
        """A code as it is stored: a digest of the code, the mailbox and the purpose's binding. It has a key:
        without one, whoever has the database finds a code of six digits in a second."""
        text = f"{code.strip().upper()} {users.mailbox(email)}{purpose.binding}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    async def send(self, purpose: Purpose, email: str, language: Language, **params: Param) -> str:
        """Send a new code to an address, registered or not; gives the code. ``params`` are of the mail's
        text.

        Raises:
            BadRequest, UpstreamFailed: the mail was not sent.
        """
        code = new_code(purpose)
        text = sentence(purpose.text, language, {"code": code, "minutes": purpose.minutes, **params})
        subject = sentence(purpose.subject, language, {})
        await self.require_mailer().send(email, subject, text)
        return code


def _mailer(config: Config) -> Mailer | None:
    """Sends mail, if a server is configured. Imported only then: it takes 10 ms of a start."""
    if config.smtp is None:
        return None
    from chathub.mail import Mailer

    return Mailer(config.smtp, config.mail_from)


def code_limits(address: str, email: str, user_id: int | None = None) -> tuple[RateLimitKey, ...]:
    """What a request for a code is counted under; the same whether the address is registered or not."""
    mailbox, network = users.comparable(email), network_of(address)
    own = () if user_id is None else ((_OF_USER, f"user {user_id}"),)
    return (
        (_OF_NETWORK, network_of(address, 32)),
        (_OF_MAILBOX_HERE, f"{network} {mailbox}"),
        (_OF_MAILBOX, mailbox),
        *own,
    )


def store_code(
    tx: Transaction, codes: Codes, purpose: Purpose, email: str, code: str, address: str, now: int
) -> None:
    """Store a code that was sent; it replaces the last code requested from the same network."""
    tx.run(tx.q.verification_codes.delete_expired, now=now)
    tx.run(
        tx.q.verification_codes.put,
        email_key=users.comparable(email),
        purpose=purpose.name,
        network=network_of(address),
        digest=codes.digest(purpose, email, code),
        expires_at=now + purpose.life,
    )


def use_code(
    tx: Transaction, codes: Codes, purpose: Purpose, email: str, code: str, address: str, now: int
) -> bool:
    """Whether a code is right; a right code is used up. Wrong tries are counted apart for the network that
    requested the code and for all others: strangers cannot spoil a code, and a user who continues from
    another network may use it there."""
    where = {"email_key": users.comparable(email), "purpose": purpose.name}
    network, digest = network_of(address), codes.digest(purpose, email, code)
    valid = tx.all(
        tx.q.verification_codes.list_valid,
        **where,
        network=network,
        most_tries=_TRIES,
        now=now,
        latest=now + purpose.life,
    )
    if not any([hmac.compare_digest(each.digest, digest) for each in valid]):
        tx.run(tx.q.verification_codes.count_wrong_try, **where, network=network)
        return False
    tx.run(tx.q.verification_codes.use, **where)
    return True
