"""Configuration: flags, environment variables, and error messages for wrong values."""

import argparse
import dataclasses
import ipaddress
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chathub.config import VUE_ORIGINS, Config
from chathub.config_reading import add_flags, load, variable_names
from chathub.config_values import Keep, SmtpServer, TrustedProxies
from chathub.errors import StartError


def read(*argv: str, **environ: str) -> Config:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return load(parser.parse_args(argv), environ)


def test_defaults_are_those_of_the_readme() -> None:
    config = read()
    assert (config.env, config.hosts, config.port) == ("development", ("127.0.0.1",), 5001)
    assert config.database == Path("database/chathub.db")
    assert config.cors_origins == VUE_ORIGINS
    assert (config.unfollowed_seconds, config.reply_seconds, config.idle_seconds) == (300, 1800, 120)
    assert config.local_model is None and config.secret_key is None


def test_flag_overrides_its_variable() -> None:
    assert read("--port", "7", CHATHUB_PORT="8").port == 7
    assert read(CHATHUB_PORT="8").port == 8
    assert read(
        "--cors-origin", "https://a.example", CHATHUB_CORS_ORIGINS="https://b.example"
    ).cors_origins == ("https://a.example",)


# variable → its text, the field it sets, and the resulting value
VARIABLES: dict[str, tuple[str, str, Any]] = {
    "CHATHUB_ENV": ("production", "env", "production"),
    "CHATHUB_HOST": ("localhost, [::1],unix:/hub.sock", "hosts", ("localhost", "::1", "unix:/hub.sock")),
    "CHATHUB_PORT": ("8", "port", 8),
    "CHATHUB_LOG": ("json", "log", "json"),
    "CHATHUB_DATABASE": ("a/b.db", "database", Path("a/b.db")),
    "CHATHUB_FRONTEND": ("dist", "frontend", Path("dist")),
    "CHATHUB_SECRET_KEY": ("s" * 32, "secret_key", b"s" * 32),
    "CHATHUB_ADMIN_PASSWORD": ("first", "admin_password", "first"),
    "CHATHUB_CORS_ORIGINS": (
        "https://a.example, http://b",
        "cors_origins",
        ("https://a.example", "http://b"),
    ),
    "CHATHUB_BASE_PATH": ("chathub/ai/", "base_path", "/chathub/ai"),
    "CHATHUB_LOCAL_MODEL": ("smollm2", "local_model", "smollm2"),
    "CHATHUB_TRUSTED_PROXIES": (
        "10.0.0.0/8,unix",
        "trusted_proxies",
        TrustedProxies((ipaddress.ip_network("10.0.0.0/8"),), unix=True),
    ),
    "CHATHUB_TIMEZONE": ("Asia/Shanghai", "timezone", ZoneInfo("Asia/Shanghai")),
    "CHATHUB_TOKEN_SECONDS": ("11", "token_seconds", 11),
    "CHATHUB_BCRYPT_ROUNDS": ("12", "bcrypt_rounds", 12),
    "CHATHUB_ON_DISCONNECT": ("stop", "on_disconnect", "stop"),
    "CHATHUB_UNFOLLOWED_SECONDS": ("13", "unfollowed_seconds", 13),
    "CHATHUB_REPLY_SECONDS": ("14", "reply_seconds", 14),
    "CHATHUB_IDLE_SECONDS": ("15", "idle_seconds", 15),
    "CHATHUB_ANSWER_SECONDS": ("900", "answer_seconds", 900),
    "CHATHUB_FIRST_BYTE_SECONDS": ("20", "first_byte_seconds", 20),
    "CHATHUB_ALLOWED_HOSTS": (
        "Chat.Example.com, *.home.arpa,[fd00::1]",
        "allowed_hosts",
        ("chat.example.com", "*.home.arpa", "[fd00::1]"),
    ),
    "CHATHUB_DRAIN_SECONDS": ("16", "drain_seconds", 16),
    "CHATHUB_HEARTBEAT_SECONDS": ("17", "heartbeat_seconds", 17),
    "CHATHUB_WRITE_SECONDS": ("18", "write_seconds", 18),
    "CHATHUB_REPLY_CHARACTERS": ("19", "reply_characters", 19),
    "CHATHUB_LANGUAGE": ("en", "language", "en"),
    "CHATHUB_AUTO_TITLE": ("on", "auto_title", True),
    "CHATHUB_USAGE_SECONDS": ("20", "usage_seconds", 20),
    "CHATHUB_LISTED_MODELS_ONLY": ("on", "listed_models_only", True),
    "CHATHUB_RESPONSES_DAYS": ("0", "responses_days", 0),
    "CHATHUB_CONVERSATION_DAYS": ("365", "conversation_days", 365),
    "CHATHUB_AUDIT_DAYS": ("90", "audit_days", 90),
    "CHATHUB_LEDGER_DAYS": ("62", "ledger_days", 62),
    "CHATHUB_EXPORT_DIR": ("/e", "export_dir", Path("/e")),
    "CHATHUB_CACHED_WEIGHT": ("0.25", "cached_weight", 0.25),
    "CHATHUB_NEW_SECRET_KEY": ("n" * 32, "new_secret_key", b"n" * 32),
    "CHATHUB_METRICS_TOKEN": ("m" * 16, "metrics_token", b"m" * 16),
    "CHATHUB_SESSION_SECONDS": ("21", "session_seconds", 21),
    "CHATHUB_REGISTRATION": ("closed", "registration", "closed"),
    "CHATHUB_MAIL_FROM": ("hub@example.com", "mail_from", "hub@example.com"),
    "CHATHUB_STREAMS_PER_USER": ("22", "streams_per_user", 22),
    "CHATHUB_FREE_BYTES": ("23", "free_bytes", 23),
    "CHATHUB_BODY_BYTES": ("23", "body_bytes", 23),
    "CHATHUB_UPLOAD_BYTES": ("23", "upload_bytes", 23),
    "CHATHUB_BACKUP_DIR": ("/b", "backup_dir", Path("/b")),
    "CHATHUB_BACKUP_EVERY": ("0.5", "backup_every", 0.5),
    "CHATHUB_BACKUP_KEEP": ("3d,2m", "backup_keep", Keep(3, 0, 2)),
    "CHATHUB_BACKUP_COMPRESS": ("on", "backup_compress", True),
}


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_sets_only_its_own_field(variable: str) -> None:
    text, field, value = VARIABLES[variable]
    assert value != getattr(Config(), field)
    assert read(**{variable: text}) == dataclasses.replace(Config(), **{field: value})


