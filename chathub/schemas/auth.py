"""Bodies of ``/api/auth`` for login and registration."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from chathub.schemas.decode import Request
from chathub.schemas.success import Success
from chathub.schemas.users import Email, Password, User, Username

Code = Annotated[str, Meta(max_length=100)]


class Login(Request):
    """POST /api/auth/login."""

    username: Annotated[str, Meta(max_length=1000)]
    password: Annotated[str, Meta(max_length=1000)]


class VerificationCodeRequest(Request):
    """POST /api/auth/send-verification-code."""

    email: Email


class Registration(Request):
    """POST /api/auth/register."""

    username: Username
    email: Email
    password: Password
    verification_code: Code | None = None
    invite_code: Code | None = None


class PasswordResetRequest(Request):
    """POST /api/auth/password-reset."""

    email: Email


class PasswordResetConfirmation(Request):
    """POST /api/auth/password-reset/confirm: the code that was sent by mail, and the new password."""

    email: Email
    code: Code
    password: Password


class EmailConfirmation(Request):
    """POST /api/auth/email/confirm: the code that was sent to the new address."""

    email: Email
    code: Code


class LoggedIn(Success, kw_only=True):
    """``token`` is the session token."""

    token: str
    user: User


class RegistrationRules(Struct, kw_only=True):
    """GET /api/auth/registration: what a new user must enter. ``registration`` is open, invite or closed."""

    success: Literal[True] = True
    registration: str
    invite_required: bool
    verification_required: bool


class VerificationCodeSent(Success, kw_only=True):
    """``verification_required`` is false where the server sends no mail: then no code was sent."""

    verification_required: bool


class ValidToken(Struct, kw_only=True):
    """GET /api/auth/verify: the caller's token is valid."""

    valid: Literal[True] = True
    user: User
    success: Literal[True] = True
    message: str
