"""Reading a passphrase from a file or from the terminal."""

import getpass
import sys
from pathlib import Path

from chathub.errors import StartError
from chathub.security.passphrase import SHORTEST


def read_passphrase(file: Path | None) -> str:
    """Read the passphrase of an encrypted secret.

    Raises:
        StartError: the file cannot be read, or there is no terminal.
    """
    if file is not None:
        try:
            return file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"the passphrase file {file} cannot be read: {error}") from error
    if not sys.stdin.isatty():
        raise StartError("there is no terminal to ask for the passphrase: give --passphrase-file")
    return getpass.getpass("passphrase: ")


def read_new_passphrase(file: Path | None) -> str:
    """Read a new passphrase; at the terminal it is typed twice.

    Raises:
        StartError: as ``read_passphrase``; it is too short, or the two inputs differ.
    """
    passphrase = read_passphrase(file)
    if len(passphrase) < SHORTEST:
        raise StartError(f"a passphrase has {SHORTEST} characters or more")
    if file is None and getpass.getpass("once more: ") != passphrase:
        raise StartError("the two passphrases differ")
    return passphrase