def test_every_variable_is_tried_here() -> None:
    # those that set more than one field, or require another one
    elsewhere = {"CHATHUB_UPSTREAM_ALLOW", "CHATHUB_UPSTREAM_PROXY", "CHATHUB_SMTP_URL"}
    files = {name for name in variable_names() if name.endswith("_FILE")}
    assert set(variable_names()) == set(VARIABLES) | elsewhere | files
    fields = {field.name for field in dataclasses.fields(Config)}
    rest = {"upstream_allow_hosts", "upstream_allow_networks", "proxies", "smtp"}
    only_tests = {"save_seconds", "body_seconds"}
    assert {field for _, field, _ in VARIABLES.values()} == fields - rest - only_tests


def test_all_wrong_values_are_named_in_one_error() -> None:
    with pytest.raises(StartError) as caught:
        read(
            CHATHUB_PORT="70000",
            CHATHUB_TIMEZONE="Mars/Olympus",
            CHATHUB_IDLE_SECONDS="-1",
            CHATHUB_ENV="test",
            CHATHUB_CORS_ORIGINS="chat.example.com",
            CHATHUB_TRUSTED_PROXIES="10.0.0.0/99",
            CHATHUB_SECRET_KEY="short",
            CHATHUB_UPSTREAM_ALLOW="10.0.0.0/99",
            CHATHUB_REGISTRATION="perhaps",
            CHATHUB_MAIL_FROM="nobody",
            CHATHUB_BACKUP_EVERY="0",
            CHATHUB_BACKUP_KEEP="many",
        )
    for name in (
        "PORT",
        "TIMEZONE",
        "IDLE_SECONDS",
        "ENV",
        "TRUSTED_PROXIES",
        "SECRET_KEY",
        "UPSTREAM_ALLOW",
        "REGISTRATION",
        "MAIL_FROM",
        "BACKUP_EVERY",
        "BACKUP_KEEP",
    ):
        assert f"CHATHUB_{name}" in str(caught.value)
    assert "chat.example.com" in str(caught.value)


