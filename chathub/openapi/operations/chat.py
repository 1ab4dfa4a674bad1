"""Section 5: chats."""

from typing import Any

from chathub.handlers import chat, files
from chathub.openapi.operation import Content, Header, Operation, Operations, events, json
from chathub.schemas import chats, replies
from chathub.schemas.attachments import AttachmentEvent

CHAT_EVENT: Any = (
    replies.StartEvent
    | replies.ReasoningEvent
    | replies.ContentEvent
    | AttachmentEvent
    | replies.ToolCallEvent
    | replies.EndEvent
    | replies.ErrorEvent
)
KEY = Header(
    "Idempotency-Key",
    "1 to 255 visible characters, the same as `client_message_id`: a repeated request gets the reply of the "
    "first one, for a day.",
)
_LAST = Header("Last-Event-ID", "The `id:` of the last event that the client has, as `last_event_id`.")
# what is wrong with the words and images of a question
TEXTS = (
    "message_empty image_address_invalid image_not_accepted image_too_large image_type_mismatch "
    "image_undecodable images_too_large too_many_images"
)
# refused by a status, also where the reply is a stream; nothing is stored
REFUSED = {
    400: "idempotency_key_invalid tool_results_unmatched tool_results_incomplete tool_message",
    409: "reply_in_progress idempotency_key_reused prompt_not_stored",
    410: "conversation_deleted",
    429: "too_many_replies too_many_replies_of_token too_many_requests_per_minute "
    "too_many_requests_per_minute_of_token too_many_streams",
    503: "not_stored",
    507: "disk_low storage_full",
}
_NEW = {
    **REFUSED,
    400: f"conversation_id_invalid message_with_tool_results {TEXTS} {REFUSED[400]}",
    404: "conversation_not_found",
}
# why no reply could be generated: a status of POST /api/chat, an event of a stream
_UNRESOLVED = (
    "unknown_model model_disabled model_not_for_chat provider_disabled api_key_missing api_key_moved "
    "api_key_unreadable api_key_refused shared_api_key_refused model_has_no_key model_without_images "
    "model_without_tools field_unsupported local_model_disabled proxy_url_unreadable alias_without_targets "
    "base_url_private"
)
_FAILURES = (
    "model_retired model_unavailable upstream_account_limited upstream_blank upstream_blocked upstream_cut "
    "upstream_denied upstream_empty upstream_failed upstream_invalid_key upstream_model_quota "
    "upstream_no_credit upstream_overloaded upstream_rate_limited upstream_refused upstream_unreachable"
)

OPERATIONS: Operations = {
    chat.complete: Operation(
        id="chat",
        summary="Chat, and get the whole reply",
        description="A reply belongs to the server: it is written to its end and stored, also if the "
        "client leaves. The server adds the history; the client sends its last message only.",
        body=chats.Chat,
        responses=[json(replies.ChatReply)],
        sent_headers=[KEY],
        errors={
            **_NEW,
            400: f"{_NEW[400]} {_UNRESOLVED} content_filter",
            403: "model_not_allowed model_has_no_price",
            409: f"{_NEW[409]} reply_stopped client_left reply_unfollowed",
            429: f"{_NEW[429]} api_keys_cooling api_keys_pausing api_keys_without_credit budget_used_up "
            "budget_insufficient upstream_account_limited upstream_model_quota upstream_no_credit "
            "upstream_rate_limited",
            500: "reply_not_saved",
            502: f"{_FAILURES} reply_too_long local_model_disabled",
            503: f"{_NEW[503]} reply_interrupted reply_partly_saved shutdown_interrupted_reply "
            "too_many_images_sent",
            504: "upstream_account_limited upstream_failed upstream_rate_limited upstream_timeout "
            "upstream_no_response reply_took_too_long",
        },
    ),
    chat.stream: Operation(
        id="streamChat",
        summary="Chat, and get the reply as a stream of events",
        description="Each event is one `data:` line of JSON and an empty line; `start` comes first, and "
        "exactly one of `end` and `error` last. Between them come any number of `reasoning`, `content` and "
        "`attachment` events, then the `tool_call` events. With `resumable` each event has an `id:` line "
        "before it. A line without anything is a heartbeat. Failures after the question is stored are "
        "`error` events, whose `status` is the status that `POST /api/chat` has.",
        body=chats.Chat,
        responses=[events(CHAT_EVENT)],
        sent_headers=[KEY],
        errors=_NEW,
    ),
    chat.resume: Operation(
        id="resumeReply",
        summary="Follow a reply from a place in it",
        description="A reply that is being generated is followed to its end; of one that has ended the "
        "same events come from the database. Any number of clients may follow. Each event has an `id:` "
        "line: the characters of text and of reasoning so far, as `5-7`.",
        query=[chats.Resume],
        responses=[events(CHAT_EVENT)],
        sent_headers=[_LAST],
        errors={404: "message_not_found", 429: "too_many_streams"},
    ),
    chat.list_active: Operation(
        id="listActiveReplies",
        summary="List the caller's replies that are being generated",
        responses=[json(list[replies.ActiveReply])],
    ),
    chat.stop: Operation(
        id="stopReply",
        summary="Stop a reply",
        description="One of `message_id` and `conversation_id` is needed. The text so far is stored before "
        "the response comes.",
        body=chats.Stop,
        responses=[json(replies.Stopped)],
        errors={400: "stop_target_required", 404: "no_reply_running"},
    ),
    chat.save_partial: Operation(
        id="savePartialReply",
        summary="Stop a reply, and add text that only the page has",
        description="For pages that break off a stream. The text counts only where the last reply was "
        "stopped or interrupted, and where it begins with the stored text and is longer.",
        body=chats.SavePartial,
        responses=[json(replies.Saved)],
        errors={404: "conversation_not_found", 507: "storage_full"},
    ),
    files.get: Operation(
        id="getFile",
        summary="The bytes of one of the caller's images or attachments",
        description="With the media type of the file. What a browser must not show (HTML, SVG …) comes as "
        "a download.",
        responses=[Content("*/*", None, "The file")],
        headers=[
            Header("Cache-Control", "`private, max-age=86400, immutable`"),
            Header("Content-Disposition", "A file that a browser must not show is a download"),
        ],
        errors={404: "file_not_found"},
    ),
}
