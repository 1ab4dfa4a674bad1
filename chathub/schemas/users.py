"""Bodies of ``/api/users``, and of an account that an administrator makes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.clock import iso
from chathub.database.rows import users as rows
from chathub.schemas.decode import Request
from chathub.schemas.limits import CountLimit, MoneyLimit, TokenLimit, shown_limit
from chathub.schemas.subscriptions import SubscriptionName
from chathub.schemas.success import Success

Username = Annotated[str, Meta(min_length=2, max_length=50)]
Email = Annotated[str, Meta(max_length=254)]
Password = Annotated[str, Meta(min_length=6, max_length=200)]
# empty or null keeps the old password; the rules are checked where a password is set
NewPassword = Annotated[str, Meta(max_length=200)]
Role = Literal["user", "admin"]


class UserFilter(Request):
    """The query of GET /api/users."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Meta(ge=1, le=1000)] = 10
    search: Annotated[str, Meta(max_length=200)] | None = None
    role: Role | None = None


class NewUser(Request):
    """POST /api/auth/admin/register; ``usage_limit`` is tokens, ``cost_limit`` money in a calendar month."""

    username: Username
    email: Email
    password: Password
    role: Role | None = None
    subscription_type: SubscriptionName | None = None
    usage_limit: TokenLimit | None = None
    cost_limit: MoneyLimit | None = None
    requests_per_minute: CountLimit | None = None
    replies_at_once: CountLimit | None = None
    is_active: bool | None = None


class AccountChange(Request):
    """What both a user and an administrator may change of an account."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: NewPassword | None | UnsetType = UNSET


class UserChange(AccountChange):
    """PUT /api/users/{user_id}: null gives the subscription's limit back."""

    role: Role | UnsetType = UNSET
    subscription_type: SubscriptionName | None | UnsetType = UNSET
    usage_limit: TokenLimit | None | UnsetType = UNSET
    cost_limit: MoneyLimit | None | UnsetType = UNSET
    requests_per_minute: CountLimit | None | UnsetType = UNSET
    replies_at_once: CountLimit | None | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class ProfileChange(AccountChange):
    """PUT /api/users/profile: a new password needs the current one."""

    current_password: Annotated[str, Meta(max_length=1000)] | None = None


class User(Struct):
    """What a user and an administrator may see of an account, with the limits that apply to it; never the
    password's hash."""

    id: int
    username: str
    email: str
    role: str
    subscription_type: str
    usage_limit: int
    cost_limit: float | None
    requests_per_minute: int | None
    replies_at_once: int | None
    is_active: bool
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, row: rows.ListedUser) -> "User":
        return cls(
            id=row.id,
            username=row.username,
            email=row.email,
            role=row.role,
            subscription_type=row.subscription_type,
            usage_limit=row.usage_limit,
            cost_limit=shown_limit(row.most_cost),
            requests_per_minute=row.requests_per_minute,
            replies_at_once=row.replies_at_once,
            is_active=row.is_active,
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
        )


class UserPage(Struct):
    """GET /api/users; ``total`` is the number of users found, ``pages`` that of the pages."""

    users: list[User]
    total: int
    pages: int
    current_page: int
    per_page: int


class UserDetails(Struct, kw_only=True):
    """GET /api/users/{user_id} and /api/users/profile."""

    success: Literal[True] = True
    user: User


class UserSaved(Success, kw_only=True):
    """An account that was made or changed."""

    user: User


class PasswordChanged(UserSaved, kw_only=True):
    """What PUT /api/users/profile gives when it set a password: the session token of a new session."""

    token: str


class PasswordReset(Success, kw_only=True):
    """What POST /api/users/{user_id}/reset-password gives: the password is shown this once."""

    new_password: str
