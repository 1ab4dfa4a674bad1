"""The tables of all areas in one."""

from collections.abc import Mapping

from chathub.sentences import (
    accounts,
    attachments,
    budgets,
    chats,
    commands,
    conversations,
    details,
    models,
    paths,
    providers,
    requests,
    responses,
    server,
    successes,
    upstream,
    words,
)

# those whose codes are on the wire; details of failures; and what a success says, parts of sentences, and
# texts that are no sentence
ERRORS: Mapping[str, tuple[str, str]] = {
    **accounts.SENTENCES,
    **budgets.SENTENCES,
    **chats.SENTENCES,
    **conversations.SENTENCES,
    **models.SENTENCES,
    **paths.SENTENCES,
    **providers.SENTENCES,
    **requests.SENTENCES,
    **responses.SENTENCES,
    **server.SENTENCES,
    **upstream.SENTENCES,
}
DETAILS: Mapping[str, tuple[str, str]] = details.SENTENCES
SENTENCES: Mapping[str, tuple[str, str]] = {
    **ERRORS,
    **DETAILS,
    **attachments.SENTENCES,
    **commands.SENTENCES,
    **successes.SENTENCES,
    **words.SENTENCES,
}
