"""The text of a reply: its parts in memory, how much of them is saved, and where the rest is read."""

from collections.abc import AsyncIterator, Awaitable, Callable

from chathub.chat.turn import Kind
from chathub.replies.cursor import Cursor, Part, merged

# reads the text of a stored reply: its kind, the first code point, how many
Read = Callable[[Kind, int, int], Awaitable[str]]
# characters that a follower receives at once; a stored text stays in memory up to this length
PIECE = 65_536


class ReplyText:
    """The parts of a reply in the order they came. Neighbours of one kind are merged as they come and as they
    are saved; ``length`` is the sum of their code points."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.length = 0
        self._read: Read | None = None
        # parts that are saved, and the rows that they took; both before the last save
        self._saved = 0
        self._rows = 0
        self._before = 0, 0
        # how often text was collected to be saved
        self.saves = 0

    def add(self, parts: list[Part]) -> None:
        """Add parts that are merged."""
        self.parts += [part for part in parts if part[1]]
        self.length += sum(len(text) for _, text in parts)

    def of(self, kind: Kind) -> str:
        """All of one kind so far, as far as it is in memory."""
        return "".join([text for part, text in self.parts if part == kind])

    def since(self, position: int) -> list[Part]:
        """The next parts after a number of characters of both kinds; searched from the end, where most
        followers are."""
        index, start = len(self.parts), self.length
        while start > position:
            index -= 1
            start -= len(self.parts[index][1])
        new: list[Part] = []
        left, skipped = PIECE, position - start
        while left > 0 and index < len(self.parts):
            kind, text = self.parts[index]
            new.append((kind, text[skipped : skipped + left]))
            left -= len(new[-1][1])
            index, skipped = index + 1, 0
        return new

    # --- saved while it grows

    @property
    def was_saved(self) -> bool:
        """Whether some of it is on disk, or on its way there."""
        return self._rows > 0

    def unsaved(self) -> list[tuple[int, str, str]]:
        """What is not on disk yet, as numbered runs; it counts as saved from here on."""
        self.saves += 1
        self._before = self._saved, self._rows
        runs = merged(self.parts[self._saved :])
        self.parts[self._saved :] = runs
        self._saved = len(self.parts)
        self._rows += len(runs)
        return [(number, *run) for number, run in enumerate(runs, self._rows - len(runs))]

    def save_again(self, saves: int | None = None) -> None:
        """The last ``unsaved`` parts did not reach the disk. ``saves``: nothing is done if more was collected
        since: that may be on disk."""
        if saves in (None, self.saves):
            self._saved, self._rows = self._before

    # --- once it is complete

    def pack(self) -> None:
        """Join the parts, so that the text is in memory once however often it is read. Only when no part is
        saved any more."""
        self.parts = merged(self.parts)

    def move(self, read: Read, *, always: bool = False) -> None:
        """Free the memory: the text is stored elsewhere, where it is ``read`` from now on. A short text stays
        here unless ``always``."""
        if always or self.length > PIECE:
            self.parts, self._read = [], read

    @property
    def is_moved(self) -> bool:
        return self._read is not None

    async def whole(self, kind: Kind) -> str:
        """All of one kind, of a reply that has ended."""
        return self.of(kind) if self._read is None else await self._read(kind, 0, self.length)

    async def moved_after(self, at: Cursor) -> AsyncIterator[Part]:
        """The rest of a moved text, as the database has it: all reasoning, then all content."""
        assert self._read is not None
        kinds: tuple[Kind, Kind] = ("reasoning", "content")
        for kind in kinds:
            start = at.content if kind == "content" else at.reasoning
            while text := await self._read(kind, start, PIECE):
                start += len(text)
                yield kind, text
