"""The operations of all routes, a file for each section of the API document."""

from collections.abc import Mapping

from chathub.openapi.operation import Operations
from chathub.openapi.operations import (
    accounts,
    api_keys,
    audit,
    chat,
    conversations,
    description,
    health,
    models,
    providers,
    stats,
    tokens,
    users,
    v1,
    v1_media,
)

# the sections of the document: their names, and their operations
SECTIONS: Mapping[str, Operations] = {
    "Health": health.OPERATIONS,
    "Models": models.OPERATIONS,
    "Providers": providers.OPERATIONS,
    "Accounts": accounts.OPERATIONS,
    "Chat": chat.OPERATIONS,
    "Conversations": conversations.OPERATIONS,
    "API keys": api_keys.OPERATIONS,
    "Usage": stats.OPERATIONS,
    "Users": users.OPERATIONS,
    "Access tokens": tokens.OPERATIONS,
    "For programs": {**v1.OPERATIONS, **v1_media.OPERATIONS},
    "Audit": audit.OPERATIONS,
    "Description": description.OPERATIONS,
}
OPERATIONS: Operations = {
    handler: operation for operations in SECTIONS.values() for handler, operation in operations.items()
}
