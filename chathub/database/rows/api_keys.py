"""Rows of ``sql/queries/api_keys.sql``. Moments are Unix milliseconds."""

from chathub.database.statements import Command, Row, Select, Statements


class ApiKey(Row, frozen=True):
    """An API key as its owner sees it: ``secret`` is in other rows only.

    ``base_url`` is empty where the provider's counts. ``origin`` is where the API key may be sent.
    ``health`` is ``ok``, ``cooling`` (until ``cooldown_until``) or ``broken``. ``vouched_by`` is the
    administrator who entered ``base_url``.
    """

    id: int
    user_id: int
    provider_id: int
    provider_slug: str
    provider_name: str
    default_base_url: str
    provider_is_active: bool
    label: str
    mask: str
    base_url: str
    origin: str
    vouched_by: int | None
    is_shared: bool
    priority: int
    weight: int
    health: str
    cooldown_until: int
    last_error: str
    last_error_json: str
    success_count: int
    failure_count: int
    last_used_at: int
    is_active: bool
    created_at: int
    updated_at: int


class SealedApiKey(Row, frozen=True):
    """``secret`` is the encrypted API key, and is bound to the other four."""

    id: int
    user_id: int
    provider_id: int
    origin: str
    secret: bytes


class UsableApiKey(SealedApiKey, frozen=True):
    """An API key with its address. ``is_vouched``: an active administrator entered ``base_url``."""

    base_url: str
    is_vouched: bool


class ReachableApiKey(SealedApiKey, frozen=True):
    """An API key that a user may use for some provider."""

    base_url: str
    health: str


class PooledApiKey(UsableApiKey, frozen=True):
    """An API key that a request may use, with its rest for the request's model (``model_until`` 0: none)."""

    priority: int
    weight: int
    health: str
    cooldown_until: int
    last_error: str
    last_error_json: str
    failure_class: str
    failures_in_row: int
    model_until: int
    model_failure_class: str


class NamedApiKey(SealedApiKey, frozen=True):
    """A sealed API key with what an operator finds it by."""

    provider_slug: str


class Health(Row, frozen=True):
    health: str
    cooldown_until: int
    failure_class: str
    failures_in_row: int


class ApiKeyId(Row, frozen=True):
    id: int


class ApiKeyOrigin(Row, frozen=True):
    origin: str


class SuccessCount(Row, frozen=True):
    success_count: int


class Description(Row, frozen=True):
    """An API key in the audit."""

    provider: str
    label: str
    mask: str
    owner_id: int


class KeyName(Row, frozen=True):
    """What tells an API key from others: its label, and the ends of the key that listings show."""

    id: int
    label: str
    mask: str


class KeysByHealth(Row, frozen=True):
    """How many API keys of a provider have the same health; ``until`` is 0 without a pause."""

    provider_slug: str
    is_active: bool
    health: str
    failure_class: str
    until: int
    count: int


class ApiKeys(Statements):
    list_own: Select[ApiKey]
    get_own: Select[ApiKey]
    find_same: Select[ApiKeyId]
    list_for_chat: Select[PooledApiKey]
    list_for_caller: Select[ReachableApiKey]
    get_for_test: Select[UsableApiKey]
    list_inheriting: Select[ApiKeyOrigin]
    list_sealed: Select[NamedApiKey]
    reseal: Command
    insert: Select[ApiKeyId]
    update: Command
    toggle: Command
    get_health: Select[Health]
    record_failure: Command
    record_success: Select[SuccessCount]
    reset_after_test: Command
    reset_after_replacement: Command
    describe: Select[Description]
    delete: Command
    list_names: Select[KeyName]
    count_by_health: Select[KeysByHealth]
