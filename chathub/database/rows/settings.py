"""Rows of ``sql/queries/settings.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Setting(Row, frozen=True):
    value: str


class Settings(Statements):
    get: Select[Setting]
    put: Command
    delete: Command
