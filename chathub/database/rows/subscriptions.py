"""Rows of ``sql/queries/subscriptions.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Subscription(Row, frozen=True):
    """``usage_limit`` is in tokens, ``cost_limit`` in millionths of money, both for a calendar month."""

    name: str
    usage_limit: int
    cost_limit: int | None
    requests_per_minute: int | None
    replies_at_once: int | None


class Subscriptions(Statements):
    list_all: Select[Subscription]
    get: Select[Subscription]
    update: Command
