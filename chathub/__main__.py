"""The command line: ``serve`` (the default) and the operator's commands."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from chathub import config_reading as configuration
from chathub.commands.account_flags import add_invite_flags, add_token_flags, add_users_flags, utf8
from chathub.commands.backup import backup
from chathub.commands.compact import compact
from chathub.commands.doctor import doctor
from chathub.commands.reconcile import add_reconcile_flags, reconcile
from chathub.commands.restore import restore
from chathub.commands.rotate_secret import rotate_secret
from chathub.commands.set_password import set_password
from chathub.commands.undo_upgrade import undo_upgrade
from chathub.config import Config
from chathub.database.errors import DatabaseError
from chathub.database.file_check import refusal
from chathub.errors import StartError
from chathub.log import Formatter, begin_log
from chathub.version import version

_DESCRIPTION = "A self-hosted AI hub for small machines: one process, one SQLite file."
_READ_ON = (
    "Read on in the source's docs folder: configuration.md (flags and environment variables), operating.md "
    "(the commands), deploying.md."
)
_COMMANDS = {
    "serve": "start the server (the default)",
    "set-password": "give accounts new passwords, and print them; the server must be stopped",
    "rotate-secret": "re-encrypt API keys and proxies under a new master secret; the server must be stopped",
    "compact": "give the database's unused space back to the disk; the server must be stopped",
    "users": "list, add, disable and change accounts; the server may run",
    "invite": "make codes with which people may register, and print them; the server may run",
    "token": "make, list and delete access tokens for programs; the server may run",
    "doctor": "check the installation and change nothing; exit code 1 if there is a problem",
    "backup": "copy the database; the server may run",
    "restore": "put a backup in the database's place; the server must be stopped",
    "reconcile": "compare the ledger with a provider's usage or cost export; exit code 1 if they differ",
    "undo-upgrade": "go back to the copy from before the last upgrade; the server must be stopped",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the process's exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a name that the terminal's encoding lacks is no reason to fail after the work was done
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    if arguments.version:
        print(f"chathub {version()}")
        return 0
    try:
        if arguments.command == "doctor":
            begin_log()
            return doctor(lambda: configuration.load(arguments, os.environ))
        config = configuration.load(arguments, os.environ)
        return _run(arguments, config, begin_log(config.log))
    except StartError as error:
        print(f"chathub: {error}", file=sys.stderr)
        return 2
    except DatabaseError as error:
        print(f"chathub: {refusal(error, config.database)}", file=sys.stderr)
        return 2
    except EOFError:
        print("chathub: nothing was entered where a password is asked for", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # as a program that SIGPIPE ends
        return 141
    except OSError as error:
        print(f"chathub: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace, config: Config, formatter: Formatter) -> int:
    """Run a command on its configuration; gives the exit code."""
    if arguments.command not in (None, "serve"):
        # SystemExit, so that a command deletes its unfinished files
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    match arguments.command:
        case "set-password":
            asyncio.run(set_password(config, arguments.username, prompt=arguments.prompt))
        case "rotate-secret":
            asyncio.run(rotate_secret(config))
        case "backup":
            backup(
                config,
                arguments.place,
                packed=arguments.compress,
                with_secret=arguments.with_secret,
                passphrase_file=arguments.passphrase_file,
            )
        case "restore":
            restore(config, arguments.file, arguments.passphrase_file, without_keys=arguments.without_keys)
        case "undo-upgrade":
            return 0 if undo_upgrade(config, sure=arguments.yes) else 1
        case "reconcile":
            return reconcile(config, arguments)
        case "users" | "invite" | "token":
            return _run_for_accounts(arguments, config)
        case "compact":
            for line in compact(config):
                print(line, flush=True)
        case _:
            # imported late: on a small machine the web server takes half a second to load
            from chathub.commands.serve import serve

            serve(config, formatter)
    return 0


def _run_for_accounts(arguments: argparse.Namespace, config: Config) -> int:
    """Run one of the commands for accounts; gives the exit code."""
    # imported late: other commands need little of what these load
    from chathub.commands.invite import invite
    from chathub.commands.token import token
    from chathub.commands.users import users

    return {"users": users, "invite": invite, "token": token}[arguments.command](config, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chathub", description=_DESCRIPTION, epilog=_epilog())
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    configuration.add_flags(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    added = {name: _add_command(commands, name, text) for name, text in _COMMANDS.items()}
    added["set-password"].add_argument("username", nargs="+", type=utf8)
    added["set-password"].add_argument(
        "--prompt", action="store_true", help="ask for the password instead of making a random one"
    )
    backing, restoring = added["backup"], added["restore"]
    backing.add_argument("place", nargs="?", type=Path, metavar="FILE|FOLDER")
    backing.add_argument("--compress", action="store_true", help="compress the backup (gzip)")
    backing.add_argument(
        "--with-secret", action="store_true", help="write the secret beside the backup, encrypted"
    )
    restoring.add_argument("file", type=Path, metavar="FILE")
    restoring.add_argument(
        "--without-keys",
        action="store_true",
        help="restore although the secret is lost: API keys and passwords of proxies must be entered again",
    )
    for command in (backing, restoring):
        command.add_argument(
            "--passphrase-file", type=Path, metavar="FILE", help="read the passphrase from a file"
        )
    add_reconcile_flags(added["reconcile"])
    add_users_flags(added["users"])
    add_invite_flags(added["invite"])
    add_token_flags(added["token"])
    added["undo-upgrade"].add_argument(
        "--yes", action="store_true", help="do it; without this flag only say what would be lost"
    )
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    """The parser of one command, with the flags that have an effect there."""
    command = commands.add_parser(name, help=text, description=text, epilog=_READ_ON)
    add = configuration.add_flags if name == "serve" else configuration.add_database_flags
    # a flag that is absent behind the command must not reset the one before it
    add(command, default=argparse.SUPPRESS)
    return command


def _epilog() -> str:
    return (
        "Each flag overrides an environment variable: CHATHUB_DATABASE for --database. The environment "
        f"variables are {', '.join(configuration.variable_names())}. {_READ_ON}"
    )


if __name__ == "__main__":
    sys.exit(main())
