"""The words of the document that belong to no single operation, in Markdown."""

from chathub.schemas.json import JsonObject

SUMMARY = "A self-hosted AI hub: chats, conversations, models and budgets, and a gateway for programs."

INTRODUCTION = """\
ChatHub's own API is under `/api`: JSON in UTF-8. Under `/v1` are the endpoints of OpenAI and Anthropic \
for existing programs; their official SDKs work with `…/v1` (OpenAI) or the server's address (Anthropic) \
as the base URL and an access token as the API key.

**Who may.** `Authorization: Bearer <token>`, with the session token of a login or with an access token; \
at `/v1` an access token may also come in `x-api-key`. No cookies. What is public ignores the token. An \
access token opens `/v1`, and with `opens_api` what is for the signed in; it never administrates. Without \
a valid token the status is 401, without the right 403. What belongs to another user does not exist: 404.

**Requests.** A body has `Content-Type: application/json` and is not compressed. An empty body is `{}`. \
Unknown fields and query parameters are ignored; an empty query parameter counts as absent. null stands \
for the default where there is one. Changes (PUT) concern only the fields that are given. Booleans in a \
query are `true`, `false`, `1` and `0`. A text must not have a NUL character. Bodies may have 1 MiB; \
chats, changed questions and partial replies 24 MiB, `/v1` 32 MiB, forms with files \
`CHATHUB_UPLOAD_BYTES`; where nobody is signed in 64 KiB. They must arrive within 30 seconds.

**Responses.** Success is always 200. Lists are plain arrays where the type says so. Times are ISO 8601 in \
UTC to the second, days and months those of `CHATHUB_TIMEZONE`. Prices are money per 1,000 tokens; the \
currency is the administrator's. New fields may be added to a response: ignore what you do not know. Every \
response has `X-Request-ID`: the request's own if it is well-formed. Nothing is compressed. A large \
response to a client that does not read is broken off.

**Errors** under `/api` have one shape, [Error](#error): tell them apart by the status and `code`, which \
never changes ([all codes](errors.md)); the sentence is for people and may change. It is Chinese, or \
English with `CHATHUB_LANGUAGE=en`. Under `/v1` errors have the shape of the client's vendor, and \
ChatHub's code is in the header `X-ChatHub-Code`. `Retry-After` is there with a 429 or 503 that ends by \
itself. `x-codes` of a response here are the operation's own; those that many operations have are in the \
shared responses ([Shared errors](#shared-errors)). A path that does not exist is 404, a method that a \
path does not have 405 (with `Allow`), a preflight from another web page 403 (`cors_refused`).

**Event streams** are Server-Sent Events: each event has one `data:` line of JSON. `x-item-schema` is the \
schema of that JSON. Do not buffer them in a proxy. A chat's stream is never cut without an `end` or \
`error` event by the server itself; a connection that breaks is resumed with `GET \
/api/chat/stream/{message_id}`.
"""

SECTIONS = {
    "Health": "Whether the server works.",
    "Models": "What can be requested. Prices and lengths are the administrator's; a reply is paid by the "
    "prices of the model that replied.",
    "Providers": "Where the models are: an address, and the format of its requests (OpenAI's, Anthropic's "
    "or Gemini's).",
    "Accounts": "Login, registration, sessions and invite codes. Session tokens are JWTs, valid for 7 days "
    "(`CHATHUB_TOKEN_SECONDS`); a session ends with a new password, another role or a disabled account, too.",
    "Chat": "A reply belongs to the server, not to a connection: the question and the coming reply are "
    "stored first, then the server writes the reply to its end. A client is a cursor on it, which may "
    "leave, come back, and not be alone. One reply at a time is generated in a conversation: a new message "
    "gets 409 while somebody receives the last one, else it takes its place.",
    "Conversations": "The messages of a conversation are a tree: generating again and editing replace "
    "nothing. What is shown, and sent to the model, is one branch of it, to `head_id`.",
    "API keys": "The caller's keys for providers, stored encrypted and never shown. Those of "
    "administrators may be shared with all users. A chat tries the own keys first, then the shared ones, "
    "each by `priority` and `weight`; a key that fails rests or is broken, and the next one is tried.",
    "Usage": "What was used and what it cost. The ledger has a line for every attempt at a provider; sums "
    "and budgets come from it.",
    "Users": "Accounts and their limits: the user's own, else those of the subscription.",
    "Access tokens": "For programs: `sk-hub-` and 40 letters and digits. They end with a new password, "
    "another role or a disabled account.",
    "For programs": "The formats of OpenAI and Anthropic, for any model of ChatHub's: client and provider "
    "of the same format exchange their bodies nearly unchanged, otherwise ChatHub translates. Only usage "
    "is stored, but for stored responses. Budgets, limits and the choice of API keys are those of chats. "
    "Of the bodies this description has only what ChatHub itself reads and promises; all other fields are "
    "the vendors'. A stream that cannot be completed ends with an error event and without `[DONE]`.",
    "Audit": "What administrators did and what touches security, with who, when and from where.",
    "Description": "This description, made from the server's own routes and types.",
}

SECURITY_SCHEMES: JsonObject = {
    "sessionToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token of a login.",
    },
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "sk-hub-…",
        "description": "A token that a user has made for a program.",
    },
    "metricsToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "`CHATHUB_METRICS_TOKEN` of the server. It opens nothing else.",
    },
    "apiKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same in the header of Anthropic's clients, at `/v1` only.",
    },
}
