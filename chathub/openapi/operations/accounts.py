"""Section 4: login, registration, sessions and invite codes."""

from chathub.handlers import auth, codes, invites, sessions
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas import auth as schemas
from chathub.schemas import invites as invite_schemas
from chathub.schemas import sessions as session_schemas
from chathub.schemas.success import Success
from chathub.schemas.users import NewUser, UserSaved

# of new names, addresses and passwords
FIELDS = (
    "username_length username_invisible username_reserved username_taken username_too_long email_invalid "
    "email_taken password_too_long password_has_nul"
)
_ATTEMPTS = "too_many_attempts too_many_requests"
_SESSION = "session_required"

OPERATIONS: Operations = {
    auth.login: Operation(
        id="login",
        summary="Log in",
        description="`token` is a session token. Wrong passwords are slowed down: then even the right one "
        "is refused with 429 until `Retry-After` is over.",
        body=schemas.Login,
        responses=[json(schemas.LoggedIn)],
        errors={401: "wrong_credentials", 403: "account_disabled", 429: _ATTEMPTS},
    ),
    auth.show_registration: Operation(
        id="getRegistrationRules",
        summary="What a new user must enter",
        responses=[json(schemas.RegistrationRules)],
    ),
    auth.send_verification_code: Operation(
        id="sendVerificationCode",
        summary="Mail a verification code for a registration",
        description="Six digits, valid for 10 minutes and for one registration. The response is the same "
        "whether the address has an account or not. Where the server sends no mail, "
        "`verification_required` is false.",
        body=schemas.VerificationCodeRequest,
        responses=[json(schemas.VerificationCodeSent)],
        errors={400: "email_invalid", 403: "registration_closed", 429: _ATTEMPTS, 502: "mail_not_sent"},
    ),
    auth.register: Operation(
        id="register",
        summary="Register an account",
        description="It has no token: log in afterwards. A registration that fails uses up neither its "
        "invite code nor a right verification code.",
        body=schemas.Registration,
        responses=[json(UserSaved)],
        errors={
            400: f"{FIELDS} verification_code_required verification_code_wrong invite_required "
            "invite_invalid",
            403: "registration_closed",
            429: _ATTEMPTS,
        },
    ),
    codes.request_password_reset: Operation(
        id="requestPasswordReset",
        summary="Mail a code that allows a new password",
        description="Eight characters, valid for 30 minutes and for five tries. The response is the same "
        "whether the address has an account or not.",
        body=schemas.PasswordResetRequest,
        responses=[json(Success)],
        errors={400: "email_invalid mail_not_configured", 429: _ATTEMPTS},
    ),
    codes.reset_password: Operation(
        id="confirmPasswordReset",
        summary="Set a new password with the code of a mail",
        description="It ends all tokens of the user.",
        body=schemas.PasswordResetConfirmation,
        responses=[json(Success)],
        errors={
            400: "email_invalid mail_not_configured password_too_long password_has_nul "
            "verification_code_wrong",
            429: _ATTEMPTS,
        },
    ),
    codes.confirm_email: Operation(
        id="confirmEmail",
        summary="Let a new mail address count, with the code that was sent to it",
        description="The old address gets a notice.",
        body=schemas.EmailConfirmation,
        responses=[json(UserSaved)],
        errors={
            400: "email_invalid mail_not_configured verification_code_wrong",
            409: "email_taken",
            429: _ATTEMPTS,
        },
    ),
    auth.admin_register: Operation(
        id="createUser",
        summary="Create an account",
        body=NewUser,
        responses=[json(UserSaved)],
        errors={400: FIELDS, 429: _ATTEMPTS},
    ),
    auth.verify: Operation(
        id="verifyToken",
        summary="Whose token this is",
        responses=[json(schemas.ValidToken)],
    ),
    auth.logout: Operation(
        id="logout",
        summary="End the session of the request",
        responses=[json(Success)],
    ),
    sessions.refresh: Operation(
        id="refreshSession",
        summary="Get a new session token in place of the old one",
        description="The old one ends at once. A session ends 30 days after its login "
        "(`CHATHUB_SESSION_SECONDS`).",
        responses=[json(session_schemas.TokenRenewed)],
        errors={403: _SESSION},
    ),
    sessions.end_all: Operation(
        id="endAllSessions",
        summary="End all sessions of the caller, this one too",
        responses=[json(session_schemas.SessionsEnded)],
        errors={403: _SESSION},
    ),
    sessions.list_own: Operation(
        id="listSessions",
        summary="List the caller's sessions, the last used first",
        responses=[json(list[session_schemas.Session])],
        errors={403: _SESSION},
    ),
    sessions.end_one: Operation(
        id="endSession",
        summary="End one of the caller's sessions",
        responses=[json(Success)],
        errors={403: _SESSION, 404: "session_not_found"},
    ),
    invites.create: Operation(
        id="createInvite",
        summary="Create an invite code",
        description="`code` is shown this once: only its digest is stored. At most 1000 codes.",
        body=invite_schemas.NewInvite,
        responses=[json(invite_schemas.InviteCreated)],
        errors={400: "too_many_invites"},
    ),
    invites.list_all: Operation(
        id="listInvites",
        summary="List the invite codes, the newest first",
        description="One that has expired is listed for 30 more days.",
        responses=[json(list[invite_schemas.Invite])],
    ),
    invites.delete: Operation(
        id="deleteInvite",
        summary="Delete an invite code",
        responses=[json(Success)],
        errors={404: "invite_not_found"},
    ),
}
