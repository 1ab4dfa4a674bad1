"""Section 9: users."""

from typing import Any

from chathub.handlers import exporting, leaving, users
from chathub.openapi.operation import Content, Operation, Operations, json
from chathub.openapi.operations.accounts import FIELDS
from chathub.schemas import users as schemas
from chathub.schemas.success import Success

_REMOVED: Any = schemas.UserSaved | Success

OPERATIONS: Operations = {
    users.search: Operation(
        id="listUsers",
        summary="List or search the users",
        description="`search` is a part of the name or of the mail address.",
        query=[schemas.UserFilter],
        answers=[json(schemas.UserPage)],
    ),
    users.show_profile: Operation(
        id="getProfile",
        summary="The caller's own account",
        answers=[json(schemas.UserDetails)],
    ),
    users.update_profile: Operation(
        id="updateProfile",
        summary="Change the caller's own account",
        description="A new password needs `current_password`; it ends all sessions, and `token` is that of "
        "a new one. Where the server sends mail, a new mail address needs `current_password` as well: a code "
        "is sent to it, and it counts when `POST /api/auth/email/confirm` is given that code.",
        body=schemas.ProfileChange,
        answers=[json(schemas.ProfileSaved)],
        errors={
            400: f"{FIELDS} current_password_required current_password_wrong",
            429: "too_many_attempts too_many_requests",
            502: "mail_not_sent",
        },
    ),
    leaving.leave: Operation(
        id="deleteProfile",
        summary="Delete the caller's own account for good",
        description="Running replies and sessions end at once, and the name and the address are free again; "
        "conversations, files, API keys and tokens are removed. The ledger and the audit keep "
        "`deleted-<id>`.",
        body=schemas.Confirmation,
        answers=[json(Success)],
        errors={400: "current_password_wrong last_admin", 429: "too_many_attempts too_many_requests"},
    ),
    exporting.export: Operation(
        id="exportProfile",
        summary="All data of the caller, as a ZIP file",
        description="Conversations, files, usage and everything else that belongs to the account; API keys "
        "are masked.",
        answers=[Content("application/zip", None, "The file")],
    ),
    users.get: Operation(
        id="getUser",
        summary="Get a user",
        answers=[json(schemas.UserDetails)],
        errors={404: "user_not_found"},
    ),
    users.update: Operation(
        id="updateUser",
        summary="Change a user",
        description="A new password, another role and disabling end all tokens of the user; disabling "
        "stops the user's replies, too. A limit of null, or of the subscription's value, follows the "
        "subscription.",
        body=schemas.UserChange,
        answers=[json(schemas.UserSaved)],
        errors={
            400: f"{FIELDS} own_rights_removal own_account_disabling last_admin",
            404: "user_not_found",
            429: "too_many_attempts too_many_requests",
        },
    ),
    users.disable: Operation(
        id="disableUser",
        summary="Disable a user",
        description="What the user has stored stays; `is_active` enables the account again. With `purge` the "
        "account is removed for good, as by `DELETE /api/users/profile`.",
        query=[schemas.UserRemoval],
        answers=[json(_REMOVED)],
        errors={
            400: "own_account_disabling own_account_removal own_rights_removal last_admin",
            404: "user_not_found",
        },
    ),
    users.reset_password: Operation(
        id="resetPassword",
        summary="Give a user a random password",
        description="It is shown this once, and ends all tokens of the user.",
        answers=[json(schemas.PasswordReset)],
        errors={404: "user_not_found", 429: "too_many_attempts too_many_requests"},
    ),
}
