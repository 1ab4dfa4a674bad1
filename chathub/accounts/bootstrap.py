"""The first start of a database: its first accounts."""

from chathub.accounts import users
from chathub.accounts.passwords import Passwords, check_rules, new_random
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database, Transaction
from chathub.errors import BadRequest, StartError
from chathub.security import audit

_DEVELOPMENT = (
    ("admin", "admin@chathub.com", "admin123", "admin", "premium"),
    ("user", "user@chathub.com", "user123", "user", "free"),
)


async def found(db: Database, config: Config, clock: Clock, passwords: Passwords) -> None:
    """Make the first accounts if there are none yet.

    Raises:
        StartError: the given password may not be used.
    """
    if await db.fetch_one(db.q.users.exists_any) is None:
        await db.write(_first_users, await _accounts(config, passwords), clock.now())


async def _accounts(config: Config, passwords: Passwords) -> list[dict[str, object]]:
    if config.development:
        accounts = [
            {
                "username": name,
                "email": email,
                "password_hash": await passwords.hash(password),
                "role": role,
                "subscription_type": subscription,
                "password_is_default": True,
            }
            for name, email, password, role, subscription in _DEVELOPMENT
        ]
        # nobody signs in as demo: it is who demo-token stands for
        return [*accounts, {"username": "demo", "email": "demo@chathub.com", "password_hash": ""}]
    try:
        password = check_rules(config.admin_password or new_random())
    except BadRequest as error:
        raise StartError(f"CHATHUB_ADMIN_PASSWORD: {error.sentence}") from error
    if config.admin_password is None:
        print(
            f"ChatHub: the administrator is 'admin', the password (shown this once): {password}", flush=True
        )
    hashed = await passwords.hash(password)
    admin = {"username": "admin", "email": "admin@chathub.com", "password_hash": hashed, "role": "admin"}
    return [{**admin, "subscription_type": "premium"}]


def _first_users(tx: Transaction, accounts: list[dict[str, object]], now: int) -> None:
    for account in accounts:
        users.insert(tx, **account, now=now)  # type: ignore[arg-type]


async def refuse_default_passwords(db: Database) -> None:
    """Production does not start on the well-known passwords of development.

    Raises:
        StartError: naming the accounts and the command that mends it.
    """
    names = [row["username"] for row in await db.fetch_all(db.q.users.list_with_default_password)]
    if names:
        raise StartError(
            "these accounts still have the well-known passwords of development mode: "
            f"{', '.join(names)}. Give them new ones first: chathub set-password {' '.join(names)}"
        )


async def set_password(db: Database, clock: Clock, passwords: Passwords, name: str, password: str) -> None:
    """Give an account a new password from the command line; its older tokens end.

    Raises:
        StartError: no such account, or a password that may not be used.
    """
    try:
        check_rules(password)
    except BadRequest as error:
        raise StartError(error.sentence) from error
    row = await db.fetch_one(db.q.users.get_for_login, username_key=users.comparable(name))
    if row is None:
        raise StartError(f"there is no user {name!r}")
    changes = {"password_hash": await passwords.hash(password), "is_active": True}
    await db.write(users.update, row["id"], changes, audit.OPERATOR, clock.now())
