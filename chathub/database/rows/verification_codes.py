"""Rows of ``sql/queries/verification_codes.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class VerificationCode(Row, frozen=True):
    digest: str


class VerificationCodes(Statements):
    put: Command
    list_valid: Select[VerificationCode]
    count_wrong_try: Command
    use: Command
    delete: Command
    delete_of_purpose: Command
    delete_expired: Command
