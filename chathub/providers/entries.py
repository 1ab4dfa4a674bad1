"""The models that a requested name stands for, and what it falls back on."""

from collections import deque
from collections.abc import Iterator, Sequence

from chathub.accounts.caller import Caller
from chathub.errors import BadRequest
from chathub.providers.aliases import Choice, Entry
from chathub.providers.catalog import CHAT_TYPES, Catalog
from chathub.providers.chat_model import ChatModel

# the models that a name stands for
Choices = Sequence[tuple[Choice, ChatModel]]
# the types of models that take one kind of requests
KINDS = (CHAT_TYPES, ("embedding",), ("image",), ("audio",), ("rerank",), ("moderation",))


def models_of(catalog: Catalog, entry: Entry, model_types: tuple[str, ...]) -> Choices:
    """The models that a name stands for, without those that are disabled.

    Raises:
        BadRequest: there is none; why the first one cannot be used.
    """
    found, refusal = [], None
    for choice in entry.choices:
        try:
            found.append((choice, catalog.get(choice.name, model_types)))
        except BadRequest as error:
            refusal = refusal or error
    if not found and refusal is not None:
        raise refusal
    return found


def fallbacks(
    catalog: Catalog, caller: Caller, entry: Entry, choices: Choices, model_types: tuple[str, ...]
) -> Iterator[tuple[Entry, Choices]]:
    """What a name falls back on: the fallback of an alias, those of its targets, the fallbacks of these, and
    so on, each name once, without those that the caller may not use or that stand for no model of these
    types."""
    waiting, seen = deque(fallback_names(entry, choices)), {entry.name}
    while waiting:
        try:
            entry = catalog.entry(waiting.popleft())
            choices = models_of(catalog, entry, model_types)
        except BadRequest:
            continue
        if entry.name not in seen:
            seen.add(entry.name)
            if may_use(caller, entry):
                yield entry, choices
            waiting += fallback_names(entry, choices)


def may_use(caller: Caller, entry: Entry) -> bool:
    """Whether the caller's access token is for a name: an alias's is enough for all of its targets."""
    return caller.may_use(entry.name) or caller.may_use(entry.alias)


def fallback_names(entry: Entry, choices: Choices) -> list[str]:
    """The names that a name falls back on at once: that of an alias, and those of its targets."""
    names = [entry.fallback_model, *(model.fallback_model for _, model in choices)]
    return [name for name in names if name]
