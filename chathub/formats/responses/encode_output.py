"""The output of a response while it is sent: which items are open, and what the next event begins or ends."""

from msgspec import Raw, Struct, field

from chathub.formats.events import Attachment, Source, ToolCallDelta
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.reasoning.details import Details
from chathub.formats.responses.encode_calls import CALLS, CallItem
from chathub.formats.responses.encode_items import (
    EventWriter,
    MessageItem,
    ReasoningItem,
    send_image,
    send_whole,
)
from chathub.formats.responses.states import item_state
from chathub.formats.responses.tools import ToolNames
from chathub.formats.sources import Insertions
from chathub.schemas import base64
from chathub.schemas.json import JsonObject

# items of one reply: after them no further reasoning is shown, so that text and reasoning by turns, a few
# characters each, do not become far larger than what the provider sent
_MOST_ITEMS = 4096
# the states with which a block of reasoning ends
_ENDS_REASONING = frozenset({"anthropic", "responses"})


class _Call(Struct):
    """A call of the model; what comes before its name is ``waiting``."""

    id: str = ""
    waiting: list[str] = field(default_factory=list)
    item: CallItem | None = None


class States:
    """States that go into the items of reasoning, one of each format into one item. Reasoning details come in
    fragments."""

    def __init__(self) -> None:
        self._data: JsonObject = {}
        self._details = Details()

    def take(self, data: JsonObject) -> bool:
        """Whether there is room for a state."""
        if "openrouter" in data:
            if data["openrouter"] is None:
                self._details = Details()
            self._details.add(data["openrouter"])
            return True
        if self._data.keys() & data.keys():
            return False
        self._data |= data
        return True

    def whole(self) -> JsonObject:
        details = {"openrouter": self._details.whole()} if self._details else {}
        return {**self._data, **details}


