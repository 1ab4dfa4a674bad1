"""Where a passphrase comes from: a file, or whoever sits at the terminal."""

import getpass
import sys
from pathlib import Path

from chathub.errors import StartError
from chathub.security.passphrase import SHORTEST


def ask(file: Path | None) -> str:
    """The passphrase of a sealed secret.

    Raises:
        StartError: the file cannot be read, or there is nobody to ask.
    """
    if file is not None:
        try:
            return file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"the passphrase file {file} cannot be read: {error}") from error
    if not sys.stdin.isatty():
        raise StartError("there is no terminal to ask for the passphrase: give --passphrase-file")
    return getpass.getpass("passphrase: ")


def ask_twice(file: Path | None) -> str:
    """A passphrase to seal under.

    Raises:
        StartError: as ``ask``; it is too short, or was not typed the same twice.
    """
    passphrase = ask(file)
    if len(passphrase) < SHORTEST:
        raise StartError(f"a passphrase has {SHORTEST} characters or more")
    if file is None and getpass.getpass("once more: ") != passphrase:
        raise StartError("the two passphrases differ")
    return passphrase
