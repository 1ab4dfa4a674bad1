"""New accounts: who may register, and the codes that show whose an address is."""

import hashlib
import hmac
import secrets

from msgspec import Struct, structs

from chathub.accounts import invites, users
from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.config import Config
from chathub.database.connection import Row, Transaction
from chathub.errors import Forbidden
from chathub.mail import Mailer
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.client_address import network_of

_REGISTRATIONS = Limit("registration", 10, 3600, first=60, longest=3600)
_CODES_HERE = Limit("codes here", 10, 3600, first=60, longest=3600)
# for one address of mail, from one network: the page lets a minute pass before it offers another one
_CODES = Limit("codes", 3, 3600, first=60, longest=3600)
# for it from everywhere: beyond the reach of one or two networks, so that they use up nobody's codes
_MAILBOX = Limit("codes mailbox", 20, 1800, first=60, longest=3600)

_MINUTES = 10
_LIFE = _MINUTES * 60_000
_TRIES = 5


class RegistrationPolicy:
    """How newcomers are registered: in which mode, and with codes by mail where there is a mailer."""

    def __init__(self, config: Config, key: bytes) -> None:
        self.mode = config.registration_mode
        self.mailer = Mailer(config.smtp, config.mail_from) if config.smtp else None
        self._key = key

    def check_open(self) -> None:
        """Raises:
        Forbidden: nobody may register.
        """
        if self.mode == "closed":
            raise Forbidden("服务器未开放注册，请联系管理员")

    def digest(self, email_key: str, code: str) -> str:
        """A code as it is stored: keyed, for a million codes are tried in a second."""
        return hmac.new(self._key, f"{code} {email_key}".encode(), hashlib.sha256).hexdigest()

    def close(self) -> None:
        if self.mailer is not None:
            self.mailer.close()


class Newcomer(Struct, frozen=True):
    """A registration whose fields are checked."""

    username: str
    email: str
    password_hash: str
    invite_code: str
    verification_code: str


def guard_of(address: str) -> RateLimitKey:
    return _REGISTRATIONS, network_of(address, 32)


def code_guards(address: str, email: str) -> tuple[RateLimitKey, ...]:
    mailbox, network = users.comparable(email), network_of(address)
    return (
        (_CODES_HERE, network_of(address, 32)),
        (_CODES, f"{network} {mailbox}"),
        (_MAILBOX, mailbox),
    )


async def mail_code(mailer: Mailer, email: str) -> str:
    """Send a new code to an address, whether somebody has registered with it or not; gives the code.

    Raises:
        BadRequest, UpstreamFailed: it was not sent.
    """
    code = f"{secrets.randbelow(10**6):06}"
    text = (
        f"您的 ChatHub 注册验证码是：{code}\n\n{_MINUTES} 分钟内有效，只能使用一次。\n\n"
        "如果不是您本人在注册，请忽略这封邮件。\n"
    )
    await mailer.send(email, "ChatHub 注册验证码", text)
    return code


def keep_code(
    tx: Transaction, registrar: RegistrationPolicy, email: str, code: str, address: str, now: int
) -> None:
    """The last code that was sent counts, of those that the same network asked for."""
    email_key = users.comparable(email)
    tx.run(tx.q.verification_codes.delete_expired, now=now)
    tx.run(
        tx.q.verification_codes.put,
        email_key=email_key,
        network=network_of(address),
        digest=registrar.digest(email_key, code),
        expires_at=now + _LIFE,
    )


def register(
    tx: Transaction, registrar: RegistrationPolicy, wanted: Newcomer, actor: Actor, now: int
) -> Row | None:
    """Make an account, and use up the code and the invitation it was made with. None: the code is wrong,
    and that is counted.

    Raises:
        BadRequest: the invitation does not hold.
    """
    if registrar.mailer is not None and not _use_code(tx, registrar, wanted, actor.address, now):
        return None
    invite = None
    if wanted.invite_code or registrar.mode == "invite":
        invite = invites.use(tx, wanted.invite_code, now)
    row = users.insert(
        tx,
        username=wanted.username,
        email=wanted.email,
        password_hash=wanted.password_hash,
        subscription_type=invite.subscription_type if invite else "free",
        now=now,
    )
    newcomer = structs.replace(actor, user_id=row["id"], name=row["username"])
    audit.record(tx, newcomer, "user.registered", now, f"user {row['id']}", email=row["email"])
    if invite is not None:
        audit.record(tx, newcomer, "invite.used", now, f"invite {invite.id}", hint=invite.hint)
    return row


def _use_code(
    tx: Transaction, registrar: RegistrationPolicy, wanted: Newcomer, address: str, now: int
) -> bool:
    """Whether the code is right, which uses it up. Wrong tries end a code for the network that asked for it
    apart from all others: no stranger spoils it, and whoever goes on elsewhere may use it there."""
    email_key, network = users.comparable(wanted.email), network_of(address)
    digest = registrar.digest(email_key, wanted.verification_code.strip())
    rows = tx.all(
        tx.q.verification_codes.list_valid,
        email_key=email_key,
        network=network,
        most_tries=_TRIES,
        now=now,
        latest=now + _LIFE,
    )
    if not any([hmac.compare_digest(row.digest, digest) for row in rows]):
        tx.run(tx.q.verification_codes.count_wrong_try, email_key=email_key, network=network)
        return False
    tx.run(tx.q.verification_codes.delete, email_key=email_key)
    return True
