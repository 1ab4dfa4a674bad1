"""Section 10: access tokens."""

from chathub.handlers import tokens
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas import tokens as schemas
from chathub.schemas.success import Success

OPERATIONS: Operations = {
    tokens.create: Operation(
        id="createAccessToken",
        summary="Create an access token for programs",
        description="`token` is shown this once: only its digest is stored. At most 100 tokens for a user.",
        body=schemas.NewToken,
        responses=[json(schemas.TokenCreated)],
        errors={400: "networks_invalid too_many_access_tokens"},
    ),
    tokens.list_own: Operation(
        id="listAccessTokens",
        summary="List the caller's access tokens",
        responses=[json(list[schemas.AccessToken])],
    ),
    tokens.delete: Operation(
        id="deleteAccessToken",
        summary="Delete an access token; it ends at once",
        responses=[json(Success)],
        errors={404: "access_token_not_found"},
    ),
}
