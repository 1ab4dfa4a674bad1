"""The first accounts of a new database, and the passwords that an operator sets."""

from chathub.accounts import users
from chathub.accounts.passwords import Passwords, check_rules, new_random
from chathub.accounts.users import UserFields
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, StartError
from chathub.security import audit

_DEVELOPMENT = (
    ("admin", "admin@chathub.com", "admin123", "admin", "premium"),
    ("user", "user@chathub.com", "user123", "user", "free"),
)
_ADMIN_EMAIL, _DEMO_EMAIL = _DEVELOPMENT[0][1], "demo@chathub.com"
_MADE_UP = {_DEMO_EMAIL, *(email for _, email, *_ in _DEVELOPMENT)}


async def create_first_accounts(db: Database, config: Config, clock: Clock, passwords: Passwords) -> None:
    """Create the first accounts if the database has none.

    Raises:
        StartError: the configured password is not allowed.
    """
    if await db.fetch_one(db.q.users.find_any) is None:
        await db.write(_insert_all, await _accounts(config, passwords), clock.now())


async def _accounts(config: Config, passwords: Passwords) -> list[UserFields]:
    if config.development:
        accounts = [
            UserFields(
                username=name,
                email=email,
                password_hash=await passwords.hash(password),
                role=role,
                subscription_type=subscription,
                password_is_default=True,
            )
            for name, email, password, role, subscription in _DEVELOPMENT
        ]
        # demo has no password: it is the user of demo-token
        return [*accounts, UserFields(username="demo", email=_DEMO_EMAIL, password_hash="")]
    try:
        password = check_rules(config.admin_password or new_random())
    except BadRequest as error:
        raise StartError(f"CHATHUB_ADMIN_PASSWORD: {error.reason.text('en')}") from error
    if config.admin_password is None:
        print(
            f"ChatHub: the administrator is 'admin', the password (shown this once): {password}", flush=True
        )
    admin = UserFields(
        username="admin",
        email=_ADMIN_EMAIL,
        password_hash=await passwords.hash(password),
        role="admin",
        subscription_type="premium",
    )
    return [admin]


def _insert_all(tx: Transaction, accounts: list[UserFields], now: int) -> None:
    for account in accounts:
        users.insert(tx, account, now)


def is_made_up(email: str, config: Config) -> bool:
    """Whether an address is one that ChatHub made up for a first account: nobody has said whose it is, so
    no mail about the account goes there. In development its accounts are everybody's anyway."""
    return users.comparable(email) in _MADE_UP and not config.development


async def refuse_default_passwords(db: Database) -> None:
    """Production does not start with the well-known passwords of development mode.

    Raises:
        StartError: its message names the accounts and the command that changes the passwords.
    """
    names = [row.username for row in await db.fetch_all(db.q.users.list_with_default_password)]
    if names:
        raise StartError(
            "these accounts still have the well-known passwords of development mode: "
            f"{', '.join(names)}. Give them new ones first: chathub set-password {' '.join(names)}"
        )


async def set_password(db: Database, clock: Clock, passwords: Passwords, name: str, password: str) -> None:
    """Set an account's password from the command line and enable the account. Its sessions and access
    tokens end.

    Raises:
        StartError: no such account, or a password that is not allowed.
    """
    try:
        check_rules(password)
    except BadRequest as error:
        raise StartError(error.reason.text("en")) from error
    user = await db.fetch_one(db.q.users.get_for_login, username_key=users.comparable(name))
    if user is None:
        raise StartError(f"there is no user {name!r}")
    changes = users.Changes(password_hash=await passwords.hash(password), is_active=True)
    await db.write(users.update, user.id, changes, audit.OPERATOR, clock.now())
