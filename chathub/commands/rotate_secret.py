"""``chathub rotate-secret``: secrets encrypted under a new master secret, while the server is stopped."""

from chathub.clock import Clock
from chathub.config import Config
from chathub.database.opening import open_database
from chathub.security.rotation import rotate
from chathub.security.secret_files import earlier_files


async def rotate_secret(config: Config) -> None:
    """Rotate the master secret, and print what the operator does next.

    Raises:
        StartError: there is no new secret, the new one is the old one, or a file cannot be written.
    """
    async with open_database(config) as db:
        rotation = await rotate(db, config, Clock().now())
    for name in rotation.unreadable:
        print(f"{name} did not open before either and stays unreadable: enter it again")
    print(
        f"{rotation.sealed} provider keys and {rotation.proxies} passwords of proxies are sealed under the "
        "new secret; logins go on for a day, renewed ones longer"
    )
    for path in earlier_files(config.database):
        if path.exists():
            print(f"{path} is of an earlier version: remove it unless that or another database needs it")
    if config.secret_key is not None:
        print("now put the new secret in the place of the old one, in CHATHUB_SECRET_KEY or its file")
