"""The configuration: everything that the server needs to know before it starts."""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

from chathub.config_values import Keep, Network, SmtpServer, TrustedProxies
from chathub.hosts import LOOPBACK
from chathub.listen_hosts import in_url, is_local, unix_path
from chathub.proxy_settings import ProxySettings
from chathub.sentences import Language

VUE_ORIGINS = (
    "http://localhost:3000",
    "http://127.0.0.1:3000",
    "http://localhost:5173",
    "http://127.0.0.1:5173",
)


@dataclass(frozen=True)
class Config:
    """Everything the server needs to know before it starts. Times are in seconds, sizes in bytes."""

    env: str = "development"
    # names, addresses, and Unix sockets as unix:/path
    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 5001
    # the form of the log: `text` or `json`
    log: str = "text"
    database: Path = Path("database/chathub.db")
    # the folder of a built front end
    frontend: Path | None = None
    secret_key: bytes | None = field(default=None, repr=False)
    # the secret that `rotate-secret` puts in its place
    new_secret_key: bytes | None = field(default=None, repr=False)
    admin_password: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = VUE_ORIGINS
    allowed_hosts: tuple[str, ...] = ()
    local_model: str | None = None
    upstream_allow_hosts: frozenset[str] = frozenset()
    upstream_allow_networks: tuple[Network, ...] = ()
    # the default way to the providers
    proxies: ProxySettings = ProxySettings()
    trusted_proxies: TrustedProxies = TrustedProxies()
    # in front of every path, as clients see it: empty, or such as /chathub
    base_path: str = ""
    timezone: tzinfo = UTC
    # of the sentences at /api, and of mails
    language: Language = "zh"
    token_seconds: float = 7 * 86400
    session_seconds: float = 30 * 86400
    bcrypt_rounds: int = 10
    # None: the default of the mode (`registration_mode`)
    registration: str | None = None
    smtp: SmtpServer | None = None
    mail_from: str = ""
    on_disconnect: str = "continue"
    unfollowed_seconds: float = 300
    reply_seconds: float = 1800
    idle_seconds: float = 120
    answer_seconds: float = 600
    first_byte_seconds: float = 60
    drain_seconds: float = 8
    heartbeat_seconds: float = 10
    save_seconds: float = 1
    auto_title: bool = False
    # refuse names of models that are in no table
    listed_models_only: bool = False
    # the part of a token that one read from a provider's cache counts against budgets of tokens
    cached_weight: float = 0.1
    write_seconds: float = 60
    body_seconds: float = 30
    reply_characters: int = 2_000_000
    usage_seconds: float = 5
    streams_per_user: int = 256
    # with less free disk, turns with images or tools are refused; with less than a quarter of it, all turns;
    # 0: never
    free_bytes: int = 256 * 1024 * 1024
    body_bytes: int = 64 * 1024 * 1024
    # the largest form with files
    upload_bytes: int = 100 * 1024 * 1024
    # what scrapers of the metrics send
    metrics_token: bytes | None = field(default=None, repr=False)
    # the folder of the scheduled backups, and the hours between two of them
    backup_dir: Path | None = None
    backup_every: float = 24
    backup_keep: Keep = Keep()
    backup_compress: bool = False
    # the days that a response is kept whose client asks for it; 0: none is kept
    responses_days: int = 30
    # the days that conversations are kept after their last change, and rows of audit and ledger until
    # they go to a file; 0: for ever
    conversation_days: int = 0
    audit_days: int = 0
    ledger_days: int = 0
    # the folder of these files (`exports_folder`)
    export_dir: Path | None = None

    @property
    def development(self) -> bool:
        return self.env == "development"

    @property
    def answers_to(self) -> tuple[str, ...]:
        """The names that ``Host`` of a request may have; empty: any. In development mode, whose passwords are
        well known, they are this machine's own."""
        if not self.development:
            return self.allowed_hosts
        own = (in_url(host) for host in self.hosts if unix_path(host) is None)
        return (*LOOPBACK, *own, *self.allowed_hosts)

    @property
    def exposed_hosts(self) -> tuple[str, ...]:
        """The hosts at which other machines reach the well-known passwords of development mode."""
        return tuple(host for host in self.hosts if self.development and not is_local(host))

    @property
    def exports_folder(self) -> Path:
        """The folder of old rows of the audit and the ledger."""
        return self.export_dir or self.database.parent / "exports"

    @property
    def private_places(self) -> tuple[Path, ...]:
        """Files and folders that only the operator may read."""
        backups = [self.backup_dir] if self.backup_dir else []
        return (self.database, self.exports_folder, *backups)

    @property
    def registration_mode(self) -> str:
        """``open``, ``invite`` or ``closed``. In production registration needs an invite unless configured
        otherwise: a new account may use the API keys that administrators share."""
        return self.registration or ("open" if self.development else "invite")


def not_local(host: str) -> str:
    """The sentence that refuses to listen at a host in development mode."""
    return (
        f"host {host!r} is not a loopback address, and development mode has well-known passwords: start with "
        "--env production to serve other machines"
    )
