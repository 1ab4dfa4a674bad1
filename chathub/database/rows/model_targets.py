"""Rows of ``sql/queries/model_targets.sql``: the models that aliases stand for."""

from chathub.database.statements import Command, Row, Select, Statements


class ModelTarget(Row, frozen=True):
    """A target of an alias, by the ids of both."""

    alias_id: int
    target_id: int
    weight: int
    order: int


class NamedTarget(Row, frozen=True):
    model_name: str
    weight: int
    order: int


class ModelName(Row, frozen=True):
    name: str


class ModelTargets(Statements):
    list_all: Select[ModelTarget]
    list_of_alias: Select[NamedTarget]
    list_aliases_of: Select[ModelName]
    insert: Command
    delete_all: Command