@pytest.mark.parametrize("name", ["UTC", "utc", "Etc/UTC", ""])
def test_every_name_of_utc_is_the_same_zone(name: str) -> None:
    assert read(CHATHUB_TIMEZONE=name).timezone is UTC


@pytest.mark.parametrize("name", ["Mars/Olympus", "Asia", "../UTC", "/etc/localtime", "U\0C", "+08:00"])
def test_unknown_time_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(StartError, match="CHATHUB_TIMEZONE: must be a time zone such as"):
        read(CHATHUB_TIMEZONE=name)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("CHATHUB_UPSTREAM_ALLOW", "10.0.0.0/99", "'10.0.0.0/99' is neither a host nor a network"),
        ("CHATHUB_SECRET_KEY", "short", "must be at least 32 bytes long"),
        ("CHATHUB_USAGE_SECONDS", "-1", "must be 0 or a positive number of seconds"),
        ("CHATHUB_REPLY_SECONDS", "abc", "must be a positive number of seconds"),
        ("CHATHUB_CACHED_WEIGHT", "1.1", "must be a number from 0 to 1"),
        ("CHATHUB_PORT", "abc", "must be a whole number from 0 to 65535"),
        ("CHATHUB_HOST", " , ", "must name a host"),
        ("CHATHUB_HOST", "::1,unix:", "'unix:' must have a path of 1 to 107 bytes behind unix:"),
        (
            "CHATHUB_BASE_PATH",
            "/v1/hub",
            "must not begin with /api or /docs or /metrics or /openapi.json or /v1, which are paths of "
            "ChatHub itself",
        ),
        ("CHATHUB_BACKUP_EVERY", "abc", "must be a number of hours from 0.001 to 10000"),
    ],
)
def test_a_wrong_value_is_told_once_by_the_variables_name(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(StartError) as caught:
        read(**{variable: value})
    assert str(caught.value) == f"wrong configuration:\n  {variable}: {sentence}"


@pytest.mark.parametrize("value", ["nan", "inf", "0", "x"])
def test_durations_must_be_positive_numbers(value: str) -> None:
    with pytest.raises(StartError, match="CHATHUB_REPLY_SECONDS: must be a positive number of seconds"):
        read(CHATHUB_REPLY_SECONDS=value)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("CHATHUB_USAGE_SECONDS", "-1", "must be 0 or a positive number of seconds"),
        ("CHATHUB_PORT", "x", "must be a whole number from 0 to 65535"),
        ("CHATHUB_PORT", "80.5", "must be a whole number from 0 to 65535"),
        ("CHATHUB_BACKUP_EVERY", "daily", "must be a number of hours from 0.001 to 10000"),
        ("CHATHUB_AUDIT_DAYS", "soon", "must be 0, or a whole number of days from 1 to 36500"),
        ("CHATHUB_LEDGER_DAYS", "61", "must be 0, or a whole number of days from 62 to 36500"),
        ("CHATHUB_LEDGER_DAYS", "62.5", "must be 0, or a whole number of days from 62 to 36500"),
        ("CHATHUB_SECRET_KEY", "short", "must be at least 32 bytes long"),
        ("CHATHUB_NEW_SECRET_KEY", "short", "must be at least 32 bytes long"),
        ("CHATHUB_UPSTREAM_ALLOW", "10.0.0.0/99", "'10.0.0.0/99' is neither a host nor a network"),
    ],
)
def test_wrong_value_is_refused_by_its_variable_and_what_it_must_be(
    variable: str, value: str, sentence: str
) -> None:
    with pytest.raises(StartError) as caught:
        read(**{variable: value})
    assert str(caught.value) == f"wrong configuration:\n  {variable}: {sentence}"