class Output:
    """The output of the response ``id``, whose events ``writer`` gets."""

    def __init__(self, writer: EventWriter, id: str, tool_names: ToolNames, model: str) -> None:
        self.writer = writer
        # those that are not cited yet
        self.sources: list[Source] = []
        self._suffix = id.removeprefix("resp_")
        self._tool_names = tool_names
        self._model = model
        self._items: dict[int, Raw] = {}  # those that are done, by their index
        self._index = 0  # of the next item
        self._open: MessageItem | ReasoningItem | CallItem | None = None  # the newest
        self._states = States()  # of the open reasoning
        self._late: list[States] = []  # states without an item
        self._calls: dict[int, _Call] = {}
        self._call_ids: set[str] = set()
        self._length = 0  # code points of all text
        self._logprobs: list[Raw] = []  # of the next text
        self._insertions = Insertions()

    # --- what is said

    def add_text(self, text: str, *, is_refusal: bool = False) -> None:
        if not text:
            return
        if is_refusal:
            self._message().add_refusal(text, self._length)
        else:
            logprobs, self._logprobs = self._logprobs, []
            self._message().add(text, self._length, logprobs)
        self._length += len(text)

    def add_logprobs(self, tokens: Raw) -> None:
        """How likely the tokens of the next text are."""
        self._logprobs.append(tokens)

    def add_words(self, text: str) -> None:
        """Add a sentence of ours, which the provider does not count."""
        self._insertions.add(self._length, len(text))
        self.add_text(text)

    def add_reasoning(self, text: str) -> None:
        if text and (isinstance(self._open, ReasoningItem) or self._index < _MOST_ITEMS):
            self._reasoning().add(text)

    def add_image(self, attachment: Attachment) -> bool:
        """Add an image; False for an attachment of another kind, and for one without its bytes."""
        if not attachment.media_type.startswith("image/") or not attachment.data:
            return False
        index = self._next()
        id, data = self._id("ig", index), base64.encode(attachment.data)
        self._items[index] = send_image(self.writer, index, id, data, attachment.media_type)
        return True

    def add_call(self, fragment: ToolCallDelta) -> None:
        call = self._calls.setdefault(fragment.index, _Call())
        call.id = call.id or fragment.id
        if call.item is None and fragment.name:
            self._begin_call(call, fragment.name)
        if call.item is None:
            call.waiting.append(fragment.arguments)
        elif not call.item.is_done:
            call.item.add(fragment.arguments)

    def add_state(self, data: JsonObject) -> None:
        """Add a state at its place: to the open reasoning, or in an item of its own before the next one."""
        if isinstance(own := data.get("responses_item"), dict):
            index = self._next()
            self._items[index] = send_whole(self.writer, index, own)
            return
        if self._is_needed(data) and not self._takes(data):
            self._keep_late(data)
        if isinstance(self._open, ReasoningItem) and data.keys() & _ENDS_REASONING:
            self._end_open("completed")

    def _keep_late(self, data: JsonObject) -> None:
        if not self._late or not self._late[-1].take(data):
            self._late.append(States())
            self._late[-1].take(data)

    def _takes(self, data: JsonObject) -> bool:
        """Whether the open reasoning takes a state."""
        is_redacted = "data" in as_object(data.get("anthropic"))
        is_open = isinstance(self._open, ReasoningItem) and not self._late
        return is_open and not is_redacted and self._states.take(data)

    def _is_needed(self, data: JsonObject) -> bool:
        if "field" in data:
            return isinstance(self._open, ReasoningItem)
        if state := as_object(data.get("anthropic")):
            return bool(state.get("signature") or state.get("data"))
        if not (state := as_object(data.get("gemini"))):
            return True
        call = self._calls.get(state["call"]) if isinstance(state.get("call"), int) else None
        # an id alone is not worth an item; and it is too late for the signature of a call that was sent
        return bool(state.get("signature")) and (call is None or call.item is None)

    # --- items that begin and end

    def _message(self) -> MessageItem:
        # states stand after the text that they belong to
        if not isinstance(self._open, MessageItem) or self._late:
            index = self._next()
            self._open = MessageItem(self.writer, index, self._id("msg", index))
        return self._open

    def _reasoning(self) -> ReasoningItem:
        if not isinstance(self._open, ReasoningItem) or self._late:
            index = self._next()
            self._open = ReasoningItem(self.writer, index, self._id("rs", index))
        return self._open

    def _begin_call(self, call: _Call, name: str) -> None:
        index = self._next()
        tool = self._tool_names.find(name)
        begin, prefix = CALLS[tool.kind]
        call.item = begin(self.writer, index, self._id(prefix, index), tool, self._call_id(call, index))
        self._open = call.item
        for arguments in call.waiting:
            call.item.add(arguments)
        call.waiting = []

    def _call_id(self, call: _Call, index: int) -> str:
        """The call's id, or one made here: clients find the result of a call by it."""
        own = call.id or f"call_{self._suffix}_{index}"
        unused = own if own not in self._call_ids else f"{own}_{index}"
        self._call_ids.add(unused)
        return unused

    def _id(self, kind: str, index: int) -> str:
        return f"{kind}_{self._suffix}_{index}"

    def _next(self) -> int:
        """The index of an item that begins now: what can end, ends before it."""
        self._end_open("completed")
        self._send_late()
        index, self._index = self._index, self._index + 1
        return index

    def _send_late(self) -> None:
        """An item of its own for each of the states that came without reasoning."""
        late, self._late = self._late, []
        for states in late:
            if encrypted := self._encrypted(states):
                index, self._index = self._index, self._index + 1
                item = ReasoningItem(self.writer, index, self._id("rs", index))
                self._items[index] = item.end("completed", encrypted)

    def _encrypted(self, states: States) -> str:
        data = states.whole()
        own = as_string(as_object(data.get("responses")).get("encrypted_content"))
        return own or (item_state(data, self._model) if data else "")

    def _end_open(self, status: str) -> None:
        """End the newest item; a call only if it is whole, for fragments of it may follow."""
        item, self._open = self._open, None
        if isinstance(item, MessageItem):
            self._cite(item)
            self._items[item.index] = item.end(status)
        elif isinstance(item, ReasoningItem):
            states, self._states = self._states, States()
            self._items[item.index] = item.end(status, self._encrypted(states))
        elif isinstance(item, CallItem) and item.is_whole():
            self._items[item.index] = item.end("completed")

    def _cite(self, message: MessageItem) -> None:
        if self.sources:
            message.annotate(map(self._insertions.moved, self.sources), self._length)
            self.sources = []

    def end(self, *, is_cut: bool) -> list[Raw]:
        """All items; ``is_cut``: the reply ends early."""
        if self.sources and not is_cut:
            self._cite(self._open if isinstance(self._open, MessageItem) else self._message())
        self._end_open("incomplete" if is_cut else "completed")
        for call in self._calls.values():
            if call.item is None and not is_cut:
                self._begin_call(call, "")
        self._end_calls(only_whole=is_cut)
        # at the end of a text they have no item: many programs take the last one for the text
        if self._calls:
            self._send_late()
        return self._in_order()

    def fail(self) -> list[Raw]:
        """The items so far. Those that are open are not done: a client would keep what one says, or carry out
        its call, and once more after it has tried again."""
        with self.writer.silenced():
            self._end_open("incomplete")
            self._end_calls(only_whole=True)
        return self._in_order()

    def _end_calls(self, *, only_whole: bool) -> None:
        """End the calls that are open; of a reply that ends early ``only_whole`` ones: clients carry out a
        call that is done, whatever its status."""
        for call in self._calls.values():
            item = call.item
            if item is not None and not item.is_done and (not only_whole or item.is_whole()):
                self._items[item.index] = item.end("completed")

    def _in_order(self) -> list[Raw]:
        return [self._items[index] for index in sorted(self._items)]
