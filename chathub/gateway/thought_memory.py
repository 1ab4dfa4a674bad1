"""The state of replies with tool calls, for clients that do not send it back: it is found again by the calls.

A provider that needs its reasoning back refuses the results of the calls without it.
"""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from chathub.formats.events import Event, Finish, Reasoning, ToolCallDelta
from chathub.formats.messages import Message, ToolCall
from chathub.formats.reasoning import recorder
from chathub.formats.reasoning.recorder import Recorder
from chathub.schemas.json import JsonObject

MOST_IDS = 10_000
MOST_BYTES = 32 * 1024 * 1024
SECONDS = 3600.0
# characters of one reply's reasoning, state and calls
_LONGEST = 512 * 1024
# bytes that each id takes besides
_PER_ID = 500

# the user, and the id of the call
_Key = tuple[int, str]


class _Remembered(Struct):
    """A call of a reply, and the reply's state; ``at`` is when it was needed last, ``size`` the call's part
    of its bytes."""

    at: float
    digest: bytes
    state: JsonObject
    size: int


class ThoughtMemory:
    """Remembers the state of replies by user and tool call: at most so many ids and bytes, and for an hour
    after it was needed last. If it ended during a conversation, each turn would begin otherwise than the one
    before, and no provider would find it in its cache."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: OrderedDict[_Key, _Remembered] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def recorder(self, user_id: int, model: str) -> "ThoughtRecorder":
        return ThoughtRecorder(self, user_id, model)

    def remember(self, user_id: int, calls: Sequence[ToolCall], state: JsonObject, size: int) -> None:
        """Remember the state of a reply with these calls, of so many bytes."""
        for call in calls:
            if call.id:
                self._forget((user_id, call.id))
                each = size // len(calls) + _PER_ID
                self._calls[user_id, call.id] = _Remembered(self._clock(), _digest(call), state, each)
                self._bytes += each
        while self._calls and (len(self._calls) > MOST_IDS or self._bytes > MOST_BYTES or self._is_old()):
            self._forget(next(iter(self._calls)))

    def _is_old(self) -> bool:
        return self._clock() - next(iter(self._calls.values())).at >= SECONDS

    def _forget(self, key: _Key) -> None:
        if (known := self._calls.pop(key, None)) is not None:
            self._bytes -= known.size

    def completed(self, user_id: int, message: Message) -> Message:
        """A client's message with the state that was remembered of it, unless the client sent it back; then
        with the model that made it."""
        calls = message.tool_calls
        if not calls:
            return message
        known = self._calls.get((user_id, calls[0].id))
        now = self._clock()
        if known is None or now - known.at >= SECONDS or known.digest != _digest(calls[0]):
            return message
        known.at = now
        if recorder.has_state(message):
            return replace(message, model=message.model or known.state["model"])
        return recorder.with_state(message, known.state)


class ThoughtRecorder:
    """Records a reply while it passes, and has it remembered at its end: before the client can send the
    results of its calls."""

    def __init__(self, memory: ThoughtMemory, user_id: int, model: str) -> None:
        self._memory = memory
        self._user_id = user_id
        self._model = model
        self.reset()

    def reset(self) -> None:
        """An attempt failed: forget what came of it."""
        self._recorder = Recorder()
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._size = 0

    def feed(self, events: list[Event]) -> None:
        for event in events:
            if self._size > _LONGEST:
                return
            self._recorder.add(event)
            if type(event) is Reasoning:
                self._reasoning.append(event.text)
                self._size += len(event.text)
            elif type(event) is ToolCallDelta:
                call_id, name, arguments = self._calls.get(event.index, ("", "", []))
                arguments.append(event.arguments)
                self._calls[event.index] = call_id or event.id, name or event.name, arguments
                self._size += event.size
            elif type(event) is Finish and self._calls:
                self._end()

    def _end(self) -> None:
        calls = [ToolCall(call_id, name, "".join(texts)) for call_id, name, texts in self._calls.values()]
        if state := self._recorder.state(self._model, "".join(self._reasoning)):
            size = len(json.dumps(state))
            if size <= _LONGEST:
                self._memory.remember(self._user_id, calls, state, size)
        self.reset()


def _digest(call: ToolCall) -> bytes:
    """A call's name and arguments, however a client writes them: ids such as ``call_0`` come again."""
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}", strict=False), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = call.arguments
    written = json.dumps([call.name, arguments]).encode()
    return hashlib.sha256(written).digest()
