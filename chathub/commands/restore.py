"""``chathub restore``: a backup takes the database's place, while the server is stopped.

The command stops for any doubt before the present file is touched, and keeps that file.
"""

import sys
import time
from pathlib import Path

from chathub.commands.backup import secret_beside
from chathub.commands.passphrases import read_passphrase
from chathub.config import Config
from chathub.database import backup_files
from chathub.database.incoming import check_incoming, delete_settings, incoming
from chathub.database.opening import locked
from chathub.database.read_only import read_setting
from chathub.database.replacing import replace
from chathub.errors import StartError
from chathub.security.master_secret import MARK, bring_secret, get_secret, kept_secret
from chathub.security.passphrase import PassphraseError, open_sealed
from chathub.security.token_keys import PREVIOUS


def restore(
    config: Config, file: Path, passphrase_file: Path | None = None, *, without_keys: bool = False
) -> None:
    """Put a backup in the database's place. ``without_keys``: its secret is lost, so that its API keys and
    the passwords of proxies must be entered again.

    Raises:
        StartError: nothing was changed, and the sentence says why.
    """
    if not file.is_file():
        raise StartError(f"there is no backup {file}")
    if file.resolve() == config.database.resolve():
        raise StartError(f"{file} is the present database itself")
    if config.database.exists() and not config.database.is_file():
        raise StartError(f"the database {config.database} is no file: name another with --database")
    with locked(config.database) as locked_database, incoming(locked_database.file) as new:
        database = locked_database.file
        backup_files.unpack(file, new)
        version = check_incoming(new, file)
        if without_keys:
            # the next start seals under another secret
            delete_settings(new, (MARK, PREVIOUS))
        else:
            match_secret(config, new, secret_beside(file), passphrase_file)
        had_one = database.exists()
        kept = replace(database, new, label_of("before-restore"), origin=file)
    print(f"database {config.database}: now the backup {file} (version {version})")
    if had_one:
        print(f"the file of before is kept as {kept}")


def label_of(what: str) -> str:
    """The label of a file that is kept: what happened, and when (UTC)."""
    return what + time.strftime("-%Y%m%d-%H%M%S", time.gmtime())


def match_secret(config: Config, new: Path, sealed: Path | None, passphrase_file: Path | None) -> None:
    """Make sure that the secret fits the new file. If the present secret does not, an earlier one that was
    kept is taken, else the encrypted one beside the backup.

    Raises:
        StartError: no secret fits.
    """
    mark = read_setting(new, MARK)
    if mark is None:
        # made by a version that stored no mark
        return
    try:
        get_secret(config, mark)
        return
    except StartError as error:
        if (kept := kept_secret(config, mark)) is not None:
            bring_secret(config, kept, mark)
            return
        if sealed is None or not sealed.exists() or config.secret_key is not None:
            raise StartError(
                f"{error}. Nothing was changed; without it --without-keys restores all but the API keys and "
                "passwords of proxies"
            ) from None
    try:
        secret = open_sealed(sealed.read_bytes(), read_passphrase(passphrase_file))
    except (PassphraseError, OSError) as error:
        raise StartError(f"{sealed}: {error}; nothing was changed") from None
    bring_secret(config, secret, mark)
    print(f"the secret of {sealed} is now the database's", file=sys.stderr)
