"""Reading the configuration: flags and environment variables, once at start, into a frozen ``Config``.

All wrong values are collected and named, so that one start reports all of them.
"""

import argparse
import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chathub import config_values as values
from chathub import proxy_settings
from chathub.config import Config, not_local
from chathub.config_values import Network
from chathub.errors import StartError
from chathub.listen_hosts import read_host

# environment variable → (field of Config, reader)
_VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "CHATHUB_ENV": ("env", values.one_of("development", "production")),
    "CHATHUB_HOST": ("hosts", values.listen_hosts),
    "CHATHUB_PORT": ("port", values.whole(0, 65_535)),
    "CHATHUB_LOG": ("log", values.one_of("text", "json")),
    "CHATHUB_DATABASE": ("database", Path),
    "CHATHUB_FRONTEND": ("frontend", Path),
    "CHATHUB_ADMIN_PASSWORD": ("admin_password", str),
    "CHATHUB_CORS_ORIGINS": ("cors_origins", lambda text: values.origins(values.words(text))),
    "CHATHUB_ALLOWED_HOSTS": ("allowed_hosts", values.hosts),
    "CHATHUB_LOCAL_MODEL": ("local_model", str),
    "CHATHUB_TRUSTED_PROXIES": ("trusted_proxies", values.trusted_proxies),
    "CHATHUB_BASE_PATH": ("base_path", values.base_path),
    "CHATHUB_TIMEZONE": ("timezone", values.zone),
    "CHATHUB_LANGUAGE": ("language", values.one_of("zh", "en")),
    "CHATHUB_TOKEN_SECONDS": ("token_seconds", values.seconds),
    "CHATHUB_SESSION_SECONDS": ("session_seconds", values.seconds),
    "CHATHUB_BCRYPT_ROUNDS": ("bcrypt_rounds", values.whole(4, 16)),
    "CHATHUB_REGISTRATION": ("registration", values.one_of("open", "invite", "closed")),
    "CHATHUB_SMTP_URL": ("smtp", values.smtp),
    "CHATHUB_MAIL_FROM": ("mail_from", values.mail_from),
    "CHATHUB_ON_DISCONNECT": ("on_disconnect", values.one_of("continue", "stop")),
    "CHATHUB_UNFOLLOWED_SECONDS": ("unfollowed_seconds", values.seconds),
    "CHATHUB_REPLY_SECONDS": ("reply_seconds", values.seconds),
    "CHATHUB_IDLE_SECONDS": ("idle_seconds", values.seconds),
    "CHATHUB_ANSWER_SECONDS": ("answer_seconds", values.seconds),
    "CHATHUB_FIRST_BYTE_SECONDS": ("first_byte_seconds", values.seconds),
    "CHATHUB_DRAIN_SECONDS": ("drain_seconds", values.seconds),
    "CHATHUB_HEARTBEAT_SECONDS": ("heartbeat_seconds", values.seconds),
    "CHATHUB_WRITE_SECONDS": ("write_seconds", values.seconds),
    "CHATHUB_REPLY_CHARACTERS": ("reply_characters", values.whole(1, 10**9)),
    "CHATHUB_STREAMS_PER_USER": ("streams_per_user", values.whole(1, 10**9)),
    "CHATHUB_FREE_BYTES": ("free_bytes", values.whole(0, 2**50)),
    "CHATHUB_BODY_BYTES": ("body_bytes", values.whole(1, 2**40)),
    "CHATHUB_UPLOAD_BYTES": ("upload_bytes", values.whole(1, 2**40)),
    "CHATHUB_BACKUP_DIR": ("backup_dir", Path),
    "CHATHUB_BACKUP_EVERY": ("backup_every", values.hours),
    "CHATHUB_BACKUP_KEEP": ("backup_keep", values.keep),
    "CHATHUB_BACKUP_COMPRESS": ("backup_compress", values.switch),
    "CHATHUB_AUTO_TITLE": ("auto_title", values.switch),
    "CHATHUB_LISTED_MODELS_ONLY": ("listed_models_only", values.switch),
    "CHATHUB_RESPONSES_DAYS": ("responses_days", values.whole(0, 3650)),
    "CHATHUB_CONVERSATION_DAYS": ("conversation_days", values.days_or_none(1)),
    "CHATHUB_AUDIT_DAYS": ("audit_days", values.days_or_none(1)),
    # at least the current month and the one before, which bills are compared with
    "CHATHUB_LEDGER_DAYS": ("ledger_days", values.days_or_none(62)),
    "CHATHUB_EXPORT_DIR": ("export_dir", Path),
    "CHATHUB_CACHED_WEIGHT": ("cached_weight", values.share),
    "CHATHUB_USAGE_SECONDS": ("usage_seconds", values.seconds_or_none),
}
_FLAGS = ("env", "port", "database", "frontend", "local_model")


