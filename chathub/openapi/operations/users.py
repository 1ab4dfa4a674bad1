"""Section 9: users."""

from typing import Any

from chathub.handlers import exporting, leaving, users
from chathub.openapi.operation import Content, Header, Operation, Operations, json
from chathub.openapi.operations.accounts import FIELDS
from chathub.schemas import users as schemas
from chathub.schemas.success import Success

_DISABLED: Any = schemas.UserSaved | Success
# of what needs the password again
PASSWORD = {400: "current_password_wrong", 429: "too_many_attempts too_many_requests"}

OPERATIONS: Operations = {
    users.search: Operation(
        id="listUsers",
        summary="List or search the users",
        description="`search` is a part of the name or of the mail address.",
        query=[schemas.UserFilter],
        responses=[json(schemas.UserPage)],
    ),
    users.show_profile: Operation(
        id="getProfile",
        summary="The caller's own account",
        responses=[json(schemas.UserDetails)],
    ),
    users.update_profile: Operation(
        id="updateProfile",
        summary="Change the caller's own account",
        description="A new password needs `current_password`; it ends all sessions, and `token` is that of "
        "a new one. Where the server sends mail, a new address needs it too, and counts only with the code "
        "that is mailed to it (`verification_required`, `POST /api/auth/email/confirm`).",
        body=schemas.ProfileChange,
        responses=[json(schemas.ProfileSaved)],
        errors={
            400: f"{FIELDS} current_password_required current_password_wrong",
            429: "too_many_attempts too_many_requests",
            502: "mail_not_sent",
        },
    ),
    leaving.leave: Operation(
        id="leave",
        summary="Remove the caller's own account for good",
        description="With the password again. All tokens end and all replies stop at once; conversations, "
        "files and stored responses are removed in the background. What was used and what it cost stays, "
        "under the name `deleted-` and the id.",
        body=schemas.Confirmation,
        responses=[json(Success)],
        errors={**PASSWORD, 400: f"last_admin {PASSWORD[400]}"},
    ),
    exporting.export: Operation(
        id="exportData",
        summary="All of the caller's data as a ZIP file",
        description="Profile, conversations with all branches, files, stored responses, usage and lists, "
        "without any secret; `README.txt` in it says what is where. One at a time for each user.",
        responses=[Content("application/zip", None, "The file")],
        headers=[Header("Content-Disposition", "The name of the file")],
    ),
    users.get: Operation(
        id="getUser",
        summary="Get a user",
        responses=[json(schemas.UserDetails)],
        errors={404: "user_not_found"},
    ),
    users.update: Operation(
        id="updateUser",
        summary="Change a user",
        description="A new password, another role and disabling end all tokens of the user; disabling "
        "stops the user's replies, too. A limit of null, or of the subscription's value, follows the "
        "subscription.",
        body=schemas.UserChange,
        responses=[json(schemas.UserSaved)],
        errors={
            400: f"{FIELDS} own_rights_removal own_account_disabling last_admin",
            404: "user_not_found",
            429: "too_many_attempts too_many_requests",
        },
    ),
    users.disable: Operation(
        id="disableUser",
        summary="Disable a user, or remove the account for good",
        description="What a disabled user has stored stays; `is_active` enables the account again. With "
        "`purge` everything is removed as if the user left (`DELETE /api/users/profile`).",
        query=[schemas.UserRemoval],
        responses=[json(_DISABLED, "Without `user` where the account is removed")],
        errors={
            400: "own_account_disabling own_rights_removal own_account_removal last_admin",
            404: "user_not_found",
        },
    ),
    users.reset_password: Operation(
        id="resetPassword",
        summary="Give a user a random password",
        description="It is shown this once, and ends all tokens of the user.",
        responses=[json(schemas.PasswordReset)],
        errors={404: "user_not_found", 429: "too_many_attempts too_many_requests"},
    ),
}
