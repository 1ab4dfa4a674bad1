"""Rows of ``sql/queries/token_weights.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class ModelWeights(Row, frozen=True):
    """The weights of a model's tokens; ``state`` is JSON."""

    provider: str
    model: str
    state: str


class TokenWeights(Statements):
    list_newest_first: Select[ModelWeights]
    put: Command
    delete_oldest: Command