def test_no_usage_is_waited_for_with_0_seconds() -> None:
    assert read(CHATHUB_USAGE_SECONDS="0").usage_seconds == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "chat.example.com"])
def test_development_server_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(StartError, match="--env production"):
        read("--host", host)
    assert read("--host", host, "--env", "production").hosts == (host,)


@pytest.mark.parametrize("host", ["127.0.0.1:5001", "[::1]:5001", "http://localhost", "a b", "unix:"])
def test_what_is_no_host_is_refused_by_the_flag(host: str) -> None:
    with pytest.raises(StartError, match="--host: '"):
        read("--host", host)


@pytest.mark.parametrize("path", ["/a b", "/..", "/a/./b", "/%2e", "/a?b", "/a//b", "/" + 200 * "a"])
def test_base_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(StartError, match="CHATHUB_BASE_PATH: must be a path such as /chathub"):
        read(CHATHUB_BASE_PATH=path)


def test_hosts_of_flags_win_over_the_variable_and_each_counts_for_the_mode() -> None:
    hosts = read("--host", "::1", "--host", "unix:hub.sock", CHATHUB_HOST="0.0.0.0").hosts
    assert hosts == ("::1", "unix:hub.sock")
    with pytest.raises(StartError, match="host '0.0.0.0' is not a loopback address"):
        read("--host", "::1", "--host", "0.0.0.0")


def test_secret_is_read_from_a_file_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    config = read(CHATHUB_SECRET_KEY_FILE=str(path), CHATHUB_ADMIN_PASSWORD="very secret")
    assert config.secret_key == b"0123456789abcdef0123456789abcdef"
    assert "0123456789" not in repr(config) and "very secret" not in repr(config)
    with pytest.raises(StartError, match="CHATHUB_SECRET_KEY_FILE names .*missing, which cannot be read"):
        read(CHATHUB_SECRET_KEY_FILE=str(tmp_path / "missing"))


def test_allowed_hosts_and_networks_are_separated() -> None:
    config = read(CHATHUB_UPSTREAM_ALLOW="gpu.lan, 10.0.0.0/8,192.168.1.5")
    assert config.upstream_allow_hosts == {"gpu.lan"}
    assert config.upstream_allow_networks == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("192.168.1.5/32"),
    )


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", SmtpServer("mail.example.com", 587, False)),
        ("smtps://mail.example.com/", None),
        ("smtps://mail.example.com", SmtpServer("mail.example.com", 465, True)),
        ("smtp://127.0.0.1:25", SmtpServer("127.0.0.1", 25, False)),
        ("smtp://hub%40a.b:p%40ss%2F@m.b:2525", SmtpServer("m.b", 2525, False, "hub@a.b", "p@ss/")),
        ("http://mail.example.com", None),
        ("mail.example.com:25", None),
        ("smtp://", None),
        ("smtp://hub:canary@mail.example.com:99999", None),
        ("smtp://hub:can/ary@mail.example.com", None),
        ("smtp://hub:1#canary@mail.example.com", None),
        ("smtp://hub:1?canary@mail.example.com", None),
        ("smtp://hub:canary密@mail.example.com", None),
    ],
)
def test_mail_server_url_is_parsed_or_refused_without_its_password(
    url: str, server: SmtpServer | None
) -> None:
    environ = {"CHATHUB_SMTP_URL": url, "CHATHUB_MAIL_FROM": "hub@example.com"}
    if server is None:
        with pytest.raises(StartError, match="CHATHUB_SMTP_URL") as caught:
            read(**environ)
        assert "can" not in str(caught.value) and "ary" not in str(caught.value)
        return
    config = read(**environ)
    assert config.smtp == server
    assert not server.password or server.password not in repr(config)


def test_mail_server_requires_a_sender() -> None:
    with pytest.raises(StartError, match="CHATHUB_MAIL_FROM"):
        read(CHATHUB_SMTP_URL="smtp://mail.example.com")
