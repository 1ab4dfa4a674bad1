"""The first start of a database: its first accounts, and the mark of the secret it belongs to."""

import hmac

from chathub.accounts import users
from chathub.accounts.passwords import Passwords, check_rules, new_random
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database, Transaction
from chathub.errors import BadRequest, StartError
from chathub.vault import derive

# the setting that tells which secret the database was made with
SECRET_MARK = "secret_mark"
_DEVELOPMENT = (
    ("admin", "admin@chathub.com", "admin123", "admin", "premium"),
    ("user", "user@chathub.com", "user123", "user", "free"),
)


async def found(db: Database, config: Config, clock: Clock, passwords: Passwords, master: bytes) -> None:
    """Make the first accounts if there are none yet, and check that the secret is the database's own.

    Raises:
        StartError: the database was made under another secret, or the given password may not be used.
    """
    mark = derive(master, "chathub mark v1").hex()
    known = await db.fetch_one(db.q.settings.get, name=SECRET_MARK)
    if known is None:
        await db.execute(db.q.settings.put, name=SECRET_MARK, value=mark)
    elif not hmac.compare_digest(known["value"], mark):
        raise StartError(
            "the secret key is not the one this database was made with: give the old one in "
            "CHATHUB_SECRET_KEY or put the old .secret file back beside the database"
        )
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
    await db.write(users.update, row["id"], changes, acting_id=0, now=clock.now())
