"""Bodies of ``/api/users``, and of an account that an administrator makes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from chathub.clock import iso
from chathub.database.rows import users as rows
from chathub.database.rows.limits import AppliedLimits
from chathub.schemas.decode import Request
from chathub.schemas.limits import LimitFields, ShownUserLimits, shown_user_limits
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


class NewUser(LimitFields, kw_only=True):
    """POST /api/auth/admin/register."""

    username: Username
    email: Email
    password: Password
    role: Role | None = None
    subscription_type: SubscriptionName | None = None
    is_active: bool | None = None


class UserChange(LimitFields):
    """PUT /api/users/{user_id}: null gives the subscription's limit back."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: NewPassword | None | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    subscription_type: SubscriptionName | None | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class UserRemoval(Request):
    """The query of DELETE /api/users/{user_id}: with ``purge`` the account is not disabled, but removed."""

    purge: bool = False


class ProfileChange(Request):
    """PUT /api/users/profile: a new password needs the current one, and so does a new mail address that is to
    be confirmed."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: NewPassword | None | UnsetType = UNSET
    current_password: Annotated[str, Meta(max_length=1000)] | None = None


class Confirmation(Request):
    """DELETE /api/users/profile and /api/conversations: what cannot be undone needs the password again."""

    password: Annotated[str, Meta(min_length=1, max_length=1000)]


class _UserStart(ShownUserLimits):
    """The fields of ``User`` before its limits."""

    id: int
    username: str
    email: str
    role: str
    subscription_type: str


class User(_UserStart, kw_only=True):
    """What a user and an administrator may see of an account, with the limits that apply to it; never the
    password's hash."""

    is_active: bool
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, row: rows.ListedUser, limits: AppliedLimits) -> "User":
        return cls(
            id=row.id,
            username=row.username,
            email=row.email,
            role=row.role,
            subscription_type=row.subscription_type,
            **structs.asdict(shown_user_limits(limits)),
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
    """GET /api/users/{user_id} and /api/users/profile. ``cached_weight``: what a token that was read from a
    provider's cache counts against ``usage_limit``."""

    success: Literal[True] = True
    user: User
    cached_weight: float


class UserSaved(Success, kw_only=True):
    """An account that was made or changed."""

    user: User


class ProfileSaved(UserSaved, kw_only=True):
    """What PUT /api/users/profile gives. ``verification_required``: a code was sent to the new mail address,
    which counts when it is entered. ``token`` is the session token of a new session after a password was
    set."""

    verification_required: bool
    token: str | UnsetType = UNSET


class PasswordReset(Success, kw_only=True):
    """What POST /api/users/{user_id}/reset-password gives: the password is shown this once."""

    new_password: str
