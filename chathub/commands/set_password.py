"""``chathub set-password``: new passwords for accounts, while the server is stopped."""

import getpass
from collections.abc import Sequence

from chathub.accounts import bootstrap
from chathub.accounts.passwords import Passwords, new_random
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.opening import open_database


async def set_password(config: Config, usernames: Sequence[str], *, prompt: bool) -> None:
    """Give each account a new password, typed at the terminal (``prompt``) or random and printed.

    Raises:
        StartError: there is no such account, or the password breaks a rule.
    """
    passwords = Passwords(config.bcrypt_rounds)
    try:
        async with open_database(config) as db:
            for name in usernames:
                password = getpass.getpass(f"new password for {name}: ") if prompt else new_random()
                await bootstrap.set_password(db, Clock(), passwords, name, password)
                print(f"{name}: {'changed' if prompt else password}")
    finally:
        passwords.close()