def add_flags(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Add the flags of the server."""
    add_database_flags(parser, default)
    add = partial(parser.add_argument, default=default)
    add(
        "--host",
        action="append",
        help="a name or address to listen at, or unix:/path (default: 127.0.0.1); may be repeated",
    )
    add("--port", help="port to listen on (default: 5001)")
    add(
        "--cors-origin",
        action="append",
        metavar="ORIGIN",
        help="an origin whose web pages may use the API; may be repeated",
    )
    add("--frontend", metavar="DIR", help="the folder of a built single-page front end, served at /")
    add("--local-model", metavar="NAME", help="smollm2, qwen2.5-0.5b, or the path of a GGUF file")


def add_database_flags(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Add the flags that every command reads: the mode and the database."""
    add = partial(parser.add_argument, default=default)
    add("--env", choices=["development", "production"], help="default: development")
    add("--database", help="the SQLite file (default: database/chathub.db)")


def variable_names() -> list[str]:
    """The environment variables that `load` reads."""
    secrets = (f"{name}{ending}" for name in (*_SECRETS, _METRICS_TOKEN) for ending in ("", "_FILE"))
    others = ("CHATHUB_UPSTREAM_ALLOW", proxy_settings.SETTING)
    return sorted([*_VARIABLES, *secrets, *others])


def load(flags: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """Build the configuration; a flag wins over its environment variable.

    Raises:
        StartError: naming every variable or flag with a wrong value.
    """
    settings: dict[str, Any] = {}
    problems: list[str] = []
    for variable, (name, read) in _VARIABLES.items():
        text = getattr(flags, name, None) if name in _FLAGS else None
        label = "--" + name.replace("_", "-") if text is not None else variable
        text = text if text is not None else environ.get(variable)
        if text is None or text == "":
            continue
        try:
            settings[name] = read(text)
        except ValueError as error:
            problems.append(f"{label}: {error}")
    for label, read_value in _OTHERS.items():
        try:
            settings.update(read_value(flags, environ))
        except ValueError as error:
            problems.append(f"{label}: {error}")
    config = Config(**settings)
    problems += map(not_local, config.exposed_hosts)
    if config.smtp and not config.mail_from:
        problems.append("CHATHUB_MAIL_FROM: must say from which address mail comes, with CHATHUB_SMTP_URL")
    if problems:
        raise StartError("wrong configuration:\n  " + "\n  ".join(problems))
    return config


def _flag_hosts(flags: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    given = getattr(flags, "host", None)
    return {"hosts": tuple(map(read_host, given))} if given else {}


def _flag_origins(flags: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    given = getattr(flags, "cors_origin", None)
    return {"cors_origins": values.origins(given)} if given else {}


def _secret(flags: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    return _read_secret("CHATHUB_SECRET_KEY", environ)


def _new_secret(flags: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    found = _read_secret("CHATHUB_NEW_SECRET_KEY", environ)
    if any(value != value.strip() for value in found.values()):
        # a secret file is read without blanks at its ends
        raise ValueError("must not begin or end with a blank")
    return found


def _read_secret(variable: str, environ: Mapping[str, str]) -> dict[str, bytes]:
    secret = values.secret(variable, environ, least=32)
    return {_SECRETS[variable]: secret} if secret else {}


def _allow(flags: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    hosts: set[str] = set()
    networks: list[Network] = []
    for word in values.words(environ.get("CHATHUB_UPSTREAM_ALLOW", "")):
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            if "/" in word:
                raise ValueError(f"{word!r} is neither a host nor a network") from None
            hosts.add(word.lower())
    return {"upstream_allow_hosts": frozenset(hosts), "upstream_allow_networks": tuple(networks)}


def _proxies(flags: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    return {"proxies": proxy_settings.read(environ)}


# environment variable → field of Config
_SECRETS = {"CHATHUB_SECRET_KEY": "secret_key", "CHATHUB_NEW_SECRET_KEY": "new_secret_key"}
_METRICS_TOKEN = "CHATHUB_METRICS_TOKEN"
# the label of a setting that has several variables → its reader
_OTHERS: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], dict[str, Any]]] = {
    "--host": _flag_hosts,
    "--cors-origin": _flag_origins,
    "CHATHUB_SECRET_KEY": _secret,
    "CHATHUB_NEW_SECRET_KEY": _new_secret,
    _METRICS_TOKEN: lambda _, environ: {"metrics_token": values.metrics_token(_METRICS_TOKEN, environ)},
    "CHATHUB_UPSTREAM_ALLOW": _allow,
    proxy_settings.SETTING: _proxies,
}
