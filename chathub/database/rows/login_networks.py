"""Rows of ``sql/queries/login_networks.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class KnownNetwork(Row, frozen=True):
    user_id: int


class LoginNetworks(Statements):
    find_known: Select[KnownNetwork]
    put: Command
    delete_oldest: Command
