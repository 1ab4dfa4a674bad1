"""Rows of ``sql/queries/leaving_users.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class LeavingUser(Row, frozen=True):
    """A user whose data is being removed; entries of the audit and the ledger up to these ids have no name of
    the user any more."""

    user_id: int
    audit_id: int
    ledger_id: int


class AuditedNames(Row, frozen=True):
    """The details of an entry (JSON)."""

    details: str


class KeyId(Row, frozen=True):
    id: int


class LastId(Row, frozen=True):
    id: int | None


class LeavingUsers(Statements):
    insert: Command
    set_idle: Command
    set_all_idle: Command
    find_idle: Select[LeavingUser]
    delete: Command
    list_audited_names: Select[AuditedNames]
    hide_conversations: Command
    delete_files: Command
    delete_responses: Command
    delete_deletions: Command
    delete_idempotency_keys: Command
    list_api_keys: Select[KeyId]
    delete_api_keys: Command
    delete_tokens: Command
    delete_invites: Command
    delete_networks: Command
    delete_request_counts: Command
    clear_audit: Command
    find_ledger_end: Select[LastId]
    clear_ledger: Command
    set_progress: Command
