"""Section 6: conversations and messages."""

from chathub.handlers import conversations, messages
from chathub.openapi.operation import Header, Operation, Operations, events, json
from chathub.openapi.operations.chat import CHAT_EVENT, KEY, REFUSED, TEXTS
from chathub.openapi.operations.users import PASSWORD
from chathub.schemas import conversations as schemas
from chathub.schemas.chats import EditMessage, Regenerate
from chathub.schemas.replies import MessagesDeleted
from chathub.schemas.success import Success
from chathub.schemas.users import Confirmation

_LINK = Header("Link", 'The next page: `<…>; rel="next"`, with `limit` where there are more')

OPERATIONS: Operations = {
    conversations.list_for_user: Operation(
        id="listConversations",
        summary="List conversations, the last changed first",
        description="Administrators may read those of another user; that is written into the audit.",
        query=[schemas.ConversationFilter],
        responses=[json(list[schemas.Conversation])],
        headers=[_LINK],
        errors={400: "before_not_a_conversation", 403: "conversations_of_others"},
    ),
    conversations.list_messages: Operation(
        id="listMessages",
        summary="List the messages of a conversation's shown branch, the oldest first",
        description="With the text so far of a reply that is being generated. Administrators may read "
        "those of other users; that is written into the audit.",
        query=[schemas.MessageFilter],
        responses=[json(list[schemas.Message])],
        headers=[_LINK],
        errors={400: "before_not_a_message", 404: "conversation_not_found"},
    ),
    conversations.update: Operation(
        id="updateConversation",
        summary="Rename a conversation, or show another branch",
        description="At least one of the fields is needed.",
        body=schemas.ConversationChange,
        responses=[json(schemas.ConversationChanged)],
        errors={
            400: "nothing_to_change title_empty",
            404: "conversation_not_found message_not_found",
        },
    ),
    conversations.delete_all: Operation(
        id="deleteAllConversations",
        summary="Delete all of the caller's conversations for good",
        description="With the password again. Replies in them are stopped first; a conversation that begins "
        "meanwhile may stay.",
        body=Confirmation,
        responses=[json(Success)],
        errors={**PASSWORD, 409: "reply_in_progress"},
    ),
    conversations.delete: Operation(
        id="deleteConversation",
        summary="Delete a conversation for good",
        description="A reply in it is stopped first. Messages of its owner to this `conversation_id` get "
        "410 for 90 days.",
        responses=[json(Success)],
        errors={404: "conversation_not_found", 409: "reply_in_progress"},
    ),
    messages.regenerate: Operation(
        id="regenerateReply",
        summary="Generate another reply to the same question",
        description="The message may be the reply or the question. The new reply stands beside the old "
        "one, and its branch is shown. Options that are not given are those of the first time.",
        body=Regenerate,
        responses=[events(CHAT_EVENT)],
        sent_headers=[KEY],
        errors={**REFUSED, 404: "message_not_found", 409: f"prompt_not_stored {REFUSED[409]}"},
    ),
    messages.edit: Operation(
        id="editMessage",
        summary="Ask a changed question",
        description="The changed question stands beside the old one and gets a reply of its own. Images "
        "are kept where none are given.",
        body=EditMessage,
        responses=[events(CHAT_EVENT)],
        sent_headers=[KEY],
        errors={
            **REFUSED,
            400: f"not_a_user_message tool_message {REFUSED[400]} {TEXTS}",
            404: "message_not_found",
        },
    ),
    messages.delete: Operation(
        id="deleteMessages",
        summary="Delete a message and all that follows it",
        responses=[json(MessagesDeleted)],
        errors={404: "message_not_found", 409: "reply_in_progress"},
    ),
}
