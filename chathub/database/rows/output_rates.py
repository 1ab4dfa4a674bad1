"""Rows of ``sql/queries/output_rates.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class OutputRate(Row, frozen=True):
    """What is known of a model's output; ``rates`` is JSON (see ``billing/output_rates.py``)."""

    provider: str
    model: str
    rates: str
    plain: int


class OutputRates(Statements):
    list_newest: Select[OutputRate]
    put: Command
    delete_oldest: Command
