"""The tables of all areas in one."""

from collections.abc import Mapping

from chathub.sentences import (
    accounts,
    budgets,
    chats,
    commands,
    conversations,
    models,
    providers,
    requests,
    server,
    successes,
    upstream,
    words,
)

# those of errors; what a success says; and what is only a part of another sentence, or no sentence
ERRORS: Mapping[str, tuple[str, str]] = {
    **accounts.SENTENCES,
    **budgets.SENTENCES,
    **chats.SENTENCES,
    **conversations.SENTENCES,
    **models.SENTENCES,
    **providers.SENTENCES,
    **requests.SENTENCES,
    **server.SENTENCES,
    **upstream.SENTENCES,
}
SENTENCES: Mapping[str, tuple[str, str]] = {
    **ERRORS,
    **commands.SENTENCES,
    **successes.SENTENCES,
    **words.SENTENCES,
}
