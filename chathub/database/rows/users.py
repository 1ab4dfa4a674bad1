"""Rows of ``sql/queries/users.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class ListedUser(Row, frozen=True):
    """A user without secrets."""

    id: int
    username: str
    email: str
    role: str
    subscription_type: str
    is_active: bool
    created_at: int
    updated_at: int


class User(ListedUser, frozen=True):
    """A user with what a login is checked against."""

    password_hash: str
    password_is_default: bool
    token_version: int


class DemoUser(Row, frozen=True):
    id: int
    username: str
    role: str


class UserId(Row, frozen=True):
    id: int


class Username(Row, frozen=True):
    username: str


class Email(Row, frozen=True):
    email: str


class UserCount(Row, frozen=True):
    count: int


class Users(Statements):
    get_by_id: Select[User]
    get_for_login: Select[User]
    get_by_email: Select[User]
    get_demo: Select[DemoUser]
    find_any: Select[UserId]
    list_with_default_password: Select[Username]
    count_other_admins: Select[UserCount]
    list_admin_emails: Select[Email]
    insert: Select[UserId]
    update: Command
    leave: Command
    list_disabled: Select[UserId]
    search: Select[ListedUser]
    count_search: Select[UserCount]
