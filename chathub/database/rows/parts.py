"""Rows of ``sql/queries/parts.sql``."""

from typing import Literal

from chathub.database.statements import Command, Row, Select, Statements


class Part(Row, frozen=True):
    """A part of a running reply's saved text."""

    kind: Literal["content", "reasoning"]
    text: str


class Parts(Statements):
    insert: Command
    list_for_message: Select[Part]
    delete: Command
