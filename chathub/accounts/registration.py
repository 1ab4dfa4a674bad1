"""Registration: who may create an account."""

from msgspec import Struct, structs

from chathub.accounts import invites, users
from chathub.accounts.codes import FOR_REGISTRATION, Codes, use_code
from chathub.accounts.throttle import Limit, RateLimitKey
from chathub.accounts.users import Account, UserFields
from chathub.config import Config
from chathub.database.transaction import Transaction
from chathub.errors import Forbidden
from chathub.security import audit
from chathub.security.audit import Actor
from chathub.security.client_address import network_of

_REGISTRATIONS = Limit("registration", 10, 3600, first=60, longest=3600)


class RegistrationPolicy:
    """The registration mode (open, invite or closed), and the codes that a new user is sent, if a mail server
    is configured."""

    def __init__(self, config: Config, codes: Codes) -> None:
        self.mode = config.registration_mode
        self.codes = codes

    @property
    def needs_code(self) -> bool:
        return self.codes.mailer is not None

    def check_open(self) -> None:
        """Check that somebody may register.

        Raises:
            Forbidden: registration is closed.
        """
        if self.mode == "closed":
            raise Forbidden("registration_closed")


class Newcomer(Struct, frozen=True):
    """A registration whose fields are checked; the codes are empty if none was given."""

    username: str
    email: str
    password_hash: str
    invite_code: str
    verification_code: str


def limit_of(address: str) -> RateLimitKey:
    return _REGISTRATIONS, network_of(address, 32)


def register(
    tx: Transaction, policy: RegistrationPolicy, newcomer: Newcomer, actor: Actor, now: int
) -> Account | None:
    """Insert an account, and use up its verification code and invite code. None: the verification code is
    wrong, and the wrong try is counted.

    Raises:
        BadRequest: the invite code is not valid.
    """
    if policy.needs_code and not use_code(
        tx, policy.codes, FOR_REGISTRATION, newcomer.email, newcomer.verification_code, actor.address, now
    ):
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
