"""The table of contents: every method and path, in the order of the API document."""

from typing import NamedTuple

from chathub.handlers import (
    api_keys,
    audit,
    auth,
    chat,
    codes,
    conversations,
    description,
    exporting,
    files,
    health,
    invites,
    leaving,
    messages,
    metrics,
    models,
    probes,
    providers,
    sessions,
    stats,
    subscriptions,
    tokens,
    usage,
    users,
    v1,
    v1_media,
    v1_messages,
    v1_models,
    v1_responses,
    v1_stored_responses,
)
from chathub.handlers.http import Handler

# who may: anybody; the signed in; those signed in with a password; administrators; programs
PUBLIC, USER, SESSION, ADMIN, V1 = "public", "user", "session", "admin", "v1"
# administrators, and whoever has the token of the metrics
METRICS = "metrics"


class Route(NamedTuple):
    method: str
    path: str
    handler: Handler
    access: str = USER


ROUTES = (
    # 1 health
    Route("GET", "/api/health", health.check, PUBLIC),
    Route("HEAD", "/api/health", health.check, PUBLIC),
    Route("GET", "/api/health/ready", health.ready, PUBLIC),
    Route("HEAD", "/api/health/ready", health.ready, PUBLIC),
    Route("GET", "/metrics", metrics.show, METRICS),
    # 2 models
    Route("GET", "/api/models", models.list_all, PUBLIC),
    Route("POST", "/api/models", models.create, ADMIN),
    Route("PUT", "/api/models/{model_id}", models.update, ADMIN),
    Route("DELETE", "/api/models/{model_id}", models.delete, ADMIN),
    Route("POST", "/api/models/{model_id}/toggle", models.toggle, ADMIN),
    Route("POST", "/api/models/batch-update-order", models.reorder, ADMIN),
    # 3 providers
    Route("GET", "/api/providers", providers.list_all),
    Route("POST", "/api/providers", providers.create, ADMIN),
    Route("PUT", "/api/providers/{provider_id}", providers.update, ADMIN),
    Route("DELETE", "/api/providers/{provider_id}", providers.delete, ADMIN),
    Route("GET", "/api/providers/{provider_id}", providers.get),
    Route("GET", "/api/providers/{provider_id}/models", probes.list_models, ADMIN),
    Route("POST", "/api/providers/{provider_id}/models/import", probes.import_models, ADMIN),
    # 4 accounts
    Route("POST", "/api/auth/login", auth.login, PUBLIC),
    Route("GET", "/api/auth/registration", auth.show_registration, PUBLIC),
    Route("POST", "/api/auth/send-verification-code", auth.send_verification_code, PUBLIC),
    Route("POST", "/api/auth/register", auth.register, PUBLIC),
    Route("POST", "/api/auth/admin/register", auth.admin_register, ADMIN),
    Route("POST", "/api/auth/password-reset", codes.request_password_reset, PUBLIC),
    Route("POST", "/api/auth/password-reset/confirm", codes.reset_password, PUBLIC),
    Route("POST", "/api/auth/email/confirm", codes.confirm_email, SESSION),
    Route("GET", "/api/auth/verify", auth.verify),
    Route("POST", "/api/auth/logout", auth.logout, SESSION),
    Route("POST", "/api/auth/refresh", sessions.refresh, SESSION),
    Route("POST", "/api/auth/logout-all", sessions.end_all, SESSION),
    Route("GET", "/api/auth/sessions", sessions.list_own, SESSION),
    Route("DELETE", "/api/auth/sessions/{session_id}", sessions.end_one, SESSION),
    Route("POST", "/api/invites", invites.create, ADMIN),
    Route("GET", "/api/invites", invites.list_all, ADMIN),
    Route("DELETE", "/api/invites/{invite_id}", invites.delete, ADMIN),
    # 5 chat
    Route("POST", "/api/chat", chat.complete),
    Route("POST", "/api/chat/stream", chat.stream),
    Route("GET", "/api/chat/stream/{message_id}", chat.resume),
    Route("GET", "/api/chat/active", chat.list_active),
    Route("POST", "/api/chat/stop", chat.stop),
    Route("POST", "/api/chat/save-partial", chat.save_partial),
    Route("GET", "/api/files/{file_id}", files.get),
    # 6 conversations
    Route("GET", "/api/conversations", conversations.list_for_user),
    Route("DELETE", "/api/conversations", conversations.delete_all, SESSION),
    Route("GET", "/api/conversations/{conversation_id}/messages", conversations.list_messages),
    Route("PUT", "/api/conversations/{conversation_id}", conversations.update),
    Route("DELETE", "/api/conversations/{conversation_id}", conversations.delete),
    Route("POST", "/api/messages/{message_id}/regenerate", messages.regenerate),
    Route("PUT", "/api/messages/{message_id}", messages.edit),
    Route("DELETE", "/api/messages/{message_id}", messages.delete),
    # 7 provider keys
    Route("POST", "/api/apikeys", api_keys.save),
    Route("GET", "/api/apikeys", api_keys.list_own),
    Route("PUT", "/api/apikeys/{key_id}", api_keys.update),
    Route("DELETE", "/api/apikeys/{key_id}", api_keys.delete),
    Route("POST", "/api/apikeys/{key_id}/toggle", api_keys.toggle),
    Route("POST", "/api/apikeys/{key_id}/test", probes.test_key),
    # 8 statistics
    Route("GET", "/api/stats", stats.show),
    Route("GET", "/api/usage", usage.show),
    Route("GET", "/api/subscriptions", subscriptions.list_all, ADMIN),
    Route("PUT", "/api/subscriptions/{name}", subscriptions.update, ADMIN),
    # 9 users
    Route("GET", "/api/users", users.search, ADMIN),
    Route("GET", "/api/users/profile", users.show_profile),
    Route("PUT", "/api/users/profile", users.update_profile, SESSION),
    Route("DELETE", "/api/users/profile", leaving.leave, SESSION),
    Route("GET", "/api/users/profile/export", exporting.export, SESSION),
    Route("GET", "/api/users/{user_id}", users.get, ADMIN),
    Route("PUT", "/api/users/{user_id}", users.update, ADMIN),
    Route("DELETE", "/api/users/{user_id}", users.disable, ADMIN),
    Route("POST", "/api/users/{user_id}/reset-password", users.reset_password, ADMIN),
    # 10 access tokens
    Route("POST", "/api/tokens", tokens.create, SESSION),
    Route("GET", "/api/tokens", tokens.list_own, SESSION),
    Route("DELETE", "/api/tokens/{token_id}", tokens.delete, SESSION),
    # 11 for existing clients, in OpenAI's and Anthropic's shape
    Route("POST", "/v1/chat/completions", v1.chat_completions, V1),
    Route("POST", "/v1/messages", v1_messages.create, V1),
    Route("POST", "/v1/messages/count_tokens", v1_messages.count_tokens, V1),
    Route("POST", "/v1/responses", v1_responses.create, V1),
    Route("POST", "/v1/responses/input_tokens", v1_responses.count_input_tokens, V1),
    Route("GET", "/v1/responses/{response_id}", v1_stored_responses.get, V1),
    Route("DELETE", "/v1/responses/{response_id}", v1_stored_responses.delete, V1),
    Route("POST", "/v1/responses/{response_id}/cancel", v1_stored_responses.cancel, V1),
    Route("GET", "/v1/responses/{response_id}/input_items", v1_stored_responses.list_input_items, V1),
    Route("POST", "/v1/embeddings", v1_media.embed, V1),
    Route("POST", "/v1/completions", v1_media.complete, V1),
    Route("POST", "/v1/images/generations", v1_media.generate_images, V1),
    Route("POST", "/v1/rerank", v1_media.rerank, V1),
    Route("POST", "/v1/moderations", v1_media.moderate, V1),
    Route("POST", "/v1/images/edits", v1_media.edit_images, V1),
    Route("POST", "/v1/audio/speech", v1_media.speak, V1),
    Route("POST", "/v1/audio/transcriptions", v1_media.transcribe, V1),
    Route("POST", "/v1/audio/translations", v1_media.translate, V1),
    Route("GET", "/v1/models", v1_models.list_models, V1),
    Route("GET", "/v1/models/{model:.+}", v1_models.get_model, V1),
    # 12 the audit
    Route("GET", "/api/audit", audit.search, ADMIN),
    # 13 the description of the API
    Route("GET", "/openapi.json", description.show, PUBLIC),
    Route("HEAD", "/openapi.json", description.show, PUBLIC),
    Route("GET", "/docs", description.show_page, PUBLIC),
    Route("HEAD", "/docs", description.show_page, PUBLIC),
)
