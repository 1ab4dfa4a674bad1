"""Rows of ``sql/queries/model_rests.sql``. Moments are Unix milliseconds."""

from chathub.database.statements import Command, Row, Select, Statements


class OwnModelRest(Row, frozen=True):
    """A model that an API key rests for, as the key's owner sees it."""

    key_id: int
    model: str
    until: int
    code: str
    http_status: int


class CallersRest(Row, frozen=True):
    """A rest for a model of an API key that a user may use."""

    key_id: int
    model: str
    until: int


class ModelRest(Row, frozen=True):
    until: int
    failure_class: str
    failures_in_row: int


class ModelRests(Statements):
    list_own: Select[OwnModelRest]
    list_for_caller: Select[CallersRest]
    get: Select[ModelRest]
    put: Command
    delete_oldest: Command
    delete: Command
    delete_of_key: Command
