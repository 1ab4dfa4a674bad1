"""Rows of ``sql/queries/personal_tokens.sql``: access tokens."""

from chathub.database.statements import Command, Row, Select, Statements


class VerifiedToken(Row, frozen=True):
    """An access token that may be used now, with its user; the two lists are JSON."""

    id: int
    user_id: int
    username: str
    role: str
    opens_api: bool
    allowed_models: str
    allowed_networks: str
    expires_at: int | None


class AccessToken(Row, frozen=True):
    """An access token as its owner sees it, with what it used in a month: ``used`` in tokens, ``cost`` in
    millionths. The two lists are JSON."""

    id: int
    name: str
    hint: str
    opens_api: bool
    allowed_models: str
    allowed_networks: str
    expires_at: int | None
    last_used_at: int | None
    created_at: int
    used: int
    cost: int


class TokenHint(Row, frozen=True):
    hint: str


class PersonalTokens(Statements):
    get_by_digest: Select[VerifiedToken]
    list_own: Select[AccessToken]
    insert: Select[AccessToken]
    delete: Command
    update_last_used: Command
    find_newest_hint: Select[TokenHint]
