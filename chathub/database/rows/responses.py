"""Rows of ``sql/queries/responses.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class ResponseId(Row, frozen=True):
    """The row id of a new response."""

    id: int


class StoredResponse(Row, frozen=True):
    """A stored response; ``depth`` counts the responses that it continues."""

    id: int
    public_id: str
    depth: int
    model: str
    status: str
    is_background: bool

    @property
    def has_ended(self) -> bool:
        return self.status != "in_progress"


class KeyedResponse(Row, frozen=True):
    """A response to a request with an idempotency key, with the digest of the request's body."""

    public_id: str
    digest: str


class ItemPlace(Row, frozen=True):
    """Where an item is: in the output of a response, or in its input."""

    response_id: int
    is_output: bool
    model: str


class StoredInput(Row, frozen=True):
    """The items of an input, compressed."""

    input: bytes


class ChainLink(Row, frozen=True):
    """A response of a chain with the items of its own input, compressed."""

    id: int
    input: bytes


class StoredEvents(Row, frozen=True):
    """Events in a row by their sequence numbers, compressed."""

    first: int
    last: int
    data: bytes


class LastEvent(Row, frozen=True):
    """The sequence number of the last event."""

    last: int


class Responses(Statements):
    insert: Select[ResponseId]
    find: Select[StoredResponse]
    find_by_key: Select[KeyedResponse]
    forget_key: Command
    get: Select[StoredResponse]
    get_input: Select[StoredInput]
    list_chain: Select[ChainLink]
    insert_events: Command
    list_events: Select[StoredEvents]
    get_last_events: Select[StoredEvents]
    find_last: Select[LastEvent]
    delete_events: Command
    update_status: Command
    list_in_progress: Select[StoredResponse]
    insert_item: Command
    list_places: Select[ItemPlace]
    delete_items: Command
    hide: Command
    delete_unless_continued: Command
    delete_older: Command
